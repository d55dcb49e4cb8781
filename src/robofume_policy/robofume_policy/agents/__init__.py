"""Learning rules over one network and one interface."""

from robofume_policy.agents.base import Agent
from robofume_policy.agents.bc import FilteredBC
from robofume_policy.agents.cal_ql import CalQL
from robofume_policy.agents.iql import IQL
from robofume_policy.config import AgentConfig, NetworkConfig


def create_agent(network: NetworkConfig, config: AgentConfig, seed: int, device: str = "cpu") -> Agent:
    """Make the agent that `config.algorithm` names."""
    kinds: dict[str, type[Agent]] = {"cal_ql": CalQL, "cql": CalQL, "iql": IQL, "bc": FilteredBC}
    return kinds[config.algorithm](network, config, seed, device)


__all__ = ["IQL", "Agent", "CalQL", "FilteredBC", "create_agent"]
