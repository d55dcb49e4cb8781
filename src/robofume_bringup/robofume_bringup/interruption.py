"""One Ctrl+C (or SIGTERM) asks for a calm end; this module turns it into an exception at a good moment."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Stopped(BaseException):
    """The person asked for the end of the run. Neither an error nor the end of the work: exit code 130."""


class Interruption:
    """Counts SIGINT and SIGTERM while the context is open.

    While a graph runs the signal only sets a mark, and the waiting loop calls `check` between two waits, so
    that
    no node is lost half-way through its start. Inside `immediately()` (training in this process) the signal
    raises at once.
    """

    def __init__(self) -> None:
        self.requests = 0
        self._immediately = False
        self._previous: dict[signal.Signals, object] = {}

    def __enter__(self) -> Interruption:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        self.requests += 1
        if self._immediately:
            self._immediately = False
            raise Stopped

    def check(self) -> None:
        """Raise `Stopped` when the end was asked for."""
        if self.requests:
            raise Stopped

    @contextmanager
    def immediately(self) -> Iterator[None]:
        """Raise `Stopped` from the signal itself while the block runs."""
        self.check()
        self._immediately = True
        try:
            yield
        finally:
            self._immediately = False
