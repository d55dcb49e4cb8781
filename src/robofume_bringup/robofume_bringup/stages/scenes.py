"""Scenes arranged by hand near the borders of the goals, photographed for the reward model.

Demonstrations end well inside a goal and failures far from it; where the goal begins, nothing shows. A person lays the
objects there by hand and says what is reached: a picture in a few seconds, and no episode. In the embedded simulation
the task lays them (`SimulatedTask.arranged`) and its truth answers; at any other robot the person is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray
from robofume_common.errors import RobofumeError
from robofume_data.arranged_scenes import PER_SCENE, arranged_episodes

from robofume_bringup.stages.context import StageContext
from robofume_bringup.task_files import task_description

STAGE = "scenes"
SCENE_SEED = 2000
"""Beside the run's seed and the number of the scene."""
ANSWERS = {"f": (True, False), "b": (False, True), "n": (False, False), "fb": (True, True)}
"""What a person types: whether the forward and the backward goal are reached."""
QUIT = ("q", "")
Keep = Callable[[NDArray[np.uint8], bool, bool], str]


def arrange_scenes(context: StageContext) -> None:
    """Photograph the scenes that are missing, as the simulated task arranges them; none where it has none.

    Continues with what earlier starts recorded; a scene follows from the run's seed and its number.
    """
    from robofume_robot.image_pipeline import crop_and_resize
    from robofume_sim.sim_config import make_world
    from robofume_sim.tasks import make_task

    if make_task(context.config.task).arranged(np.random.default_rng(0)) is None:
        return
    if photographed(context) >= context.config.scenes:
        return
    configs = context.node_configs("collect")
    world = make_world(configs["sim"])
    try:
        with (
            context.timed(STAGE),
            _bag(context) as (first, keep),
            context.bar("Arranging scenes", context.config.scenes, "scene", initial=first) as bar,
        ):
            for number in range(first, context.config.scenes):
                context.interruption.check()
                rng = np.random.default_rng([context.config.seed, SCENE_SEED, number])
                places = world.task.arranged(rng)
                assert places is not None
                world.arrange(places, world.task.arranged_settling)
                truth = world.truth()
                picture = crop_and_resize(world.render(), configs["camera"])
                keep(picture, truth.forward_success, truth.backward_success)
                bar.update()
    finally:
        world.close()
    context.say(f"Scenes arranged near the borders of the goals: {photographed(context)}, for the reward model.")
    context.directory.note(STAGE, finished=True, scenes=photographed(context))


def ask_for_scenes(
    context: StageContext, take: Callable[[], NDArray[np.uint8]], answer: Callable[[str], str] = input
) -> None:
    """Ask a person to arrange scenes, and photograph them, until there are as many as the run wants or it is enough.

    Arguments:
        take: the newest picture, as the policy sees it. Its RobofumeError ends the questions.
        answer: shows a prompt and returns what was typed.

    Raises RobofumeError for a picture of another size than the run's.
    """
    task = task_description(context.config.robot, context.config.task)
    wanted, there = context.config.scenes, photographed(context)
    if there >= wanted:
        context.say(f"There are {there} scenes already; --scenes {there + 20} asks for 20 more.")
        return
    context.say(
        f"Lay the objects where a goal is just reached, or just not yet, with the arm at home. Take your hands out of "
        f"the picture and type\n"
        f"  f   where it shows: {task.forward_instruction}\n"
        f"  b   where it shows: {task.backward_instruction}\n"
        f"  n   where it shows neither (fb: both)\n"
        f"  q   when it is enough."
    )
    with context.timed(STAGE), _bag(context) as (number, keep), context.interruption.immediately():
        while number < wanted:
            try:
                typed = answer(f"Scene {number + 1} of {wanted} [f/b/n/q]: ").strip().lower()
            except EOFError:
                break
            if typed in QUIT:
                break
            if typed not in ANSWERS:
                context.say(f"{typed!r} is none of the answers: f, b, n, fb, or q.")
                continue
            picture, size = take(), context.config.image_size
            if picture.shape != (size, size, 3):
                raise RobofumeError(
                    f"The picture is {picture.shape[1]} x {picture.shape[0]}, those of this run are {size} x {size}: "
                    "is the graph that of another run? Name it with --run or --domain."
                )
            context.say(keep(picture, *ANSWERS[typed]))
            number += 1
    there = photographed(context)
    context.directory.note(STAGE, finished=there >= wanted, scenes=there)
    context.say(
        f"{there} scenes of {wanted} are there. `robofume reward train --again --run {context.directory.name}` learns "
        "from them."
    )


def photographed(context: StageContext) -> int:
    """How many scenes the run has."""
    from robofume_data.bag_reader import read_episodes

    return sum(1 for _ in read_episodes(context.directory.bag_files("scenes"))) // PER_SCENE


@contextmanager
def _bag(context: StageContext) -> Iterator[tuple[int, Keep]]:
    """The number of the next scene, and what keeps one in a new bag: it says what it kept."""
    from robofume_data.bag_writer import BagWriter, next_path, prepare_folder
    from robofume_data.episode_writer import EpisodeWriter
    from robofume_reward.worst_frames import save_picture

    from robofume_robot import kinematics

    task = task_description(context.config.robot, context.config.task)
    home = np.append(task.home_joint_positions, (kinematics.FINGER_OPEN, kinematics.FINGER_OPEN))
    proprioception = kinematics.proprioception(home).astype(np.float32)
    first = photographed(context)
    number = first
    with BagWriter(next_path(prepare_folder(context.directory.bags("scenes")), "scenes")) as writer:
        episodes = EpisodeWriter(writer)

        def keep(image: NDArray[np.uint8], forward: bool, backward: bool) -> str:
            nonlocal number
            for episode in arranged_episodes(number, task, image, proprioception, forward, backward):
                episodes.add(episode, commit=False)
            writer.commit()  # both answers or none
            picture = context.directory.path / "scenes" / f"{number:06d}.png"
            picture.parent.mkdir(exist_ok=True)
            save_picture(image, picture, enlarged=6)
            number += 1
            return f"Kept: {picture}."

        yield first, keep
