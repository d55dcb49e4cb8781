"""Prior data as pictures of no success: which are asked about, and that they are when it is wished."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import synthetic_episodes
from robofume_common.enums import Direction
from robofume_common.errors import RobofumeError
from robofume_reward.dataset import DatasetConfig
from robofume_reward.training import TrainingConfig
from synthetic_episodes import INSTRUCTIONS

from robofume_reward import dataset, prior_frames, training

EPISODES = synthetic_episodes.episodes(10, seed=0, failure_share=0.2)


def prior(number: int, instruction: str) -> synthetic_episodes.EpisodeData:
    episode = synthetic_episodes.episodes(1, seed=50 + number)[0]
    return dataclasses.replace(
        episode, episode_id=f"prior-{number}", direction=Direction.NONE, task="prior", instruction=instruction,
        images=255 - episode.images,
    )  # fmt: skip


PRIOR = [prior(0, "open the drawer"), prior(1, f" {INSTRUCTIONS[Direction.FORWARD].upper()}."), prior(2, "fold it")]


def test_only_other_instructions_are_asked_about_and_the_answer_is_no() -> None:
    frames = dataset.label(EPISODES, DatasetConfig(), seed=0)
    others = prior_frames.of_other_tasks(PRIOR, frames)
    assert [episode.episode_id for episode in others] == ["prior-0", "prior-2"]
    more, count = prior_frames.add(frames, others, 1.0, seed=0)
    assert count == 2 * 17 * 2 and len(more) == len(frames) + count
    added = more.select(np.arange(len(more)) >= len(frames))
    assert not added.labels.any() and added.made.all() and (added.episodes == -1).all()
    assert set(added.instructions) == set(INSTRUCTIONS.values())
    expected = np.concatenate([episode.images for episode in others])
    np.testing.assert_array_equal(more.images[np.unique(added.frames)], expected)
    some, count = prior_frames.add(frames, others, 0.3, seed=0)
    assert 0 < count < 2 * 17 * 2 and some.images.shape[0] == frames.images.shape[0] + count // 2
    assert prior_frames.add(frames, [], 0.3, seed=0) == (frames, 0)
    with pytest.raises(RobofumeError, match="another size"):
        small = [dataclasses.replace(episode, images=episode.images[:, ::2]) for episode in others]
        prior_frames.add(frames, small, 1.0, seed=0)


def test_training_asks_about_them_where_that_is_wished(tmp_path: Path) -> None:
    options = TrainingConfig(method="film_cnn", updates=2)
    recorded = [*PRIOR, *EPISODES]
    without = training.train_on_episodes(recorded, tmp_path / "without", options)
    assert (without["prior_questions"], without["left_out_without_direction"]) == (0, 3)
    data = DatasetConfig(prior_share=1.0)
    asked = training.train_on_episodes(recorded, tmp_path / "with", options, data=data)
    assert (asked["prior_questions"], asked["left_out_without_direction"]) == (2 * 17 * 2, 1)
    # What is held out, and what is familiar, is of this scene alone.
    for name in ("held_out_questions", "trained_on_keys", "held_out_keys", "training_questions"):
        assert asked[name] == without[name]
    familiar = [(tmp_path / name / "familiarity.json").read_text() for name in ("without", "with")]
    assert familiar[0] == familiar[1]
