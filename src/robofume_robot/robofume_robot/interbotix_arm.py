"""The Interbotix backend as a state machine: motions in, goals for the servos out, with everything checked again.

No ROS and no threads but those of calls that may never return. The driver checks nothing, so this is the last word:
joint limits, NaN, jumps, speed; silence of the driver and of the arm node; faults of the servos; the emergency stop."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from robofume_common.enums import ArmState, BackendState
from robofume_common.errors import RobofumeError

from robofume_robot import kinematics
from robofume_robot.deadlines import Call
from robofume_robot.interbotix_config import InterbotixConfig
from robofume_robot.interbotix_driver import ALL_JOINTS, ServoDriver
from robofume_robot.interbotix_joints import describe_errors, is_acceptable
from robofume_robot.kinematics import SLEEP_JOINT_POSITIONS, Array
from robofume_robot.motion import Motion
from robofume_robot.recovery import Recovery
from robofume_robot.sleeping import is_asleep, plan_sleep
from robofume_robot.streaming import Stream

RESTART_DEADLINE = 15.0  # s
LAST_HOLD = 1.0  # s that a motion may go on when the arm node says that nothing is under way: it is the hold
CATCH_UP = 4.0  # s for which the way to the sleep pose waits for the arm
MAX_LEAD = 0.6  # rad; no goal is further ahead of the arm, as in the envelope
OPEN_ABOVE, CLOSED_BELOW = 0.6, 0.4
"""Opening of the gripper, which knows open and closed alone; in between it stays as it is."""
_STOPPED = "The arm was stopped: it stays where it is, held by its servos. Support it before the power goes."


@dataclass
class BackendCounters:
    """Since the start."""

    motions: int = 0
    goals: int = 0
    refused_motions: int = 0
    refused_goals: int = 0
    holds: int = 0
    driver_silences: int = 0
    faults: int = 0
    restarts: int = 0


class InterbotixArm:
    """See the module. A `robofume_robot.backend.Backend`.

    Arguments:
        config: its settings.
        driver: the servos.
        clock, sleep: wall time in s; while `end` waits, `sleep` is where an emergency stop is heard.
        on_status: called when `state` or `message` has changed.
        warn: takes a sentence for the log.
    """

    def __init__(
        self,
        config: InterbotixConfig,
        driver: ServoDriver,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        on_status: Callable[[], None] = lambda: None,
        warn: Callable[[str], None] = lambda _sentence: None,
    ) -> None:
        self.config = config.check()
        self.counters = BackendCounters()
        self.failure: RobofumeError | None = None
        self._driver, self._clock, self._sleep, self._on_status, self._warn = driver, clock, sleep, on_status, warn
        self._recovery = Recovery(config.recovery_attempts, config.recovery_window, RESTART_DEADLINE)
        self._stream = Stream(config.velocity_scale, config.stream_period)
        # The library refuses a goal that its last one is too far from for the moving time, the goal of a hold too.
        self._lead = min(MAX_LEAD, 0.95 * float(kinematics.VELOCITY_LIMITS.min()) * config.moving_time)
        self._measured: Array | None = None
        self._joint_state_time = clock()
        self._silent = False
        self._opened: bool | None = None
        self._motion_time = clock()
        self._arm_time: float | None = None
        self._arm_silent = self._arm_stopped = False
        self._emergency = False
        self._stops_told = 0
        self._ending = ""
        self._read: Call[list[int]] | None = None
        self._read_time = clock()
        self._restart: Call[list[int]] | None = None
        self._shown = (self.state, self.message)

    @property
    def state(self) -> BackendState:
        """What ArmStatus' other half, BackendStatus, says."""
        return BackendState.ENDING if self._ending else self._recovery.state

    @property
    def message(self) -> str:
        """One sentence about it."""
        if self._ending:
            return self._ending
        return "guided by hand: the torque is off" if self.config.guided else self._recovery.message

    # What is told to it

    def joint_state(self, measured: Array) -> None:
        """Take measured positions (8,) in the order of `kinematics.JOINT_NAMES`."""
        if self._measured is None:
            self._stream.stop(measured[:6])
        self._measured, self._joint_state_time, self._silent = measured, self._clock(), False

    def send(self, motion: Motion) -> None:
        """Start `motion` now, in place of whatever runs; refused as a whole where a part of it is not safe."""
        self.counters.motions += 1
        reason = self._objection(motion)
        if reason:
            self.counters.refused_motions += 1
            self._warn(f"A motion was refused: {reason}.")
            return
        assert self._measured is not None
        goal = self._stream.goal
        if np.abs(goal - self._measured[:6]).max() > self._lead:
            goal = self._measured[:6]
        self._motion_time = self._clock()
        self._stream.start(motion, goal, self._motion_time)

    def arm_status(self, state: ArmState, emergency_stops: int = 0) -> None:
        """Take a sign of life of the arm node. Where it says that nothing is under way, as when it was started again,
        or does not know where the arm is, nobody follows the way that it sent before.

        `emergency_stops`: how many it has been told since its start, also by its service, of which nothing else is
        heard here. One holds until `release` even where the arm node is started again and has forgotten it."""
        now = self._arm_time = self._clock()
        self._arm_silent = False
        if state is ArmState.STOPPED and emergency_stops > self._stops_told:
            self.emergency_stop()
        self._stops_told = emergency_stops
        if self._ending:
            return
        self._arm_stopped = state is ArmState.STOPPED
        still = state in (ArmState.HOLDING, ArmState.STOPPED) and now - self._motion_time > LAST_HOLD
        if self._stream.active and (still or state is ArmState.REFUSING):
            self._hold("the arm node does not follow its way any more")

    def emergency_stop(self) -> None:
        """Hold the measured pose now; nothing moves until `release`. Once, however long it is pressed: what is measured
        sags below its goal, and to hold that again and again would let the arm sink."""
        if not self._emergency:
            self._emergency = True
            self._hold("emergency stop")

    def release(self) -> None:
        """A person says that the arm may move again, and that servos may be restarted once more."""
        self._emergency = False
        self._recovery.on_release(self._clock())
        self._tell()

    # What it does

    def tick(self) -> None:
        """Call every `stream_period`."""
        now = self._clock()
        if self._ending or self.failure is not None:
            return
        if self._watch_driver(now) and self._watch_arm(now):
            self._watch_servos(now)
            self._recover(now)
            self._tell()
            if self._stream.active and self.state is BackendState.READY:
                self._send_next(now)

    def _send_next(self, now: float) -> None:
        assert self._measured is not None
        goal, finger = self._stream.next(now, self._measured[:6], self._lead)
        if not self._move(goal):
            return
        opening = kinematics.opening_from_finger(finger)
        wanted = True if opening > OPEN_ABOVE else False if opening < CLOSED_BELOW else self._opened
        if wanted is not None and wanted is not self._opened:
            self._driver.grip(wanted)
            self._opened = wanted

    def _move(self, goal: Array) -> bool:
        reason = is_acceptable(np.append(goal, (kinematics.FINGER_OPEN, kinematics.FINGER_OPEN)))
        if not reason and self._driver.move(np.clip(goal, kinematics.JOINT_LOWER, kinematics.JOINT_UPPER)):
            self.counters.goals += 1
            return True
        self.counters.refused_goals += 1
        self._warn(f"A goal was refused by {'this node: ' + reason if reason else 'the Interbotix library'}.")
        self._stream.stop(None if self._measured is None else self._measured[:6])
        return False

    def _hold(self, reason: str) -> None:
        """The measured pose becomes the goal, once."""
        if self._measured is None or self.config.guided:
            return
        self.counters.holds += 1
        self._stream.stop(self._measured[:6])
        self._move(np.clip(self._measured[:6], kinematics.JOINT_LOWER, kinematics.JOINT_UPPER))
        self._warn(f"The arm is held: {reason}.")

    def _objection(self, motion: Motion) -> str:
        """Why `motion` must not be carried out; empty where it may."""
        if self.config.guided:
            return "the arm is guided by hand"
        if self._ending or self.failure is not None:
            return "the node ends"
        if self._emergency:
            return "the emergency stop has not been released"
        if self.state is not BackendState.READY:
            return self.message
        if self._measured is None or self._clock() - self._joint_state_time > self.config.driver_timeout:
            return "the driver sends no joint states"
        last = 0.0
        for point in motion.points:
            reason = is_acceptable(point.positions)
            if reason:
                return reason
            if not last < point.time_from_start < 3600.0:
                return "its points are not in the order of their times"
            last = point.time_from_start
        if not motion.points:
            return "it has no points"
        jump = float(np.abs(motion.points[0].positions[:6] - self._measured[:6]).max())
        if jump > self.config.largest_jump:
            return f"it begins {jump:.2f} rad away from the arm"
        return ""

    def _watch_driver(self, now: float) -> bool:
        silence = now - self._joint_state_time
        if silence > self.config.driver_lost_after:
            self._fail(
                f"The Interbotix driver has sent no joint states for {silence:.0f} s: look whether it still runs, at "
                "the power and at the USB cable. Nobody can move the arm now; its servos hold what they were told last."
            )
            return False
        if silence > self.config.driver_timeout:
            if not self._silent:
                self._silent = True
                self.counters.driver_silences += 1
                self._stream.stop()
                self._warn("The driver sends no joint states: nothing is streamed.")
            return False
        return True

    def _watch_arm(self, now: float) -> bool:
        if self._arm_time is None:
            return True
        silence = now - self._arm_time
        if silence > self.config.arm_lost_after:
            self._fail(f"The arm node has been silent for {silence:.0f} s: the arm goes to its sleep pose.")
            return False
        if silence > self.config.arm_timeout and not self._arm_silent:
            self._arm_silent = True
            self._hold(f"the arm node has been silent for {silence:.1f} s")
        return True

    def _watch_servos(self, now: float) -> None:
        if self._read is None:
            if self._restart is None and now - self._read_time >= self.config.error_period:
                self._read, self._read_time = Call(self._driver.hardware_errors), now
            return
        if not self._read.done:
            return
        fault = self._fault_of(self._read)
        self._read = None
        if self._recovery.on_errors(fault, now):
            self.counters.faults += 1
            self._hold(f"the servos report a fault ({fault})")

    def _recover(self, now: float) -> None:
        self._recovery.tick(now)
        if self._restart is None:
            if self._recovery.should_restart(now):
                self.counters.restarts += 1
                self._restart = Call(self._restart_servos)
            return
        if self._restart.done:
            try:
                fault = describe_errors(self._restart.result(0.0, "the restart failed"), ALL_JOINTS)
            except RobofumeError as error:
                fault = str(error)
            self._restart = None
            self._recovery.on_restarted(fault, now)
            if self._measured is not None:
                self._stream.stop(self._measured[:6])
            self._opened = None  # the gripper's servo may have been restarted

    def _restart_servos(self) -> list[int]:
        self._driver.restart()
        return self._driver.hardware_errors()

    def _fault_of(self, call: Call[list[int]]) -> str:
        try:
            return describe_errors(call.result(0.0, "The servos cannot be asked for their errors."), ALL_JOINTS)
        except RobofumeError as error:
            self._fail(str(error))
            return ""

    def _fail(self, sentence: str) -> None:
        self.failure = self.failure or RobofumeError(sentence)

    def _tell(self) -> None:
        if (self.state, self.message) != self._shown:
            self._shown = (self.state, self.message)
            self._on_status()

    # The end

    def end(self) -> str:
        """Bring the arm to its sleep pose and cut the torque there; blocks. Returns one sentence about what was done.

        Where the arm does not come there, the torque stays on: without it the arm would fall."""
        if self._ending:
            return self._ending
        blocked = self._emergency or self._arm_stopped or self.state is not BackendState.READY
        self._ending = "ending"
        self._tell()
        try:
            self._ending = self._lay_down(blocked)
        except Exception as error:  # noqa: BLE001  whatever the library does, the rest of the end must follow
            self._ending = f"The arm was not laid down ({error}): its servos hold it. Support it before the power goes."
        self._tell()
        return self._ending

    def _lay_down(self, blocked: bool) -> str:
        if not self._driver_speaks():
            return "The driver is silent: the arm stays where it is, and its servos hold it."
        if self.config.guided:
            return "The torque stays off: support the arm, or leave it in its sleep pose."
        if blocked:
            return _STOPPED
        measured = self._position()
        path = plan_sleep(measured, self.config.sleep_velocity_scale, self.config.sleep_height)
        self._stream.start(path, measured[:6], self._clock())
        while self._stream.active:
            goal, _finger = self._stream.next(self._clock())
            if not self._comes_near(goal, self._lead):
                self._hold("something is in its way")
                break
            if self._emergency or not self._move(goal):
                break
            self._sleep(self.config.stream_period)
        if not self._emergency:
            self._comes_near(SLEEP_JOINT_POSITIONS, self.config.sleep_tolerance)
        if self._emergency:  # heard while it waited
            return _STOPPED
        if not is_asleep(self._position(), self.config.sleep_tolerance):
            return "The arm did not come to its sleep pose: its servos hold it. Support it before the power goes."
        if not self.config.torque_off_at_end:
            return "The arm is in its sleep pose, with its torque on."
        try:
            self._driver.torque(False)
        except RobofumeError as error:
            return f"The arm is in its sleep pose, and its torque is still on: {error}"
        return "The arm is in its sleep pose, and its torque is off."

    def _comes_near(self, goal: Array, tolerance: float) -> bool:
        """True where the arm is within `tolerance` rad of `goal` (6,) in time; a slow driver may need a while."""
        ends = self._clock() + CATCH_UP
        while np.abs(goal - self._position()[:6]).max() > tolerance:
            if self._clock() > ends:
                return False
            self._sleep(0.05)
        return True

    def _driver_speaks(self) -> bool:
        """True where a new joint state comes within the driver's timeout."""
        first = self._driver.measured()
        ends = self._clock() + max(self.config.driver_timeout, 1.0)
        while self._clock() < ends:
            self._sleep(0.02)
            now = self._driver.measured()
            if now is not None and (first is None or now[0] != first[0]):
                return True
        return False

    def _position(self) -> Array:
        measured = self._driver.measured()
        if measured is not None:  # else the last one that could be believed
            self._measured = measured[1]
        assert self._measured is not None
        return self._measured
