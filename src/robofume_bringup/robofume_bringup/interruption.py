"""One Ctrl+C (or SIGTERM, or the end of the terminal) asks for a calm end; this module turns it into an exception at a
good moment."""

from __future__ import annotations

import errno
import io
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class Stopped(BaseException):
    """The person asked for the end of the run. Neither an error nor the end of the work: exit code 130."""


class Interruption:
    """Counts SIGINT, SIGTERM and, unless under `nohup`, SIGHUP while the context is open.

    While a graph runs the signal only sets a mark, and the waiting loop calls `check` between two waits, so that no
    node is lost half-way through its start. Inside `immediately()` (training in this process) the signal raises at
    once. What is written to a terminal that is gone is dropped, or it would break the calm end.
    """

    def __init__(self) -> None:
        self.requests = 0
        self._immediately = False
        self._previous: dict[signal.Signals, object] = {}
        self._streams: dict[str, TextIO] = {}

    def __enter__(self) -> Interruption:
        hung_up = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN
        for number in (signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hung_up else [])):
            self._previous[number] = signal.signal(number, self._handle)
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            if stream is not None and stream.isatty():
                self._streams[name] = stream
                setattr(sys, name, _at_terminal(stream))
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        for name, stream in self._streams.items():
            getattr(sys, name).flush()
            setattr(sys, name, stream)

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


class _Terminal(io.FileIO):
    """A terminal that may go away: then the kernel answers each write with an error, and this one with nothing."""

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            return memoryview(data).nbytes


def _at_terminal(stream: TextIO) -> TextIO:
    """The same stream through `_Terminal`, with the same descriptor: `input` edits its line at no other."""
    stream.flush()
    raw = _Terminal(stream.fileno(), "w", closefd=False)
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding=stream.encoding, errors=stream.errors, line_buffering=True)
