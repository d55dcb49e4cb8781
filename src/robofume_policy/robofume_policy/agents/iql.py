"""Implicit Q-learning (IQL, Kostrikov et al., arXiv 2110.06169) on images: the baseline that asks no new action."""

from typing import ClassVar

import torch
from torch import Tensor

from robofume_policy.agents.base import Agent
from robofume_policy.networks import ActorCritic, ActorCriticValue

LARGEST_WEIGHT = 100.0
"""Of one transition in the actor's loss (paper)."""


class IQL(Agent):
    """IQL with multi-step returns and an actor of fixed standard deviation.

    Notation as in `CalQL`; V_psi the value of states; u = min_i Qbar_i(s, a) - V_psi(s).

    Critic   y   = R + g' Vbar_psi(s')
             L_Q = sum_i 1/2 E (Q_i(s, a) - y)^2
    Value    L_V = E[ |expectile - 1(u < 0)| u^2 ]
    Actor    L_pi = imitation_weight E[ min(exp(temperature u), 100) |mu(s) - a|^2 ] / E[ min(exp(temperature u), 100) ]

    The image encoder is trained by L_Q and L_V and, unless `imitation_trains_encoder` is off, by L_pi. Differences from
    the paper's code: multi-step returns, the averaged V for s', weights that are normalised over the batch. The metric
    `clipped/weights` counts the transitions whose weight is at its largest.
    """

    metric_names: ClassVar[tuple[str, ...]] = (
        "losses/bellman", "losses/expectile", "losses/imitation",
        "values/data", "values/state", "values/target", "values/advantage", "clipped/weights",
        *Agent.metric_names,
    )  # fmt: skip
    network_class: ClassVar[type[ActorCritic]] = ActorCriticValue

    def loss(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """L_Q + L_V + L_pi of the class's docstring."""
        network, average, config = self.network, self.average, self.config
        assert isinstance(network, ActorCriticValue)
        assert isinstance(average, ActorCriticValue)
        inputs = network.normaliser(batch["proprioception"], batch["instructions"])
        next_inputs = network.normaliser(batch["next_proprioception"], batch["instructions"])
        actions = batch["actions"].unsqueeze(1)

        with torch.no_grad():
            next_value = average.state_value(average.encoder(batch["next_images"]), *next_inputs)
            target = batch["rewards"] + batch["discounts"] * next_value
            encoded = average.encoder(batch["images"])
            state = average.critics.features(encoded, *inputs)
            steady = average.critics(state, actions).min(0).values.squeeze(-1)

        encoded = network.encoder(batch["images"])
        data_values = network.critics(network.critics.features(encoded, *inputs), actions).squeeze(-1)
        bellman = 0.5 * (data_values - target).square().mean(1).sum()

        value = network.state_value(encoded, *inputs)
        advantage = steady - value
        expectile = ((config.expectile - (advantage < 0).float()).abs() * advantage.square()).mean()

        weight = (config.advantage_temperature * advantage.detach()).exp().clamp_max(LARGEST_WEIGHT)
        mean = network.actor(encoded if config.imitation_trains_encoder else encoded.detach(), *inputs)
        error = (mean - batch["actions"]).square().sum(-1)
        imitation = self._weighted_mean(error, weight, 1e-6)

        loss = bellman + expectile + self.imitation_weight * imitation
        return loss, {
            "losses/bellman": bellman, "losses/expectile": expectile, "losses/imitation": imitation,
            "values/data": data_values.mean(), "values/state": value.mean(), "values/target": target.mean(),
            "values/advantage": advantage.mean(), "clipped/weights": self._count(weight >= LARGEST_WEIGHT),
        }  # fmt: skip
