"""Pictures without the object, made from recorded ones: what is painted, when nothing may be, and what it teaches."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import synthetic_episodes
from robofume_common.enums import RewardSource
from robofume_common.errors import RobofumeError
from robofume_reward.dataset import DatasetConfig
from robofume_reward.model import RewardModel
from robofume_reward.sampling import Sampler
from robofume_reward.tiny_model import TinyModelConfig
from robofume_reward.training import TrainingConfig
from synthetic_episodes import INSTRUCTIONS

from robofume_reward import counterexamples, dataset, tiny_model, training

EPISODES = synthetic_episodes.episodes(24, seed=0, failure_share=0.15)
RED = np.array([200, 40, 30])
WHY_NOT = "same place in too many|anything that moves"


def red(images: np.ndarray) -> np.ndarray:
    """How many pixels (N,) of images (N, H, W, 3) look like the block, in whatever light."""
    values = images.astype(float)
    return ((values[..., 0] > 2.5 * values[..., 1]) & (values[..., 0] > 2.5 * values[..., 2])).sum((1, 2))


def test_the_block_is_painted_over_and_the_rest_stays() -> None:
    home = np.stack([episode.images[0] for episode in EPISODES])
    assert (red(home) > 40).all()
    painted, places = counterexamples.empty_scenes(home)
    assert len(painted) > 0.9 * len(home) and not red(painted).any()
    same = (painted == home[places]).all(-1).mean((1, 2))
    assert (same > 0.7).all() and (same < 0.98).all()
    tray = painted[:, 26:42, 4:20].mean((1, 2))
    assert (tray[:, 1] > 1.4 * tray[:, 0]).all()  # still green, as the tray is


def test_nothing_is_painted_where_the_background_is_not_known() -> None:
    generator = np.random.default_rng(0)

    def pictures(*places: tuple[float, float]) -> np.ndarray:
        return np.stack([synthetic_episodes.draw(places[i % len(places)], (24, 4), generator) for i in range(40)])

    with pytest.raises(RobofumeError, match="same place in too many"):
        counterexamples.empty_scenes(pictures((35, 34), (10, 34)))
    with pytest.raises(RobofumeError, match="same place in too many"):
        counterexamples.empty_scenes(pictures((35, 34), (35, 34), (10, 34), (12, 32)))
    with pytest.raises(RobofumeError, match="anything that moves"):
        counterexamples.empty_scenes(pictures((35, 34)))
    with pytest.raises(RobofumeError, match="only 7 pictures"):
        counterexamples.empty_scenes(pictures((35, 34))[:7])


def began_at(forward: list[tuple[float, float]], backward: list[tuple[float, float]]) -> tuple[np.ndarray, np.ndarray]:
    """Pictures from home with the block at these places, and the directions that begin there."""
    generator = np.random.default_rng(0)
    images = np.stack([synthetic_episodes.draw(place, (24, 4), generator) for place in [*forward, *backward]])
    return images, np.repeat([1, 2], [len(forward), len(backward)]).astype(np.uint8)


def test_what_always_lies_at_one_place_where_a_direction_begins_is_painted_over_too() -> None:
    generator = np.random.default_rng(1)
    anywhere = [(generator.uniform(28, 42), generator.uniform(29, 39)) for _ in range(30)]
    for forward, backward in ((anywhere, [(10, 34)] * 30), ([(35, 34)] * 20, [(10, 34)] * 30)):
        images, began = began_at(forward, backward)
        with pytest.raises(RobofumeError, match=WHY_NOT):
            counterexamples.empty_scenes(images)
        painted, places = counterexamples.empty_scenes(images, began)
        assert len(places) > 0.9 * len(images) and not red(painted).any()
        tray = painted[:, 30:38, 6:14].mean((1, 2))
        assert (tray[:, 1] > 1.4 * tray[:, 0]).all(), "the tray is under the block, and not a block or the table"


def test_nothing_is_painted_where_the_directions_do_not_tell_what_is_under_it() -> None:
    generator = np.random.default_rng(1)
    anywhere = [(generator.uniform(28, 42), generator.uniform(29, 39)) for _ in range(30)]
    for forward, backward in (
        ([(35, 34)] * 20, [(37, 34)] * 20),  # in the middle both have it
        (anywhere[:5], [(10, 34)] * 30),  # too few to tell
    ):
        images, began = began_at(forward, backward)
        with pytest.raises(RobofumeError, match=WHY_NOT):
            counterexamples.empty_scenes(images, began)


def test_every_question_about_them_is_answered_no_and_they_belong_to_no_episode() -> None:
    frames = dataset.label(EPISODES, DatasetConfig(), seed=0)
    more, made = counterexamples.add(frames, seed=0)
    assert (made.empty, made.others, made.note) == (len(more.images) - len(frames.images) - 56, 56, "")
    asked = more.made
    assert not more.made[: len(frames)].any() and asked.sum() == 2 * (made.empty + made.others)
    assert not more.labels[asked].any() and (more.episodes[asked] == -1).all()
    assert set(more.instructions[asked]) == set(INSTRUCTIONS.values())
    assert (more.frames[asked] >= len(frames.images)).all() and len(more.proprioception) == len(more.images)
    assert (more.starts[more.frames[asked]] == more.frames[asked]).all()  # several frames show the same picture
    again, _ = counterexamples.add(frames, seed=0)
    np.testing.assert_array_equal(again.images, more.images)
    still = [dataclasses.replace(episode, images=episode.images[:1].repeat(17, 0)) for episode in EPISODES[:1] * 9]
    _, refused = counterexamples.add(dataset.label(still, DatasetConfig(), seed=0), seed=0)
    assert refused.empty == 0 and refused.others == 56 and "anything that moves" in refused.note


def test_their_share_of_a_batch_is_kept_and_the_others_keep_theirs() -> None:
    frames, _ = counterexamples.add(dataset.label(EPISODES, DatasetConfig(), seed=0), seed=0)
    options = TrainingConfig(counterexample_share=0.25)
    sampler = Sampler(frames, options)
    generator = np.random.default_rng(0)
    rows = np.concatenate([sampler.draw(64, generator) for _ in range(400)])
    made = frames.made[rows]
    assert made.mean() == pytest.approx(0.25, abs=0.01)
    assert (frames.directions[rows][made] == 1).mean() == pytest.approx(0.5, abs=0.03)
    assert frames.labels[rows][~made].mean() == pytest.approx(options.yes_share, abs=0.02)


def test_answers_keep_their_share_where_a_person_called_every_success() -> None:
    sources = np.full(17, RewardSource.NONE, np.uint8)
    sources[-1] = RewardSource.HUMAN
    called = [dataclasses.replace(item, sources=sources) if item.is_success else item for item in EPISODES]
    frames, options = dataset.label(called, DatasetConfig(), seed=0), TrainingConfig()
    assert frames.mined[frames.labels & frames.own].all() and not frames.mined.all()
    sampler, generator = Sampler(frames, options), np.random.default_rng(0)
    rows = np.concatenate([sampler.draw(64, generator) for _ in range(400)])
    assert frames.labels[rows].mean() == pytest.approx(options.yes_share, abs=0.01)
    assert (~frames.own[rows]).mean() == pytest.approx(options.other_share, abs=0.01)


def test_training_makes_them_of_its_own_frames_and_says_so(tmp_path: Path) -> None:
    tiny_model.save(tmp_path / "base", TinyModelConfig(image_size=32, vision_width=8, text_width=32), seed=0)
    options = TrainingConfig(base=str(tmp_path / "base"), updates=2, batch_size=16, threads=1,
                             counterexample_share=0.06)  # fmt: skip
    made = training.train_on_episodes(EPISODES[:16], tmp_path / "made", options)
    assert made["counterexamples"]["empty"] > 8 and made["counterexamples"]["others"] == 56
    off = dataclasses.replace(options, counterexample_share=0.0)
    none = training.train_on_episodes(EPISODES[:16], tmp_path / "none", off)
    assert none["counterexamples"] == {"empty": 0, "others": 0, "note": ""}
    assert none["training_questions"] == made["training_questions"]
    versions = {RewardModel.load(tmp_path / name).version.split("@")[1] for name in ("made", "none")}
    assert len(versions) == 2
