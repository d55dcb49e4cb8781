"""Whether a picture shows a scene like those that a model was trained on, judged by its colours alone.

A small model does not know what it does not know: in another light, or with things of other colours, its answers are
wrong and as sure as ever, and so are its features, which learnt to see only what the task needed. The colours of the
whole picture tell. A picture is described by the histograms of its three channels, and its distance to the training
pictures is Mahalanobis' (as Lee et al. 2018, arXiv 1807.03888, measure a network's features). The training pictures
are taken in as many lights as training augments them to, so that what the model learnt to overlook is familiar here
too.

A person's labels make a new scene familiar: labelled pictures that are far from the recorded ones become groups of
their own, and what is strange to the recorded ones stays as it was.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from robofume_common.errors import RobofumeError

from .augmentation import AugmentationConfig, augment_images

FAMILIARITY_FILE = "familiarity.json"
BINS = 8
"""Places of each channel's histogram; a value counts in part for both places it lies between."""
QUANTILE = 0.995
"""Share of the held-out pictures, in changed light, that is to be familiar."""
MARGIN = 1.2
"""Times the distance of that quantile: how far a picture may be."""
_RIDGE = 1e-3
_MOST = 3000
_LIGHTS = 2
_FEWEST = 20
_SIDE = 64
_CHUNK = 256


@dataclass(frozen=True)
class Familiarity:
    """Centres (K, 3 * BINS) of the groups of training pictures, and the metric (K, 3 * BINS, 3 * BINS) around each: an
    inverse covariance, in which what is nearer than 1 is familiar. Without a centre everything is.
    """

    centres: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 3 * BINS)))
    metrics: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 3 * BINS, 3 * BINS)))

    def distances(self, images: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Distances (B,) of images (B, H, W, 3), or of the newest of some of an episode each (B, F, H, W, 3), to the
        nearest group: over 1 is strange. 0 without a centre.
        """
        if not len(self.centres) or not len(images):
            return np.zeros(len(images))
        described = describe(images if images.ndim == 4 else images[:, -1])
        return _nearest(described, self.centres, self.metrics)[0]

    def strange(self, images: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Which (B,) of the images are unlike those of the training; the arguments are those of `distances`."""
        return self.distances(images) > 1.0

    def new_scenes(self, images: NDArray[np.uint8]) -> list[NDArray[np.int64]]:
        """Places of those images (B, H, W, 3) that belong to each group but the first, that of what was recorded."""
        if len(self.centres) < 2 or not len(images):
            return []
        described = describe(images)
        strange = _nearest(described, self.centres[:1], self.metrics[:1])[0] > 1.0
        nearest = _nearest(described, self.centres[1:], self.metrics[1:])[1]
        return [np.flatnonzero(strange & (nearest == group)) for group in range(len(self.centres) - 1)]

    def __repr__(self) -> str:
        """Every number, since a model's version is made of it."""
        return f"Familiarity({self.centres.tolist()}, {self.metrics.tolist()})"

    @classmethod
    def read(cls, directory: Path) -> Familiarity:
        """What was saved with a model; without a file everything is familiar."""
        path = directory / FAMILIARITY_FILE
        if not path.is_file():
            return cls()
        try:
            values = json.loads(path.read_text())
            found = cls(
                np.array(values["centres"], np.float64).reshape(-1, 3 * BINS),
                np.array(values["metrics"], np.float64).reshape(-1, 3 * BINS, 3 * BINS),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise RobofumeError(f"{path} is not a familiarity file ({error}); train the reward model again.") from error
        whole = len(found.centres) == len(found.metrics)
        if not (whole and np.isfinite(found.centres).all() and np.isfinite(found.metrics).all()):
            raise RobofumeError(f"{path} holds values out of range; train the reward model again.")
        return found

    def write(self, directory: Path) -> None:
        """Saves it beside the model."""
        values = {"centres": self.centres.tolist(), "metrics": self.metrics.tolist()}
        (directory / FAMILIARITY_FILE).write_text(json.dumps(values) + "\n")


def describe(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The square roots (B, 3 * BINS) of the shares of each channel's values, of images (B, H, W, 3).

    Of large pictures every so many rows and columns are looked at: the shares hardly change.
    """
    step = max(1, min(images.shape[1:3]) // _SIDE)
    described = np.zeros((len(images), 3 * BINS))
    for first in range(0, len(images), _CHUNK):  # in one piece some thousand pictures would take gigabytes
        described[first : first + _CHUNK] = _describe(images[first : first + _CHUNK, ::step, ::step])
    return described


def _describe(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """`describe` of a few images, all of each."""
    count = images.shape[1] * images.shape[2]
    places = images.reshape(len(images), count, 3).astype(np.float32) * np.float32((BINS - 1) / 255)
    lower = np.minimum(places.astype(np.int64), BINS - 2)
    upper_part = places - lower
    slots = 3 * BINS
    offset = (np.arange(len(images)) * slots)[:, None, None] + (np.arange(3) * BINS)[None, None, :] + lower
    size = len(images) * slots
    shares = np.bincount(offset.ravel(), (1 - upper_part).ravel(), size)
    shares += np.bincount(offset.ravel() + 1, upper_part.ravel(), size)
    # Rounding may leave a share just under zero.
    return np.sqrt(np.maximum(shares, 0.0).reshape(len(images), slots) / count)


def fit(
    training: NDArray[np.uint8],
    held_out: NDArray[np.uint8],
    labelled: NDArray[np.uint8],
    augmentation: AugmentationConfig,
    seed: int,
) -> Familiarity:
    """What is familiar after training on recorded pictures (N, H, W, 3) and on a person's `labelled` ones (L, H, W, 3),
    with a limit from pictures that were held out (M, H, W, 3). Where nothing was recorded, the labelled ones are taken
    for recorded.
    """
    generator = np.random.default_rng(seed)
    light = torch.Generator().manual_seed(seed)
    lights = dataclasses.replace(augmentation, shift=0.0, noise=0.0)
    recorded, more = (training, labelled) if len(training) else (labelled, training)
    if not len(recorded):
        return Familiarity()

    def lit(images: NDArray[np.uint8]) -> NDArray[np.float64]:
        chosen = images[np.sort(generator.permutation(len(images))[:_MOST])]
        return np.concatenate([describe(augment_images(chosen, lights, light)) for _ in range(_LIGHTS)])

    described = lit(recorded)
    checked = lit(held_out) if len(held_out) >= _FEWEST else described
    centre, covariance = described.mean(0), _covariance(described)
    centres, metrics = [centre], [_metric(covariance, checked - centre)]
    for group in _groups(describe(more), Familiarity(np.array(centres), np.array(metrics))):
        of_group = lit(more[group])
        centres.append(of_group.mean(0))
        # A few pictures show little of what may vary, and other things vary in other colours than the recorded ones.
        metrics.append(_metric(covariance + _covariance(of_group), checked - centre))
    return Familiarity(np.array(centres), np.array(metrics))


def _covariance(described: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.cov(described.T), np.float64)


def _metric(covariance: NDArray[np.float64], checked: NDArray[np.float64]) -> NDArray[np.float64]:
    """The inverse covariance (D, D), scaled so that the limit is at 1; from how far the held-out pictures are apart
    (M, D) from their centre.
    """
    spread = max(float(np.trace(covariance)) / len(covariance), 1e-9)
    inverse = np.linalg.inv(covariance + _RIDGE * spread * np.eye(len(covariance)))
    distances = np.sqrt(np.einsum("md,de,me->m", checked, inverse, checked, optimize=True))
    limit = max(MARGIN * float(np.quantile(distances, QUANTILE)), 1e-9)
    return np.asarray(inverse / limit**2, np.float64)


def _groups(described: NDArray[np.float64], known: Familiarity) -> list[list[int]]:
    """Groups of those described pictures (L, D) that are not familiar, by their places: each joins the nearest group
    within the limit, or begins one.
    """
    groups: list[list[int]] = []
    if not len(described):
        return groups
    for place in np.flatnonzero(_nearest(described, known.centres, known.metrics)[0] > 1.0):
        if groups:
            centres = np.array([described[group].mean(0) for group in groups])
            metrics = known.metrics[:1].repeat(len(groups), 0)
            distance, nearest = _nearest(described[place][None], centres, metrics)
            if distance[0] <= 1.0:
                groups[int(nearest[0])].append(int(place))
                continue
        groups.append([int(place)])
    return groups


def _nearest(
    described: NDArray[np.float64], centres: NDArray[np.float64], metrics: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Distance (B,) of described pictures to the nearest centre, and which (B,) that is."""
    apart = described[:, None] - centres[None]
    squared = np.einsum("bkd,kde,bke->bk", apart, metrics, apart, optimize=True)
    return np.sqrt(np.maximum(squared.min(1), 0.0)), squared.argmin(1)
