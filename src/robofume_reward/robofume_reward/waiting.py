"""Steps that wait for a verdict: bounded in number and in time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, eq=False)
class WaitingStep:
    """A step that wants a verdict; `arrived` in seconds of a monotonic clock, `stamp` in ns, `images` as received:
    what the model looks at, oldest first.
    """

    episode_id: str
    index: int
    direction: int
    instruction: str
    stamp: int
    images: tuple[Any, ...]
    arrived: float
    from_home: bool = False
    """Whether the arm was at home, out of the picture."""


class WaitingSteps:
    """Hands waiting steps to one worker, newest kept: when full, the oldest waits no longer.

    A step leaves by exactly one of `add` (dropped), `expire` (too late) and `finish` (answered); safe across
    threads.
    """

    def __init__(self, limit: int, deadline: float) -> None:
        self._limit = limit
        self._deadline = deadline
        self._waiting: list[WaitingStep] = []
        self._taken: list[WaitingStep] = []
        self._changed = threading.Condition()
        self._closed = False

    def __len__(self) -> int:
        with self._changed:
            return len(self._waiting) + len(self._taken)

    def add(self, step: WaitingStep) -> WaitingStep | None:
        """Lets `step` wait; returns the oldest waiting one where it had to make room."""
        with self._changed:
            dropped = self._waiting.pop(0) if len(self._waiting) >= self._limit else None
            self._waiting.append(step)
            self._changed.notify()
            return dropped

    def take(self, most: int) -> list[WaitingStep]:
        """Blocks until steps wait, and takes up to `most` of them, oldest first; empty once closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or bool(self._waiting))
            if self._closed:
                return []
            batch, self._waiting = self._waiting[:most], self._waiting[most:]
            self._taken = list(batch)
            return batch

    def take_where(self, wanted: Callable[[WaitingStep], bool]) -> list[WaitingStep]:
        """Removes and returns the waiting steps for which `wanted` is true."""
        with self._changed:
            chosen = [step for step in self._waiting if wanted(step)]
            self._waiting = [step for step in self._waiting if step not in chosen]
            return chosen

    def expire(self, now: float) -> list[WaitingStep]:
        """Removes and returns the steps, taken ones included, that have waited longer than the deadline."""
        with self._changed:
            late = [step for step in self._taken + self._waiting if now - step.arrived > self._deadline]
            self._taken = [step for step in self._taken if step not in late]
            self._waiting = [step for step in self._waiting if step not in late]
            return late

    def finish(self, step: WaitingStep) -> bool:
        """Whether a taken step still wants its answer; it leaves in either case."""
        with self._changed:
            if step not in self._taken:
                return False
            self._taken.remove(step)
            return True

    def close(self) -> None:
        """Ends the worker's wait."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
