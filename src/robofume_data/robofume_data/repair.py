"""Repairs bags without changing an original: `robofume data repair`."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from mcap.writer import MCAP0_MAGIC
from robofume_common.errors import RobofumeError

from robofume_data.bag_reader import Bag, Paths, find_bags
from robofume_data.bag_writer import BagWriter, prepare_folder
from robofume_data.mcap_records import McapFile, RawMessage


@dataclass
class Repair:
    """What was done about one bag."""

    path: Path
    action: str
    """`sound`: nothing to do; `repaired`; `there`: it was repaired before; `lost`: nothing could be saved."""
    target: Path | None = None
    episodes: int = 0
    """Whole episodes that the repaired bag holds."""
    messages: int = 0
    notes: list[str] = field(default_factory=list)


def repair_bags(paths: Paths, folder: Path) -> list[Repair]:
    """Writes a whole bag into `folder` for each bag that is cut off or damaged; sound ones are left alone.

    A repaired bag holds every message that can be read, whether its episode is whole or not, in the same order: those
    behind a damaged block too.
    Doing it again changes nothing. RobofumeError where `folder` cannot be written to.
    """
    bags = find_bags(paths)
    target_folder = prepare_folder(folder).resolve()
    names = [path.name for path in bags]
    repairs = []
    for path in bags:
        if path.resolve().parent == target_folder:
            continue
        several = names.count(path.name) > 1
        name = f"{path.resolve().parent.name}_{path.name}" if several else path.name
        repairs.append(_repair(path, target_folder / name))
    return repairs


def _repair(path: Path, target: Path) -> Repair:
    damage = _damage(path)
    if damage is None:
        return Repair(path, "sound")
    if target.exists():
        return Repair(path, "there", target, notes=[damage])
    unfinished = target.with_name(target.name + ".unfinished")
    unfinished.unlink(missing_ok=True)
    file = McapFile(path)
    try:
        with BagWriter(unfinished) as writer:
            topics: set[str] = set()
            for raw in _readable(file):
                if raw.topic not in topics:
                    topics.add(raw.topic)
                    writer.add_topic(raw.topic, raw.type_name, raw.definition)
                writer.write(raw.topic, bytes(raw.data), raw.log_time)
        if not writer.messages:
            return Repair(path, "lost", notes=[damage])
        os.rename(unfinished, target)
    finally:
        unfinished.unlink(missing_ok=True)
    bag = Bag(target)
    episodes = sum(1 for _ in bag.episodes())
    if file.left_out:
        damage += f"; {file.left_out} damaged blocks were left out, with the verdicts that were in them"
    notes = [damage, *(f"episode {key} is not whole: {reason}" for key, reason in bag.incomplete.items())]
    return Repair(path, "repaired", target, episodes, writer.messages, notes)


def _readable(file: McapFile) -> Iterator[RawMessage]:
    """The messages that can be found, up to where the file cannot be followed any more; without a word about it."""
    with contextlib.suppress(RobofumeError):
        yield from file.messages(past_damage=True)


def _damage(path: Path) -> str | None:
    """What is wrong with the file itself; None where it is whole."""
    file = McapFile(path)
    try:
        for _ in file:
            pass
    except RobofumeError as error:
        return str(error)
    if file.truncated:
        return "it was cut off"
    with path.open("rb") as content:
        content.seek(-len(MCAP0_MAGIC), os.SEEK_END)
        # All messages are there, but tools that begin with the index at the end cannot read it.
        return None if content.read() == MCAP0_MAGIC else "its index is missing"


def report(repairs: list[Repair]) -> str:
    """The repairs as text for a terminal."""
    lines = []
    for item in repairs:
        text = {
            "sound": "whole",
            "there": f"was repaired before: {item.target}",
            "repaired": f"repaired: {item.target} with {item.episodes} whole episodes, {item.messages} messages",
            "lost": "nothing in it can be read",
        }[item.action]
        lines.append(f"{item.path}: {text}")
        lines += [f"      note: {note}" for note in item.notes]
    return "\n".join(lines)
