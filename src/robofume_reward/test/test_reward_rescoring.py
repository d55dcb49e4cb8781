"""Recorded bags judged again by another model."""

import dataclasses
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import synthetic_episodes
from robofume_common.enums import Direction, Phase, RewardSource, Verdict
from robofume_common.errors import RobofumeError
from robofume_data.bag_reader import read_episodes
from robofume_data.episode_writer import write_episodes
from robofume_reward.asking import VerdictConfig
from robofume_reward.familiarity import Familiarity
from robofume_reward.judge import JudgeConfig
from robofume_reward.model import RewardModel
from robofume_reward.saved import Calibration, View
from robofume_reward.tiny_model import TinyModelConfig

from robofume_reward import rescoring, tiny_model


def test_the_copy_has_the_new_verdicts_and_the_original_is_left_alone(tmp_path: Path) -> None:
    tiny_model.save(tmp_path / "tiny", TinyModelConfig(image_size=32, vision_width=8, text_width=32), seed=0)
    reward = RewardModel.load(tmp_path / "tiny")
    episodes = synthetic_episodes.episodes(3, seed=0)
    episodes[1].sources[4], episodes[1].verdicts[4] = RewardSource.HUMAN, Verdict.SUCCESS
    bag = tmp_path / "bags" / "practice_0000.mcap"
    bag.parent.mkdir()
    write_episodes(bag, episodes)
    before = bag.read_bytes()
    result = rescoring.rescore(reward, [bag.parent], tmp_path / "again")
    assert bag.read_bytes() == before
    assert (result["episodes"], result["steps"], result["model_version"]) == (3, 51, reward.version)
    copies = list(read_episodes([tmp_path / "again"]))
    for original, copy in zip(read_episodes([bag]), copies, strict=True):
        np.testing.assert_array_equal(copy.images, original.images)
        assert (copy.episode_id, copy.outcome) == (original.episode_id, original.outcome)
        model = copy.sources == RewardSource.VLM
        expected = reward.probabilities(original.images, [original.instruction] * 17)
        np.testing.assert_allclose(copy.probabilities[model], expected[model], atol=1e-5)
    assert (copies[1].sources[4], copies[1].verdicts[4]) == (RewardSource.HUMAN, Verdict.SUCCESS)
    assert result["changed"] == sum(
        int((copy.verdicts != original.verdicts).sum()) for original, copy in zip(episodes, copies, strict=True)
    )
    with pytest.raises(RobofumeError, match="written over"):
        rescoring.rescore(reward, [bag], tmp_path / "again")


def test_what_a_reward_node_would_not_ask_about_or_shows_nothing_is_unknown(tmp_path: Path) -> None:
    tiny_model.save(tmp_path / "tiny", TinyModelConfig(image_size=32, vision_width=8, text_width=32), seed=0)
    reward = RewardModel.load(tmp_path / "tiny")
    one, two, nudge = synthetic_episodes.episodes(3, seed=0)
    one.images[5] = 0
    two.images[0] = one.images[-1]  # the camera has been frozen since, and the arm has moved
    nudge = dataclasses.replace(nudge, phase=Phase.INTERVENTION)
    write_episodes(tmp_path / "bag.mcap", [one, two, nudge])
    rescoring.rescore(reward, [tmp_path / "bag.mcap"], tmp_path / "again", verdicts=VerdictConfig(every=5))
    first, second, third = read_episodes([tmp_path / "again"])
    assert np.flatnonzero(first.sources == RewardSource.VLM).tolist() == [0, 10, 15, 16]
    assert np.flatnonzero(second.sources == RewardSource.VLM).tolist() == [5, 10, 15, 16]
    assert (third.sources == RewardSource.NONE).all()
    for episode in (first, second, third):
        silent = episode.sources == RewardSource.NONE
        assert (episode.verdicts[silent] == Verdict.UNKNOWN).all() and np.isnan(episode.probabilities[silent]).all()


def test_the_view_from_home_has_the_rule_of_the_loop() -> None:
    class Unsure:
        view, calibration, opposites, familiarity = View(), Calibration(1.0, 0.9, 0.95, 0.2), {}, Familiarity()

        def probabilities(self, images: np.ndarray, instructions: list[str]) -> np.ndarray:
            return self.calibration.probabilities(self.log_odds(images, instructions))

        def log_odds(self, images: np.ndarray, instructions: list[str]) -> np.ndarray:
            return np.where([text in self.opposites.values() for text in instructions], 0.8, 0.4)

    class Twice(Unsure):
        opposites: ClassVar = {synthetic_episodes.INSTRUCTIONS[Direction.FORWARD]: "take it out"}

    episode = synthetic_episodes.episodes(1, seed=0)[0]
    again = rescoring.rescored(Unsure(), episode, JudgeConfig())
    # The first step is seen from home too.
    assert again.verdicts.tolist() == [Verdict.SUCCESS, *[Verdict.UNKNOWN] * 15, Verdict.SUCCESS]
    everywhere = rescoring.rescored(Unsure(), episode, JudgeConfig(), VerdictConfig())
    assert set(everywhere.verdicts.tolist()) == {Verdict.UNKNOWN}
    enough = rescoring.rescored(Unsure(), episode, JudgeConfig(2, 2), VerdictConfig(enough=0.55), batch_size=3)
    assert enough.verdicts.tolist() == [Verdict.FAILURE, *[Verdict.SUCCESS] * 16]
    again = rescoring.rescored(Twice(), episode, JudgeConfig())
    assert again.verdicts[-1] == Verdict.UNKNOWN  # it is even surer of the other direction
