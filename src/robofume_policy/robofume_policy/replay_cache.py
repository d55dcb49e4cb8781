"""Transitions of recorded episodes on the disk: made once from their bags, then mapped into memory by every process.

A folder holds one entry for each set of bags and settings. Its arrays lie there as they are in memory, so that taking
them in costs no reading, and all processes share the same pages. What is drawn from them is bit for bit what would be
drawn from memory that was filled from the bags. A bag that changed, whose labels changed, or another one, makes another
entry; entries whose bags have changed or gone are removed then. A kill while an entry is written leaves none.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
from robofume_common.errors import RobofumeError
from robofume_common.parameters import to_dict
from robofume_data.labels import labels_hash

from robofume_policy.dataset import Episode, EpisodeConverter, is_undecided, named_apart
from robofume_policy.disk_array import check_room
from robofume_policy.replay import STORED, Array, EpisodeTransitions, ReplayMemory

logger = logging.getLogger(__name__)

VERSION = 4
"""Of the files, of what `EpisodeConverter` makes, of which episodes are read and of their names; a change makes all
entries anew."""
_INDEX, _SENTENCES, _UNFINISHED = "index.json", "sentences", ".unfinished"


@dataclass(frozen=True)
class Filled:
    """A memory of recorded episodes."""

    memory: ReplayMemory
    undecided: int
    """Episodes that were left out since nobody knows how they ended or how any of their steps is."""


class ReplayCache:
    """The cache in `folder` for the episodes of `bags`, in this order; `part` says which of them, where not all."""

    def __init__(self, folder: str | Path, bags: Sequence[str | Path], part: str = "") -> None:
        self._folder = Path(folder)
        self._part = {"part": part} if part else {}
        self._bags = [Path(bag).resolve() for bag in bags]

    def memory(
        self,
        episodes: Iterable[Episode],
        converter: EpisodeConverter,
        capacity: int,
        times: Mapping[str, int] | None = None,
    ) -> Filled:
        """A memory that takes in nothing more. `episodes` are those of the bags; they are asked for only where there is
        no entry yet, while other processes that want it wait. RobofumeError where the folder cannot be written to."""
        described = {
            "version": VERSION,
            "bags": [_state(bag) for bag in self._bags],
            "network": to_dict(converter.network),
            "actions": to_dict(converter.action_space) if converter.action_space is not None else None,
            "language": converter.language.model_name,
            "discount": converter.discount,
            "n_step": converter.n_step,
            "capacity": capacity,
            **self._part,
        }
        place = self._folder / hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:16]
        found = _mapped(place, times or {})
        if found is not None:
            return found
        try:
            with self._alone():
                found = _mapped(place, times or {})  # of another process, which was first
                if found is None:
                    self._remove_what_is_old(place)
                    _build(place, described, episodes, converter, capacity)
                    found = _mapped(place, times or {})
        except OSError as error:
            raise RobofumeError(
                f"Cannot write the replay cache {self._folder}: {error.strerror or error}; make room, or make it "
                f"writable."
            ) from error
        assert found is not None
        return found

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Holds the folder's lock, which ends with the process."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _remove_what_is_old(self, place: Path) -> None:
        """Entries of bags that have changed or gone, or of another version, and what a killed process left. Who has
        them mapped keeps them."""
        for entry in [item for item in self._folder.iterdir() if item.is_dir()]:
            if entry == place or not _is_current(entry):
                shutil.rmtree(entry, ignore_errors=True)


def _state(bag: Path) -> list[Any]:
    """What tells a bag, and a person's labels for it, from another one or from what it was; JSON."""
    try:
        found = bag.stat()
    except OSError:
        return [str(bag)]
    return [str(bag), found.st_size, found.st_mtime_ns, found.st_ctime_ns, labels_hash(bag)]


def _is_current(entry: Path) -> bool:
    """Whether the bags of an entry are what they were, and it is of this version."""
    if entry.name.endswith(_UNFINISHED):
        return False
    try:
        described = json.loads((entry / _INDEX).read_text(encoding="utf-8"))["described"]
        unchanged = all(_state(Path(bag[0])) == bag for bag in described["bags"])
        return unchanged and described["version"] == VERSION
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return False


def _build(
    place: Path,
    described: Mapping[str, Any],
    episodes: Iterable[Episode],
    converter: EpisodeConverter,
    capacity: int,
) -> None:
    """Writes an entry beside its place, episode by episode, puts it on the disk and renames it."""
    unfinished = place.with_name(place.name + _UNFINISHED)
    unfinished.mkdir()
    # A memory of the same size without what makes it large knows which episodes make room for others.
    ring = ReplayMemory(capacity)
    begins: dict[str, int] = {}
    keys: dict[str, str] = {}
    shapes: dict[str, Any] = {}
    slots = undecided = 0
    try:
        with contextlib.ExitStack() as stack:
            files: dict[str, IO[bytes]] = {}
            for episode in episodes:
                transitions = converter(episode)
                if transitions is None:
                    undecided += is_undecided(episode)
                    continue
                transitions = named_apart(transitions, episode, keys)
                if transitions.episode_id in ring:
                    continue
                ring.add(_without_contents(transitions))
                arrays = {name: np.ascontiguousarray(getattr(transitions, name)) for name in STORED}
                check_room(place.parent, sum(array.nbytes for array in arrays.values()), "the replay cache")
                for name, array in arrays.items():
                    if name not in files:
                        files[name] = stack.enter_context((unfinished / name).open("wb"))
                        shapes[name] = [array.dtype.str, *array.shape[1:]]
                    files[name].write(array.data if array.nbytes else b"")
                begins[transitions.episode_id] = slots
                slots += len(arrays["rewards"])
            held, sentences = ring.contents()
            files[_SENTENCES] = stack.enter_context((unfinished / _SENTENCES).open("wb"))
            files[_SENTENCES].write(np.ascontiguousarray(sentences, np.float32).tobytes())
            for file in files.values():
                _put_on_disk(file)
        index = {
            "described": described,
            "undecided": undecided,
            "slots": slots,
            "arrays": shapes,
            "sentences": list(sentences.shape),
            "episodes": [(key, begins[key], size, sentence) for key, size, sentence in held],
        }
        with (unfinished / _INDEX).open("w", encoding="utf-8") as text:
            json.dump(index, text)
            _put_on_disk(text)
        unfinished.rename(place)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    logger.info("Replay cache: %d episodes, %d steps written to %s.", len(held), slots, place)


def _without_contents(transitions: EpisodeTransitions) -> EpisodeTransitions:
    size = len(transitions.images)
    nothing = np.zeros((size, 0), np.float32)
    return replace(transitions, images=nothing[..., None, None], proprioception=nothing, actions=nothing)


def _put_on_disk(file: IO[Any]) -> None:
    file.flush()
    os.fsync(file.fileno())


def _mapped(place: Path, times: Mapping[str, int]) -> Filled | None:
    """The memory of an entry; None where there is none, or one that is not whole."""
    try:
        index = json.loads((place / _INDEX).read_text(encoding="utf-8"))
        slots = int(index["slots"])
        storage = {
            name: _array(place / name, kind, (slots, *shape)) for name, (kind, *shape) in index["arrays"].items()
        }
        sentences = np.array(_array(place / _SENTENCES, "<f4", tuple(index["sentences"])))
        episodes = [(str(key), int(begin), int(size), int(row)) for key, begin, size, row in index["episodes"]]
        return Filled(ReplayMemory.of(storage, sentences, episodes, times), int(index["undecided"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _array(path: Path, kind: str, shape: tuple[int, ...]) -> Array:
    """A file as an array that cannot be written to; ValueError where its size is another."""
    dtype = np.dtype(kind)
    if path.stat().st_size != dtype.itemsize * int(np.prod(shape)):
        raise ValueError(f"{path} has another size than its index says")
    if 0 in shape:  # what has no size cannot be mapped
        return np.zeros(shape, dtype)
    return np.asarray(np.memmap(path, dtype, "r", shape=shape))
