"""Checkpoints that survive a kill at any moment: safetensors for arrays, JSON for the rest, no pickle."""

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from robofume_common.errors import RobofumeError
from robofume_common.files import replace_folder, write_atomically
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

logger = logging.getLogger(__name__)

TENSORS, STATE = "tensors.safetensors", "state.json"
VERSION_FILE = "published_version"


class CheckpointStore:
    """Numbered checkpoints under `directory`, the newest `keep` of them, always the one that was written last."""

    def __init__(self, directory: Path | str, keep: int = 3) -> None:
        self.directory = Path(directory)
        self.keep = keep

    def save(self, number: int, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> Path:
        """Write checkpoint `number`: under a temporary name, synced, then put in its place. Raises RobofumeError if it
        cannot, or where a number is not finite; the checkpoints that are there stay."""
        spoilt = next((name for name, tensor in tensors.items() if not torch.isfinite(tensor).all()), None)
        if spoilt is not None:
            raise RobofumeError(
                f"What was learnt is no longer finite ({spoilt}) and is not kept in {self.directory}: lower the "
                "learning rate. The checkpoint before is still good."
            )
        final = self._folder(number)
        temporary = self.directory / f".{final.name}.{os.getpid()}"
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            for leftover in self.directory.glob(".*"):
                if leftover.is_dir():
                    shutil.rmtree(leftover)
                else:
                    leftover.unlink()
            temporary.mkdir()
            data = save_tensors(dict(tensors))
            summary = {"sha256": hashlib.sha256(data).hexdigest(), "state": dict(state)}
            write_atomically(temporary / TENSORS, data)
            write_atomically(temporary / STATE, json.dumps(summary, indent=1).encode())
            replace_folder(temporary, final)
            # One with a higher number may be there: training goes on from before it where it is damaged.
            others = [other for other in self.numbers() if other != number]
            for old in others[: max(0, len(others) + 1 - self.keep)]:
                shutil.rmtree(self._folder(old))
        except OSError as error:
            shutil.rmtree(temporary, ignore_errors=True)  # a full disk needs the room
            raise RobofumeError(f"The checkpoint {final} cannot be written: {error.strerror or error}.") from error
        return final

    def numbers(self) -> list[int]:
        """Numbers of the checkpoints there, rising."""
        if not self.directory.is_dir():
            return []
        return sorted(int(path.name) for path in self.directory.iterdir() if path.name.isdigit())

    def load(self) -> tuple[int, dict[str, Tensor], dict[str, Any]] | None:
        """Read the newest whole checkpoint; None if there never was one.

        A damaged one is named in a warning and the one before it is taken. Raises RobofumeError if all are damaged:
        learning never starts again from zero without a word.
        """
        numbers = self.numbers()
        for number in reversed(numbers):
            path = self._folder(number)
            try:
                return number, *read_checkpoint(path)
            except RobofumeError as error:
                logger.warning("%s Trying the checkpoint before it.", error)
        if numbers:
            raise RobofumeError(
                f"All checkpoints in {self.directory} are damaged: delete that folder to start again from nothing."
            )
        return None

    def newest(self) -> tuple[str, str] | None:
        """Name of the checkpoint that `load` reads, and the SHA-256 of its tensors. None and errors as with `load`."""
        found = self.load()
        if found is None:
            return None
        path = self._folder(found[0])
        return path.name, checkpoint_hash(path)

    def _folder(self, number: int) -> Path:
        return self.directory / f"{number:09d}"


def read_checkpoint(path: Path | str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read the tensors and the state of one checkpoint folder. Raises RobofumeError if it is missing or damaged."""
    path = Path(path)
    try:
        data = (path / TENSORS).read_bytes()
        summary = json.loads((path / STATE).read_text())
        if hashlib.sha256(data).hexdigest() != summary["sha256"]:
            raise RobofumeError(f"The checkpoint {path} is damaged: its checksum does not fit.")
        state = summary["state"]
        if not isinstance(state, dict):
            raise RobofumeError(f"The checkpoint {path} is damaged: its state is no mapping.")
        return load_tensors(data), state
    except (OSError, ValueError, KeyError, TypeError, RecursionError, SafetensorError) as error:
        raise RobofumeError(f"The checkpoint {path} is damaged or incomplete ({error}).") from error


def checkpoint_hash(path: Path | str) -> str:
    """SHA-256 of the tensors of one checkpoint folder, as it was written. Raises RobofumeError if it is damaged."""
    try:
        return str(json.loads((Path(path) / STATE).read_text())["sha256"])
    except (OSError, ValueError, KeyError) as error:
        raise RobofumeError(f"The checkpoint {path} is damaged or incomplete ({error}).") from error


def read_version(directory: Path | str) -> int:
    """The newest version of weights that a run with these checkpoints has published, 0 for none.

    No version may mean two different weights. Raises RobofumeError if the file is damaged.
    """
    path = Path(directory) / VERSION_FILE
    if not path.exists():
        return 0
    try:
        text = path.read_text()
        if not text.endswith("\n"):
            raise ValueError("it is cut off")
        return int(text)
    except (OSError, ValueError) as error:
        raise RobofumeError(f"{path} cannot be read ({error}): write the newest policy version into it.") from error


def write_version(directory: Path | str, version: int) -> None:
    """Keep the version before it is published. Raises RobofumeError where that is not possible."""
    path = Path(directory) / VERSION_FILE
    try:
        write_atomically(path, f"{version}\n".encode())
    except OSError as error:
        raise RobofumeError(f"{path} cannot be written: {error.strerror}.") from error
