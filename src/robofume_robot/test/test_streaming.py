"""Motions as goals at a fixed rate."""

import numpy as np
import pytest
from robofume_robot.motion import Motion, MotionPoint
from robofume_robot.streaming import Stream

from robofume_robot import kinematics

PERIOD = 0.1
STEP = np.pi * 0.85 * PERIOD


def motion(*points):
    return Motion(0, tuple(MotionPoint(np.append(q, (0.037, 0.037)), t) for t, q in points))


def play(stream, now=10.0, late=()):
    goals = []
    while stream.active:
        assert len(goals) < 500
        goals.append(stream.next(now)[0])
        now += PERIOD + (1.7 if len(goals) in late else 0.0)
    return np.array(goals)


def test_goals_lead_to_the_last_point():
    stream = Stream(0.85, PERIOD)
    end = np.array([0.1, -0.2, 0.3, 0.0, 0.1, 0.2])
    stream.start(motion((0.2, 0.5 * end), (0.5, end)), np.zeros(6), 10.0)
    goals = play(stream)
    np.testing.assert_allclose(goals[0], 0.25 * end, atol=1e-5)
    np.testing.assert_allclose(goals[-1], end)
    assert len(goals) == 5 and not stream.active
    np.testing.assert_array_equal(stream.goal, goals[-1])


@pytest.mark.parametrize("late", [(), (1, 3, 4)])
def test_no_goal_jumps_whatever_is_asked_and_however_late_it_is(late):
    stream = Stream(0.85, PERIOD)
    end = np.full(6, 1.5)
    stream.start(motion((0.01, end), (0.2, -end)), np.zeros(6), 10.0)
    goals = play(stream, late=late)
    steps = np.abs(np.diff(np.vstack([np.zeros(6), goals]), axis=0))
    assert steps.max() <= STEP + 1e-12
    np.testing.assert_allclose(goals[-1], -end)


def test_a_late_tick_makes_a_motion_longer_and_not_faster():
    """The way has a corner; whatever is late, the arm goes round it, about as fast as planned."""
    stream = Stream(0.85, PERIOD)
    corner, end = np.eye(6)[0] * 0.5, np.eye(6)[:2].sum(axis=0) * 0.5
    stream.start(motion((2.5, corner), (5.0, end)), np.zeros(6), 10.0)
    goals = play(stream, late=(5, 20, 24, 30))
    steps = np.abs(np.diff(np.vstack([np.zeros(6), goals]), axis=0))
    assert steps.max() <= 2.0 * 0.2 * PERIOD + 1e-6
    off_the_way = np.minimum(np.abs(goals[:, 1]), np.abs(goals[:, 0] - 0.5))
    assert off_the_way.max() < 0.03
    np.testing.assert_allclose(goals[-1], end)


def test_a_new_motion_replaces_the_old_one_from_where_it_was():
    stream = Stream(0.85, PERIOD)
    stream.start(motion((1.0, np.full(6, 1.0))), np.zeros(6), 10.0)
    first = stream.next(10.0)[0].copy()
    stream.start(motion((0.2, np.zeros(6))), stream.goal, 10.1)
    goals = play(stream, 10.1)
    assert (goals <= first + 1e-12).all()
    np.testing.assert_allclose(goals[-1], 0.0, atol=1e-12)


def test_a_motion_begins_where_the_arm_was_told_to_be():
    stream = Stream(0.85, PERIOD)
    start, end = np.full(6, 0.4), np.full(6, 0.6)
    for now in (10.0, 20.0):
        stream.start(motion((1.0, end)), start, now)
        for tick in (1, 2):
            goal, _ = stream.next(now + (tick - 1) * PERIOD)
            np.testing.assert_allclose(goal, start + 0.1 * tick * (end - start), atol=1e-5)


def test_a_stream_that_was_stopped_has_no_goals_and_holds_where_it_is_told():
    stream = Stream(0.85, PERIOD)
    stream.start(motion((1.0, np.ones(6))), np.zeros(6), 10.0)
    goal = stream.next(10.0)[0]
    stream.stop()
    assert not stream.active
    np.testing.assert_array_equal(stream.goal, goal)
    stream.stop(np.full(6, 0.3))
    np.testing.assert_array_equal(stream.goal, np.full(6, 0.3))


def test_fingers_follow_their_points():
    stream = Stream(0.85, PERIOD)
    points = (
        MotionPoint(np.append(np.zeros(6), (0.015, 0.015)), 0.3),
        MotionPoint(np.append(np.zeros(6), (0.037, 0.037)), 0.6),
    )
    stream.start(Motion(0, points), np.zeros(6), 10.0)
    fingers = []
    now = 10.0
    while stream.active:
        fingers.append(stream.next(now)[1])
        now += PERIOD
    np.testing.assert_allclose((fingers[0], fingers[-1]), (kinematics.FINGER_CLOSED, kinematics.FINGER_OPEN))
    assert sorted(fingers) == fingers
