"""Where a policy comes from: a file beside its checkpoints that grows along a chain of adaptations."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from robofume_common.errors import RobofumeError
from robofume_common.files import write_atomically

FILE = "lineage.json"


@dataclass(frozen=True)
class Generation:
    """One policy of a chain: the first was trained, each later one adapted from the one before it.

    `checkpoint`, `sha256`: its folder and the hash of its tensors. `base`, `target`: the bags that its batches came
    from (the first has `target` alone). `prior`: those of them that are prior data, others' recordings of other tasks.
    `settings`: of its training. `scores`: what was measured, by name.
    """

    run: str
    checkpoint: str
    sha256: str
    base: tuple[str, ...] = ()
    target: tuple[str, ...] = ()
    prior: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)
    scores: dict[str, Any] = field(default_factory=dict)


def read_lineage(folder: Path | str) -> list[Generation]:
    """The generations up to the policy whose checkpoints lie in `folder`, the oldest first; [] if nothing is told.

    Raises RobofumeError if the file is damaged.
    """
    path = Path(folder) / FILE
    try:
        entries = json.loads(path.read_text())
        named = ("base", "target", "prior")
        return [
            Generation(**{**entry, **{name: tuple(entry.get(name, ())) for name in named}}) for entry in entries
        ]  # files from before there was `prior` have none
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise RobofumeError(f"{path} cannot be read ({error}): put back a copy, or delete it to forget it.") from error


def write_lineage(folder: Path | str, generations: Sequence[Generation]) -> Path:
    """Replace the file in `folder`; a reader sees the old one or the new one."""
    path = Path(folder) / FILE
    try:
        write_atomically(path, json.dumps([asdict(generation) for generation in generations], indent=1).encode())
    except OSError as error:
        raise RobofumeError(f"{path} cannot be written: {error.strerror}.") from error
    return path


def data_by_condition(generations: Sequence[Generation]) -> list[list[str]]:
    """The bags that the policy at the end of a chain has learnt from, each once: first those of the policy that was
    trained, and of what else was named as base, then those of each condition that it was adapted to."""
    conditions = [dict.fromkeys(entry.target) for entry in generations[1:]]
    known = {bag for condition in conditions for bag in condition}
    first = [bag for entry in generations for bag in entry.base if bag not in known]
    first += [bag for entry in generations[:1] for bag in entry.target]
    parts, seen = [], set[str]()
    for part in (first, *conditions):
        parts.append([bag for bag in dict.fromkeys(part) if bag not in seen])
        seen.update(part)
    return [part for part in parts if part]
