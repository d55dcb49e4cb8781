"""Faults of servos: stop, restart those that report one, and go on or ask a person.

A state machine without clock, threads or ROS: time and what was read are given to it, and it says what to do next."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from robofume_common.enums import BackendState

SETTLE = 0.5
"""s that the arm stands still before its servos are restarted."""


@dataclass
class Recovery:
    """Arguments: restarts that are tried within `window` s before a person is asked, and `deadline` in s of one."""

    attempts: int
    window: float
    deadline: float
    state: BackendState = BackendState.READY
    message: str = "ready"
    faults: int = 0
    restarts: int = 0
    _fault: str = ""
    _since: float = 0.0
    _restarting: bool = False
    _history: deque[float] = field(default_factory=deque)

    def on_errors(self, fault: str, now: float) -> bool:
        """Take what the servos report (empty: no fault). True where the arm has to stop now."""
        if self.state is BackendState.READY and fault:
            self.faults += 1
            self._begin(fault, now)
            return True
        if self.state is BackendState.NEEDS_PERSON and fault:
            self._fault = fault
            self._ask()
        return False

    def should_restart(self, now: float) -> bool:
        """True once, when the arm has stood still for long enough."""
        if self.state is not BackendState.RECOVERING or self._restarting or now - self._since < SETTLE:
            return False
        while self._history and now - self._history[0] > self.window:
            self._history.popleft()
        if len(self._history) >= self.attempts:
            self._ask()
            return False
        self._history.append(now)
        self.restarts += 1
        self._restarting, self._since = True, now
        return True

    def on_restarted(self, fault: str, now: float) -> None:
        """The restart is over; `fault` is what the servos report now (empty: nothing)."""
        if self.state is not BackendState.RECOVERING:
            return
        self._restarting = False
        if fault:
            self._begin(fault, now)
            return
        self.state, self.message = BackendState.READY, f"recovered from {self._fault}"

    def tick(self, now: float) -> None:
        """A restart that takes too long is for a person."""
        if self._restarting and now - self._since > self.deadline:
            self._restarting = False
            self._fault += ", and the restart did not end"
            self._ask()

    def on_release(self, now: float) -> None:
        """A person says that it may be tried again."""
        if self.state is BackendState.NEEDS_PERSON:
            self._history.clear()
            self._begin(self._fault, now)

    def _begin(self, fault: str, now: float) -> None:
        self.state, self._fault, self._since = BackendState.RECOVERING, fault, now
        self.message = f"the servos report a fault and are restarted ({fault})"

    def _ask(self) -> None:
        self.state = BackendState.NEEDS_PERSON
        self.message = f"support the arm, find the cause and release it: {self._fault}"
