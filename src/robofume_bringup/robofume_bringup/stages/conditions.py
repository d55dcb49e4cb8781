"""Evaluates a policy in the conditions of other runs: those that it was adapted from, for instance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from robofume_common.errors import RobofumeError

from robofume_bringup.run_directory import RunDirectory
from robofume_bringup.stages.context import StageContext
from robofume_bringup.stages.evaluation import evaluate_policy

LINE = "line"
"""Stands for every earlier run of the policy's line."""


def evaluate_like(context: StageContext, weights: str, name: str, others: Sequence[str]) -> None:
    """Evaluate one of the run's policies in the simulation as other runs set it; evaluations/<name>_like_<run>.json.

    The plain world, light, camera, gripper and objects of a run follow from its settings of the component `sim` and
    its seed. Raises RobofumeError where a run is not there, or has another task or robot.
    """
    runs = context.directory.path.parent
    for other in _chosen(context, others):
        directory = RunDirectory(runs / other)
        if Path(other).name != other or not directory.config_file.is_file():  # the record is named after it
            raise RobofumeError(f"There is no run {other} in {runs}: --like names a run beside this one, or `{LINE}`.")
        config = directory.read_config()
        for what, own in (("task", context.config.task), ("robot", context.config.robot)):
            if config.get(what, own) != own:
                raise RobofumeError(
                    f"The run {other} has the {what} {config[what]}, this one {own}: conditions can be compared "
                    "within one task of one robot."
                )
        sim = {"variation_seed": config.get("seed", 0), **(config.get("settings") or {}).get("sim", {})}
        there = replace(context.config, settings={**context.config.settings, "sim": sim})
        evaluate_policy(replace(context, config=there), weights, name, like=other)


def _chosen(context: StageContext, others: Sequence[str]) -> list[str]:
    """The names, each once, with the earlier runs of the line in the place of LINE."""
    from robofume_policy.lineage import read_lineage

    chosen: list[str] = []
    for other in others:
        if other == LINE:
            earlier = [generation.run for generation in read_lineage(context.directory.adapted)[:-1]]
            if not earlier:
                raise RobofumeError(
                    f"The run {context.directory.name} has no line of adaptations yet: run `robofume adapt` first, or "
                    "name runs with --like."
                )
            chosen += earlier
        else:
            chosen.append(other)
    return list(dict.fromkeys(chosen))
