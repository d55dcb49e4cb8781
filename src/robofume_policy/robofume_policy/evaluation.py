"""Trials of a trained policy in an environment, without ROS."""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from robofume_common.errors import RobofumeError

from robofume_policy.language import InstructionEncoder
from robofume_policy.policy_network import load_policy
from robofume_policy.trained_agent import TrainedAgent


class Environment(Protocol):
    """What is asked of an environment: Gymnasium's `reset` and `step`, and the sentence of its task.

    An observation has an `image` (H, W, 3) uint8 and `proprioception` (P,); an action is (A,) in [-1, 1]. Such is
    `robofume_sim.environment.RobofumeEnv`.
    """

    @property
    def instruction(self) -> str:
        """What to do."""

    def reset(self, *, seed: int | None = None) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """Begin a trial; observation and further facts."""

    def step(self, action: Any) -> tuple[Mapping[str, Any], float, bool, bool, Mapping[str, Any]]:
        """Observation, reward, whether the task succeeded, whether the time is over, further facts."""


def evaluate(trained: TrainedAgent, environment: Environment, trials: int = 50, seed: int = 0) -> list[bool]:
    """Whether each of so many trials succeeded; the policy acts without noise, trial k begins from `seed` + k.

    A trial ends with the environment's `terminated`, which counts as a success, or its `truncated`. Raises
    RobofumeError where there is no trial to make, or where the pictures have another size than the policy's.
    """
    if trials < 1:
        raise RobofumeError(f"An evaluation needs at least one trial, not {trials}.")
    policy, encoder = load_policy(*trained.weights()), InstructionEncoder(trained.language)
    outcomes = []
    for trial in range(trials):
        observation, _ = environment.reset(seed=seed + trial)
        sentence = encoder(environment.instruction)
        success = late = False
        while not (success or late):
            action = policy.act(np.asarray(observation["image"]), observation["proprioception"], sentence)
            observation, _, success, late, _ = environment.step(action)
        outcomes.append(bool(success))
    return outcomes
