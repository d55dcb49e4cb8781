"""Trials of a trained policy in an environment, without ROS."""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from robofume_common.errors import RobofumeError

from robofume_policy.actor import stacked
from robofume_policy.config import NetworkConfig
from robofume_policy.language import InstructionEncoder
from robofume_policy.policy_network import load_policy
from robofume_policy.replay import Array
from robofume_policy.trained_agent import TrainedAgent


class Environment(Protocol):
    """What is asked of an environment: Gymnasium's `reset` and `step`, and the sentence of its task.

    An observation has `proprioception` (P,), an `image` (H, W, 3) uint8 unless the policy has no encoder, and one such
    picture by the name of each of the policy's further cameras; an action is (A,) in [-1, 1]. Such is
    `robofume_sim.environment.RobofumeEnv`, with the first camera alone.
    """

    @property
    def instruction(self) -> str | Array:
        """What to do: a sentence, or its embedding (D,) where the policy learnt from arrays with such."""

    def reset(self, *, seed: int | None = None) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """Begin a trial; observation and further facts."""

    def step(self, action: Any) -> tuple[Mapping[str, Any], float, bool, bool, Mapping[str, Any]]:
        """Observation, reward, whether the task succeeded, whether the time is over, further facts."""


def evaluate(trained: TrainedAgent, environment: Environment, trials: int = 50, seed: int = 0) -> list[bool]:
    """Whether each of so many trials succeeded; the policy acts without noise, trial k begins from `seed` + k.

    A trial ends with the environment's `terminated`, which counts as a success, or its `truncated`. Raises
    RobofumeError where there is no trial to make, where an observation lacks something that the policy looks at, or
    where the pictures have another size than the policy's.
    """
    if trials < 1:
        raise RobofumeError(f"An evaluation needs at least one trial, not {trials}.")
    policy, encoder = load_policy(*trained.weights()), InstructionEncoder(trained.language)
    outcomes = []
    for trial in range(trials):
        observation, _ = environment.reset(seed=seed + trial)
        told = environment.instruction
        sentence = encoder(told) if isinstance(told, str) else told
        success = late = False
        while not (success or late):
            image, state = _seen(policy.config, observation)
            action = policy.act(image, state, sentence)
            observation, _, success, late, _ = environment.step(action)
        outcomes.append(bool(success))
    return outcomes


def _seen(network: NetworkConfig, observation: Mapping[str, Any]) -> tuple[Array | None, Array]:
    """What the policy looks at: (H, W, 3 * cameras), None without an encoder, and the proprioception (P,)."""
    pictures = () if network.encoder == "none" else ("image", *network.further_cameras)
    for name in (*pictures, "proprioception"):
        if name not in observation:
            raise RobofumeError(
                f"The environment's observation has no {name}, which the policy looks at, only "
                f"{', '.join(map(str, observation))}: add it, or evaluate a policy that does without."
            )
    shown = [np.asarray(observation[name]) for name in pictures]
    return stacked(shown) if shown else None, np.asarray(observation["proprioception"])
