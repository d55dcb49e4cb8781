"""The prior tasks: other than the suite's own, and doable."""

import numpy as np
import pytest
from robofume_common.enums import Direction
from robofume_sim.arm_driver import ArmDriver
from robofume_sim.demonstrator import Demonstrator, DemonstratorConfig
from robofume_sim.prior_tasks import ELSEWHERE, THINGS, VARIANTS, PriorTask, look, make_world
from robofume_sim.scene import Appearance
from robofume_sim.tasks import TASKS


def test_there_are_twelve_with_sentences_of_their_own():
    ways = (Direction.FORWARD, Direction.BACKWARD)
    own = {pair.instruction(way) for task in TASKS.values() for pair in task.description.pairs for way in ways}
    sentences = [sentence for variant in VARIANTS for sentence in (variant.forward, variant.backward)]
    assert len({variant.name for variant in VARIANTS}) == 12
    assert len(set(sentences)) == 24
    assert not set(sentences) & own
    assert {variant.thing for variant in VARIANTS} == set(THINGS)


def test_the_scene_is_elsewhere_and_differs_from_day_to_day():
    plain, variant = Appearance(), VARIANTS[0]
    assert np.linalg.norm(np.subtract(ELSEWHERE.camera_position, plain.camera_position)) > 0.25
    assert np.abs(np.subtract(ELSEWHERE.table, plain.table)).max() > 0.3
    assert look(variant, 0) == look(variant, 0) != look(variant, 1)
    assert look(variant, 0).object == variant.colour


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_no_start_is_a_goal(variant):
    task, rng = PriorTask(variant), np.random.default_rng(0)
    for direction in (Direction.FORWARD, Direction.BACKWARD):
        lower, upper = task.zones[direction == Direction.FORWARD]
        for _ in range(50):
            x, y, _ = task.start(direction, rng)["pot"]
            assert not (lower[0] <= x <= upper[0] and lower[1] <= y <= upper[1])


@pytest.mark.parametrize("thing", sorted(THINGS))
def test_each_thing_can_be_carried_there_and_back(thing):
    variant = next(variant for variant in VARIANTS if variant.thing == thing)
    world = make_world(variant, 0)
    arm, hand = ArmDriver(world), Demonstrator(world.task, DemonstratorConfig(0.0, 0.0, 1.0))
    for direction in (Direction.FORWARD, Direction.BACKWARD):
        arm.home()
        hand.begin(direction)
        for _ in range(40):
            arm.step(hand.act(world.scene_state()))
            if world.truth().success(direction):
                break
        assert world.truth().success(direction)
    world.close()
