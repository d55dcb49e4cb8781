"""Settings of the reward node, which whoever judges as it does shares."""

from __future__ import annotations

from dataclasses import dataclass

from robofume_common.parameters import setting

from .asking import VerdictConfig
from .judge import JudgeConfig


@dataclass(frozen=True)
class RewardNodeConfig(VerdictConfig):
    """Settings of the reward node."""

    judge: str = setting("vlm", "Who judges", choices=("vlm", "ground_truth"))
    model: str = setting("", "Reward model: directory or hub name; needed by the judge vlm")
    accept_unfit: bool = setting(
        False, "Judge by the model although held-out pictures show that it does not tell success from failure"
    )
    device: str = setting("cpu", "Torch device of the model")
    dtype: str = setting("float32", "Precision of the model", choices=("float32", "bfloat16"))
    threads: int = setting(1, "Torch threads; 0 leaves torch's own choice", minimum=0, maximum=256)
    allow_download: bool = setting(False, "Fetch a hub name from the network")
    needed: int = setting(1, "Answers of the last `window` that must say success", minimum=1, maximum=100)
    window: int = setting(1, "Answers that are looked at; 1 judges each image alone", minimum=1, maximum=100)
    hold: int = setting(1, "Newest answers in a row that must say success", minimum=1, maximum=100)
    minimum_index: int = setting(0, "First step of an episode that may be called a success", minimum=0, maximum=10000)
    batch_limit: int = setting(16, "Most steps that are judged at once", minimum=1, maximum=1024)
    queue_limit: int = setting(
        64, "Most steps that wait; when full, the oldest is answered unknown", minimum=1, maximum=100000
    )
    reload_every: float = setting(
        2.0, "Time between two looks for a newer version of the model; 0: none", unit="s", minimum=0.0, maximum=3600.0
    )
    deadline: float = setting(
        5.0,
        "Age at which a step is answered unknown; noticed at most 0.05 s later, until when an answer still counts",
        unit="s",
        minimum=0.01,
        maximum=3600.0,
    )

    @property
    def rule(self) -> JudgeConfig:
        """When the answers about the steps of an episode become a success verdict."""
        return JudgeConfig(self.needed, self.window, self.hold, self.minimum_index)
