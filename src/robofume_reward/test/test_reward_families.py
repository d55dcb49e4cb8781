"""Every family of models: the same answers alone, in a batch, and after saving and loading."""

from pathlib import Path

import numpy as np
import pytest
import synthetic_episodes
import tiny_families
from robofume_common.errors import RobofumeError
from robofume_reward.model import ModelConfig, RewardModel
from robofume_reward.training import TrainingConfig

from robofume_reward import families, training

INSTRUCTIONS = ["put the block into the tray", "take the lid off the pot and lay it on the table", "put it down"]


def pictures() -> np.ndarray:
    episode = synthetic_episodes.episodes(1, seed=0, failure_share=0.0)[0]
    return episode.images[[0, 6, 16]]


@pytest.fixture(scope="module", params=tiny_families.FAMILIES)
def directory(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("families") / request.param
    tiny_families.save(request.param, path)
    return path


def test_a_batch_answers_like_one_by_one_and_saving_changes_nothing(directory: Path, tmp_path: Path) -> None:
    reward = RewardModel.load(directory)
    assert reward.family is not families.OTHER
    frames = pictures()
    together = reward.log_odds(frames, INSTRUCTIONS)
    alone = [reward.log_odds(frames[i : i + 1], INSTRUCTIONS[i : i + 1])[0] for i in range(3)]
    np.testing.assert_allclose(together, alone, atol=1e-5)
    reward.save(tmp_path / "copy")
    again = RewardModel.load(tmp_path / "copy")
    np.testing.assert_array_equal(again.log_odds(frames, INSTRUCTIONS), together)
    assert again.version.split("@")[1] == reward.version.split("@")[1]


def test_the_answer_depends_on_picture_question_and_earlier_frames(directory: Path) -> None:
    reward = RewardModel.load(directory)
    frames = pictures()
    same_question = reward.log_odds(frames, INSTRUCTIONS[:1] * 3)
    same_picture = reward.log_odds(frames[:1].repeat(3, 0), INSTRUCTIONS)
    assert np.ptp(same_question) > 1e-4 and np.ptp(same_picture) > 1e-4
    clips = np.stack([frames[[0, 1]], frames[[2, 1]]])
    assert np.ptp(reward.log_odds(clips, INSTRUCTIONS[:1] * 2)) > 1e-4


@pytest.mark.parametrize("method", ["full", "projector", "lora"])
def test_fine_tuning_runs_for_every_family(directory: Path, method: str, tmp_path: Path) -> None:
    options = TrainingConfig(
        base=str(directory), method=method, updates=1, batch_size=4, accumulation=2, dtype="bfloat16", frames=2,
        threads=1,
    )  # fmt: skip
    episodes = synthetic_episodes.episodes(4, seed=0, failure_share=0.3)
    training.train_on_episodes(episodes, tmp_path / "tuned", options)
    tuned = RewardModel.load(tmp_path / "tuned", ModelConfig(dtype="bfloat16"))
    assert tuned.view.frames == 2 and tuned.family is RewardModel.load(directory).family


def test_torchvision_changes_little(directory: Path) -> None:
    pytest.importorskip("torchvision", reason="torchvision is not installed; images are prepared by Pillow")
    reward = RewardModel.load(directory)
    assert np.isfinite(reward.log_odds(pictures(), INSTRUCTIONS)).all()


def test_a_model_without_template_and_family_is_refused() -> None:
    with pytest.raises(RobofumeError, match="chat template"):
        families.OTHER.text(object(), "Is it done?", 1)
