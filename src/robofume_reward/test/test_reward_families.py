"""Every family of models: the same answers alone, in a batch, and after saving and loading."""

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import synthetic_episodes
import tiny_families
import torch
from PIL import Image
from robofume_common.errors import RobofumeError
from robofume_reward.model import ModelConfig, RewardModel
from robofume_reward.training import TrainingConfig
from transformers import AutoImageProcessor
from transformers.utils import is_torchvision_available

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


def _images_in(reward: RewardModel, tokens: list[int]) -> list[int]:
    """Lengths of the runs of placeholders of pictures."""
    picture = reward.model.config.image_token_id
    return [len(list(run)) for same, run in itertools.groupby(token == picture for token in tokens) if same]


@pytest.mark.parametrize("frames", [1, 2])
@pytest.mark.parametrize("name", tiny_families.TEMPLATES)
def test_the_prompt_is_that_of_the_models_own_chat_template(name: str, frames: int, tmp_path: Path) -> None:
    tiny_families.save(name, tmp_path)
    reward = RewardModel.load(tmp_path)
    clips, question = pictures()[None, :frames], "Is the lid on the pot?"
    tokens = reward.encode(clips, [question])["input_ids"][0].tolist()
    content = [{"type": "image", "image": Image.fromarray(picture)} for picture in clips[0]]
    own = reward.processor.apply_chat_template(
        [{"role": "user", "content": [*content, {"type": "text", "text": question}]}],
        add_generation_prompt=True, tokenize=True, processor_kwargs=dict(reward.family.options),
    )  # fmt: skip
    assert tokens == own[0]
    lengths = _images_in(reward, tokens)
    assert len(lengths) == frames and len(set(lengths)) == 1
    words = reward.processor.tokenizer
    written = words.decode(tokens)
    after_the_pictures = written.rsplit(words.convert_ids_to_tokens(reward.model.config.image_token_id), 1)[1]
    ends = {"LLaVA": " ASSISTANT:", "Qwen-VL": "<|im_end|>\n<|im_start|>assistant\n"}
    assert after_the_pictures.endswith(question + ends.get(reward.family.name, "<end_of_utterance>\nAssistant:"))
    assert tokens.count(words.bos_token_id) == ("Qwen" not in name)


@pytest.mark.parametrize("name", tiny_families.FAMILIES)
def test_without_a_template_the_family_writes_the_same_prompt(name: str, tmp_path: Path) -> None:
    prompts = []
    for template in (True, False):
        tiny_families.save(name, tmp_path / str(template), template)
        reward = RewardModel.load(tmp_path / str(template))
        assert bool(reward.processor.chat_template) == (template and name in tiny_families.TEMPLATES)
        tokens = reward.encode(pictures()[:1], ["Is it done?"])["input_ids"][0].tolist()
        prompts.append(reward.processor.tokenizer.decode(tokens))
    with_template, without = prompts
    # Qwen2.5-VL's template adds a sentence of the system before it.
    assert with_template.endswith(without)


OF_A_PROCESSOR = [(name, "chat_template.json") for name in tiny_families.TEMPLATES]
OF_A_TOKENIZER = [(name, "tokenizer_config.json") for name in ("SmolVLM", "Qwen2.5-VL", "Qwen3-VL")]


@pytest.mark.parametrize(("name", "file"), OF_A_PROCESSOR + OF_A_TOKENIZER)
def test_a_template_is_found_where_older_models_keep_it(name: str, file: str, tmp_path: Path) -> None:
    tiny_families.save(name, tmp_path)
    expected = RewardModel.load(tmp_path).encode(pictures()[:1], ["Is it done?"])["input_ids"]
    (tmp_path / "chat_template.jinja").unlink()
    path = tmp_path / file
    settings = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({**settings, "chat_template": tiny_families.TEMPLATES[name]}))
    reward = RewardModel.load(tmp_path)
    assert reward.processor.chat_template == tiny_families.TEMPLATES[name]
    assert torch.equal(reward.encode(pictures()[:1], ["Is it done?"])["input_ids"], expected)


def _by_hand(prepare: Any, picture: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Pixel values (shape) of a square picture (H, W, 3): Pillow's resizing, then a scale of its own for each channel;
    for the Qwen-VL models in patches, of which two by two lie behind one another, and each as a film of two pictures.
    """
    patch = getattr(prepare, "patch_size", None)
    side = shape[-1] if patch is None else patch * round(shape[0] ** 0.5)
    resized = Image.fromarray(picture).resize((side, side), prepare.resample)
    mean, deviation = np.array(prepare.image_mean), np.array(prepare.image_std)
    pixels = ((np.asarray(resized) / 255 - mean) / deviation).transpose(2, 0, 1)
    if patch is None:
        return pixels.reshape(shape)
    half = side // patch // 2
    patches = pixels.reshape(3, half, 2, patch, half, 2, patch).transpose(1, 4, 2, 5, 0, 3, 6)
    return np.repeat(patches[..., None, :, :], 2, axis=-3).reshape(shape)


def test_a_picture_becomes_the_numbers_that_are_computed_by_hand(directory: Path) -> None:
    reward = RewardModel.load(directory)
    prepare = reward.processor.image_processor
    by_pillow = not is_torchvision_available()
    assert type(prepare).__name__.endswith("Pil") == by_pillow
    picture = pictures()[1]
    found = reward.encode(picture[None], INSTRUCTIONS[:1])["pixel_values"].numpy()
    # torchvision resizes a little differently.
    np.testing.assert_allclose(found, _by_hand(prepare, picture, found.shape), atol=1e-5 if by_pillow else 0.05)


def test_torchvision_changes_little(directory: Path) -> None:
    pytest.importorskip("torchvision", reason="torchvision is not installed; images are prepared by Pillow")
    reward = RewardModel.load(directory)
    with_torchvision = reward.probabilities(pictures(), INSTRUCTIONS)
    reward.processor.image_processor = AutoImageProcessor.from_pretrained(directory, backend="pil")
    assert type(reward.processor.image_processor).__name__.endswith("Pil")
    np.testing.assert_allclose(reward.probabilities(pictures(), INSTRUCTIONS), with_torchvision, atol=0.02)


def test_a_model_without_template_and_family_is_refused() -> None:
    with pytest.raises(RobofumeError, match="chat template"):
        families.OTHER.text(object(), "Is it done?", 1)
