"""How good a judge is on recorded episodes that it was not trained on.

Per direction, and per task where there are several, over the frames with the question that the loop asks of them (of
the first and the last of an episode by the rule for what is seen from home); and over episodes, as the reward node
judges their steps one after another: an episode ends at the first one that is called a success (in practice at the
second in a row). The second is what practice lives on: one wrong frame among forty ends an episode wrongly. And from
home, by the thresholds for such pictures and a look at the opposite question: where the loop confirms, only that
verdict counts.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from robofume_common.enums import Direction, Verdict
from robofume_common.errors import RobofumeError
from robofume_common.files import write_atomically
from robofume_data.episode import EpisodeData
from robofume_data.labels import read_labelled

from . import dataset, worst_frames
from .asking import Answer, VerdictConfig, asked_for, says
from .dataset import EARLY_STEPS, DatasetConfig, LabelledFrames
from .familiarity import Familiarity
from .judge import JudgeConfig, first_success, opposite_probabilities
from .loading import load_judge
from .measures import measure, proportion
from .model import ModelConfig
from .picture_check import PictureCheck
from .saved import Calibration, View
from .training_summary import find_summary

EVALUATION_FILE = "evaluation.json"
HOME_THRESHOLD = 0.5
"""P(yes) that the loop asks of the view from home, where the calibration does not ask for more."""
CALIBRATED = VerdictConfig(home_threshold=HOME_THRESHOLD)
"""The thresholds that were saved with a model. Practice asks for less in motion: see `reward.enough`."""
_DIRECTIONS = {"forward": Direction.FORWARD, "backward": Direction.BACKWARD}


class Judge(Protocol):
    """What can be evaluated: a RewardModel or a baseline."""

    calibration: Calibration
    view: View
    opposites: dict[str, str]
    familiarity: Familiarity

    def log_odds(self, images: NDArray[np.uint8], instructions: list[str]) -> NDArray[np.float64]:
        """Uncalibrated log-odds (B,) of success."""


def evaluate(
    model_directory: str | Path,
    bags: Sequence[str | Path],
    model: ModelConfig | None = None,
    judge: JudgeConfig | None = None,
    only_held_out: bool = True,
    verdicts: VerdictConfig = CALIBRATED,
) -> dict[str, Any]:
    """Measures a saved model on the episodes in `bags`; writes evaluation.json and the frames it got most wrong
    beside the model.

    `model`: how it is run. `judge` and `verdicts`: the rule from probabilities to verdicts, as a reward node has it.
    `only_held_out`: leave out the episodes that the model was trained on (by the list saved with it).
    """
    reward = load_judge(model_directory, model)
    episodes = unseen(model_directory, bags, only_held_out)
    result = evaluate_episodes(reward, episodes, judge, verdicts=verdicts)
    result["model_version"] = reward.version
    if Path(model_directory).is_dir():
        worst_frames.write(Path(model_directory), result["most_wrong"], episodes)
        write_atomically(Path(model_directory) / EVALUATION_FILE, (json.dumps(result, indent=2) + "\n").encode())
    return result


def unseen(
    model_directory: str | Path,
    bags: Sequence[str | Path],
    only_held_out: bool = True,
) -> list[EpisodeData]:
    """The episodes in `bags` that a saved model was not trained on, nor the one that it began with, each once, with
    what a person has said about the practice among them. RobofumeError where there is none.

    One that began or ended with a scene that training showed (see `dataset.split`) is none of them.
    """
    summary = find_summary(Path(model_directory)) if only_held_out else {}
    learnt = chosen_by(summary, "trained_on")
    seen = {*summary.get("base_trained_on_keys", ()), *summary.get("half_seen_keys", ())}
    recorded = dataset.distinct(read_labelled(list(bags)))
    episodes = [episode for episode in recorded if not learnt(episode) and episode.key not in seen]
    if not episodes:
        raise RobofumeError("The bags hold no episode that the reward model was not trained on; record some more.")
    return episodes


def chosen_by(summary: Mapping[str, Any], part: str) -> Callable[[EpisodeData], bool]:
    """Whether an episode is among the `trained_on` or `held_out` ones of a summary of training.

    A model that was saved before episodes had keys tells ids alone, which other runs have too.
    """
    if f"{part}_keys" in summary:
        keys = set(summary[f"{part}_keys"])
        return lambda episode: episode.key in keys
    ids = set(summary.get({"held_out": "held_out_episodes"}.get(part, part), []))
    return lambda episode: episode.episode_id in ids


def evaluate_episodes(
    reward: Judge,
    episodes: Sequence[EpisodeData],
    judge: JudgeConfig | None = None,
    batch_size: int = 64,
    verdicts: VerdictConfig = CALIBRATED,
) -> dict[str, Any]:
    """`evaluate` for a loaded judge and episodes in memory. Keys: `forward`, `backward`, each with frame measures,
    `episodes` and `from_home`; `tasks`, the same for each task where there are several; `most_wrong`; and the rule
    that was used.
    """
    judge = judge or JudgeConfig()
    frames = dataset.truth(episodes, DatasetConfig(margin=0))
    frames = frames.select(np.array(list(map(verdicts.asks, frames.indices, frames.ends[frames.frames])), bool))
    at_home = dataset.from_home(episodes, DatasetConfig(margin=0))
    asked = (
        Answers(reward, frames, judge, verdicts, batch_size),
        Answers(reward, at_home, judge, verdicts, batch_size),
    )
    tasks = [episode.task for episode in episodes]
    result: dict[str, Any] = {
        **_rule(reward.calibration, judge, verdicts),
        "calibration": {
            name: getattr(reward.calibration, name)
            for name in ("target_precision", "held_out_precision", "held_out_verdicts")
        },
        **_by_direction(*asked, np.ones(len(episodes), bool)),
        "most_wrong": worst_frames.find(asked[0].probabilities, frames, episodes),
    }
    if len(set(tasks)) > 1:
        result["tasks"] = {
            task: _by_direction(*asked, np.array([name == task for name in tasks])) for task in sorted(set(tasks))
        }
    return result


class Answers:
    """What a judge says to labelled questions."""

    def __init__(
        self,
        reward: Judge,
        frames: LabelledFrames,
        judge: JudgeConfig,
        verdicts: VerdictConfig,
        batch_size: int,
    ) -> None:
        self.frames = frames
        self.judge = judge
        self.probabilities = reward.calibration.probabilities(log_odds(reward, frames, batch_size))
        used, places = np.unique(frames.frames, return_inverse=True)
        self.strange = reward.familiarity.strange(frames.images[used])[places]
        home = np.array(list(map(verdicts.is_from_home, frames.indices, frames.ends[frames.frames])), bool)
        opposite = np.zeros(len(frames))
        opposite[home] = opposites(reward, frames.select(home), batch_size)
        answers = map(Answer, self.probabilities.tolist(), opposite.tolist(), self.strange.tolist())
        said = [says(reward, verdicts, answer, at_home) for answer, at_home in zip(answers, home, strict=True)]
        self.verdicts = np.array(said, np.uint8)
        self.verdicts[_show_nothing(frames, verdicts)[frames.frames]] = Verdict.UNKNOWN

    def measure(self, chosen: NDArray[np.bool_]) -> dict[str, Any]:
        """The measures of some of the questions, and how many are about strange pictures."""
        rows = self.probabilities[chosen], self.frames.labels[chosen], self.verdicts[chosen]
        measured = measure(*rows, self.frames.episodes[chosen])
        return {**measured, "strange": int(self.strange[chosen].sum())}

    def at_one_half(self, chosen: NDArray[np.bool_]) -> dict[str, Any]:
        """What the rule P(yes) > P(no) would give."""
        labels, called = self.frames.labels[chosen], self.probabilities[chosen] > 0.5
        trials = {"precision": called, "recall": labels, "accuracy": np.ones(len(labels), bool)}
        hits = (called == labels).astype(float)
        return {name: float(hits[rows].mean()) if rows.any() else None for name, rows in trials.items()}

    def per_episode(self, chosen: NDArray[np.bool_]) -> dict[str, Any]:
        """What ending each episode at its first success verdict would have given."""
        right = wrong = early = reached = count = 0
        for number in np.unique(self.frames.episodes[chosen]):
            of_episode = self.frames.episodes == number
            labels, indices = self.frames.labels[of_episode], self.frames.indices[of_episode]
            first = first_success(self.verdicts[of_episode], self.judge, indices.tolist())
            count += 1
            reached += bool(labels[indices >= self.judge.minimum_index].any())
            if first >= 0:
                right += bool(labels[first])
                wrong += not labels[first]
                soon = (indices >= indices[first]) & (indices <= indices[first] + EARLY_STEPS)
                early += not labels[first] and bool(labels[soon].any())
        return {
            "episodes": count,
            "called_success": right + wrong,
            "called_early": early,  # wrong ones that came true within EARLY_STEPS
            **proportion("precision", right, right + wrong),
            **proportion("recall", right, max(reached, right)),
        }


def _show_nothing(frames: LabelledFrames, verdicts: VerdictConfig) -> NDArray[np.bool_]:
    """Which of the pictures (F,) that the loop asks about show nothing, as a reward node finds it."""
    nothing, check = np.zeros(len(frames.images), bool), PictureCheck()
    for frame, (start, is_last) in enumerate(zip(frames.starts, frames.ends, strict=True)):
        if frame == start:  # those of the episode before may have been left out
            check = PictureCheck()
        if verdicts.asks(frame - start, is_last):
            nothing[frame] = bool(check.problem(frames.images[frame], frames.proprioception[frame]))
    return nothing


def log_odds(reward: Judge, frames: LabelledFrames, batch_size: int = 64) -> NDArray[np.float64]:
    """Log-odds (M,) of a judge on labelled questions."""
    parts: list[NDArray[np.float64]] = [np.zeros(0)]
    for start in range(0, len(frames), batch_size):
        rows = slice(start, start + batch_size)
        parts.append(reward.log_odds(frames.images[frames.seen(rows, reward.view)], frames.instructions[rows].tolist()))
    return np.concatenate(parts)


def opposites(reward: Judge, frames: LabelledFrames, batch_size: int = 64) -> NDArray[np.float64]:
    """P(yes) (M,) for the opposites of labelled questions; 0 where the judge knows none."""
    parts: list[NDArray[np.float64]] = [np.zeros(0)]
    for start in range(0, len(frames), batch_size):
        rows = slice(start, start + batch_size)
        images = frames.images[frames.seen(rows, reward.view)]
        parts.append(opposite_probabilities(reward, images, frames.instructions[rows].tolist()))
    return np.concatenate(parts)


def verdicts_from_home(
    calibration: Calibration,
    probabilities: NDArray[np.float64],
    opposite: NDArray[np.float64],
    strange: NDArray[np.bool_],
) -> NDArray[np.uint8]:
    """Verdicts (M,) on what is seen from home, as the loop gives them."""
    rows = zip(probabilities, opposite, strange, strict=True)
    said = [calibration.verdict(float(p), HOME_THRESHOLD, True, float(q), bool(odd)) for p, q, odd in rows]
    return np.array(said, np.uint8)


def _rule(calibration: Calibration, judge: JudgeConfig, verdicts: VerdictConfig) -> dict[str, Any]:
    """The thresholds that were judged by, for the record."""
    moving = max(0.5, asked_for(calibration, verdicts, False))
    home = max(asked_for(calibration, verdicts, True), calibration.home_threshold)
    return {
        "rule": {"threshold": moving, **asdict(judge)},
        "failure_threshold": min(calibration.failure_threshold, moving) if verdicts.abstain else moving,
        "home_threshold": home if verdicts.home_threshold > 0 else moving,
    }


def _by_direction(frames: Answers, at_home: Answers, episodes: NDArray[np.bool_]) -> dict[str, Any]:
    """Measures of each direction over the chosen episodes (E,)."""
    result: dict[str, Any] = {}
    for name, direction in _DIRECTIONS.items():
        chosen = (frames.frames.directions == direction) & episodes[frames.frames.episodes]
        home = (at_home.frames.directions == direction) & episodes[at_home.frames.episodes]
        result[name] = {
            **frames.measure(chosen),
            "at_one_half": frames.at_one_half(chosen),
            "episodes": frames.per_episode(chosen),
            "from_home": at_home.measure(home),
        }
    return result


def table(result: dict[str, Any]) -> str:
    """The result as a table for the terminal."""
    lines = [
        f"{'':22}{'precision (95%)':20}{'recall (95%)':20}{'AUC (95%)':20}{'ECE (95%)':20}{'TP/FP/FN/TN':18}unknown",
        *_rows(result, ""),
    ]
    for task, directions in result.get("tasks", {}).items():
        lines += [f"{task}:", *_rows(directions, "  ")]
    lines.append(
        f"Success from P {result['rule']['threshold']:.2f} on, failure up to P {result['failure_threshold']:.2f}, "
        f"unknown between them; from home success over P {result['home_threshold']:.2f}."
    )
    if sentence := shortfall(result.get("calibration", {})):
        lines.append(sentence)
    strange = sum(result[name]["strange"] for name in _DIRECTIONS)
    if strange:
        lines.append(
            f"{strange} of {sum(result[name]['frames'] for name in _DIRECTIONS)} pictures show a scene unlike those "
            "that the model was trained on (light, colours, background, camera): unknown, whatever P says. Label some "
            "pictures of it and train again."
        )
    return "\n".join(lines)


def shortfall(calibration: Mapping[str, float]) -> str:
    """That the threshold does not reach the precision that it was chosen for, as a sentence; empty where it does, or
    was not chosen on data.
    """
    target, reached = calibration.get("target_precision", 0.0), calibration.get("held_out_precision", 0.0)
    if reached >= target:
        return ""
    count = int(calibration.get("held_out_verdicts", 0))
    if not count:
        return (
            f"Warning: no success was called on the held-out episodes of its training, or none is noted, so that the "
            f"stated precision of {target:.2f} is not shown: record or label more successes, and train again."
        )
    return (
        f"Warning: the threshold does not reach the stated precision of {target:.2f}: of the {count} success verdicts "
        f"on held-out frames {reached:.0%} are right. Record or label more, or train longer."
    )


def _rows(result: dict[str, Any], indent: str) -> list[str]:
    lines = []
    for name in _DIRECTIONS:
        values = result[name]
        for what, frames in (("frames", values), ("from home", values["from_home"])):
            confusion = "/".join(
                str(frames[key]) for key in ("true_positives", "false_positives", "false_negatives", "true_negatives")
            )
            unknown = frames["unknown_positives"] + frames["unknown_negatives"]
            figures = "".join(
                f"{_share(frames, figure):20}"
                for figure in ("precision", "recall", "area_under_curve", "calibration_error")
            )
            lines.append(f"{f'{indent}{name} {what}':22}{figures}{confusion:18}{unknown}")
        episodes = values["episodes"]
        lines.append(
            f"{f'{indent}{name} episodes':22}{_share(episodes, 'precision'):20}{_share(episodes, 'recall'):20}"
            f"{'':40}{episodes['episodes']} episodes, {episodes['called_early']} called early"
        )
    return lines


def _share(values: dict[str, Any], name: str) -> str:
    if values[name] is None:
        return {"precision": "none called", "recall": "none there"}.get(name, "-")
    low, high = values[f"{name}_interval"]
    return f"{values[name]:.3f} ({low:.2f}-{high:.2f})"
