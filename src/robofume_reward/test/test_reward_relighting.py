"""Recorded pictures in a new light: right where the camera stayed, none where it moved, and what they teach."""

import dataclasses
from pathlib import Path

import numpy as np
import synthetic_episodes
from robofume_common.enums import Direction, RewardSource, Verdict
from robofume_data.labels import with_labels
from robofume_reward.dataset import DatasetConfig
from robofume_reward.relighting import FEWEST, add, light
from robofume_reward.tiny_model import TinyModelConfig
from robofume_reward.training import TrainingConfig, train_on_episodes

from robofume_reward import dataset, tiny_model

EPISODES = synthetic_episodes.episodes(24, seed=0)
SIZE = synthetic_episodes.SIZE
SLOPE = np.linspace(0.35, 0.75, SIZE)[None, None, :, None] * np.array([1.0, 0.9, 0.7])
"""A lamp on the right, of a warmer colour."""


def lit(images: np.ndarray) -> np.ndarray:
    return (images * SLOPE).round().astype(np.uint8)


def seen(count: int) -> np.ndarray:
    """Pictures with the arm at home and the block in the tray, or on the table, by turns."""
    generator = np.random.default_rng(3)
    places = [(generator.uniform(5, 18) + 23 * (i % 2), generator.uniform(29, 39)) for i in range(count)]
    return np.stack([synthetic_episodes.draw(place, (24, 4), generator) for place in places])


def labelled(count: int) -> list:
    """Pictures of the new light with a person's answer to the forward question."""
    pattern = next(episode for episode in EPISODES if episode.direction == Direction.FORWARD)
    some = []
    for place, image in enumerate(lit(seen(count))):
        one = dataclasses.replace(
            pattern.first_steps(0), images=image[None], episode_id=f"new-{place}",
            sources=np.array([RewardSource.HUMAN], np.uint8),
        )  # fmt: skip
        some += with_labels([one], {one.episode_id: {-1: Verdict.FAILURE if place % 2 else Verdict.SUCCESS}})
    return some


def test_the_light_is_known_at_each_place() -> None:
    home = np.stack([episode.images[0] for episode in EPISODES])
    factor = light(home, lit(seen(20)))
    assert factor is not None
    still = np.s_[4:22, 30:46]  # where neither arm nor block comes
    assert np.abs(factor[still] / SLOPE[0].repeat(SIZE, 0)[still] - 1).max() < 0.12


def test_a_moved_camera_and_too_few_pictures_give_none() -> None:
    home = np.stack([episode.images[0] for episode in EPISODES])
    assert light(home, np.roll(lit(home), 7, axis=2)) is None
    assert light(home, np.roll(lit(home), -9, axis=1)) is None
    assert light(home, lit(home[: FEWEST - 1])) is None
    assert light(home, lit(home)[:, ::2, ::2]) is None
    noise = np.random.default_rng(0).integers(0, 256, home.shape, dtype=np.uint8)
    assert light(home, noise) is None


def test_every_relit_question_keeps_its_label_and_counts_as_labelled() -> None:
    frames = dataset.label([*EPISODES, *labelled(12)], DatasetConfig(), seed=0)
    new = np.unique(frames.frames[frames.mined])
    more, count = add(frames, [new.tolist()], seed=0)
    assert count == len(more) - len(frames) == len(more.images) - len(frames.images) > 300
    added = more.select(np.arange(len(more)) >= len(frames))
    assert added.mined.all() and not added.made.any()
    assert 0.1 < added.labels.mean() < 0.8
    for row in range(0, count, 50):
        image, pose = more.images[added.frames[row]], more.proprioception[added.frames[row]]
        twin = np.flatnonzero((frames.proprioception == pose).all(1))
        best = min(np.abs(lit(frames.images[i : i + 1])[0].astype(int) - image).mean() for i in twin)
        assert best < 6.0


def test_nothing_is_made_without_a_new_scene() -> None:
    frames = dataset.label(EPISODES, DatasetConfig(), seed=0)
    assert add(frames, [], seed=0) == (frames, 0)
    assert add(frames, [[0, 1, 2]], seed=0) == (frames, 0)


def test_training_relights_what_a_person_has_labelled(tmp_path: Path) -> None:
    base = tmp_path / "base"
    tiny_model.save(base, TinyModelConfig(), seed=0)
    options = TrainingConfig(base=str(base), updates=2, check_every=2, batch_size=16)
    episodes = [*EPISODES, *labelled(16)]
    assert train_on_episodes(episodes, tmp_path / "with", options)["relit_questions"] > 300
    off = dataclasses.replace(options, relight=False)
    assert train_on_episodes(episodes, tmp_path / "without", off)["relit_questions"] == 0
    assert train_on_episodes(EPISODES, tmp_path / "plain", options)["relit_questions"] == 0
