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

from robofume_bringup.evaluation_record import DIRECTIONS, cycle_time, of_pair, pairs_of, read_record
from robofume_bringup.film_strips import evaluation_strips, write_strips
from robofume_bringup.graph import control_period
from robofume_bringup.robustness import PLAIN, by_draw, record_name
from robofume_bringup.run_directory import RunDirectory
from robofume_bringup.stages.context import StageContext, percent
from robofume_bringup.statistics import grouped_interval, mean_told
from robofume_bringup.task_files import task_description

SEED = 1
"""Trial i of a direction starts from a place that follows from this seed and i: the same for every
evaluation. Of several draws of a variation each has the next seed."""


LIKE = "_like_"
"""Between the name of an evaluation and that of the run whose simulation it was made in."""


def evaluate_policy(
    context: StageContext, weights: str, name: str, variation: str = PLAIN, like: str = "", draws: int = 1
) -> dict[str, Any]:
    """Evaluate one of the run's policies (see `RunDirectory.policy`) and write evaluations/<name>.json and film strips.

    With a `variation` of the simulation (`robofume_sim.variations.KINDS`) the file is that of `record_name`, and the
    trials are spread over as many draws of it; `like` names the run whose simulation the settings of this one describe
    (`conditions.evaluate_like`).
    """
    directory, trials = context.directory, context.config.trials
    name = f"{name}{LIKE}{like}" if like else record_name(name, variation, draws)
    stage = f"evaluate_{name}"
    measured = measured_by(context, weights, variation, draws)
    worlds = _worlds(context, variation, draws)
    pairs = [pair.name for pair in task_description(context.config.robot, context.config.task).pairs]
    with context.timed(stage), context.bar(f"Evaluating ({name})", 2 * trials * len(pairs), "trial") as bar:
        parts = [
            _trials(world, weights, count, SEED + number, bar) for number, (world, count) in enumerate(worlds)
        ]
    (started, _), (began, last) = parts[0], parts[-1]
    record = {
        "name": name,
        "weights": weights,
        "variation": variation,
        "like": like,
        **measured,
        "started": started,
        "duration": began + last.duration - started,
        "control_period": control_period(context.config.robot, context.config.node_settings),
        **_counted([result for _, result in parts]),
        **(_tasks(pairs, [count for _, count in worlds]) if len(pairs) > 1 else {}),
    }
    write_atomically(directory.evaluations / f"{name}.json", json.dumps(record, indent=2).encode())
    where = f" under the variation {variation}" if variation != PLAIN else f" as in the run {like}" if like else ""
    context.say(f"Evaluation of the {weights} policy{where}: " + describe(record))
    for pair in pairs_of(record):
        context.say(f"Of it {pair}: " + describe(of_pair(record, pair)))
    directory.note(stage, finished=True)
    strips = write_strips(directory, evaluation_strips(directory, {name: record}))
    if strips:
        context.say(f"Film strips of it, in {directory.figures}: {', '.join(path.name for path in strips)}.")
    return record


def measured_by(context: StageContext, weights: str, variation: str = PLAIN, draws: int = 1) -> dict[str, Any]:
    """What an evaluation is of, as its record has it: one that says the same need not be made again.

    Raises RobofumeError where there is no whole checkpoint.
    """
    from robofume_policy.checkpoint import CheckpointStore

    _need(context, weights)
    store, worlds = CheckpointStore(context.directory.policy(weights)), _worlds(context, variation, draws)
    newest = store.newest()
    if newest is None:
        raise RobofumeError(f"There is no policy checkpoint in {store.directory}: run `robofume pretrain` first.")
    checkpoint, sha256 = newest
    simulations = [_simulation(world) for world, _ in worlds]
    spread = {
        "variation_seeds": [simulation["variation_seed"] for simulation in simulations],
        "trials_per_draw": [count for _, count in worlds],
    }
    return {
        "trials_per_direction": context.config.trials,
        "seed": SEED,
        "checkpoint": checkpoint,
        "sha256": sha256,
        "sim": simulations[0],
        **(spread if draws > 1 else {}),
    }


def _worlds(context: StageContext, variation: str, draws: int) -> list[tuple[StageContext, int]]:
    """The run in each simulation that it is evaluated in, and with how many trials per direction.

    What varies is the kind that was asked for, whatever kinds the run's own settings name.
    """
    config = context.config
    if variation == PLAIN:
        return [(context, config.trials)]
    worlds = []
    for number in range(draws):
        seed = _simulation(context)["variation_seed"] + number
        sim = {**config.of("sim"), "variation": 1.0, "variations": [variation], "variation_seed": seed}
        world = replace(context, config=replace(config, settings={**config.settings, "sim": sim}))
        worlds.append((world, config.trials // draws + (number < config.trials % draws)))
    return worlds


def _simulation(context: StageContext) -> dict[str, Any]:
    config = context.config
    return {"lockstep": config.lockstep, "variation_seed": config.seed, **config.of("sim")}


def _trials(context: StageContext, weights: str, trials: int, seed: int, bar: Any) -> tuple[float, Any]:
    """Wall time of the first trial's start [s since 1970], and the result of `trials` per direction."""
    before = bar.n
    with context.robot("evaluate", weights=weights) as session:

        def feedback(state: Any) -> None:
            bar.update(before + state.trials_done - bar.n)
            bar.set_postfix(
                forward=f"{state.forward_successes}/{state.forward_trials}",
                backward=f"{state.backward_successes}/{state.backward_trials}",
                refresh=False,
            )

        started = time.time()
        result = session.evaluate(feedback, trials, seed)
        bar.update(before + len(result.forward_success) + len(result.backward_success) - bar.n)
    return started, result


def _counted(results: Sequence[Any]) -> dict[str, list[Any]]:
    """The trials of all results, one after the other."""
    counted: dict[str, list[Any]] = {}
    for what, value in (("success", bool), ("steps", int), ("score", _score)):
        for direction in DIRECTIONS.values():
            name = f"{direction}_{what}"
            counted[name] = [value(each) for result in results for each in getattr(result, name)]
    return counted


def _tasks(pairs: Sequence[str], counts: Sequence[int]) -> dict[str, list[str]]:
    """Which pair each trial was of: with each draw one pair after the other, as Evaluate.action says."""
    names = [pair for count in counts for pair in pairs for _ in range(count)]
    return {f"{direction}_task": names for direction in DIRECTIONS.values()}


def _score(value: float) -> float | None:
    """Share of the goal reached; None where the judge told none."""
    return round(float(value), 4) if math.isfinite(value) else None


def describe(record: dict[str, Any]) -> str:
    """`forward 46 of 50 (92%, ...; 95% of the goal reached on average; 3.1 s to a success), backward ...`."""
    parts = []
    for direction in DIRECTIONS.values():
        successes = record[f"{direction}_success"]
        low, high = grouped_interval(by_draw(record, direction))
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


def read_evaluation(directory: RunDirectory, name: str) -> dict[str, Any] | None:
    """What evaluations/<name>.json says; None if there is none. Raises RobofumeError where it is damaged."""
    try:
        return read_record(directory.evaluations / f"{name}.json")
    except FileNotFoundError:
        return None


def _need(context: StageContext, weights: str) -> None:
    directory = context.directory
    if weights == "pretrained" and not directory.pretrained.is_dir():
        raise RobofumeError(
            f"The run {directory.name} has no pre-trained policy yet: run `robofume pretrain --run "
            f"{directory.name}` first."
        )
    if weights in ("practised", "newest") and not any(directory.checkpoints.glob("[0-9]*")):
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
            "POLICY` first."
        )
