"""Variations: each changes what it names and nothing else, and follows from its seed."""

from dataclasses import replace

import numpy as np
import pytest
from robofume_common.enums import Direction
from robofume_common.errors import RobofumeError
from robofume_sim.arm_driver import ArmDriver
from robofume_sim.demonstrator import Demonstrator, DemonstratorConfig
from robofume_sim.environment import RobofumeEnv
from robofume_sim.scene import Appearance
from robofume_sim.tasks import TASKS
from robofume_sim.tasks.base import Truth
from robofume_sim.tasks.cloth_covering import BLOCK_HALF, BLOCK_HEIGHT, BLOCK_PLACE
from robofume_sim.tasks.cloth_folding import DIAGONAL, FOLDED, MOVING, STAYING
from robofume_sim.variations import KINDS, LOOK, Build, varied
from robofume_sim.world import World, WorldConfig

from robofume_sim import cloth

FIELDS = {
    "background": {"background", "table"},
    "light": {"light", "light_position"},
    "colours": {"edge", "tray", "object"},
    "texture": {"texture", "texture_contrast"},
    "camera": {"camera_position", "camera_target", "camera_field_of_view"},
    "gripper_length": {"gripper_length"},
    "base_offset": {"base_offset"},
    "object_shape": {"object_width", "object_height"},
}


def open_world(task: str, *kinds: str, seed: int = 3) -> World:
    look, build = varied(kinds, seed)
    world = World(task, WorldConfig(image_width=64, image_height=64, appearance=look, build=build))
    world.reset(Direction.FORWARD, 1)
    return world


def changed(kinds, seed=3, amount=1.0) -> set[str]:
    plain = vars(Appearance()) | vars(Build())
    look, build = varied(kinds, seed, amount)
    return {name for name, value in (vars(look) | vars(build)).items() if value != plain[name]}


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_changes_what_it_names_whichever_others_vary(kind):
    assert changed((kind,)) == FIELDS[kind]
    assert changed((kind,), amount=0.0) == set()
    assert varied((kind,), 3) == varied((kind,), 3) != varied((kind,), 4)
    alone, together = (vars(part) for part in varied((kind,), 3)), (vars(part) for part in varied(KINDS, 3))
    alone, together = ({k: v for part in parts for k, v in part.items()} for parts in (alone, together))
    assert all(together[name] == alone[name] for name in FIELDS[kind])


def test_an_unknown_kind_or_amount_gets_a_sentence_and_a_kind_counts_once():
    for amount in (-1.0, 3.5, float("nan")):
        with pytest.raises(RobofumeError, match="varies by 0 to 3"):
            varied(LOOK, 0, amount)
    assert varied(("camera", "camera"), 0) == varied(("camera",), 0)
    with pytest.raises(RobofumeError, match="no variation weather; choose from: background"):
        varied(("weather",), 0)


LOOKS = [*LOOK, "texture"]


@pytest.mark.parametrize(
    ("task", "kinds"),
    [*(("pot_pick_and_place", (kind,)) for kind in LOOKS), *((task, LOOKS) for task in sorted(TASKS))],
)
def test_a_look_changes_the_picture_and_not_the_course(task, kinds):
    plain, other = open_world(task), open_world(task, *kinds)
    assert np.abs(plain.render().astype(int) - other.render()).mean() > 1.5
    for world in (plain, other):
        arm = ArmDriver(world)
        script = Demonstrator(world.task, DemonstratorConfig(seed=2))
        for _ in range(12):
            arm.step(script.act(world.scene_state()))
    assert np.array_equal(plain.data.qpos, other.data.qpos)


@pytest.mark.parametrize("task", sorted(TASKS))
def test_the_same_seed_gives_the_same_world(task):
    worlds = [open_world(task, *KINDS, seed=seed) for seed in (5, 5, 6)]
    for world in worlds:
        arm = ArmDriver(world)
        for _ in range(3):
            arm.step(np.array([0.02, 0.03, -0.05, 0, 0, 0, 1.0]))
    states = [world.data.qpos.tobytes() for world in worlds]
    pictures = [world.render().tobytes() for world in worlds]
    assert states[0] == states[1] and pictures[0] == pictures[1]
    assert states[0] != states[2] and pictures[0] != pictures[2]


@pytest.mark.parametrize("task", ["candy_sweeping", "cloth_folding", "pot_lid"])
def test_longer_fingers_reach_lower_and_the_arm_does_not_know(task):
    def lowest(world: World) -> float:
        names = ("brush",) if world.task.tool_names else ("left_finger_pad",)
        if world.task.tool_names:
            return float(world.data.body(names[0]).xpos[2])
        pad = world.model.geom(names[0])
        tip = world.data.geom(names[0]).xpos + world.data.geom(names[0]).xmat.reshape(3, 3)[:, 0] * pad.size[0]
        return float(tip[2])

    plain = World(task)
    longer = World(task, WorldConfig(build=Build(gripper_length=0.005)))
    assert lowest(plain) - lowest(longer) == pytest.approx(0.005, abs=5e-4)
    np.testing.assert_allclose(ArmDriver(plain).proprioception(), ArmDriver(longer).proprioception(), atol=1e-3)
    assert np.array_equal(plain.scene_state().gripper_position.round(3), longer.scene_state().gripper_position.round(3))


def test_an_arm_that_stands_elsewhere_does_not_know():
    plain, moved = World("pot_lid"), World("pot_lid", WorldConfig(build=Build(base_offset=(0.01, -0.012))))
    apart = moved.scene_state().gripper_position - plain.scene_state().gripper_position
    np.testing.assert_allclose(apart, (0.01, -0.012, 0.0), atol=1e-4)
    np.testing.assert_allclose(ArmDriver(moved).proprioception(), ArmDriver(plain).proprioception(), atol=1e-4)


@pytest.mark.parametrize("task", sorted(TASKS))
def test_objects_of_another_shape_stand_and_can_be_moved(task):
    for width, height in ((0.9, 1.15), (1.1, 0.85)):
        world = World(task, WorldConfig(build=Build(object_width=width, object_height=height)))
        arm, script = ArmDriver(world), Demonstrator(world.task, DemonstratorConfig(action_noise=0.0, grasp_offset=0.0))
        done = 0
        for seed in range(3):
            world.reset(Direction.FORWARD, seed)
            assert world.truth().backward_success, "what stands still stands"
            arm.forget()
            script.begin(Direction.FORWARD)
            for _ in range(world.task.description.demonstration_step_limit):
                arm.step(script.act(world.scene_state()))
                if world.truth().forward_success:
                    break
            done += world.truth().forward_success
            assert world.lost_objects() == []
        assert done >= 2


def test_a_larger_cloth_has_larger_thresholds():
    def truth(size: float, corners_apart: float) -> Truth:
        """Of a cloth of that size whose corner that moves is so far from the other one, as a share of the diagonal."""
        world = World("cloth_folding", WorldConfig(build=Build(object_width=size, object_height=0.5)))
        world.reset(Direction.FORWARD, 1)
        places = {name: thing.position for name, thing in world.scene_state().objects.items()}
        diagonal = np.linalg.norm(places[MOVING] - places[STAYING])
        assert diagonal == pytest.approx(size * DIAGONAL, rel=0.01)
        assert world.scene_state().cloth[:, 2].max() < 0.005, "a cloth has no height"
        state = world.scene_state()
        along = (places[MOVING] - places[STAYING]) / diagonal
        moved = replace(state.objects[MOVING], position=places[STAYING] + corners_apart * DIAGONAL * along)
        return world.task.truth(replace(state, objects=state.objects | {MOVING: moved}))

    share = FOLDED / DIAGONAL
    assert [truth(size, 0.9).backward_success for size in (0.8, 1.0, 1.2)] == [True, True, False]
    assert [truth(size, 1.1 * share).forward_success for size in (0.8, 1.0, 1.2)] == [False, False, True]


def test_a_block_of_another_shape_is_covered_as_far_as_it_reaches():
    for width, height in ((1.0, 1.0), (1.3, 0.6), (0.7, 1.4)):
        world = World("cloth_covering", WorldConfig(build=Build(object_width=width, object_height=height)))
        half, top = BLOCK_HALF * width, BLOCK_HEIGHT * height
        np.testing.assert_allclose(world.model.geom("block").size, (half, half, top / 2))
        assert world.model.geom("block").pos[2] == pytest.approx(top / 2), "it stands on the table"
        world.reset(Direction.BACKWARD, 1)
        state = world.scene_state()
        cases = ((0.95, top, True), (0.85, top, False), (0.95, top - 0.007, True), (0.95, top - 0.009, False))
        for edge, high, covered in cases:
            beyond = edge * half - cloth.HALF_SIDE  # of the cloth's middle, so that its edge is there
            laid = cloth.laid(cloth.grid(), BLOCK_PLACE[0], BLOCK_PLACE[1] + beyond, 0.0, high + cloth.RADIUS)
            over = world.task.truth(replace(state, cloth=np.array(list(laid.values()))))
            assert over.forward_success == covered, (width, edge, high)


def test_environments_take_kinds():
    def first(variations, seed=1):
        environment = RobofumeEnv(variation=1.0, variations=variations)
        image = environment.reset(seed=seed)[0]["image"]
        return environment.world.config, image

    config, image = first(("base_offset",))
    again, same = first(("base_offset",))
    assert config == again and np.array_equal(image, same)
    assert config.appearance == Appearance() and config.build != Build()
    assert replace(config.build, base_offset=(0.0, 0.0)) == Build()
    assert first(LOOK)[0].build == Build()
