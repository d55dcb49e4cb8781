"""Learning in RoboFuME: replay memory, agents, pre-training, learning in practice, evaluation and the policy node.

The names below can be imported from here. Their modules are loaded when they are first asked for, since torch takes
seconds that a node without it need not wait.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from robofume_policy.adaptation import adapt as adapt
    from robofume_policy.agents import create_agent as create_agent
    from robofume_policy.config import AgentConfig as AgentConfig
    from robofume_policy.config import NetworkConfig as NetworkConfig
    from robofume_policy.config import OnlineConfig as OnlineConfig
    from robofume_policy.config import PretrainingConfig as PretrainingConfig
    from robofume_policy.config import ReplayConfig as ReplayConfig
    from robofume_policy.evaluation import evaluate as evaluate
    from robofume_policy.online_learner import OnlineLearner as OnlineLearner
    from robofume_policy.policy_network import load_policy as load_policy
    from robofume_policy.presets import PRESETS as PRESETS
    from robofume_policy.pretraining import pretrain as pretrain
    from robofume_policy.replay import EpisodeTransitions as EpisodeTransitions

_MODULES = {
    "adapt": "adaptation",
    "create_agent": "agents",
    "AgentConfig": "config",
    "NetworkConfig": "config",
    "OnlineConfig": "config",
    "PretrainingConfig": "config",
    "ReplayConfig": "config",
    "EpisodeTransitions": "replay",
    "evaluate": "evaluation",
    "OnlineLearner": "online_learner",
    "load_policy": "policy_network",
    "pretrain": "pretraining",
    "PRESETS": "presets",
}

__all__ = sorted(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULES])
