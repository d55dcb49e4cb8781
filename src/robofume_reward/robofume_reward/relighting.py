"""The recorded pictures in the light of a new scene, made from a few pictures of it that a person has labelled.

Twenty labelled pictures of a scene in another light are too few to learn it from. But a camera that stays where it was
sees the same table twice: the median of the pictures in one light and that in the other are the scene without what
moves, and their quotient, pixel by pixel, says what the light does at each place. Multiplied by it, every recorded
picture, with its label, is one of the new scene.

Where the camera has moved there is no such quotient: the edges of the two medians are not at the same places, and
nothing is made.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .dataset import LabelledFrames

FEWEST = 8
"""Pictures of each scene that a median needs."""
ALIKE = 0.8
"""Correlation of the edges of two medians from which they show the same place: 0.99 in other light and colours, 0.5
with a camera moved by 3 cm and 5 degrees (pot pick-and-place and pot lid)."""
MOST = 1500
"""Questions about relit pictures, of all new scenes together."""
MOST_BYTES = 500_000_000
_DARK = 2.0
"""Grey levels that are added to both medians, so that black stays black."""


def add(frames: LabelledFrames, scenes: Sequence[Sequence[int]], seed: int) -> tuple[LabelledFrames, int]:
    """The questions of `frames`, and those about relit pictures; how many these are.

    `scenes`: for each new scene the indices of its labelled images. The relit questions are marked as mined, so that
    they share the part of a batch that the labelled ones have.
    """
    recorded = np.flatnonzero(~frames.mined & ~frames.made)
    if not len(recorded):
        return frames, 0
    home = frames.images[np.unique(frames.starts[frames.frames[recorded]])]
    factors = [factor for scene in scenes if (factor := light(home, frames.images[list(scene)])) is not None]
    if not factors:
        return frames, 0
    generator = np.random.default_rng(seed)
    count = int(min(MOST, MOST_BYTES // frames.images[0].nbytes, len(recorded) * len(factors)))
    relit, rows = [], []
    for number, part in enumerate(np.array_split(np.arange(count), len(factors))):
        chosen = generator.permutation(recorded)[: len(part)]
        images = frames.images[frames.frames[chosen]] * factors[number]
        relit.append(np.clip(images.round(), 0, 255).astype(np.uint8))
        rows.append(chosen)
    return _with(frames, np.concatenate(relit), np.concatenate(rows)), sum(map(len, rows))


def light(home: NDArray[np.uint8], scene: NDArray[np.uint8]) -> NDArray[np.float32] | None:
    """What the light of a new `scene` (M, H, W, 3) does to the pictures that were recorded from `home` (N, H, W, 3): a
    factor (H, W, 3); None where there are too few pictures, or they do not show the same place.
    """
    if min(len(home), len(scene)) < FEWEST or home.shape[1:] != scene.shape[1:]:
        return None
    before, now = (np.median(images, axis=0).astype(np.float32) for images in (home, scene))
    if _correlation(_edges(before), _edges(now)) < ALIKE:
        return None
    return np.asarray((now + _DARK) / (before + _DARK), np.float32)


def _edges(picture: NDArray[np.float32]) -> NDArray[np.float32]:
    down, across = np.gradient(picture.mean(-1))
    return np.hypot(down, across)


def _correlation(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    first, second = first - first.mean(), second - second.mean()
    scale = float(np.sqrt((first**2).sum() * (second**2).sum()))
    return float((first * second).sum()) / scale if scale > 0 else 0.0


def _with(frames: LabelledFrames, images: NDArray[np.uint8], rows: NDArray[np.int64]) -> LabelledFrames:
    """`frames` with the questions `rows` (K,) asked again about `images` (K, H, W, 3)."""
    places = np.arange(len(frames.images), len(frames.images) + len(images))
    columns = ("instructions", "labels", "directions", "episodes", "own", "made")
    added: dict[str, NDArray[Any]] = {name: getattr(frames, name)[rows] for name in columns}
    added |= {"frames": places, "mined": np.ones(len(rows), bool)}
    of_frames = {"images": images, "proprioception": frames.proprioception[frames.frames[rows]], "starts": places}
    return dataclasses.replace(
        frames,
        **{name: np.concatenate([getattr(frames, name), more]) for name, more in (added | of_frames).items()},
    )
