"""A dense signal: how far along a task is, as a potential that leaves the best policy what it is.

A network learns from the demonstrations how much of the way to the success an observation has behind it. Differences of
it are added to the reward (Ng, Harada and Russell, 1999), while a batch is drawn: the memory keeps the task's rewards.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from robofume_common.enums import Direction, Outcome
from robofume_common.errors import RobofumeError
from robofume_data.episode import EpisodeData
from torch import Tensor, nn

from robofume_policy.config import NetworkConfig, ProgressConfig
from robofume_policy.dataset import Episode
from robofume_policy.encoder import create_encoder, random_shift
from robofume_policy.language import InstructionEncoder
from robofume_policy.networks import InputNormaliser, StateFeatures
from robofume_policy.replay import Array, Batch, ReplayMemory

logger = logging.getLogger(__name__)

BATCH_SIZE = 64
SHIFT = 4  # px, of the pictures that it is trained on
PROGRESS = "progress."
"""Before the names of its tensors in a checkpoint."""
MOST_EPISODES = 500
"""Demonstrations that are learnt from, drawn at random where there are more."""


class ProgressNetwork(nn.Module):
    """phi: logit of the progress of an observation under an instruction."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.normaliser = InputNormaliser(config)
        self.encoder = create_encoder(config)
        self.features = StateFeatures(config, self.encoder.output_dimension)
        self.head = nn.Sequential(
            nn.Linear(self.features.dimension, config.hidden_size), nn.ReLU(), nn.Linear(config.hidden_size, 1)
        )

    def forward(self, images: Tensor, proprioception: Tensor, instructions: Tensor) -> Tensor:
        """(B,) of `images` (B, H, W, C) uint8, `proprioception` (B, P) and sentence embeddings (B, D)."""
        state, sentence = self.normaliser(proprioception, instructions)
        logit: Tensor = self.head(self.features(self.encoder(images), state, sentence))[:, 0]
        return logit.float()


class _Shown(NamedTuple):
    episode_id: str
    task: str
    direction: int


class _Examples(NamedTuple):
    """F observations, and M examples of progress, of observation `frames[m]` under the instruction `sentences[m]`."""

    images: Array  # (F, H, W, C) uint8
    proprioception: Array  # (F, P) float32
    frames: Array  # (M,) int64
    sentences: Array  # (M, D) float32
    progress: Array  # (M,) float32 in [0, 1]

    def take(self, rows: Array) -> tuple[Array, Array, Array, Array]:
        """Images, proprioception, embeddings and progress of the examples `rows` (B,)."""
        frames = self.frames[rows]
        return self.images[frames], self.proprioception[frames], self.sentences[rows], self.progress[rows]


class ProgressPotential:
    """The potential, its training, and what it adds to a batch.

    Learnt from successful recorded episodes, step t of k:

        phi(s_t, instruction)          = t / k        as it was played
        phi(s_t, opposite instruction) = 1 - t / k    rewound: what undoes one direction does the other

    and added to a batch with weight w, g' being the batch's discount (0 where the episode has ended, so that the
    potential of the end is 0, without which Ng's theorem does not hold):

        R' = R + w (g' phi(s') - phi(s))
        V' = V - w phi(s)              the Monte-Carlo return: all later differences cancel

    Over n steps the differences telescope, so n-step rewards need no more than their two ends. Every value is moved by
    -w phi(s), whatever the action, so the best action stays the best. phi is learnt once, before practice, and then
    stays: it depends on nothing that anybody judged in practice, so steps of unknown verdict are shaped like others.
    """

    metric_names = ("progress/potential", "progress/shaping")

    def __init__(
        self, network: NetworkConfig, config: ProgressConfig, language: InstructionEncoder, seed: int,
        device: str = "cpu",
    ) -> None:  # fmt: skip
        self.config = config
        self.language = language
        self.device = torch.device(device)
        self.random = np.random.default_rng(seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network = ProgressNetwork(network).to(self.device)
        self._shown: list[_Shown] = []
        self._instructions: dict[tuple[str, int], str] = {}

    def noting(self, episodes: Iterable[Episode]) -> Iterator[EpisodeData]:
        """The same recorded episodes; on their way into a memory the successes among them are noted for `fit`.

        Raises RobofumeError at one of plain arrays.
        """
        for episode in episodes:
            if not isinstance(episode, EpisodeData):
                raise RobofumeError(
                    "Progress is learnt from recorded episodes, which say their task and direction, and not from plain "
                    "arrays: set progress_weight to 0."
                )
            self._instructions.setdefault((episode.task, int(episode.direction)), episode.instruction)
            if episode.outcome == Outcome.SUCCESS and episode.success_index > 0:
                self._shown.append(_Shown(episode.episode_id, episode.task, int(episode.direction)))
            yield episode

    def fit(self, memory: ReplayMemory) -> float:
        """Learn from the noted episodes that `memory` holds; returns the mean error of phi on them.

        Raises RobofumeError where there is no success among them.
        """
        held = [shown for shown in self._shown if shown.episode_id in memory]
        if not held:
            raise RobofumeError(
                "Progress is learnt from successful recorded episodes, and there are none: set progress_weight to 0, "
                "or collect demonstrations."
            )
        chosen = self.random.permutation(len(held))[:MOST_EPISODES]
        examples = self._examples(memory, [held[place] for place in chosen])
        proprioception, known = memory.statistics()
        self.network.normaliser.fit(*self._tensors(proprioception, known))
        optimiser = torch.optim.Adam(self.network.parameters(), lr=self.config.progress_learning_rate)
        for _ in range(self.config.progress_updates):
            images, *others, progress = examples.take(self.random.integers(0, len(examples.frames), BATCH_SIZE))
            logit = self.network(*self._tensors(random_shift(images, SHIFT, self.random), *others))
            loss = F.binary_cross_entropy_with_logits(logit, torch.from_numpy(progress).to(logit))
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
        errors = []
        for rows in np.array_split(np.arange(len(examples.frames)), max(1, len(examples.frames) // 256)):
            *seen, progress = examples.take(rows)
            errors.append(np.abs(self.potential(*seen) - progress))
        error = float(np.concatenate(errors).mean())
        logger.info("Progress learnt from %d successes; mean error %.3f.", len(chosen), error)
        return error

    @torch.no_grad()
    def potential(self, images: Array, proprioception: Array, instructions: Array) -> Array:
        """phi (B,) float32 in [0, 1]; arguments as in Batch."""
        return torch.sigmoid(self.network(*self._tensors(images, proprioception, instructions))).cpu().numpy()

    def shape(self, batch: Batch) -> tuple[Batch, dict[str, Tensor]]:
        """The batch with shaped rewards and returns, and metrics."""
        here = self.potential(batch.images, batch.proprioception, batch.instructions)
        there = self.potential(batch.next_images, batch.next_proprioception, batch.instructions)
        changed = shaped(batch, here, there, self.config.progress_weight)
        shaping = (changed.rewards - batch.rewards).mean()
        return changed, dict(zip(self.metric_names, map(torch.tensor, (here.mean(), shaping)), strict=True))

    def state_dict(self) -> dict[str, Tensor]:
        """The network, all that practice depends on."""
        return {name: value.detach().cpu().clone() for name, value in self.network.state_dict().items()}

    def load_state_dict(self, tensors: Mapping[str, Tensor]) -> None:
        """Continue with the potential that `state_dict` kept. Raises RuntimeError if it is of another shape."""
        self.network.load_state_dict(dict(tensors))

    def _examples(self, memory: ReplayMemory, chosen: list[_Shown]) -> "_Examples":
        images, states, frames, sentences, progress = [], [], [], [], []
        first = 0
        for shown in chosen:
            seen = memory.observations(shown.episode_id)
            assert seen is not None
            count = len(seen[0])
            played = np.linspace(0.0, 1.0, count, dtype=np.float32)
            other = self._instructions.get((shown.task, int(Direction(shown.direction).opposite)))
            own = self._instructions[shown.task, shown.direction]
            for instruction, way in ((own, played), (other, 1.0 - played)):
                if instruction is not None and (way is played or instruction != own):
                    frames.append(np.arange(first, first + count))
                    sentences.append(np.repeat(self.language(instruction)[None], count, 0))
                    progress.append(way)
            images.append(seen[0])
            states.append(seen[1])
            first += count
        return _Examples(*(np.concatenate(parts) for parts in (images, states, frames, sentences, progress)))

    def _tensors(self, *arrays: Array) -> tuple[Tensor, ...]:
        return tuple(torch.from_numpy(np.ascontiguousarray(array)).to(self.device) for array in arrays)


def kept_potential(
    tensors: Mapping[str, Tensor], state: Mapping[str, Any], network: NetworkConfig, language: InstructionEncoder,
    device: str,
) -> ProgressPotential | None:  # fmt: skip
    """The potential that the policy of a checkpoint practised with; None where it had none.

    Its critics hold Q - w phi. Whoever goes on with them has to shape the rewards as before: by the rewards of the task
    alone, an action would seem the worse the more progress it makes, until all values have risen by w phi.
    """
    named = {name.removeprefix(PROGRESS): tensor for name, tensor in tensors.items() if name.startswith(PROGRESS)}
    if not named:
        return None
    if "progress_weight" not in state:
        logger.warning(
            "The policy practised with a dense signal, and its checkpoint is from before the weight of it was kept: "
            "it goes on without, and may forget at first. Practise a little further, and take that checkpoint."
        )
        return None
    config = ProgressConfig(progress_weight=float(state["progress_weight"]))
    potential = ProgressPotential(network, config, language, 0, device)
    potential.load_state_dict(named)
    return potential


def shaped(batch: Batch, here: Array, there: Array, weight: float) -> Batch:
    """R + w (g' phi(s') - phi(s)) and V - w phi(s), with phi(s) `here` (B,) and phi(s') `there` (B,)."""
    return replace(
        batch,
        rewards=(batch.rewards + weight * (batch.discounts * there - here)).astype(np.float32),
        returns=(batch.returns - weight * here).astype(np.float32),
    )
