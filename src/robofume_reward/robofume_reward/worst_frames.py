"""The frames that a judge got most wrong: which they are, and their pictures."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from robofume_common.enums import Direction
from robofume_data.episode import EpisodeData

from .dataset import LabelledFrames

DIRECTORY = "most_wrong"


def find(
    probabilities: NDArray[np.float64],
    frames: LabelledFrames,
    episodes: Sequence[EpisodeData],
    count: int = 12,
    per_episode: int = 1,
) -> list[dict[str, Any]]:
    """The questions with the largest error |P - truth| over 0.5, worst first, `per_episode` of an episode at most."""
    errors = np.abs(probabilities - frames.labels)
    found: list[dict[str, Any]] = []
    taken: dict[int, int] = {}
    for row in np.argsort(-errors, kind="stable"):
        number = int(frames.episodes[row])
        if errors[row] <= 0.5 or len(found) == count:
            break
        if taken.get(number, 0) == per_episode:
            continue
        taken[number] = taken.get(number, 0) + 1
        found.append(
            {
                "episode_id": episodes[number].episode_id,
                "key": episodes[number].key,
                "index": int(frames.frames[row] - frames.starts[frames.frames[row]]),
                "direction": Direction(frames.directions[row]).name.lower(),
                "instruction": str(frames.instructions[row]),
                "probability": round(float(probabilities[row]), 4),
                "truth": bool(frames.labels[row]),
            }
        )
    return found


def write(directory: Path, records: list[dict[str, Any]], episodes: Sequence[EpisodeData]) -> None:
    """Replaces the pictures of a model's worst frames, and notes each file's name in its record."""
    shutil.rmtree(directory / DIRECTORY, ignore_errors=True)
    by_key = {episode.key: episode for episode in episodes}
    for position, record in enumerate(records):
        (directory / DIRECTORY).mkdir(exist_ok=True)
        record["file"] = f"{DIRECTORY}/{position:02d}.png"
        save_picture(by_key[record["key"]].images[record["index"]], directory / record["file"])


def save_picture(image: NDArray[np.uint8], path: Path, enlarged: int = 1) -> None:
    """Writes an image (H, W, 3) as a PNG file, each pixel `enlarged` times as wide and high."""
    from PIL import Image

    Image.fromarray(image.repeat(enlarged, 0).repeat(enlarged, 1)).save(path)
