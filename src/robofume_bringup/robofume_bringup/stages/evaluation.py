"""Counts successes by ground truth, each trial after a scene reset."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from robofume_common.errors import RobofumeError
from robofume_common.files import write_atomically

from robofume_bringup.evaluation_record import cycle_time
from robofume_bringup.film_strips import evaluation_strips, write_strips
from robofume_bringup.graph import control_period
from robofume_bringup.robustness import PLAIN, record_name, robustness, variations_to_run
from robofume_bringup.run_directory import RunDirectory
from robofume_bringup.stages.context import StageContext, percent
from robofume_bringup.statistics import mean_told, wilson_interval

SEED = 1
"""Trial i of a direction starts from a place that follows from this seed and i: the same for every
evaluation."""


LIKE = "_like_"
"""Between the name of an evaluation and that of the run whose simulation it was made in."""


def evaluate_policy(
    context: StageContext, weights: str, name: str, variation: str = PLAIN, like: str = ""
) -> dict[str, Any]:
    """Evaluate one of the run's policies (see `RunDirectory.policy`) and write evaluations/<name>.json and film strips.

    With a `variation` of the simulation (`robofume_sim.variations.KINDS`) the file is that of `record_name`; `like`
    names the run whose simulation the settings of this one describe (`conditions.evaluate_like`).
    """
    directory, trials = context.directory, context.config.trials
    name = f"{name}{LIKE}{like}" if like else record_name(name, variation)
    stage = f"evaluate_{name}"
    if variation != PLAIN:
        context = _varied(context, variation)
    measured = _measured(context, weights)
    with (
        context.timed(stage),
        context.robot("evaluate", weights=weights) as session,
        context.bar(f"Evaluating ({name})", 2 * trials, "trial") as bar,
    ):

        def feedback(state: Any) -> None:
            bar.update(state.trials_done - bar.n)
            bar.set_postfix(
                forward=f"{state.forward_successes}/{state.forward_trials}",
                backward=f"{state.backward_successes}/{state.backward_trials}",
                refresh=False,
            )

        started = time.time()
        result = session.evaluate(feedback, trials, SEED)
        bar.update(2 * trials - bar.n)
    record = {
        "name": name,
        "weights": weights,
        "variation": variation,
        "like": like,
        **measured,
        "started": started,
        "duration": result.duration,
        "control_period": control_period(context.config.robot, context.config.node_settings),
        "forward_success": [bool(value) for value in result.forward_success],
        "backward_success": [bool(value) for value in result.backward_success],
        "forward_steps": [int(value) for value in result.forward_steps],
        "backward_steps": [int(value) for value in result.backward_steps],
        "forward_score": _scores(result.forward_score),
        "backward_score": _scores(result.backward_score),
    }
    write_atomically(directory.evaluations / f"{name}.json", json.dumps(record, indent=2).encode())
    where = f" under the variation {variation}" if variation != PLAIN else f" as in the run {like}" if like else ""
    context.say(f"Evaluation of the {weights} policy{where}: " + describe(record))
    directory.note(stage, finished=True)
    strips = write_strips(directory, evaluation_strips(directory, {name: record}))
    if strips:
        context.say(f"Film strips of it, in {directory.figures}: {', '.join(path.name for path in strips)}.")
    return record


def evaluate_robustness(context: StageContext, weights: str, name: str, variations: Sequence[str]) -> None:
    """Evaluate a policy in the plain simulation, where this run has not yet, and under each of `variations`; then say
    which share of its success it keeps. What was finished with this very policy, in this simulation and with as many
    trials is not run again.

    Raises RobofumeError where the run's own world is varied: there is no plain one to compare with.
    """
    kinds = variations_to_run(context.config.robot, variations)
    own = context.config.of("sim").get("variation", 0.0)
    if own > 0.0:
        raise RobofumeError(
            f"The run {context.directory.name} is in a varied world itself (sim.variation {own:g}), so that there is "
            "no plain one to compare with: leave --variation out, or evaluate in another run's simulation with --like."
        )
    for kind in (PLAIN, *kinds):
        record = read_evaluation(context.directory, record_name(name, kind)) or {}
        measured = _measured(_varied(context, kind) if kind != PLAIN else context, weights)
        if any(record.get(key) != value for key, value in measured.items()):
            evaluate_policy(context, weights, name, kind)
    records = {path.stem: read_evaluation(context.directory, path.stem) or {} for path in
               context.directory.evaluations.glob("*.json")}  # fmt: skip
    for row in robustness(records):
        if row["evaluation"] == name:
            context.say(describe_row(row))


def _varied(context: StageContext, kind: str) -> StageContext:
    """The run in a simulation that varies in one kind, whatever kinds its own settings name."""
    sim = {**context.config.of("sim"), "variation": 1.0, "variations": [kind]}
    config = replace(context.config, settings={**context.config.settings, "sim": sim})
    return replace(context, config=config)


def _measured(context: StageContext, weights: str) -> dict[str, Any]:
    """What an evaluation is of, as its record has it: one that says the same need not be made again.

    Raises RobofumeError where there is no whole checkpoint.
    """
    from robofume_policy.checkpoint import CheckpointStore

    _need(context, weights)
    config, store = context.config, CheckpointStore(context.directory.policy(weights))
    newest = store.newest()
    if newest is None:
        raise RobofumeError(f"There is no policy checkpoint in {store.directory}: run `robofume pretrain` first.")
    checkpoint, sha256 = newest
    return {
        "trials_per_direction": config.trials,
        "seed": SEED,
        "checkpoint": checkpoint,
        "sha256": sha256,
        "sim": {"lockstep": config.lockstep, "variation_seed": config.seed, **config.of("sim")},
    }


def _scores(values: Sequence[float]) -> list[float | None]:
    """Shares of the goal reached; None where the judge told none."""
    return [round(float(value), 4) if math.isfinite(value) else None for value in values]


def describe(record: dict[str, Any]) -> str:
    """`forward 46 of 50 (92%, ...; 95% of the goal reached on average; 3.1 s to a success), backward ...`."""
    parts = []
    for direction in ("forward", "backward"):
        successes = record[f"{direction}_success"]
        low, high = wilson_interval(sum(successes), len(successes))
        share = sum(successes) / max(1, len(successes))
        score = mean_told(record.get(f"{direction}_score"))
        reached = f"; {percent(score)} of the goal reached on average" if score is not None else ""
        seconds = cycle_time(record, direction)
        took = f"; {seconds:.1f} s of robot time to a success" if seconds is not None else ""
        parts.append(
            f"{direction} {sum(successes)} of {len(successes)} ({percent(share)}, 95% interval "
            f"{percent(low)} to {percent(high)}{reached}{took})"
        )
    return ", ".join(parts) + "."


def describe_row(row: dict[str, Any]) -> str:
    """`camera: 40% success, 50% of the plain scene's; 81% of the goal reached on average, 90% of the plain scene's.`"""
    told = [("success", row["share"], row["kept"]), ("of the goal reached on average", row["score"], row["score_kept"])]
    parts = [
        f"{percent(share)} {what}, {percent(kept) if kept is not None else 'nothing to keep'} of the plain scene's"
        for what, share, kept in told
        if share is not None
    ]
    return f"{row['variation']}: " + "; ".join(parts) + "."


def read_evaluation(directory: RunDirectory, name: str) -> dict[str, Any] | None:
    """What evaluations/<name>.json says; None if there is none. Raises RobofumeError where it is damaged."""
    path = directory.evaluations / f"{name}.json"
    try:
        return dict(json.loads(path.read_text()))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise RobofumeError(f"{path} is damaged: remove it and evaluate again.") from error


def _need(context: StageContext, weights: str) -> None:
    directory = context.directory
    if weights == "pretrained" and not directory.pretrained.is_dir():
        raise RobofumeError(
            f"The run {directory.name} has no pre-trained policy yet: run `robofume pretrain --run "
            f"{directory.name}` first."
        )
    if weights == "practised" and not any(directory.checkpoints.glob("[0-9]*")):
        raise RobofumeError(
            f"The run {directory.name} has not practised yet: run `robofume practice --run "
            f"{directory.name}` first, "
            "or evaluate the pre-trained policy with --weights pretrained."
        )
    if weights == "retrained" and not any(directory.retrained.glob("[0-9]*")):
        raise RobofumeError(
            f"The run {directory.name} has no retrained policy yet: run `robofume retrain --run "
            f"{directory.name}` first."
        )
    if weights in ("source", "adapted") and not any(directory.policy(weights).glob("[0-9]*")):
        raise RobofumeError(
            f"The run {directory.name} has no adapted policy yet: run `robofume adapt --run {directory.name} --from "
            "CHECKPOINT` first."
        )
