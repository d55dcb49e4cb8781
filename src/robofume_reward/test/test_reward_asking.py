"""One step's question and verdict: pictures of several sizes, the second question from home, and what is unknown."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
from robofume_common.enums import Direction, Verdict
from robofume_reward.asking import Answer, VerdictConfig, ask, says, truth_answer
from robofume_reward.saved import Calibration


class Familiarity:
    """Dark pictures are strange."""

    def strange(self, images: np.ndarray) -> np.ndarray:
        return images.reshape(len(images), -1).mean(1) < 10


class Model:
    """P(yes) is the brightness of the newest picture; the opposite's what is left."""

    calibration = Calibration()
    familiarity = Familiarity()
    opposites = {"put it in": "take it out"}

    def __init__(self) -> None:
        self.batches: list[tuple[int, ...]] = []

    def log_odds(self, images: np.ndarray, instructions: list[str]) -> np.ndarray:
        self.batches.append(images.shape)
        share = images.reshape(len(images), -1).mean(1) / 255
        share = np.where([text == "take it out" for text in instructions], 1 - share, share)
        return np.log(share / (1 - share))

    def probabilities(self, images: np.ndarray, instructions: list[str]) -> np.ndarray:
        return self.calibration.probabilities(self.log_odds(images, instructions))


def grey(level: int, *shape: int) -> np.ndarray:
    return np.full((*shape, 3), level, np.uint8)


def test_answers_come_in_order_and_pictures_of_a_size_together() -> None:
    model = Model()
    clips = [grey(51, 8, 8), grey(102, 4, 4), grey(204, 8, 8), grey(5, 4, 4)]
    answers = ask(model, clips, ["put it in", "put it in", "other", "put it in"], [True, False, True, False])
    assert [answer.probability for answer in answers] == pytest.approx([0.2, 0.4, 0.8, 5 / 255], abs=1e-6)
    assert [answer.opposite for answer in answers] == pytest.approx([0.8, 0, 0, 0], abs=1e-6)
    assert [answer.strange for answer in answers] == [False, False, False, True]
    assert sorted(model.batches) == [(1, 8, 8, 3), (2, 4, 4, 3), (2, 8, 8, 3)]


def test_no_answer_and_a_strange_scene_are_unknown() -> None:
    config, model = VerdictConfig(), Model()
    for answer in (None, Answer(math.nan), Answer(0.99, strange=True)):
        assert says(model, config, answer, from_home=False) == Verdict.UNKNOWN
        assert says(None, config, answer, from_home=False) == Verdict.UNKNOWN


def test_the_truth_needs_no_threshold() -> None:
    config = VerdictConfig(threshold=0.999)
    assert says(None, config, Answer(1.0), from_home=True) == Verdict.SUCCESS
    assert says(None, config, Answer(0.0), from_home=True) == Verdict.FAILURE


def test_the_truth_about_a_step_is_that_of_its_direction() -> None:
    truth = SimpleNamespace(forward_success=False, forward_score=0.8, backward_success=True, backward_score=1.0)
    assert truth_answer(truth, Direction.FORWARD) == Answer(0.0, score=0.8)
    assert truth_answer(truth, Direction.BACKWARD) == Answer(1.0, score=1.0)
    assert truth_answer(truth, Direction.NONE) is None


def test_from_home_has_its_own_threshold_and_the_other_question() -> None:
    config, model = VerdictConfig(threshold=0.9, home_threshold=0.5), Model()
    assert says(model, config, Answer(0.8), from_home=False) != Verdict.SUCCESS
    assert says(model, config, Answer(0.8), from_home=True) == Verdict.SUCCESS
    assert says(model, config, Answer(0.8, opposite=0.9), from_home=True) == Verdict.UNKNOWN
    assert config.is_from_home(0, False) and config.is_from_home(7, True) and not config.is_from_home(7, False)
    assert not VerdictConfig().is_from_home(0, True)


def test_what_is_enough_in_motion_is_enough_where_the_saved_threshold_is_greater() -> None:
    model = Model()
    model.calibration = Calibration(threshold=0.95, failure_threshold=0.3, home_threshold=0.9)
    config = VerdictConfig(enough=0.8, home_threshold=0.5)
    assert says(model, VerdictConfig(), Answer(0.85), from_home=False) == Verdict.UNKNOWN
    assert says(model, config, Answer(0.85), from_home=False) == Verdict.SUCCESS
    assert says(model, config, Answer(0.75), from_home=False) == Verdict.UNKNOWN
    assert says(model, config, Answer(0.85), from_home=True) == Verdict.UNKNOWN  # there it is the saved one
    model.calibration = Calibration(threshold=0.6)
    assert says(model, config, Answer(0.7), from_home=False) == Verdict.SUCCESS
    assert says(model, VerdictConfig(threshold=0.9, enough=0.8), Answer(0.85), from_home=False) != Verdict.SUCCESS


def test_who_does_not_abstain_calls_the_middle_a_failure() -> None:
    model = Model()
    model.calibration = Calibration(threshold=0.9, failure_threshold=0.3)
    assert says(model, VerdictConfig(), Answer(0.6), from_home=False) == Verdict.UNKNOWN
    assert says(model, VerdictConfig(abstain=False), Answer(0.6), from_home=False) == Verdict.FAILURE
