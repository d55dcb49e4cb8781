"""Evaluates a policy where the simulation is not the one that it was trained in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from robofume_common.errors import RobofumeError

from robofume_bringup.robustness import PLAIN, record_name, robustness, variations_to_run
from robofume_bringup.stages.context import StageContext, percent
from robofume_bringup.stages.evaluation import evaluate_policy, measured_by, read_evaluation


def evaluate_robustness(
    context: StageContext, weights: str, name: str, variations: Sequence[str], draws: int = 1
) -> None:
    """Evaluate a policy in the plain simulation, where this run has not yet, and under each of `variations`, the trials
    spread over `draws` of it; then say which share of its success it keeps. What was finished with this very policy, in
    this simulation and with as many trials is not run again.

    Raises RobofumeError where there are fewer trials than draws, and where the run's own world is varied: there is no
    plain one to compare with.
    """
    kinds = variations_to_run(context.config.robot, variations)
    own = context.config.of("sim").get("variation", 0.0)
    if own > 0.0:
        raise RobofumeError(
            f"The run {context.directory.name} is in a varied world itself (sim.variation {own:g}), so that there is "
            "no plain one to compare with: leave --variation out, or evaluate in another run's simulation with --like."
        )
    if not 1 <= draws <= context.config.trials:
        raise RobofumeError(
            f"--variation-draws must be from 1 to the {context.config.trials} trials of a direction, not {draws}: each "
            "draw needs a trial."
        )
    for kind in (PLAIN, *kinds):
        drawn = draws if kind != PLAIN else 1
        record = read_evaluation(context.directory, record_name(name, kind, drawn)) or {}
        if any(record.get(key) != value for key, value in measured_by(context, weights, kind, drawn).items()):
            evaluate_policy(context, weights, name, kind, draws=drawn)
    records = {path.stem: read_evaluation(context.directory, path.stem) or {} for path in
               context.directory.evaluations.glob("*.json")}  # fmt: skip
    for row in robustness(records):
        if row["evaluation"] == name:
            context.say(describe_row(row))


def describe_row(row: dict[str, Any]) -> str:
    """`camera: 40% success, 50% of the plain scene's; 81% of the goal reached on average, 90% of the plain scene's.`"""
    told = [("success", row["share"], row["kept"]), ("of the goal reached on average", row["score"], row["score_kept"])]
    parts = [
        f"{percent(share)} {what}, {percent(kept) if kept is not None else 'nothing to keep'} of the plain scene's"
        for what, share, kept in told
        if share is not None
    ]
    lowest, highest = percent(min(row["by_draw"])), percent(max(row["by_draw"]))
    drawn = f" ({len(row['by_draw'])} draws, {lowest} to {highest})" if len(row["by_draw"]) > 1 else ""
    return f"{row['variation']}{drawn}: " + "; ".join(parts) + "."
