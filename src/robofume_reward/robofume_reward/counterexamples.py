"""Pictures that show no success, made from the training frames themselves.

Recorded data show an object where it started or where it belongs, never gone, so a model may well learn "it is not
there, so it must be here" and call an empty table a success. Nobody needs to take the objects away for it to learn
better: between the pictures from home at which the episodes begin, only the objects change, and the per-pixel median of
those pictures is the scene without them. The pictures with all that changes painted over by this background are asked
about with every instruction, and the answer is no. So are pictures that are none of the scene: noise, one colour, and
frames whose parts are shuffled.

Where the median cannot be the empty scene, because something stands at one place in too many of the pictures (a lid on
its pot in every second one), the pictures in which each direction begins are looked at apart: the table is free where
the object began on the pot, and the pot where it began on the table. Of these medians the ones are taken with which
every picture shows something that the empty scene does not. Where there are none, nothing is painted; the reason is
told.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from robofume_common.errors import RobofumeError
from scipy import ndimage

from .dataset import LabelledFrames

FEWEST = 8
"""Pictures from home that a background needs."""
SUPPORT = 0.6
"""Share of the pictures that must show the background at a pixel."""
SURE = 0.9
"""Share of the pictures that must show something where a background is put together from those of the directions."""
_COMBINATIONS = 64
"""How many such backgrounds are looked at, at most."""
_TOLERANCE = 12
"""Grey levels by which a pixel of the background may differ from one picture to the next, at least."""
_SHUFFLED, _NOISE, _COLOURS = 32, 16, 8
"""How many pictures of each kind that is none of the scene."""


@dataclass(frozen=True)
class Made:
    """What was made. `note`: why the empty scene could not be, or ''."""

    empty: int = 0
    others: int = 0
    note: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return dataclasses.asdict(self)


def add(frames: LabelledFrames, seed: int) -> tuple[LabelledFrames, Made]:
    """The questions of `frames`, and those about pictures that were made of its images; `made` marks them."""
    generator = np.random.default_rng(seed)
    used = np.unique(frames.frames)
    home = np.unique(frames.starts[used])
    note = ""
    try:
        try:
            empty, places = empty_scenes(frames.images[home])
        except RobofumeError:
            home, began = _recorded_starts(frames)
            empty, places = empty_scenes(frames.images[home], began)
        poses = frames.proprioception[home[places]]
    except RobofumeError as error:
        empty, poses, note = frames.images[:0], frames.proprioception[:0], str(error)
    others = no_scenes(frames.images[used], generator)
    poses = np.concatenate([poses, np.repeat(frames.proprioception[:1], len(others), 0)])
    return with_no(frames, np.concatenate([empty, others]), poses), Made(len(empty), len(others), note)


def _recorded_starts(frames: LabelledFrames) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """The pictures from home at which recorded episodes begin (K,), and the direction of each (K,).

    Not those that a person arranged or labelled: they lie where it is hard to tell, again and again.
    """
    rows = np.flatnonzero((frames.starts[frames.frames] == frames.frames) & frames.own & ~frames.mined)
    home, first = np.unique(frames.frames[rows], return_index=True)
    return home, frames.directions[rows[first]]


def empty_scenes(
    images: NDArray[np.uint8], began: NDArray[np.uint8] | None = None
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Pictures (K, H, W, 3) from home with what changes between the `images` (N, H, W, 3) painted over, and which of
    these they were (K,).

    `began`: the direction (N,) that began in each, for a background from both. Raises RobofumeError with the reason
    where the background is not known.
    """
    if len(images) < FEWEST:
        raise RobofumeError(f"There are only {len(images)} pictures from home; {FEWEST} are needed.")
    background = np.median(images, axis=0).astype(np.uint8)
    differs = _differs(images, background)
    contested = _contested(differs)
    found = _put_together(images, background, contested, began) if began is not None else None
    if found is not None:
        background, differs = found, _differs(images, found)
    elif contested.any():
        raise RobofumeError(
            f"Something stands at the same place in too many of the {len(images)} pictures from home "
            f"({contested.mean():.1%} of the picture)."
        )
    # A picture of which nothing differs may show an object that became part of the background: not painted, not used.
    objects = np.flatnonzero(_shows_something(differs))
    if len(objects) < len(images) / 2:
        raise RobofumeError(f"In only {len(objects)} of {len(images)} pictures from home is there anything that moves.")
    hidden = _grown(differs[objects], max(1, images.shape[1] // 32))
    return np.where(hidden[..., None], background, images[objects]), objects


def _differs(images: NDArray[np.uint8], background: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Where (N, H, W) images show something else than the background."""
    difference = np.abs(images.astype(np.int16) - background).max(-1)
    # The typical pixel is background, so the typical difference is the camera's noise and the change of light.
    return np.asarray(difference > max(_TOLERANCE, 4.0 * float(np.median(difference))))


def _contested(differs: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Where (H, W) too few of the pictures agree about the background."""
    return _shrunk((differs.mean(0) > 1.0 - SUPPORT)[None])[0]


def _shows_something(differs: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which pictures (N,) show more than edges and noise."""
    return np.asarray(_shrunk(differs).any((1, 2)))


def _put_together(
    images: NDArray[np.uint8], background: NDArray[np.uint8], contested: NDArray[np.bool_], began: NDArray[np.uint8]
) -> NDArray[np.uint8] | None:
    """The background with each place that is contested, or where the directions differ, as the pictures of one of them
    have it; None where that is not clear.

    An object is somewhere in every picture. So of two answers that each direction is sure of, a lid on the pot and a
    pot without one, the second is the background: with the first, the pictures with the lid on the pot show nothing.
    """
    medians = []
    for direction in np.unique(began):
        of_it = images[began == direction]
        if len(of_it) >= FEWEST:
            median = np.median(of_it, axis=0).astype(np.uint8)
            medians.append((median, _contested(_differs(of_it, median))))
    disputed = [_shrunk(_differs(median[None], background))[0] for median, _ in medians]
    area = _grown(np.logical_or.reduce([contested, *disputed])[None], 2)[0]
    places, count = ndimage.label(area)
    options = [
        [median for median, unsure in medians if not (unsure & (places == place)).any()]
        for place in range(1, count + 1)
    ]
    if not all(options) or math.prod(map(len, options)) > _COMBINATIONS:
        return None
    best, best_share = None, SURE
    for chosen in itertools.product(*options):
        tried = background.copy()
        for place, median in enumerate(chosen, start=1):
            tried[places == place] = median[places == place]
        share = float(_shows_something(_differs(images, tried)).mean())
        if share > best_share:
            best, best_share = tried, share
    return best


def no_scenes(images: NDArray[np.uint8], generator: np.random.Generator) -> NDArray[np.uint8]:
    """Pictures (M, H, W, 3) of nothing: noise, one colour (black and white too), and shuffled parts of `images`."""
    shape = images.shape[1:]
    noise = generator.integers(0, 256, (_NOISE, *shape), dtype=np.uint8)
    colours = generator.integers(0, 256, (_COLOURS, 1, 1, 3), dtype=np.uint8)
    colours[:2] = np.array([0, 255], np.uint8)[:, None, None, None]
    chosen = images[generator.integers(0, len(images), _SHUFFLED)]
    shuffled = np.stack([_shuffled(image, generator) for image in chosen])
    return np.concatenate([noise, np.broadcast_to(colours, (_COLOURS, *shape)), shuffled])


def _shuffled(image: NDArray[np.uint8], generator: np.random.Generator, parts: int = 4) -> NDArray[np.uint8]:
    """The image (H, W, 3) with its parts x parts pieces in another order; what is left at the edges stays."""
    height, width = image.shape[0] // parts, image.shape[1] // parts
    result = image.copy()
    places = [(row * height, column * width) for row in range(parts) for column in range(parts)]
    for (top, left), source in zip(places, generator.permutation(len(places)), strict=True):
        y, x = places[source]
        result[top : top + height, left : left + width] = image[y : y + height, x : x + width]
    return result


def _grown(masks: NDArray[np.bool_], radius: int) -> NDArray[np.bool_]:
    """Masks (N, H, W) with everything within `radius` pixels of what is True."""
    size = 2 * radius + 1
    values = torch.from_numpy(masks.astype(np.float32))[:, None]
    grown = torch.nn.functional.max_pool2d(values, size, 1, radius)[:, 0].numpy()
    return np.asarray(grown > 0.5, np.bool_)


def _shrunk(masks: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Masks (N, H, W) without what is thinner than three pixels: edges, and single pixels of noise."""
    return ~_grown(~masks, 1)


def with_no(frames: LabelledFrames, images: NDArray[np.uint8], poses: NDArray[np.float32]) -> LabelledFrames:
    """`frames` with every question about each of `images` (M, H, W, 3), answered no and marked as made; `poses`
    (M, 7).
    """
    first, count = len(frames.images), len(images)
    asked = sorted({(str(text), int(way)) for text, way in zip(frames.instructions, frames.directions, strict=True)})
    numbers = np.tile(np.arange(first, first + count), len(asked))
    size = len(numbers)
    columns: dict[str, NDArray[Any]] = {
        "frames": numbers,
        "instructions": np.repeat([text for text, _ in asked], count),
        "labels": np.zeros(size, bool),
        "directions": np.repeat(np.array([way for _, way in asked], np.uint8), count),
        "episodes": np.full(size, -1),
        "own": np.zeros(size, bool),
        "mined": np.zeros(size, bool),
        "made": np.ones(size, bool),
    }
    return dataclasses.replace(
        frames,
        images=np.concatenate([frames.images, images]),
        proprioception=np.concatenate([frames.proprioception, poses]),
        starts=np.concatenate([frames.starts, np.arange(first, first + count)]),
        **{name: np.concatenate([getattr(frames, name), added]) for name, added in columns.items()},
    )
