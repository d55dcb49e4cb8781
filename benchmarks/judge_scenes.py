"""Pictures that a judge of the simulated arm's tasks was not trained on: changed scenes, and what shows no success."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
from judge_tables import DIRECTIONS
from robofume_common.enums import Direction
from robofume_data.arranged_scenes import arranged_episodes
from robofume_data.episode import EpisodeData
from robofume_sim.arm_driver import ArmDriver
from robofume_sim.scene import Appearance
from robofume_sim.world import World, WorldConfig


def looks() -> dict[str, Appearance]:
    """The shifts that are asked for, one at a time."""
    plain = Appearance()
    camera, target = np.array(plain.camera_position), np.array(plain.camera_target)
    angle = np.radians(5)
    sight = target - camera
    cosine, sine = np.cos(angle), np.sin(angle)
    turned = camera + (cosine * sight[0] - sine * sight[1], sine * sight[0] + cosine * sight[1], sight[2])

    def point(values: np.ndarray) -> tuple[float, float, float]:
        x, y, z = (float(value) for value in values)
        return x, y, z

    return {
        "plain": plain,
        "light": dataclasses.replace(plain, light=0.6, light_position=(0.1, -0.6, 1.2)),
        "background": dataclasses.replace(plain, background=(0.35, 0.3, 0.25), table=(0.66, 0.72, 0.62)),
        "colours": dataclasses.replace(plain, object=(0.95, 0.7, 0.1), tray=(0.25, 0.6, 0.35)),
        "camera": dataclasses.replace(
            plain, camera_position=point(camera + (0.0, 0.03, 0.0)), camera_target=point(turned + (0.0, 0.03, 0.0))
        ),
    }


def scenes(task: str, look: Appearance, count: int, seed: int, size: int = 64) -> dict[str, Any]:
    """Pictures from home (count, size, size, 3) with the object in the places of both starts, and the truth (count,)
    for each direction.
    """
    world = World(task, WorldConfig(appearance=look))
    images, truths = [], []
    for number in range(count):
        world.reset(Direction.FORWARD if number % 2 else Direction.BACKWARD, seed=seed * 10_000 + number)
        image = cv2.resize(world.render(), (size, size), interpolation=cv2.INTER_AREA)
        truth = world.truth()
        images.append(image)
        truths.append((truth.forward_success, truth.backward_success))
    description, home = world.task.description, ArmDriver(world).proprioception()
    world.close()
    forward, backward = np.array(truths).T
    return {"images": np.stack(images), "forward": forward, "backward": backward, "description": description,
            "home": home}  # fmt: skip


def places(task: str, size: int = 64) -> dict[str, Any]:
    """As `scenes`, with the object everywhere on a grid of 10 by 6.5 mm, up to the walls and both sides of the border.
    Where neither goal is reached there, it is left out.
    """
    world = World(task)
    name = world.task.object_names[0]
    images, truths = [], []
    for x in np.arange(0.19, 0.381, 0.01):
        for y in np.arange(-0.13, 0.131, 0.0065):
            world.reset(Direction.FORWARD, seed=0, start={name: np.array([x, y, 0.0])})
            truth = world.truth()
            if truth.forward_success or truth.backward_success:
                images.append(cv2.resize(world.render(), (size, size), interpolation=cv2.INTER_AREA))
                truths.append((truth.forward_success, truth.backward_success))
    description = world.task.description
    world.close()
    forward, backward = np.array(truths).T
    return {"images": np.stack(images), "forward": forward, "backward": backward, "description": description}


def labelled_scenes(seen: dict[str, Any]) -> list[EpisodeData]:
    """Single pictures with a person's answer to both questions, as episodes without an action."""
    home = seen["home"].astype(np.float32)
    rows = zip(seen["images"], seen["forward"], seen["backward"], strict=True)
    return [
        episode
        for number, (image, *reached) in enumerate(rows)
        for episode in arranged_episodes(number, seen["description"], image, home, *map(bool, reached))
    ]


def adversarial_pictures(task: str, count: int, size: int = 64) -> Iterator[tuple[str, Any, Any]]:
    """Kinds of pictures, each with its pictures (N, size, size, 3), by direction where they differ, and the task."""
    world = World(task)
    arm = ArmDriver(world)
    description = world.task.description
    generator = np.random.default_rng(0)

    def picture() -> np.ndarray:
        return cv2.resize(world.render(), (size, size), interpolation=cv2.INTER_AREA)

    def place(position: np.ndarray) -> None:
        world.reset(Direction.FORWARD, seed=0, start={world.task.object_names[0]: position})
        arm.forget()

    objects = np.isin(world.model.geom_bodyid, [world.model.body(name).id for name in world.task.object_names])
    objects &= world.model.geom_rgba[:, 3] == 1.0
    half, covered, empty = [], [], []
    starts = {name: [] for name in DIRECTIONS}
    for number in range(count):
        world.reset(Direction.FORWARD, seed=number)
        start = next(iter(world.scene_state().objects.values())).position.copy()
        between = world.task.arranged(generator)
        if between is not None:
            world.arrange(between, world.task.arranged_settling)
            truth = world.truth()
            if not (truth.forward_success or truth.backward_success):
                half.append(picture())
        place(start)
        arm.step(np.array([*(start[:2] - arm.proprioception()[:2]).clip(-0.05, 0.05), -0.05, 0, 0, 0, 1], np.float32))
        for _ in range(4):
            gap = start[:2] - arm.proprioception()[:2]
            arm.step(np.array([*gap.clip(-0.05, 0.05), -0.02, 0, 0, 0, 1], np.float32))
        if not world.truth().backward_success:
            covered.append(picture())
        world.model.geom_rgba[objects, 3] = 0.0
        place(start)
        empty.append(picture())
        world.model.geom_rgba[objects, 3] = 1.0
        for name, direction in DIRECTIONS.items():
            world.reset(direction, seed=number)
            starts[name].append(picture())
    world.close()
    if half:
        yield "object half-way", np.stack(half), description
    if covered:
        yield "arm over the object", np.stack(covered), description
    yield "empty table", np.stack(empty), description
    yield "black camera", np.zeros((1, size, size, 3), np.uint8), description
    yield "white camera", np.full((1, size, size, 3), 255, np.uint8), description
    yield "noise", generator.integers(0, 256, (count, size, size, 3), dtype=np.uint8), description
    yield "frozen camera", {name: np.stack(images) for name, images in starts.items()}, description
