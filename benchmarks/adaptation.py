"""Adapting a practised policy to five new conditions, one by one and in a chain (Never Stop Learning, 2004.10190).

The conditions are those of the paper as far as the simulation has them (`robofume_sim.variations`): another background,
another light, objects of other colours, longer or shorter fingers, an arm that stands elsewhere. Each is a run of its
own with its own demonstrations. By ground truth, the same starts each time:

- `source`: the practised policy as it is, in the new condition;
- `adapted`: after `robofume adapt` on what the policy learnt from and the new condition's demonstrations;
- `scratch`: trained on the new condition's demonstrations alone;
- `frozen`: as `scratch`, on features of a frozen pre-trained vision model in the place of pictures: the picture side of
  the run's own judge, since no other is to be had without a network;
- `chain`: adapted to the first condition, from there to the second, and so on; then evaluated in each of them again.

It begins from runs that have practised, named <task>_<seed>, such as those of `main_job.py`, and continues where it was
stopped:

    python benchmarks/adaptation.py --sources RUNS --runs ADAPTED --seeds 0 1 2

Writes benchmarks/results/adaptation_<task>.csv. `--scale 4` makes updates four times as many.
"""

import argparse
import json
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from judge_tables import Table, scaled
from main_job import evaluation, robofume
from robofume_bringup.run_directory import RunDirectory
from robofume_data.bag_reader import read_episodes

CONDITIONS = {
    "background": ("background", "texture"),
    "light": ("light",),
    "colours": ("colours",),
    "gripper_length": ("gripper_length",),
    "base_offset": ("base_offset",),
}
WORLD = 100
"""The seed of a condition's run is this plus the source's, so that its world and its demonstrations are others."""


class Conditions:
    """The runs of one seed: a source, and one or more for each condition."""

    def __init__(self, given: argparse.Namespace, seed: int, table: Table) -> None:
        self.given, self.seed, self.table = given, seed, table
        self.source = RunDirectory(given.sources / f"{given.task}_{seed}")
        self.base = f"{given.task}_{seed}"

    def run(self, name: str) -> RunDirectory:
        """The run of this name."""
        return RunDirectory(self.given.runs / f"{self.base}_{name}")

    def call(self, command: str, name: str, *words: object) -> None:
        """One command on a run."""
        robofume(command, "--runs", self.given.runs, "--run", self.run(name).name, *words)

    def world(self, condition: str) -> tuple[str, ...]:
        """The settings of a condition's simulation, for a run that is new."""
        kinds = json.dumps(CONDITIONS[condition])
        return (
            "--task", self.given.task, "--seed", str(WORLD + self.seed), "--in-process",
            "--set", f"sim.variation={self.given.amount}", "--set", f"sim.variations={kinds}",
        )  # fmt: skip

    def evaluate(self, name: str, weights: str, record: str, *words: object) -> dict[str, Any]:
        """Success of a run's policy; evaluated unless it is there."""
        run = self.run(name)
        if not (run.evaluations / f"{record}.json").is_file():
            self.call("evaluate", name, "--weights", weights, "--trials", self.given.trials, *words)
        return evaluation(run.path, record)

    def note(self, condition: str, arm: str, success: dict[str, Any], **more: object) -> None:
        """A row of the table, unless it is there."""
        keys = {"seed": self.seed, "condition": condition, "arm": arm}
        if not self.table.has(**keys):
            self.table.add({"task": self.given.task, **keys, **success, **more})

    def single(self, condition: str) -> None:
        """The condition alone: source, adapted, scratch, frozen."""
        amounts = ("--demonstrations", self.given.demonstrations, "--failures", 0)
        self.call("demos", condition, *self.world(condition), *amounts)
        episodes = sum(1 for _ in read_episodes(self.run(condition).bag_files("demos")))
        said = {"episodes": episodes, "updates": self.given.updates}
        self.call(
            "adapt", condition, "--from", self.source.policy("practised"), "--adaptation-updates", self.given.updates
        )
        self.note(condition, "source", self.evaluate(condition, "source", "source"))
        self.note(condition, "adapted", self.evaluate(condition, "adapted", "adapted"), **said)
        said["updates"] = self.given.scratch_updates
        seen = {"network": {"encoder": "frozen", "frozen_model": str(self.source.reward.resolve())}}
        arms: dict[str, dict[str, Any]] = {"scratch": {}, "frozen": seen}
        for arm, settings in arms.items():
            name = f"{condition}_{arm}"
            if not self.table.has(seed=self.seed, condition=condition, arm=arm):
                self.begin(name, condition, settings)
                self.call("pretrain", name, "--pretraining-updates", said["updates"])
                self.note(condition, arm, self.evaluate(name, "pretrained", "before"), **said)

    def chain(self) -> None:
        """All conditions one after another; the last policy in each of them again."""
        checkpoints = self.source.policy("practised")
        for number, condition in enumerate(CONDITIONS):
            name = f"chain_{number}_{condition}"
            self.begin(name, condition)
            self.call("adapt", name, "--from", checkpoints, "--adaptation-updates", self.given.updates)
            checkpoints = self.run(name).adapted
        for number, condition in enumerate(CONDITIONS):
            link = self.run(f"chain_{number}_{condition}").name
            own = link == self.run(name).name
            words: tuple[str, ...] = () if own else ("--like", link)
            record = "adapted" if own else f"adapted_like_{link}"
            self.note(condition, "chain", self.evaluate(name, "adapted", record, *words), updates=self.given.updates)
        plain = self.source.name
        if not (self.given.runs / plain).exists():  # `--like` names a run beside this one
            shutil.copytree(self.source.path, self.given.runs / plain, ignore=shutil.ignore_patterns("bags", "replay"))
        words = ("--like", plain)
        self.note("plain", "chain", self.evaluate(name, "adapted", f"adapted_like_{plain}", *words))
        self.note("plain", "source", evaluation(self.source.path, "after"))

    def begin(self, name: str, condition: str, settings: Mapping[str, Any] | None = None) -> None:
        """A run with a condition's demonstrations and settings, and `settings` besides; whole or not there."""
        run, other = self.run(name), self.run(condition)
        if run.config_file.exists():
            return
        shutil.rmtree(run.path, ignore_errors=True)
        run.prepare()
        shutil.copytree(other.bags("demos"), run.bags("demos"), dirs_exist_ok=True)
        config = other.read_config()
        run.note("demos", **other.stage_record("demos"))
        run.write_config(config | {"settings": config["settings"] | dict(settings or {})})


def main() -> None:
    """Every condition of every seed, then the chains."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="pot_pick_and_place")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--sources", type=Path, default=Path("runs/main_job"), help="where the practised runs are")
    parser.add_argument("--runs", type=Path, default=Path("runs/adaptation"))
    parser.add_argument("--amount", type=float, default=3.0, help="of the variation (a practised policy stands 1)")
    parser.add_argument("--demonstrations", type=int, default=20, help="successful ones per direction and condition")
    parser.add_argument("--updates", type=int, default=2000, help="of an adaptation")
    parser.add_argument("--scratch-updates", type=int, default=6000)
    parser.add_argument("--scale", type=float, default=1.0, help="of updates; the table's name tells it")
    parser.add_argument("--trials", type=int, default=25, help="each way, of every evaluation")
    given = parser.parse_args()
    if shutil.which("robofume") is None:
        sys.exit("The command robofume is not on the PATH: activate the environment first (. .venv/bin/activate).")
    given.updates, given.scratch_updates = (round(n * given.scale) for n in (given.updates, given.scratch_updates))
    table = Table(scaled(f"adaptation_{given.task}", given.scale), ("seed", "condition", "arm"))
    for seed in given.seeds:
        conditions = Conditions(given, seed, table)
        if not conditions.source.checkpoints.is_dir():
            sys.exit(f"{conditions.source.path} has not practised: make it with benchmarks/main_job.py.")
        for condition in CONDITIONS:
            conditions.single(condition)
        conditions.chain()


if __name__ == "__main__":
    main()
