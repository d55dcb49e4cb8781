"""Fine-tuning on drawn episodes: short, but it must learn."""

import dataclasses
import json
import resource
import shutil
from pathlib import Path

import numpy as np
import pytest
import synthetic_episodes
import torch
from robofume_common.enums import Direction, Outcome, RewardSource, Verdict
from robofume_common.errors import RobofumeError
from robofume_data.bag_reader import read_episodes
from robofume_data.episode_writer import write_episodes
from robofume_data.labels import with_labels
from robofume_reward.augmentation import AugmentationConfig
from robofume_reward.dataset import DatasetConfig
from robofume_reward.familiarity import Familiarity
from robofume_reward.loading import load_judge
from robofume_reward.model import ModelConfig, RewardModel
from robofume_reward.saved import Calibration, View, check_manifest
from robofume_reward.tiny_model import TinyModelConfig
from robofume_reward.training import TrainingConfig

from robofume_reward import dataset, evaluation, tiny_model, training

UPDATES = 250
EPISODES = synthetic_episodes.episodes(24, seed=0, failure_share=0.15)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    directory = tmp_path_factory.mktemp("trained") / "reward"
    # Smaller than the default, so that it learns these simple pictures in seconds.
    tiny_model.save(directory.with_name("base"), TinyModelConfig(image_size=32, vision_width=24, text_width=64), seed=0)
    options = TrainingConfig(
        base=str(directory.with_name("base")), updates=UPDATES, batch_size=32, learning_rate=3e-3,
        negative_share=0.0, paraphrase_share=0.0, averaging=0.9, threads=1,
    )  # fmt: skip
    seen: list[int] = []
    summary = training.train_on_episodes(EPISODES, directory, options, lambda i, n, metrics: seen.append(i))
    assert seen == list(range(1, UPDATES + 1))
    return directory, summary


@pytest.mark.parametrize("only_once", [False, True])
def test_whatever_write_fails_the_old_model_or_the_new_one_is_there(tmp_path: Path, failing_disk, only_once) -> None:
    tiny_model.save(tmp_path / "base", TinyModelConfig(image_size=32, vision_width=24, text_width=64), seed=0)
    reward = RewardModel.load(tmp_path / "base")
    output, partial = tmp_path / "reward", tmp_path / "reward.partial"

    def save(threshold: float) -> None:
        reward.calibration = Calibration(threshold=threshold)
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        training.keep(reward, {}, partial, output)

    save(0.6)
    for fails_at in range(1, 200):
        with failing_disk(fails_at, only_once) as disk:
            try:
                save(0.9)
                told = False
            except RobofumeError as error:
                told = "cannot be written" in str(error)
            except OSError:  # of this test's own mkdir
                told = True
        check_manifest(output)
        threshold = Calibration.read(output).threshold
        assert threshold in ((0.6, 0.9) if told else (0.9,))
        if not disk.failed:
            break
        if threshold == 0.9:
            save(0.6)
    assert 10 < fails_at < 199, "the disk was never left alone"
    assert RewardModel.load(output).calibration.threshold == 0.9

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))  # the weights are not written by Python
    try:
        with pytest.raises(RobofumeError, match="cannot be written"):
            save(0.7)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert RewardModel.load(output).calibration.threshold == 0.9


def test_it_learns_to_tell_the_places_apart(trained: tuple[Path, dict]) -> None:
    reward = RewardModel.load(trained[0])
    unseen = synthetic_episodes.episodes(12, seed=77, failure_share=0.3)
    result = evaluation.evaluate_episodes(reward, unseen)
    for direction in ("forward", "backward"):
        assert result[direction]["area_under_curve"] > 0.85
        home = result[direction]["from_home"]
        assert home["frames"] >= len(unseen) // 2
        assert home["true_positives"] + home["true_negatives"] > home["frames"] / 2
    assert "precision" in evaluation.table(result) and "forward from home" in evaluation.table(result)


def test_it_reads_the_instruction(trained: tuple[Path, dict]) -> None:
    reward = RewardModel.load(trained[0])
    last = [e for e in EPISODES if e.success_index >= 0]
    images = np.stack([e.images[-1] for e in last])
    own = reward.probabilities(images, [e.instruction for e in last])
    other = reward.probabilities(images, [synthetic_episodes.INSTRUCTIONS[e.direction.opposite] for e in last])
    assert own.mean() > other.mean() + 0.3


def test_what_was_saved_tells_how_it_was_made(trained: tuple[Path, dict]) -> None:
    directory, summary = trained
    saved = json.loads((directory / "training.json").read_text())
    assert saved["options"]["updates"] == UPDATES
    assert set(saved["trained_on"]).isdisjoint(saved["held_out_episodes"])
    assert len(saved["trained_on"]) + len(saved["held_out_episodes"]) + len(saved["half_seen_keys"]) == len(EPISODES)
    assert len(saved["half_seen_keys"]) == 2, "they lie beside the held-out ones, in one row without a reset"
    assert json.loads((directory / "calibration.json").read_text()) == summary["calibration"]
    saved_model = RewardModel.load(directory)
    assert set(saved_model.opposites) == set(synthetic_episodes.INSTRUCTIONS.values())
    images = np.concatenate([episode.images for episode in EPISODES])
    assert summary["familiar_scenes"] == 1 and not saved_model.familiarity.strange(images).any()
    assert saved_model.familiarity.strange(images // 2).all()
    assert not directory.with_name("reward.partial").exists()


def test_the_seed_decides_the_result(tmp_path: Path) -> None:
    options = TrainingConfig(updates=3, batch_size=4, threads=1)
    for name in ("one", "two"):
        training.train_on_episodes(EPISODES[:8], tmp_path / name, options)
    one, two = (RewardModel.load(tmp_path / name) for name in ("one", "two"))
    assert one.version.split("@")[1] == two.version.split("@")[1]


@pytest.mark.parametrize("method", ["film_cnn", "full"])
def test_a_training_that_has_learnt_nothing_begins_again_from_other_weights(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    options = TrainingConfig(method=method, updates=2, batch_size=4, threads=1)
    found: list[str] = []
    monkeypatch.setattr(training, "shortcomings", lambda _measured: found.pop(0) if found else "")

    def trained_with(name: str, *shortcomings: str, **more: int) -> tuple[dict, str]:
        found[:] = shortcomings
        changed = dataclasses.replace(options, **more)
        summary = training.train_on_episodes(EPISODES[:8], tmp_path / name, changed)
        return summary, load_judge(tmp_path / name).version.split("@")[1]

    healthy, first = trained_with("healthy")
    assert [attempt["seed"] for attempt in healthy["attempts"]] == [0] and not caplog.records
    again, second = trained_with("again", "it called none")
    assert [(attempt["seed"], attempt["unfit"]) for attempt in again["attempts"]] == [(0, "it called none"), (1000, "")]
    assert second != first and "(it called none): it begins again" in caplog.text
    assert again["held_out_keys"] == healthy["held_out_keys"] and again["options"] == healthy["options"]
    never, third = trained_with("never", *["no"] * 9)
    assert [attempt["unfit"] for attempt in never["attempts"]] == ["no"] * 3 and third not in (first, second)
    once, same = trained_with("once", "no", retries=0)
    assert len(once["attempts"]) == 1 and same == first


def test_one_that_goes_on_with_a_model_does_not_begin_again(base, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(training, "shortcomings", lambda _measured: "no")
    options = TrainingConfig(base=base, updates=1, batch_size=4, threads=1)
    assert len(training.train_on_episodes(EPISODES[:8], tmp_path / "reward", options)["attempts"]) == 1


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    directory = tmp_path_factory.mktemp("base") / "base"
    tiny_model.save(directory, TinyModelConfig(image_size=32, vision_width=8, text_width=32), seed=0)
    return str(directory)


def test_what_a_base_has_learnt_counts_as_seen(base: str, tmp_path: Path) -> None:
    write_episodes(tmp_path / "bag.mcap", EPISODES[:16])
    recorded = list(read_episodes(tmp_path / "bag.mcap"))

    def trained_from(model: str, name: str, count: int, seed: int) -> dict:
        options = TrainingConfig(base=model, updates=2, batch_size=4, threads=1, seed=seed)
        return training.train_on_episodes(recorded[:count], tmp_path / name, options)

    first = trained_from(base, "one", 12, seed=0)
    assert first["base_trained_on_keys"] == [] and first["held_out_seen_by_base"] == 0
    second = trained_from(str(tmp_path / "one"), "two", 16, seed=3)
    assert second["base_trained_on_keys"] == sorted(first["trained_on_keys"])
    assert second["held_out_seen_by_base"] == len({*first["trained_on_keys"]} & {*second["held_out_keys"]}) > 0
    third = trained_from(str(tmp_path / "two"), "three", 12, seed=0)
    learnt = {*first["trained_on_keys"], *second["trained_on_keys"]}
    assert set(third["base_trained_on_keys"]) == learnt
    keys = {episode.key for episode in recorded}
    assert keys - learnt and {e.key for e in evaluation.unseen(tmp_path / "two", [tmp_path])} == keys - learnt


def test_a_batch_in_parts_takes_the_same_steps(base: str, tmp_path: Path) -> None:
    still = AugmentationConfig(shift=0.0, brightness=0.0, contrast=0.0, colour=0.0, noise=0.0)
    whole = TrainingConfig(base=base, updates=3, batch_size=16, mixed_precision=False, threads=1)
    states = []
    for parts in (1, 4):
        options = dataclasses.replace(whole, accumulation=parts)
        training.train_on_episodes(EPISODES[:10], tmp_path / str(parts), options, augmentation=still)
        states.append(RewardModel.load(tmp_path / str(parts)).model.state_dict())
    for name, value in states[0].items():
        torch.testing.assert_close(value, states[1][name], atol=2e-4, rtol=1e-3, msg=name)


def test_training_stops_when_the_held_out_episodes_gain_nothing(base: str, tmp_path: Path) -> None:
    options = TrainingConfig(base=base, updates=30, batch_size=4, learning_rate=1e-30, check_every=1, patience=3,
                             averaging=0.0, threads=1)  # fmt: skip
    seen: list[int] = []
    summary = training.train_on_episodes(EPISODES[:10], tmp_path / "reward", options, lambda i, n, m: seen.append(i))
    # Looks begin in the middle of the training: before, no question in negative form was asked for long.
    assert (seen[-1], summary["best_update"]) == (19, 16)


def test_a_few_labels_of_practice_count_as_much_as_all_the_recorded_ones() -> None:
    class Torn:
        model, view = torch.nn.Identity(), View()

        def log_odds(self, images: np.ndarray, instructions: list[str]) -> np.ndarray:
            return np.where(images[:, 0, 0, 0] == 0, -4.0, 4.0)

    frames = dataset.label(EPISODES[:6], DatasetConfig(), seed=0)
    images = np.zeros_like(frames.images)
    mined = np.isin(frames.frames, frames.frames[:3])
    few = dataclasses.replace(frames, images=images, mined=mined, labels=mined)
    # Wrong about the few, which were called successes, and right about the many.
    assert training._held_out_loss(Torn(), few) == pytest.approx((4.018 + 0.018) / 2, abs=1e-3)
    images[frames.frames[~mined]] = 1
    worse = dataclasses.replace(few, labels=np.zeros(len(frames), bool))
    assert training._held_out_loss(Torn(), worse) == pytest.approx((0.018 + 4.018) / 2, abs=1e-3)


def test_training_is_judged_by_what_is_seen_from_home_where_there_is_enough_of_it() -> None:
    class Rising:
        model, view = torch.nn.Identity(), View()

        def log_odds(self, images: np.ndarray, instructions: list[str]) -> np.ndarray:
            return images[:, 0, 0, 0].astype(float)

    frames = dataset.label(EPISODES, DatasetConfig(), seed=0)
    home = dataset.at_home(frames)
    assert min(np.bincount(frames.labels[home], minlength=2)) >= 4
    images = np.zeros_like(frames.images)
    images[frames.frames[~home]] = 9
    shown = dataclasses.replace(frames, images=images)
    assert training._held_out_loss(Rising(), shown) == pytest.approx(np.log(2.0))
    # Too few successes from home to go by them alone.
    assert training._held_out_loss(Rising(), shown.select(~(home & frames.labels))) > 1.0


def test_the_projector_alone_leaves_all_other_weights_as_they_are(base: str, tmp_path: Path) -> None:
    options = TrainingConfig(base=base, method="projector", updates=3, batch_size=4, learning_rate=1e-2, threads=1)
    training.train_on_episodes(EPISODES[:8], tmp_path / "tuned", options)
    before, after = (RewardModel.load(path).model.state_dict() for path in (base, tmp_path / "tuned"))
    changed = {name for name, value in before.items() if not torch.equal(value, after[name])}
    assert changed and all("projector" in name for name in changed)


@pytest.mark.parametrize("method", ["lora", "projector"])
def test_small_methods_change_the_model_and_save_a_whole_one(
    method: str, trained: tuple[Path, dict], tmp_path: Path
) -> None:
    options = TrainingConfig(base=str(trained[0]), method=method, updates=3, batch_size=4, threads=1)
    training.train_on_episodes(EPISODES[:8], tmp_path / "tuned", options)
    before, after = RewardModel.load(trained[0]), RewardModel.load(tmp_path / "tuned")
    images, asked = EPISODES[0].images[:2], [EPISODES[0].instruction] * 2
    assert not np.allclose(before.log_odds(images, asked), after.log_odds(images, asked))
    assert set(before.model.state_dict()) == set(after.model.state_dict())


class SureOfSuccess:
    """A second judge that calls everything a success."""

    view = View()
    familiarity = Familiarity()

    def probabilities(self, images: np.ndarray, instructions: list[str]) -> np.ndarray:
        return np.ones(len(images))


def test_practice_counts_where_somebody_else_has_judged_it(tmp_path: Path) -> None:
    practice = [
        dataclasses.replace(
            episode, episode_id=f"practice-{i}", sources=np.full_like(episode.sources, RewardSource.VLM),
            success_index=16 if episode.is_success else -1,
        )
        for i, episode in enumerate(synthetic_episodes.episodes(6, seed=5, failure_share=0.5))
    ]  # fmt: skip
    successes = {episode.episode_id for episode in practice if episode.is_success}
    failure = next(episode.episode_id for episode in practice if not episode.is_success)
    labelled = with_labels(practice, {failure: {-1: Verdict.FAILURE}})
    tiny_model.save(tmp_path / "base", TinyModelConfig(image_size=32, vision_width=8, text_width=32), seed=0)
    options = TrainingConfig(base=str(tmp_path / "base"), updates=2, batch_size=8, threads=1)
    alone = training.train_on_episodes([*EPISODES[:8], *practice], tmp_path / "alone", options)
    assert alone["mined_questions"] == 0 and len(alone["trained_on"]) + len(alone["held_out_episodes"]) == 8
    judged = training.train_on_episodes(
        [*EPISODES[:8], *labelled], tmp_path / "judged", options, second_judge=SureOfSuccess()
    )
    half_seen = {key.split()[0] for key in judged["half_seen_keys"]}
    known = {*judged["trained_on"], *judged["held_out_episodes"], *half_seen} - {e.episode_id for e in EPISODES}
    assert known == {failure, *successes} and set(judged["agreed_episodes"]) == successes
    assert judged["mined_questions"] > 0


@pytest.mark.parametrize("method", ["lora", "projector"])
def test_a_part_of_an_untrained_model_is_not_trained(method: str, tmp_path: Path) -> None:
    with pytest.raises(RobofumeError, match="needs a pre-trained base model"):
        training.train_on_episodes(EPISODES[:8], tmp_path / "reward", TrainingConfig(method=method, updates=1))
    assert not (tmp_path / "reward").exists()


@pytest.mark.parametrize("device", ["toaster", "cuda:77"])
def test_a_device_that_is_not_there_is_told_before_anything_is_read(device: str, base: str, tmp_path: Path) -> None:
    options = TrainingConfig(base=base, device=device, updates=1)
    with pytest.raises(RobofumeError, match=f"The device '{device}' cannot be used here: set device to cpu"):
        training.train([tmp_path / "no_such_bag.mcap"], tmp_path / "reward", options)
    with pytest.raises(RobofumeError, match="cannot be used here"):
        RewardModel.load(base, ModelConfig(device=device))


def test_the_learning_rate_goes_by_the_base(base: str, tmp_path: Path) -> None:
    assert TrainingConfig().rate == 1.5e-3
    assert TrainingConfig(base=base).rate == 1e-4
    assert TrainingConfig(base=base, learning_rate=3e-4).rate == 3e-4
    summary = training.train_on_episodes(
        EPISODES[:8], tmp_path / "reward", TrainingConfig(base=base, updates=1, batch_size=4)
    )
    assert summary["options"]["learning_rate"] == 1e-4


def test_one_kind_of_answer_is_refused(tmp_path: Path) -> None:
    failures = synthetic_episodes.episodes(4, seed=0, failure_share=1.0)
    with pytest.raises(RobofumeError, match="successes and failures"):
        training.train_on_episodes(failures, tmp_path / "reward", TrainingConfig(updates=1))


def test_prior_data_of_no_direction_are_left_out_and_counted(tmp_path: Path) -> None:
    prior = [
        dataclasses.replace(episode, episode_id=f"prior-{i}", direction=Direction.NONE, task="prior")
        for i, episode in enumerate(EPISODES[:5])
    ]
    unknown = dataclasses.replace(EPISODES[8], outcome=Outcome.UNKNOWN, success_index=-1)
    tiny_model.save(tmp_path / "base", TinyModelConfig(image_size=32, vision_width=8, text_width=32), seed=0)
    options = TrainingConfig(base=str(tmp_path / "base"), updates=2, batch_size=8, threads=1)
    without = training.train_on_episodes([*EPISODES[:8], unknown], tmp_path / "without", options)
    assert without["left_out_without_direction"] == 0 and without["unknown_outcomes"] == 1
    summary = training.train_on_episodes([*prior, *EPISODES[:8], unknown], tmp_path / "with", options)
    assert summary["left_out_without_direction"] == 5
    assert not [name for name in summary["trained_on"] + summary["held_out_episodes"] if name.startswith("prior")]
    for name in ("training_questions", "held_out_questions", "trained_on"):
        assert summary[name] == without[name]
    versions = [RewardModel.load(tmp_path / name).version.split("@")[1] for name in ("without", "with")]
    assert versions[0] == versions[1]
    with pytest.raises(RobofumeError, match="None of the 5 recorded episodes follows a direction"):
        training.train_on_episodes(prior, tmp_path / "prior", options)
