"""How good the reward model is on recorded episodes that it was not trained on.

Per direction, over the frames with the question that the loop asks of them; and over episodes, by the rule
of the loop: an episode ends at the first frame that is called a success. The second is what practice lives
on: one wrong frame among forty ends an episode wrongly. And from home, by the rule P(yes) > P(no): where the loop
confirms, only that verdict counts.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from robofume_common.enums import Direction
from robofume_common.errors import RobofumeError
from robofume_data.bag_reader import read_episodes
from robofume_data.episode import EpisodeData

from . import dataset
from .dataset import EARLY_STEPS, DatasetConfig
from .judge import JudgeConfig, first_success
from .model import ModelConfig, RewardModel

EVALUATION_FILE = "evaluation.json"
_DIRECTIONS = {"forward": Direction.FORWARD, "backward": Direction.BACKWARD}


def wilson(successes: int, trials: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's score interval of a proportion; (0, 1) without trials."""
    if trials == 0:
        return 0.0, 1.0
    share = successes / trials
    centre = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z / (1 + z * z / trials) * np.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    return max(0.0, float(centre - half)), min(1.0, float(centre + half))


def area_under_curve(probabilities: NDArray[np.float64], labels: NDArray[np.bool_]) -> float | None:
    """Area under the ROC curve (the Mann-Whitney statistic, ties count half); None where one class is
    missing.
    """
    positives, negatives = int(labels.sum()), int((~labels).sum())
    if not positives or not negatives:
        return None
    _, inverse, counts = np.unique(probabilities, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    return float((ranks[labels].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def calibration_error(probabilities: NDArray[np.float64], labels: NDArray[np.bool_], bins: int = 10) -> float:
    """Expected calibration error of P(success) over equal bins: mean |P - share of successes|, weighted by
    size.
    """
    if not len(labels):
        return 0.0
    index = np.minimum((probabilities * bins).astype(int), bins - 1)
    gaps = [abs(probabilities[index == b].sum() - labels[index == b].sum()) for b in range(bins)]
    return float(np.sum(gaps) / len(labels))


def measure(probabilities: NDArray[np.float64], labels: NDArray[np.bool_], called: NDArray[np.bool_]) -> dict[str, Any]:
    """Confusion, precision and recall with 95% intervals, AUC and calibration error of verdicts (M,)."""
    true_positives, false_positives = int((called & labels).sum()), int((called & ~labels).sum())
    false_negatives, true_negatives = int((~called & labels).sum()), int((~called & ~labels).sum())
    count = len(labels)
    return {
        "frames": count,
        "true_positives": true_positives,
        "false_positives": false_positives,
        "false_negatives": false_negatives,
        "true_negatives": true_negatives,
        **_proportion("precision", true_positives, true_positives + false_positives),
        **_proportion("recall", true_positives, true_positives + false_negatives),
        **_proportion("accuracy", true_positives + true_negatives, count),
        "area_under_curve": area_under_curve(probabilities, labels),
        "calibration_error": calibration_error(probabilities, labels),
    }


def evaluate(
    model_directory: str | Path,
    bags: Sequence[str | Path],
    model: ModelConfig | None = None,
    judge: JudgeConfig | None = None,
    only_held_out: bool = True,
) -> dict[str, Any]:
    """Measures a saved model on the episodes in `bags` and writes evaluation.json beside the model.

    `only_held_out`: leave out the episodes that the model was trained on (by the list saved with it).
    """
    reward = RewardModel.load(model_directory, model)
    episodes = list(read_episodes(list(bags)))
    trained_on = _trained_on(Path(model_directory)) if only_held_out else set()
    episodes = [episode for episode in episodes if episode.episode_id not in trained_on]
    if not episodes:
        raise RobofumeError("The bags hold no episode that the reward model was not trained on; record some more.")
    result = evaluate_episodes(reward, episodes, judge)
    result["model_version"] = reward.version
    if Path(model_directory).is_dir():
        (Path(model_directory) / EVALUATION_FILE).write_text(json.dumps(result, indent=2) + "\n")
    return result


def evaluate_episodes(
    reward: RewardModel,
    episodes: Sequence[EpisodeData],
    judge: JudgeConfig | None = None,
    batch_size: int = 64,
) -> dict[str, Any]:
    """`evaluate` for a loaded model and episodes in memory. Keys: `forward`, `backward`, each with frame
    measures, `episodes` and `from_home`; and the rule that was used.
    """
    judge = judge or JudgeConfig()
    frames = dataset.truth(episodes, DatasetConfig(margin=0))
    probabilities = _probabilities(reward, frames, batch_size)
    at_home = dataset.from_home(episodes, DatasetConfig(margin=0))
    from_home = _probabilities(reward, at_home, batch_size)
    threshold = max(0.5, reward.calibration.threshold)
    called = np.array([reward.is_success(float(value)) for value in probabilities])
    result: dict[str, Any] = {"rule": {"threshold": threshold, **asdict(judge)}}
    for name, direction in _DIRECTIONS.items():
        chosen = frames.directions == direction
        result[name] = measure(probabilities[chosen], frames.labels[chosen], called[chosen])
        result[name]["at_one_half"] = {
            key: value
            for key, value in measure(probabilities[chosen], frames.labels[chosen], probabilities[chosen] > 0.5).items()
            if key in ("precision", "recall", "accuracy")
        }
        numbers = np.unique(frames.episodes[chosen])
        per_episode = [
            (called[frames.episodes == number], frames.labels[frames.episodes == number]) for number in numbers
        ]
        result[name]["episodes"] = _measure_episodes(per_episode, judge)
        asked = at_home.directions == direction
        result[name]["from_home"] = measure(from_home[asked], at_home.labels[asked], from_home[asked] > 0.5)
    return result


def _probabilities(reward: RewardModel, frames: dataset.LabelledFrames, batch_size: int) -> NDArray[np.float64]:
    parts: list[NDArray[np.float64]] = [np.zeros(0)]
    for start in range(0, len(frames), batch_size):
        rows = slice(start, start + batch_size)
        parts.append(reward.probabilities(frames.images[frames.frames[rows]], frames.instructions[rows].tolist()))
    return np.concatenate(parts)


def _measure_episodes(
    episodes: list[tuple[NDArray[np.bool_], NDArray[np.bool_]]], judge: JudgeConfig
) -> dict[str, Any]:
    """What ending each episode at its first success verdict would have given."""
    right = wrong = early = reached = 0
    for called, labels in episodes:
        first = first_success(called, judge)
        reached += bool(labels[judge.minimum_index :].any())
        if first >= 0:
            right += bool(labels[first])
            wrong += not labels[first]
            early += not labels[first] and bool(labels[first : first + EARLY_STEPS + 1].any())
    return {
        "episodes": len(episodes),
        "called_success": right + wrong,
        "called_early": early,  # wrong ones that came true within EARLY_STEPS
        **_proportion("precision", right, right + wrong),
        **_proportion("recall", right, max(reached, right)),
    }


def _proportion(name: str, successes: int, trials: int) -> dict[str, Any]:
    return {name: successes / trials if trials else None, f"{name}_interval": list(wilson(successes, trials))}


def _trained_on(directory: Path) -> set[str]:
    path = directory / "training.json"
    if not path.is_file():
        return set()
    return set(json.loads(path.read_text()).get("trained_on", []))


def table(result: dict[str, Any]) -> str:
    """The result as a table for the terminal."""

    def share(values: dict[str, Any], name: str) -> str:
        if values[name] is None:
            return "none called" if name == "precision" else "none there"
        low, high = values[f"{name}_interval"]
        return f"{values[name]:.3f} ({low:.2f}-{high:.2f})"

    def number(value: float | None) -> str:
        return "-" if value is None else f"{value:.3f}"

    lines = [f"{'':22}{'precision (95%)':20}{'recall (95%)':20}{'AUC':8}{'ECE':8}{'TP/FP/FN/TN'}"]
    for name in _DIRECTIONS:
        values = result[name]
        for what, frames in (("frames", values), ("from home", values["from_home"])):
            confusion = "/".join(
                str(frames[key]) for key in ("true_positives", "false_positives", "false_negatives", "true_negatives")
            )
            lines.append(
                f"{name + ' ' + what:22}{share(frames, 'precision'):20}{share(frames, 'recall'):20}"
                f"{number(frames['area_under_curve']):8}{number(frames['calibration_error']):8}{confusion}"
            )
        episodes = values["episodes"]
        lines.append(
            f"{name + ' episodes':22}{share(episodes, 'precision'):20}{share(episodes, 'recall'):20}"
            f"{'':16}{episodes['episodes']} episodes, {episodes['called_early']} called early"
        )
    return "\n".join(lines)
