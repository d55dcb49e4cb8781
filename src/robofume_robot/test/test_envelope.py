"""The envelope: what it shortens, what it refuses, and that nothing unsafe passes."""

import dataclasses

import numpy as np
import pytest
from robofume_common.errors import RobofumeError
from robofume_robot.envelope import (
    JointTarget,
    Limits,
    Reason,
    Refusal,
    Situation,
    hold,
    is_safe,
    keep,
    plan,
    within_limits,
)
from robofume_robot.homing import JOINT_STEP, plan_home

from robofume_robot import kinematics

HOME = np.array([0.0, -0.3044, 0.4469, 0.0, 1.4283, 0.0])
LIMITS = Limits((0.17, -0.15, 0.02), (0.40, 0.15, 0.18))
OPEN = (0.037, 0.037)


def _at(vector, opening=1.0):
    solution = kinematics.inverse_kinematics(kinematics.pose_from_vector(vector), HOME, any_configuration=True)
    assert solution.converged
    finger = kinematics.finger_from_opening(opening)
    return Situation.at_rest(np.append(solution.joint_positions, (finger, finger)))


def _position(target):
    return kinematics.forward_kinematics(target.joint_positions)[:3, 3]


def test_a_plain_step_goes_where_it_says():
    target = plan([0.03, -0.02, -0.04, 0, 0, 0.1, 0.25], _at((0.25, 0, 0.12, 0, 0, 0)), LIMITS)
    vector = kinematics.vector_from_pose(kinematics.forward_kinematics(target.joint_positions))
    np.testing.assert_allclose(vector, (0.28, -0.02, 0.08, 0, 0, 0.1), atol=2e-3)
    assert target.positions()[6] == pytest.approx(0.015 + 0.25 * 0.022)
    assert not (target.clamped_step or target.clamped_box or target.clamped_velocity or target.clamped_joint)


def test_no_action_of_the_action_space_is_shortened():
    action = np.array([0.05, -0.05, 0.05, 0.25, -0.25, 0.25, 1], dtype=np.float32)
    assert not plan(action, _at((0.28, 0, 0.1, 0, 0, 0)), LIMITS).clamped_step


def test_huge_steps_are_shortened_along_each_axis():
    target = plan([1e30, -3.0, 0.01, 0, 0, 9.0, 50.0], _at((0.25, 0, 0.12, 0, 0, 0)), LIMITS)
    assert target.clamped_step and target.opening == 1.0
    vector = kinematics.vector_from_pose(target.pose)
    np.testing.assert_allclose(vector, (0.30, -0.05, 0.13, 0, 0, 0.25), atol=2e-4)
    back = plan([-3.0, 0, 0, 0, 0, 0, -50.0], _at((0.25, 0, 0.12, 0, 0, 0)), LIMITS)
    assert back.clamped_step and back.opening == 0.0


def test_the_box_ends_the_step():
    target = plan([0, 0, -0.05, 0, 0, 0, 1], _at((0.25, 0, 0.04, 0, 0, 0)), LIMITS)
    assert target.clamped_box and 0.02 <= _position(target)[2] < 0.021
    target = plan([0, 0, 0.05, 0, 0, 0, 1], _at((0.25, 0, 0.16, 0, 0, 0)), LIMITS)
    assert target.clamped_box and 0.179 < _position(target)[2] <= 0.18


def test_velocity_shortens_the_whole_step():
    slow = dataclasses.replace(LIMITS, velocity_scale=0.05)
    situation = _at((0.25, 0, 0.12, 0, 0, 0))
    target = plan([0.05, 0, -0.05, 0, 0, 0, 1], situation, slow)
    assert target.clamped_velocity
    moved = np.abs(target.joint_positions - situation.target.joint_positions)
    assert moved.max() <= 0.05 * np.pi * slow.control_period + 1e-9
    travelled = _position(target) - (0.25, 0, 0.12)
    assert travelled[0] > 0.002 and travelled[0] == pytest.approx(-travelled[2], rel=0.1)  # the same direction


@pytest.mark.parametrize(
    "action",
    [
        [np.nan, 0, 0, 0, 0, 0, 1],
        [0, 0, 0, 0, 0, 0, np.nan],
        [0, np.inf, 0, 0, 0, 0, 1],
        [0, 0, 0, -np.inf, 0, 0, 1],
        [],
        [0.0] * 6,
        [[0.0] * 7],
        ["a"] * 7,
        [None] * 7,
    ],
)
def test_what_is_not_seven_finite_numbers_is_refused(action):
    result = plan(action, _at((0.25, 0, 0.12, 0, 0, 0)), LIMITS)
    assert isinstance(result, Refusal) and result.reason is Reason.NOT_FINITE


def test_out_of_reach_is_refused():
    wide = Limits((0.1, -0.6, 0.0), (0.7, 0.6, 0.4))
    situation = _at((0.40, 0, 0.15, 0, 0, 0))
    for _ in range(10):
        result = plan([0.05, 0, 0, 0, 0, 0, 1], situation, wide)
        if isinstance(result, Refusal):
            break
        situation = Situation(result.positions(), result)
    assert result.reason is Reason.UNREACHABLE and "cannot reach" in result.sentence


def test_an_arm_far_outside_the_box_is_sent_home_first():
    asleep = Situation.at_rest(np.append(kinematics.SLEEP_JOINT_POSITIONS, OPEN))
    result = plan([0] * 6 + [1], asleep, LIMITS)
    assert result.reason is Reason.UNREACHABLE and "home" in result.sentence


def test_deltas_add_to_the_commanded_pose_so_that_sag_does_not_add_up():
    start = _at((0.25, 0, 0.12, 0, 0, 0))
    situation = start
    for _ in range(50):
        result = plan([0] * 6 + [1], situation, LIMITS)
        sagging = result.positions() + np.append([0, 0.01, 0.01, 0, 0, 0], (0, 0))
        situation = Situation(sagging, result)
    assert np.linalg.norm(_position(result) - (0.25, 0, 0.12)) < 1e-3


def test_the_target_does_not_wind_up_against_an_obstacle():
    blocked = _at((0.25, 0, 0.12, 0, 0, 0)).measured
    situation = Situation.at_rest(blocked)
    for _ in range(20):
        result = plan([0.05, 0, 0, 0, 0, 0, 1], situation, LIMITS)
        situation = Situation(blocked, result)
        assert _position(result)[0] <= 0.25 + LIMITS.max_lead + LIMITS.translation_step + 1e-3
    assert _position(result)[0] == pytest.approx(0.25 + LIMITS.max_lead + LIMITS.translation_step, abs=1e-3)


def test_nor_does_it_turn_ahead_of_an_arm_that_cannot_follow():
    blocked = _at((0.25, 0, 0.12, 0, 0, 0)).measured
    situation = Situation.at_rest(blocked)
    for _ in range(20):
        result = plan([0, 0, 0, 0, 0, 0.25, 1], situation, LIMITS)
        situation = Situation(blocked, result)
        yaw = kinematics.vector_from_pose(kinematics.forward_kinematics(result.joint_positions))[5]
        assert yaw <= LIMITS.max_rotation_lead + LIMITS.rotation_step + 1e-3
    assert yaw == pytest.approx(LIMITS.max_rotation_lead + LIMITS.rotation_step, abs=1e-3)
    assert np.linalg.norm(_position(result) - (0.25, 0, 0.12)) < 1e-3


@pytest.mark.parametrize(
    ("turned", "limits"),
    [
        ((0, 0, 0, 0, 0, 3.2), {}),  # beyond the limit of a joint that leaves the gripper where it is
        ((0.4, 0, 0, 0, 0, 0), {"box_max": (0.40, 0.05, 0.18)}),
        ((-0.4, 0, 0, 0, 0, 0), {"box_min": (0.17, -0.05, 0.02)}),
        ((0, 0, 0, 0, 0, 0), {"box_min": (0.23, -0.15, 0.02)}),
        ((0, 0, 0, 0, 0, 0), {"box_max": (0.21, 0.15, 0.18)}),
        ((0, 0, 0, 0, 0, 0), {"box_max": (0.40, 0.15, 0.16)}),
        ((0, 0, 0, 0, 0, 0), {"floor": 0.34}),  # the wrist
        ((0, 0, 0, 0, 0, 0), {"floor": 0.40}),
    ],
)
def test_what_is_not_safe(turned, limits):
    assert is_safe(HOME, LIMITS)
    assert not is_safe(HOME + turned, dataclasses.replace(LIMITS, **limits))


def test_what_cannot_be_held_within_the_limits_is_refused_with_a_sentence():
    asleep = hold(Situation.at_rest(np.append(kinematics.SLEEP_JOINT_POSITIONS, OPEN)), LIMITS)
    assert isinstance(asleep, Refusal) and "home" in asleep.sentence
    low = hold(_at((0.25, 0, 0.05, 0, 0, 0)), dataclasses.replace(LIMITS, floor=0.3))
    assert isinstance(low, Refusal) and "cannot reach" in low.sentence


def test_a_refused_command_keeps_the_last_target_where_that_is_safe_and_else_what_is_measured():
    start = _at((0.25, 0, 0.12, 0, 0, 0))
    assert keep(Situation(start.measured + 0.01, start.target), LIMITS) is start.target
    sagging = _at((0.25, 0, 0.01, 0, 0, 0))
    assert not is_safe(sagging.target.joint_positions, LIMITS)
    assert is_safe(keep(sagging, LIMITS).joint_positions, LIMITS)


def test_hold_keeps_the_measured_pose_and_the_grip():
    gripping = JointTarget(HOME, kinematics.forward_kinematics(HOME), 0.0)
    situation = Situation(np.append(HOME + 0.02, (0.03, 0.03)), gripping)
    target = hold(situation, LIMITS)
    np.testing.assert_allclose(target.joint_positions, HOME + 0.02)
    assert target.opening == 0.0 and not target.clamped_box


def test_hold_brings_a_sagging_arm_back_into_the_box():
    result = hold(_at((0.25, 0, 0.01, 0, 0, 0)), LIMITS)
    assert result.clamped_box and is_safe(result.joint_positions, LIMITS)


def test_a_hold_moves_no_joint_faster_than_a_command_may():
    """With the forearm and the last joint nearly in line a few millimetres back into the box are a radian of both."""
    bent = HOME.copy()
    bent[:5] = 0.0, -0.6, 0.7, 0.0, 0.02
    rest = Situation.at_rest(np.append(bent, OPEN))
    outside = rest.target.pose[:3, 3] + (0.0, 0.02, 0.0)
    limits = dataclasses.replace(
        LIMITS, box_min=tuple(outside - (0.2, 0.0, 0.2)), box_max=tuple(outside + (0.2, 0.2, 0.2)), floor=0.0
    )
    target = hold(rest, limits)
    assert isinstance(target, JointTarget)
    assert (np.abs(target.joint_positions - bent) <= limits.joint_steps()).all()
    np.testing.assert_allclose(target.joint_positions, bent, err_msg="it stays where it is")


@pytest.mark.parametrize("seed", range(4))
def test_ten_thousand_random_steps_never_leave_the_limits(seed):
    """A quarter each: a random walk in wild actions, with lag, disturbance, and every scale of number."""
    rng = np.random.default_rng(seed)
    limits = dataclasses.replace(LIMITS, velocity_scale=(0.8, 0.2)[seed % 2])
    situation = Situation.at_rest(np.append(HOME, OPEN))
    steps = limits.joint_steps()
    accepted = 0
    for _ in range(2500):
        action = rng.normal(size=7) * 10.0 ** rng.uniform(-3, 3)
        if rng.random() < 0.1:
            action[rng.integers(7)] = rng.choice([np.nan, np.inf, -np.inf, 1e308, -1e308])
        result = plan(action, situation, limits)
        if isinstance(result, Refusal):
            continue
        accepted += 1
        assert is_safe(result.joint_positions, limits)
        x = _position(result)
        assert (x >= limits.box_min).all() and (x <= limits.box_max).all()
        assert 0.015 <= result.positions()[6] <= 0.037 and 0.015 <= result.positions()[7] <= 0.037
        reference = np.clip(
            situation.target.joint_positions, situation.measured[:6] - 0.6, situation.measured[:6] + 0.6
        )
        assert (np.abs(result.joint_positions - reference) <= steps + 1e-9).all()
        lag = result.positions() + rng.uniform(0, 0.5) * (situation.measured - result.positions())
        situation = Situation(lag + np.append(rng.normal(size=6) * 0.01, (0, 0)), result)
    assert accepted > 1200


def _replay(path, start, limits, scale):
    previous, time = start, 0.0
    for timed in path:
        target = timed.target.joint_positions
        assert timed.time_from_start > time
        speed = np.abs(target - previous) / (timed.time_from_start - time)
        assert (speed <= scale * np.pi * (1 + 1e-9)).all()
        previous, time = target, timed.time_from_start


def test_homing_opens_rises_and_stays_in_the_box():
    rng = np.random.default_rng(9)
    for _ in range(100):
        vector = np.append(rng.uniform((0.2, -0.14, 0.03), (0.36, 0.14, 0.16)), (0, 0, rng.uniform(-1, 1)))
        situation = _at(vector, opening=0.2)
        path = plan_home(situation, HOME, LIMITS)
        assert not isinstance(path, Refusal), path
        _replay(path, situation.measured[:6], LIMITS, LIMITS.home_velocity_scale)
        assert all(timed.target.opening == 1.0 and is_safe(timed.target.joint_positions, LIMITS) for timed in path)
        np.testing.assert_allclose(path[-1].target.joint_positions, HOME)
        np.testing.assert_allclose(_position(path[0].target), vector[:3], atol=1e-3)  # the fingers open in place
        if vector[2] < 0.12:
            rise = _position(path[1].target)
            np.testing.assert_allclose(rise[:2], vector[:2], atol=1e-3)
            assert rise[2] > vector[2] + 0.005


def test_homing_from_the_sleep_pose_comes_nearer_with_every_target():
    situation = Situation.at_rest(np.append(kinematics.SLEEP_JOINT_POSITIONS, OPEN))
    path = plan_home(situation, HOME, LIMITS)
    excess = LIMITS.excess(kinematics.forward_kinematics(kinematics.SLEEP_JOINT_POSITIONS)[:3, 3])
    for timed in path:
        now = LIMITS.excess(_position(timed.target))
        assert now <= excess + 1e-6
        excess = now
    assert excess == 0.0


def test_homing_from_a_little_outside_the_box_is_no_faster_than_from_inside():
    """The way back into the box is a part of it."""
    rng = np.random.default_rng(0)
    limit = kinematics.VELOCITY_LIMITS * LIMITS.home_velocity_scale
    outside = 0
    for _ in range(1000):
        last, time = within_limits(HOME + rng.normal(size=6) * (0.5, 0.4, 0.4, 0.2, 0.3, 0.3)), 0.0
        path = plan_home(Situation.at_rest(np.append(last, OPEN)), HOME, LIMITS)
        if isinstance(path, Refusal):
            continue
        outside += 0.0 < LIMITS.excess(kinematics.forward_kinematics(last)[:3, 3]) <= LIMITS.max_lead
        for timed in path:
            speed = np.abs(timed.target.joint_positions - last) / (timed.time_from_start - time)
            assert (speed <= limit + 1e-6).all()
            last, time = timed.target.joint_positions, timed.time_from_start
    assert outside > 50


def test_homing_rises_straight_to_the_height_of_home_and_turns_in_small_steps():
    situation = _at((0.3, 0.1, 0.03, 0, 0, 0.5))
    path = plan_home(situation, HOME, LIMITS)
    places = np.array([_position(timed.target) for timed in path])
    height = kinematics.forward_kinematics(HOME)[2, 3]
    rising = places[places[:, 2] < height - 1e-3]
    straight = places[np.abs(places[:, :2] - (0.3, 0.1)).max(axis=1) < 1e-3]
    assert len(rising) >= 5 and len(straight) == len(rising) + 1
    assert straight[:, 2].max() == pytest.approx(height, abs=1e-3)
    joints = [situation.measured[:6], *(timed.target.joint_positions for timed in path)]
    assert np.abs(np.diff(joints, axis=0)).max() <= JOINT_STEP + 1e-9


@pytest.mark.parametrize(("told", "measured", "waits"), [(1.0, 0.2, True), (0.2, 1.0, True), (1.0, 1.0, False)])
def test_homing_waits_for_fingers_that_are_closed_or_were_told_to_close(told, measured, waits):
    start = _at((0.25, 0, 0.05, 0, 0, 0), opening=measured)
    situation = Situation(start.measured, dataclasses.replace(start.target, opening=told))
    first, *_, last = plan_home(situation, HOME, LIMITS)
    assert np.allclose(first.target.joint_positions, start.measured[:6], atol=1e-3) == waits
    there = plan_home(Situation.at_rest(last.target.positions()), HOME, LIMITS)
    assert [timed.time_from_start for timed in there] == [LIMITS.control_period]


def test_homing_from_anywhere_comes_nearer_with_every_target_and_stays_inside():
    """Or it is refused with a sentence. Some begin a little outside the joint limits, pushed against their stops."""
    rng = np.random.default_rng(0)
    lower, upper = kinematics.JOINT_LOWER - 0.05, kinematics.JOINT_UPPER + 0.05
    refused = 0
    for number in range(200):
        limits = dataclasses.replace(LIMITS, floor=(None, 0.3)[number % 2])
        joints = rng.uniform(lower, upper) * (1, 1, 1, 0.3, 0.3, 0.3)
        excess = limits.excess(kinematics.forward_kinematics(within_limits(joints))[:3, 3])
        path = plan_home(Situation.at_rest(np.append(joints, (0.02, 0.02))), HOME, limits)
        if isinstance(path, Refusal):
            refused += 1
            assert path.sentence
            continue
        inside, before = excess == 0.0, joints
        for timed in path:
            target = timed.target.joint_positions
            now = limits.excess(_position(timed.target))
            assert kinematics.within_joint_limits(target, tolerance=0.0) and now <= excess + 2e-6
            assert is_safe(target, limits) or (now > 0.0 and not inside)
            assert inside or not np.array_equal(target, before), "nothing is sent from where it is outside"
            inside, excess, before = inside or is_safe(target, limits), now, target
        assert inside
    assert 20 < refused < 100


def test_an_arm_in_the_box_with_its_wrist_under_the_floor_is_for_a_person():
    low = _at((0.25, 0, 0.05, 0, 0, 0))
    result = plan_home(low, HOME, dataclasses.replace(LIMITS, floor=0.3))
    assert isinstance(result, Refusal) and "cannot reach" in result.sentence


def test_a_home_outside_the_box_is_refused():
    result = plan_home(Situation.at_rest(np.append(HOME, OPEN)), kinematics.SLEEP_JOINT_POSITIONS, LIMITS)
    assert isinstance(result, Refusal)


@pytest.mark.parametrize(
    ("low", "high"),
    [
        ((0.3, -0.1, 0), (0.2, 0.1, 0.1)),
        ((0.1, np.nan, 0), (0.2, 0.1, 0.1)),
        ((0.1, 0), (0.2, 0.1)),
        ((0.1, 0), (0.2, 0.1, 0.1)),
        ((0.1, -0.1, 0), (0.2, 0.1)),
        ((0.1, -0.1, 0.1), (0.2, 0.1, 0.101)),
    ],
)
def test_a_box_that_makes_no_sense_is_an_error(low, high):
    with pytest.raises(RobofumeError, match="box"):
        Limits(low, high)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        *((n, (0.0, -1.0, np.nan, np.inf)) for n in ("translation_step", "control_period", "max_lead")),
        *((n, (0.0, -1.0, np.nan, 1.01)) for n in ("velocity_scale", "home_velocity_scale")),
    ],
)
def test_a_limit_that_makes_no_sense_is_an_error(name, values):
    for value in values:
        with pytest.raises(RobofumeError, match=name):
            dataclasses.replace(LIMITS, **{name: value})
    assert dataclasses.replace(LIMITS, **{name: 1.0})
