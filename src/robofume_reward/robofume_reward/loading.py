"""Loads whatever judge a directory holds."""

from __future__ import annotations

from pathlib import Path

from .film_cnn import FilmCnn
from .fitness import check_fitness
from .model import ModelConfig, RewardModel
from .reward_config import RewardNodeConfig
from .saved import CLASSIFIER_FILE


def model_config(config: RewardNodeConfig) -> ModelConfig:
    """Device, precision, threads and network of the model, as the reward node has them."""
    return ModelConfig(
        device=config.device, dtype=config.dtype, threads=config.threads, allow_download=config.allow_download
    )


def load_judge(source: str | Path, config: ModelConfig | None = None) -> RewardModel | FilmCnn:
    """The reward model of a directory or hub name (see `RewardModel.load`), or the classifier of a directory.

    Raises RobofumeError where there is no usable one.
    """
    if (Path(source) / CLASSIFIER_FILE).is_file():
        return FilmCnn.load(Path(source), config.threads if config else 0)
    return RewardModel.load(source, config)


def load_practice_judge(config: RewardNodeConfig) -> RewardModel | FilmCnn:
    """The judge that practice is to learn from.

    Raises RobofumeError where there is no usable one, or `check_fitness` refuses it and `accept_unfit` is false.
    """
    if not config.accept_unfit:
        check_fitness(config.model)
    return load_judge(config.model, model_config(config))
