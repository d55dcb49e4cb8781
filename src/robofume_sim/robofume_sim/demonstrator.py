"""A scripted demonstrator with honest imperfection, and a report of how well it does.

It reads the true state of the scene, as nothing that learns may, and acts through the same deltas as a policy. It is
as good as its noise lets it be: episodes that fail are kept as failures.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from robofume_common.enums import Direction
from robofume_common.errors import RobofumeError
from robofume_common.parameters import from_dict, setting

from robofume_sim.arm_driver import ArmDriver
from robofume_sim.scripts import CLOSED, OPEN, Carrying, Episode, Mishap, Script, Sweeping
from robofume_sim.tasks.base import CarryingTask, SceneState, SimulatedTask, SweepingTask, Vector
from robofume_sim.world import World


@dataclass(frozen=True)
class DemonstratorConfig:
    """How imperfect the demonstrator is."""

    action_noise: float = setting(
        -1.0,
        "Standard deviation of the noise on each translation, as a share of the largest step; below 0: the task's",
        maximum=5.0,
    )
    grasp_offset: float = setting(
        -1.0,
        "Spread of the place it grasps at, drawn once per episode; below 0: the task's",
        unit="m",
        maximum=0.05,
    )
    speed: float = setting(
        -1.0,
        "Largest step that it takes, as a share of the largest that the arm can take; below 0: the task's",
        maximum=1.0,
    )
    failure_share: float = setting(
        0.0,
        "Share of episodes that fail on purpose, to have failures to learn from",
        minimum=0.0,
        maximum=1.0,
    )
    half_way_share: float = setting(
        0.7,
        "Share of those failures that end just short of the goal, in a task where the objects stay so: what no success "
        "shows, and a judge must have seen",
        minimum=0.0,
        maximum=1.0,
    )
    seed: int = setting(0, "Seed of noise, offsets and places", minimum=0)


class Demonstrator:
    """Does what the script of the task says, slowly and inaccurately; without imperfection, quite rightly."""

    def __init__(self, task: SimulatedTask, config: DemonstratorConfig | None = None) -> None:
        self.task = task
        self.config = config = config or DemonstratorConfig()
        hand = task.hand
        self._action_noise = config.action_noise if config.action_noise >= 0.0 else hand.action_noise
        self._grasp_offset = config.grasp_offset if config.grasp_offset >= 0.0 else hand.grasp_offset
        self._speed = config.speed if config.speed >= 0.0 else hand.speed
        self._rng = np.random.default_rng(self.config.seed)
        self._limit = task.description.translation_limit
        self._box = (task.description.workspace_minimum, task.description.workspace_maximum)
        self.begin(Direction.FORWARD)

    def begin(self, direction: Direction) -> None:
        """Start an episode: draw its imperfection and the place to put the object."""
        self.direction = direction
        place = self.task.place_point(direction, self._rng)
        angle, radius = self._rng.uniform(0.0, 2.0 * np.pi), self._rng.normal(0.0, self._grasp_offset)
        offset = np.array([radius * np.cos(angle), radius * np.sin(angle), 0.0])
        fails = self._rng.random() < self.config.failure_share
        self.mishap = Mishap(int(self._rng.integers(1, 5))) if fails else None
        spared: tuple[float, ...] = ()
        if fails and self._rng.random() < self.config.half_way_share:
            if isinstance(self.task, CarryingTask):
                between = self.task.half_way_point(direction, self._rng)
                if between is not None:
                    self.mishap, place = Mishap.HALF_WAY, between
            elif isinstance(self.task, SweepingTask):
                self.mishap, spared = Mishap.HALF_WAY, tuple(self._rng.random(int(self._rng.integers(1, 3))))
        miss = self._rng.uniform(0.05, 0.08) if self.mishap is Mishap.MISS else 0.0
        self._stays_open = self.mishap is Mishap.WANDER and bool(self._rng.random() < 0.6)
        self._waypoint: tuple[Vector, float] | None = None
        self._script = make_script(self.task, Episode(direction, place, offset, self.mishap, miss, self._limit, spared))

    def act(self, state: SceneState) -> NDArray[np.float32]:
        """The physical action (7,) for what is true now."""
        if self.mishap is Mishap.WANDER:
            delta, opening = self._wander(state.gripper_position, self._script.hover_height(state) + 0.02)
        else:
            delta, opening = self._script.command(state)
        delta = np.clip(delta, -self._speed * self._limit, self._speed * self._limit)
        noise = self._rng.normal(0.0, self._action_noise, 3)
        delta = np.clip(delta / self._limit + noise, -1.0, 1.0) * self._limit
        return np.array([*delta, 0.0, 0.0, 0.0, opening], dtype=np.float32)

    def _wander(self, gripper: Vector, lowest: float) -> tuple[Vector, float]:
        """Towards one random place after another, above the objects."""
        if self._waypoint is None or float(np.abs(self._waypoint[0] - gripper).max()) < 0.02:
            lower, upper = (np.array(bound) for bound in self._box)
            lower[2] = min(lowest, upper[2])
            opening = OPEN if self._stays_open or self._rng.random() < 0.5 else CLOSED
            self._waypoint = self._rng.uniform(lower, upper), opening
        place, opening = self._waypoint
        return np.clip(place - gripper, -self._limit, self._limit), opening


def make_script(task: SimulatedTask, episode: Episode) -> Script:
    """The script of an episode, of the kind that the task is."""
    if isinstance(task, CarryingTask):
        return Carrying(task, episode)
    if isinstance(task, SweepingTask):
        return Sweeping(task, episode)
    raise TypeError(f"no script knows how to do {task.description.name}")


@dataclass(frozen=True)
class Report:
    """How a demonstrator did: one entry per episode, forward and backward in turn."""

    directions: NDArray[np.int64]
    successes: NDArray[np.bool_]
    steps: NDArray[np.int64]
    lost: int

    def __str__(self) -> str:
        lines = []
        for direction in (Direction.FORWARD, Direction.BACKWARD):
            chosen = self.directions == direction
            done = self.successes[chosen]
            steps = self.steps[chosen][done]
            share = f" ({done.mean():.0%})" if len(done) else ""
            length = f", median length of a success {np.median(steps):.0f} steps" if len(steps) else ""
            lines.append(f"{direction.name.lower()}: {done.sum()} of {len(done)} succeeded{share}{length}")
        return "\n".join(lines) + f"\nobjects lost: {self.lost}"


def measure(task: str, episodes: int, config: DemonstratorConfig | None = None, *, random_share: float = 0.0) -> Report:
    """Run reset-free episodes, forward and backward in turn, and report; `random_share` of them act at random.

    Episodes of random actions are not counted, only what they do to the scene.
    """
    config = config or DemonstratorConfig()
    world = World(task)
    arm = ArmDriver(world)
    script = Demonstrator(world.task, config)
    space = world.task.description.action_space
    rng = np.random.default_rng([config.seed, 1])
    limit = world.task.description.steps_allowed(demonstrating=True)
    results, lost = [], 0
    direction = Direction.FORWARD
    for _ in range(episodes):
        arm.home()
        if world.truth().success(direction):
            direction = direction.opposite
        script.begin(direction)
        random = rng.random() < random_share
        steps = 0
        while steps < limit:
            action = (
                space.to_physical(rng.uniform(-1, 1, space.dimension)) if random else script.act(world.scene_state())
            )
            arm.step(action)
            steps += 1
            if world.truth().success(direction):
                break
        success = world.truth().success(direction)
        lost += len(world.lost_objects())
        if not random:
            results.append((int(direction), success, steps))
        if success or random:
            direction = direction.opposite
    columns = list(zip(*results, strict=True)) if results else [(), (), ()]
    return Report(np.array(columns[0]), np.array(columns[1], dtype=bool), np.array(columns[2]), lost)


def main() -> None:
    """`python -m robofume_sim.demonstrator --task pot_pick_and_place --episodes 100`."""
    parser = argparse.ArgumentParser(description="Measure the scripted demonstrator, reset-free.")
    parser.add_argument("--task", default="pot_pick_and_place")
    parser.add_argument("--episodes", type=int, default=100)
    parser.add_argument("--action-noise", type=float, default=DemonstratorConfig().action_noise)
    parser.add_argument("--grasp-offset", type=float, default=DemonstratorConfig().grasp_offset, help="metres")
    parser.add_argument("--speed", type=float, default=DemonstratorConfig().speed, help="share of the arm's")
    parser.add_argument("--failure-share", type=float, default=0.0)
    parser.add_argument("--half-way-share", type=float, default=DemonstratorConfig().half_way_share,
                        help="share of the failures that end half-way")  # fmt: skip
    parser.add_argument("--random-share", type=float, default=0.0, help="share of episodes with random actions")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    if given.episodes < 1 or not 0.0 <= given.random_share <= 1.0:
        parser.error("--episodes is 1 or more, and --random-share from 0 to 1")
    names = [field.name for field in dataclasses.fields(DemonstratorConfig)]
    try:
        config = from_dict(DemonstratorConfig, {name: getattr(given, name) for name in names})
        print(measure(given.task, given.episodes, config, random_share=given.random_share))
    except RobofumeError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
