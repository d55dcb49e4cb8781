"""What the record of an evaluation says about its trials."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from robofume_common.errors import RobofumeError

from robofume_bringup.graph import CONTROL_RATE
from robofume_bringup.robustness import PLAIN

DIRECTIONS = {1: "forward", 2: "backward"}
EVALUATIONS = {
    "before": "before practice", "after": "after practice", "retrained": "trained anew",
    "source": "before adaptation", "adapted": "after adaptation",
}  # fmt: skip
"""Evaluations by name, and what they are called."""

_LATE = 5.0  # s; the last trial may be recorded a moment after the evaluation's end


def read_record(path: Path) -> dict[str, Any]:
    """The record in a file. RobofumeError where it is no record of an evaluation, or only a part of one; OSError where
    it cannot be read.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        whole = isinstance(record, dict) and ("started" not in record or "duration" in record)
        for direction in DIRECTIONS.values() if whole else ():
            outcomes, steps = record.get(f"{direction}_success"), record.get(f"{direction}_steps")
            whole = whole and isinstance(outcomes, list) and isinstance(steps, list) and len(outcomes) == len(steps) > 0
    except ValueError:
        whole = False
    if not whole:
        raise RobofumeError(f"{path} is damaged, or of another version: remove it and evaluate again.")
    return dict(record)


def pairs_of(record: Mapping[str, Any]) -> list[str]:
    """Names of the pairs of instructions whose trials the record tells apart; none where the scene has only one."""
    return list(dict.fromkeys(record.get("forward_task", ())))


def of_pair(record: Mapping[str, Any], pair: str) -> dict[str, Any]:
    """The record with the trials of one pair alone."""
    chosen = dict(record)
    for direction in DIRECTIONS.values():
        kept = [name == pair for name in record[f"{direction}_task"]]
        for what in ("task", "success", "steps", "score"):
            chosen[f"{direction}_{what}"] = list(itertools.compress(record[f"{direction}_{what}"], kept))
    return chosen


def steps_to_success(record: Mapping[str, Any], direction: str) -> float | None:
    """Mean number of actions of the successful trials; None where there are none. `direction`: forward or backward."""
    steps, outcomes = record[f"{direction}_steps"], record[f"{direction}_success"]
    won = [count for count, success in zip(steps, outcomes, strict=True) if success]
    return sum(won) / len(won) if won else None


def cycle_time(record: Mapping[str, Any], direction: str) -> float | None:
    """Seconds of the robot's time that a successful trial took on average, from its first action on, without the way
    home; None where there are none.
    """
    steps = steps_to_success(record, direction)
    return None if steps is None else steps * float(record.get("control_period", 1.0 / CONTROL_RATE))


def is_plain(record: Mapping[str, Any]) -> bool:
    """Whether an evaluation was made in the run's own world."""
    return record.get("variation", PLAIN) == PLAIN and not record.get("like")


def record_at(records: Mapping[str, Mapping[str, Any]], moment: float) -> str | None:
    """Name of the evaluation that went on at a wall time [s since 1970]; None where there was none."""
    for name, record in records.items():
        began = record.get("started")
        if began is not None and began <= moment <= began + record["duration"] + _LATE:
            return name
    return None
