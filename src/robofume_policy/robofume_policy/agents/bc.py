"""Filtered behaviour cloning: the baseline that has no values."""

from typing import ClassVar

from torch import Tensor

from robofume_policy.agents.base import Agent


class FilteredBC(Agent):
    """Copies the actions of successful episodes, its own included; same network, same augmentation.

    L = E[ w |pi(s) - a|^2 ] / E[w],  w = 1 for steps of successful episodes, else 0.  The encoder is trained by it.
    """

    metric_names: ClassVar[tuple[str, ...]] = ("losses/imitation", *Agent.metric_names)

    def loss(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """L of the class's docstring."""
        mean = self.network(batch["images"], batch["proprioception"], batch["instructions"])
        error = (mean - batch["actions"]).square().sum(-1)
        loss = self._weighted_mean(error, batch["imitation"], 1.0)
        return loss, {"losses/imitation": loss}
