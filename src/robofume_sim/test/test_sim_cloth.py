"""The cloth: its geometry, when the hand holds it and when not, and that the script does its tasks."""

from dataclasses import replace

import numpy as np
import pytest
from robofume_common.enums import Direction
from robofume_sim.arm_driver import ArmDriver
from robofume_sim.demonstrator import Demonstrator, DemonstratorConfig, measure
from robofume_sim.tasks import cloth_folding
from robofume_sim.tasks.cloth_covering import BLOCK_HALF, BLOCK_PLACE, top_points
from robofume_sim.world import World, WorldConfig

from robofume_sim import cloth

STILL = DemonstratorConfig(action_noise=0.0, grasp_offset=0.0)
SQUARE = np.array([[0.0, 0.0, 0.1], [1.0, 0.0, 0.1], [1.0, 1.0, 0.3], [0.0, 1.0, 0.3], [0.0, 0.0, 0.5], [0.5, 0.0, 0.5],
                   [0.0, 0.5, 0.5]])  # fmt: skip
TRIANGLES = np.array([[0, 1, 2], [0, 2, 3], [4, 5, 6]])


def test_heights_are_those_of_the_highest_layer():
    points = np.array([[0.9, 0.5], [0.1, 0.1], [0.5, 1.5], [-0.1, 0.5]])
    np.testing.assert_allclose(cloth.heights(SQUARE, TRIANGLES, points), [0.2, 0.5, -np.inf, -np.inf])


def test_a_triangle_on_edge_covers_nothing():
    upright = np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.5, 0.0, 1.0]])
    assert cloth.heights(upright, np.array([[0, 1, 2]]), np.array([[0.5, 0.0]]))[0] == -np.inf


def go(world: World, arm: ArmDriver, place, opening: float, steps: int = 8) -> None:
    """Bring the gripper to a place (3,) [m] with that opening."""
    for _ in range(steps):
        delta = np.clip(np.asarray(place) - world.scene_state().gripper_position, -0.05, 0.05)
        arm.step(np.array([*delta, 0, 0, 0, opening]))


def held(world: World) -> int:
    """How many vertices the hand holds."""
    return int(world.data.eq_active.sum())


def test_the_hand_holds_what_both_fingers_close_on_until_it_opens():
    world = World("cloth_folding")
    world.reset(Direction.FORWARD, 0)
    arm = ArmDriver(world)
    plan = world.task.transfer(world.scene_state(), Direction.FORWARD, np.zeros(3))
    over = plan.grasp + (0.0, 0.0, 0.06)
    go(world, arm, over, 1.0)
    go(world, arm, over, 0.0, 2)
    assert held(world) == 0, "closed in the air"
    go(world, arm, plan.grasp, 0.0, 4)
    go(world, arm, over, 0.0, 3)
    assert held(world) == 0, "was closed before it came down"
    beside = plan.grasp + (0.11, -0.02, 0.0)
    go(world, arm, beside, 1.0)
    go(world, arm, beside, 0.0, 2)
    assert held(world) == 0, "beside the cloth"
    go(world, arm, over, 1.0)
    go(world, arm, plan.grasp, 1.0, 4)
    go(world, arm, plan.grasp, 0.0, 2)
    assert 1 <= held(world) <= 3, "the line between the fingers"
    assert world.scene_state().held
    go(world, arm, over, 0.0, 3)
    assert world.scene_state().cloth[:, 2].max() > 0.04
    go(world, arm, over, 1.0, 3)
    assert held(world) == 0
    assert world.scene_state().cloth[:, 2].max() < 0.03, "it fell"


@pytest.mark.parametrize("task", ["cloth_covering", "cloth_folding"])
def test_without_imperfection_the_script_does_and_undoes_it(task):
    world = World(task)
    arm = ArmDriver(world)
    script = Demonstrator(world.task, STILL)
    for direction in (Direction.FORWARD, Direction.BACKWARD):
        arm.home()
        script.begin(direction)
        for _ in range(world.task.description.demonstration_step_limit):
            arm.step(script.act(world.scene_state()))
            if world.truth().success(direction):
                break
        assert world.truth().success(direction)
        assert world.lost_objects() == []


@pytest.mark.parametrize("task", ["cloth_covering", "cloth_folding"])
def test_it_often_succeeds_without_resets_and_fails_on_purpose(task):
    report = measure(task, 8)
    assert report.successes.mean() >= 0.5 and report.lost == 0
    assert measure(task, 6, DemonstratorConfig(failure_share=1.0)).successes.mean() < 0.3


@pytest.mark.parametrize("task", ["cloth_covering", "cloth_folding"])
def test_random_actions_do_not_lose_the_cloth(task):
    world = World(task)
    arm = ArmDriver(world)
    generator = np.random.default_rng(0)
    space = world.task.description.action_space
    lower, upper = world.task.description.workspace_minimum, world.task.description.workspace_maximum
    for _ in range(80):
        arm.step(space.to_physical(generator.uniform(-1, 1, space.dimension)))
        assert world.lost_objects() == []
    places = world.scene_state().cloth[:, :2]
    reachable = np.all((places > lower[:2]) & (places < upper[:2]), axis=1)
    assert reachable.mean() > 0.5


def test_the_hand_holds_a_folding_cloth_by_its_corner_alone():
    world = World("cloth_folding")
    world.reset(Direction.FORWARD, 0)
    arm = ArmDriver(world)
    for name, count in ((cloth_folding.MIDDLE, 0), (cloth_folding.STAYING, 0), (cloth_folding.INSIDE_MOVING, 1)):
        place = world.scene_state().objects[name].position * (1.0, 1.0, 0.0)
        go(world, arm, place + (0.0, 0.0, 0.06), 1.0)
        go(world, arm, place + (0.0, 0.0, 0.017), 1.0, 4)
        go(world, arm, place + (0.0, 0.0, 0.017), 0.0, 2)
        assert min(held(world), 1) == count, name


def test_a_fold_is_seen_whole_and_from_both_sides():
    """Folded, unfolded, and what is neither: a cloth that is laid double over its other diagonal is no fold."""
    world = World("cloth_folding")
    for direction in (Direction.FORWARD, Direction.BACKWARD):
        world.reset(direction, 2)
        assert world.truth().success(direction.opposite) and not world.truth().success(direction)
    points = cloth.grid()
    double = np.where((points.sum(axis=1) > 1e-9)[:, None], -points[:, ::-1], points)
    high = np.where(points.sum(axis=1) > 1e-9, 3.2, 1.0) * cloth.RADIUS
    world.reset(Direction.FORWARD, start=cloth.laid(double, 0.285, 0.0, -0.785, high))
    assert not world.truth().forward_success and not world.truth().backward_success


def test_arranged_cloths_lie_on_both_sides_of_both_borders():
    world = World("cloth_covering")
    generator = np.random.default_rng(0)
    truths = []
    for _ in range(40):
        world.arrange(world.task.arranged(generator), world.task.arranged_settling)
        truths.append(world.truth())
    assert 8 <= sum(truth.forward_success for truth in truths) <= 24
    assert sum(truth.backward_success for truth in truths) >= 2
    neither = [truth for truth in truths if not truth.forward_success and not truth.backward_success]
    assert sum(truth.forward_score > 0.25 for truth in neither) >= 3, "more than half covered, and not enough"
    assert sum(truth.backward_score > 0.25 for truth in neither) >= 3, "less than half, and not off"
    assert all(truth.backward_score < 0.46 for truth in neither), "none whose edge just touches the block"


def test_half_of_the_scenes_for_demonstrations_are_half_done():
    world = World("cloth_covering", WorldConfig(half_done=True))
    for direction in (Direction.FORWARD, Direction.BACKWARD):
        half = 0
        for _ in range(16):
            world.reset(direction)
            truth = world.truth()
            assert not truth.success(direction)
            half += not truth.success(direction.opposite)
        assert 4 <= half <= 12, direction
        world.reset(direction, 3)  # a scene that somebody asked for, as evaluation does
        assert world.truth().success(direction.opposite)


def test_the_block_that_is_seen_shows_where_it_counts_as_bare():
    world = World("cloth_covering")
    felt, seen = (world.model.geom(name) for name in ("block", "block_seen"))
    assert felt.rgba[3] == 0.0 and seen.rgba[3] == 1.0
    assert seen.contype[0] == 0 and seen.conaffinity[0] == 0
    np.testing.assert_allclose(seen.size[:2], np.abs(top_points(BLOCK_HALF) - BLOCK_PLACE).max())
    lid = seen.pos[2] + seen.size[2]
    world.reset(Direction.BACKWARD, 1)
    state = world.scene_state()
    for above, covered in ((0.0005, True), (-0.0005, False)):
        laid = cloth.laid(cloth.grid(), *BLOCK_PLACE, 0.0, lid + above)
        assert world.task.truth(replace(state, cloth=np.array(list(laid.values())))).forward_success == covered


def test_a_cloth_beside_the_block_covers_nothing_and_half_over_it_is_neither():
    world = World("cloth_covering")
    place = np.array([0.285, 0.065])
    for across, forward, backward in ((0.0, True, False), (-0.07, False, False), (-0.13, False, True)):
        start = cloth.laid(cloth.grid(), place[0], place[1] + across, 0.0, cloth.RADIUS + 0.025 * (across > -0.1))
        world.reset(Direction.FORWARD, start=start)
        world.advance(1.0)
        assert (world.truth().forward_success, world.truth().backward_success) == (forward, backward), across
