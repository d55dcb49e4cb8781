"""The baselines learn too, and are measured by the same rules."""

import numpy as np
import pytest
import synthetic_episodes
from robofume_common.errors import RobofumeError
from robofume_reward.film_cnn import FilmCnnConfig
from robofume_reward.training import TrainingConfig

from robofume_reward import baselines, evaluation

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


def test_the_training_free_one_asks_the_base_model_as_it_is() -> None:
    judge = baselines.train("training_free", EPISODES[:18], EPISODES[18:], OPTIONS)
    odds = judge.log_odds(EPISODES[0].images[:4], [EPISODES[0].instruction] * 4)
    assert np.isfinite(odds).all() and np.ptp(odds) > 0
    assert judge.calibration.target_precision == 0.0


def test_the_probe_does_not_guess_about_new_instructions() -> None:
    judge = baselines.train("linear_probe", EPISODES[:18], EPISODES[18:], OPTIONS)
    assert judge.log_odds(EPISODES[0].images[:1], ["juggle"])[0] == 0.0


def test_an_unknown_baseline_is_one_sentence() -> None:
    with pytest.raises(RobofumeError, match="film_cnn"):
        baselines.train("oracle", EPISODES[:18], EPISODES[18:], OPTIONS)
