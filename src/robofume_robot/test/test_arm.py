"""The arm's state machine with a clock in the test's hand."""

import numpy as np
import pytest
from arm_bench import DOWN, HOME, PERIOD, STILL, Bench
from robofume_common.enums import Actor, ArmMode, ArmState, BackendState
from robofume_robot.envelope import is_safe

from robofume_robot import kinematics


@pytest.fixture(params=[True, False], ids=["lockstep", "real time"])
def bench(request):
    bench = Bench(lockstep=request.param)
    bench.observe()
    return bench


def test_without_a_box_nothing_moves():
    bench = Bench(workspace_minimum=(), workspace_maximum=(), home_joint_positions=())
    bench.observe()
    for mode in ArmMode:
        assert bench.send(mode=mode) is None
    bench.now += 10.0
    assert bench.arm.tick() is None and bench.arm.halt("end") is None
    assert bench.arm.state is ArmState.REFUSING and "workspace_minimum" in bench.arm.message


def test_without_a_joint_state_nothing_moves():
    bench = Bench()
    assert bench.send() is None and bench.arm.tick() is None
    assert bench.arm.state is ArmState.REFUSING


def test_a_command_is_answered_with_its_own_stamp(bench):
    motion = bench.send(DOWN)
    assert motion.stamp == bench.stamp and bench.arm.state is ArmState.MOVING
    before = bench.height()
    bench.obey(motion)
    assert bench.height() == pytest.approx(before - 0.03, abs=1e-3)
    assert bench.arm.counters.sent == bench.arm.counters.commands == 1


def test_the_same_command_gets_the_same_answer_and_moves_once(bench):
    first = bench.send(DOWN)
    again = bench.send(DOWN)
    assert again is (first if bench.config.lockstep else None)
    bench.obey(first)
    assert bench.arm.target.joint_positions == pytest.approx(first.points[-1].positions[:6])


def test_stale_and_future_commands_are_refused(bench):
    bench.obey(bench.send(DOWN))
    assert bench.send(DOWN, stamp=bench.stamp - 2 * PERIOD) is None
    assert bench.send(DOWN, stamp=0) is None
    assert bench.send(DOWN, stamp=bench.stamp + 3600 * 10**9) is None
    assert bench.arm.counters.refused_stale == 3


def test_age_counts_on_the_sources_clock_in_real_time():
    bench = Bench(lockstep=False, max_command_age=0.3)
    bench.observe()
    asked = bench.stamp
    bench.observe(250_000_000)
    assert bench.send(DOWN, stamp=asked) is not None
    asked = bench.stamp
    bench.observe(350_000_000)
    assert bench.send(DOWN, stamp=asked) is None


def test_lockstep_answers_a_command_that_overtook_its_joint_state():
    bench = Bench(lockstep=True)
    bench.observe()
    assert bench.send(DOWN, stamp=bench.stamp + PERIOD) is None
    motion = bench.observe()
    assert motion is not None and motion.stamp == bench.stamp


def test_a_command_waits_for_its_own_joint_state_and_is_answered_once():
    bench = Bench(lockstep=True)
    bench.observe()
    asked = bench.stamp + 2 * PERIOD
    assert bench.send(DOWN, stamp=asked) is None and bench.observe() is None
    assert bench.observe().stamp == asked
    assert bench.observe() is None and bench.arm.counters.refused_stale == 0


def test_in_lockstep_only_the_newest_observation_is_answered():
    bench = Bench(lockstep=True)
    bench.observe()
    asked = bench.stamp
    bench.observe(1_000_000)
    assert bench.send(DOWN, stamp=asked) is None and bench.arm.counters.refused_stale == 1


def test_in_real_time_a_command_that_was_overtaken_is_not_followed():
    bench = Bench(lockstep=False)
    bench.observe()
    overtaken = bench.stamp
    bench.observe(50_000_000)
    assert bench.send(DOWN) is not None
    assert bench.send(DOWN, stamp=overtaken) is None and bench.arm.counters.refused_stale == 1


def test_what_was_shortened_or_refused_is_counted(bench):
    bench.obey(bench.send([0.3, 0, 0, 0, 0, 0, 1]))
    assert bench.arm.counters.clamped_step == 1
    for _ in range(6):
        bench.obey(bench.send([0, 0, -0.05, 0, 0, 0, 1]))
    assert bench.arm.counters.clamped_box >= 2
    slow = Bench(velocity_scale=0.05)
    slow.observe()
    slow.send(DOWN)
    assert (slow.arm.counters.clamped_velocity, slow.arm.counters.clamped_step) == (1, 0)
    asleep = Bench()
    asleep.positions[:6] = kinematics.SLEEP_JOINT_POSITIONS
    asleep.observe()
    assert asleep.send(DOWN) is None
    assert (asleep.arm.counters.refused_unreachable, asleep.arm.counters.refused_not_finite) == (1, 0)


def test_lockstep_answers_refused_commands_with_the_target_it_has():
    bench = Bench(lockstep=True)
    bench.observe()
    bench.obey(bench.send(DOWN))
    before = bench.arm.target
    motion = bench.send([np.nan] * 7)
    assert motion.stamp == bench.stamp and bench.arm.target is before
    assert bench.arm.counters.refused_not_finite == 1 and "not finite" in bench.arm.message
    assert bench.send([np.nan] * 7, stamp=bench.stamp - PERIOD) is None, "that one was answered"


def test_real_time_sends_nothing_for_refused_commands():
    bench = Bench(lockstep=False)
    bench.observe()
    assert bench.send([np.inf] * 7) is None
    assert bench.send([0.0] * 3) is None
    assert bench.send(mode=77) is None
    assert bench.arm.counters.refused_not_finite == 3


def test_the_watchdog_holds_once(bench):
    bench.obey(bench.send(DOWN))
    bench.now += 0.4
    assert bench.arm.tick() is None
    bench.observe()
    bench.now += 0.2
    motion = bench.arm.tick()
    assert motion.stamp == 0
    np.testing.assert_allclose(motion.points[0].positions[:6], bench.positions[:6], atol=1e-9)
    assert bench.arm.state is ArmState.HOLDING and bench.arm.counters.watchdog_holds == 1
    bench.observe()
    bench.now += 0.4
    assert bench.arm.tick() is None
    assert bench.send(DOWN).stamp == bench.stamp and bench.arm.state is ArmState.MOVING


def test_commands_feed_the_watchdog(bench):
    for _ in range(4):
        bench.obey(bench.send(DOWN))
        bench.now += 0.4
        assert bench.arm.tick() is None and bench.arm.state is ArmState.MOVING


def test_after_the_watchdog_a_late_copy_of_a_command_is_not_followed():
    bench = Bench(lockstep=False)
    bench.observe()
    asked = bench.stamp
    bench.send(DOWN)
    bench.now += 0.6
    bench.observe(50_000_000)
    assert bench.arm.tick() is not None
    assert bench.send(DOWN, stamp=asked) is None and bench.arm.state is ArmState.HOLDING


def test_refused_commands_do_not_feed_the_watchdog(bench):
    bench.obey(bench.send(DOWN))
    for _ in range(6):
        bench.now += 0.1
        bench.observe()
        bench.send([np.nan] * 7)
    assert bench.arm.tick() is not None


def test_in_lockstep_the_watchdog_changes_nothing_in_the_course():
    courses = []
    for slow in (0.0, 5.0):
        bench = Bench(lockstep=True)
        bench.observe()
        rng = np.random.default_rng(1)
        for _ in range(30):
            motion = bench.send(np.append(rng.uniform(-0.05, 0.05, 3), (0, 0, 0, 1)))
            lag = motion.points[-1].positions * 0.8 + bench.positions * 0.2
            bench.positions = lag
            bench.observe()
            bench.now += slow
            bench.arm.tick()
        courses.append(bench.positions)
        assert bench.arm.counters.watchdog_holds == (30 if slow else 0)
    np.testing.assert_array_equal(*courses)


def test_silent_joint_states_stop_commands_in_real_time_only(bench):
    bench.obey(bench.send(DOWN))
    bench.now += 3.0
    bench.arm.tick()
    if bench.config.lockstep:
        assert bench.arm.state is ArmState.HOLDING
        return
    assert bench.arm.state is ArmState.REFUSING and "joint states" in bench.arm.message
    assert bench.send(DOWN, stamp=bench.stamp + 1) is None and bench.arm.counters.refused_stale == 1
    bench.observe()
    assert bench.send(DOWN) is not None


def test_homing_is_acknowledged_when_the_arm_is_there(bench):
    bench.obey(bench.send([0.05, 0.05, -0.05, 0, 0, 0, 0]))
    bench.seen.clear()
    asked = bench.stamp
    motion = bench.send(mode=ArmMode.HOME)
    assert motion.stamp == asked and len(motion.points) > 2
    assert bench.arm.state is ArmState.HOMING and bench.arm.home_command == 0
    assert (motion.points[0].positions[6:] == kinematics.FINGER_OPEN).all()
    assert bench.obey(motion) is None
    assert bench.arm.state is ArmState.HOLDING and bench.arm.home_command == asked
    assert bench.seen == [ArmState.HOMING, ArmState.HOLDING]
    assert bench.send(DOWN) is not None


def test_homing_is_not_over_before_the_fingers_have_had_their_time():
    bench = Bench(lockstep=False)
    bench.positions[6:] = kinematics.FINGER_CLOSED
    bench.observe()
    asked = bench.stamp
    motion = bench.send(mode=ArmMode.HOME)
    assert bench.observe(10_000_000) is None and bench.arm.state is ArmState.HOMING
    bench.obey(motion)
    assert bench.arm.state is ArmState.HOLDING and bench.arm.home_command == asked


def test_without_a_home_pose_homing_is_for_a_person():
    bench = Bench(home_joint_positions=())
    bench.observe()
    assert bench.send(mode=ArmMode.HOME) is not None, "it is held"
    assert bench.arm.state is ArmState.STOPPED and "home_joint_positions" in bench.arm.message
    assert bench.arm.counters.refused_unreachable == 1


def test_an_arm_outside_its_box_cannot_be_held_and_stays_as_it_is():
    bench = Bench()
    bench.positions[:6] = kinematics.SLEEP_JOINT_POSITIONS
    bench.observe()
    assert bench.send(mode=ArmMode.HOLD) is None and bench.arm.state is ArmState.HOLDING
    assert bench.arm.halt("the node ends") is None
    silent = Bench(lockstep=False)
    silent.observe()
    silent.now += 3.0
    assert silent.send(DOWN) is None and silent.arm.counters.refused_stale == 1, "before any tick has seen it"
    assert bench.arm.emergency_stop() is None and bench.arm.state is ArmState.STOPPED


@pytest.mark.parametrize("end", ["stop", "halt", "hold", "fault"])
def test_an_arm_outside_its_box_that_is_on_its_way_home_is_stopped_where_it_is(end):
    """Its backend has the whole way, and would go on."""
    bench = Bench(lockstep=False)
    bench.positions[:6] = kinematics.SLEEP_JOINT_POSITIONS
    bench.observe()
    way = bench.send(mode=ArmMode.HOME)
    bench.positions[:6] += 0.1 * (way.points[0].positions[:6] - bench.positions[:6])
    bench.observe()
    motion = {
        "stop": bench.arm.emergency_stop,
        "halt": lambda: bench.arm.halt("the node ends"),
        "hold": lambda: bench.send(mode=ArmMode.HOLD),
        "fault": lambda: bench.arm.backend_status(BackendState.RECOVERING, "elbow: overload"),
    }[end]()
    assert motion is not None and len(motion.points) == 1
    np.testing.assert_allclose(motion.points[0].positions[:6], bench.positions[:6])
    if end == "stop":
        assert bench.arm.emergency_stop() is None, "once"


def test_homing_ignores_deltas_and_ends_with_a_hold(bench):
    bench.obey(bench.send([0.05, 0.05, -0.05, 0, 0, 0, 1]))
    bench.send(mode=ArmMode.HOME)
    bench.now += 0.1
    bench.observe(10_000_000)
    assert bench.arm.state is ArmState.HOMING
    if not bench.config.lockstep:
        assert bench.send(DOWN) is None
    bench.observe(10_000_000)
    asked = bench.stamp
    if bench.config.lockstep:  # the arm answers by itself while it homes
        return
    assert bench.send(mode=ArmMode.HOLD).stamp == asked and bench.arm.state is ArmState.HOLDING
    assert bench.arm.home_command == 0


def test_an_arm_that_is_blocked_on_its_way_home_stops_for_a_person(bench):
    bench.obey(bench.send([0.05, 0.05, -0.05, 0, 0, 0, 1]))
    bench.blocked = True
    motion = bench.send(mode=ArmMode.HOME)
    for _ in range(100):
        if bench.arm.state is ArmState.STOPPED:
            break
        motion = bench.observe(3 * 10**9)
    assert bench.arm.state is ArmState.STOPPED and "person" in bench.arm.message
    bench.observe()
    assert bench.send(DOWN) is None and bench.send(mode=ArmMode.HOME) is None
    bench.blocked = False
    bench.observe()
    motion = bench.send(mode=ArmMode.HOME, actor=Actor.PERSON)
    bench.obey(motion)
    assert bench.arm.state is ArmState.HOLDING and bench.arm.home_command > 0


def test_lockstep_repeats_its_own_answer_while_homing():
    bench = Bench(lockstep=True)
    bench.observe()
    bench.obey(bench.send([0.05, 0.05, -0.05, 0, 0, 0, 1]))
    bench.send(mode=ArmMode.HOME)
    own = bench.observe()  # not home yet: the scene was reset in between
    assert own is not None and own.stamp == bench.stamp
    assert bench.arm.joint_state(bench.stamp, bench.positions) is own
    later = bench.stamp
    assert bench.send(mode=ArmMode.HOME) is own
    bench.obey(own)
    assert bench.arm.home_command == later


def test_a_second_home_command_on_the_way_is_acknowledged_too():
    bench = Bench(lockstep=False)
    bench.observe()
    bench.obey(bench.send([0.05, 0.05, -0.05, 0, 0, 0, 1]))
    motion = bench.send(mode=ArmMode.HOME)
    bench.observe(50_000_000)
    later = bench.stamp
    assert bench.send(mode=ArmMode.HOME) is None
    bench.obey(motion)
    assert bench.arm.home_command == later


def test_a_scene_reset_that_moves_the_arm_forgets_the_old_target():
    bench = Bench(lockstep=True)
    bench.observe()
    for _ in range(3):
        bench.obey(bench.send([0.05, 0.05, 0, 0, 0, 0, 1]))
    bench.positions = np.append(np.array(HOME) + (2.0, 0, 0, 0, 0, 0), (0.037, 0.037))
    bench.observe()
    np.testing.assert_allclose(bench.arm.target.joint_positions, bench.positions[:6])


def test_an_array_that_is_filled_again_and_again_is_not_what_the_arm_remembers():
    bench = Bench()
    bench.observe()
    bench.positions[0] += 2.0
    bench.observe()
    assert bench.arm.target.joint_positions[0] == pytest.approx(2.0), "it was put there"


def test_a_source_that_starts_again_is_followed(bench):
    bench.obey(bench.send(DOWN))
    bench.stamp = 0
    bench.observe()
    assert bench.arm.state is ArmState.HOLDING and bench.arm.stamp == PERIOD
    assert bench.send(DOWN).stamp == PERIOD


@pytest.mark.parametrize("outside", [False, True])
@pytest.mark.parametrize("lost", ["joint states", "their source"])
def test_a_way_home_that_is_not_followed_any_more_is_not_left_to_the_backend(lost, outside):
    bench = Bench(lockstep=False)
    bench.positions[:6] = kinematics.SLEEP_JOINT_POSITIONS if outside else HOME + np.array([0.6, 0, 0, 0, 0, 0])
    bench.observe()
    way = bench.send(mode=ArmMode.HOME)
    if lost == "joint states":
        bench.now += 3.0
        bench.arm.tick()
        assert bench.arm.state is ArmState.REFUSING
        assert bench.send(mode=ArmMode.HOME) is None and bench.arm.halt("the node ends") is None
    else:
        bench.stamp = 0
    bench.positions[:6] += 0.1 * (way.points[0].positions[:6] - bench.positions[:6])
    held = bench.observe()
    assert len(held.points) == 1 and bench.arm.state is ArmState.HOLDING
    np.testing.assert_allclose(held.points[0].positions[:6], bench.positions[:6])
    assert all(bench.observe() is None for _ in range(50)) and bench.arm.state is ArmState.HOLDING


def test_a_stop_while_joint_states_are_silent_does_not_move_the_arm_back_to_where_it_was():
    bench = Bench(lockstep=False)
    bench.positions[0] += 0.8
    bench.observe()
    bench.send(mode=ArmMode.HOME)
    bench.now += 0.6
    assert bench.arm.emergency_stop() is None and bench.arm.state is ArmState.STOPPED
    assert bench.arm.tick() is None
    bench.positions[0] -= 0.4
    held = bench.observe()
    np.testing.assert_allclose(held.points[0].positions[:6], bench.positions[:6])
    assert bench.observe() is None and bench.arm.emergency_stop() is None and bench.arm.state is ArmState.STOPPED


def test_a_pose_that_was_held_is_held_anew_where_the_arm_was_put():
    bench = Bench(lockstep=False)
    bench.observe()
    assert bench.send(mode=ArmMode.HOLD) is not None
    bench.positions[5] += 1.5
    bench.observe()
    held = bench.send(mode=ArmMode.HOLD)
    np.testing.assert_allclose(held.points[0].positions[:6], bench.positions[:6], atol=1e-9)


def test_in_real_time_a_command_from_the_future_is_not_kept():
    bench = Bench(lockstep=False)
    bench.observe()
    asked = bench.stamp + 1_000_000_000
    assert bench.send(DOWN, stamp=asked) is None and bench.arm.counters.refused_stale == 1
    assert all(bench.observe(250_000_000) is None for _ in range(6))


def test_a_hold_on_the_way_home_ends_it():
    bench = Bench(lockstep=False)
    bench.observe()
    bench.obey(bench.send([0.05, 0.05, -0.05, 0, 0, 0, 1]))
    bench.send(mode=ArmMode.HOME)
    bench.observe(10_000_000)
    assert bench.send(mode=ArmMode.HOLD) is not None
    assert all(bench.observe() is None for _ in range(50)) and bench.arm.state is ArmState.HOLDING


def test_a_source_that_starts_again_ends_homing_and_what_was_acknowledged():
    bench = Bench(lockstep=False)
    bench.observe()
    bench.obey(bench.send(mode=ArmMode.HOME))
    assert bench.arm.home_command > 0
    bench.obey(bench.send([0.05, 0.05, -0.05, 0, 0, 0, 1]))
    bench.send(mode=ArmMode.HOME)
    bench.stamp = 0
    assert bench.observe() is not None, "it is held"
    assert bench.arm.state is ArmState.HOLDING and bench.arm.home_command == 0
    assert all(bench.observe() is None for _ in range(50)) and bench.arm.state is ArmState.HOLDING


def test_after_its_source_started_again_the_pose_is_held_anew():
    bench = Bench(lockstep=False)
    bench.observe()
    assert bench.send(mode=ArmMode.HOLD) is not None
    bench.stamp = 0
    bench.observe()
    assert bench.send(mode=ArmMode.HOLD) is not None


def test_after_a_reset_the_next_joint_state_is_the_first():
    bench = Bench(lockstep=True)
    bench.observe()
    bench.obey(bench.send(DOWN))
    bench.arm.reset()
    assert (bench.arm.stamp, bench.arm.target) == (-1, None)
    with pytest.raises(ValueError, match="no joint state"):
        bench.arm.proprioception()
    bench.positions[0] += 0.05
    bench.stamp -= 2 * PERIOD
    bench.observe()
    assert bench.arm.stamp == bench.stamp
    np.testing.assert_allclose(bench.arm.target.joint_positions, bench.positions[:6])


@pytest.mark.parametrize("reading", [[np.nan] * 8, [0.0] * 6, [np.inf] + [0.0] * 7])
def test_broken_joint_states_are_not_believed(bench, reading):
    stamp = bench.arm.stamp
    assert bench.arm.joint_state(stamp + PERIOD, reading) is None
    assert bench.arm.stamp == stamp


def test_halt_holds(bench):
    bench.obey(bench.send(DOWN))
    motion = bench.arm.halt("the node ends")
    assert motion.stamp == 0 and bench.arm.state is ArmState.HOLDING


def test_a_halt_ends_homing():
    bench = Bench(lockstep=False)
    bench.observe()
    bench.obey(bench.send([0.05, 0.05, -0.05, 0, 0, 0, 1]))
    bench.send(mode=ArmMode.HOME)
    assert bench.arm.halt("the node ends") is not None
    assert all(bench.observe() is None for _ in range(50)) and bench.arm.state is ArmState.HOLDING
    assert bench.arm.home_command == 0


def test_wild_commands_never_produce_an_unsafe_target(bench):
    rng = np.random.default_rng(7)
    limits = bench.arm.limits
    sent = 0
    for _ in range(5000):
        action = rng.normal(size=7) * 10.0 ** rng.uniform(-3, 6)
        if rng.random() < 0.2:
            action[rng.integers(7)] = rng.choice([np.nan, np.inf, -np.inf, 1e308])
        stamp = bench.stamp + int(rng.choice([0, 0, 0, 0, -PERIOD, 10**12, -(10**12), -bench.stamp]))
        mode = int(rng.choice([0] * 30 + [1, 2, 3, 255]))
        motion = bench.send(action, mode, stamp)
        bench.now += rng.choice([0.0, 0.01, 0.7], p=[0.5, 0.4, 0.1])
        held = bench.arm.tick()
        for each in (motion, held):
            for point in each.points if each else ():
                sent += 1
                assert is_safe(point.positions[:6], limits)
                assert ((point.positions[6:] >= 0.015) & (point.positions[6:] <= 0.037)).all()
                assert point.time_from_start > 0
        if motion is not None:
            wanted = motion.points[-1].positions
            share = rng.choice([1.0, 1.0, 0.8])
            bench.positions = share * wanted + (1 - share) * bench.positions
        own = bench.observe(int(motion.points[-1].time_from_start * 1e9) if motion else PERIOD)
        for point in own.points if own else ():
            assert is_safe(point.positions[:6], limits)
    counters = bench.arm.counters
    assert sent > 1000 and counters.refused_not_finite > 300 and counters.refused_stale > 500


def test_a_pose_is_held_once_however_often_it_is_asked_for():
    """Servos sag under the arm's weight: to hold what is measured again and again would let it sink to the table."""
    bench = Bench(lockstep=False)
    bench.observe()
    bench.obey(bench.send(DOWN))
    assert bench.send(mode=ArmMode.HOLD, actor=Actor.PERSON) is not None
    held = bench.arm.target.joint_positions.copy()
    for _ in range(5):
        bench.positions[1] += 0.01
        bench.observe()
        assert bench.send(mode=ArmMode.HOLD, actor=Actor.PERSON) is None
    np.testing.assert_array_equal(bench.arm.target.joint_positions, held)
    assert bench.arm.state is ArmState.HOLDING
    bench.obey(bench.send(STILL))
    assert bench.send(mode=ArmMode.HOLD, actor=Actor.PERSON) is not None, "it moved in between"


def test_an_emergency_stop_that_is_pressed_for_long_does_not_let_the_arm_sink():
    bench = Bench(lockstep=False)
    bench.observe()
    bench.obey(bench.send(DOWN))
    assert bench.arm.emergency_stop() is not None
    for _ in range(5):
        bench.positions[1] += 0.01
        bench.observe()
        assert bench.arm.emergency_stop() is None
        assert bench.send(mode=ArmMode.HOLD, actor=Actor.PERSON) is None
    assert bench.arm.state is ArmState.STOPPED


def test_an_emergency_stop_does_not_move_an_arm_that_sags_out_of_its_box():
    bench = Bench(lockstep=False)
    below = kinematics.pose_from_vector((0.28, 0.0, 0.005, 0.0, 0.0, 0.0))
    bench.positions[:6] = kinematics.inverse_kinematics(below, np.array(HOME)).joint_positions
    bench.observe()
    held = bench.send(mode=ArmMode.HOLD)
    assert kinematics.forward_kinematics(held.points[0].positions[:6])[2, 3] > 0.02, "a hold brings it back"
    stopped = bench.arm.emergency_stop()
    np.testing.assert_allclose(stopped.points[0].positions[:6], bench.positions[:6])


def test_an_emergency_stop_before_the_arm_is_known_is_carried_out_when_it_is():
    bench = Bench(lockstep=False)
    assert bench.arm.emergency_stop() is None
    bench.observe()
    assert bench.arm.emergency_stop() is not None


def test_the_same_joint_state_again_and_again_is_silence():
    """A driver that has lost its servos may go on with the last thing that it read."""
    bench = Bench(lockstep=False, joint_state_timeout=0.5)
    bench.observe()
    bench.obey(bench.send(DOWN))
    for _ in range(8):
        bench.now += 0.1
        bench.arm.joint_state(bench.stamp, bench.positions)
        bench.arm.tick()
    assert bench.arm.state is ArmState.REFUSING
    bench.observe()
    assert bench.arm.state is ArmState.HOLDING
