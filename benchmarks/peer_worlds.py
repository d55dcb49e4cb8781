"""Environments that are not ours, with recorded data made by a script: what `peers.py` compares learners on.

Both are goal-conditioned with a sparse reward; an observation is the environment's own, with the desired goal behind
it. Needs gymnasium-robotics (see peers.py).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from peer_learners import Learner

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Recording:
    """An episode: observations (N+1, O), actions (N, A) in [-1, 1], and whether the last state is a success."""

    observations: Array
    actions: Array
    success: bool


class PeerWorld(ABC):
    """A gymnasium-robotics environment that ends at its first success."""

    name: ClassVar[str]
    steps: ClassVar[int]
    """After which an episode ends."""
    noise: ClassVar[float]
    """Of the script, as a share of the largest action."""

    def __init__(self) -> None:
        import gymnasium
        import gymnasium_robotics

        gymnasium.register_envs(gymnasium_robotics)
        self.environment = gymnasium.make(self.name, max_episode_steps=self.steps)
        self.actions: int = self.environment.action_space.shape[0]  # type: ignore[index]
        self.observations: int = len(self.reset(0))

    def reset(self, seed: int) -> Array:
        """Start an episode; the same seed gives the same start and goal."""
        observation, _ = self.environment.reset(seed=seed)
        return self._flat(observation)

    def step(self, action: Array) -> tuple[Array, bool, bool]:
        """The next observation, whether this is a success, whether the episode is over."""
        observation, _, terminated, truncated, info = self.environment.step(action)
        success = bool(info.get("success", info.get("is_success", False)))
        return self._flat(observation), success, success or terminated or truncated

    @abstractmethod
    def script(self, random: np.random.Generator) -> Callable[[Array], Array]:
        """A controller for one episode, good or bad."""

    def record(self, episodes: int, seed: int) -> list[Recording]:
        """Recorded data of scripts with noise, successes and failures."""
        random = np.random.default_rng(seed)
        recordings = []
        for number in range(episodes):
            script = self.script(random)

            def act(observation: Array, script: Callable[[Array], Array] = script) -> Array:
                noisy = script(observation) + self.noise * random.normal(size=self.actions)
                return np.clip(noisy, -1.0, 1.0).astype(np.float32)

            recordings.append(self.episode(1_000_000 + 10_000 * seed + number, act))
        return recordings

    def episode(
        self, seed: int, act: Callable[[Array], Array], after_step: Callable[[], None] = lambda: None
    ) -> Recording:
        """An episode from the start of `seed`; `after_step` is called after each step."""
        observation, over, success = self.reset(seed), False, False
        seen, actions = [observation], []
        while not over:
            action = act(observation)
            observation, success, over = self.step(action)
            seen.append(observation)
            actions.append(action)
            after_step()
        return Recording(np.stack(seen), np.stack(actions), success)

    def evaluate(self, act: Callable[[Array], Array], trials: int, seed: int) -> float:
        """Share of `trials` that succeed, from the same starts for every learner."""
        return sum(self.trial(number, act, seed).success for number in range(trials)) / trials

    def trial(self, number: int, act: Callable[[Array], Array], seed: int) -> Recording:
        """One trial of `evaluate`."""
        return self.episode(5_000_000 + 10_000 * seed + number, act)

    def practise(self, number: int, learner: Learner, seed: int) -> Recording:
        """Episode `number` of a learner's practice, with one update a step; it enters when it has ended."""
        def act(observation: Array) -> Array:
            return learner.act(observation, explore=True)

        recording = self.episode(9_000_000 + 10_000 * seed + number, act, learner.update)
        learner.add(recording, offline=False)
        return recording

    @staticmethod
    def _flat(observation: dict[str, Any]) -> Array:
        return np.concatenate([observation["observation"], observation["desired_goal"]]).astype(np.float32)


class Maze(PeerWorld):
    """A ball in a U-shaped maze. Half of the recorded episodes go somewhere else than asked (diverse data)."""

    name, steps, noise = "PointMaze_UMaze-v3", 300, 0.5  # as many steps as the environment itself allows

    def script(self, random: np.random.Generator) -> Callable[[Array], Array]:
        """Follow the corridors' middle, to the goal or to another cell."""
        maze = self.environment.unwrapped.maze  # type: ignore[attr-defined]
        free = [(r, c) for r, row in enumerate(maze.maze_map) for c, value in enumerate(row) if value != 1]
        centres = {cell: np.asarray(maze.cell_rowcol_to_xy(np.array(cell))) for cell in free}
        elsewhere = free[random.integers(len(free))] if random.random() < 0.5 else None

        def nearest(place: Array) -> tuple[int, int]:
            return min(free, key=lambda cell: float(np.linalg.norm(centres[cell] - place)))

        def act(observation: Array) -> Array:
            place, speed, goal = observation[:2], observation[2:4], observation[4:6]
            target = elsewhere or nearest(goal)
            here = nearest(place)
            toward = goal if elsewhere is None else centres[target]
            if here != target:
                toward = centres[_next_cell(free, here, target)]
            return np.asarray(4.0 * (toward - place) - 2.0 * speed, np.float32)

        return act


def _next_cell(free: list[tuple[int, int]], here: tuple[int, int], target: tuple[int, int]) -> tuple[int, int]:
    """The neighbour of `here` on a shortest way to `target` (breadth first, from the target)."""
    known, queue = set(free), deque([target])
    seen = {target}
    while queue:
        row, column = cell = queue.popleft()
        for near in ((row + 1, column), (row - 1, column), (row, column + 1), (row, column - 1)):
            if near == here:
                return cell
            if near in known and near not in seen:
                seen.add(near)
                queue.append(near)
    return target


class Fetch(PeerWorld):
    """Pick a block up and bring it to a place on the table or in the air. A third of the recordings grasp badly."""

    name, steps, noise = "FetchPickAndPlace-v4", 50, 0.2

    def script(self, random: np.random.Generator) -> Callable[[Array], Array]:
        """Above the block, down, close, to the goal; with an offset in the bad ones."""
        offset = np.zeros(3)
        if random.random() < 0.35:
            offset[:2] = random.normal(scale=0.04, size=2)
        closing = 0

        def act(observation: Array) -> Array:
            nonlocal closing
            hand, block, goal = observation[:3], observation[3:6] + offset, observation[25:28]
            across = float(np.linalg.norm((block - hand)[:2]))
            if closing == 0 and across > 0.02:
                return np.array([*(8.0 * (block + [0, 0, 0.06] - hand)), 1.0], np.float32)
            if closing == 0 and abs(hand[2] - block[2]) > 0.01:
                return np.array([*(8.0 * (block - hand)), 1.0], np.float32)
            closing += 1
            move = np.zeros(3) if closing < 3 else 8.0 * (goal - observation[3:6])
            return np.array([*move, -1.0], np.float32)

        return act


WORLDS: dict[str, type[PeerWorld]] = {"maze": Maze, "fetch": Fetch}
