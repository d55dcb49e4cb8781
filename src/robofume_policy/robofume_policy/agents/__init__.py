"""Learning rules over one network and one interface."""

from robofume_common.errors import RobofumeError

from robofume_policy.agents.base import Agent
from robofume_policy.agents.bc import FilteredBC
from robofume_policy.agents.cal_ql import CalQL
from robofume_policy.agents.iql import IQL
from robofume_policy.config import AgentConfig, NetworkConfig


def create_agent(network: NetworkConfig, config: AgentConfig, seed: int, device: str = "cpu") -> Agent:
    """Make the agent that `config.algorithm` names.

    Raises RobofumeError where the settings ask for something that this algorithm does not have.
    """
    kinds: dict[str, type[Agent]] = {"cal_ql": CalQL, "cql": CalQL, "iql": IQL, "bc": FilteredBC}
    if config.algorithm in ("iql", "bc"):
        if config.entropy_backup > 0.0:
            raise RobofumeError(
                f"{config.algorithm} samples no action in its targets, so there is no entropy to back up: leave "
                "entropy_backup at 0, or take cal_ql or cql."
            )
        if config.conservative_gap >= 0.0:
            raise RobofumeError(
                f"{config.algorithm} has no CQL term that a Lagrange multiplier could weigh: leave conservative_gap "
                "below 0, or take cal_ql or cql."
            )
        if network.learnt_deviation:
            raise RobofumeError(
                f"{config.algorithm} learns no deviation of its policy: leave network.learnt_deviation off, or take "
                "cal_ql or cql."
            )
    if config.algorithm == "bc" and config.actor_every > 1:
        raise RobofumeError(
            "bc trains no critics that could be updated more often than the actor: leave actor_every at 1, or take "
            "cal_ql, cql or iql."
        )
    return kinds[config.algorithm](network, config, seed, device)


__all__ = ["IQL", "Agent", "CalQL", "FilteredBC", "create_agent"]
