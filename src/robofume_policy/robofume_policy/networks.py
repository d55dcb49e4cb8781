"""The policy and its critics over one shared image encoder."""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from robofume_policy.config import NetworkConfig
from robofume_policy.encoder import create_encoder
from robofume_policy.layers import LayerNorm, Linear, ReLU


class InputNormaliser(nn.Module):
    """Centres and scales proprioception and sentence embeddings with fixed statistics of the recorded data.

    The sentences of a forward/backward pair lie close together (cosine around 0.9); centred and scaled to unit
    size, what tells them apart is what the network sees. The statistics are buffers: they travel with the weights.
    """

    proprioception_mean: Tensor
    proprioception_scale: Tensor
    instruction_mean: Tensor
    instruction_scale: Tensor

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.register_buffer("proprioception_mean", torch.zeros(config.proprioception_dimension))
        self.register_buffer("proprioception_scale", torch.ones(config.proprioception_dimension))
        self.register_buffer("instruction_mean", torch.zeros(config.instruction_dimension))
        self.register_buffer("instruction_scale", torch.ones(()))

    def fit(self, proprioception: Tensor, instructions: Tensor) -> None:
        """Set the statistics from `proprioception` (N, P) and the distinct sentence embeddings (K, D)."""
        self.proprioception_mean.copy_(proprioception.mean(0))
        spread = proprioception.std(0, correction=min(1, len(proprioception) - 1))  # of a single row 0, and not NaN
        self.proprioception_scale.copy_(spread.clamp_min(0.02))
        if len(instructions) > 1:
            self.instruction_mean.copy_(instructions.mean(0))
        deviation = instructions - self.instruction_mean
        self.instruction_scale.copy_(deviation.square().mean().sqrt().clamp_min(1e-4))

    def forward(self, proprioception: Tensor, instructions: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised `proprioception` (B, P), clipped to 5 deviations, and embeddings (B, D)."""
        state = ((proprioception - self.proprioception_mean) / self.proprioception_scale).clamp(-5.0, 5.0)
        return state, (instructions - self.instruction_mean) / self.instruction_scale


class StateFeatures(nn.Module):
    """What a head sees: projected image features (if any), proprioception and a small projection of the sentence."""

    def __init__(self, config: NetworkConfig, encoded: int) -> None:
        super().__init__()
        self.image = nn.Sequential(
            Linear(encoded, config.image_features), LayerNorm(config.image_features), nn.Tanh()
        ) if encoded else None  # fmt: skip
        self.instruction = Linear(config.instruction_dimension, config.instruction_features)
        state = config.proprioception_dimension + config.instruction_features
        self.dimension = state + (config.image_features if encoded else 0)

    def forward(self, encoded: Tensor, proprioception: Tensor, instructions: Tensor) -> Tensor:
        """Features (B, dimension) of normalised inputs."""
        sentence = self.instruction(instructions)
        if self.image is None:
            return torch.cat([proprioception, sentence.to(proprioception.dtype)], -1)
        image = self.image(encoded)
        return torch.cat([image, proprioception.to(image.dtype), sentence.to(image.dtype)], -1)


FIRST_LOG_DEVIATION, LEAST_LOG_DEVIATION, LARGEST_LOG_DEVIATION = -1.0, -20.0, 2.0
"""Of a learnt deviation, before the tanh: where it begins, and its bounds (as in Cal-QL's experiments)."""


class Actor(nn.Module):
    """The policy pi(s) over actions in [-1, 1], around tanh(mu(s)).

    Either a Gaussian of fixed deviation around it, clipped; or, with `learnt_deviation`, tanh(N(mu(s), sigma(s)^2)) as
    in soft actor-critic (Haarnoja et al., arXiv 1812.05905, appendix C).
    """

    def __init__(self, config: NetworkConfig, encoded: int) -> None:
        super().__init__()
        self.features = StateFeatures(config, encoded)
        self.dimension = config.action_dimension
        self.learnt_deviation = config.learnt_deviation
        self.layers = nn.Sequential(
            Linear(self.features.dimension, config.hidden_size), ReLU(),
            Linear(config.hidden_size, config.hidden_size), ReLU(),
            Linear(config.hidden_size, config.action_dimension * (2 if config.learnt_deviation else 1)),
        )  # fmt: skip

    def forward(self, encoded: Tensor, proprioception: Tensor, instructions: Tensor) -> Tensor:
        """Mean actions (B, A) of normalised inputs."""
        return self.mean(self.outputs(encoded, proprioception, instructions))

    def outputs(self, encoded: Tensor, proprioception: Tensor, instructions: Tensor) -> Tensor:
        """What the other methods take: mu (B, A), and behind it the logarithm of a learnt deviation, (B, 2 A)."""
        return self.layers(self.features(encoded, proprioception, instructions)).float()

    def mean(self, outputs: Tensor) -> Tensor:
        """Actions (B, A) to take without chance."""
        return torch.tanh(outputs[:, : self.dimension])

    def log_deviation(self, outputs: Tensor) -> Tensor:
        """Of a learnt deviation: the logarithm of sigma (B, A), before the tanh."""
        spread = outputs[:, self.dimension :] + FIRST_LOG_DEVIATION
        return spread.clamp(LEAST_LOG_DEVIATION, LARGEST_LOG_DEVIATION)

    def sample(self, outputs: Tensor, noise: Tensor, fixed: float = 0.0) -> tuple[Tensor, Tensor]:
        """K actions (B, K, A) by standard `noise` (B, K, A), and their log-densities (B, K).

        `fixed`: the deviation, above 0, where it is not learnt; the density is then that before clipping.
        """
        density = -0.5 * noise.square().sum(-1) - 0.5 * self.dimension * math.log(2.0 * math.pi)
        if not self.learnt_deviation:
            drawn = self.mean(outputs).unsqueeze(1) + fixed * noise
            return drawn.clamp(-1.0, 1.0), density - self.dimension * math.log(fixed)
        spread = self.log_deviation(outputs).unsqueeze(1)
        drawn = outputs[:, None, : self.dimension] + spread.exp() * noise
        # log(1 - tanh(u)^2), which would be log(0) where tanh(u) rounds to 1
        narrowing = 2.0 * (math.log(2.0) - drawn - softplus(-2.0 * drawn))
        return torch.tanh(drawn), density - (spread + narrowing).sum(-1)


class ValueHead(nn.Module):
    """One critic. The state's part of the first layer is computed once for all actions of a state."""

    def __init__(self, config: NetworkConfig, state: int) -> None:
        super().__init__()
        hidden = config.hidden_size
        self.state = Linear(state, hidden)
        self.action = Linear(config.action_dimension, hidden, bias=False)
        self.first = LayerNorm(hidden)
        self.second = nn.Sequential(ReLU(), Linear(hidden, hidden), LayerNorm(hidden), ReLU())
        self.value = Linear(hidden, 1)
        nn.init.constant_(self.value.bias, -10.0)  # rewards are -1 a step: start in the middle of the range

    def forward(self, state: Tensor, actions: Tensor) -> Tensor:
        """Values (B, K) of `actions` (B, K, A) in states with features `state` (B, F)."""
        hidden = self.state(state).unsqueeze(1) + self.action(actions)
        hidden = self.second(self.first(hidden))
        with torch.autocast(hidden.device.type, enabled=False):  # bfloat16 resolves a value of -16 to 1/16 only
            return self.value(hidden.float()).squeeze(-1)


class Critics(nn.Module):
    """An ensemble of critics over shared features."""

    def __init__(self, config: NetworkConfig, encoded: int) -> None:
        super().__init__()
        self.features = StateFeatures(config, encoded)
        self.heads = nn.ModuleList(ValueHead(config, self.features.dimension) for _ in range(config.critics))

    def forward(self, state: Tensor, actions: Tensor) -> Tensor:
        """Values (critics, B, K) of `actions` (B, K, A) in states with features `state` (B, F)."""
        return torch.stack([head(state, actions) for head in self.heads])


class Policy(nn.Module):
    """What acts: input statistics, encoder and actor. Its tensors are what `policy/weights` carries."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.normaliser = InputNormaliser(config)
        self.encoder = create_encoder(config)
        self.actor = Actor(config, self.encoder.output_dimension)

    def forward(self, images: Tensor, proprioception: Tensor, instructions: Tensor) -> Tensor:
        """Mean actions (B, A) for `images` (B, H, W, C) uint8, `proprioception` (B, P), embeddings (B, D)."""
        return self.actor.mean(self.outputs(images, proprioception, instructions))

    def outputs(self, images: Tensor, proprioception: Tensor, instructions: Tensor) -> Tensor:
        """`Actor.outputs` of what `forward` takes."""
        return self.actor.outputs(self.encoder(images), *self.normaliser(proprioception, instructions))


class ActorCritic(Policy):
    """The policy together with its critics."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__(config)
        self.critics = Critics(config, self.encoder.output_dimension)


class StateValue(nn.Module):
    """The value of a state, whatever is done there."""

    def __init__(self, config: NetworkConfig, encoded: int) -> None:
        super().__init__()
        self.features = StateFeatures(config, encoded)
        hidden = config.hidden_size
        self.hidden = nn.Sequential(
            Linear(self.features.dimension, hidden), LayerNorm(hidden), ReLU(),
            Linear(hidden, hidden), LayerNorm(hidden), ReLU(),
        )  # fmt: skip
        self.value = Linear(hidden, 1)
        nn.init.constant_(self.value.bias, -10.0)  # as the critics

    def forward(self, encoded: Tensor, proprioception: Tensor, instructions: Tensor) -> Tensor:
        """Values (B,) float32 of normalised inputs."""
        hidden = self.hidden(self.features(encoded, proprioception, instructions))
        with torch.autocast(hidden.device.type, enabled=False):
            return self.value(hidden.float()).squeeze(-1)


class ActorCriticValue(ActorCritic):
    """Policy, critics and a value of states."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__(config)
        self.state_value = StateValue(config, self.encoder.output_dimension)
