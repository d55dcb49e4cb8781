"""Which pair of instructions, and which direction of it, is practised next, where one scene has several.

A pair may start where the forward goal of another is reached (`TaskPair.after`): a chain A -> B -> C, there and back.
What can start now follows from what has succeeded; among it the one is drawn that there is most to learn from.
"""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from robofume_common.enums import Direction
from robofume_common.task import TaskPair

RECENT = 25
"""Episodes per pair and direction over which success in practice is reported, and the curriculum chooses."""
DIRECTIONS = (Direction.FORWARD, Direction.BACKWARD)

Option = tuple[str, Direction]
"""Name of a pair, and which way."""


def learnability(successes: int, episodes: int) -> float:
    """p (1 - p): most to be learnt where every other attempt succeeds, little from what always or never does.

    p is the share of successes with one success and one failure more, so that what is new is tried, and what seems
    hopeless is tried again now and then. Florensa et al., Automatic Goal Generation for Reinforcement Learning Agents
    (2018), keep to goals of intermediate difficulty; Tzannetos et al., Proximal Curriculum for Reinforcement Learning
    Agents (2023), derive this weight.
    """
    share = (successes + 1.0) / (episodes + 2.0)
    return share * (1.0 - share)


@dataclass
class TaskGraph:
    """What is believed to be done in the scene, and what is practised now. Survives a restart."""

    pairs: tuple[TaskPair, ...]
    done: dict[str, bool] = field(default_factory=dict)
    """Pair -> whether its forward goal is reached, as far as is known."""
    task: str = ""
    direction: Direction = Direction.FORWARD
    recent: dict[Option, deque[bool]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.task = self.task or self.pairs[0].name
        for pair in self.pairs:
            self.done.setdefault(pair.name, False)
            for direction in DIRECTIONS:
                self.recent.setdefault((pair.name, direction), deque(maxlen=RECENT))

    @property
    def startable(self) -> list[Option]:
        """What can start where the scene is believed to be; never nothing."""
        options: list[Option] = []
        for pair in self.pairs:
            if not self.done[pair.name]:
                if not pair.after or self.done[pair.after]:
                    options.append((pair.name, Direction.FORWARD))
            elif not any(self.done[other.name] for other in self.pairs if other.after and other.after == pair.name):
                options.append((pair.name, Direction.BACKWARD))
        return options

    def succeeded(self, task: str, direction: Direction, number: int) -> None:
        """The scene is at the goal of a direction; choose the next.

        `number`: of the episode, from which the draw follows.
        """
        self.done[task] = direction == Direction.FORWARD
        self._choose(self.startable, number)

    def turn(self, number: int) -> None:
        """What is practised now does not get on: something else that can start, or else its opposite.

        The opposite can only start if the goal was reached after all; so that is what is believed then.
        """
        others = [option for option in self.startable if option != (self.task, self.direction)]
        if not others:
            self.done[self.task] = self.direction == Direction.FORWARD
            others = [(self.task, self.direction.opposite)]
        self._choose(others, number)

    def _choose(self, options: Sequence[Option], number: int) -> None:
        weights = [learnability(sum(self.recent[option]), len(self.recent[option])) for option in options]
        left = _draw(number) * sum(weights)
        for option, weight in zip(options, weights, strict=True):
            self.task, self.direction = option
            left -= weight
            if left < 0.0:
                return

    def success_rate(self, direction: Direction) -> float:
        """Share of successes among the last decided episodes of a direction, of all pairs; NaN before the first."""
        recent = [success for pair in self.pairs for success in self.recent[pair.name, direction]]
        return sum(recent) / len(recent) if recent else math.nan

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "task": self.task,
            "direction": int(self.direction),
            "done": dict(self.done),
            "recent": [[task, int(direction), list(values)] for (task, direction), values in self.recent.items()],
        }

    @classmethod
    def from_dict(cls, pairs: tuple[TaskPair, ...], values: dict[str, Any]) -> "TaskGraph":
        """The opposite of `to_dict`; raises KeyError, TypeError or ValueError where it is not one."""
        names = {pair.name for pair in pairs}
        if values["task"] not in names or set(values["done"]) != names:
            raise ValueError(f"it is of the tasks {', '.join(sorted(values['done']))}, not {', '.join(sorted(names))}")
        recent = {
            (str(task), Direction(direction)): deque(map(bool, successes), maxlen=RECENT)
            for task, direction, successes in values["recent"]
        }
        done = {str(name): bool(value) for name, value in values["done"].items()}
        return cls(pairs, done, str(values["task"]), Direction(values["direction"]), recent)


def _draw(number: int) -> float:
    """A number in [0, 1) for each episode, well spread and the same at every start: multiples of the golden ratio."""
    return (number * 0.6180339887498949) % 1.0
