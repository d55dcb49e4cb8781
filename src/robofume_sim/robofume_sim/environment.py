"""Gymnasium environments over the simulated world, so that any library can be run on the same work.

Importing this module registers `RoboFuME/PotPickAndPlace-v0` and its kin.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import cv2
import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from robofume_common.enums import Direction
from robofume_common.errors import RobofumeError

from robofume_sim.arm_driver import ArmDriver
from robofume_sim.tasks import TASKS
from robofume_sim.variations import LOOK, varied
from robofume_sim.world import World, WorldConfig

Observation = dict[str, NDArray[Any]]


class RobofumeEnv(gymnasium.Env[Observation, NDArray[np.float32]]):
    """One task, one or both directions, with a sparse reward from ground truth.

    Observation: `image` (image_size, image_size, 3) uint8 rgb and `proprioception` (7,) float32 (as in
    `Step.proprioception`). Action: [-1, 1]^dimension, the unmasked components of the task's `ActionSpace`.
    Reward 1 with the goal reached, which terminates the episode, else 0; truncated at the step limit.

    `reset(options=...)` takes `direction` (Direction) and `reset_scene` (bool). With `reset_scene` false, the default
    where `reset_free`, the arm goes home and the objects stay where they are.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 5}  # noqa: RUF012  as Gymnasium declares it

    def __init__(
        self,
        task: str = "pot_pick_and_place",
        direction: Direction = Direction.FORWARD,
        *,
        reset_free: bool = False,
        image_size: int = 64,
        step_limit: int | None = None,
        variation: float = 0.0,
        variations: Sequence[str] = LOOK,
        world: WorldConfig | None = None,
        render_mode: str | None = "rgb_array",
    ) -> None:
        """`variation` over 0 makes every environment another one (drawn from the first seed) in what `variations` name
        (`robofume_sim.variations.KINDS`); 0 leaves the plain one."""
        if render_mode not in (None, "rgb_array"):
            raise RobofumeError(f"render_mode must be 'rgb_array' or None, not '{render_mode}'")
        self.render_mode = render_mode
        self.direction = Direction(direction)
        self._task, self._reset_free, self._image_size = task, reset_free, image_size
        self._variation, self._kinds = variation, tuple(variations)
        self._world_config = world or WorldConfig()
        self._looks_varied = variation == 0.0
        self._open(self._world_config)
        description = self.world.task.description
        self.space = description.action_space
        self._step_limit = step_limit or description.step_limit
        self._steps = 0
        self._started = False
        self.observation_space = spaces.Dict(  # type: ignore[assignment]
            {
                "image": spaces.Box(0, 255, (image_size, image_size, 3), np.uint8),
                "proprioception": spaces.Box(-np.inf, np.inf, (7,), np.float32),
            }
        )
        self.action_space = spaces.Box(-1.0, 1.0, (self.space.dimension,), np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start an episode; the same seed gives the same states and images."""
        super().reset(seed=seed)
        options = options or {}
        self.direction = Direction(options.get("direction", self.direction))
        if not self._looks_varied:
            self._looks_varied = True
            look, build = varied(self._kinds, int(self.np_random.integers(2**31)), self._variation)
            self.world.close()
            self._open(replace(self._world_config, appearance=look, build=build))
        if options.get("reset_scene", not self._reset_free or not self._started or seed is not None):
            self.world.reset(self.direction, seed=int(self.np_random.integers(2**31)))
            self.arm.forget()
        else:
            self.arm.home()
        self._steps = 0
        self._started = True
        return self._observation(), self._info()

    def step(self, action: NDArray[np.float32]) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """One control period with `action` in [-1, 1]^dimension."""
        accepted = self.arm.step(self.space.to_physical(action))
        self._steps += 1
        info = self._info() | {"accepted": accepted}
        success = bool(info["success"])
        return self._observation(), float(success), success, self._steps >= self._step_limit, info

    def render(self) -> NDArray[np.uint8] | None:
        """The raw camera picture, or None without a render mode."""
        return self.world.render() if self.render_mode == "rgb_array" else None

    def close(self) -> None:
        """Free the renderer."""
        self.world.close()

    @property
    def instruction(self) -> str:
        """The sentence of the present direction."""
        return self.world.task.description.instruction(self.direction)

    def _open(self, config: WorldConfig) -> None:
        self.world = World(self._task, config)
        self.arm = ArmDriver(self.world)

    def _observation(self) -> Observation:
        image: NDArray[Any] = self.world.render()
        if image.shape[:2] != (self._image_size, self._image_size):
            # as the camera node does: area averaging
            image = cv2.resize(image, (self._image_size, self._image_size), interpolation=cv2.INTER_AREA)
        return {"image": np.asarray(image, dtype=np.uint8), "proprioception": self.arm.proprioception()}

    def _info(self) -> dict[str, Any]:
        truth = self.world.truth()
        return {
            "success": truth.success(self.direction),
            "forward_success": truth.forward_success,
            "backward_success": truth.backward_success,
            "score": truth.score(self.direction),
            "instruction": self.instruction,
            "direction": int(self.direction),
        }


def environment_id(task: str) -> str:
    """The registered name of a task: `RoboFuME/PotPickAndPlace-v0` for `pot_pick_and_place`."""
    return f"RoboFuME/{task.title().replace('_', '')}-v0"


for _task in TASKS:
    gymnasium.register(
        id=environment_id(_task), entry_point="robofume_sim.environment:RobofumeEnv", kwargs={"task": _task}
    )
