"""What the fine-tuned vision-language model has to beat, trained on the same frames and measured by the same rules.

- `film_cnn`: a small convolutional classifier, modulated by the words of the instruction (FiLM, Perez et al. 2018,
  arXiv 1709.07871);
- `linear_probe`: logistic regression, one per instruction, on the features of a frozen vision tower: that of the
  base model, or of an untrained one where there is no base model;
- `training_free`: the base model as it is, asked to call a statement true or false: P("True").

Each is a Judge as `evaluation` wants it.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from robofume_common.errors import RobofumeError
from robofume_common.parameters import setting
from robofume_data.episode import EpisodeData
from torch import Tensor, nn

from . import dataset, evaluation, questions, tiny_model
from .augmentation import AugmentationConfig, augment
from .calibration import calibrate
from .dataset import EARLY_STEPS, DatasetConfig, LabelledFrames
from .familiarity import Familiarity
from .model import ModelConfig, RewardModel, answer_tokens
from .sampling import Sampler
from .saved import Calibration, View
from .training import TrainingConfig

NAMES = ("film_cnn", "linear_probe", "training_free")
_WORDS = 512


@dataclass(frozen=True)
class BaselineConfig:
    """How the baselines are trained."""

    updates: int = setting(800, "Gradient updates of the convolutional classifier", minimum=1)
    batch_size: int = setting(64, "Questions per update", minimum=2)
    learning_rate: float = setting(1e-3, "Peak learning rate", minimum=0.0)
    image_size: int = setting(64, "Side of the images that it sees", unit="px", minimum=16)
    width: int = setting(32, "Channels of its first layer", minimum=4)
    threads: int = setting(1, "Torch threads; 0 leaves torch's own choice", minimum=0)


def train(
    name: str,
    training: Sequence[EpisodeData],
    held: Sequence[EpisodeData],
    options: TrainingConfig,
    config: BaselineConfig | None = None,
) -> evaluation.Judge:
    """A baseline trained on `training` and calibrated on `held`, the episodes that the reward model held out.

    `options`: those of the reward model (seed, shares, base model, target precision). RobofumeError for another name.
    """
    config = config or BaselineConfig()
    if config.threads:
        torch.set_num_threads(config.threads)
    opposites = dataset.opposites([*training, *held])
    if name == "training_free":
        free = _training_free(options)
        free.opposites = opposites
        return free
    frames = dataset.label(training, DatasetConfig(), options.seed)
    if name == "film_cnn":
        judge: FilmCnn | LinearProbe = FilmCnn(frames, options, config)
    elif name == "linear_probe":
        judge = LinearProbe(frames, options)
    else:
        raise RobofumeError(f"There is no baseline {name!r}; choose from {', '.join(NAMES)}.")
    judge.opposites = opposites
    checking = dataset.label(held, DatasetConfig(margin=EARLY_STEPS), options.seed)
    checking = checking.select(checking.own)
    judge.calibration = calibrate(evaluation.log_odds(judge, checking), checking.labels, options.target_precision)
    return judge


def words_of(instruction: str) -> list[int]:
    """Places in a table of words and pairs of words, by their hash."""
    words = questions.clean(instruction).lower().split()
    pairs = [f"{first} {second}" for first, second in itertools.pairwise(words)]
    return [zlib.crc32(text.encode()) % _WORDS for text in words + pairs]


class FilmCnn:
    """The convolutional classifier with language."""

    def __init__(self, frames: LabelledFrames, options: TrainingConfig, config: BaselineConfig) -> None:
        self.calibration = Calibration()
        self.view = View()
        self.opposites: dict[str, str] = {}
        self.familiarity = Familiarity()
        self._size = config.image_size
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(options.seed)
            self._network = _FilmNetwork(config.width)
            self._fit(frames, options, config)

    def log_odds(self, images: NDArray[np.uint8], instructions: list[str]) -> NDArray[np.float64]:
        """Uncalibrated log-odds (B,) for images (B, H, W, 3) and one instruction each."""
        with torch.inference_mode():
            odds = self._network(_pixels(images, self._size), [words_of(text) for text in instructions])
        return odds.double().numpy()

    def _fit(self, frames: LabelledFrames, options: TrainingConfig, config: BaselineConfig) -> None:
        generator = np.random.default_rng(options.seed)
        light = torch.Generator().manual_seed(options.seed)
        sampler = Sampler(frames, options)
        prepared = _pixels(frames.images, self._size)
        known = {text: words_of(text) for text in np.unique(frames.instructions)}
        optimiser = torch.optim.AdamW(self._network.parameters(), lr=config.learning_rate, weight_decay=0.05)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, config.learning_rate, config.updates, pct_start=0.1)
        self._network.train()
        for _ in range(config.updates):
            rows = sampler.draw(config.batch_size, generator)
            pixels = augment(prepared[frames.frames[rows]], AugmentationConfig(), light)
            odds = self._network(pixels, [known[text] for text in frames.instructions[rows]])
            wanted = torch.from_numpy(frames.labels[rows].astype(np.float32))
            losses = nn.functional.binary_cross_entropy_with_logits(odds, wanted, reduction="none")
            sampler.saw(rows, losses.detach().numpy())
            optimiser.zero_grad(set_to_none=True)
            losses.mean().backward()
            nn.utils.clip_grad_norm_(self._network.parameters(), 1.0)
            optimiser.step()
            schedule.step()
        self._network.eval()


class _FilmNetwork(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        channels = (3, width, 2 * width, 2 * width, 2 * width)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(before, after, 5 if place == 0 else 3, stride=2, padding=2 if place == 0 else 1)
            for place, (before, after) in enumerate(itertools.pairwise(channels))
        )
        self.norms = nn.ModuleList(nn.GroupNorm(4, after, affine=False) for after in channels[1:])
        self.words = nn.EmbeddingBag(_WORDS, 64, mode="mean")
        self.films = nn.ModuleList(nn.Linear(64, 2 * after) for after in channels[1:])
        self.head = nn.Sequential(nn.LazyLinear(128), nn.ReLU(), nn.Linear(128, 1))

    def forward(self, pixels: Tensor, instructions: list[list[int]]) -> Tensor:
        offsets = np.cumsum([0, *(len(words) for words in instructions[:-1])])
        flat = torch.tensor([word for words in instructions for word in words])
        words = self.words(flat, torch.from_numpy(offsets))
        features = pixels
        for convolution, norm, film in zip(self.convolutions, self.norms, self.films, strict=True):
            scale, offset = film(words)[:, :, None, None].chunk(2, dim=1)
            features = torch.relu(norm(convolution(features)) * (1 + scale) + offset)
        answer: Tensor = self.head(features.flatten(1))
        return answer[:, 0]


class LinearProbe:
    """Logistic regression on frozen features; an instruction that it was not trained on gets P = 1/2."""

    def __init__(self, frames: LabelledFrames, options: TrainingConfig, penalty: float = 1e-3) -> None:
        self.calibration = Calibration()
        self.view = View()
        self.opposites: dict[str, str] = {}
        self.familiarity = Familiarity()
        self._encoder = _base_model(options)
        used, places = np.unique(frames.frames, return_inverse=True)
        features = self._features(frames.images[used])
        self._mean, self._spread = features.mean(0), features.std(0).clamp_min(1e-6)
        scaled = (features - self._mean) / self._spread
        self._weights: dict[str, Tensor] = {}
        for text in np.unique(frames.instructions):
            chosen = frames.instructions == text
            self._weights[str(text)] = _logistic(
                scaled[places[chosen]], torch.from_numpy(frames.labels[chosen]), penalty
            )

    def log_odds(self, images: NDArray[np.uint8], instructions: list[str]) -> NDArray[np.float64]:
        """Uncalibrated log-odds (B,) for images (B, H, W, 3) and one instruction each."""
        scaled = (self._features(images) - self._mean) / self._spread
        nothing = torch.zeros(scaled.shape[1] + 1)
        weights = torch.stack([self._weights.get(text, nothing) for text in instructions])
        return ((scaled * weights[:, :-1]).sum(1) + weights[:, -1]).double().numpy()

    def _features(self, images: NDArray[np.uint8], batch_size: int = 64) -> Tensor:
        parts = []
        for start in range(0, len(images), batch_size):
            chunk = images[start : start + batch_size]
            batch = self._encoder.encode(chunk, [questions.canonical("look")] * len(chunk))
            with torch.inference_mode():
                parts.append(_image_features(self._encoder.outputs(batch), len(chunk)))
        # Out of inference mode, so that the regression may take gradients through products with them.
        return torch.cat(parts).clone()


def _image_features(outputs: Any, count: int) -> Tensor:
    """Pooled image features (count, D) of a model's outputs: mean and maximum over the places of an image."""
    states = getattr(outputs, "image_hidden_states", None)
    if not isinstance(states, Tensor):
        raise RobofumeError("This base model does not hand out its image features; the linear probe needs them.")
    states = states.float().reshape(count, -1, states.shape[-1])
    # A grid of at most 4 x 4 cells keeps coarse places, which most tasks are about.
    side = round(states.shape[1] ** 0.5)
    if side * side == states.shape[1]:
        grid = states.transpose(1, 2).reshape(count, -1, side, side)
        return nn.functional.adaptive_avg_pool2d(grid, min(4, side)).flatten(1)
    return torch.cat([states.mean(1), states.amax(1)], 1)


def _logistic(features: Tensor, labels: Tensor, penalty: float) -> Tensor:
    """Weights (D + 1,), the bias last, of a logistic regression in which both answers weigh the same."""
    weights = torch.zeros(features.shape[1] + 1, requires_grad=True)
    wanted = labels.float()
    share = wanted.mean().clamp(1e-3, 1 - 1e-3)
    balance = torch.where(labels, 0.5 / share, 0.5 / (1 - share))
    optimiser = torch.optim.LBFGS([weights], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        odds = features @ weights[:-1] + weights[-1]
        losses = nn.functional.binary_cross_entropy_with_logits(odds, wanted, reduction="none")
        loss = (balance * losses).mean() + penalty * weights[:-1].square().sum()
        loss.backward()
        return loss

    optimiser.step(closure)
    return weights.detach()


def _training_free(options: TrainingConfig) -> RewardModel:
    """The base model, asked in its own words; yes and no stand for true and false where it has no such tokens."""
    judge = _base_model(options)
    tokenizer = judge.processor.tokenizer
    try:
        judge.answer_with(answer_tokens(tokenizer, "true"), answer_tokens(tokenizer, "false"))
        judge.question = questions.training_free
    except RobofumeError:
        pass
    return judge


def _base_model(options: TrainingConfig) -> RewardModel:
    config = ModelConfig(
        device=options.device,
        dtype=options.dtype,
        threads=options.threads,
        allow_download=options.allow_download,
        trace=False,
    )
    if options.base:
        judge = RewardModel.load(options.base, config)
        judge.calibration = Calibration()
        return judge
    with TemporaryDirectory() as directory:
        tiny_model.save(Path(directory), tiny_model.TinyModelConfig(), options.seed)
        return RewardModel.load(directory, config)


def _pixels(images: NDArray[np.uint8], size: int) -> Tensor:
    """Images (B, H, W, 3) as (B, 3, size, size) in -1 .. 1."""
    scaled = torch.from_numpy(np.moveaxis(images, -1, 1).astype(np.float32)) / 127.5 - 1
    if scaled.shape[-2:] == (size, size):
        return scaled
    return nn.functional.interpolate(scaled, (size, size), mode="bilinear", antialias=True, align_corners=False)
