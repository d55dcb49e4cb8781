"""What the fine-tuned vision-language model has to beat, trained on the same frames and measured by the same rules.

- `film_cnn`: a small convolutional classifier, modulated by the words of the instruction (`film_cnn.py`);
- `linear_probe`: logistic regression, one per instruction, on the features of a frozen vision tower: that of the
  base model, or of an untrained one where there is no base model;
- `training_free`: the base model as it is, asked to call a statement true or false: P("True"); where it has no token
  for these, the loop's own question, with a warning.

Each is a Judge as `evaluation` wants it.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Collection, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

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

logger = logging.getLogger(__name__)

NAMES = ("film_cnn", "linear_probe", "training_free")


def train(
    name: str,
    training: Sequence[EpisodeData],
    held: Sequence[EpisodeData],
    options: TrainingConfig,
    config: FilmCnnConfig | None = None,
    data: DatasetConfig | None = None,
    agreed: Collection[str] = (),
) -> evaluation.Judge:
    """A baseline trained on `training` and calibrated on `held`, the episodes that the reward model held out.

    `options`: those of the reward model (seed, shares, base model, target precision); `data` and `agreed` (see
    `mining`): how it labelled the frames. RobofumeError for another name.
    """
    data = data or DatasetConfig()
    if options.threads:
        torch.set_num_threads(options.threads)
    opposites = dataset.opposites([*training, *held])
    if name == "training_free":
        free = _training_free(options)
        free.opposites = opposites
        return free
    frames = dataset.label(training, data, options.seed, agreed)
    if name == "film_cnn":
        classifier = FilmCnn(config or FilmCnnConfig(), seed=options.seed)
        classifier.fit(frames, options)
        judge: FilmCnn | LinearProbe = classifier
    elif name == "linear_probe":
        judge = LinearProbe(frames, options)
    else:
        raise RobofumeError(f"There is no baseline {name!r}; choose from {', '.join(NAMES)}.")
    judge.opposites = opposites
    lenient = dataclasses.replace(data, margin=max(data.margin, EARLY_STEPS))
    checking = dataset.label(held, lenient, options.seed, agreed)
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
            parts.append(_pooled(image_features(self._encoder, batch, len(chunk))))
        # Out of inference mode, so that the regression may take gradients through products with them.
        return torch.cat(parts).clone()


_OF_THE_TEXT = ("input_ids", "attention_mask", "token_type_ids", "mm_token_type_ids")


def image_features(encoder: RewardModel, batch: dict[str, Tensor], count: int) -> Tensor:
    """What the language model is shown of each of `count` images of one size: float features (count, places, D), on
    the CPU. RobofumeError where a model does not hand them out.
    """
    ask = getattr(encoder.model, "get_image_features", None)
    if ask is None:
        raise RobofumeError("This base model does not hand out its image features; the linear probe needs them.")
    with torch.inference_mode():
        found = ask(**{name: value for name, value in batch.items() if name not in _OF_THE_TEXT})
    # Some families give one tensor, others one for each image.
    features = getattr(found, "pooler_output", found)
    states = features if isinstance(features, Tensor) else torch.stack(list(features))
    return states.float().cpu().reshape(count, -1, states.shape[-1])


def _pooled(states: Tensor) -> Tensor:
    """Features (B, D) of each image from those of its places (B, P, C): a coarse grid, or mean and maximum."""
    count = len(states)
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
    """The base model, asked in its own words; the loop's question where it has no token for true or false."""
    judge = _base_model(options)
    tokenizer = judge.processor.tokenizer
    try:
        judge.answer_with(answer_tokens(tokenizer, "true"), answer_tokens(tokenizer, "false"))
        judge.question = questions.training_free
    except RobofumeError:
        logger.warning(
            "training_free: %s has no single token for true or for false, so it is asked the loop's question, yes or "
            "no.", options.base or "the tiny model",
        )  # fmt: skip
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
