"""Too much torque: felt, backed off from, got over, or handed to a person."""

import numpy as np
import pytest
from arm_bench import HOME, Bench
from robofume_common.enums import Actor, ArmMode, ArmState, BackendState
from robofume_robot.backing_off import SETTLE
from robofume_robot.envelope import is_safe
from robofume_robot.motion import SECOND
from robofume_robot.overload import OverloadWatch, Trail

LIMITS = (2.4, 4.9, 4.9, 2.0, 2.4, 0.9)
EASY = (0.1, 1.0, 1.0, 0.1, 0.5, 0.1)
HARD = (0.1, 1.0, 6.0, 0.1, 0.5, 0.1)


class Pushing(Bench):
    """An arm whose joints say what they feel."""

    efforts = EASY

    def observe(self, after=100_000_000):
        self.stamp += after
        return self.arm.joint_state(self.stamp, self.positions, self.efforts)

    def run(self, seconds):
        motions = []
        for _ in range(round(seconds / 0.1)):
            self.now += 0.1
            motion = self.observe()
            if motion is not None:
                motions.append(motion)
                self.positions = motion.points[-1].positions.copy()
        return motions

    def descend(self, steps=4):
        for _ in range(steps):
            self.positions = self.send([0, 0, -0.02, 0, 0, 0, 0]).points[-1].positions.copy()
            self.run(0.2)


@pytest.fixture
def bench():
    bench = Pushing()
    bench.observe()
    bench.observe()
    return bench


def test_a_moment_of_too_much_is_forgiven():
    watch = OverloadWatch(LIMITS, 0.3)
    for stamp in range(0, 290_000_000, 10_000_000):
        assert watch.feel(HARD, stamp) == ""
    assert watch.feel(EASY, 300_000_000) == ""
    assert watch.feel(HARD, 310_000_000) == ""
    assert "elbow needs 6.0 Nm" in watch.feel(HARD, 620_000_000)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nonsense_counts_as_too_much(bad):
    watch = OverloadWatch(LIMITS, 0.0)
    efforts = list(EASY)
    efforts[3] = bad
    assert "forearm_roll" in watch.feel(efforts, 5)


def test_no_efforts_no_overload():
    assert OverloadWatch(LIMITS, 0.0).feel((), 5) == ""


def test_patience_begins_anew_after_a_gap_in_the_efforts_or_in_the_stamps():
    watch = OverloadWatch(LIMITS, 0.3)
    assert watch.feel(HARD, 5_000_000_000) == watch.feel((), 5_200_000_000) == watch.feel(HARD, 5_400_000_000) == ""
    watch.forget()
    assert watch.feel(HARD, 5_800_000_000) == ""
    assert watch.feel(HARD, 0) == "" and watch.feel(HARD, 300_000_000) != "", "the source was started again"


@pytest.mark.parametrize("way", [-1.0, 1.0])
def test_the_way_back_is_taken_at_the_speed_of_homing(bench, way):
    trail, limits = Trail(), bench.arm.limits
    joints = np.array(HOME)
    for _ in range(5):
        trail.add(joints)
        joints[0] += 0.1 * way  # a driver may fill the same array again and again
    path = trail.back(joints, 0.3, limits)
    waist = np.array([joints[0], *(point.target.joint_positions[0] for point in path)])
    np.testing.assert_allclose(waist, way * np.array([0.5, 0.4, 0.3, 0.2, 0.1, 0.0]), atol=1e-9)
    times = [0.0, *(point.time_from_start for point in path)]
    np.testing.assert_allclose(np.abs(np.diff(waist)) / np.diff(times), np.pi * limits.home_velocity_scale)


def test_the_way_back_ends_before_a_place_that_is_not_safe(bench):
    trail = Trail()
    for waist in (0.3, 0.8, 0.4, 0.3):
        trail.add(np.array([waist, *HOME[1:]]))
    path = trail.back(np.array([0.2, *HOME[1:]]), 0.3, bench.arm.limits)
    assert [point.target.joint_positions[0] for point in path] == [0.3, 0.4]


@pytest.mark.parametrize("came_by", [[], [-0.6, -0.55]])
def test_an_arm_that_fell_or_was_carried_does_not_go_back_to_where_it_was_before(bench, came_by):
    trail = Trail()
    for waist in (0.4, 0.5, 0.6, *came_by):
        trail.add(np.array([waist, *HOME[1:]]))
    path = trail.back(np.array([-0.5, *HOME[1:]]), 0.3, bench.arm.limits)
    assert [point.target.joint_positions[0] for point in path] == came_by[::-1]


def test_the_trail_leads_back_and_stays_safe(bench):
    trail = Trail()
    for share in np.linspace(0.0, 1.0, 30):
        trail.add(np.array(HOME) + share * np.array([0.5, 0.1, 0, 0, 0, 0]))
    end = np.array(HOME) + (0.5, 0.1, 0, 0, 0, 0)
    path = trail.back(end, 0.3, bench.arm.limits)
    assert 3 <= len(path) <= 8 and all(is_safe(p.target.joint_positions, bench.arm.limits) for p in path)
    waist = [p.target.joint_positions[0] for p in path]
    assert waist == sorted(waist, reverse=True) and waist[-1] < 0.35
    assert [p.target.opening for p in path] == [0.3] * len(path)
    assert trail.back(end, 0.3, bench.arm.limits) == [], "a way back is gone once"


def test_an_overload_stops_backs_off_and_goes_on(bench):
    bench.descend()
    low = bench.height()
    bench.efforts, bench.seen = HARD, bench.seen
    bench.seen.clear()
    held = bench.run(0.5)
    assert bench.arm.state is ArmState.RECOVERING and "elbow" in bench.arm.message
    assert len(held) == 1 and len(held[0].points) == 1
    assert bench.send([0, 0, -0.02, 0, 0, 0, 0]) is None and bench.send(mode=ArmMode.HOME) is None
    bench.efforts = EASY
    back = bench.run(3.0)
    assert len(back) == 1 and bench.height() > low + 0.01
    assert bench.arm.state is ArmState.HOLDING and "recovered" in bench.arm.message
    assert bench.arm.target.opening == 0.0, "what is held is not dropped"
    assert bench.seen == [ArmState.RECOVERING, ArmState.HOLDING]
    assert (bench.arm.counters.overloads, bench.arm.counters.recoveries) == (1, 1)
    assert bench.send([0, 0, -0.02, 0, 0, 0, 0]) is not None


def test_an_overload_that_stays_is_for_a_person(bench):
    bench.descend()
    bench.efforts = HARD
    bench.run(5.0)
    assert bench.arm.state is ArmState.STOPPED and "backing off did not help" in bench.arm.message
    bench.efforts = EASY
    bench.run(1.0)
    assert bench.send([0, 0, 0.02, 0, 0, 0, 0]) is None
    assert bench.send(mode=ArmMode.HOME, actor=Actor.PERSON) is not None


def push_and_let_go(bench):
    """An overload on the way down, and three seconds to recover from it; the motions of those."""
    bench.descend(2)
    bench.efforts = HARD
    bench.run(0.5)
    bench.efforts = EASY
    return bench.run(3.0)


def test_one_overload_after_another_is_for_a_person(bench):
    bench.observe(1000 * SECOND)
    for number in range(3):
        assert len(push_and_let_go(bench)) == 1, "it backs off each time"
        assert bench.arm.state is ArmState.HOLDING, number
    bench.efforts = HARD
    bench.run(0.5)
    assert bench.arm.state is ArmState.STOPPED and "4 times" in bench.arm.message


def test_overloads_of_long_ago_do_not_count(bench):
    for _ in range(6):
        push_and_let_go(bench)
        assert bench.arm.state is ArmState.HOLDING
        bench.observe(61 * SECOND)


def test_a_release_forgives_what_was_before(bench):
    for _ in range(4):
        push_and_let_go(bench)
    assert bench.arm.state is ArmState.STOPPED
    bench.efforts = HARD
    bench.run(1.0)
    bench.arm.release()
    bench.run(0.2)
    assert bench.arm.state is ArmState.HOLDING, "the joint has its patience again"
    bench.run(0.3)
    assert bench.arm.state is ArmState.RECOVERING, "the four before do not count"


def test_it_goes_on_only_when_the_way_back_is_over_and_the_arm_has_settled(bench):
    bench.descend()
    bench.efforts = HARD
    bench.run(0.5)
    bench.efforts = EASY
    while (back := bench.observe()) is None:
        pass
    begun = bench.stamp
    while bench.arm.state is ArmState.RECOVERING:
        bench.observe()
    taken = bench.stamp - begun - round(back.points[-1].time_from_start * SECOND)
    assert taken + 1000 >= SETTLE and taken <= SETTLE + 100_000_000


@pytest.mark.parametrize("stamp", [None, 0], ids=["put", "started again"])
def test_an_arm_that_was_put_somewhere_else_does_not_go_back_to_where_it_was(bench, stamp):
    bench.descend()
    bench.stamp = bench.stamp if stamp is None else stamp
    bench.positions[0] += 0.5
    bench.observe()
    bench.efforts = HARD
    moved = [point for motion in bench.run(3.0) for point in motion.points]
    assert moved and all(point.positions[0] > 0.45 for point in moved)


def test_what_is_held_stays_held_through_a_release_that_begins_where_the_arm_is(bench):
    bench.descend()
    bench.arm.emergency_stop()
    bench.positions[1] += 0.03
    bench.observe()
    bench.arm.release()
    np.testing.assert_allclose(bench.arm.target.joint_positions, bench.positions[:6])
    assert bench.arm.target.opening == 0.0


def test_a_backend_that_recovers_while_the_arm_backs_off_is_one_overload(bench):
    bench.descend()
    bench.efforts = HARD
    bench.run(0.5)
    assert bench.arm.backend_status(BackendState.RECOVERING, "elbow: overload") is None
    assert bench.arm.counters.overloads == 1


def test_a_source_that_starts_again_ends_the_recovery(bench):
    bench.descend()
    bench.efforts = HARD
    bench.run(0.5)
    bench.efforts, bench.stamp = EASY, 0
    bench.observe()
    assert bench.arm.state is ArmState.HOLDING
    bench.run(0.5)
    asked = bench.stamp
    bench.obey(bench.send(mode=ArmMode.HOME))
    assert bench.arm.home_command == asked


def test_in_lockstep_every_observation_is_answered_while_it_recovers():
    bench = Pushing(lockstep=True)
    bench.observe()
    for _ in range(3):
        motion = bench.send([0, 0, -0.02, 0, 0, 0, 0])
        bench.positions = motion.points[-1].positions.copy()
        bench.observe(200_000_000)
    bench.efforts = HARD
    bench.send([0, 0, 0, 0, 0, 0, 0])
    answers = 0
    for _ in range(40):
        motion = bench.observe(200_000_000)
        if bench.arm.state is ArmState.RECOVERING:
            assert motion is not None and motion.stamp == bench.stamp
            answers += 1
            bench.positions = motion.points[-1].positions.copy()
            bench.efforts = EASY
        elif bench.arm.counters.recoveries:
            break
        else:
            bench.send([0, 0, 0, 0, 0, 0, 0])
    assert bench.arm.state is ArmState.HOLDING and answers >= 4


def test_what_was_to_be_followed_later_is_not_followed_after_an_overload_or_a_restart():
    for stamp in (None, 0):
        bench = Pushing(lockstep=True, effort_patience=0.0)
        bench.observe()
        bench.send([0, 0, -0.02, 0, 0, 0, 0], stamp=bench.stamp + 500_000_000)
        bench.efforts = HARD if stamp is None else EASY
        bench.stamp = bench.stamp if stamp is None else stamp
        bench.observe()
        assert bench.arm._pending is None


@pytest.mark.parametrize("fault", ["elbow: overload", ""])
def test_a_fault_of_the_servos_waits_for_their_restart(bench, fault):
    bench.descend()
    motion = bench.arm.backend_status(BackendState.RECOVERING, fault)
    assert motion is not None and bench.arm.state is ArmState.RECOVERING
    assert bench.run(5.0) == [] and bench.arm.state is ArmState.RECOVERING
    bench.arm.backend_status(BackendState.READY, "recovered")
    bench.run(3.0)
    assert bench.arm.state is ArmState.HOLDING and bench.arm.counters.recoveries == 1
    assert bench.arm.message == f"recovered: {fault or 'a fault'}"


@pytest.mark.parametrize("state", [BackendState.NEEDS_PERSON, BackendState.ENDING])
def test_a_backend_that_needs_a_person_or_ends_stops_the_arm(bench, state):
    bench.descend()
    bench.arm.backend_status(state, "support the arm")
    assert bench.arm.state is ArmState.STOPPED and "support the arm" in bench.arm.message
    assert bench.send([0, 0, 0.02, 0, 0, 0, 0]) is None


def test_a_release_after_the_servos_failed_waits_for_their_restart(bench):
    bench.arm.backend_status(BackendState.NEEDS_PERSON, "support the arm")
    assert bench.arm.release() == "Released."
    assert bench.arm.backend_status(BackendState.NEEDS_PERSON, "support the arm") is None
    assert bench.arm.state is ArmState.HOLDING, "it says nothing new"
    bench.arm.backend_status(BackendState.RECOVERING, "elbow: overload")
    assert bench.arm.state is ArmState.RECOVERING
    bench.arm.backend_status(BackendState.READY, "recovered")
    bench.run(3.0)
    assert bench.arm.state is ArmState.HOLDING


@pytest.mark.parametrize("lockstep", [True, False])
def test_the_emergency_stop_outlasts_everything_but_a_release(lockstep):
    bench = Pushing(lockstep=lockstep)
    bench.observe()
    bench.positions = bench.send([0, 0, -0.02, 0, 0, 0, 1]).points[-1].positions.copy()
    bench.observe()
    motion = bench.arm.emergency_stop()
    np.testing.assert_allclose(motion.points[0].positions[:6], bench.positions[:6], atol=1e-9)
    assert bench.arm.state is ArmState.STOPPED
    for actor in Actor:
        for mode in (ArmMode.DELTA, ArmMode.HOME):
            bench.observe()
            assert bench.send([0, 0, -0.02, 0, 0, 0, 1], mode, actor=actor) is None
    bench.now += 100.0
    bench.arm.tick()
    bench.observe()
    assert bench.arm.state is ArmState.STOPPED, "silent joint states do not release it"
    bench.arm.halt("the end")
    for state in (BackendState.RECOVERING, BackendState.READY):
        assert bench.arm.backend_status(state, "elbow: overload") is None
    assert bench.arm.state is ArmState.STOPPED and bench.arm.counters.emergency_stops == 1
    bench.arm.emergency_stop()
    assert bench.arm.counters.emergency_stops == 1
    assert bench.arm.release() == "Released." and bench.arm.state is ArmState.HOLDING
    bench.arm.emergency_stop()
    assert bench.arm.counters.emergency_stops == 2
    bench.arm.release()
    bench.observe()
    assert bench.send([0, 0, -0.02, 0, 0, 0, 1]) is not None
    assert "Nothing is stopped" in bench.arm.release()


def test_the_emergency_stop_before_the_first_joint_state_is_kept():
    bench = Pushing()
    assert bench.arm.emergency_stop() is None
    bench.observe()
    assert bench.arm.state is ArmState.STOPPED and bench.send([0, 0, -0.02, 0, 0, 0, 1]) is None
    again = Pushing()
    again.arm.emergency_stop()
    assert again.arm.release() == "Released." and again.arm.state is ArmState.REFUSING
    again.observe()
    assert again.arm.state is ArmState.HOLDING


def test_wild_torques_and_commands_never_make_an_unsafe_target(bench):
    rng = np.random.default_rng(2)
    sent = 0
    for _ in range(3000):
        bench.efforts = rng.normal(size=6) * 10.0 ** rng.uniform(-1, 1.5)
        motion = bench.send(rng.normal(size=7) * 10.0 ** rng.uniform(-3, 1), int(rng.choice([0] * 20 + [1, 2])))
        own = bench.observe()
        bench.now += 0.1
        if rng.random() < 0.02:
            bench.arm.emergency_stop()
        if rng.random() < 0.1:
            bench.arm.release()
        for each in (motion, own):
            for point in each.points if each else ():
                sent += 1
                assert is_safe(point.positions[:6], bench.arm.limits)
        if own or motion:
            bench.positions = (own or motion).points[-1].positions.copy()
    assert sent > 500 and bench.arm.counters.overloads > 20


@pytest.mark.parametrize("state", [BackendState.NEEDS_PERSON, BackendState.RECOVERING])
def test_an_arm_node_that_is_started_again_heeds_what_its_backend_said_before(state):
    bench = Pushing(lockstep=False)
    assert bench.arm.backend_status(state, "support the arm") is None  # latched, and faster than the joint states
    bench.observe()
    wanted = ArmState.RECOVERING if state is BackendState.RECOVERING else ArmState.STOPPED
    assert bench.arm.state is wanted and "support the arm" in bench.arm.message
    assert bench.send([0, 0, 0.02, 0, 0, 0, 0]) is None
