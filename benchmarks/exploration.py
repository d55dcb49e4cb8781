"""What exploration by novelty and retraining bring where the recorded data are incomplete (OOO, arXiv 2310.08558).

The maze of `peer_worlds.py`, whose recordings never enter the last arm of the U: every one that does is left out. No
episode begins there, but goals are everywhere. For each seed and each way to practise:

- `usual`: as in practice elsewhere, with the CQL term and the imitation of successes;
- `free`: without these two, which hold a policy near the data;
- `curious`: so, and with the bonus for what is new;

there are the policies

- `offline`: Cal-QL on the recordings, from which all three begin;
- `online`: the same agent after practice, half of each batch recorded data;
- `retrained`: a new agent, trained from scratch and offline on the recordings and all that was practised, with the
  reward of the task alone, for as many updates in all.

Success by the environment's own word, over all goals and over those in the arm that is missing. Each row is written
when it is there; a stopped benchmark begins its seed and way to practise anew. Needs what `peers.py` needs beside the
suite:

    PYTHONPATH=peers:$PYTHONPATH python benchmarks/exploration.py [--seeds 0 1 2] [--ways usual free curious]

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
"""A quarter of the arithmetic of `peers.py`; every policy has the same."""
FREE = {"conservative_weight_online": 0.0, "imitation_weight_online": 0.0}
WEIGHT = 1.0
"""Of the bonus; a step costs 1."""
WAYS: dict[str, tuple[dict[str, float], float]] = {"usual": ({}, 0.0), "free": (FREE, 0.0), "curious": (FREE, WEIGHT)}
"""Settings of the agent, and the bonus's weight."""


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


class Practising(Ours):
    """Cal-QL that practises in one of WAYS."""

    def __init__(self, world: IncompleteMaze, seed: int, way: str) -> None:
        settings, self.weight = WAYS[way]
        super().__init__("cal_ql", world.observations, world.actions, seed, 500_000, **SMALL, **settings)
        self.seed = seed
        self.novelty: NoveltyBonus | None = None

    def begin_online(self) -> None:
        """As elsewhere; what was recorded is known, and a goal that was never asked for makes no place new."""
        super().begin_online()
        if self.weight > 0.0:
            settings = NoveltyConfig(novelty_weight=self.weight)
            self.novelty = NoveltyBonus(self.network, settings, self.config.discount, self.seed)
            self.novelty.fit(self.memories[0], ignored=GOAL)
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


def practise(world: IncompleteMaze, learner: Practising, steps: int, seed: int) -> list[Recording]:
    """One update a step; the episodes enter when they have ended."""
    learner.begin_online()
    practised: list[Recording] = []
    done = 0
    while done < steps:
        practised.append(world.practise(len(practised), learner, seed))
        done += len(practised[-1].actions)
    return practised


def run(seed: int, way: str, scale: float, table: Table) -> None:
    """Offline, online and retrained, for a seed and a way to practise."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    started = time.process_time()
    world = IncompleteMaze()
    recorded = world.incomplete(RECORDINGS, seed)
    updates, steps = int(OFFLINE_UPDATES * scale), int(ONLINE_STEPS * scale)
    practised: list[Recording] = []

    def note(policy: str, learner: Ours) -> None:
        if table.has(seed=seed, way=way, policy=policy):
            return
        there = [r for r in practised if any(world.missing(seen[:2]) for seen in r.observations)]
        figures: dict[str, Any] = {
            "seed": seed, "way": way, "policy": policy, "scale": scale, **world.score(learner, seed),
            "recordings": len(recorded), "practised": len(practised), "went_there": len(there),
            "successes": sum(r.success for r in practised),
            "successes_there": sum(r.success and world.missing(r.observations[0, GOAL]) for r in practised),
            "updates": learner.agent.updates,
            "processor_minutes": round((time.process_time() - started) / 60, 1),
        }  # fmt: skip
        table.add(figures)

    learner = Practising(world, seed, way)
    for recording in recorded:
        learner.add(recording, offline=True)
    for _ in range(updates):
        learner.update()
    note("offline", learner)
    practised += practise(world, learner, steps, seed)
    note("online", learner)
    pessimistic = Practising(world, seed + 1000, "usual")
    for recording in [*recorded, *practised]:
        pessimistic.add(recording, offline=True)
    for _ in range(learner.agent.updates):
        pessimistic.update()
    note("retrained", pessimistic)


def main() -> None:
    """Every seed and way to practise that is not in the table yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=WAYS)
    parser.add_argument("--scale", type=float, default=1.0, help="of updates and steps")
    options = parser.parse_args()
    table = Table("exploration", ("seed", "way", "policy"))
    for seed in options.seeds:
        for way in options.ways:
            if not table.has(seed=seed, way=way, policy="retrained"):
                run(seed, way, options.scale, table)


if __name__ == "__main__":
    main()
