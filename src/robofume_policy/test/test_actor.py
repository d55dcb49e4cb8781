"""The acting state machine, without ROS: every input order that the contract speaks of."""

import itertools

import numpy as np
import pytest
from robofume_common.action import ActionSpace
from robofume_common.enums import Actor as Who
from robofume_common.enums import ArmMode, ArmState, Direction, Phase
from robofume_common.errors import RobofumeError
from robofume_policy.actor import REMEMBERED, Actor, ActorConfig, Command, StepRecord, Task, stacked

PERIOD = 100_000_000
SPACE = ActionSpace()


class World:
    """Feeds an actor and keeps what it says."""

    def __init__(self, policy=True, listeners=9, **settings):
        self.now, self.seconds, self.listeners = 10**12, 100.0, listeners
        self.warnings, self.calls = [], []
        self.actor = Actor(
            ActorConfig(**settings), SPACE, lambda: self.now, lambda: self.seconds, lambda: self.listeners, self.warn
        )
        if policy:
            self.actor.set_policy(self.act, 7)

    def warn(self, sentence):
        self.warnings.append(sentence)

    def act(self, pictures, proprioception, instruction, deterministic):
        self.calls.append((pictures, instruction, deterministic))
        return np.full(SPACE.dimension, 0.5, np.float32)

    def ready(self, state=ArmState.HOLDING, home=0, stamp=0):
        return self.actor.on_arm_status(state, home, stamp)

    def observe(self, stamp):
        outputs = self.actor.on_proprioception(stamp, proprioception(stamp))
        return outputs + self.actor.on_image(stamp, f"image {stamp}")

    def real(self, stamp=None, age=0.0):
        """An observation in real time, taken `age` s ago."""
        self.now += PERIOD
        self.seconds += 0.1
        return self.observe((stamp or self.now) - int(age * 1e9))


def proprioception(stamp):
    return np.array([stamp % 97, 0, 0, 0, 0, 0, 0.25], np.float32)


def task(episode_id="a", phase=Phase.FORWARD, direction=Direction.FORWARD, limit=40, home=False, stamp=0):
    return Task(stamp, phase, direction, f"instruction of {episode_id}", episode_id, limit, home)


IDLE = task("", Phase.IDLE, Direction.NONE)


def override(stamp, action=(0.01, 0, 0, 0, 0, 0, 1), mode=ArmMode.DELTA, actor=Who.SCRIPT):
    return Command(stamp, mode, np.array(action, np.float32), actor)


def steps(outputs):
    return [o for o in outputs if isinstance(o, StepRecord)]


def commands(outputs):
    return [o for o in outputs if isinstance(o, Command)]


def test_command_comes_before_its_step_and_both_carry_the_observation():
    world = World(lockstep=True)
    world.ready()
    world.actor.on_task(task())
    command, step = world.observe(PERIOD)
    assert command.stamp == step.stamp == PERIOD and command.mode == ArmMode.DELTA
    np.testing.assert_array_equal(command.action, step.action)
    np.testing.assert_allclose(command.action, SPACE.to_physical(np.full(4, 0.5)))
    assert (step.index, step.episode_id, step.image, step.policy_version) == (0, "a", f"image {PERIOD}", 7)
    assert step.actor == command.actor == Who.POLICY
    np.testing.assert_array_equal(step.proprioception, proprioception(PERIOD))


def test_acts_exactly_once_whatever_comes_last():
    def inputs(world):
        return {
            "status": lambda: world.ready(),
            "task": lambda: world.actor.on_task(task()),
            "image": lambda: world.actor.on_image(PERIOD, "image"),
            "proprioception": lambda: world.actor.on_proprioception(PERIOD, proprioception(PERIOD)),
            "policy": lambda: world.actor.set_policy(world.act, 1),
        }

    for order in itertools.permutations(inputs(World(policy=False))):
        world = World(policy=False, lockstep=True)
        outputs = [inputs(world)[name]() for name in order]
        assert [len(output) for output in outputs] == [0, 0, 0, 0, 2], order


def test_the_override_and_the_permit_may_come_last_too():
    for order in itertools.permutations(("override", "permit", "image", "proprioception")):
        world = World(policy=False, lockstep=True, source="override")
        world.ready()
        world.actor.on_task(task())
        world.actor.on_override(override(PERIOD))
        assert len(world.observe(PERIOD)) == 2
        inputs = {
            "override": lambda world=world: world.actor.on_override(override(2 * PERIOD)),
            "permit": lambda world=world: world.actor.on_permit("a", 1),
            "image": lambda world=world: world.actor.on_image(2 * PERIOD, "image"),
            "proprioception": lambda world=world: world.actor.on_proprioception(2 * PERIOD, proprioception(1)),
        }
        assert [len(inputs[name]()) for name in order] == [0, 0, 0, 2], order


def test_lockstep_pairs_by_equal_stamps_only():
    world = World(lockstep=True)
    world.ready()
    world.actor.on_task(task())
    world.actor.on_proprioception(PERIOD, proprioception(1))
    assert world.actor.on_image(2 * PERIOD, "image") == []
    assert len(world.actor.on_proprioception(2 * PERIOD, proprioception(2))) == 2


def test_a_permit_is_for_one_episode_and_never_shrinks():
    world = World(lockstep=True)
    world.ready()
    world.actor.on_task(task())
    assert len(world.observe(PERIOD)) == 2
    assert world.observe(2 * PERIOD) == []
    assert world.actor.on_permit("other", 5) == []
    assert len(world.actor.on_permit("a", 2)) == 2
    world.actor.on_permit("a", 1)
    assert len(world.observe(3 * PERIOD)) == 2
    assert world.observe(4 * PERIOD) == []


def test_permits_come_one_by_one():
    world = World(lockstep=True)
    world.ready()
    world.actor.on_task(task())
    world.observe(PERIOD)
    for index in (1, 2, 3):
        assert world.observe((index + 1) * PERIOD) == []
        assert steps(world.actor.on_permit("a", index))[0].index == index


def test_a_newer_observation_replaces_the_pending_one():
    world = World(lockstep=True)
    world.ready()
    world.observe(PERIOD)
    world.observe(2 * PERIOD)
    (_, step) = world.actor.on_task(task())
    assert step.stamp == 2 * PERIOD


def test_a_repeated_observation_gets_the_same_command_and_no_second_step_of_its_own():
    world = World(lockstep=True)
    world.ready()
    world.actor.on_task(task())
    command, _ = world.observe(PERIOD)
    assert world.observe(PERIOD) == [command]
    world.observe(2 * PERIOD)  # pending: no permit
    assert world.actor.on_image(PERIOD, "old") == []
    assert len(world.actor.on_permit("a", 1)) == 2
    real = World()
    real.ready()
    real.actor.on_task(task())
    assert len(real.real()) == 2
    assert real.observe(real.now) == []
    real.ready(ArmState.STOPPED)
    assert real.real() == real.observe(real.now) == [], "nothing is published again in real time"


def test_a_step_that_may_have_been_lost_is_published_again_a_few_times():
    world = World(lockstep=True)
    world.ready()
    world.actor.on_task(task(limit=2))
    _, step = world.observe(PERIOD)
    world.observe(2 * PERIOD)  # waits for its permit
    assert [world.observe(2 * PERIOD) for _ in range(5)] == [[step]] * 3 + [[]] * 2
    _, second = world.actor.on_permit("a", 1)
    assert (second.index, second.stamp) == (1, 2 * PERIOD)
    (last,) = world.observe(3 * PERIOD)
    assert last.action is None
    assert world.observe(3 * PERIOD) == [last]
    world.actor.on_task(task("b", stamp=0))
    assert len(world.observe(3 * PERIOD)) == 1  # the first command of the next episode was given on arrival of its task


def test_step_limit_ends_with_a_last_step_that_needs_no_permit():
    world = World(lockstep=True)
    world.ready()
    world.actor.on_task(task(limit=2))
    world.actor.on_permit("a", 1)
    outputs = [world.observe(n * PERIOD) for n in (1, 2, 3)]
    assert [len(output) for output in outputs] == [2, 2, 1]
    last = outputs[2][0]
    assert last.index == 2 and last.action is None and last.actor == Who.NONE
    assert world.observe(4 * PERIOD) == []


def test_no_step_limit_where_it_is_zero():
    world = World(lockstep=True)
    world.ready()
    world.actor.on_task(task(limit=0))
    world.actor.on_permit("a", 1000)
    assert all(len(world.observe(n * PERIOD)) == 2 for n in range(1, 200))


def test_a_new_task_closes_the_old_episode_with_the_pending_observation_and_starts_with_it():
    world = World(lockstep=True)
    world.ready()
    world.actor.on_task(task())
    world.observe(PERIOD)
    world.observe(2 * PERIOD)  # pending, no permit
    last, command, first = world.actor.on_task(task("b", Phase.BACKWARD, Direction.BACKWARD))
    assert (last.episode_id, last.index, last.action, last.stamp) == ("a", 1, None, 2 * PERIOD)
    assert (first.episode_id, first.index, first.stamp) == ("b", 0, 2 * PERIOD)
    assert command.stamp == 2 * PERIOD


def test_a_new_task_waits_for_an_observation_that_no_command_answered():
    world = World(lockstep=True)
    world.ready()
    world.actor.on_task(task())
    world.observe(PERIOD)
    assert world.actor.on_task(IDLE) == []
    (last,) = world.observe(2 * PERIOD)
    assert (last.episode_id, last.index) == ("a", 1)
    assert world.observe(3 * PERIOD) == []


def test_the_last_step_shows_an_image_after_the_last_action():
    for home in (False, True):
        world = World(lockstep=True)
        world.ready()
        world.actor.on_task(task())
        world.observe(PERIOD)
        world.actor.on_task(task("b", home=home))
        outputs = world.observe(2 * PERIOD)
        assert steps(outputs)[0].stamp == 2 * PERIOD and steps(outputs)[0].action is None


def test_an_episode_without_action_is_closed_with_index_zero():
    world = World(lockstep=True)
    world.ready()
    world.actor.on_task(task())
    world.actor.on_task(IDLE)
    (last,) = world.observe(PERIOD)
    assert (last.index, last.action) == (0, None)


def test_each_of_several_replaced_tasks_is_closed():
    world = World(lockstep=True)
    world.ready()
    for name in "abc":
        world.actor.on_task(task(name))
    outputs = world.observe(PERIOD)
    assert [(s.episode_id, s.action is None) for s in steps(outputs)] == [("a", True), ("b", True), ("c", False)]


def test_the_same_task_again_changes_nothing():
    world = World(lockstep=True)
    world.ready()
    world.actor.on_task(task())
    world.observe(PERIOD)
    world.observe(2 * PERIOD)
    assert world.actor.on_task(task()) == []
    assert steps(world.actor.on_permit("a", 1))[0].index == 1
    world.actor.on_task(IDLE)
    world.observe(3 * PERIOD)
    assert world.actor.on_task(IDLE) == []


def test_observations_before_the_task_are_not_of_its_episode():
    world = World(lockstep=True)
    world.ready()
    world.observe(PERIOD)
    assert world.actor.on_task(task(stamp=2 * PERIOD)) == []
    assert world.observe(2 * PERIOD - 1) == []
    assert len(world.observe(2 * PERIOD)) == 2


def test_idle_sends_nothing_even_with_a_fresh_override():
    world = World(lockstep=True)
    world.ready()
    world.actor.on_task(IDLE)
    world.actor.on_override(override(PERIOD))
    assert world.observe(PERIOD) == []


@pytest.mark.parametrize("state", [ArmState.REFUSING, ArmState.STOPPED])
def test_no_action_while_the_arm_cannot_move(state):
    world = World(lockstep=True)
    world.actor.on_task(task())
    assert world.observe(PERIOD) == []  # status unknown
    assert world.ready(state) == []
    assert len(world.warnings) == 1
    world.ready(state)
    assert len(world.warnings) == 1
    assert len(world.ready(ArmState.MOVING)) == 2


def test_an_episode_is_closed_although_the_arm_stopped():
    world = World(lockstep=True)
    world.ready()
    world.actor.on_task(task())
    world.observe(PERIOD)
    world.ready(ArmState.STOPPED)
    world.actor.on_task(IDLE)
    assert len(steps(world.observe(2 * PERIOD))) == 1


def test_the_first_episode_waits_for_listeners_and_later_ones_do_not():
    world = World(lockstep=True, step_listeners=3, listeners=2)
    world.ready()
    world.actor.on_task(task())
    assert world.observe(PERIOD) == []
    world.listeners = 3
    assert len(world.actor.on_image(PERIOD, "image")) == 2  # the repetition of the image is the occasion
    world.listeners = 1
    world.actor.on_task(task("b"))
    assert len(commands(world.observe(2 * PERIOD))) == 1


# Homing


def test_homing_in_lockstep_waits_for_the_acknowledgement_in_any_order():
    for status_first in (True, False):
        world = World(lockstep=True)
        world.ready()
        world.actor.on_task(task(home=True))
        (command,) = world.observe(PERIOD)
        assert command.mode == ArmMode.HOME and command.stamp == PERIOD
        assert world.ready(ArmState.HOMING) == []
        if status_first:
            assert world.ready(ArmState.HOLDING, home=PERIOD, stamp=9 * PERIOD) == []
            outputs = world.observe(9 * PERIOD)
        else:
            assert world.observe(9 * PERIOD) == []
            outputs = world.ready(ArmState.HOLDING, home=PERIOD, stamp=9 * PERIOD)
        assert steps(outputs)[0].index == 0 and steps(outputs)[0].stamp == 9 * PERIOD


def test_an_image_from_before_the_arrival_at_home_is_not_step_zero():
    world = World(lockstep=True)
    world.ready()
    world.actor.on_task(task(home=True))
    world.observe(PERIOD)
    world.observe(5 * PERIOD)  # the arm needed a second attempt
    assert world.ready(ArmState.HOLDING, home=PERIOD, stamp=9 * PERIOD) == []
    assert len(world.observe(9 * PERIOD)) == 2


def test_the_acknowledgement_of_an_earlier_homing_does_not_count():
    world = World(lockstep=True)
    world.ready(home=PERIOD // 2)
    world.actor.on_task(task(home=True))
    world.observe(PERIOD)
    assert world.observe(2 * PERIOD) == []
    assert world.ready(ArmState.HOLDING, home=PERIOD // 2, stamp=3 * PERIOD) == []


def test_a_lost_home_command_is_repeated_once_per_retry_time():
    world = World(lockstep=True, home_retry=1.0)
    world.ready()
    world.actor.on_task(task(home=True))
    world.observe(PERIOD)
    assert world.observe(2 * PERIOD) == []
    world.seconds += 1.5
    (again,) = world.actor.on_image(2 * PERIOD, "image")  # the repetition of the image is the occasion
    assert again.mode == ArmMode.HOME and again.stamp == 2 * PERIOD
    world.seconds += 1.5
    world.ready(ArmState.HOMING)
    assert world.observe(3 * PERIOD) == []  # it is on its way
    world.ready(ArmState.HOLDING, home=2 * PERIOD, stamp=4 * PERIOD)
    assert len(steps(world.observe(4 * PERIOD))) == 1


def test_the_first_of_two_home_commands_may_be_the_one_that_is_acknowledged():
    world = World(lockstep=True, home_retry=1.0)
    world.ready()
    world.actor.on_task(task(home=True))
    world.observe(PERIOD)
    world.seconds += 1.5
    assert commands(world.observe(2 * PERIOD))[0].mode == ArmMode.HOME
    world.ready(ArmState.HOLDING, home=PERIOD, stamp=3 * PERIOD)
    assert len(steps(world.observe(3 * PERIOD))) == 1


def test_what_the_arm_says_after_it_came_home_asks_for_no_newer_image():
    world = World(lockstep=True)
    world.ready()
    world.actor.on_task(task(home=True))
    world.observe(PERIOD)
    world.ready(ArmState.HOLDING, home=PERIOD, stamp=3 * PERIOD)
    world.ready(ArmState.HOMING, home=PERIOD, stamp=4 * PERIOD)
    assert world.observe(4 * PERIOD) == [], "a person has sent it home once more"
    assert len(steps(world.ready(ArmState.HOLDING, home=PERIOD, stamp=5 * PERIOD))) == 1


def test_an_arm_node_that_starts_again_does_not_send_the_arm_home_in_mid_episode():
    world = World(lockstep=True)
    world.ready()
    world.actor.on_task(task(home=True))
    world.observe(PERIOD)
    world.ready(home=PERIOD, stamp=2 * PERIOD)
    world.observe(2 * PERIOD)
    world.ready(home=0)
    world.actor.on_permit("a", 1)
    assert [command.mode for command in commands(world.observe(3 * PERIOD))] == [ArmMode.DELTA]


def test_homing_ends_the_old_episode_first():
    world = World(lockstep=True)
    world.ready()
    world.actor.on_task(task())
    world.observe(PERIOD)
    world.observe(2 * PERIOD)
    last, home = world.actor.on_task(task("b", home=True))
    assert isinstance(last, StepRecord) and last.episode_id == "a"
    assert home.mode == ArmMode.HOME and home.stamp == 2 * PERIOD


def test_a_task_that_is_replaced_while_homing():
    world = World(lockstep=True)
    world.ready()
    world.actor.on_task(task(home=True))
    world.observe(PERIOD)
    world.actor.on_task(task("b", home=True))
    last, home = world.observe(2 * PERIOD)
    assert (last.episode_id, last.index, last.action) == ("a", 0, None)
    assert home.mode == ArmMode.HOME
    world.ready(ArmState.HOLDING, home=PERIOD, stamp=PERIOD)  # the first task's homing
    assert world.observe(3 * PERIOD) == []
    world.ready(ArmState.HOLDING, home=2 * PERIOD, stamp=4 * PERIOD)
    assert steps(world.observe(4 * PERIOD))[0].episode_id == "b"


def test_homing_in_real_time():
    world = World()
    world.ready()
    world.actor.on_task(task(home=True))
    (home,) = world.real()
    assert world.real() == []
    world.ready(ArmState.HOMING)
    assert all(world.real() == [] for _ in range(30))
    arrival = world.now + PERIOD // 2
    assert world.ready(ArmState.HOLDING, home=home.stamp, stamp=arrival) == []
    assert len(steps(world.real())) == 1


# Real time


def test_real_time_needs_fresh_images_and_proprioception():
    world = World(image_max_age=0.3, proprioception_max_age=0.15)
    world.ready()
    world.actor.on_task(task())
    assert world.real(age=0.35) == []
    assert len(world.real(age=0.1)) == 2
    world.now += PERIOD
    assert world.actor.on_image(world.now, "image") == []  # the proprioception is 0.2 s old
    assert len(world.actor.on_proprioception(world.now, proprioception(0))) == 2
    world.now += PERIOD
    world.actor.on_image(world.now - 4 * PERIOD, "out of order")
    assert world.actor.on_proprioception(world.now, proprioception(0)) == []


def test_real_time_needs_no_permit():
    world = World()
    world.ready()
    world.actor.on_task(task(limit=3))
    assert [len(world.real()) for _ in range(5)] == [2, 2, 2, 1, 0]


def test_real_time_pairs_the_newest_proprioception():
    world = World()
    world.ready()
    world.actor.on_task(task())
    world.now += PERIOD
    for age in (30, 20, 10):
        world.actor.on_proprioception(world.now - age * 1_000_000, proprioception(age))
    step = steps(world.actor.on_image(world.now, "image"))[0]
    np.testing.assert_array_equal(step.proprioception, proprioception(10))


# Overrides


def test_a_fresh_override_replaces_the_policy_and_says_who_acted():
    world = World(override_max_age=0.3)
    world.ready()
    world.actor.on_task(task())
    assert steps(world.real())[0].actor == Who.POLICY
    world.actor.on_override(override(world.now, actor=Who.PERSON))
    command, step = world.real()
    assert step.actor == command.actor == Who.PERSON
    np.testing.assert_allclose(step.action, [0.01, 0, 0, 0, 0, 0, 1], atol=1e-6)
    world.seconds += 0.4
    assert steps(world.real())[0].actor == Who.POLICY


def test_an_override_with_an_old_stamp_is_not_fresh_in_real_time():
    world = World()
    world.ready()
    world.actor.on_task(task())
    world.actor.on_override(override(world.now - 10**9, actor=Who.PERSON))
    assert steps(world.real())[0].actor == Who.POLICY


def test_an_override_without_a_stamp_is_fresh_by_its_arrival_in_real_time():
    world = World()
    world.ready()
    world.actor.on_task(task())
    world.actor.on_override(override(0, actor=Who.PERSON))
    assert steps(world.real())[0].actor == Who.PERSON


def test_in_real_time_collection_the_newest_override_is_taken():
    world = World(source="override")
    world.ready()
    world.actor.on_task(task())
    world.actor.on_override(override(world.now))
    assert steps(world.real())[0].actor == Who.SCRIPT


def test_a_person_takes_over_in_lockstep_by_arrival():
    world = World(lockstep=True)
    world.ready()
    world.actor.on_task(task())
    world.actor.on_override(override(0, actor=Who.PERSON))
    assert steps(world.observe(PERIOD))[0].actor == Who.PERSON


def test_an_override_of_unknown_author_counts_as_a_person():
    world = World(lockstep=True)
    world.ready()
    world.actor.on_task(task())
    world.actor.on_override(override(0, actor=Who.NONE))
    assert steps(world.observe(PERIOD))[0].actor == Who.PERSON


def test_overrides_are_brought_inside_the_action_space():
    world = World(lockstep=True, source="override")
    world.ready()
    world.actor.on_task(task())
    world.actor.on_override(override(PERIOD, (1.0, -1.0, 0.02, 0.3, 0.3, 0.3, 7.0)))
    command, step = world.observe(PERIOD)
    np.testing.assert_allclose(step.action, [0.05, -0.05, 0.02, 0, 0, 0, 1], atol=1e-6)
    np.testing.assert_array_equal(command.action, step.action)
    assert step.actor == command.actor == Who.SCRIPT


@pytest.mark.parametrize(("measured", "recorded"), [(0.25, 0.25), (1.04, 1.0), (-0.02, 0.0)])
def test_a_hold_override_without_an_action_keeps_the_opening(measured, recorded):
    world = World(lockstep=True, source="override")
    world.ready()
    world.actor.on_task(task())
    world.actor.on_override(override(PERIOD, action=(), mode=ArmMode.HOLD, actor=Who.PERSON))
    world.actor.on_proprioception(PERIOD, np.array([0, 0, 0, 0, 0, 0, measured], np.float32))
    _, step = world.actor.on_image(PERIOD, "image")
    np.testing.assert_allclose(step.action, [0, 0, 0, 0, 0, 0, recorded])


def test_a_hold_override_is_recorded_as_no_motion():
    world = World(lockstep=True, source="override")
    world.ready()
    world.actor.on_task(task())
    world.actor.on_override(override(PERIOD, mode=ArmMode.HOLD, actor=Who.PERSON))
    command, step = world.observe(PERIOD)
    assert command.mode == ArmMode.HOLD
    np.testing.assert_allclose(step.action, [0, 0, 0, 0, 0, 0, 0.25])


@pytest.mark.parametrize(
    "broken",
    [
        override(PERIOD, (np.nan, 0, 0, 0, 0, 0, 1)),
        override(PERIOD, (np.inf, 0, 0, 0, 0, 0, 1)),
        override(PERIOD, (0, 0, 0)),
        override(PERIOD, mode=ArmMode.HOME),
    ],
)
def test_broken_overrides_are_ignored(broken):
    world = World(lockstep=True, source="override")
    world.ready()
    world.actor.on_task(task())
    world.actor.on_override(broken)
    assert world.observe(PERIOD) == []
    assert len(world.warnings) == 1


def test_in_collection_the_policy_never_acts():
    for lockstep in (True, False):
        world = World(lockstep=lockstep, source="override")  # a policy is there and must not be asked
        world.ready()
        world.actor.on_task(task())
        for n in range(1, 20):
            assert (world.observe(n * PERIOD) if lockstep else world.real()) == []
        assert world.calls == []


def test_an_override_for_another_observation_is_not_taken_in_lockstep_collection():
    world = World(lockstep=True, source="override")
    world.ready()
    world.actor.on_task(task())
    world.actor.on_override(override(PERIOD))
    assert world.observe(2 * PERIOD) == []
    assert len(world.actor.on_override(override(2 * PERIOD))) == 2


def test_an_override_may_come_before_its_observation():
    world = World(lockstep=True, source="override")
    world.ready()
    world.actor.on_task(task())
    for n in range(1, 6):
        world.actor.on_override(override(n * PERIOD))
    assert len(world.observe(3 * PERIOD)) == 2


# Policies and numbers


def test_evaluation_is_deterministic_and_practice_is_not():
    for phase, deterministic in ((Phase.EVALUATION, True), (Phase.FORWARD, False), (Phase.BACKWARD, False)):
        world = World(lockstep=True)
        world.ready()
        world.actor.on_task(task(phase=phase))
        world.observe(PERIOD)
        assert world.calls == [((f"image {PERIOD}",), "instruction of a", deterministic)]


def test_new_weights_act_from_the_next_step_on():
    world = World(lockstep=True)
    world.ready()
    world.actor.on_task(task())
    world.actor.on_permit("a", 9)
    assert steps(world.observe(PERIOD))[0].policy_version == 7
    assert world.actor.set_policy(world.act, 8) == []
    assert steps(world.observe(2 * PERIOD))[0].policy_version == 8


@pytest.mark.parametrize("values", [[np.nan] * 7, [1.0] * 6, [np.inf, 0, 0, 0, 0, 0, 0]])
def test_broken_proprioception_is_ignored(values):
    world = World(lockstep=True)
    world.ready()
    world.actor.on_task(task())
    world.actor.on_image(PERIOD, "image")
    assert world.actor.on_proprioception(PERIOD, np.array(values, np.float32)) == []
    assert len(world.warnings) == 1


def test_a_restarted_source_shows_in_the_stamps_of_the_episode():
    world = World(lockstep=True)
    world.ready()
    world.actor.on_task(task())
    world.observe(100 * PERIOD)
    assert world.observe(PERIOD) == []
    assert len(world.warnings) == 1
    world.actor.on_permit("a", 5)
    (step,) = steps(world.observe(2 * PERIOD))
    assert (step.episode_id, step.index, step.stamp) == ("a", 1, 2 * PERIOD)
    world.actor.on_task(task("b"))
    outputs = world.observe(3 * PERIOD)
    assert [(step.episode_id, step.index) for step in steps(outputs)] == [("a", 2), ("b", 0)]


def test_after_its_source_restarted_an_episode_goes_on_from_any_stamp_and_homes_again():
    world = World(lockstep=True)
    world.ready()
    world.actor.on_task(task(home=True, stamp=100 * PERIOD))
    world.observe(100 * PERIOD)
    world.observe(PERIOD)
    (home,) = world.observe(2 * PERIOD)
    assert (home.mode, home.stamp) == (ArmMode.HOME, 2 * PERIOD)
    world.ready(home=2 * PERIOD, stamp=3 * PERIOD)
    assert steps(world.observe(3 * PERIOD))[0].index == 0


@pytest.mark.parametrize("source", ["policy", "override"])
def test_overrides_from_before_a_restart_of_the_source_are_forgotten(source):
    world = World(lockstep=True, source=source)
    world.ready()
    world.actor.on_task(task())
    world.actor.on_override(override(PERIOD, actor=Who.PERSON))
    world.actor.on_override(override(100 * PERIOD, actor=Who.PERSON))
    assert steps(world.observe(100 * PERIOD))[0].actor == Who.PERSON
    world.actor.on_permit("a", 9)
    world.actor.on_image(PERIOD, "image")
    acted = [step.actor for step in steps(world.actor.on_proprioception(PERIOD, proprioception(PERIOD)))]
    assert acted == ([Who.POLICY] if source == "policy" else [])


def test_no_more_is_remembered_than_may_be_needed():
    world = World(lockstep=True)
    for stamp in range(10 * REMEMBERED):
        world.actor.on_proprioception(stamp, proprioception(stamp))
    assert list(world.actor._proprioceptions) == list(range(9 * REMEMBERED, 10 * REMEMBERED))


def test_a_slightly_older_image_is_only_ignored():
    world = World(lockstep=True)
    world.ready()
    world.actor.on_task(task())
    world.observe(100 * PERIOD)
    assert world.observe(99 * PERIOD) == [] and world.warnings == []


def test_random_inputs_keep_the_record_whole():
    """Whatever order messages come in: indices without gaps, at most one command and one action per observation.

    The newest step may be given again, as the very same record.
    """
    for seed in range(60):
        random = np.random.default_rng(seed)
        world = World(lockstep=True, home_retry=0.05)
        world.ready()
        stamp, count, home, said = PERIOD, 0, 0, []
        for _ in range(400):
            world.seconds += 0.02
            kind = random.integers(0, 7)
            if kind == 0:
                count += 1
                said += world.actor.on_task(task(f"{count}", limit=int(random.integers(0, 6)), home=bool(count % 2)))
            elif kind == 1:
                said += world.actor.on_task(IDLE)
            elif kind == 2:
                said += world.actor.on_permit(str(count), int(random.integers(0, 8)))
            elif kind == 3:
                answered = [c for c in commands(said) if c.stamp == stamp]
                if answered:
                    if answered[0].mode == ArmMode.HOME:
                        home = stamp
                    stamp += PERIOD
                said += world.actor.on_image(stamp, "image")
            elif kind == 4:
                said += world.actor.on_proprioception(stamp, proprioception(stamp))
            elif kind == 5:
                said += world.ready(ArmState(int(random.integers(0, 4))), home, stamp)
            else:
                said += world.actor.on_image(stamp, "repeated")
        given = steps(said)
        records = [record for record, before in zip(given, [None, *given], strict=False) if record is not before]
        for name in {record.episode_id for record in records}:
            own = [record for record in records if record.episode_id == name]
            assert [record.index for record in own] == list(range(len(own)))
            assert all(record.action is not None for record in own[:-1])
        acted = [record.stamp for record in records if record.action is not None]
        assert len(acted) == len(set(acted))
        by_stamp: dict[int, set] = {}
        for command in commands(said):
            by_stamp.setdefault(command.stamp, set()).add((command.mode, command.action.tobytes()))
        assert all(len(answers) == 1 for answers in by_stamp.values())
        assert records


def test_an_idle_task_with_home_shows_the_end_of_the_episode_from_home():
    world = World(lockstep=True)
    world.ready()
    world.actor.on_task(task("a"))
    world.observe(PERIOD)
    parking = Task(0, Phase.IDLE, Direction.NONE, "", "", 0, True)
    assert world.actor.on_task(parking) == []
    (home,) = world.observe(2 * PERIOD)
    assert isinstance(home, Command) and home.mode == ArmMode.HOME
    world.ready(ArmState.HOMING, stamp=3 * PERIOD)
    assert world.observe(3 * PERIOD) == []
    world.ready(ArmState.HOLDING, home=2 * PERIOD, stamp=5 * PERIOD)
    (last,) = world.observe(5 * PERIOD)
    assert (last.episode_id, last.index, last.action) == ("a", 1, None)
    # The arm is at home already: the next task need not ask for it, and starts from the same image.
    command, step = world.actor.on_task(task("b"))
    assert command.mode == ArmMode.DELTA and (step.episode_id, step.index, step.stamp) == ("b", 0, 5 * PERIOD)


def test_a_stopped_arm_does_not_keep_the_last_step_back():
    world = World(lockstep=True)
    world.ready()
    world.actor.on_task(task("a"))
    world.observe(PERIOD)
    world.ready(ArmState.STOPPED)
    world.actor.on_task(Task(0, Phase.IDLE, Direction.NONE, "", "", 0, True))
    (last,) = world.observe(2 * PERIOD)
    assert (last.episode_id, last.action) == ("a", None)


def nudge(*actions, limit=0):
    given = tuple(tuple(float(value) for value in action) for action in actions)
    return Task(0, Phase.INTERVENTION, Direction.NONE, "push", "n", limit or len(given), False, given)


def test_a_nudge_is_carried_out_step_by_step_within_the_limits_and_ends_by_itself():
    world = World(policy=False, lockstep=True)  # a nudge needs no policy
    world.ready()
    world.actor.on_task(nudge((0.01, 0, 0, 0, 0, 0, 1), (0.9, 0, -0.9, 0.5, 0, 0, 0)))
    command, step = world.observe(1)
    assert (command.actor, step.actor, step.phase) == (Who.SCRIPT, Who.SCRIPT, Phase.INTERVENTION)
    assert np.allclose(command.action, (0.01, 0, 0, 0, 0, 0, 1))
    assert world.observe(2) == []  # as every other step, it needs its permit
    command, _ = world.actor.on_permit("n", 1)
    limit = SPACE.translation_limit
    assert np.allclose(command.action, (limit, 0, -limit, 0, 0, 0, 0))  # clipped, and its rotation masked
    (last,) = world.observe(3)
    assert last.action is None and last.index == 2
    assert world.observe(4) == []


def test_a_person_comes_before_the_script_and_a_stopped_arm_gets_nothing():
    world = World(lockstep=True)
    world.ready()
    world.actor.on_task(nudge((0.01, 0, 0, 0, 0, 0, 1), (0.01, 0, 0, 0, 0, 0, 1)))
    world.actor.on_override(override(1, (0.0, 0.02, 0, 0, 0, 0, 1), actor=Who.PERSON))
    command, _ = world.observe(1)
    assert command.actor == Who.PERSON and command.action[1] == pytest.approx(0.02)
    world.seconds += 10.0
    world.ready(ArmState.STOPPED)
    world.actor.on_permit("n", 1)
    assert world.observe(2) == []
    assert world.calls == []


def test_an_intervention_without_a_script_moves_nothing():
    world = World(lockstep=True)
    world.ready()
    world.actor.on_task(nudge(limit=3))
    assert world.observe(1) == []


def view(world, camera, stamp):
    return world.actor.on_view(camera, stamp, f"{camera} {stamp}")


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_in_lockstep_the_pictures_of_one_moment_are_acted_upon_in_whatever_order_they_come(order):
    world = World(lockstep=True, further_cameras=("wrist", "side"))
    world.ready()
    world.actor.on_task(task())
    inputs = (
        lambda: world.actor.on_image(PERIOD, "image"),
        lambda: world.actor.on_proprioception(PERIOD, proprioception(PERIOD)),
        lambda: view(world, "side", PERIOD),
        lambda: view(world, "wrist", PERIOD),
    )
    outputs = [inputs[number]() for number in order]
    assert outputs[:3] == [[], [], []]
    command, step = outputs[3]
    assert command.stamp == step.stamp == PERIOD and step.image == "image"
    assert step.views == (f"wrist {PERIOD}", f"side {PERIOD}"), "in the order of the settings"
    assert world.calls == [(("image", *step.views), "instruction of a", False)]


def test_in_lockstep_a_view_of_another_moment_is_not_taken_and_one_that_was_lost_comes_again():
    world = World(lockstep=True, further_cameras=("wrist",))
    world.ready()
    world.actor.on_task(task())
    view(world, "wrist", PERIOD)
    world.observe(PERIOD)
    world.actor.on_permit("a", 9)
    assert world.observe(2 * PERIOD) == [] and not world.warnings
    assert commands(world.actor.on_image(2 * PERIOD, "image again")) == []
    assert "No picture comes from the camera wrist" in world.warnings[0]
    command, step = view(world, "wrist", 2 * PERIOD)
    assert (command.stamp, step.views) == (2 * PERIOD, (f"wrist {2 * PERIOD}",))


def test_the_step_that_shows_the_end_has_the_views_too():
    world = World(lockstep=True, further_cameras=("wrist",))
    world.ready()
    world.actor.on_task(task(limit=1))
    for stamp in (PERIOD, 2 * PERIOD):
        view(world, "wrist", stamp)
        (step,) = steps(world.observe(stamp))
        assert step.views == (f"wrist {stamp}",)
    assert step.action is None


def test_in_real_time_the_newest_view_is_taken_while_it_is_fresh():
    world = World(further_cameras=("wrist",))
    world.ready()
    world.actor.on_task(task())
    assert world.real() == []
    assert "No picture comes from the camera wrist" in world.warnings[0]
    (first,) = steps(view(world, "wrist", world.now))
    (second,) = steps(world.real())  # the view is 0.1 s old
    assert second.views == first.views
    view(world, "wrist", world.now)
    assert steps(world.real())[0].views != first.views
    world.now += 3 * PERIOD
    assert world.observe(world.now) == []
    assert len(world.warnings) == 2


def test_views_of_before_a_restart_of_the_source_are_forgotten():
    world = World(lockstep=True, further_cameras=("wrist",))
    world.ready()
    world.actor.on_task(task())
    late = 10**12
    view(world, "wrist", PERIOD)
    view(world, "wrist", late)
    assert steps(world.observe(late))
    assert world.observe(PERIOD) == []
    world.actor.on_permit("a", 9)
    assert world.observe(PERIOD) == [], "the source shows it again"
    (step,) = steps(view(world, "wrist", PERIOD))
    assert step.stamp == PERIOD
    real = World(further_cameras=("wrist",))
    real.ready()
    real.actor.on_task(task())
    view(real, "wrist", real.now)
    assert real.observe(real.now)
    real.now -= 10**11
    assert real.observe(real.now) == []
    assert real.observe(real.now) == []
    (step,) = steps(view(real, "wrist", real.now))
    assert step.views == (f"wrist {real.now}",)


def test_pictures_are_stacked_along_their_channels_and_must_be_of_one_size():
    first, second = np.zeros((4, 4, 3), np.uint8), np.ones((4, 4, 3), np.uint8)
    assert stacked([first]) is first
    np.testing.assert_array_equal(stacked([first, second])[0, 0], [0, 0, 0, 1, 1, 1])
    with pytest.raises(RobofumeError, match="differ in size"):
        stacked([first, second[:2]])
