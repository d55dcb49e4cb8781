"""The tiny model, loading, and the answers."""

import hashlib
import os
from functools import partial
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import tiny_families
import torch
from robofume_common.errors import RobofumeError
from robofume_reward.familiarity import BINS, Familiarity
from robofume_reward.model import ModelConfig, RewardModel
from robofume_reward.saved import Calibration, View, read_opposites, write_opposites
from robofume_reward.tiny_model import TinyModelConfig
from synthetic_episodes import draw

from robofume_reward import questions, tiny_model

INSTRUCTIONS = ["put the block into the tray", "take the lid off the pot and lay it on the table"]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("reward") / "tiny"
    tiny_model.save(path, TinyModelConfig(), seed=3)
    return path


def images(count: int) -> np.ndarray:
    generator = np.random.default_rng(0)
    return np.stack([draw((10 + i, 30), (24, 4 + i), generator) for i in range(count)])


def test_answers_are_single_tokens() -> None:
    tokenizer = tiny_model.build_tokenizer(TinyModelConfig())
    for answer in (" yes", " no"):
        assert len(tokenizer.encode(answer)) == 1
    assert tokenizer.decode(tokenizer.encode("Ünïcode 布 is written in bytes")) == "Ünïcode 布 is written in bytes"


def test_the_prompt_is_short(directory: Path) -> None:
    batch = RewardModel.load(directory).encode(images(1), [questions.canonical(INSTRUCTIONS[0])])
    assert batch["input_ids"].shape[1] <= 40


def test_probabilities_are_the_normalised_answer_of_the_plain_model(directory: Path) -> None:
    reward = RewardModel.load(directory)
    frames, asked = images(3), [INSTRUCTIONS[0]] * 3
    tokenizer = reward.processor.tokenizer
    texts = [tiny_model.IMAGE_TOKEN + questions.canonical(INSTRUCTIONS[0]) + " Answer:"] * 3
    batch = reward.processor(images=list(frames), text=texts, return_tensors="pt")
    with torch.no_grad():
        logits = reward.model(**batch).logits[:, -1]
    pair = logits[:, [tokenizer.encode(" yes")[0], tokenizer.encode(" no")[0]]]
    expected = pair.softmax(-1)[:, 0].numpy()
    np.testing.assert_allclose(reward.probabilities(frames, asked), expected, atol=1e-5)


def test_a_batch_of_prompts_of_different_length_answers_like_one_by_one(directory: Path) -> None:
    reward = RewardModel.load(directory)
    frames = images(4)
    asked = [INSTRUCTIONS[i % 2] for i in range(4)]
    together = reward.probabilities(frames, asked)
    alone = [reward.probabilities(frames[i : i + 1], asked[i : i + 1])[0] for i in range(4)]
    np.testing.assert_allclose(together, alone, atol=1e-5)
    assert np.ptp(together) > 1e-4  # else the test would show nothing


def test_tracing_changes_nothing(directory: Path) -> None:
    traced, plain = RewardModel.load(directory), RewardModel.load(directory, ModelConfig(trace=False))
    for _ in range(3):
        for frame in images(3):
            np.testing.assert_allclose(
                traced.probabilities(frame[None], INSTRUCTIONS[:1]),
                plain.probabilities(frame[None], INSTRUCTIONS[:1]),
                atol=1e-6,
            )
    assert any(module is not None for module in traced._traced.values())


def test_saving_and_loading_is_exact(directory: Path, tmp_path: Path) -> None:
    reward = RewardModel.load(directory)
    reward.calibration, reward.view = Calibration(1.7, 0.8, 0.95, 0.1), View(2, 5)
    reward.save(tmp_path / "copy")
    again = RewardModel.load(tmp_path / "copy")
    assert (again.calibration, again.view) == (reward.calibration, reward.view)
    frames = images(2)
    assert (again.probabilities(frames, INSTRUCTIONS) == reward.probabilities(frames, INSTRUCTIONS)).all()
    assert again.version.split("@")[1] == reward.version.split("@")[1]
    assert again.version.split("@")[1] != RewardModel.load(directory).version.split("@")[1]


def test_the_seed_decides_the_weights() -> None:
    state = torch.random.get_rng_state()
    first, second, other = (tiny_model.build(TinyModelConfig(), seed)[0].state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)
    assert torch.equal(state, torch.random.get_rng_state())


def test_a_missing_directory_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(RobofumeError, match="does not exist"):
        RewardModel.load(tmp_path / "nothing")


def test_an_empty_directory_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(RobofumeError, match=r"no config\.json"):
        RewardModel.load(tmp_path)


def test_a_truncated_model_is_one_sentence(directory: Path, tmp_path: Path) -> None:
    for path in directory.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(RobofumeError, match="cannot be loaded"):
        RewardModel.load(tmp_path)


def test_a_model_cut_anywhere_is_one_sentence_or_answers_the_same(directory: Path, tmp_path: Path) -> None:
    RewardModel.load(directory).save(tmp_path)
    expected = RewardModel.load(tmp_path).probabilities(images(1), INSTRUCTIONS[:1])
    refused = 0
    for path in sorted(tmp_path.iterdir()):
        data = path.read_bytes()
        for length in (0, 1, len(data) // 3, len(data) - 3):
            path.write_bytes(data[:length])
            try:
                answer = RewardModel.load(tmp_path).probabilities(images(1), INSTRUCTIONS[:1])
            except RobofumeError:
                refused += 1
                continue
            assert np.array_equal(answer, expected), (path.name, length)
        path.write_bytes(data)
    assert refused >= 20


def test_weights_cut_at_any_byte_are_one_sentence(directory: Path, tmp_path: Path) -> None:
    RewardModel.load(directory).save(tmp_path)
    weights = tmp_path / "model.safetensors"
    size = weights.stat().st_size
    near_an_end = {size - 1 - n for n in range(300)} | set(range(300))
    for length in sorted(near_an_end | set(range(0, size, 9973)), reverse=True):
        os.truncate(weights, length)
        with pytest.raises(RobofumeError, match=r"damaged: model\.safetensors is not as it was saved"):
            RewardModel.load(tmp_path)
    weights.unlink()
    with pytest.raises(RobofumeError, match="damaged"):
        RewardModel.load(tmp_path)


FAMILIAR = Familiarity(np.zeros((1, 3 * BINS)), np.eye(3 * BINS)[None])
SAVED_BESIDE = {
    "calibration.json": (Calibration().write, Calibration.read),
    "view.json": (View().write, View.read),
    "opposites.json": (partial(write_opposites, opposites={"lid on": "lid off", "lid off": "lid on"}), read_opposites),
    "familiarity.json": (FAMILIAR.write, Familiarity.read),
}


@pytest.mark.parametrize("name", SAVED_BESIDE)
def test_what_is_saved_beside_a_model_and_cut_at_any_byte_is_one_sentence(tmp_path: Path, name: str) -> None:
    write, read = SAVED_BESIDE[name]
    write(tmp_path)
    data = (tmp_path / name).read_bytes()
    whole = range(len(data) - 1)  # without the last line break it is whole
    for length in {*whole[:1000], *whole[-1000:], *whole[::997]}:
        (tmp_path / name).write_bytes(data[:length])
        with pytest.raises(RobofumeError, match="train the reward model again"):
            read(tmp_path)


@pytest.mark.parametrize("name", SAVED_BESIDE)
def test_what_was_saved_beside_a_model_and_is_gone_is_not_replaced_by_defaults(
    directory: Path, tmp_path: Path, name: str
) -> None:
    model = RewardModel.load(directory)
    model.opposites = {"lid on": "lid off", "lid off": "lid on"}
    model.familiarity = FAMILIAR
    model.save(tmp_path)
    RewardModel.load(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(RobofumeError, match=f"damaged.*{name}"):
        RewardModel.load(tmp_path)


def test_a_broken_calibration_is_one_sentence(directory: Path, tmp_path: Path) -> None:
    (tmp_path / "calibration.json").write_text("{}")
    with pytest.raises(RobofumeError, match="calibration"):
        Calibration.read(tmp_path)


def test_a_calibration_of_the_first_version_is_read(tmp_path: Path) -> None:
    (tmp_path / "calibration.json").write_text('{"temperature": 2.0, "threshold": 0.9, "target_precision": 0.95}')
    assert Calibration.read(tmp_path) == Calibration(2.0, 0.9, 0.95)
    (tmp_path / "view.json").write_text('{"frames": 0, "stride": 1}')
    with pytest.raises(RobofumeError, match="out of range"):
        View.read(tmp_path)


def test_earlier_frames_change_the_answer(directory: Path) -> None:
    reward = RewardModel.load(directory)
    frames = images(4)
    clips = np.stack([frames[:2], frames[2:]])
    together = reward.probabilities(clips, INSTRUCTIONS)
    alone = [reward.probabilities(clips[i : i + 1], INSTRUCTIONS[i : i + 1])[0] for i in range(2)]
    np.testing.assert_allclose(together, alone, atol=1e-5)
    backwards = reward.probabilities(clips[:, ::-1].copy(), INSTRUCTIONS)
    assert np.abs(backwards - together).min() > 1e-5


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub in the place of the machine's."""
    cache = tmp_path / "hub"
    cache.mkdir()
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache))
    return cache


def put_into_cache(cache: Path, name: str, directory: Path) -> Path:
    """A saved model as `hf download` leaves it; gives its snapshot, which links to the files."""
    entry, commit = cache / f"models--{name.replace('/', '--')}", "0123456789abcdef" * 2 + "01234567"
    snapshot = entry / "snapshots" / commit
    for folder in ("refs", "blobs", f"snapshots/{commit}"):
        (entry / folder).mkdir(parents=True)
    (entry / "refs" / "main").write_text(commit)
    for path in directory.iterdir():
        blob = hashlib.sha256(path.read_bytes()).hexdigest()
        (entry / "blobs" / blob).write_bytes(path.read_bytes())
        (snapshot / path.name).symlink_to(f"../../blobs/{blob}")
    return snapshot


@pytest.mark.parametrize("family", ["LLaVA", "SmolVLM", "Qwen3-VL"])
def test_a_model_of_the_hubs_cache_is_loaded_by_its_name(family: str, hub_cache: Path, tmp_path: Path) -> None:
    tiny_families.save(family, tmp_path / "saved")
    put_into_cache(hub_cache, "somebody/tiny", tmp_path / "saved")
    reward, saved = RewardModel.load("somebody/tiny"), RewardModel.load(tmp_path / "saved")
    assert reward.version == "somebody/tiny@" + saved.version.split("@")[1]
    assert reward.processor.chat_template == tiny_families.TEMPLATES[family]
    frames = images(2)
    np.testing.assert_array_equal(reward.probabilities(frames, INSTRUCTIONS), saved.probabilities(frames, INSTRUCTIONS))


def test_a_hub_name_that_is_not_in_the_cache_says_how_to_fetch_it(hub_cache: Path) -> None:
    said = r"neither a directory nor in .* cache .*`hf download nobody/no-such-model`, set allow_download"
    with pytest.raises(RobofumeError, match=said) as caught:
        RewardModel.load("nobody/no-such-model")
    assert "connect" not in str(caught.value)


def test_a_model_that_is_in_the_cache_in_part_says_how_to_fetch_it(directory: Path, hub_cache: Path) -> None:
    snapshot = put_into_cache(hub_cache, "somebody/tiny", directory)
    (snapshot / "model.safetensors").unlink()
    with pytest.raises(RobofumeError, match="cannot be loaded: fetch it with `hf download somebody/tiny`"):
        RewardModel.load("somebody/tiny")


def test_what_cannot_be_a_hub_name_is_one_sentence() -> None:
    with pytest.raises(RobofumeError, match=r"cannot be loaded.*Repo id"):
        RewardModel.load("no body/tiny")


def test_wrong_images_are_refused(directory: Path) -> None:
    with pytest.raises(RobofumeError, match="uint8"):
        RewardModel.load(directory).probabilities(np.zeros((1, 8, 8, 3), np.float32), INSTRUCTIONS[:1])
