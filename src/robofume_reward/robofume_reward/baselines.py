"""What the fine-tuned vision-language model has to beat, trained on the same frames and measured by the same rules.

- `film_cnn`: a small convolutional classifier, modulated by the words of the instruction (`film_cnn.py`);
- `linear_probe`: logistic regression, one per instruction, on the features of a frozen vision tower: that of the
  base model, or of an untrained one where there is no base model;
- `training_free`: the base model as it is, asked to call a statement true or false: P("True").

Each is a Judge as `evaluation` wants it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from robofume_common.errors import RobofumeError
from robofume_data.episode import EpisodeData
from torch import Tensor, nn

from . import dataset, evaluation, questions, tiny_model
from .calibration import calibrate
from .dataset import EARLY_STEPS, DatasetConfig, LabelledFrames
from .familiarity import Familiarity
from .film_cnn import FilmCnn, FilmCnnConfig
from .model import ModelConfig, RewardModel, answer_tokens
from .saved import Calibration, View
from .training import TrainingConfig

NAMES = ("film_cnn", "linear_probe", "training_free")


def train(
    name: str,
    training: Sequence[EpisodeData],
    held: Sequence[EpisodeData],
    options: TrainingConfig,
    config: FilmCnnConfig | None = None,
) -> evaluation.Judge:
    """A baseline trained on `training` and calibrated on `held`, the episodes that the reward model held out.

    `options`: those of the reward model (seed, shares, base model, target precision). RobofumeError for another name.
    """
    if options.threads:
        torch.set_num_threads(options.threads)
    opposites = dataset.opposites([*training, *held])
    if name == "training_free":
        free = _training_free(options)
        free.opposites = opposites
        return free
    frames = dataset.label(training, DatasetConfig(), options.seed)
    if name == "film_cnn":
        classifier = FilmCnn(config or FilmCnnConfig(), seed=options.seed)
        classifier.fit(frames, options)
        judge: FilmCnn | LinearProbe = classifier
    elif name == "linear_probe":
        judge = LinearProbe(frames, options)
    else:
        raise RobofumeError(f"There is no baseline {name!r}; choose from {', '.join(NAMES)}.")
    judge.opposites = opposites
    checking = dataset.label(held, DatasetConfig(margin=EARLY_STEPS), options.seed)
    checking = checking.select(checking.own)
    judge.calibration = calibrate(evaluation.log_odds(judge, checking), checking.labels, options.target_precision)
    return judge


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
