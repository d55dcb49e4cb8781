"""Calibrated Q-learning (Cal-QL, Nakamoto et al., arXiv 2303.05479) on images; CQL with the calibration off."""

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from robofume_common.errors import RobofumeError
from torch import Tensor, nn
from torch.func import functional_call

from robofume_policy.agents.base import Agent
from robofume_policy.config import NetworkConfig
from robofume_policy.networks import ActorCritic

LARGEST_MULTIPLIER = 1e6
"""Of the CQL term (paper)."""
MULTIPLIER = "conservative_log_multiplier"


class CalQL(Agent):
    """Cal-QL with an actor of fixed standard deviation, multi-step returns and a behaviour-cloning term.

    Notation: s, a, s', R, g' the batch's observation, action, observation n steps later, discounted sum of rewards
    until then and discount there (0 if terminal); V the Monte-Carlo return; Q_i the critics; bars mark the running
    average of the weights; pi(s) = N(mu(s), policy_std^2), clipped to [-1, 1].

    Critic   y   = R + g' min_i Qbar_i(s', a'),  a' ~ pibar(s'),  i among `critic_subset` critics drawn at random;
             with `max_target_backup` the largest over all sampled a'
             with `entropy_backup` h: y - g' h log pibar(a'|s') of the a' that was taken
             D_i = E[ log sum_j exp Qhat_i(s, a_j) - Q_i(s, a) ]
             L_Q = sum_i 1/2 E (Q_i(s, a) - y)^2 + alpha sum_i D_i
             Qhat_i(s, a_j) = Q_i(s, a_j) - log u(a_j)                  a_j uniform
                              max(Q_i(s, a_j), V) - log pi(a_j)         a_j ~ pi(s), and a_j ~ pibar(s')
             without `importance_sampling` neither log u nor log pi is taken off
    Weight   with `conservative_gap` tau the CQL term has a Lagrange multiplier m >= 0, 1 at first:
             L_Q = sum_i 1/2 E (Q_i(s, a) - y)^2 + alpha m sum_i (D_i - tau),   L_m = -alpha m (mean_i D_i - tau)
             m grows while the term is above the gap and falls below it: alpha is then only the pace
    Actor    L_pi = - value_weight E[ mean_i Q_i(s, mu(s)) ] / E|Q| + imitation_weight E[ w |mu(s) - a|^2 ] / E[w]

    w marks successful episodes, the policy's own included; in practice that term has `imitation_weight_online` where it
    is set. The image encoder is trained by L_Q and, unless `imitation_trains_encoder` is off as in RoboFuME (arXiv
    2310.15145), by the imitation term. Differences from the paper's code: multi-step returns, the averaged policy for
    s', a policy of fixed deviation, the imitation term.

    Entropy. What acts is mu(s), which has none; what targets and the CQL term sample is a Gaussian of fixed deviation,
    whose entropy, A log(policy_std sqrt(2 pi e)) before clipping, is the same everywhere. It cannot make one state's
    policy wider than another's, as in soft actor-critic, and there is no temperature to learn: `entropy_backup` adds
    it to every target, a constant gain per step (a loss where policy_std is below .24). V has no such part. A gain
    that outweighs the cost of a step would make failing for ever the best plan; such a setting is refused.

    Metrics: `values/entropy` is that entropy; `clipped/policy_actions` counts the components of the actions drawn from
    pi(s) that are at a limit.
    """

    metric_names: ClassVar[tuple[str, ...]] = (
        "losses/bellman", "losses/conservative", "losses/actor_value", "losses/imitation",
        "values/data", "values/policy", "values/target", "values/below_return", "values/multiplier",
        "values/entropy", "clipped/policy_actions", *Agent.metric_names,
    )  # fmt: skip

    def make_network(self, shape: NetworkConfig) -> ActorCritic:
        """The network, with the multiplier of the CQL term where it is learnt."""
        config = self.config
        entropy = self.entropy(shape)
        if config.entropy_backup * entropy >= 1.0:
            raise RobofumeError(
                f"entropy_backup {config.entropy_backup:g} times the policy's entropy {entropy:.2f} is more than a "
                "step costs, so that never finishing would be the best plan: lower entropy_backup or policy_std."
            )
        network = super().make_network(shape)
        if config.conservative_gap >= 0.0:
            network.register_parameter(MULTIPLIER, nn.Parameter(torch.zeros(())))
        return network

    def entropy(self, shape: NetworkConfig) -> float:
        """Of the Gaussian that is sampled, in nats, before clipping."""
        return shape.action_dimension * math.log(self.config.policy_std * math.sqrt(2.0 * math.pi * math.e))

    def load_state_dict(self, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """As `Agent.load_state_dict`; RobofumeError where one of both learns a multiplier and the other does not."""
        learnt = f"network.{MULTIPLIER}" in tensors
        if learnt != (self.config.conservative_gap >= 0.0):
            had = "a learnt multiplier" if learnt else "a fixed weight"
            advice = "give the conservative_gap that it had" if learnt else "leave conservative_gap below 0"
            raise RobofumeError(f"This policy was trained with {had} of the CQL term and goes on so: {advice}.")
        super().load_state_dict(tensors, state)

    def draws(self, count: int) -> dict[str, Tensor]:
        """Noise of the actions around pibar(s') and pi(s), uniform actions, (count, K, A) each, and with
        `critic_subset` which critics give the targets (REDQ, arXiv 2101.05982)."""
        shape = (count, self.config.sampled_actions, self.network_config.action_dimension)
        critics, subset = self.network_config.critics, self.config.critic_subset
        drawn = {"next_noise": self._drawn(torch.randn, shape)}
        if 0 < subset < critics:
            drawn["subset"] = torch.randperm(critics, generator=self.noise, device=self.device)[:subset]
        drawn["policy_noise"] = self._drawn(torch.randn, shape)
        drawn["random_actions"] = self._drawn(torch.rand, shape) * 2.0 - 1.0
        return drawn

    def loss(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """L_Q + L_pi of the class's docstring; without a weight the CQL term is left out, and so are its actions."""
        network, average, config = self.network, self.average, self.config
        inputs = network.normaliser(batch["proprioception"], batch["instructions"])
        next_inputs = network.normaliser(batch["next_proprioception"], batch["instructions"])

        with torch.no_grad():
            encoded = average.encoder(batch["next_images"])
            next_actions, next_density = self._sample(average.actor(encoded, *next_inputs), batch["next_noise"])
            next_state = average.critics.features(encoded, *next_inputs)
            asked = next_actions if config.max_target_backup else next_actions[:, :1]
            next_values = average.critics(next_state, asked)
            if "subset" in batch:
                next_values = next_values[batch["subset"]]
            best, taken = next_values.min(0).values.max(1)
            next_value = best - config.entropy_backup * next_density.gather(1, taken[:, None])[:, 0]
            target = batch["rewards"] + batch["discounts"] * next_value

        encoded = network.encoder(batch["images"])
        mean = network.actor(encoded.detach(), *inputs)
        imitating = network.actor(encoded, *inputs) if config.imitation_trains_encoder else mean

        # Critic: the data's action and all sampled ones in one pass; only the action's part differs.
        policy_actions, policy_density = self._sample(mean.detach(), batch["policy_noise"])
        actions = batch["actions"].unsqueeze(1)
        if self.conservative_weight > 0.0:
            actions = torch.cat([actions, batch["random_actions"], policy_actions, next_actions], 1)
        state = network.critics.features(encoded, *inputs)
        values = network.critics(state, actions)  # (critics, B, 1 + 3 K), or (critics, B, 1)
        data_values = values[..., 0]
        bellman = 0.5 * (data_values - target).square().mean(1).sum()
        conservative = below = bellman.new_zeros(())
        if self.conservative_weight > 0.0:
            conservative, below = self._conservative(
                data_values, values[..., 1:], batch["returns"], torch.cat([policy_density, next_density], 1)
            )

        # Actor: the critics are held fixed while their gradient with respect to the action is taken.
        fixed = {name: weight.detach() for name, weight in network.critics.named_parameters()}
        policy_values = functional_call(network.critics, fixed, (state.detach(), mean.unsqueeze(1)))
        policy_values = policy_values.mean(0).squeeze(-1)
        actor_value = -policy_values.mean() / self.team.mean(policy_values.detach().abs().mean()).clamp_min(1e-3)
        error = (imitating - batch["actions"]).square().sum(-1)
        imitation = self._weighted_mean(error, batch["imitation"], 1.0)

        weighted, multiplier = self._weighted(conservative)
        loss = (
            bellman + weighted
            + self.value_weight * actor_value + self.imitation_weight * imitation
        )  # fmt: skip
        return loss, {
            "losses/bellman": bellman, "losses/conservative": conservative,
            "losses/actor_value": actor_value, "losses/imitation": imitation,
            "values/data": data_values.mean(), "values/policy": policy_values.mean(),
            "values/target": target.mean(), "values/below_return": below,
            "values/multiplier": multiplier, "values/entropy": multiplier.new_tensor(self.entropy(self.network_config)),
            "clipped/policy_actions": self._at_limits(policy_actions),
        }  # fmt: skip

    def _sample(self, mean: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """K actions (B, K, A) around `mean` (B, A) by standard `noise` (B, K, A), and their log-densities (B, K),
        before clipping."""
        std = self.config.policy_std
        density = -0.5 * noise.square().sum(-1) - noise.shape[-1] * math.log(std * math.sqrt(2.0 * math.pi))
        return (mean.unsqueeze(1) + std * noise).clamp(-1.0, 1.0), density

    def _conservative(
        self, data_values: Tensor, sampled: Tensor, returns: Tensor, density: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The CQL term summed over critics, and the share of policy values below the return (the calibrated ones).

        `data_values` (C, B); `sampled` (C, B, 3 K): uniform, pi(s), pi(s'); `returns` (B,); `density` (B, 2 K).
        """
        count = self.config.sampled_actions
        random_values, policy_values = sampled[..., :count], sampled[..., count:]
        below = policy_values.detach() < returns[:, None]
        if self.config.algorithm == "cal_ql":
            policy_values = torch.maximum(policy_values, returns[:, None])
        if self.config.importance_sampling:
            random_values = random_values + self.network_config.action_dimension * math.log(2.0)
            policy_values = policy_values - density
        soft_maximum = torch.logsumexp(torch.cat([random_values, policy_values], -1), -1)
        return (soft_maximum - data_values).mean(1).sum(), below.float().mean()

    def _weighted(self, conservative: Tensor) -> tuple[Tensor, Tensor]:
        """alpha m (sum_i D_i - C tau) + L_m, and m, from `conservative` = sum_i D_i of C critics."""
        alpha, gap, critics = self.conservative_weight, self.config.conservative_gap, self.network_config.critics
        if gap < 0.0:
            return alpha * conservative, conservative.new_ones(())
        logarithm = self.network.get_parameter(MULTIPLIER)
        multiplier = logarithm.exp().clamp_max(LARGEST_MULTIPLIER)
        excess = conservative - critics * gap
        return alpha * (multiplier.detach() * excess - multiplier * excess.detach() / critics), multiplier
