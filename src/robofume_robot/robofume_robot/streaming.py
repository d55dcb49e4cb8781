"""A motion as a stream of joint goals at a fixed rate, never faster than the joint velocity limits.

Pure: time is given to every call."""

from __future__ import annotations

import math

import numpy as np

from robofume_robot import kinematics
from robofume_robot.kinematics import Array
from robofume_robot.motion import Motion

_ROUNDING = 1e-6  # s; the last point is not missed by the rounding of clocks
_CATCH_UP = 2.0
"""Periods of a motion that one tick may make up for, as when a clock jitters."""


class Stream:
    """The goals between where the arm was told to be and the points of a motion.

    Arguments:
        velocity_scale: share of the joint velocity limits that no goal asks more than.
        period: time in s between two goals.
    """

    def __init__(self, velocity_scale: float, period: float) -> None:
        self._period = period
        self._step = kinematics.VELOCITY_LIMITS * (velocity_scale * period)
        self._goal: Array = np.zeros(6)
        self._times: Array = np.zeros(0)
        self._points: Array = np.zeros((0, 6))
        self._fingers: Array = np.zeros(0)
        self._finger = 0.0
        self._time = self._last = 0.0

    @property
    def active(self) -> bool:
        """True while there are goals to send."""
        return len(self._times) > 0

    @property
    def goal(self) -> Array:
        """The last goal (6,) in rad."""
        return self._goal

    def start(self, motion: Motion, goal: Array, now: float) -> None:
        """Follow `motion` from `goal` (6,), in place of whatever runs."""
        self._goal = np.array(goal, dtype=np.float64)
        self._times = np.array([0.0, *(point.time_from_start for point in motion.points)])
        self._points = np.vstack([self._goal, *(point.positions[:6] for point in motion.points)])
        self._fingers = np.array([point.positions[6:8].mean() for point in motion.points])
        self._finger = float(self._fingers[0])
        self._time, self._last = 0.0, now

    def stop(self, goal: Array | None = None) -> None:
        """Send nothing more; `goal` (6,) is where the arm is held from now on."""
        self._times = np.zeros(0)
        if goal is not None:
            self._goal = np.array(goal, dtype=np.float64)

    def next(self, now: float, measured: Array | None = None, lead: float = math.inf) -> tuple[Array, float]:
        """The next goal (6,) in rad, and where the fingers shall be (m). Only while active.

        A goal is where the motion will be one period later; a motion that asks for more than the velocity limits,
        or a tick that comes late, makes the stream take longer, and no goal jumps: what is late is not made up for at a
        higher speed than was planned, nor by a straight line past the points between. It waits, with the goal that it
        has, for an arm at `measured` (6,) that a further one would leave behind by more than `lead` rad."""
        passed, self._last = min(now - self._last, _CATCH_UP * self._period), now
        time = self._time + passed + self._period + _ROUNDING
        wanted = np.array([np.interp(time, self._times, self._points[:, joint]) for joint in range(6)])
        goal = self._goal + np.clip(wanted - self._goal, -self._step, self._step)
        if measured is not None:
            before, after = (float(np.abs(each - measured).max()) for each in (self._goal, goal))
            if after > max(before, lead):
                return self._goal, self._finger
        self._time, self._goal = self._time + passed, goal
        index = min(max(int(np.searchsorted(self._times[1:], time)), 0), len(self._fingers) - 1)
        self._finger = float(self._fingers[index])
        if time >= self._times[-1] and np.array_equal(self._goal, wanted):
            self._times = np.zeros(0)
        return self._goal, self._finger
