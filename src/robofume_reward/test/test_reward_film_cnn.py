"""The classifier in the place of the reward model: trained by the same command, loaded by the same nodes."""

import shutil

import numpy as np
import pytest
import synthetic_episodes
from robofume_common.errors import RobofumeError
from robofume_reward.film_cnn import WEIGHTS_FILE, FilmCnn
from robofume_reward.judge import JudgeConfig
from robofume_reward.loading import load_judge
from robofume_reward.model import ModelConfig
from robofume_reward.model_watch import ModelWatch
from robofume_reward.rescoring import rescored
from robofume_reward.training import TrainingConfig, train_on_episodes

EPISODES = synthetic_episodes.episodes(24, seed=0, failure_share=0.15)
OPTIONS = TrainingConfig(method="film_cnn", updates=60, threads=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A trained one."""
    output = tmp_path_factory.mktemp("judge") / "reward"
    seen = []
    summary = train_on_episodes(EPISODES, output, OPTIONS, lambda *told: seen.append(told))
    assert len(seen) == summary["best_update"] == 60 and "loss" in seen[0][2]
    assert summary["held_out"]["forward"]["area_under_curve"] > 0.8
    return output


def test_it_is_loaded_by_its_directory_and_answers_as_it_did(folder) -> None:
    judge, again = load_judge(folder, ModelConfig(threads=1)), load_judge(folder)
    assert isinstance(judge, FilmCnn) and judge.version == again.version and judge.version.startswith("reward@")
    episode = EPISODES[0]
    asked = [episode.instruction] * len(episode.images)
    told, told_again = (one.probabilities(episode.images, asked) for one in (judge, again))
    np.testing.assert_array_equal(told, told_again)
    assert judge.opposites and judge.familiarity.centres.size and judge.calibration.target_precision == 0.95
    assert not judge.familiarity.strange(episode.images).any()


def test_it_judges_recorded_episodes(folder) -> None:
    judge = load_judge(folder)
    verdicts = np.concatenate([rescored(judge, episode, JudgeConfig()).verdicts for episode in EPISODES[-6:]])
    assert len(np.unique(verdicts)) > 1


def test_a_newer_one_is_taken_over(folder, tmp_path) -> None:
    watched = tmp_path / "reward"
    shutil.copytree(folder, watched)
    watch = ModelWatch(watched, lambda: load_judge(watched))
    shutil.copy(folder / WEIGHTS_FILE, watched / WEIGHTS_FILE)
    watch.poll()
    watch.close()
    taken = watch.take()
    assert isinstance(taken, FilmCnn) and not watch.failure


def test_a_damaged_one_is_one_sentence(folder, tmp_path) -> None:
    damaged = tmp_path / "reward"
    damaged.mkdir()
    for path in folder.iterdir():
        if path.is_file() and path.name != "files.json":
            (damaged / path.name).write_bytes(path.read_bytes())
    (damaged / WEIGHTS_FILE).write_bytes((folder / WEIGHTS_FILE).read_bytes()[:-100])
    with pytest.raises(RobofumeError, match="train it again"):
        load_judge(damaged)
    (damaged / WEIGHTS_FILE).unlink()
    with pytest.raises(RobofumeError, match="train it again"):
        load_judge(damaged)


def test_what_it_cannot_do_is_refused(tmp_path) -> None:
    with pytest.raises(RobofumeError, match="leave base and frames out"):
        train_on_episodes(EPISODES, tmp_path / "reward", TrainingConfig(method="film_cnn", frames=2))
