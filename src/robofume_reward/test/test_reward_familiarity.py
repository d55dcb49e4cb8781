"""Which scenes are strange: another light and other colours are, the recorded scene in any course of it is not."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import synthetic_episodes
from robofume_common.enums import RewardSource, Verdict
from robofume_common.errors import RobofumeError
from robofume_reward.augmentation import AugmentationConfig
from robofume_reward.evaluation import evaluate_episodes, table
from robofume_reward.familiarity import _CHUNK, BINS, FAMILIARITY_FILE, Familiarity, describe, fit
from robofume_reward.judge import JudgeConfig
from robofume_reward.rescoring import answers, rescored
from robofume_reward.saved import Calibration, View

from robofume_reward import mining

EPISODES = synthetic_episodes.episodes(24, seed=0)
NONE = np.zeros((0, synthetic_episodes.SIZE, synthetic_episodes.SIZE, 3), np.uint8)


def pictures(episodes: list) -> np.ndarray:
    return np.concatenate([episode.images for episode in episodes])


def dimmed(images: np.ndarray, share: float = 0.6) -> np.ndarray:
    return (images * share).astype(np.uint8)


def repainted(images: np.ndarray) -> np.ndarray:
    """With red and blue exchanged: other things, in the same light."""
    return images[..., ::-1]


LEARNT, HELD, UNSEEN = pictures(EPISODES[:12]), pictures(EPISODES[12:16]), pictures(EPISODES[16:])
KNOWN = fit(LEARNT, HELD, NONE, AugmentationConfig(), seed=0)


def test_a_picture_is_the_shares_of_its_values_whatever_its_size() -> None:
    half = np.zeros((1, 64, 64, 3), np.uint8)
    half[:, 32:, :, 0] = 255
    described = describe(half).reshape(3, BINS) ** 2
    assert described[0] == pytest.approx([0.5, *[0.0] * (BINS - 2), 0.5])
    assert described[1] == pytest.approx([1.0, *[0.0] * (BINS - 1)])
    between = describe(np.full((1, 8, 8, 3), 255 / (BINS - 1) * 1.25, np.float32).astype(np.uint8)).reshape(3, BINS)
    assert (between[0] ** 2)[:3] == pytest.approx([0.0, 0.75, 0.25], abs=0.02)  # in part for both neighbours
    assert describe(half.repeat(8, 1).repeat(8, 2)) == pytest.approx(describe(half))


def test_the_recorded_scene_is_familiar_and_another_light_or_other_things_are_not() -> None:
    assert KNOWN.strange(UNSEEN).mean() == 0.0 and KNOWN.distances(UNSEEN).max() < 0.9
    assert not KNOWN.strange(dimmed(UNSEEN, 0.92)).any()  # training augments to as much
    assert KNOWN.strange(dimmed(UNSEEN)).all() and KNOWN.strange(repainted(UNSEEN)).all()
    noise = np.random.default_rng(0).integers(0, 256, UNSEEN[:4].shape, dtype=np.uint8)
    assert KNOWN.strange(noise).all()
    np.testing.assert_array_equal(KNOWN.strange(np.stack([dimmed(UNSEEN), UNSEEN], 1)), KNOWN.strange(UNSEEN))


def test_labelled_pictures_make_their_scenes_familiar_and_no_others() -> None:
    few = np.concatenate([dimmed(HELD[::9]), repainted(HELD[::9]), HELD[::9]])
    found = fit(LEARNT, HELD, few, AugmentationConfig(), seed=0)
    assert 3 <= len(found.centres) <= 6 and len(KNOWN.centres) == 1
    for images in (UNSEEN, dimmed(UNSEEN), repainted(UNSEEN)):
        assert found.strange(images).mean() < 0.03
    noise = np.random.default_rng(0).integers(0, 256, UNSEEN[:4].shape, dtype=np.uint8)
    assert found.strange(noise).all() and found.strange(255 - UNSEEN).all()  # what nobody has labelled
    alone = fit(NONE, NONE, HELD, AugmentationConfig(), seed=0)  # nothing but labelled practice
    assert not alone.strange(UNSEEN).any() and alone.strange(dimmed(UNSEEN)).all()
    assert not fit(NONE, NONE, NONE, AugmentationConfig(), seed=0).strange(UNSEEN).any()


def test_it_is_saved_as_text_and_damage_is_one_sentence(tmp_path: Path) -> None:
    assert not len(Familiarity.read(tmp_path).centres)
    KNOWN.write(tmp_path)
    assert repr(Familiarity.read(tmp_path)) == repr(KNOWN)
    path = tmp_path / FAMILIARITY_FILE
    data = path.read_text()
    for broken in (data[: len(data) // 2], "{}", '{"centres": [], "metrics": [[1.0]]}', "[]"):
        path.write_text(broken)
        with pytest.raises(RobofumeError, match="train the reward model again"):
            Familiarity.read(tmp_path)


class Sure:
    """Says yes with great confidence, whatever it sees."""

    view, calibration, opposites, familiarity = View(), Calibration(), {}, KNOWN

    def log_odds(self, images: np.ndarray, instructions: list[str]) -> np.ndarray:
        return np.full(len(images), 5.0)

    def probabilities(self, images: np.ndarray, instructions: list[str]) -> np.ndarray:
        return self.calibration.probabilities(self.log_odds(images, instructions))


def test_what_is_strange_is_unknown_everywhere() -> None:
    plain, dark = EPISODES[20], dataclasses.replace(EPISODES[20], images=dimmed(EPISODES[20].images))
    said = rescored(Sure(), plain, JudgeConfig()), rescored(Sure(), dark, JudgeConfig())
    assert (said[0].verdicts == Verdict.SUCCESS).all() and (said[1].verdicts == Verdict.UNKNOWN).all()
    assert (said[1].probabilities > 0.9).all()
    assert (answers(Sure(), dark.images, dark.instruction)[1] == Verdict.UNKNOWN).all()
    for strange, episodes in ((False, EPISODES[16:20]), (True, [dark])):
        result = evaluate_episodes(Sure(), episodes)
        asked = [result[name] for name in ("forward", "backward") if result[name]["frames"]]
        assert all((values["abstention"], values["strange"] > 0) == (float(strange), strange) for values in asked)
        assert ("unlike those" in table(result)) == strange
    practised = [
        dataclasses.replace(episode, sources=np.full(len(episode.verdicts), RewardSource.VLM, np.uint8))
        for episode in (plain, dataclasses.replace(dark, episode_id="dark"))
    ]
    assert mining.agreed(practised, Sure(), 0.9) == {plain.key}
    assert Calibration().verdict(0.1, strange=True) == Verdict.UNKNOWN


def test_many_pictures_are_described_as_each_of_them_is() -> None:
    images = np.random.default_rng(0).integers(0, 256, (_CHUNK + 3, 8, 8, 3), dtype=np.uint8)
    alone = np.concatenate([describe(image[None]) for image in images])
    np.testing.assert_array_equal(describe(images), alone)
    assert describe(images[:0]).shape == (0, 3 * BINS)
