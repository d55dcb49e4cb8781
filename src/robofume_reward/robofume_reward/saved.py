"""What is saved beside the weights of a reward model: how sure it must be, what it looks at, which questions
exclude one another, and what belongs to it."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from robofume_common.enums import Verdict
from robofume_common.errors import RobofumeError
from safetensors import SafetensorError

from .familiarity import FAMILIARITY_FILE, Familiarity
from .training_summary import TRAINING_FILE

CALIBRATION_FILE = "calibration.json"
VIEW_FILE = "view.json"
OPPOSITES_FILE = "opposites.json"
MANIFEST_FILE = "files.json"
MODEL_FILE = "config.json"
"""Which architecture a vision-language model has, as transformers names it."""
CLASSIFIER_FILE = "film_cnn.json"
"""In its place: the shape of the classifier of `film_cnn.py`."""
_WEIGHTS = ".safetensors"
_OF_A_MODEL = (".json", ".jinja", ".txt", ".model", _WEIGHTS)
_BESIDE = (CALIBRATION_FILE, VIEW_FILE, OPPOSITES_FILE, FAMILIARITY_FILE)
_RECORDS = (MANIFEST_FILE, TRAINING_FILE, "evaluation.json")


@dataclass(frozen=True)
class Calibration:
    """What fine-tuning learnt about its own answers on held-out episodes."""

    temperature: float = 1.0  # divides the difference of the logits of yes and no
    threshold: float = 0.5  # success needs P(yes) >= threshold; 0.5 is the rule P(yes) > P(no)
    target_precision: float = 0.0  # that the threshold was chosen for; 0: not chosen on data
    failure_threshold: float = 0.5  # failure needs P(yes) <= failure_threshold; what lies between is unknown
    held_out_precision: float = 0.0  # of the success verdicts on the held-out frames, with this threshold
    held_out_verdicts: float = 0.0  # how many success verdicts that precision rests on
    home_failure_threshold: float = 0.5  # the same as failure_threshold, for what is seen from home
    home_threshold: float = 0.5  # success needs at least this of what is seen from home, whatever else is asked for

    @classmethod
    def read(cls, directory: Path) -> Calibration:
        """The calibration saved with a model; the neutral one where there is none."""
        path = directory / CALIBRATION_FILE
        if not path.is_file():
            return cls()
        try:
            values = json.loads(path.read_text())
            needed = ("temperature", "threshold", "target_precision")  # the first version saved only these
            names = [field.name for field in fields(cls) if field.name in needed or field.name in values]
            calibration = cls(**{name: float(values[name]) for name in names})
        except (ValueError, KeyError, TypeError) as error:
            raise RobofumeError(f"{path} is not a calibration file ({error}); train the reward model again.") from error
        shares = (
            calibration.threshold, calibration.failure_threshold, calibration.home_failure_threshold,
            calibration.home_threshold,
        )  # fmt: skip
        in_range = all(0 <= share <= 1 for share in shares)
        if not (calibration.temperature > 0 and in_range):
            raise RobofumeError(f"{path} holds values out of range; train the reward model again.")
        return calibration

    def write(self, directory: Path) -> None:
        """Saves the calibration beside the model."""
        (directory / CALIBRATION_FILE).write_text(json.dumps(self.__dict__, indent=2) + "\n")

    def probabilities(self, log_odds: NDArray[np.float64]) -> NDArray[np.float64]:
        """P(success) in [0, 1] of uncalibrated log-odds."""
        return 1.0 / (1.0 + np.exp(-np.clip(log_odds / self.temperature, -60, 60)))

    def verdict(
        self,
        probability: float,
        threshold: float = 0.0,
        from_home: bool = False,
        opposite: float = 0.0,
        strange: bool = False,
    ) -> Verdict:
        """Success from the threshold on (and never below one half), failure up to the failure threshold, between
        them unknown. `threshold` over 0 takes the place of the calibrated one. `from_home`: the picture shows the scene
        with the arm at home, which has thresholds of its own: a success needs the greater of `threshold` and
        home_threshold there. `opposite`: P(yes) for the instruction of the
        other direction, where that was asked: of two goals that exclude one another, the likelier one alone may be a
        success; the other is unknown. `strange`: the picture is unlike those of the training, so that the probability
        means nothing (see `familiarity`).
        """
        if strange:
            return Verdict.UNKNOWN
        needed = threshold if threshold > 0 else self.threshold
        if from_home:
            needed = max(needed, self.home_threshold)
        if probability > 0.5 and probability >= needed:
            return Verdict.SUCCESS if probability > opposite else Verdict.UNKNOWN
        failure = self.home_failure_threshold if from_home else self.failure_threshold
        return Verdict.FAILURE if probability <= min(failure, needed) else Verdict.UNKNOWN


@dataclass(frozen=True)
class View:
    """Which images of an episode the model looks at: the newest, and earlier ones at equal distances."""

    frames: int = 1  # how many, the newest included
    stride: int = 3  # steps between two of them

    @classmethod
    def read(cls, directory: Path) -> View:
        """The view saved with a model; the newest image alone where there is none."""
        path = directory / VIEW_FILE
        if not path.is_file():
            return cls()
        try:
            values = json.loads(path.read_text())
            view = cls(**{field.name: int(values[field.name]) for field in fields(cls)})
        except (ValueError, KeyError, TypeError) as error:
            raise RobofumeError(f"{path} is not a view file ({error}); train the reward model again.") from error
        if view.frames < 1 or view.stride < 1:
            raise RobofumeError(f"{path} holds values out of range; train the reward model again.")
        return view

    def write(self, directory: Path) -> None:
        """Saves the view beside the model."""
        (directory / VIEW_FILE).write_text(json.dumps(self.__dict__, indent=2) + "\n")

    @property
    def reach(self) -> int:
        """Steps from the oldest image to the newest."""
        return (self.frames - 1) * self.stride

    def indices(self, newest: NDArray[np.int64], first: NDArray[np.int64]) -> NDArray[np.int64]:
        """Frames (M, frames), oldest first, that are looked at for the `newest` (M,); never before `first` (M,),
        the start of the episode, which is repeated instead.
        """
        back = self.stride * np.arange(self.frames - 1, -1, -1)
        return np.maximum(newest[:, None] - back, first[:, None])


def read_opposites(directory: Path) -> dict[str, str]:
    """The instructions that a model learnt in pairs, each with that of the other direction; none where there is no
    file. One goal is the other's start, so both cannot be reached at once.
    """
    path = directory / OPPOSITES_FILE
    if not path.is_file():
        return {}
    try:
        values = json.loads(path.read_text())
        return {str(instruction): str(other) for instruction, other in values.items()}
    except (ValueError, AttributeError) as error:
        raise RobofumeError(f"{path} is not a file of opposites ({error}); train the reward model again.") from error


def write_opposites(directory: Path, opposites: Mapping[str, str]) -> None:
    """Saves the pairs of instructions beside the model."""
    (directory / OPPOSITES_FILE).write_text(json.dumps(dict(opposites), indent=2) + "\n")


class Kept(Protocol):
    """What every judge that is saved has beside its weights."""

    name: str
    calibration: Calibration
    view: View
    opposites: dict[str, str]
    familiarity: Familiarity


def write_beside(judge: Kept, directory: Path) -> None:
    """Saves what a judge has beside its weights, and last the manifest."""
    judge.calibration.write(directory)
    judge.view.write(directory)
    write_opposites(directory, judge.opposites)
    judge.familiarity.write(directory)
    write_manifest(directory)


def version_of(judge: Kept, weights: Mapping[str, Any]) -> str:
    """Name and a hash of the weights (tensors by name), the calibration, the view, the opposites and what is
    familiar."""
    import torch

    told = (judge.calibration, judge.view, judge.familiarity, *sorted(judge.opposites.items()))
    digest = hashlib.sha256(repr(told).encode())
    for name, value in weights.items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().view(torch.uint8).numpy())
    return f"{judge.name}@{digest.hexdigest()[:12]}"


@contextlib.contextmanager
def written_to(directory: Path) -> Iterator[None]:
    """Makes one sentence, a RobofumeError, of what the disk refuses to take of a model for `directory`."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise RobofumeError(
            f"The reward model {directory} cannot be written: {reason}. What was there before stays."
        ) from error


def write_manifest(directory: Path) -> None:
    """Saves size and hash of the files that make the model, so that damage does not pass for another model.

    Of a text that is cut off, such as a chat template, transformers takes what is left. What is saved beside the
    weights may be written anew, but once it was there it must not be missing, since its place is taken by defaults.
    """
    paths = sorted(path for path in directory.iterdir() if path.suffix in _OF_A_MODEL and path.name not in _RECORDS)
    facts = {path.name: _fact(path) for path in paths}
    (directory / MANIFEST_FILE).write_text(json.dumps(facts, indent=2) + "\n")


def check_manifest(directory: Path) -> None:
    """Raises RobofumeError where a file of the model is missing or another one than was saved; does nothing for a model
    that was saved without a manifest."""
    path = directory / MANIFEST_FILE
    if not path.is_file():
        return
    try:
        wrong = [name for name, fact in json.loads(path.read_text()).items() if _fact(directory / name) != fact]
    except (OSError, ValueError, AttributeError) as error:
        raise RobofumeError(f"The reward model {directory} is damaged ({error}); train it again.") from error
    if wrong:
        raise RobofumeError(
            f"The reward model {directory} is damaged: {', '.join(wrong)} is not as it was saved; train it again, or "
            f"remove {MANIFEST_FILE} if that is what you want."
        )


def _fact(path: Path) -> dict[str, Any]:
    """Size and hash; of the weights, which can be large and tell themselves when they are cut off, the size alone."""
    size = path.stat().st_size
    if path.name in _BESIDE:
        return {}
    if path.suffix == _WEIGHTS:
        return {"bytes": size}
    data = path.read_bytes()
    return {"bytes": size, "sha256": hashlib.sha256(data).hexdigest()}
