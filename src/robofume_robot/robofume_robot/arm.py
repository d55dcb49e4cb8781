"""The arm as a state machine: commands and joint states in, motions out. No ROS and no clock of its own.

The arm node and the Gymnasium environment drive the same object. Stamps are nanoseconds of the source's clock
(the simulation's or the robot's); `clock` gives seconds of steady wall time and is read for the watchdog and
for silent joint states only, so that in lockstep no result depends on the speed of the machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from robofume_common.enums import Actor, ArmMode, ArmState, BackendState
from robofume_common.stamps import RESTART_JUMP

from robofume_robot import kinematics
from robofume_robot.arm_config import ArmConfig
from robofume_robot.backing_off import BackingOff, Part
from robofume_robot.envelope import JointTarget, Reason, Refusal, Situation, hold, keep, plan
from robofume_robot.homing import TimedTarget, plan_home
from robofume_robot.kinematics import Array
from robofume_robot.motion import SECOND, Command, Counters, Motion, MotionPoint

_OWN_WAY = (ArmState.HOMING, ArmState.RECOVERING)
"""Where the backend has a way to follow, and not one target."""
PENDING_GAP = 60 * SECOND
"""Lockstep: how far ahead of its joint state a command may arrive; the longest homing is shorter."""


@dataclass
class _Homing:
    command: int  # stamp of the MODE_HOME command to acknowledge
    end: int  # stamp at which the arm should be there
    attempts: int = 1


@dataclass
class Arm:
    """See the module. `on_status` is called before the motion of a change of state is returned."""

    config: ArmConfig
    clock: Callable[[], float] = time.monotonic
    on_status: Callable[[], None] = lambda: None
    counters: Counters = field(default_factory=Counters)
    state: ArmState = ArmState.REFUSING
    message: str = "no joint state has arrived yet"
    home_command: int = 0

    def __post_init__(self) -> None:
        """Take the limits from the settings. Raises RobofumeError where they make no sense."""
        self.limits = self.config.limits()
        if self.limits is None:
            self.message = "no workspace box is configured: set workspace_minimum and workspace_maximum"
        self._home = np.array(self.config.home_joint_positions)
        self._situation: Situation | None = None
        self._stamp = -1  # newest joint state
        self._joint_state_time = self.clock()
        self._command_time = self.clock()
        self._answered: Motion | None = None  # the newest motion that answered an observation
        self._pending: Command | None = None
        self._homing: _Homing | None = None
        self._backing_off = BackingOff(self.config)
        self._backend, self._backend_message = BackendState.READY, ""
        self._emergency = False
        self._holds = False
        """The motion sent last holds a measured pose. In real time it is not sent again: servos sag, and to hold what
        is measured again and again would let the arm sink."""
        self._loose = False
        """In real time: the backend may be on a way that nobody follows any more, or was to stop when it was not known
        where the arm is. It is held with the next joint state."""

    @property
    def stamp(self) -> int:
        """Stamp (ns) of the newest joint state; -1 before the first."""
        return self._stamp

    @property
    def target(self) -> JointTarget | None:
        """The last target; None before the first joint state."""
        return self._situation.target if self._situation else None

    def proprioception(self) -> Array:
        """`Step.proprioception` (7,) of the newest joint state."""
        if self._situation is None:
            raise ValueError("no joint state has arrived yet")
        return kinematics.proprioception(self._situation.measured)

    def joint_state(
        self, stamp: int, positions: Sequence[float] | Array, efforts: Sequence[float] | Array = ()
    ) -> Motion | None:
        """Take measured positions (8,) in the order of `kinematics.JOINT_NAMES` with their stamp (ns), and the torques
        of the arm joints (6 or more, Nm) where they are known.

        Returns a motion where the arm acts of itself: while homing, after an overload, or for a command that came
        before its joint state."""
        measured = np.array(positions, dtype=np.float64)
        if measured.shape != (8,) or not np.isfinite(measured).all():
            return None  # a broken reading: the last good one ages until commands are refused
        if self._situation is None or stamp < self._stamp - RESTART_JUMP:
            self._restart(measured)
        elif stamp <= self._stamp:
            # Lockstep: an observation is repeated when its answer was lost; while homing the answer was the
            # arm's own.
            own = self._homing or self._backing_off.fault
            again = self.config.lockstep and own and self._answered and self._answered.stamp == stamp
            return self._answered if again else None
        elif self._was_put(measured, (stamp - self._stamp) / SECOND):
            self._situation, self._holds = Situation.at_rest(measured), False
            self._backing_off.forget_the_way()
        else:
            self._situation = Situation(measured, self._situation.target)
        self._stamp, self._joint_state_time = stamp, self.clock()  # not of a repetition: its source may have stopped
        if self.state is ArmState.REFUSING and self.limits is not None:
            self._become(ArmState.HOLDING, "ready")
            motion = self._heed_backend()
            if self.state is not ArmState.HOLDING:
                return motion
        if self._loose:
            return self._hold(0)
        overload = self._backing_off.feel(efforts, stamp)
        if overload and self.state in (ArmState.HOLDING, ArmState.MOVING, ArmState.HOMING):
            self._pending = None
            return self._begin_recovery(overload)
        if self._backing_off.fault:
            return self._continue_recovery(overload)
        if self.state in (ArmState.MOVING, ArmState.HOMING):
            self._backing_off.passed(measured[:6])
        motion = self._continue_homing() if self._homing else None
        pending, self._pending = self._pending, None
        if pending is None:
            return motion
        if pending.stamp > stamp:
            self._pending = pending
            return motion
        answer = self._answer(pending)
        return motion if answer is None else answer

    def command(self, command: Command) -> Motion | None:
        """Take a command; returns the motion to send, or None where nothing is to be sent."""
        self.counters.commands += 1
        return self._answer(command)

    def tick(self) -> Motion | None:
        """Call often. The watchdog: without a command in time the measured pose is held, once."""
        now = self.clock()
        if self.config.lockstep or self._situation is None:
            pass
        elif self.limits is not None and self._is_silent():
            if self.state not in (ArmState.REFUSING, ArmState.STOPPED):
                self._loose |= self.state in _OWN_WAY
                self._drop_own_motion()
                self._become(ArmState.REFUSING, "no joint states arrive: is the robot's driver running?")
            return None
        if self.state is not ArmState.MOVING or now - self._command_time <= self.config.watchdog:
            return None
        self.counters.watchdog_holds += 1
        motion = self._hold(0, keep_target=self.config.lockstep)
        self._become(ArmState.HOLDING, f"no command for {self.config.watchdog:g} s")
        return motion

    def halt(self, message: str) -> Motion | None:
        """Hold the measured pose now, answering nothing; for an orderly end."""
        if self.limits is None or self._situation is None or self.state is ArmState.REFUSING:
            return None
        self._drop_own_motion()
        motion = self._hold(0)
        if self.state is not ArmState.STOPPED:
            self._become(ArmState.HOLDING, message)
        return motion

    def emergency_stop(self) -> Motion | None:
        """Hold the measured pose and take no command, not even a person's, until `release`."""
        again = self._emergency and self._holds
        self.counters.emergency_stops += not self._emergency
        self._emergency, self._pending = True, None
        return None if again else self._stop("emergency stop", "a person has to release it")

    def release(self) -> str:
        """A person says that the arm may move again; one sentence about what came of it."""
        self._emergency = False
        if self.state is not ArmState.STOPPED:
            return f"Nothing is stopped: {self.message}."
        self._backing_off.forgive()
        if self._situation is None or self.limits is None:
            self._become(ArmState.REFUSING, "released, and no joint state has arrived yet")
        else:
            self._situation = Situation(self._situation.measured, self._at_rest())
            self._become(ArmState.HOLDING, "released by a person")
        return "Released."

    def backend_status(self, state: BackendState, message: str) -> Motion | None:
        """Take what a backend with servos says of itself; a fault stops the arm as an overload does."""
        before, self._backend, self._backend_message = self._backend, state, message
        if state is before or self._situation is None or self.limits is None or self.state is ArmState.STOPPED:
            return None
        return self._heed_backend()

    def _heed_backend(self) -> Motion | None:
        state, message = self._backend, self._backend_message
        if state in (BackendState.NEEDS_PERSON, BackendState.ENDING):
            return self._stop(message, "" if state is BackendState.ENDING else "a person has to help and release it")
        if state is BackendState.RECOVERING and not self._backing_off.fault:
            return self._begin_recovery(message)
        return None

    def reset(self) -> None:
        """Forget where the arm was and what it was told; the next joint state is the first. Counters stay."""
        self._situation, self._stamp = None, -1

    def _was_put(self, measured: Array, seconds: float) -> bool:
        """True where the arm is further from its last place than it can move: a scene reset put it there."""
        assert self._situation is not None
        moved = np.abs(measured[:6] - self._situation.measured[:6])
        return bool((moved > 1.2 * kinematics.VELOCITY_LIMITS * seconds + 0.05).any())

    def _restart(self, measured: Array) -> None:
        self._situation, self._holds = Situation.at_rest(measured), False
        self._answered, self._pending, self._homing, self.home_command = None, None, None, 0
        self._backing_off.restart()
        self._loose |= self.state in _OWN_WAY and not self.config.lockstep
        if self.state in (ArmState.MOVING, ArmState.HOMING, ArmState.RECOVERING):
            self._become(ArmState.HOLDING, "the source of the joint states was started again")

    def _become(self, state: ArmState, message: str) -> None:
        if (state, message) != (self.state, self.message):
            changed = state is not self.state
            self.state, self.message = state, message
            if changed:
                self.on_status()

    def _answer(self, command: Command) -> Motion | None:
        if self.limits is None or self._situation is None:
            return None
        if self._answered is not None and command.stamp == self._answered.stamp:
            if self._homing is not None and command.mode == ArmMode.HOME:
                self._homing.command = command.stamp
            # The same question gets the same answer. In real time it is on its way already, and a motion that
            # is sent again would start again.
            return self._answered if self.config.lockstep else None
        if command.mode == ArmMode.DELTA:  # what it says can be judged before when it was said
            try:
                finite = bool(np.isfinite(np.asarray(command.action, dtype=np.float64)).all())
            except (TypeError, ValueError):
                finite = False
            if not finite:
                return self._refuse(command, Refusal(Reason.NOT_FINITE, "the action has a number that is not finite"))
        if self.config.lockstep and self._stamp < command.stamp <= self._stamp + PENDING_GAP:
            self._pending = command  # its joint state is still on its way
            return None
        if not self._fresh(command.stamp):
            self.counters.refused_stale += 1
            return None
        if self.state is ArmState.REFUSING or self._is_silent():
            self.counters.refused_stale += 1
            return None
        if self.state is ArmState.RECOVERING:
            return None
        if command.mode == ArmMode.HOME:
            return self._start_homing(command)
        if command.mode == ArmMode.HOLD:
            self._homing = None
            motion = None if self._holds and not self.config.lockstep else self._hold(command.stamp)
            if self.state is not ArmState.STOPPED:
                self._become(ArmState.HOLDING, "a command holds the pose")
            return motion
        if command.mode != ArmMode.DELTA:
            return self._refuse(command, Refusal(Reason.NOT_FINITE, f"there is no mode {command.mode}"))
        if self.state is ArmState.STOPPED or self._homing is not None:
            return None
        result = plan(command.action, self._situation, self.limits)
        if isinstance(result, Refusal):
            return self._refuse(command, result)
        self.counters.clamped_step += result.clamped_step
        self.counters.clamped_box += result.clamped_box
        self.counters.clamped_velocity += result.clamped_velocity
        self.counters.clamped_joint += result.clamped_joint
        self._command_time = self.clock()
        self._become(ArmState.MOVING, "following commands")
        return self._send(command.stamp, [TimedTarget(result, self.config.control_period)])

    def _is_silent(self) -> bool:
        """True where it is not known any more where the arm is; never in lockstep."""
        return not self.config.lockstep and self.clock() - self._joint_state_time > self.config.joint_state_timeout

    def _fresh(self, stamp: int) -> bool:
        if self._answered is not None and stamp < self._answered.stamp:
            return False
        if self.config.lockstep:
            return stamp == self._stamp
        return abs(self._stamp - stamp) <= self.config.max_command_age * SECOND

    def _refuse(self, command: Command, refusal: Refusal) -> Motion | None:
        """Count it. In lockstep the world still needs an answer, which is the target that it has."""
        if refusal.reason is Reason.NOT_FINITE:
            self.counters.refused_not_finite += 1
        else:
            self.counters.refused_unreachable += 1
        self.message = f"refused: {refusal.sentence}"
        assert self._situation is not None
        assert self.limits is not None
        if not self.config.lockstep or command.stamp != self._stamp or self.state is ArmState.REFUSING:
            return None
        return self._send_one(command.stamp, keep(self._situation, self.limits))

    def _hold(self, stamp: int, keep_target: bool = False) -> Motion | None:
        """Hold the measured pose. None where the arm rests outside the box: a position-controlled arm then stays as
        it is. One that is on its way there, home or back from an overload, is stopped where it is, in the box or
        not: its backend has the whole way, and would go on.

        In lockstep the watchdog keeps the commanded target for the next delta, because the world does not
        move while it waits, and its course must not depend on who was slow."""
        assert self._situation is not None
        assert self.limits is not None
        target = hold(self._situation, self.limits)
        if isinstance(target, Refusal) and (self._loose or self.state in _OWN_WAY):
            target = self._at_rest()
        elif isinstance(target, JointTarget) and self._emergency and not self.config.lockstep:
            target = self._at_rest()  # not even back into the box
        motion = self._send_one(stamp, target, keep_target)
        self._holds = motion is not None
        return motion

    def _send_one(self, stamp: int, target: JointTarget | Refusal, keep_target: bool = False) -> Motion | None:
        if isinstance(target, Refusal):
            self.message = target.sentence
            return None
        return self._send(stamp, [TimedTarget(target, self.config.control_period)], keep_target)

    def _send(self, stamp: int, targets: list[TimedTarget], keep_target: bool = False) -> Motion:
        assert self._situation is not None
        points = tuple(MotionPoint(t.target.positions(), t.time_from_start) for t in targets)
        motion, self._holds, self._loose = Motion(stamp, points), False, False
        if stamp:
            self._answered = motion
        if not keep_target:
            self._situation = Situation(self._situation.measured, targets[-1].target)
        self.counters.sent += len(points)
        return motion

    def _start_homing(self, command: Command) -> Motion | None:
        if self.state is ArmState.STOPPED and (self._emergency or command.actor != Actor.PERSON):
            return None
        if self._homing is not None:
            self._homing.command = command.stamp  # on its way already: acknowledge the newest
            return None
        self._homing = _Homing(command.stamp, 0, 0)
        return self._go_home(command.stamp)

    def _go_home(self, stamp: int) -> Motion | None:
        assert self._situation is not None
        assert self.limits is not None
        assert self._homing is not None
        if self._home.shape != (6,):
            path: list[TimedTarget] | Refusal = Refusal(
                Reason.UNREACHABLE, "no home pose is configured: set home_joint_positions"
            )
        else:
            path = plan_home(self._situation, self._home, self.limits)
        if isinstance(path, Refusal):
            self.counters.refused_unreachable += 1
            return self._stop(path.sentence)
        self._homing.attempts += 1
        self._homing.end = self._stamp + int(path[-1].time_from_start * SECOND)
        self._become(ArmState.HOMING, "on the way home")
        return self._send(stamp, path)

    def _stop(self, sentence: str, request: str = "a person has to clear the arm and send it home") -> Motion | None:
        self._drop_own_motion()
        motion = None
        if self.limits is not None and self._situation is not None:
            self._loose |= self._is_silent()  # to hold where it was would move it
            motion = None if self._is_silent() else self._hold(self._own_stamp())
        self._become(ArmState.STOPPED, "; ".join(filter(None, (sentence, request))))
        return motion

    def _drop_own_motion(self) -> None:
        self._homing = None
        self._backing_off.stop()

    def _own_stamp(self) -> int:
        """Stamp of a motion that the arm makes of itself; in lockstep the world waits for an answer."""
        return self._stamp if self.config.lockstep else 0

    def _at_rest(self) -> JointTarget:
        assert self._situation is not None
        rest = Situation.at_rest(self._situation.measured).target
        return replace(rest, opening=self._situation.target.opening)

    def _begin_recovery(self, fault: str) -> Motion | None:
        self.counters.overloads += 1
        too_often = self._backing_off.begin(fault, self._stamp)
        if too_often:
            return self._stop(too_often)
        self._homing = None
        motion = self._hold(self._own_stamp())
        self._become(ArmState.RECOVERING, f"stopping: {fault}")
        return motion

    def _continue_recovery(self, overload: str) -> Motion | None:
        assert self._situation is not None
        assert self.limits is not None
        part, fault = self._backing_off.next(self._stamp, bool(overload)), self._backing_off.fault
        if self._backend is BackendState.RECOVERING:  # its servos are started again first
            part = Part.WAIT
        if part is Part.GIVE_UP:
            return self._stop(f"{overload}, and backing off did not help")
        if part is Part.GO_ON:
            self._backing_off.stop()
            self.counters.recoveries += 1
            self._become(ArmState.HOLDING, f"recovered: {fault}")
            return None
        path = self._backing_off.way_back(self._situation, self.limits, self._stamp) if part is Part.BACK_OFF else []
        if path:
            self._become(ArmState.RECOVERING, f"backing off: {fault}")
            return self._send(self._own_stamp(), path)
        return self._hold(self._stamp) if self.config.lockstep else None

    def _continue_homing(self) -> Motion | None:
        assert self._situation is not None
        assert self._homing is not None
        arrived = np.abs(self._situation.measured[:6] - self._home).max() <= self.config.home_tolerance
        if self._stamp >= self._homing.end and arrived:
            self.home_command = self._homing.command
            self._homing = None
            self._become(ArmState.HOLDING, "at home")
            return None
        # In lockstep a new observation comes when the motion was played, or when the scene was reset in
        # between.
        if not self.config.lockstep and self._stamp < self._homing.end + int(self.config.control_period * SECOND):
            return None
        if self._homing.attempts >= self.config.home_attempts:
            return self._stop(
                f"the arm did not come home in {self._homing.attempts} attempts: is something in its way?"
            )
        return self._go_home(self._stamp if self.config.lockstep else 0)
