"""What a person's label must hold to be one: the same rule for whoever takes it and for whoever reads it from a bag."""

from __future__ import annotations

from typing import Any

from robofume_common.enums import Verdict

LAST_STEP = -1
"""The index that stands for the last step of an episode."""


def label_problem(label: Any) -> str:
    """What is wrong with a Label, as a sentence; empty where nothing is. Messages of rclpy and those of bags alike."""
    if not label.episode_id:
        return "A label needs the id of an episode."
    if label.verdict not in set(Verdict):
        return f"A label needs a verdict, unknown 0, success 1 or failure 2, not {label.verdict}."
    if label.index < LAST_STEP:
        return f"A label needs the index of a step, or -1 for the last one, not {label.index}."
    return ""
