"""The world: the right arm, the same run under the same seed, honest truth, objects that stay in play."""

import mujoco
import numpy as np
import pytest
from robofume_common.enums import Direction
from robofume_common.errors import RobofumeError
from robofume_sim.arm_driver import ArmDriver
from robofume_sim.sim_config import SimConfig
from robofume_sim.tasks import TASKS, make_task
from robofume_sim.tasks.base import SweepingTask
from robofume_sim.tasks.candy_sweeping import LINE, SWEETS, UP_HEIGHT
from robofume_sim.tasks.pot_lid import POT_HEIGHT, POT_PLACE
from robofume_sim.variations import LOOK, varied
from robofume_sim.world import World, WorldConfig

from robofume_robot import kinematics
from robofume_sim import scene

DIRECTIONS = (Direction.FORWARD, Direction.BACKWARD)


@pytest.fixture(params=sorted(TASKS))
def world(request):
    world = World(request.param)
    yield world
    world.close()


@pytest.fixture(params=sorted(name for name, task in TASKS.items() if not task.has_cloth))
def rigid_world(request):
    world = World(request.param)
    yield world
    world.close()


@pytest.fixture
def pot_world():
    world = World("pot_pick_and_place")
    yield world
    world.close()


@pytest.fixture
def sweets_world():
    world = World("candy_sweeping")
    yield world
    world.close()


def put(world: World, position, quaternion=(1.0, 0.0, 0.0, 0.0)) -> None:
    """Put the task's object somewhere, at rest."""
    address = world.model.joint(f"{world.task.object_names[0]}_x").qposadr[0]
    world.data.qpos[address : address + 7] = (*position, *quaternion)
    mujoco.mj_forward(world.model, world.data)


def test_the_arm_is_the_one_that_the_kinematics_solve(pot_world):
    generator = np.random.default_rng(0)
    for _ in range(50):
        joints = generator.uniform(kinematics.JOINT_LOWER, kinematics.JOINT_UPPER)
        pot_world.data.qpos[pot_world._joints[:6]] = joints
        mujoco.mj_kinematics(pot_world.model, pot_world.data)
        pose = kinematics.forward_kinematics(joints)
        np.testing.assert_allclose(pot_world.data.site("gripper").xpos, pose[:3, 3], atol=1e-6)
        np.testing.assert_allclose(pot_world.data.site("gripper").xmat.reshape(3, 3), pose[:3, :3], atol=1e-6)
    for name, lower, upper in zip(
        kinematics.ARM_JOINT_NAMES, kinematics.JOINT_LOWER, kinematics.JOINT_UPPER, strict=True
    ):
        np.testing.assert_allclose(pot_world.model.joint(name).range, (lower, upper), atol=1e-4)


def test_same_seed_same_states_and_images(world):
    def course(world: World, seed: int):
        arm = ArmDriver(world)
        generator = np.random.default_rng(5)
        world.reset(Direction.FORWARD, seed)
        arm.forget()
        seen = []
        for _ in range(15):
            space = world.task.description.action_space
            arm.step(space.to_physical(generator.uniform(-1, 1, space.dimension)))
            seen.append((world.data.qpos.tobytes(), world.render().tobytes()))
        return seen

    other = World(world.task.description.name)
    first = course(world, 3)
    assert course(other, 3) == first
    assert course(world, 3) == first, "what happened before the reset shows"
    assert course(world, 4) != first
    other.close()


def test_starts_follow_from_the_seed_of_the_configuration(pot_world):
    def place(world: World):
        return world.scene_state().objects["pot"].position.tolist()

    again = World("pot_pick_and_place")
    assert place(again) == place(pot_world)
    for direction in (Direction.FORWARD, Direction.BACKWARD, Direction.BACKWARD):
        again.reset(direction)
        pot_world.reset(direction)
        assert place(again) == place(pot_world)
    assert place(World("pot_pick_and_place", WorldConfig(seed=1))) != place(World("pot_pick_and_place"))


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_starts_are_not_goals_and_can_be_reached(world, direction):
    description = world.task.description
    places = []
    for seed in range(8 if world.task.has_cloth else 40):
        world.reset(direction, seed)
        truth, state = world.truth(), world.scene_state()
        assert not truth.success(direction)
        assert truth.success(direction.opposite), "each direction starts where the other one ends"
        assert 0.0 <= truth.score(direction) < 1.0 == truth.score(direction.opposite)
        generator = np.random.default_rng(seed)
        place = world.task.place_point(direction, generator)
        if isinstance(world.task, SweepingTask):
            stroke = world.task.stroke(state, direction, place)
            way = (stroke.begin, stroke.end)
        else:
            transfer = world.task.transfer(state, direction, place)
            way = (transfer.grasp, transfer.place)
        for point in way:
            assert np.all(point > description.workspace_minimum)
            assert np.all(point < description.workspace_maximum)
        places.append(way[0][:2])
    assert np.ptp(places, axis=0).min() > 0.02, "starts have no spread"


def test_a_pot_in_the_air_on_the_divider_or_in_the_hand_is_no_success(pot_world):
    pot_world.reset(Direction.FORWARD, 0)
    put(pot_world, (0.28, 0.08, 0.0))
    assert pot_world.truth().forward_success
    assert not pot_world.truth().backward_success
    put(pot_world, (0.28, 0.08, 0.05))
    assert not pot_world.truth().forward_success
    put(pot_world, (0.28, 0.01, 0.0))
    truth = pot_world.truth()
    assert not truth.forward_success
    assert not truth.backward_success
    # the hand around it, open, has not let go of it
    pose = kinematics.pose_from_vector([0.28, 0.08, 0.03, 0, 0, 0])
    joints = kinematics.inverse_kinematics(pose, pot_world.joint_positions[:6]).joint_positions
    pot_world.data.qpos[pot_world._joints[:6]] = joints
    put(pot_world, (0.28, 0.08, 0.0))
    assert not pot_world.truth().forward_success


@pytest.mark.parametrize("x", [0.2, 0.25, 0.31, 0.37])
def test_no_place_on_the_divider_keeps_the_pot(pot_world, x):
    for y in np.linspace(-0.02, 0.02, 9):
        pot_world.reset(Direction.FORWARD, 0)
        put(pot_world, (x, y, 0.01))
        pot_world.advance(4.0)
        truth = pot_world.truth()
        assert truth.forward_success or truth.backward_success, (x, y)


@pytest.mark.parametrize("quaternion", [(0.7071, 0.7071, 0, 0), (0.7071, 0, 0.7071, 0), (0.05, 0.9987, 0, 0)])
def test_toppled_objects_right_themselves(rigid_world, quaternion):
    rigid_world.reset(Direction.FORWARD, 0)
    put(rigid_world, (0.29, -0.07, 0.06), quaternion)
    rigid_world.advance(4.0)
    state = rigid_world.scene_state().objects[rigid_world.task.object_names[0]]
    assert state.tilt < 0.15
    assert abs(state.position[2]) < 0.005


def test_sweets_count_one_by_one_and_only_behind_the_line():
    world = World("candy_sweeping")
    swept = np.array([0.20, LINE + 0.03, 0.0])
    for count in range(len(SWEETS) + 1):
        places = {name: swept + (0.03 * i, 0.0, 0.0) for i, name in enumerate(SWEETS)}
        for name in SWEETS[count:]:
            places[name][1] = LINE - 0.004  # on the line is not behind it
        world.reset(Direction.FORWARD, start=places)
        assert world.scene_state().gripper_position[2] > UP_HEIGHT
        truth = world.truth()
        assert truth.forward_score == pytest.approx(count / len(SWEETS))
        assert truth.forward_success == (count == len(SWEETS)), "0.9 of five sweets are five"
        assert not truth.backward_success and truth.backward_score == 0.0
    # the brush among them: nobody could see that they are there to stay
    pose = kinematics.pose_from_vector([0.28, 0.10, UP_HEIGHT - 0.01, 0, 0, 0])
    world.data.qpos[world._joints[:6]] = kinematics.inverse_kinematics(pose, world.joint_positions[:6]).joint_positions
    mujoco.mj_forward(world.model, world.data)
    assert world.truth().forward_score == 1.0 and not world.truth().forward_success


def test_a_brush_on_a_sweet_gives_way():
    world = World("candy_sweeping")
    places = {name: np.array([0.20 + 0.035 * i, -0.09, 0.0]) for i, name in enumerate(SWEETS)}
    world.reset(Direction.FORWARD, start=places)
    arm = ArmDriver(world)
    for _ in range(12):
        gripper = world.scene_state().gripper_position
        delta = np.clip((0.27, -0.09, 0.043) - gripper, -0.05, 0.05)
        arm.step(np.array([*delta, 0, 0, 0, 1.0]))
    assert world.data.joint("brush").qpos[0] < -0.005, "the brush is not on a sweet"
    assert world.lost_objects() == []
    assert min(thing.position[2] for thing in world.scene_state().objects.values()) > -0.004


def test_thrown_objects_stay_in_the_arena(rigid_world):
    generator = np.random.default_rng(0)
    degree = rigid_world.model.joint(f"{rigid_world.task.object_names[0]}_x").dofadr[0]
    for seed in range(20):
        rigid_world.reset(Direction.FORWARD, seed)
        rigid_world.data.qvel[degree : degree + 3] = generator.normal(0.0, 2.0, 3)
        for _ in range(10):
            rigid_world.advance(0.2)
            assert rigid_world.lost_objects() == []


def test_a_lost_object_is_noticed(pot_world):
    put(pot_world, (0.6, 0.0, 0.0))
    assert pot_world.lost_objects() == ["pot"]


GOOD = [0.0, -0.3, 0.45, 0.0, 1.43, 0.0, 0.037, 0.037]


@pytest.mark.parametrize(
    ("positions", "times"),
    [
        ([], []),
        ([GOOD[:7]], [0.2]),
        ([[*GOOD[:7], np.nan]], [0.2]),
        ([[np.inf, *GOOD[1:]]], [0.2]),
        ([GOOD], [0.0]),
        ([GOOD], [-1.0]),
        ([GOOD], [np.nan]),
        ([GOOD, GOOD], [0.2, 0.2]),
        ([GOOD], [0.2, 0.4]),
        ([GOOD], [1e6]),
    ],
)
def test_bad_trajectories_are_refused_and_change_nothing(pot_world, positions, times):
    before = pot_world.stamp
    with pytest.raises(RobofumeError, match="joint trajectory"):
        pot_world.play(positions, times)
    assert pot_world.stamp == before


def test_targets_outside_the_joint_limits_are_cut(pot_world):
    pot_world.step([100.0, -0.3, 0.45, 0.0, 1.43, 0.0, 1.0, -1.0])
    assert np.all(pot_world.data.ctrl[:6] <= kinematics.JOINT_UPPER)
    assert pot_world.data.ctrl[6] == kinematics.FINGER_OPEN
    assert pot_world.data.ctrl[7] == kinematics.FINGER_CLOSED


def test_a_trajectory_is_played_to_its_end_in_whole_periods(pot_world):
    target = np.array(GOOD) + [0.3, 0, 0, 0, 0, 0, 0, 0]
    before = pot_world.stamp
    pot_world.play([GOOD, target], [0.25, 0.7])
    assert pot_world.stamp - before == 800_000_000
    np.testing.assert_allclose(pot_world.joint_positions, target, atol=0.003)


def test_deltas_are_followed_within_two_millimetres(pot_world):
    arm = ArmDriver(pot_world)
    for delta in ([0.05, 0.03, -0.05], [0.03, -0.05, -0.05], [-0.05, 0.0, 0.05]):
        before = arm.proprioception()
        assert arm.step(np.array([*delta, 0, 0, 0, 1.0]))
        np.testing.assert_allclose(arm.proprioception()[:3] - before[:3], delta, atol=0.002)


def test_the_picture_shows_the_object_and_the_look_can_vary():
    plain = World("pot_pick_and_place", WorldConfig(image_width=64, image_height=48))
    picture = plain.render().astype(int)
    assert picture.shape == (48, 64, 3)
    red = (picture[..., 0] > 100) & (picture[..., 1:].max(axis=-1) < 60)
    assert red.sum() >= 15, "the red pot is hardly visible"
    look, _ = varied(LOOK, 1)
    other = World("pot_pick_and_place", WorldConfig(image_width=64, image_height=48, appearance=look))
    assert np.abs(other.render().astype(int) - picture).mean() > 5
    assert varied(LOOK, 1, 0.0)[0] == scene.Appearance()


def test_an_unknown_task_is_named_with_the_known_ones():
    with pytest.raises(RobofumeError, match="candy_sweeping, cloth_covering, cloth_folding, pot_lid"):
        make_task("cook_dinner")


@pytest.mark.parametrize("period", [0.05, 0.015, 0.21])
def test_a_control_period_that_the_servos_cannot_keep_is_refused(period):
    with pytest.raises(RobofumeError, match="multiple of"):
        World("pot_pick_and_place", WorldConfig(control_period=period))
    with pytest.raises(RobofumeError, match="multiple of"):
        SimConfig(control_period=period)


@pytest.fixture
def lid_world():
    world = World("pot_lid")
    yield world
    world.close()


def lay_beside_the_pot(world: World, degrees: float, apart: float) -> None:
    angle = np.radians(degrees)
    place = np.array(POT_PLACE) + apart * np.array([np.cos(angle), np.sin(angle)])
    world.reset(Direction.FORWARD, seed=0, start={"lid": np.append(place, 0.0 if apart > 0.08 else POT_HEIGHT)})
    world.advance(1.0)


@pytest.mark.parametrize("degrees", (-150.0, -90.0, -30.0))
def test_a_lid_flat_on_the_table_against_the_pot_is_off_it(lid_world, degrees):
    # The wall of the pot reaches in between two feet of the lid: it is nearer than the sum of both radii.
    lay_beside_the_pot(lid_world, degrees, 0.085)
    truth = lid_world.truth()
    assert truth.backward_success and truth.backward_score == 1.0 and not truth.forward_success


@pytest.mark.parametrize("apart", (0.05, 0.06, 0.065, 0.07))
def test_a_lid_that_leans_on_the_rim_is_neither_on_nor_off(lid_world, apart):
    for degrees in (-150.0, -90.0, 30.0):
        lay_beside_the_pot(lid_world, degrees, apart)
        truth = lid_world.truth()
        assert not truth.forward_success and not truth.backward_success
        assert max(truth.forward_score, truth.backward_score) < 1.0


def test_arranged_lids_lie_on_both_sides_of_both_borders(lid_world):
    generator = np.random.default_rng(0)
    found = []
    for _ in range(60):
        lid_world.arrange(lid_world.task.arranged(generator), lid_world.task.arranged_settling)
        truth, lid = lid_world.truth(), lid_world.scene_state().objects["lid"]
        apart = float(np.hypot(*(lid.position[:2] - POT_PLACE)))
        found.append((truth.forward_success, truth.backward_success, apart))
        assert not (truth.forward_success and truth.backward_success) and not lid_world.lost_objects()
    forward, backward, apart = map(np.array, zip(*found, strict=True))
    assert forward.sum() > 8 and backward.sum() > 4 and (~forward & ~backward).sum() > 20
    assert apart[forward].min() > 0.005 and apart[backward].max() < 0.11, "not where demonstrations show it anyway"


def test_arranged_pots_are_held_on_the_divider_or_stand_right_beside_it(pot_world):
    generator, found = np.random.default_rng(0), []
    for _ in range(60):
        places = pot_world.task.arranged(generator)
        pot_world.arrange(places, pot_world.task.arranged_settling)
        truth, pot = pot_world.truth(), pot_world.scene_state().objects["pot"]
        np.testing.assert_allclose(pot.position, places["pot"], atol=1e-9)
        across = pot.position[1]
        expected = (across > 0, across < 0) if pot.position[2] == 0.0 else (False, False)
        assert (truth.forward_success, truth.backward_success) == expected
        found.append(expected)
    forward, backward = np.sum(found, axis=0)
    assert forward > 8 and backward > 8 and 60 - forward - backward > 20


@pytest.mark.parametrize("across", (-0.0179, -0.0182, 0.0179, 0.0195))
def test_a_pot_that_came_to_rest_leaning_on_the_divider_is_on_its_side(pot_world, across):
    pot_world.arrange({"pot": np.array([0.29, across, 0.003])}, settling=1.0)
    truth, pot = pot_world.truth(), pot_world.scene_state().objects["pot"]
    assert pot.tilt > 0.1 and np.linalg.norm(pot.velocity) < 1e-3
    assert (truth.forward_success, truth.backward_success) == (across > 0, across < 0)
    assert (truth.forward_score == 1.0, truth.backward_score == 1.0) == (across > 0, across < 0)


def test_what_is_arranged_without_settling_falls_only_when_time_goes_on(pot_world):
    begin = pot_world.data.time
    pot_world.arrange({"pot": np.array([0.29, 0.004, 0.006])})
    assert pot_world.data.time == begin
    pot_world.advance(1.0)
    assert abs(pot_world.scene_state().objects["pot"].position[1]) > 0.018


def test_arranged_sweets_are_swept_but_for_one_or_two(sweets_world):
    world, generator, found, where = sweets_world, np.random.default_rng(0), [], []
    for _ in range(80):
        world.arrange(world.task.arranged(generator), world.task.arranged_settling)
        truth, sweets = world.truth(), world.scene_state().objects
        across = np.array([sweets[name].position[1] for name in SWEETS])
        side = 1.0 if (across > 0).sum() > 2 else -1.0
        left = side * across < LINE
        assert not world.lost_objects() and left.sum() <= 2
        assert truth.success(Direction.FORWARD if side > 0 else Direction.BACKWARD) == (not left.any())
        found.append((left.sum(), side))
        where.append(np.where(left, side * across, np.nan))
    count, side = np.array(found).T
    assert all(np.sum(count == n) > 8 for n in (0, 1, 2)) and 20 < np.sum(side > 0) < 60
    assert (np.isfinite(where).sum(axis=0) > 8).all(), "each sweet is left over now and then"
    assert np.nanmax(where) > -0.01, "just short of the line"
    where = np.array(where)
    at_wall = np.mean(where[np.isfinite(where)] < -0.118)
    assert 0.15 < at_wall < 0.5, "and often at the wall opposite, where an even spread would have a tenth"


def test_other_tasks_arrange_nothing(world):
    arranges = world.task.description.name in ("pot_lid", "pot_pick_and_place", "candy_sweeping", "cloth_covering")
    assert (world.task.arranged(np.random.default_rng(0)) is None) == (not arranges)
