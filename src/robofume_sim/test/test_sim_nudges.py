"""The tasks' nudges: within the limits, home afterwards, and what stood at a wall has moved from it."""

import numpy as np
import pytest
from robofume_common.enums import Direction
from robofume_sim.arm_driver import ArmDriver
from robofume_sim.tasks import TASKS
from robofume_sim.tasks.candy_sweeping import SWEETS
from robofume_sim.tasks.nudges import HOME_POSITION, strokes
from robofume_sim.world import World

NUDGED = sorted(name for name, task in TASKS.items() if task.description.nudge)
POTS = [{"pot": (x, y)} for x in (0.200, 0.285, 0.370) for y in (0.123, -0.123)]
AT_THE_WALL = {
    "pot_pick_and_place": POTS,
    "pot_plates": [*POTS[:2], *POTS[-2:]],
    "pot_lid": [{"lid": (x, -0.103)} for x in (0.22, 0.285, 0.35)],
    "candy_sweeping": [
        dict(zip(SWEETS, ((0.19, 0.134), (0.38, 0.134), (0.19, -0.134), (0.38, -0.134), (0.285, -0.134)), strict=True))
    ],
}
"""Places (x, y) [m] of objects that touch the walls, or nearly; scene by scene."""


def nudge(world: World, arm: ArmDriver) -> list[bool]:
    """Carry out the task's nudge as the policy node does; whether each action was accepted."""
    space = world.task.description.action_space
    actions = np.reshape(world.task.description.nudge_actions, (-1, 7)).astype(np.float32)
    return [arm.step(space.to_physical(space.to_normalised(action))) for action in actions]


def test_all_tasks_without_a_cloth_have_one():
    assert sorted(AT_THE_WALL) == NUDGED == sorted(name for name, task in TASKS.items() if not task.has_cloth)


@pytest.mark.parametrize("task", NUDGED)
def test_it_stays_in_the_box_and_within_the_steps_of_the_arm(task):
    description = TASKS[task].description
    steps = np.array(description.nudge)
    places = np.cumsum(np.vstack([HOME_POSITION, steps[:, :3]]), axis=0)
    assert (places >= np.subtract(description.workspace_minimum, 1e-6)).all()
    assert (places <= np.add(description.workspace_maximum, 1e-6)).all()
    assert np.abs(steps[:, :3]).max() <= description.translation_limit
    low = places[:, 2] < description.workspace_minimum[2] + 0.02
    sweeps = low[1:] & low[:-1]
    assert sweeps.any() and np.abs(steps[sweeps, :3]).max() <= 0.03 + 1e-9, "it sweeps gently"


@pytest.mark.parametrize("task", NUDGED)
def test_what_stands_at_a_wall_is_brought_away_from_it_and_stays_on_its_side(task):
    world = World(task)
    lower, upper = (np.array(world.task.description.workspace_minimum), world.task.description.workspace_maximum)
    for places in AT_THE_WALL[task]:
        world.reset(Direction.FORWARD, start={name: np.array([*place, 0.0]) for name, place in places.items()})
        arm = ArmDriver(world)
        np.testing.assert_allclose(world.scene_state().gripper_position, HOME_POSITION, atol=1e-3)
        before = world.truth()
        assert all(nudge(world, arm)), "the envelope refuses nothing"
        reached = world.scene_state().gripper_position
        assert (reached > lower - 0.01).all() and (reached < np.add(upper, 0.01)).all()
        arm.home()
        np.testing.assert_allclose(world.scene_state().gripper_position, HOME_POSITION, atol=1e-3)
        after = world.truth()
        assert (after.forward_success, after.backward_success) == (before.forward_success, before.backward_success)
        assert world.lost_objects() == []
        for name, (x, y) in places.items():
            thing = world.scene_state().objects[name]
            assert abs(y) - abs(thing.position[1]) > 0.02 and y * thing.position[1] > 0.0, (name, x, y)
            assert thing.tilt < 0.2
    world.close()


def test_strokes_begin_where_they_are_told_to_and_the_last_one_ends_high():
    steps = np.array(strokes([((0.3, 0.1), (0.2, 0.1)), ((0.3, -0.1), (0.3, 0.0))], low=0.05, high=0.1))
    places = [tuple(place) for place in (np.add(HOME_POSITION, np.cumsum(steps[:, :3], axis=0))).round(6)]
    ways = [(0.3, 0.1, 0.1), (0.3, 0.1, 0.05), (0.2, 0.1, 0.05), (0.2, 0.1, 0.1), (0.3, -0.1, 0.1), (0.3, 0.0, 0.1)]
    assert [places.index(place) for place in ways] == sorted(places.index(place) for place in ways)
    assert places[-1] == ways[-1] and (steps[:, 3] == 0.0).all()
