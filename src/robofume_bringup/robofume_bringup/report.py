"""The report of a run: one HTML page that needs no other file, and its figures as PNGs."""

from __future__ import annotations

import base64
import itertools
import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from robofume_common.enums import Outcome
from robofume_common.errors import RobofumeError
from robofume_common.files import write_atomically
from robofume_common.task import TaskPair
from robofume_reset.tally import Tally
from robofume_reward.measures import Resampling

from robofume_bringup import report_figures as figures
from robofume_bringup.episodes import EpisodeSummary, read_summaries, robot_time
from robofume_bringup.evaluation_record import (
    DIRECTIONS,
    EVALUATIONS,
    cycle_time,
    of_pair,
    pairs_of,
    read_record,
    steps_to_success,
)
from robofume_bringup.film_strips import film_strips, write_strips
from robofume_bringup.graph import control_period
from robofume_bringup.robustness import robustness
from robofume_bringup.run_directory import RunDirectory
from robofume_bringup.statistics import mean_told, wilson_interval

STAGES = {
    "demos": "Demonstrations",
    "reward": "Reward model",
    "pretrain": "Pre-training",
    "evaluate_before": "Evaluation before",
    "practice": "Practice",
    "evaluate_after": "Evaluation after",
    "retrain": "Retraining",
    "evaluate_retrained": "Evaluation retrained",
    "evaluate_source": "Evaluation before adaptation",
    "adapt": "Adaptation",
    "evaluate_adapted": "Evaluation after adaptation",
}


@dataclass(frozen=True)
class RunResults:
    """Everything the report shows, read from a run directory."""

    name: str
    config: dict[str, Any]
    instructions: dict[str, str]
    demonstrations: list[EpisodeSummary] = field(default_factory=list)
    practice: list[EpisodeSummary] = field(default_factory=list)
    evaluations: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By the names of EVALUATIONS, and of their variations (`robustness.record_name`)."""
    stages: dict[str, dict[str, Any]] = field(default_factory=dict)
    updates: int = 0
    pairs: Sequence[TaskPair] = ()
    """Of a scene with several tasks, all of its pairs of instructions."""
    totals: Tally | None = None
    """What the switcher counted in practice; None where it did not run yet."""


def collect_results(directory: RunDirectory) -> RunResults:
    """Read what the run directory holds so far; a part that is not there yet is left out."""
    from robofume_reset.state import load_state
    from robofume_reset.switching import SwitchingConfig

    from robofume_bringup.task_files import task_description

    directory.need()
    config = directory.read_config()
    description = task_description(config.get("robot", "mujoco"), config["task"])
    evaluations = {path.stem: read_record(path) for path in sorted(directory.evaluations.glob("*.json"))}
    state = directory.switcher_state("practice")
    numbers = [int(path.name) for path in directory.checkpoints.glob("[0-9]*") if path.name.isdigit()]
    return RunResults(
        directory.name,
        config,
        {"forward": description.forward_instruction, "backward": description.backward_instruction},
        read_summaries(directory.bag_files("demos")),
        read_summaries(directory.bag_files("practice")),
        evaluations,
        {name: directory.stage_record(name) for name in STAGES},
        max(numbers, default=0),
        description.pairs if len(description.pairs) > 1 else (),
        load_state(state, SwitchingConfig()).alternation.total if state.exists() else None,
    )


def write_report(directory: RunDirectory) -> Path:
    """Write report.html and the PNGs in report/; returns the path of the page."""
    results = collect_results(directory)
    strips = film_strips(directory, results.evaluations)
    write_page(results, directory, strips)
    return directory.report


def write_page(results: RunResults, directory: RunDirectory, strips: dict[str, bytes]) -> None:
    """Draw the figures and write the page; `strips` are captions and PNGs of film strips."""
    from jinja2 import Environment, PackageLoader

    pictures = {
        "success": figures.success_over_steps(results),
        "minutes": figures.success_over_minutes(results),
        "evaluation": figures.evaluation_bars(results),
        "stages": figures.time_per_stage(results),
        "soak": figures.soak_curves(directory.soak),
    }
    drawn = {name: png for name, png in pictures.items() if png is not None}
    for name, png in drawn.items():
        write_atomically(directory.figures / f"{name}.png", png)
    write_strips(directory, strips)
    environment = Environment(
        loader=PackageLoader("robofume_bringup"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["percent"] = percent
    environment.filters["duration"] = duration
    environment.filters["hours"] = hours
    page = environment.get_template("report.html.j2").render(
        results=results,
        headline=headline(results),
        evaluation=evaluation_table(results),
        robustness=robustness_table(results),
        reward=reward_in_use(results),
        practice=practice_facts(results),
        demonstration_minutes=demonstration_minutes(results),
        stages=[(STAGES[name], record.get("seconds")) for name, record in results.stages.items() if record],
        held_out=results.stages.get("reward", {}).get("held_out"),
        baselines=compared(results),
        most_wrong=most_wrong(directory),
        figures={name: embed(png) for name, png in drawn.items()},
        strips={caption: embed(png) for caption, png in strips.items()},
        written=time.strftime("%Y-%m-%d %H:%M"),
    )
    write_atomically(directory.report, page.encode())


# What the page says


def mean_share(evaluation: dict[str, Any]) -> float:
    """Mean of the success shares of both directions."""
    return float(np.mean([np.mean(evaluation[f"{name}_success"]) for name in DIRECTIONS.values()]))


def headline(results: RunResults) -> str:
    """The run in one sentence."""
    before, after = results.evaluations.get("before"), results.evaluations.get("after")
    steps = sum(episode.num_steps for episode in results.practice)
    if before and after:
        return (
            f"Success went from {percent(mean_share(before))} to {percent(mean_share(after))} (mean of "
            f"both directions, "
            f"ground truth) in {steps:,} control steps of practice."
        )
    if before:
        share = percent(mean_share(before))
        return f"The pre-trained policy succeeds in {share} of its trials; {steps:,} control steps practised."
    count = len(results.demonstrations)
    return f"{count} episodes of demonstrations, {steps:,} control steps of practice so far."


def robustness_table(results: RunResults) -> list[dict[str, Any]]:
    """One row per policy and variation of the simulation; see `robustness.robustness`."""
    rows = robustness(results.evaluations)
    return [row | {"policy": EVALUATIONS.get(row["evaluation"], row["evaluation"])} for row in rows]


def evaluation_table(results: RunResults) -> list[dict[str, Any]]:
    """One row per evaluation and direction; of several pairs of instructions then one for each, with its `pair`."""
    rows = []
    for name in EVALUATIONS:
        whole = results.evaluations.get(name)
        if not whole:
            continue
        parts = {"": whole, **{pair: of_pair(whole, pair) for pair in pairs_of(whole)}}
        for (pair, record), direction in itertools.product(parts.items(), DIRECTIONS.values()):
            outcomes = record[f"{direction}_success"]
            low, high = wilson_interval(sum(outcomes), len(outcomes))
            rows.append(
                {
                    "name": name,
                    "policy": EVALUATIONS[name],
                    "direction": direction,
                    "pair": pair,
                    "successes": sum(outcomes),
                    "trials": len(outcomes),
                    "share": sum(outcomes) / max(1, len(outcomes)),
                    "low": low,
                    "high": high,
                    "steps": steps_to_success(record, direction),
                    "seconds": cycle_time(record, direction),
                    "score": mean_told(record.get(f"{direction}_score")),
                }
            )
    return rows


def reward_in_use(results: RunResults) -> list[dict[str, Any]]:
    """Precision and recall of the verdicts given during practice, against ground truth, per direction.

    Per step, and per episode: was an episode that the loop called a success one, and did it miss one. A success that
    the judge left unknown was missed.
    """
    rows = []
    for number, name in DIRECTIONS.items():
        episodes = [
            e
            for e in results.practice
            if e.direction == number and (e.judged or e.undecided) and e.true_success is not None
        ]
        if not episodes:
            continue
        steps = [(e.true_positives, e.false_positives, e.false_negatives) for e in episodes]
        ends = [
            (int(e.success and bool(e.true_success)), int(e.success and not e.true_success),
             int(e.false_negatives > 0 and not e.success))
            for e in episodes
        ]  # fmt: skip
        for unit, counts in (("step", steps), ("episode", ends)):
            right, wrong, missed = np.array(counts).T
            true_positives = int(right.sum())
            positives, actual = true_positives + int(wrong.sum()), true_positives + int(missed.sum())
            rows.append(
                {
                    "direction": name,
                    "unit": unit,
                    "precision": true_positives / positives if positives else None,
                    "precision_interval": _interval_over_episodes(right, wrong),
                    "recall": true_positives / actual if actual else None,
                    "recall_interval": _interval_over_episodes(right, missed),
                    "called": positives,
                    "actual": actual,
                }
            )
    return rows


def _interval_over_episodes(hits: NDArray[np.int64], misses: NDArray[np.int64]) -> tuple[float, float]:
    """95% interval of a share, from the hits and misses (E,) of each episode: the steps of one resemble one another,
    and are no trials of their own.
    """
    if max(hits + misses) <= 1:
        return wilson_interval(int(hits.sum()), int((hits + misses).sum()))
    is_hit = np.repeat(np.tile([True, False], len(hits)), np.column_stack([hits, misses]).ravel())
    of_episode = np.repeat(np.arange(len(hits)), hits + misses)
    low, high = Resampling(of_episode).proportion(is_hit, np.ones_like(is_hit))
    return low, high


def compared(results: RunResults) -> dict[str, Any]:
    """The reward model and its baselines where `reward evaluate --baselines` has measured both, by name."""
    evaluated = results.stages.get("reward", {}).get("evaluated", {})
    found = evaluated.get("baselines", {})
    named = {name.replace("_", " "): result for name, result in found.items()}
    return {"the model": evaluated, **named} if found else {}


def most_wrong(directory: RunDirectory) -> list[dict[str, Any]]:
    """The pictures that the reward model got most wrong when it was measured last, worst first."""
    pictures = []
    for name in ("evaluation.json", "training.json"):
        path = directory.reward / name
        if not path.is_file():
            continue
        try:
            content = json.loads(path.read_text())
        except ValueError as error:
            raise RobofumeError(f"{path} is damaged: evaluate the reward model again.") from error
        for record in content.get("held_out", content).get("most_wrong", []):
            file = directory.reward / record.get("file", "")
            if file.is_file():
                pictures.append({**record, "picture": embed(file.read_bytes())})
        return pictures
    return pictures


def practice_facts(results: RunResults) -> dict[str, Any]:
    """Counts and rates of practice. Nudges and relocations are no episodes here; what they took is."""
    everything = results.practice
    episodes = [episode for episode in everything if not episode.scripted]
    record = results.stages.get("practice", {})
    seconds = float(record.get("seconds") or 0.0)
    steps = sum(episode.num_steps for episode in everything)
    recent = [episode for episode in episodes if episode.judged][-50:]
    known = [episode for episode in recent if episode.true_success is not None]
    resets = sum(episode.assisted_reset_before for episode in episodes)
    return {
        "steps": steps,
        "episodes": len(episodes),
        "updates": results.updates,
        "seconds": seconds,
        "robot_time": robot_time(everything),
        "steps_per_second": steps / seconds if seconds else None,
        "assisted_resets": resets,
        "episodes_per_reset": len(episodes) / resets if resets else None,
        "interventions": sum(episode.takeovers for episode in everything),
        "person_share": sum(episode.person_steps for episode in everything) / steps if steps else None,
        "help": results.totals,
        "person_minutes": person_minutes(results),
        "aborted": sum(episode.outcome == Outcome.ABORTED for episode in episodes),
        "pairs": [_practised(pair.name, episodes) for pair in results.pairs],
        "undecided": sum(episode.undecided for episode in episodes),
        "unknown": sum(episode.unknown for episode in episodes),
        "recent": len(recent),
        "recent_judged": sum(e.success for e in recent) / len(recent) if recent else None,
        "recent_true": sum(bool(e.true_success) for e in known) / len(known) if known else None,
    }


def _practised(pair: str, episodes: Sequence[EpisodeSummary]) -> dict[str, Any]:
    """How often one pair of instructions was practised, and the share of successes among the last 50 that were judged.
    """
    own = [episode for episode in episodes if episode.task == pair]
    recent = [episode for episode in own if episode.judged][-50:]
    share = sum(episode.success for episode in recent) / len(recent) if recent else None
    return {"name": pair, "episodes": len(own), "recent": len(recent), "recent_judged": share}


def person_minutes(results: RunResults) -> float:
    """Minutes of a person's time that practice took: waiting for help, and acting in the policy's place."""
    waited = results.totals.person_seconds if results.totals else 0.0
    return waited / 60.0 + _minutes_acting(results, results.practice)


def demonstration_minutes(results: RunResults) -> float:
    """Minutes that a person moved the arm in the demonstrations; 0 where a script did."""
    return _minutes_acting(results, results.demonstrations)


def _minutes_acting(results: RunResults, episodes: Sequence[EpisodeSummary]) -> float:
    """Each action that a person chose takes a control period of the run."""
    period = control_period(results.config.get("robot", "mujoco"), results.config.get("settings") or {})
    return sum(episode.person_steps for episode in episodes) * period / 60.0


# Form


def percent(share: float | None) -> str:
    """`0.914` -> `91%`; a dash for None and NaN."""
    return "–" if share is None or math.isnan(share) else f"{100 * share:.0f}%"


def duration(seconds: float | None) -> str:
    """`83` -> `1 min 23 s`; a dash for None."""
    if seconds is None:
        return "–"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def hours(seconds: float) -> str:
    """`5400` -> `1.50 hours`."""
    return f"{seconds / 3600:.2f} hours"


def embed(png: bytes) -> str:
    """A PNG as a data URL."""
    return "data:image/png;base64," + base64.b64encode(png).decode()
