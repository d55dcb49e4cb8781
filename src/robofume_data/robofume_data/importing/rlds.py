"""Trajectories of RLDS data sets, as TensorFlow Datasets writes them: TFRecord files of one Example per episode."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from robofume_common.errors import RobofumeError

from robofume_data.importing.conventions import Conventions
from robofume_data.importing.tfrecord import parse_example, records
from robofume_data.importing.trajectory import Skipped, Trajectory

_SHARD = re.compile(r"^(?P<stem>.+?)\.tfrecord(?:-(?P<shard>\d+)-of-\d+)?$")
_SENTENCES = ("language_instruction", "observation/natural_language_instruction", "natural_language_instruction")
Example = dict[str, "list[bytes] | np.ndarray"]


def find_shards(path: Path) -> list[Path]:
    """The TFRecord files of a data set's folder, or the one named; RobofumeError where there are none."""
    if path.is_file():
        return [path]
    found = sorted(item for item in path.rglob("*.tfrecord*") if _SHARD.match(item.name)) if path.is_dir() else []
    if not found:
        raise RobofumeError(f"There are no TFRecord files (*.tfrecord*) in {path}.")
    return found


def shard_name(path: Path) -> str:
    """`bridge_dataset-train-00000` of `bridge_dataset-train.tfrecord-00000-of-01024`."""
    match = _SHARD.match(path.name)
    if match is None:
        return path.stem
    return match["stem"] + (f"-{match['shard']}" if match["shard"] else "")


def read_shard(path: Path, conventions: Conventions) -> Iterator[Trajectory | Skipped]:
    """The episodes of one file, numbered as they lie in it; what cannot be read is given as Skipped."""
    stem = shard_name(path)
    for number, record in enumerate(records(path)):
        name = f"{stem}-{number:05d}"
        if isinstance(record, Skipped):
            yield record
            continue
        try:
            yield _trajectory(name, parse_example(record), conventions)
        except RobofumeError as error:
            yield Skipped(name, str(error))


def _trajectory(name: str, example: Example, conventions: Conventions) -> Trajectory:
    images = _pictures(example, conventions.image)
    rewards = example.get("steps/reward")
    return Trajectory(
        name=name,
        instruction=_instruction(example, conventions.instruction),
        images=images,
        further_images={camera: _pictures(example, field) for camera, field in conventions.image_fields.items()},
        states=_numbers(example, conventions.state, len(images)),
        actions=_numbers(example, conventions.action, len(images)) if conventions.action else None,
        rewards=rewards.astype(np.float64) if isinstance(rewards, np.ndarray) and len(rewards) == len(images) else None,
    )


def _pictures(example: Example, name: str) -> list[bytes]:
    images = example.get(f"steps/{name}")
    if not isinstance(images, list):
        raise RobofumeError(f"it has no pictures {name!r}; it has {_names(example)}")
    return images


def _numbers(example: Example, names: tuple[str, ...], count: int) -> np.ndarray:
    parts = []
    for name in names:
        values = example.get(f"steps/{name}")
        if not isinstance(values, np.ndarray) or not len(values):
            raise RobofumeError(f"it has no numbers {name!r}; it has {_names(example)}")
        if count == 0 or len(values) % count:
            raise RobofumeError(f"it has {len(values)} numbers in {name!r} for {count} pictures")
        parts.append(values.reshape(count, -1).astype(np.float64))
    if not parts:
        raise RobofumeError("its conventions name no state")
    return np.concatenate(parts, axis=1)


def _instruction(example: Example, name: str) -> str:
    for key in (name,) if name else _SENTENCES:
        values = example.get(f"steps/{key}", example.get(key))
        if isinstance(values, list) and values:
            return values[0].decode("utf-8", errors="replace").strip()
    return ""


def _names(example: Example) -> str:
    return ", ".join(sorted(key.removeprefix("steps/") for key in example)) or "nothing"
