"""What exploration by novelty and retraining bring where the recorded data are incomplete (OOO, arXiv 2310.08558).

The maze of `peer_worlds.py`, whose recordings never enter the last arm of the U: every one that does is left out. No
episode begins there, but goals are everywhere. For each seed and each weight of the bonus (0: no exploration):

- `offline`: Cal-QL on the recordings;
- `online`: the same agent after practice with that bonus, half of each batch recorded data;
- `retrained`: a new agent, trained from scratch and offline on the recordings and all that was practised, with the
  reward of the task alone, for as many updates in all.

Success by the environment's own word, over all goals and over those in the arm that is missing. Each row is written
when it is there; a stopped benchmark begins its seed and weight anew. Needs what `peers.py` needs beside the suite:

    PYTHONPATH=peers:$PYTHONPATH python benchmarks/exploration.py [--seeds 0 1 2] [--weights 0 10] [--scale 1]

Writes benchmarks/results/exploration.csv.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
import torch
from judge_tables import Table
from peer_learners import Ours
from peer_worlds import Array, Maze, Recording
from robofume_policy.config import NoveltyConfig
from robofume_policy.novelty import NoveltyBonus

RECORDINGS, OFFLINE_UPDATES, ONLINE_STEPS, TRIALS = 200, 2000, 8000, 60
MISSING_ROW, MISSING_COLUMNS = 3, (1, 2)
GOAL = slice(4, 6)
"""Of an observation: x, y of the goal [m]."""
SMALL = {"batch_size": 128, "sampled_actions": 4}
"""A quarter of the arithmetic of `peers.py`; every arm has the same."""


class IncompleteMaze(Maze):
    """The maze; `missing` says of a place whether it is in the arm that no recording enters."""

    def reset(self, seed: int) -> Array:
        """As the maze, but never from the missing arm: who begins there need not find it."""
        others = np.random.default_rng(seed)
        observation = super().reset(seed)
        while self.missing(observation[:2]):
            observation = super().reset(int(others.integers(2**31)))
        return observation

    def missing(self, place: Array) -> bool:
        """Whether `place` (x, y) lies in the missing cells."""
        maze = self.environment.unwrapped.maze
        row, column = maze.cell_xy_to_rowcol(np.asarray(place, float))
        return bool(row == MISSING_ROW and column in MISSING_COLUMNS)

    def incomplete(self, episodes: int, seed: int) -> list[Recording]:
        """`record` without the episodes that enter, or are asked to enter, the missing arm."""
        recordings = self.record(episodes, seed)
        return [
            recording for recording in recordings
            if not self.missing(recording.observations[0, GOAL])
            and not any(self.missing(seen[:2]) for seen in recording.observations)
        ]  # fmt: skip

    def score(self, learner: Ours, seed: int) -> dict[str, float]:
        """Success over all trials, and over those whose goal is in the missing arm."""
        wins: dict[bool, list[bool]] = {True: [], False: []}
        for number in range(TRIALS):
            trial = self.trial(number, lambda observation: learner.act(observation, explore=False), seed)
            goal = trial.observations[0, GOAL]
            wins[self.missing(goal)].append(trial.success)
        return {
            "success": round(float(np.mean(wins[True] + wins[False])), 3),
            "missing_arm": round(float(np.mean(wins[True])), 3), "trials_there": len(wins[True]), "trials": TRIALS,
        }  # fmt: skip


class Curious(Ours):
    """Cal-QL that practises with a bonus for what is new."""

    def __init__(self, world: IncompleteMaze, seed: int, weight: float) -> None:
        super().__init__("cal_ql", world.observations, world.actions, seed, 500_000, **SMALL)
        self.weight, self.seed = weight, seed
        self.novelty: NoveltyBonus | None = None

    def begin_online(self) -> None:
        """As without a bonus; what was recorded is known."""
        super().begin_online()
        if self.weight > 0.0:
            settings = NoveltyConfig(novelty_weight=self.weight)
            self.novelty = NoveltyBonus(self.network, settings, self.config.discount, self.seed)
            self.novelty.fit(self.memories[0])
            self.novelty.network.scale[GOAL] = torch.inf  # a goal that was never asked for makes no place new
        self.before = self.agent.updates

    def update(self) -> None:
        """As without a bonus, which is learnt beside."""
        if self.novelty is None:
            return super().update()
        anew = (self.agent.updates - self.before) % self.novelty.config.novelty_recompute_every == 0
        self.novelty.refresh(self.memories, everything=anew)
        batch = self.sample(self.weight)
        self.agent.update(batch)
        self.novelty.update(batch)
        return None


def practise(world: IncompleteMaze, learner: Curious, steps: int, seed: int) -> list[Recording]:
    """One update a step; the episodes enter when they have ended."""
    learner.begin_online()
    practised: list[Recording] = []
    done = 0
    while done < steps:
        practised.append(world.practise(len(practised), learner, seed))
        done += len(practised[-1].actions)
    return practised


def run(seed: int, weight: float, scale: float, table: Table) -> None:
    """Offline, online and retrained, for a seed and a weight of the bonus."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    started = time.process_time()
    world = IncompleteMaze()
    recorded = world.incomplete(RECORDINGS, seed)
    updates, steps = int(OFFLINE_UPDATES * scale), int(ONLINE_STEPS * scale)
    practised: list[Recording] = []

    def note(arm: str, learner: Ours) -> None:
        there = [r for r in practised if any(world.missing(seen[:2]) for seen in r.observations)]
        figures: dict[str, Any] = {
            "seed": seed, "weight": weight, "arm": arm, "scale": scale, **world.score(learner, seed),
            "recordings": len(recorded), "practised": len(practised), "went_there": len(there),
            "successes": sum(r.success for r in practised), "updates": learner.agent.updates,
            "processor_minutes": round((time.process_time() - started) / 60, 1),
        }  # fmt: skip
        table.add(figures)

    learner = Curious(world, seed, weight)
    for recording in recorded:
        learner.add(recording, offline=True)
    for _ in range(updates):
        learner.update()
    if not table.has(seed=seed, weight=weight, arm="offline"):
        note("offline", learner)
    practised += practise(world, learner, steps, seed)
    if not table.has(seed=seed, weight=weight, arm="online"):
        note("online", learner)
    pessimistic = Curious(world, seed + 1000, 0.0)
    for recording in [*recorded, *practised]:
        pessimistic.add(recording, offline=True)
    for _ in range(learner.agent.updates):
        pessimistic.update()
    note("retrained", pessimistic)


def main() -> None:
    """Every seed and weight that is not in the table yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--weights", type=float, nargs="+", default=[0.0, 10.0])
    parser.add_argument("--scale", type=float, default=1.0, help="of updates and steps")
    options = parser.parse_args()
    table = Table("exploration", ("seed", "weight", "arm"))
    for seed in options.seeds:
        for weight in options.weights:
            if not table.has(seed=seed, weight=weight, arm="retrained"):
                run(seed, weight, options.scale, table)


if __name__ == "__main__":
    main()
