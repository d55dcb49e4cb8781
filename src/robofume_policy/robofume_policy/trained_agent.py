"""An agent together with all that is needed to use or continue it: what a checkpoint holds."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from robofume_common.action import GRIPPER, ActionSpace
from robofume_common.errors import RobofumeError
from robofume_common.parameters import from_dict, to_dict
from torch import Tensor

from robofume_policy.agents import Agent, create_agent
from robofume_policy.config import AgentConfig, NetworkConfig
from robofume_policy.exploration import Exploration
from robofume_policy.policy_network import architecture_hash, serialise_policy


@dataclass
class TrainedAgent:
    """Agent, action space (None where it learnt from plain arrays, without a robot) and language model."""

    agent: Agent
    action_space: ActionSpace | None
    language: str

    @property
    def exploration(self) -> Exploration:
        """What the policy adds to its actions when it acts."""
        config, mask = self.agent.config, self.action_space.mask if self.action_space else None
        return Exploration(
            -1.0 if self.agent.network_config.learnt_deviation else config.exploration_std,
            config.exploration_correlation,
            config.exploration_gripper_flip,
            sum(mask[:GRIPPER]) if mask and mask[GRIPPER] else -1,
            config.exploration_still,
        )

    def weights(self) -> tuple[bytes, str]:
        """Safetensors of the policy that acts, and the hash of its architecture."""
        agent = self.agent
        data = serialise_policy(
            agent.policy_tensors(),
            agent.network_config,
            self.exploration,
            self.language,
        )
        return data, architecture_hash(agent.network_config)

    def state_dict(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors and JSON values of a checkpoint."""
        tensors, state = self.agent.state_dict()
        return tensors, {
            "network": to_dict(self.agent.network_config),
            "agent": to_dict(self.agent.config),
            "action_space": to_dict(self.action_space) if self.action_space else None,
            "language": self.language,
            "agent_state": state,
        }

    @classmethod
    def from_state_dict(
        cls,
        tensors: Mapping[str, Tensor],
        state: Mapping[str, Any],
        config: AgentConfig | None = None,
        seed: int = 0,
        device: str = "cpu",
    ) -> "TrainedAgent":
        """Rebuild from a checkpoint, whichever `device` it was made on; `config` replaces the learning settings.

        Raises RobofumeError if the checkpoint belongs to another version.
        """
        try:
            network = from_dict(NetworkConfig, state["network"])
            agent = create_agent(network, config or from_dict(AgentConfig, state["agent"]), seed, device)
            agent.load_state_dict(tensors, state["agent_state"])
            space = state["action_space"]
            return cls(agent, None if space is None else from_dict(ActionSpace, space), state["language"])
        except (KeyError, RuntimeError, TypeError, ValueError, OverflowError) as error:
            raise RobofumeError(f"The checkpoint was made by another version of the policy: {error}") from error
