"""What the parts of `reward_model.py` share: tables that continue, the question as the loop asks it, its measures.

    python benchmarks/judge_tables.py

shows what the model's rows of reward_practice.csv come to; it needs no runs.
"""

import csv
import fcntl
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from robofume_common.enums import Direction, Outcome, Verdict
from robofume_data.bag_reader import read_episodes
from robofume_data.episode import EpisodeData
from robofume_reward.augmentation import AugmentationConfig
from robofume_reward.evaluation import Judge, verdicts_from_home
from robofume_reward.judge import opposite_probabilities
from robofume_reward.measures import measure
from robofume_reward.model import RewardModel
from robofume_sim.tasks import TASKS

from robofume_reward import familiarity, training

RESULTS = Path(__file__).parent / "results"
DIRECTIONS = {"forward": Direction.FORWARD, "backward": Direction.BACKWARD}
WANTED_PRECISION, WANTED_RECALL = 0.97, 0.85
"""Of the verdict from home, in each direction, on practice that the judge was not trained on."""


class Table:
    """A CSV file of rows, each written when it is measured; `keys` name a row."""

    def __init__(self, name: str, keys: tuple[str, ...]) -> None:
        self.path = RESULTS / f"{name}.csv"
        self.keys = keys
        self.rows = self._read()

    def has(self, **values: Any) -> bool:
        """Whether the row with these keys is measured."""
        return any(all(row[key] == str(values[key]) for key in self.keys) for row in self.rows)

    def add(self, row: dict[str, Any]) -> None:
        """Keeps a row and shows it. Others may write the same table meanwhile: their rows stay."""
        print("  ".join(f"{key} {value}" for key, value in row.items()), flush=True)
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            self.rows = [*self._read(), {key: str(value) for key, value in row.items()}]
            names = list(dict.fromkeys(name for known in self.rows for name in known))
            partial = self.path.with_suffix(".partial")
            with partial.open("w", newline="") as file:
                writer = csv.DictWriter(file, names)
                writer.writeheader()
                writer.writerows(self.rows)
            partial.replace(self.path)
        finally:
            os.close(folder)

    def _read(self) -> list[dict[str, str]]:
        return list(csv.DictReader(self.path.open())) if self.path.is_file() else []


def scaled(name: str, scale: float) -> str:
    """The table's name at a scale of updates and steps; rows of several scales do not mix."""
    return name if scale == 1.0 else f"{name}_scale_{scale:g}"


def figures(probabilities: np.ndarray, truths: np.ndarray, verdicts: np.ndarray) -> dict[str, Any]:
    """The measures that the tables show."""
    values = measure(probabilities, truths, verdicts)
    chosen = ("true_positives", "false_positives", "false_negatives", "true_negatives", "unknown_positives",
              "unknown_negatives", "precision", "recall", "area_under_curve", "calibration_error")  # fmt: skip
    rounded = {name: round(values[name], 4) if isinstance(values[name], float) else values[name] for name in chosen}
    low, high = values["precision_interval"]
    return {**rounded, "precision_95": f"{low:.3f}-{high:.3f}"}


def ask(judge: Judge, images: np.ndarray, instruction: str) -> tuple[np.ndarray, np.ndarray]:
    """P(success) (B,) of images from home, and that of the opposite instruction; a model that looks at several gets
    the same one in each place.
    """
    if judge.view.frames > 1:
        images = images[:, None].repeat(judge.view.frames, 1)
    own, opposite = [], []
    for start in range(0, len(images), 64):
        chunk = images[start : start + 64]
        asked = [instruction] * len(chunk)
        own.append(judge.calibration.probabilities(judge.log_odds(chunk, asked)))
        opposite.append(opposite_probabilities(judge, chunk, asked))
    return np.concatenate(own), np.concatenate(opposite)


def knowing_opposites(judge: Judge, task: str) -> Judge:
    """The judge with the pair of instructions, which models of earlier runs were saved without."""
    if not judge.opposites:
        description = TASKS[task].description
        first, second = (description.instruction(number) for number in DIRECTIONS.values())
        judge.opposites = {first: second, second: first}
    return judge


def knowing_scenes(judge: RewardModel, run: Path) -> RewardModel:
    """The judge with what is familiar to it, which models of earlier runs were saved without: that takes the pictures
    that it was trained on, and no training.
    """
    if not len(judge.familiarity.centres):
        summary = training.read_summary(run / "reward")
        recorded = list(read_episodes(sorted((run / "bags" / "demos").glob("*.mcap"))))
        learnt, held = (
            np.concatenate([episode.images for episode in recorded if episode.episode_id in set(summary[part])])
            for part in ("trained_on", "held_out_episodes")
        )
        judge.familiarity = familiarity.fit(learnt, held, learnt[:0], AugmentationConfig(), summary["options"]["seed"])
    return judge


def decided(run: Path) -> list[EpisodeData]:
    """The episodes of a run's practice on whose end the judge was asked, whatever it said."""
    asked = (Outcome.SUCCESS, Outcome.TIMEOUT, Outcome.UNKNOWN)
    return [episode for episode in read_episodes([run / "bags" / "practice"]) if episode.outcome in asked]


def final_verdicts(judge: Judge, episodes: Sequence[EpisodeData]) -> Iterator[tuple[str, dict[str, dict[str, Any]]]]:
    """The figures of each direction for the last pictures of episodes: by the own question alone, and by the rule of
    the loop, which asks both.
    """
    judge = knowing_opposites(judge, episodes[0].task)
    for name, direction in DIRECTIONS.items():
        chosen = [episode for episode in episodes if episode.direction == direction]
        if chosen:
            images = np.stack([episode.images[-1] for episode in chosen])
            truths = np.array([bool(episode.truth[-1]) for episode in chosen])
            own, opposite = ask(judge, images, chosen[0].instruction)
            rows = {}
            for asked, other in (("own", np.zeros_like(own)), ("both", opposite)):
                verdicts = verdicts_from_home(judge.calibration, own, other, judge.familiarity.strange(images))
                rows[asked] = {"questions": asked, **figures(own, truths, verdicts)}
            yield name, rows


def called(judge: Judge, own: np.ndarray, opposite: np.ndarray, images: np.ndarray) -> dict[str, int]:
    """How many pictures are called a success from home, and how many unknown, by the own question and by both."""
    strange = judge.familiarity.strange(images)
    alone = verdicts_from_home(judge.calibration, own, np.zeros_like(own), strange).tolist()
    loop = verdicts_from_home(judge.calibration, own, opposite, strange).tolist()
    return {"called_success_own_question": alone.count(Verdict.SUCCESS),
            "called_success_from_home": loop.count(Verdict.SUCCESS),
            "unknown_from_home": loop.count(Verdict.UNKNOWN)}  # fmt: skip


def against_the_goal(rows: Sequence[dict[str, str]]) -> Iterator[str]:
    """A line for each row of the model, by both questions, that is short of the goal, and for each that the second
    question changes.
    """
    own, both = (
        {(row["run"], row["direction"]): row for row in rows if row["judge"] == "vlm" and row["questions"] == asked}
        for asked in ("own", "both")
    )
    yield f"{len(both)} rows of {len({run for run, _ in both})} runs"
    for name, row in both.items():
        told = f"{' '.join(name)}: precision {row['precision']} ({row['precision_95']}), recall {row['recall']}"
        # No success called: nothing is false, and the recall of 0 says it.
        precise = row["precision"] == "None" or float(row["precision"]) >= WANTED_PRECISION
        if not precise or float(row["recall"]) < WANTED_RECALL:
            yield f"short of the goal: {told}"
        if {**row, "questions": ""} != {**own[name], "questions": ""}:
            yield f"changed by the second question, from precision {own[name]['precision']}: {told}"


if __name__ == "__main__":
    for line in against_the_goal(Table("reward_practice", ("run", "judge", "direction", "questions")).rows):
        print(line)
