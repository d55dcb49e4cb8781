"""What an arm does about too much torque: it stops, goes back the way it came, and finds out whether that helped.

`arm.py` asks what is next and does it; this remembers how far it is. Stamps (ns) are given to it."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from enum import Enum, auto

from robofume_robot.arm_config import ArmConfig
from robofume_robot.envelope import Limits, Situation
from robofume_robot.homing import TimedTarget
from robofume_robot.kinematics import Array
from robofume_robot.motion import SECOND
from robofume_robot.overload import OverloadWatch, Trail

SETTLE = SECOND // 2
"""Between the parts: stop, back off, go on."""


class Part(Enum):
    """What is next."""

    WAIT = auto()
    BACK_OFF = auto()
    GIVE_UP = auto()
    GO_ON = auto()


class BackingOff:
    """Feels overloads, and leads the arm away from what it ran into."""

    def __init__(self, config: ArmConfig) -> None:
        self._attempts, self._window = config.overload_attempts, int(config.overload_window * SECOND)
        self._watch = OverloadWatch(config.effort_limits, config.effort_patience)
        self._trail = Trail()
        self._begun: deque[int] = deque()  # stamps of the overloads of late
        self._end = 0  # stamp at which the present part is over
        self._went_back = False
        self.fault = ""
        """What is being recovered from; empty: nothing."""

    def feel(self, efforts: Sequence[float] | Array, stamp: int) -> str:
        """See `OverloadWatch.feel`."""
        return self._watch.feel(efforts, stamp)

    def passed(self, joints: Array) -> None:
        """The arm moved through these joint positions (6,)."""
        self._trail.add(joints)

    def begin(self, fault: str, stamp: int) -> str:
        """The arm has stopped for `fault`; returns why a person is needed, where this happens too often."""
        while self._begun and stamp - self._begun[0] > self._window:
            self._begun.popleft()
        self._begun.append(stamp)
        if len(self._begun) > self._attempts:
            return f"{fault}, {len(self._begun)} times"
        self.fault, self._end, self._went_back = fault or "a fault", stamp + SETTLE, False
        return ""

    def next(self, stamp: int, overloaded: bool) -> Part:
        """What to do at `stamp`."""
        if stamp < self._end:
            return Part.WAIT
        if not self._went_back:
            return Part.BACK_OFF
        return Part.GIVE_UP if overloaded else Part.GO_ON

    def way_back(self, situation: Situation, limits: Limits, stamp: int) -> list[TimedTarget]:
        """The targets that back off, which may be none; asked for once."""
        path = self._trail.back(situation.measured[:6], situation.target.opening, limits)
        self._went_back = True
        self._end = stamp + SETTLE + (int(path[-1].time_from_start * SECOND) if path else 0)
        return path

    def stop(self) -> None:
        """Something else has the arm now."""
        self.fault = ""

    def forgive(self) -> None:
        """A person has seen to it: the overloads of late do not count."""
        self._begun.clear()
        self._watch.forget()

    def forget_the_way(self) -> None:
        """The arm was put somewhere else."""
        self._trail.forget()

    def restart(self) -> None:
        """The source of the joint states was started again."""
        self.stop()
        self._trail.forget()
        self._watch.forget()
