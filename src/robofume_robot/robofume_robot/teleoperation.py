"""A person's keys and joystick as arm commands. No ROS, no terminal and no clock of its own."""

from __future__ import annotations

import enum
import re
from collections.abc import Sequence

import numpy as np
from robofume_common.enums import ArmMode

from robofume_robot.kinematics import Array
from robofume_robot.teleop_config import TeleopConfig

DIRECTIONS: dict[str, tuple[int, float]] = {
    "w": (0, 1.0),
    "s": (0, -1.0),
    "a": (1, 1.0),
    "d": (1, -1.0),
    "r": (2, 1.0),
    "f": (2, -1.0),
    "u": (3, 1.0),
    "j": (3, -1.0),
    "i": (4, 1.0),
    "k": (4, -1.0),
    "q": (5, 1.0),
    "e": (5, -1.0),
}
"""Key -> component of the action, and its sign."""
HELP = (
    "w s: forward, back   a d: left, right   r f: up, down   q e: turn   u j, i k: roll, pitch\n"
    "g: open or close the gripper   p: hold the arm, and again to let the policy act   + -: faster, slower\n"
    "h: home   SPACE: emergency stop   x: release it   Ctrl+C: end"
)
GRIPPER, HOLD, HOME, STOP, RELEASE, FASTER, SLOWER = "g", "p", "h", " ", "x", "+", "-"
SPEEDS = (0.1, 4.0)
_SEQUENCE = re.compile(r"\x1b(?:\[{1,2}[0-9;]*[A-Za-z~]|O[A-Za-z])")
_BEGUN = re.compile(r"\x1b(?:\[{1,2}[0-9;]*|O)?$")
GRIPPER_TIME = 1.0  # s for which the arm is the person's while the fingers move


class Request(enum.Enum):
    """What is asked beside moving."""

    HOME = "home"
    STOP = "emergency stop"
    RELEASE = "release"


class Keyboard:
    """Leaves out what arrows and function keys send: sequences whose letters are keys here, so that the Home key would
    send the arm home, and the arrow to the left move it to the right."""

    def __init__(self) -> None:
        self._begun = ""

    def keys(self, typed: str) -> str:
        """The keys in what was typed since the last call; a sequence may come in parts. The space bar is never left
        out."""
        typed = _SEQUENCE.sub("", self._begun + typed)
        begun = _BEGUN.search(typed)
        self._begun = begun.group() if begun else ""
        return typed.removesuffix(self._begun).lower()


class Teleoperator:
    """Arguments: `config`, its settings."""

    def __init__(self, config: TeleopConfig) -> None:
        self._config = config
        self._opening = 1.0
        self._turned = False
        self._speed = 1.0
        self._keys: dict[str, float] = {}
        self._gripper_until = -1.0
        self._holding = False
        self._deflection = np.zeros(6)
        self._enabled_at: float | None = None
        self._buttons: Sequence[int] = ()

    def key(self, key: str, now: float) -> Request | None:
        """Take one character at `now` (s); what is asked with it, if it is not a movement."""
        if key in DIRECTIONS:
            self._keys[key] = now
        elif key == GRIPPER:
            self._turn_gripper(now)
        elif key == HOLD:
            self._holding = not self._holding
        elif key in (FASTER, SLOWER):
            self._speed = min(max(self._speed * (1.25 if key == FASTER else 0.8), SPEEDS[0]), SPEEDS[1])
        elif key in (HOME, STOP, RELEASE):
            self.let_go()
            return {HOME: Request.HOME, STOP: Request.STOP, RELEASE: Request.RELEASE}[key]
        return None

    def joystick(self, axes: Sequence[float], buttons: Sequence[int], now: float) -> Request | None:
        """Take a `sensor_msgs/Joy` at `now` (s). Without the enabling button it moves nothing; its stop button always
        counts."""
        config, before = self._config, self._buttons
        self._buttons = tuple(buttons)

        def pressed(index: int) -> bool:
            was = index < len(before) and before[index]
            return index < len(buttons) and bool(buttons[index]) and not was

        if pressed(config.stop_button):
            self.let_go()
            return Request.STOP
        if pressed(config.release_button):
            return Request.RELEASE
        if pressed(config.home_button):
            self.let_go()
            return Request.HOME
        if pressed(config.gripper_button):
            self._turn_gripper(now)
        enabled = config.enable_button < len(buttons) and bool(buttons[config.enable_button])
        self._enabled_at = now if enabled else None
        for component, axis in enumerate(config.axes[:6]):
            value = axes[axis] if 0 <= axis < len(axes) else 0.0
            self._deflection[component] = _beyond(value, config.dead_zone)
        return None

    def command(self, opening: float, now: float) -> tuple[ArmMode, Array] | None:
        """Mode and action (7,) of what the person wants now, or None where the policy may act. `opening`: what
        the gripper was told last; until the person turns it, it stays so."""
        if not self._turned:
            self._opening = 1.0 if opening > 0.5 else 0.0
        direction: Array = np.zeros(6)
        active = now <= self._gripper_until
        for key, time in self._keys.items():
            if now - time <= self._config.key_time:
                component, sign = DIRECTIONS[key]
                direction[component] += sign
                active = True
        if self._enabled_at is not None and now - self._enabled_at <= self._config.joystick_timeout:
            direction += self._deflection
            active = True
        if not active:
            if self._holding:
                return ArmMode.HOLD, np.append(np.zeros(6), self._opening)
            self._turned = False  # the policy may move it meanwhile
            return None
        direction = np.clip(direction, -1.0, 1.0)
        steps = np.repeat([self._config.translation_step, self._config.rotation_step], 3) * self._speed
        return ArmMode.DELTA, np.append(direction * steps, self._opening)

    def let_go(self) -> None:
        """Forget every key and deflection."""
        self._keys.clear()
        self._enabled_at, self._gripper_until = None, -1.0

    def _turn_gripper(self, now: float) -> None:
        self._opening, self._turned = 1.0 - self._opening, True
        self._gripper_until = now + GRIPPER_TIME


def _beyond(value: float, dead_zone: float) -> float:
    if not abs(value) > dead_zone:  # NaN too
        return 0.0
    return float(np.sign(value)) * min((abs(value) - dead_zone) / (1.0 - dead_zone), 1.0)
