"""Steps from a robot that somebody recorded: its pictures, joint states and, where there are any, commands. No ROS.

A step's action is the command that answers its picture, if one was recorded; otherwise what the arm did until the
next picture.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from robofume_common.action import GRIPPER
from robofume_common.enums import Actor, Direction, Outcome
from robofume_common.errors import RobofumeError
from robofume_common.parameters import setting

from robofume_robot.kinematics import (
    pose_from_vector,
    proprioception,
    rotation_vector,
)
from robofume_robot.motion import SECOND

OUTCOMES = {"success": Outcome.SUCCESS, "timeout": Outcome.TIMEOUT, "unknown": Outcome.UNKNOWN}
_STATES_KEPT = 200


@dataclass(frozen=True)
class ReplayConfig:
    """Settings of the replay node: what the recording shows, and how it is cut into episodes."""

    task: str = setting("", "Name of the task")
    forward_instruction: str = setting("", "Sentence that the policy follows forward")
    backward_instruction: str = setting("", "Sentence that undoes it")
    direction: int = setting(1, "What the recording shows: 1 forward, 2 backward", choices=(1, 2))
    outcome: str = setting(
        "unknown", "How its episodes ended, as a person says; unknown: nobody does", choices=tuple(OUTCOMES)
    )
    actor: int = setting(2, "Who acted (Step.ACTOR_*): 1 policy, 2 person, 3 script", choices=(1, 2, 3))
    session: str = setting("replay", "Prefix of the episode ids; the same recording must keep the same one")
    step_limit: int = setting(0, "Actions after which an episode is cut; 0: never", minimum=0, maximum=10_000)
    gap: float = setting(2.0, "Time between two pictures that ends an episode", unit="s", minimum=0.1, maximum=3600.0)
    silence: float = setting(3.0, "Wall time without a picture that ends an episode", unit="s", minimum=0.1)
    max_state_age: float = setting(
        0.5, "Age at which a joint state no longer belongs to a picture", unit="s", minimum=0.01, maximum=10.0
    )
    translation_limit: float = setting(0.05, "Larger translations of a step are cut", unit="m", minimum=0.001)
    rotation_limit: float = setting(0.25, "Larger rotations of a step are cut", unit="rad", minimum=0.01, maximum=3.2)
    step_listeners: int = setting(1, "Nodes that must have found `step` before anything is made", minimum=0)

    def __post_init__(self) -> None:
        """Raise RobofumeError where it is not known what the recording shows."""
        if self.task and not (self.forward_instruction and self.backward_instruction):
            raise RobofumeError("The replay needs forward_instruction and backward_instruction of its task.")

    @property
    def instruction(self) -> str:
        """What the recorded robot did."""
        return self.forward_instruction if self.direction == Direction.FORWARD else self.backward_instruction


@dataclass(frozen=True)
class ReplayStep:
    """One step; `action` (7,) is None on the last one of an episode."""

    episode_id: str
    index: int
    stamp: int
    image: Any
    proprioception: NDArray[np.float64]
    action: NDArray[np.float64] | None


@dataclass(frozen=True)
class ReplayEpisode:
    """The end of an episode; it follows the last of its steps."""

    episode_id: str
    num_steps: int
    outcome: Outcome


Event = ReplayStep | ReplayEpisode


def action_between(before: NDArray[np.float64], after: NDArray[np.float64]) -> NDArray[np.float64]:
    """The action (7,) that took the arm from one proprioception (7,) to another; the gripper's is where it got to."""
    action = np.empty(7)
    action[:3] = after[:3] - before[:3]
    rotations = [pose_from_vector(values[:6])[:3, :3] for values in (after, before)]
    action[3:6] = rotation_vector(*rotations)
    action[GRIPPER] = after[GRIPPER]
    return action


class Replay:
    """Turns pictures and joint states, in the order of their arrival, into steps."""

    def __init__(self, config: ReplayConfig) -> None:
        self._config = config
        self._states: deque[tuple[int, NDArray[np.float64]]] = deque(maxlen=_STATES_KEPT)
        self._commands: dict[int, NDArray[np.float64]] = {}
        self._waiting: tuple[int, Any, NDArray[np.float64]] | None = None
        self._index = 0
        self._seen = 0.0
        self.episodes = 0
        self.counters = {"steps": 0, "episodes": 0, "without_joint_state": 0, "cut_actions": 0, "too_short": 0}

    @property
    def _episode_id(self) -> str:
        return f"{self._config.session}_{self.episodes:05d}"

    def joint_state(self, stamp: int, positions: NDArray[np.float64]) -> None:
        """Eight joint positions in the order of `kinematics.JOINT_NAMES`, taken at `stamp` (ns)."""
        if self._states and stamp < self._states[-1][0]:
            self._states.clear()
        self._states.append((stamp, proprioception(positions)))

    def command(self, stamp: int, action: NDArray[np.float64]) -> None:
        """A recorded command (7,) that answered the picture of `stamp` (ns)."""
        self._commands[stamp] = np.asarray(action, dtype=np.float64)
        while len(self._commands) > _STATES_KEPT:
            self._commands.pop(next(iter(self._commands)))

    def picture(self, stamp: int, image: Any, now: float) -> list[Event]:
        """A picture of `stamp` (ns) that arrives at `now` (s, steady); what follows from it."""
        self._seen = now
        events: list[Event] = []
        if self._waiting is not None:
            step = stamp - self._waiting[0]
            if step == 0:
                return events
            if step < 0 or step > self._config.gap * SECOND:
                events += self.end()
        state = self._state_at(stamp)
        if state is None:
            self.counters["without_joint_state"] += 1
            return events
        if self._waiting is not None:
            before_stamp, before_image, before = self._waiting
            action = self._commands.pop(before_stamp, None)
            if action is None:
                action = action_between(before, state)
            events.append(self._step(before_stamp, before_image, before, self._cut(action)))
            self._index += 1
        self._waiting = (stamp, image, state)
        if 0 < self._config.step_limit <= self._index:
            events += self.end()
        return events

    def tick(self, now: float) -> list[Event]:
        """Ends the episode when no picture came for a while."""
        return self.end() if self._waiting is not None and now - self._seen > self._config.silence else []

    def end(self) -> list[Event]:
        """Ends the episode in progress; one without any action leaves nothing."""
        waiting, self._waiting = self._waiting, None
        if waiting is None:
            return []
        if self._index == 0:
            self.counters["too_short"] += 1
            return []
        closing = ReplayEpisode(self._episode_id, self._index, OUTCOMES[self._config.outcome])
        events: list[Event] = [self._step(*waiting, None), closing]
        self._index = 0
        self.episodes += 1
        self.counters["episodes"] += 1
        return events

    def _state_at(self, stamp: int) -> NDArray[np.float64] | None:
        """The proprioception nearest to a picture; None where there is none near enough."""
        if not self._states:
            return None
        nearest = min(self._states, key=lambda state: abs(state[0] - stamp))
        return nearest[1] if abs(nearest[0] - stamp) <= self._config.max_state_age * SECOND else None

    def _cut(self, action: NDArray[np.float64]) -> NDArray[np.float64]:
        translation, rotation = self._config.translation_limit, self._config.rotation_limit
        limit = np.array([translation] * 3 + [rotation] * 3)
        cut = action.copy()
        cut[:6] = np.clip(action[:6], -limit, limit)
        cut[GRIPPER] = min(max(float(action[GRIPPER]), 0.0), 1.0)
        self.counters["cut_actions"] += int(not np.array_equal(cut, action))
        return cut

    def _step(
        self, stamp: int, image: Any, state: NDArray[np.float64], action: NDArray[np.float64] | None
    ) -> ReplayStep:
        self.counters["steps"] += 1
        return ReplayStep(self._episode_id, self._index, stamp, image, state, action)

    def actor(self, step: ReplayStep) -> Actor:
        """Who acted in a step."""
        return Actor.NONE if step.action is None else Actor(self._config.actor)
