"""Exploration by random network distillation (RND, Burda et al., arXiv 1810.12894), on top of any agent, as OOO uses
it (Mark et al., arXiv 2310.08558).

A network is trained to say what another, random one says of an observation; where it was often, it knows. Its error is
the bonus. The task's rewards stay as they are in the memory: the bonus is added while a batch is drawn, so that a
policy that is retrained afterwards sees the reward of the task alone.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from robofume_common.errors import RobofumeError
from torch import Tensor, nn

from robofume_policy.config import NetworkConfig, NoveltyConfig
from robofume_policy.encoder import create_encoder
from robofume_policy.replay import Array, Batch, ReplayMemory

IMAGE_FEATURES = 128
"""Random projections of the random encoder's features."""
CLIP = 5.0
"""Largest normalised feature (paper)."""
RECORDED_BATCH = 256
"""Observations in an update of g on the recorded data."""
_Place = tuple[int, str]
"""Number of the memory, and id of the episode there: another run's practice as prior data has the ids of this one's."""


class NoveltyNetwork(nn.Module):
    """A random network f and the one that learns it, g, over features x of an observation.

    x: a random, fixed encoder of the image and the proprioception, centred and scaled to unit deviation over the
    recorded data and clipped to [-5, 5]. Because x never changes, it is computed once for each observation.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, network: NetworkConfig, hidden_size: int) -> None:
        super().__init__()
        self.encoder = create_encoder(network)
        encoded = self.encoder.output_dimension
        self.projection = nn.Linear(encoded, IMAGE_FEATURES) if encoded else None
        size = network.proprioception_dimension + (IMAGE_FEATURES if encoded else 0)
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("scale", torch.ones(size))
        self.requires_grad_(False)
        self.fixed = _layers(size, hidden_size).requires_grad_(False)
        self.learnt = _layers(size, hidden_size)

    @torch.no_grad()
    def raw_features(self, images: Tensor, proprioception: Tensor) -> Tensor:
        """(B, F) of `images` (B, H, W, C) uint8 and `proprioception` (B, P), not normalised."""
        if self.projection is None:
            return proprioception
        return torch.cat([self.projection(self.encoder(images)), proprioception], -1)

    def normalise(self, raw: Tensor) -> Tensor:
        """x (B, F) of raw features."""
        return ((raw - self.mean) / self.scale).clamp(-CLIP, CLIP)

    def error(self, features: Tensor) -> Tensor:
        """|g(x) - f(x)|^2 / outputs, (B,)."""
        return (self.learnt(features) - self.fixed(features)).square().mean(-1)


class NoveltyBonus:
    """The bonus of observations, its training, and its place in a replay memory.

    b(s)     = min(|g(x(s)) - f(x(s))|^2 / sigma, largest),  sigma the standard deviation of the error over what is held
    r'_t     = r_t + w b(s_{t+1}),  for n steps discounted and summed as r is
    V'_t     = V_t + w sum_k discount^k b(s_{t+1+k})  until the episode's end: the Monte-Carlo return that Cal-QL
               compares with. b >= 0, so what comes after a time-out can only make it larger.

    g first learns the recorded data, which are known, and then on a random share of every batch. The bonuses that are
    held were right when they were given; `refresh` gives them to new episodes, and to all on a schedule, with sigma
    anew (paper: a running deviation, which here the errors before g had learnt anything would rule for a whole
    practice). All of it continues bit for bit from `state_dict`.
    """

    metric_names = ("losses/novelty", "novelty/bonus", "novelty/weight")

    def __init__(
        self, network: NetworkConfig, config: NoveltyConfig, discount: float, seed: int, device: str = "cpu"
    ) -> None:
        self.config = config
        self.discount = discount
        self.device = torch.device(device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network = NoveltyNetwork(network, config.novelty_hidden_size).to(self.device)
        self.optimiser = torch.optim.Adam(self.network.learnt.parameters(), lr=config.novelty_learning_rate)
        self.random = np.random.default_rng(seed)
        self._deviation = 1.0  # sigma
        self._features: dict[_Place, Tensor] = {}  # (S, F)
        self._given: dict[_Place, Array] = {}  # b of its observations (S,) as given last

    def fit(self, memory: ReplayMemory, ignored: slice = slice(0)) -> None:
        """Set the statistics of the features, and let g learn them, from recorded data.

        `ignored`: features that make nothing new, such as the place of a goal in the proprioception.
        """
        raw = torch.cat([self._raw(*seen[:2]) for e in memory.episode_ids() if (seen := memory.observations(e))])
        self.network.mean.copy_(raw.mean(0))
        self.network.scale.copy_(raw.std(0).clamp_min(1e-4))
        self.network.scale[ignored] = torch.inf
        self._features.clear()
        features = self.network.normalise(raw)
        for _ in range(self.config.novelty_recorded_updates):
            self._learn(features[torch.from_numpy(self.random.integers(0, len(features), RECORDED_BATCH))])
        self._measure([features])

    def weight(self, updates: int) -> float:
        """w after so many updates of practice: falls in a line to 0, or stays."""
        config = self.config
        if config.novelty_decay_updates == 0:
            return config.novelty_weight
        return config.novelty_weight * max(0.0, 1.0 - updates / config.novelty_decay_updates)

    def update(self, batch: Batch) -> dict[str, Tensor]:
        """Train g on a random share of the batch's next observations; returns the loss and the mean bonus there."""
        count = max(1, round(len(batch.rewards) * self.config.novelty_share))
        rows = self.random.permutation(len(batch.rewards))[:count]
        raw = self._raw(batch.next_images[rows], batch.next_proprioception[rows])
        errors = self._learn(self.network.normalise(raw))
        return {"losses/novelty": errors.mean(), "novelty/bonus": (errors / self._deviation).mean()}

    @torch.no_grad()
    def bonus(self, images: Array, proprioception: Array) -> Array:
        """b (N,) float32 of observations: `images` (N, H, W, C) uint8, `proprioception` (N, P)."""
        return self._bonus(self.network.normalise(self._raw(images, proprioception)))

    def refresh(self, memories: Iterable[ReplayMemory], everything: bool) -> None:
        """Give bonuses to the episodes of some memories that have none yet, or to all of them anew.

        The memories are the same ones, in the same order, at each call.
        """
        memories = list(memories)
        if everything:
            self._given.clear()
            held = {(number, episode) for number, memory in enumerate(memories) for episode in memory.episode_ids()}
            self._features = {place: x for place, x in self._features.items() if place in held}
            self._measure([self._known((n, e), *seen[:2]) for n, m in enumerate(memories) for e in m.episode_ids()
                           if (seen := m.observations(e)) is not None])  # fmt: skip
        for number, memory in enumerate(memories):
            for episode in memory.episode_ids(without_bonus=not everything):
                if (seen := memory.observations(episode)) is not None:
                    place = number, episode
                    if place not in self._given:
                        self._given[place] = self._bonus(self._known(place, *seen[:2]))
                    memory.set_bonus(episode, *discounted_bonus(self._given[place], seen[2], self.discount))

    def state_dict(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Everything that the bonus depends on, as tensors and as JSON values."""
        tensors = {f"network.{name}": value for name, value in self.network.state_dict().items()}
        for index, values in self.optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{index}.{name}": value for name, value in values.items()}
        tensors["deviation"] = torch.tensor(self._deviation, dtype=torch.float64)
        tensors["given"] = torch.from_numpy(np.concatenate([np.zeros(0, np.float32), *self._given.values()]))
        state: dict[str, Any] = {
            "episodes": [[episode, len(given), number] for (number, episode), given in self._given.items()]
        }
        state["random"] = self.random.bit_generator.state
        return {name: value.detach().cpu().clone() for name, value in tensors.items()}, state

    def load_state_dict(self, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Continue exactly where `state_dict` was taken, before the episodes are given to their memories again.

        Raises RobofumeError if it belongs to another network.
        """
        try:
            names = self.network.state_dict()
            self.network.load_state_dict({name: tensors[f"network.{name}"] for name in names})
            optimiser = self.optimiser.state_dict()
            optimiser["state"] = {}
            for name, value in tensors.items():
                if name.startswith("optimiser."):
                    _, index, key = name.split(".", 2)
                    optimiser["state"].setdefault(int(index), {})[key] = value.clone()
            self.optimiser.load_state_dict(optimiser)
            self.random.bit_generator.state = state["random"]
            self._deviation = float(tensors["deviation"])
            ends = np.cumsum([length for _, length, *_ in state["episodes"]], dtype=int)
            parts = np.split(tensors["given"].numpy().copy(), ends[:-1])
            self._given = {
                (number, episode): part
                # A checkpoint from before the memories were told apart does not say which one has an episode.
                for (episode, _, *told), part in zip(state["episodes"], parts, strict=False)
                for number in (told or (0, 1))
            }
        except (KeyError, RuntimeError, ValueError) as error:
            raise RobofumeError(f"The novelty bonus of this checkpoint is of another shape: {error}") from error
        self._features.clear()

    def _known(self, place: _Place, images: Array, proprioception: Array) -> Tensor:
        """x (S, F) of an episode's observations."""
        if place not in self._features:
            self._features[place] = self.network.normalise(self._raw(images, proprioception))
        return self._features[place]

    def _learn(self, features: Tensor) -> Tensor:
        """Update g on `features` (N, F); returns the errors (N,) before it."""
        errors = self.network.error(features)
        self.optimiser.zero_grad(set_to_none=True)
        errors.mean().backward()
        self.optimiser.step()
        return errors.detach()

    @torch.no_grad()
    def _measure(self, features: list[Tensor]) -> None:
        """Set sigma from the features (N, F) of some episodes."""
        if features:
            self._deviation = max(1e-8, float(torch.cat([self.network.error(x) for x in features]).std(correction=0)))

    @torch.no_grad()
    def _bonus(self, features: Tensor) -> Array:
        return (self.network.error(features) / self._deviation).clamp_max(self.config.novelty_largest).cpu().numpy()

    def _raw(self, images: Array, proprioception: Array) -> Tensor:
        tensors = (torch.from_numpy(np.ascontiguousarray(a)).to(self.device) for a in (images, proprioception))
        return self.network.raw_features(*tensors)


def discounted_bonus(bonus: Array, next_offset: Array, discount: float) -> tuple[Array, Array]:
    """What the bonuses (S,) of an episode's observations add to its n-step rewards and to its returns, (S,) each."""
    sums = np.zeros(len(bonus) + 1)
    for step in range(len(bonus) - 2, -1, -1):
        sums[step] = bonus[step + 1] + discount * sums[step + 1]
    steps = np.arange(len(bonus))
    rewards = sums[:-1] - discount ** next_offset.astype(float) * sums[steps + next_offset]
    return rewards.astype(np.float32), sums[:-1].astype(np.float32)


def _layers(inputs: int, hidden: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, hidden)
    )
