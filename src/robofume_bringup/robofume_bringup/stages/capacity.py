"""Recorded data that are more than a memory holds: told, since the memory would forget the first for the last."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from robofume_common.errors import RobofumeError


def fitting(episodes: Iterable[Any], capacity: int, data: str, advice: str) -> Iterator[Any]:
    """The episodes; RobofumeError where a memory of `capacity` steps would have to forget the first ones for the last.

    `data` says in the sentence which data they are, `advice` what to do.
    """
    steps = 0
    for episode in episodes:
        steps += len(episode.images)
        if steps > capacity:
            raise RobofumeError(f"{data} have more than the {capacity} steps that the memory holds: {advice}.")
        yield episode
