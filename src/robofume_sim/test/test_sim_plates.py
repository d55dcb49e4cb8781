"""A scene of two tasks: where the first has succeeded the second starts."""

import pytest
from robofume_common.enums import Direction
from robofume_common.errors import RobofumeError
from robofume_sim.arm_driver import ArmDriver
from robofume_sim.demonstrator import Demonstrator, DemonstratorConfig
from robofume_sim.world import World

FORWARD, BACKWARD = Direction.FORWARD, Direction.BACKWARD
FIRST, SECOND = "pot_plates", "pot_to_the_left"
EXACT = DemonstratorConfig(action_noise=0.0, grasp_offset=0.0, speed=1.0)


@pytest.fixture
def world():
    world = World("pot_plates")
    yield world
    world.close()


def truths(world):
    """What is reached, of the four directions."""
    state = world.scene_state()
    return {
        (name, direction)
        for name in (FIRST, SECOND)
        for direction in (FORWARD, BACKWARD)
        if world.task.pair(name).truth(state).success(direction)
    }


RIGHT, MIDDLE, LEFT = {(FIRST, BACKWARD)}, {(FIRST, FORWARD), (SECOND, BACKWARD)}, {(SECOND, FORWARD)}


def test_each_direction_starts_where_another_has_succeeded(world):
    for seed in range(1, 6):
        for name, direction, place in (
            (FIRST, FORWARD, RIGHT), (FIRST, BACKWARD, MIDDLE), (SECOND, FORWARD, MIDDLE), (SECOND, BACKWARD, LEFT),
        ):  # fmt: skip
            world.reset(direction, seed, task=name)
            assert truths(world) == place


def test_scripts_walk_the_chain_there_and_back(world):
    arm = ArmDriver(world)
    for name, direction, place in (
        (FIRST, FORWARD, MIDDLE), (SECOND, FORWARD, LEFT), (SECOND, BACKWARD, MIDDLE), (FIRST, BACKWARD, RIGHT),
    ):  # fmt: skip
        arm.home()
        task = world.task.pair(name)
        script = Demonstrator(task, EXACT)
        script.begin(direction)
        for _ in range(task.description.step_limit):
            arm.step(script.act(world.scene_state()))
            if world.task.pair(name).truth(world.scene_state()).success(direction):
                break
        assert truths(world) == place


def test_a_task_that_is_not_in_the_scene_is_named(world):
    with pytest.raises(RobofumeError, match="no task 'pot_lid' in the scene of pot_plates"):
        world.reset(FORWARD, task="pot_lid")
