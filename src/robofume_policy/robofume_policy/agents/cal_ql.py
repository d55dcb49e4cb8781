"""Calibrated Q-learning (Cal-QL, Nakamoto et al., arXiv 2303.05479) on images; CQL with the calibration off."""

import math
from collections.abc import Iterable, Mapping
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
TEMPERATURE = "entropy_log_temperature"


class CalQL(Agent):
    """Cal-QL with multi-step returns, a behaviour-cloning term and an actor of fixed or learnt deviation.

    Notation: s, a, s', R, g' the batch's observation, action, observation n steps later, discounted sum of rewards
    until then and discount there (0 if terminal); V the Monte-Carlo return; Q_i the critics; bars mark the running
    average of the weights; pi(s) = N(mu(s), policy_std^2), clipped to [-1, 1], or, with the network's
    `learnt_deviation`, tanh(N(., sigma(s)^2)) around the same mu(s), what acts without chance.

    Critic   y   = R + g' min_i Qbar_i(s', a'),  a' ~ pibar(s'),  i among `critic_subset` critics drawn at random;
             with `max_target_backup` the largest over all sampled a'
             with `entropy_backup` h: y - g' h T log pibar(a'|s') of the a' that was taken
             D_i = E[ log sum_j exp Qhat_i(s, a_j) - Q_i(s, a) ]
             L_Q = sum_i 1/2 E (Q_i(s, a) - y)^2 + alpha sum_i D_i
             Qhat_i(s, a_j) = Q_i(s, a_j) - log u(a_j)                  a_j uniform
                              max(Q_i(s, a_j), V) - log pi(a_j)         a_j ~ pi(s), and a_j ~ pibar(s')
             without `importance_sampling` neither log u nor log pi is taken off
    Weight   with `conservative_gap` tau the CQL term has a Lagrange multiplier m >= 0, 1 at first:
             L_Q = sum_i 1/2 E (Q_i(s, a) - y)^2 + alpha m sum_i (D_i - tau),   L_m = -alpha m (mean_i D_i - tau)
             m grows while the term is above the gap and falls below it: alpha is then only the pace
    Actor    L_pi = - value_weight E[ mean_i Q_i(s, mu(s)) ] / E|Q| + imitation_weight E[ w |mu(s) - a|^2 ] / E[w]
             with a learnt deviation the first term is that of soft actor-critic (arXiv 1812.05905, eq. 7), over E|Q|:
             value_weight E[ T log pi(a'|s) - mean_i Q_i(s, a') ] / E|Q|,  a' ~ pi(s)
    Temperature  L_T = - log T (E[ log pi(a'|s) ] + A target_entropy),  T = 1 at first (its eq. 18)

    w marks successful episodes, the policy's own included; in practice that term has `imitation_weight_online` where it
    is set, and with `imitation_filter` w is 0 where mean_i Q_i(s, a) < mean_i Q_i(s, mu(s)), so that slow
    demonstrations do not hold back a policy that knows better (Q-filter, arXiv 1709.10089). The image encoder is
    trained by L_Q and, unless `imitation_trains_encoder` is off as in RoboFuME (arXiv 2310.15145), by the imitation
    term. Differences from the paper's code: multi-step returns, the averaged policy for s', the imitation term, and,
    unless it is learnt, a policy of fixed deviation.

    Entropy. A fixed deviation has the same entropy everywhere, A log(policy_std sqrt(2 pi e)) before clipping. It
    cannot make one state's policy wider than another's, and there is no temperature to learn (T counts as 1):
    `entropy_backup` adds it to every target, a constant gain per step (a loss where policy_std is below .24). V has no
    such part. A gain that outweighs the cost of a step would make failing for ever the best plan; such a setting is
    refused. With a learnt deviation `entropy_backup` 1 is soft actor-critic's own target.

    Metrics: `values/imitated` is the share of w that the filter leaves; `values/entropy` that of what is sampled,
    `values/temperature` T (0 where none is learnt); `clipped/policy_actions` counts the components of the actions drawn
    from pi(s) that are at a limit.
    """

    metric_names: ClassVar[tuple[str, ...]] = (
        "losses/bellman", "losses/conservative", "losses/actor_value", "losses/imitation",
        "values/data", "values/policy", "values/target", "values/below_return", "values/multiplier",
        "values/entropy", "values/temperature", "values/imitated", "clipped/policy_actions", *Agent.metric_names,
    )  # fmt: skip

    def make_network(self, shape: NetworkConfig) -> ActorCritic:
        """The network, with the multiplier of the CQL term and the temperature where they are learnt."""
        config = self.config
        entropy = self.fixed_entropy(shape)
        if not shape.learnt_deviation and config.entropy_backup * entropy >= 1.0:
            raise RobofumeError(
                f"entropy_backup {config.entropy_backup:g} times the policy's entropy {entropy:.2f} is more than a "
                "step costs, so that never finishing would be the best plan: lower entropy_backup or policy_std."
            )
        network = super().make_network(shape)
        if config.conservative_gap >= 0.0:
            network.register_parameter(MULTIPLIER, nn.Parameter(torch.zeros(())))
        if shape.learnt_deviation:
            network.register_parameter(TEMPERATURE, nn.Parameter(torch.zeros(())))
        return network

    def fixed_entropy(self, shape: NetworkConfig) -> float:
        """Of the Gaussian of fixed deviation, in nats, before clipping."""
        return shape.action_dimension * math.log(self.config.policy_std * math.sqrt(2.0 * math.pi * math.e))

    def load_state_dict(self, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """As `Agent.load_state_dict`; RobofumeError where one of both learns a multiplier and the other does not."""
        learnt = f"network.{MULTIPLIER}" in tensors
        if learnt != (self.config.conservative_gap >= 0.0):
            had = "a learnt multiplier" if learnt else "a fixed weight"
            advice = "give the conservative_gap that it had" if learnt else "leave conservative_gap below 0"
            raise RobofumeError(f"This policy was trained with {had} of the CQL term and goes on so: {advice}.")
        super().load_state_dict(tensors, state)

    def actor_parameters(self) -> Iterable[Tensor]:
        """The actor and the temperature of its entropy."""
        temperature = [self.network.get_parameter(TEMPERATURE)] if self.network_config.learnt_deviation else []
        return [*super().actor_parameters(), *temperature]

    def draws(self, count: int) -> dict[str, Tensor]:
        """Noise of the actions around pibar(s') and pi(s), uniform actions, (count, K, A) each; with `critic_subset`
        which critics give the targets (REDQ, arXiv 2101.05982), and with a learnt deviation the noise of the actor's
        own action, (count, 1, A)."""
        shape = (count, self.config.sampled_actions, self.network_config.action_dimension)
        critics, subset = self.network_config.critics, self.config.critic_subset
        drawn = {"next_noise": self._drawn(torch.randn, shape)}
        if 0 < subset < critics:
            drawn["subset"] = torch.randperm(critics, generator=self.noise, device=self.device)[:subset]
        drawn["policy_noise"] = self._drawn(torch.randn, shape)
        drawn["random_actions"] = self._drawn(torch.rand, shape) * 2.0 - 1.0
        if self.network_config.learnt_deviation:
            drawn["actor_noise"] = self._drawn(torch.randn, (count, 1, shape[-1]))
        return drawn

    def loss(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """L_Q + L_pi of the class's docstring; without a weight the CQL term is left out, and so are its actions."""
        network, average, config = self.network, self.average, self.config
        inputs = network.normaliser(batch["proprioception"], batch["instructions"])
        next_inputs = network.normaliser(batch["next_proprioception"], batch["instructions"])
        actor, temperature = network.actor, self._temperature()

        with torch.no_grad():
            encoded = average.encoder(batch["next_images"])
            next_actions, next_density = average.actor.sample(
                average.actor.outputs(encoded, *next_inputs), batch["next_noise"], config.policy_std
            )
            next_state = average.critics.features(encoded, *next_inputs)
            asked = next_actions if config.max_target_backup else next_actions[:, :1]
            next_values = average.critics(next_state, asked)
            if "subset" in batch:
                next_values = next_values[batch["subset"]]
            best, taken = next_values.min(0).values.max(1)
            weight = config.entropy_backup if temperature is None else config.entropy_backup * temperature
            next_value = best - weight * next_density.gather(1, taken[:, None])[:, 0]
            target = batch["rewards"] + batch["discounts"] * next_value

        encoded = network.encoder(batch["images"])
        outputs = actor.outputs(encoded.detach(), *inputs)
        mean = actor.mean(outputs)
        imitating = actor(encoded, *inputs) if config.imitation_trains_encoder else mean

        # Critic: the data's action and all sampled ones in one pass; only the action's part differs.
        policy_actions, policy_density = actor.sample(outputs.detach(), batch["policy_noise"], config.policy_std)
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
        asked, cost, heat = mean.unsqueeze(1), mean.new_zeros(()), mean.new_zeros(())
        entropy = mean.new_tensor(self.fixed_entropy(self.network_config))
        if temperature is not None:
            asked, density = actor.sample(outputs, batch["actor_noise"])
            cost, entropy, heat = temperature * density.mean(), -density.detach().mean(), self._heat(density.detach())
        policy_values = functional_call(network.critics, fixed, (state.detach(), asked))
        policy_values = policy_values.mean(0).squeeze(-1)
        scale = self.team.mean(policy_values.detach().abs().mean()).clamp_min(1e-3)
        actor_value = (cost - policy_values.mean()) / scale
        error = (imitating - batch["actions"]).square().sum(-1)
        copied = batch["imitation"]
        if self.imitation_filtered:
            copied = copied * (data_values.detach().mean(0) >= policy_values.detach())
        imitation = self._weighted_mean(error, copied, 1.0)

        weighted, multiplier = self._weighted(conservative)
        loss = (
            bellman + weighted + heat
            + self.value_weight * actor_value + self.imitation_weight * imitation
        )  # fmt: skip
        return loss, {
            "losses/bellman": bellman, "losses/conservative": conservative,
            "losses/actor_value": actor_value, "losses/imitation": imitation,
            "values/data": data_values.mean(), "values/policy": policy_values.mean(),
            "values/target": target.mean(), "values/below_return": below,
            "values/multiplier": multiplier, "values/entropy": entropy,
            "values/temperature": mean.new_zeros(()) if temperature is None else temperature,
            "values/imitated": copied.sum() / batch["imitation"].sum().clamp_min(1.0),
            "clipped/policy_actions": self._at_limits(policy_actions),
        }  # fmt: skip

    def _temperature(self) -> Tensor | None:
        """T, without a gradient; None where the deviation is fixed."""
        if not self.network_config.learnt_deviation:
            return None
        return self.network.get_parameter(TEMPERATURE).detach().exp()

    def _heat(self, density: Tensor) -> Tensor:
        """L_T of the log-densities (B, 1) of the actor's own actions."""
        wanted = self.network_config.action_dimension * self.config.target_entropy
        return -self.network.get_parameter(TEMPERATURE) * (density.mean() + wanted)

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
