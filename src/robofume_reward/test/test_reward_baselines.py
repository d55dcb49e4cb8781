"""The baselines learn too, and are measured by the same rules."""

import dataclasses
import logging
from pathlib import Path

import numpy as np
import pytest
import synthetic_episodes
import tiny_families
from robofume_common.enums import RewardSource
from robofume_common.errors import RobofumeError
from robofume_reward.dataset import DatasetConfig
from robofume_reward.film_cnn import FilmCnnConfig
from robofume_reward.model import RewardModel
from robofume_reward.training import TrainingConfig

from robofume_reward import baselines, evaluation, questions

EPISODES = synthetic_episodes.episodes(24, seed=0, failure_share=0.15)
UNSEEN = synthetic_episodes.episodes(12, seed=77, failure_share=0.3)
OPTIONS = TrainingConfig(threads=1)
CONFIG = FilmCnnConfig(updates=120, batch_size=32, image_size=32, width=16)


@pytest.mark.parametrize(("name", "least"), [("film_cnn", 0.85), ("linear_probe", 0.7)])
def test_it_learns_and_can_be_evaluated(name: str, least: float) -> None:
    judge = baselines.train(name, EPISODES[:18], EPISODES[18:], OPTIONS, CONFIG)
    result = evaluation.evaluate_episodes(judge, UNSEEN)
    for direction in ("forward", "backward"):
        assert result[direction]["area_under_curve"] > least
    assert judge.calibration.target_precision == OPTIONS.target_precision


def test_the_training_free_one_asks_the_base_model_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    judge = baselines.train("training_free", EPISODES[:18], EPISODES[18:], OPTIONS)
    # The tiny model knows no word for true; it says so, and is asked what the loop asks.
    assert judge.question == questions.canonical and "no single token for true" in caplog.text
    odds = judge.log_odds(EPISODES[0].images[:4], [EPISODES[0].instruction] * 4)
    assert np.isfinite(odds).all() and np.ptp(odds) > 0
    assert judge.calibration.target_precision == 0.0


@pytest.mark.parametrize("name", tiny_families.FAMILIES)
def test_pre_trained_bases_of_every_family_serve(name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tiny_families.save(name, tmp_path)
    options = dataclasses.replace(OPTIONS, base=str(tmp_path))
    probe = baselines.train("linear_probe", EPISODES[:6], EPISODES[6:8], options)
    odds = probe.log_odds(EPISODES[0].images[[0, 8, 16]], [EPISODES[0].instruction] * 3)
    assert np.isfinite(odds).all() and np.ptp(odds) > 1e-3
    with caplog.at_level(logging.WARNING, "robofume_reward.baselines"):
        free = baselines.train("training_free", EPISODES[:6], EPISODES[6:8], options)
    assert free.question == questions.training_free and not caplog.records
    asked = EPISODES[0].images[:1], [EPISODES[0].instruction]
    assert abs(RewardModel.load(tmp_path).log_odds(*asked)[0] - free.log_odds(*asked)[0]) > 1e-6


def test_image_features_belong_to_their_image(tmp_path: Path) -> None:
    tiny_families.save("Qwen2.5-VL", tmp_path)
    encoder = RewardModel.load(tmp_path, None)
    images = EPISODES[0].images[[0, 16]]
    together = baselines.image_features(encoder, encoder.encode(images, ["look"] * 2), 2)
    alone = baselines.image_features(encoder, encoder.encode(images[1:], ["look"]), 1)
    assert together.shape[0] == 2 and together.device.type == "cpu"
    np.testing.assert_allclose(together[1].numpy(), alone[0].numpy(), atol=1e-5)
    assert np.ptp(together[:, 0].numpy(), axis=0).max() > 1e-3


def test_they_learn_from_what_a_second_judge_has_confirmed() -> None:
    practice = [
        dataclasses.replace(
            episode, sources=np.full_like(episode.sources, RewardSource.VLM),
            success_index=16 if episode.is_success else -1,
        )
        for episode in synthetic_episodes.episodes(8, seed=5, failure_share=0.5)
    ]  # fmt: skip
    with pytest.raises(RobofumeError, match="No recorded episode gives a labelled frame"):
        baselines.train("film_cnn", practice[:6], practice[6:], OPTIONS, CONFIG)
    agreed = {episode.key for episode in practice}
    few = dataclasses.replace(CONFIG, updates=1)
    assert baselines.train("film_cnn", practice[:6], practice[6:], OPTIONS, few, DatasetConfig(margin=1), agreed)


def test_the_probe_does_not_guess_about_new_instructions() -> None:
    judge = baselines.train("linear_probe", EPISODES[:18], EPISODES[18:], OPTIONS)
    assert judge.log_odds(EPISODES[0].images[:1], ["juggle"])[0] == 0.0


def test_an_unknown_baseline_is_one_sentence() -> None:
    with pytest.raises(RobofumeError, match="film_cnn"):
        baselines.train("oracle", EPISODES[:18], EPISODES[18:], OPTIONS)
