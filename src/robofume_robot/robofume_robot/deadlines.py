"""Calls that may never return, each in a thread of its own with a deadline."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from robofume_common.errors import RobofumeError

Result = TypeVar("Result")


class Call(Generic[Result]):
    """`function` in a thread; a daemon, so that one that never returns does not keep the process.

    SystemExit is a failure like any other: a library that gives up by sys.exit must not take the thread's owner by
    surprise, nor vanish without a word."""

    def __init__(self, function: Callable[[], Result]) -> None:
        self._function = function
        self._result: Result | None = None
        self._failure: BaseException | None = None
        self._finished = threading.Event()
        self._started = time.monotonic()
        threading.Thread(target=self._run, daemon=True).start()

    @property
    def done(self) -> bool:
        """True when it has returned or failed."""
        return self._finished.is_set()

    @property
    def age(self) -> float:
        """Wall time in s since the start."""
        return time.monotonic() - self._started

    def result(self, deadline: float, sentence: str) -> Result:
        """What it returns. Raises RobofumeError with `sentence` where it takes longer than `deadline` s, or fails."""
        if not self._finished.wait(deadline):
            raise RobofumeError(sentence)
        if self._failure is not None:
            raise RobofumeError(f"{sentence} ({type(self._failure).__name__}: {self._failure})") from self._failure
        return self._result  # type: ignore[return-value]

    def _run(self) -> None:
        try:
            self._result = self._function()
        except BaseException as failure:  # noqa: BLE001  told by result()
            self._failure = failure
        finally:
            self._finished.set()
