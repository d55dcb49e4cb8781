"""The Interbotix backend on servos made of a few lines, with time in the test's hand."""

import threading
import time

import numpy as np
import pytest
from robofume_common.enums import ArmState, BackendState
from robofume_common.errors import RobofumeError
from robofume_robot.interbotix_arm import InterbotixArm
from robofume_robot.interbotix_config import InterbotixConfig
from robofume_robot.kinematics import JOINT_LOWER, JOINT_UPPER, SLEEP_JOINT_POSITIONS
from robofume_robot.motion import Motion, MotionPoint

HOME = np.array([0.0, -0.3044, 0.4469, 0.0, 1.4283, 0.0])
OVERLOAD = [0, 0, 32, 0, 0, 0, 0]


class Servos:
    """A driver whose arm is at each goal at once, unless it is blocked, limp or gone."""

    def __init__(self, joints=HOME):
        self.joints = np.array(joints)
        self.told = self.joints
        self.goals, self.grips, self.torques = [], [], []
        self.errors = [0] * 7
        self.restarts = self.cured_by = self.fails_until = 0
        self.refusing = self.blocked = self.dead = False
        self.answering = threading.Event()
        self.answering.set()
        self.stamp = 0

    def measured(self):
        self.stamp += not self.dead
        return self.stamp, np.append(self.joints, (0.02, 0.02))

    def move(self, joints):
        assert np.isfinite(joints).all() and ((joints >= JOINT_LOWER) & (joints <= JOINT_UPPER)).all()
        if self.refusing or (np.abs(joints - self.told) > np.pi * 0.2).any():  # the library's own limit of speed
            return False
        self.told = joints.copy()
        self.goals.append(joints.copy())
        if not self.blocked and not any(self.errors):
            self.joints = joints.copy()
        return True

    def grip(self, opened):
        self.grips.append(opened)

    def prepare(self):
        pass

    def hardware_errors(self):
        self.answering.wait(30.0)
        if self.dead:
            raise RobofumeError("The Interbotix driver does not answer.")
        return self.errors

    def restart(self):
        self.restarts += 1
        self.told = self.joints
        if self.restarts < self.fails_until:
            raise RobofumeError("The servos have not taken Profile_Velocity 200")
        if self.restarts >= self.cured_by:
            self.errors = [0] * 7

    def torque(self, on):
        self.torques.append(on)

    def close(self):
        pass


class Bench:
    def __init__(self, joints=HOME, **settings):
        self.now = 100.0
        self.servos = Servos(joints)
        self.warnings, self.states = [], []
        self.arm = InterbotixArm(
            InterbotixConfig(**settings),
            self.servos,
            clock=lambda: self.now,
            sleep=self.pass_time,
            on_status=lambda: self.states.append(self.arm.state),
            warn=self.warnings.append,
        )
        self.speaking = True
        self.observe()

    def pass_time(self, seconds):
        self.now += seconds

    def observe(self):
        self.arm.joint_state(np.append(self.servos.joints, (0.02, 0.02)))

    def run(self, seconds, heartbeat=True):
        """Ticks at the stream's rate; calls in threads are waited for."""
        for _ in range(round(seconds / self.arm.config.stream_period)):
            self.now += self.arm.config.stream_period
            if self.speaking:
                self.observe()
            if heartbeat:
                self.arm.arm_status(ArmState.MOVING)
            self.arm.tick()
            for call in (self.arm._read, self.arm._restart):
                end = time.monotonic() + 10.0
                while call is not None and not call.done and self.servos.answering.is_set():
                    assert time.monotonic() < end
                    time.sleep(0.001)

    def send(self, joints, seconds=0.2, finger=0.037):
        self.arm.send(Motion(1, (MotionPoint(np.append(joints, (finger, finger)), seconds),)))


@pytest.fixture
def bench():
    return Bench()


def test_a_motion_is_streamed_to_its_end_and_the_gripper_follows(bench):
    target = HOME + 0.1
    bench.send(target, finger=0.015)
    bench.run(0.5)
    np.testing.assert_allclose(bench.servos.goals[-1], target)
    assert 1 <= len(bench.servos.goals) <= 2 and bench.servos.grips == [False]
    bench.send(HOME, finger=0.026)
    bench.run(0.5)
    assert bench.servos.grips == [False], "half open is neither"
    bench.send(HOME)
    bench.run(0.5)
    assert bench.servos.grips == [False, True]
    assert bench.arm.counters.motions == 3 and bench.arm.counters.goals == len(bench.servos.goals)


@pytest.mark.parametrize(
    ("motion", "word"),
    [
        (((HOME * np.nan, 0.2),), "finite"),
        (((HOME + (0, 0, 0, 0, 0, np.inf), 0.2),), "finite"),
        (((HOME + (0, 5, 0, 0, 0, 0), 0.2),), "shoulder"),
        (((HOME, 0.2), (HOME - (0, 0, 0, 0, 4, 0), 0.4)), "wrist_angle"),
        (((HOME + (1.5, 0, 0, 0, 0, 0), 0.2),), "away from the arm"),
        (((HOME, 0.2), (HOME, 0.1)), "order"),
        (((HOME, 0.0),), "order"),
        (((HOME, np.nan),), "order"),
        ((), "no points"),
        (((HOME[:5], 0.2),), "eight"),
    ],
)
def test_what_is_not_safe_is_refused_as_a_whole(bench, motion, word):
    bench.arm.send(Motion(1, tuple(MotionPoint(np.append(q, (0.02, 0.02)), t) for q, t in motion)))
    bench.run(1.0)
    assert bench.servos.goals == [] and bench.arm.counters.refused_motions == 1 and word in bench.warnings[0]


def test_fingers_outside_their_limits_are_refused(bench):
    bench.send(HOME, finger=0.2)
    assert "finger" in bench.warnings[0]


def test_wild_motions_never_send_a_goal_that_is_not_safe(bench):
    """Servos.move checks limits; here the step between goals."""
    rng = np.random.default_rng(3)
    sent = 0
    for _ in range(3000):
        values = bench.servos.joints + rng.normal(size=6) * 10.0 ** rng.uniform(-2, 3)
        if rng.random() < 0.3:
            values[rng.integers(6)] = rng.choice([np.nan, np.inf, -np.inf, 1e308])
        bench.send(values, rng.choice([0.2, 0.01, -1.0, np.nan]), rng.choice([0.02, 0.037, np.nan, 7.0]))
        before = bench.servos.joints.copy()
        bench.run(0.1)
        sent += len(bench.servos.goals)
        for goal in bench.servos.goals:
            assert np.abs(goal - before).max() <= np.pi * 0.85 * 0.1 + 1e-9
        bench.servos.goals.clear()
    assert sent > 200 and bench.arm.counters.refused_motions > 1000


def test_a_goal_that_the_library_refuses_ends_the_motion(bench):
    bench.servos.refusing = True
    bench.send(HOME + 0.1)
    bench.run(0.5)
    assert bench.arm.counters.refused_goals == 1 and "library" in bench.warnings[0]


def test_a_silent_driver_stops_the_stream_and_then_ends_the_node(bench):
    bench.send(HOME + 0.3, 2.0)
    bench.run(0.3)
    bench.speaking = False
    bench.run(1.0)
    sent = len(bench.servos.goals)
    bench.run(1.0)
    assert len(bench.servos.goals) == sent and bench.arm.counters.driver_silences == 1
    bench.send(HOME)
    assert "joint states" in bench.warnings[-1]
    bench.run(5.0)
    assert "driver has sent no joint states" in str(bench.arm.failure)


def test_a_driver_that_comes_back_takes_new_motions_only(bench):
    bench.send(HOME + 0.3, 5.0)
    bench.speaking = False
    bench.run(1.0)
    sent, bench.speaking = len(bench.servos.goals), True
    bench.run(1.0)
    assert len(bench.servos.goals) == sent
    bench.send(HOME)
    bench.run(0.5)
    assert len(bench.servos.goals) > sent and bench.arm.failure is None


def test_a_silent_arm_node_is_answered_by_a_hold_and_then_by_the_end(bench):
    bench.run(0.5)
    bench.send(HOME + 0.5, 30.0)
    bench.run(1.0)
    bench.run(3.5, heartbeat=False)
    held = bench.servos.goals[-1]
    np.testing.assert_allclose(held, bench.servos.joints)
    sent = len(bench.servos.goals)
    bench.run(3.0, heartbeat=False)
    assert bench.arm.counters.holds == 1 and len(bench.servos.goals) == sent
    bench.run(12.0, heartbeat=False)
    assert "arm node" in str(bench.arm.failure)


@pytest.mark.parametrize("state", [ArmState.REFUSING, ArmState.HOLDING, ArmState.STOPPED])
def test_the_way_of_an_arm_node_that_was_started_again_is_not_followed(bench, state):
    bench.run(0.5)
    bench.send(HOME + 0.5, 30.0)
    bench.run(1.5)
    bench.arm.arm_status(state)
    np.testing.assert_allclose(bench.servos.goals[-1], bench.servos.joints)
    sent = len(bench.servos.goals)
    bench.arm.arm_status(state)
    bench.run(2.0)
    assert len(bench.servos.goals) == sent and bench.arm.counters.holds == 1, "once"


def test_what_the_arm_node_said_before_a_motion_does_not_end_it(bench):
    bench.run(0.5)
    bench.send(HOME + 0.1)
    bench.arm.arm_status(ArmState.HOLDING)
    bench.run(0.5)
    np.testing.assert_allclose(bench.servos.goals[-1], HOME + 0.1)


@pytest.mark.parametrize("lost", [False, True])
def test_an_arm_that_its_arm_node_has_stopped_is_not_moved_by_the_end(bench, lost):
    bench.run(0.5)
    bench.arm.arm_status(ArmState.STOPPED)
    if lost:
        bench.run(20.0, heartbeat=False)
        assert "arm node has been silent" in str(bench.arm.failure)
    sent = len(bench.servos.goals)
    assert "Support it" in bench.arm.end()
    assert len(bench.servos.goals) == sent and bench.servos.torques == []


def test_what_the_arm_node_says_of_the_end_does_not_stop_it(bench):
    def pass_time(seconds):
        bench.now += seconds
        bench.arm.arm_status(ArmState.STOPPED)

    bench.arm._sleep = pass_time
    assert "torque is off" in bench.arm.end()


def test_before_the_first_sign_of_life_nobody_is_missed(bench):
    bench.run(60.0, heartbeat=False)
    assert bench.arm.failure is None and bench.servos.goals == []


def test_the_emergency_stop_holds_until_it_is_released(bench):
    bench.send(HOME + 0.4, 2.0)
    bench.run(0.5)
    bench.arm.emergency_stop()
    np.testing.assert_allclose(bench.servos.goals[-1], bench.servos.joints)
    sent = len(bench.servos.goals)
    bench.send(HOME)
    bench.run(2.0)
    assert len(bench.servos.goals) == sent and "emergency" in bench.warnings[-1]
    bench.arm.release()
    bench.send(HOME)
    bench.run(0.5)
    assert len(bench.servos.goals) > sent


def test_a_stop_that_the_arm_node_was_told_outlives_it(bench):
    bench.send(HOME + 0.4, 2.0)
    bench.run(0.5)
    bench.arm.arm_status(ArmState.STOPPED, 1)
    np.testing.assert_allclose(bench.servos.goals[-1], bench.servos.joints)
    bench.arm.arm_status(ArmState.REFUSING)
    bench.arm.arm_status(ArmState.HOLDING)  # started again
    sent = len(bench.servos.goals)
    bench.send(HOME)
    bench.run(2.0)
    assert len(bench.servos.goals) == sent and "emergency" in bench.warnings[-1]
    bench.arm.arm_status(ArmState.STOPPED, 1)  # a person stops again, and releases
    bench.arm.release()
    bench.arm.arm_status(ArmState.STOPPED, 1)  # as it was said before the release
    bench.send(HOME)
    bench.run(0.5)
    assert len(bench.servos.goals) > sent


def test_an_arm_node_that_stopped_for_a_fault_has_told_no_emergency(bench):
    bench.run(0.5)
    bench.arm.arm_status(ArmState.STOPPED, 0)
    bench.send(HOME + 0.1)
    bench.run(0.5)
    np.testing.assert_allclose(bench.servos.goals[-1], HOME + 0.1)


def test_an_arm_that_is_held_up_is_waited_for_and_can_still_be_stopped(bench):
    places = [np.append(HOME + (x, 0, 0, 0, 0, 0), (0.037, 0.037)) for x in (1.0, 2.0)]
    way = Motion(0, (MotionPoint(places[0], 2.0), MotionPoint(places[1], 4.0)))
    bench.arm.send(way)
    bench.servos.blocked = True
    bench.run(5.0)
    assert 0.4 < np.abs(bench.servos.goals[-1] - HOME).max() <= 0.6, "not harder and harder"
    bench.arm.emergency_stop()
    np.testing.assert_allclose(bench.servos.goals[-1], HOME)
    bench.arm.release()
    bench.arm.send(way)
    bench.run(1.0)
    bench.servos.blocked, sent = False, len(bench.servos.goals)
    bench.run(5.0)
    np.testing.assert_allclose(bench.servos.goals[-1], HOME + (2.0, 0, 0, 0, 0, 0))
    assert np.abs(np.diff(bench.servos.goals[sent:], axis=0)).max() < 0.06, "as fast as planned"


def test_an_emergency_stop_that_is_pressed_for_long_does_not_let_the_arm_sink(bench):
    bench.send(HOME + 0.4, 2.0)
    bench.run(0.5)
    bench.arm.emergency_stop()
    sent = len(bench.servos.goals)
    for _ in range(5):
        bench.servos.joints[1] += 0.01  # servos sag under the arm's weight
        bench.run(0.1)
        bench.arm.emergency_stop()
    assert len(bench.servos.goals) == sent


def test_an_overloaded_servo_is_restarted_and_the_arm_goes_on(bench):
    bench.run(2.0)
    bench.send(HOME + 0.5, 20.0)
    bench.run(0.5)
    bench.servos.errors = OVERLOAD
    bench.run(4.0)
    assert bench.servos.restarts == 1 and bench.states == [BackendState.RECOVERING, BackendState.READY]
    assert "elbow: overload" in bench.arm.message
    sent = len(bench.servos.goals)
    bench.run(2.0)
    assert len(bench.servos.goals) == sent, "the old motion is over"
    bench.send(bench.servos.joints + 0.05)
    bench.run(0.5)
    assert len(bench.servos.goals) > sent


def test_a_servo_that_stays_overloaded_is_for_a_person(bench):
    bench.servos.cured_by = 5
    bench.servos.errors = OVERLOAD
    bench.run(10.0)
    assert bench.servos.restarts == 3 and bench.arm.state is BackendState.NEEDS_PERSON
    bench.send(HOME)
    assert "support the arm" in bench.warnings[-1]
    bench.arm.release()
    bench.run(5.0)
    assert bench.servos.restarts == 5 and bench.arm.state is BackendState.READY


def test_a_restart_that_fails_is_tried_again_and_then_for_a_person(bench):
    bench.servos.fails_until = 5
    bench.servos.errors = OVERLOAD
    bench.run(10.0)
    assert bench.arm.failure is None and bench.arm.state is BackendState.NEEDS_PERSON
    assert bench.servos.restarts == 3 and "support the arm" in bench.arm.message
    bench.arm.release()
    bench.run(5.0)
    assert bench.arm.state is BackendState.READY


def test_registers_that_are_not_known_are_no_fault(bench):
    bench.servos.errors = []
    bench.run(5.0)
    assert bench.arm.state is BackendState.READY


def test_a_driver_that_does_not_answer_ends_the_node(bench):
    bench.servos.dead = True
    bench.run(3.0)
    assert "does not answer" in str(bench.arm.failure)


def test_a_reading_that_never_returns_does_not_stop_the_stream(bench):
    bench.servos.answering.clear()
    bench.run(2.0)
    bench.send(HOME + 0.1)
    bench.run(0.5)
    np.testing.assert_allclose(bench.servos.goals[-1], HOME + 0.1)
    bench.servos.answering.set()


def test_the_end_is_the_sleep_pose_and_then_the_torque_goes(bench):
    sentence = bench.arm.end()
    np.testing.assert_allclose(bench.servos.joints, SLEEP_JOINT_POSITIONS)
    steps = np.abs(np.diff(np.array(bench.servos.goals), axis=0))
    assert steps.max() <= np.pi * 0.15 * 0.1 + 1e-6, "slowly"
    assert bench.servos.torques == [False] and "torque is off" in sentence
    assert bench.arm.state is BackendState.ENDING
    assert bench.arm.end() == sentence and bench.servos.torques == [False]
    bench.send(HOME)
    assert "node ends" in bench.warnings[-1]


def test_an_arm_that_does_not_reach_its_sleep_pose_keeps_its_torque(bench):
    bench.servos.blocked = True
    sentence = bench.arm.end()
    assert bench.servos.torques == [] and "Support it" in sentence
    lead = np.abs(np.array(bench.servos.goals) - HOME).max()
    assert lead <= 0.7, "it does not push on against what is in its way"
    np.testing.assert_allclose(bench.servos.goals[-1], HOME, atol=1e-9)


def test_readings_that_are_not_believed_do_not_end_the_way_to_sleep(bench):
    def measured(measured=bench.servos.measured):
        return None if bench.servos.stamp in (7, 8, 9) and measured() else measured()

    bench.servos.measured = measured
    assert "torque is off" in bench.arm.end()


def test_what_held_the_arm_up_is_not_made_up_for_on_the_way_to_sleep(bench):
    """An arm that was stuck for a while goes on as slowly as before, and by the same way."""
    stuck = {5: 3.5, 25: 2.0}  # after so many goals, for so long [s]
    free = 0.0

    def move(joints, move=bench.servos.move):
        nonlocal free
        free = max(free, bench.now + stuck.pop(len(bench.servos.goals), 0.0))
        bench.servos.blocked = bench.now < free
        return move(joints)

    def measured(measured=bench.servos.measured):
        if bench.servos.blocked and bench.now >= free:
            bench.servos.blocked, bench.servos.joints = False, bench.servos.goals[-1].copy()
        return measured()

    bench.servos.move, bench.servos.measured = move, measured
    assert "torque is off" in bench.arm.end() and not stuck
    steps = np.abs(np.diff(np.array(bench.servos.goals), axis=0))
    assert steps.max() <= 2.0 * np.pi * 0.15 * 0.1 + 1e-6


@pytest.mark.parametrize("seconds", [0.5, 2.5])
def test_the_emergency_stop_is_heard_on_the_way_to_sleep(bench, seconds):
    stops = bench.now + seconds

    def pass_time(span):
        bench.now += span
        if bench.now >= stops:
            bench.observe()
            bench.arm.emergency_stop()

    bench.arm._sleep = pass_time
    sentence = bench.arm.end()
    np.testing.assert_allclose(bench.servos.goals[-1], bench.servos.joints)
    assert np.abs(bench.servos.joints - SLEEP_JOINT_POSITIONS).max() > 0.3
    assert "stopped" in sentence and "Support it" in sentence and bench.servos.torques == []


def test_without_a_driver_the_end_says_so(bench):
    bench.servos.dead = True
    assert "silent" in bench.arm.end() and bench.servos.goals == [] and bench.servos.torques == []


def test_after_an_emergency_stop_the_end_moves_nothing(bench):
    bench.arm.emergency_stop()
    sent = len(bench.servos.goals)
    assert "Support it" in bench.arm.end()
    assert len(bench.servos.goals) == sent and bench.servos.torques == []


def test_torque_can_stay_on_at_the_end():
    bench = Bench(torque_off_at_end=False)
    assert "torque on" in bench.arm.end() and bench.servos.torques == []


def test_a_guided_arm_is_never_told_anything():
    bench = Bench(guided=True)
    bench.send(HOME)
    bench.run(1.0)
    bench.arm.emergency_stop()
    assert "torque stays off" in bench.arm.end()
    assert bench.servos.goals == [] and bench.servos.grips == []


@pytest.mark.parametrize(
    "settings",
    [
        {"moving_time": 0.05, "acceleration_time": 0.02},
        {"acceleration_time": 0.15},
        {"arm_timeout": 20.0},
        {"driver_timeout": 6.0},
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings):
    with pytest.raises(RobofumeError):
        InterbotixConfig(**settings).check()


def test_a_library_that_breaks_at_the_end_is_one_sentence(bench):
    bench.servos.move = lambda _joints: 1 / 0
    assert "division by zero" in bench.arm.end() and bench.servos.torques == []
