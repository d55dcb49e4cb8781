"""What calibration does at the start of practice: CQL and Cal-QL from the same recordings (Cal-QL, arXiv 2303.05479).

The paper's effect: CQL's values lie far below what the recordings earned; the first practised actions look better than
all that was learnt, and success dips until the values have risen. Cal-QL's values stop at the recordings' return, so
that nothing dips. Here both learn on the maze of `peer_worlds.py` without this suite's imitation term, which would hold
the policy whatever its values are, with one-step targets and the paper's weight of the CQL term, and long enough
offline that the values have come down from where they begin; with a learnt deviation of the policy, as in the paper,
and with this suite's fixed one. For each seed success is counted every few hundred steps, beside the values of the
policy's actions, the return of the data, and the share of values below it:

    PYTHONPATH=peers:$PYTHONPATH python benchmarks/calibration.py [--seeds 0 1 2] [--scale 1]

Needs what `peers.py` needs beside the suite. A finished run is not made again.
Writes benchmarks/results/calibration.csv.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

import torch
from judge_tables import Table
from peer_learners import Ours
from peer_worlds import Maze

RECORDINGS, OFFLINE_UPDATES, ONLINE_STEPS, EVERY, TRIALS = 100, 16_000, 3000, 250, 20
SETTINGS = {
    "batch_size": 128, "sampled_actions": 4, "n_step": 1, "imitation_weight": 0.0, "learning_rate_offline": 3e-4,
    "learning_rate_online": 3e-4, "value_weight_offline": 1.0, "value_weight_online": 1.0,
    "conservative_weight_offline": 5.0, "conservative_weight_online": 5.0,
}  # fmt: skip
LEARNERS: dict[str, dict[str, Any]] = {
    "cql": {"algorithm": "cql"},
    "cal_ql": {"algorithm": "cal_ql"},
    "soft_cql": {"algorithm": "cql", "learnt_deviation": True},
    "soft_cal_ql": {"algorithm": "cal_ql", "learnt_deviation": True},
    "soft_cal_ql_float32": {"algorithm": "cal_ql", "learnt_deviation": True, "mixed_precision": False},
}
"""Soft ones learn the policy's deviation (soft actor-critic), as in the paper; float32 is for the comparison with
bfloat16, in which the others compute where the processor has it."""


class Watched(Ours):
    """Keeps the metrics of its newest update."""

    def update(self) -> None:
        """One update."""
        self.metrics = self.agent.update(self.sample())

    def values(self) -> dict[str, float]:
        """Of the newest batch: values of the policy's actions, the data's return, and the share of values below it."""
        names = {"policy_value": "values/policy", "return": "values/return", "below_return": "values/below_return"}
        return {short: round(float(self.metrics[name]), 2) for short, name in names.items()}


def run(name: str, seed: int, scale: float, table: Table) -> None:
    """Offline, then practice with an evaluation every few hundred steps."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    started = time.process_time()
    world = Maze()
    asked = {"observations": world.observations, "actions": world.actions, "seed": seed, "capacity": 500_000}
    learner = Watched(**asked, **SETTINGS, **LEARNERS[name])
    for recording in world.record(RECORDINGS, seed):
        learner.add(recording, offline=True)
    updates, steps, every = (int(count * scale) for count in (OFFLINE_UPDATES, ONLINE_STEPS, EVERY))
    for _ in range(updates):
        learner.update()

    def success() -> float:
        return world.evaluate(lambda observation: learner.act(observation, explore=False), TRIALS, seed)

    curve, offline = [success()], learner.values()
    lowest = offline["policy_value"]
    learner.begin_online()
    done = episode = 0
    while done < steps:
        done += len(world.practise(episode, learner, seed).actions)
        episode += 1
        lowest = min(lowest, learner.values()["policy_value"])
        while len(curve) <= min(done, steps) // every:
            curve.append(success())
    early = curve[1 : 1 + len(curve) // 3]
    table.add({
        "seed": seed, "learner": name, "scale": scale, "offline_updates": updates, "online_steps": done,
        "before": curve[0], "lowest_early": min(early), "after": curve[-1],
        "regret": round(1.0 - statistics.fmean(curve[1:]), 3), "curve": " ".join(f"{value:.2f}" for value in curve),
        **{f"offline_{name}": value for name, value in offline.items()},
        **{f"online_{name}": value for name, value in learner.values().items()}, "lowest_policy_value": lowest,
        "processor_minutes": round((time.process_time() - started) / 60, 1),
    })  # fmt: skip


def main() -> None:
    """Every seed and learner that is not in the table yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--learners", nargs="+", default=["soft_cql", "soft_cal_ql", "cql", "cal_ql"], choices=LEARNERS)
    parser.add_argument("--scale", type=float, default=1.0, help="of updates and steps")
    options = parser.parse_args()
    table = Table("calibration", ("seed", "learner", "scale"))
    for seed in options.seeds:
        for learner in options.learners:
            if not table.has(seed=seed, learner=learner, scale=options.scale):
                run(learner, seed, options.scale, table)


if __name__ == "__main__":
    main()
