"""Settings of the simulation, and the world that they describe."""

from __future__ import annotations

from dataclasses import dataclass

from robofume_common.enums import Direction
from robofume_common.parameters import setting

from robofume_sim.scene import CAMERAS
from robofume_sim.variations import KINDS, LARGEST_AMOUNT, LOOK, varied
from robofume_sim.world import World, WorldConfig, check_period


@dataclass(frozen=True)
class SimConfig:
    """Settings of the sim node."""

    task: str = setting("pot_pick_and_place", "Which simulated task")
    seed: int = setting(0, "Places of the objects follow from it", minimum=0)
    start_direction: int = setting(1, "Direction that starts where the scene is at first: 1 forward, 2 backward",
                                   choices=(1, 2))  # fmt: skip
    start_task: str = setting("", "Of several tasks in the scene, the one that starts there; empty: the first")
    half_done: bool = setting(
        False, "Scene resets for demonstrations: after some the work is half done, where the task has such scenes"
    )
    image_width: int = setting(100, "Of the raw camera picture", unit="px", minimum=16, maximum=1920)
    image_height: int = setting(100, "Of the raw camera picture", unit="px", minimum=16, maximum=1080)
    further_cameras: tuple[str, ...] = setting(
        (), f"Cameras that are shown on CAMERA/image_raw beside the first one: {', '.join(CAMERAS[1:])}"
    )
    control_period: float = setting(0.2, "Time between two images", unit="s", minimum=0.02, maximum=2.0)
    lockstep: bool = setting(True, "Wait for the answer to each image; false: move by the wall clock")
    speed: float = setting(1.0, "Simulated seconds per wall second, without lockstep", minimum=0.01, maximum=100.0)
    repeat_after: float = setting(
        1.0, "Wall time without an answer after which an image is shown again, in lockstep", unit="s", minimum=0.1
    )
    variation: float = setting(
        0.0,
        "How far the world is from the plain one in what `variations` names (1: clearly different)",
        minimum=0.0,
        maximum=LARGEST_AMOUNT,
    )
    variations: tuple[str, ...] = setting(LOOK, f"What varies, of: {', '.join(KINDS)}")
    variation_seed: int = setting(0, "What the varied world is like follows from it", minimum=0)

    def __post_init__(self) -> None:
        check_period(self.control_period)


def make_world(config: SimConfig) -> World:
    """The world with its objects where the configured direction and task start. RobofumeError for an unknown task.

    What varies is drawn from a seed of its own: the objects lie elsewhere at every start of a run, its world stays.
    """
    kinds = config.variations if config.variation > 0.0 else ()
    look, build = varied(kinds, config.variation_seed, config.variation)
    world = World(
        config.task,
        WorldConfig(
            control_period=config.control_period,
            image_width=config.image_width,
            image_height=config.image_height,
            seed=config.seed,
            half_done=config.half_done,
            appearance=look,
            build=build,
        ),
    )
    world.task.pair(config.start_task)  # or one sentence
    if config.start_task not in ("", config.task) or config.start_direction != Direction.FORWARD:
        world.reset(Direction(config.start_direction), task=config.start_task)
    return world
