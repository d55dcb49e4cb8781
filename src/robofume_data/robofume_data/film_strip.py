"""Pictures of an episode in a row, as one PNG."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from robofume_common.enums import Verdict

from robofume_data.episode import EpisodeData

_COLOURS = {
    Verdict.UNKNOWN: (150, 150, 150),
    Verdict.SUCCESS: (40, 160, 70),
    Verdict.FAILURE: (200, 60, 50),
}
_GAP = 3
_BAR = 5


def frame_indices(episode: EpisodeData, frames: int) -> NDArray[np.int64]:
    """Up to `frames` step indices, evenly spread from the first to the one that decided the outcome."""
    last = episode.success_index if episode.is_success else episode.length
    return np.unique(np.linspace(0, last, min(frames, last + 1)).round().astype(np.int64))


def film_strip(episode: EpisodeData, frames: int = 8, height: int = 128) -> NDArray[np.uint8]:
    """(height + bar, W, 3) uint8: frames side by side, a bar below each in the colour of its verdict.

    Green: success; red: failure; grey: unknown.
    """
    columns = []
    for index in frame_indices(episode, frames):
        picture = Image.fromarray(episode.images[index])
        width = max(1, round(picture.width * height / picture.height))
        picture = picture.resize((width, height), Image.Resampling.LANCZOS)
        column = np.full((height + _GAP + _BAR, width + _GAP, 3), 255, dtype=np.uint8)
        column[:height, :width] = np.asarray(picture)
        column[height + _GAP :, :width] = _COLOURS[Verdict(int(episode.verdicts[index]))]
        columns.append(column)
    return np.concatenate(columns, axis=1)[:, :-_GAP]


def film_strip_png(episode: EpisodeData, frames: int = 8, height: int = 128) -> bytes:
    """The film strip as PNG bytes."""
    buffer = io.BytesIO()
    Image.fromarray(film_strip(episode, frames, height)).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()
