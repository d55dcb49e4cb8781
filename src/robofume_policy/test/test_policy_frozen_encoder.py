"""Policies on the features of a frozen vision model; the models are tiny and random, of the real architectures."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import transformers
from robofume_common.errors import RobofumeError
from robofume_policy.checkpoint import CheckpointStore
from robofume_policy.config import ReplayConfig
from robofume_policy.frozen_encoder import FrozenEncoder, feature_dimension
from robofume_policy.language import InstructionEncoder
from robofume_policy.online_learner import OnlineLearner
from robofume_policy.policy_network import load_policy
from robofume_policy.pretraining import pretrain
from test_policy_learning_pipeline import AGENT, NETWORK, SPACE, UPDATES, make_episode

SMALL = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
PICTURE = {"image_size": 32, "patch_size": 8}


def make(family: str, folder) -> str:
    """A saved model of an architecture, small and with random weights."""
    torch.manual_seed(0)
    if family == "clip":
        text = transformers.CLIPTextConfig(**SMALL, vocab_size=64)
        vision = transformers.CLIPVisionConfig(**SMALL, **PICTURE)
        both = transformers.CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict())
        model = transformers.CLIPModel(both)
    elif family == "llava":
        vision = transformers.FocalNetConfig(image_size=32, patch_size=4, embed_dim=8, hidden_sizes=[8, 16],
                                             depths=[1, 1], focal_levels=[1, 1], focal_windows=[3, 3],
                                             hidden_size=16)  # fmt: skip
        text = transformers.LlamaConfig(**SMALL, vocab_size=64)
        model = transformers.LlavaForConditionalGeneration(
            transformers.LlavaConfig(vision_config=vision.to_dict(), text_config=text.to_dict(), image_token_index=1)
        )
    elif family == "resnet":
        config = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic")
        model = transformers.ResNetModel(config)
    else:
        kinds = {
            "vit": (transformers.ViTConfig, transformers.ViTModel),
            "dinov2": (transformers.Dinov2Config, transformers.Dinov2Model),
            "siglip": (transformers.SiglipVisionConfig, transformers.SiglipVisionModel),
        }
        config, kind = kinds[family]
        model = kind(config(**SMALL, **PICTURE))
    model.save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize("family", ["vit", "dinov2", "siglip", "clip", "llava", "resnet"])
def test_features_tell_what_is_where(tmp_path, family: str) -> None:
    encoder = FrozenEncoder(make(family, tmp_path), cells=2)
    images = np.zeros((3, 40, 40, 3), np.uint8)
    images[1, :12, :12] = 255
    images[2, -12:, -12:] = 255
    features = encoder(images)
    assert features.shape == (3, 4 * 16) and features.dtype == np.float16 and np.isfinite(features).all()
    assert feature_dimension(str(tmp_path), 2) == encoder.dimension == 64
    assert all((features[a] != features[b]).any() for a, b in ((0, 1), (1, 2), (0, 2)))
    np.testing.assert_allclose(FrozenEncoder(str(tmp_path), 2)(images[1:2]), features[1:2], atol=2e-3)


def test_a_policy_on_features_trains_acts_and_practises(tmp_path) -> None:
    network = replace(NETWORK, encoder="frozen", frozen_model=make("vit", tmp_path / "vit"), frozen_cells=2)
    recorded = [make_episode(n) for n in range(4)]
    trained = pretrain(
        recorded, tmp_path / "policy", action_space=SPACE, network=network, agent=AGENT, config=UPDATES
    )
    assert not any(name.startswith("encoder") for name in trained.agent.policy_tensors())
    policy = load_policy(*trained.weights())
    episode, embedding = recorded[1], InstructionEncoder()(recorded[1].instruction)
    first, second = (policy.act(image, episode.proprioception[0], embedding) for image in episode.images[:2])
    assert first.shape == (4,) and (first != second).any()
    with pytest.raises(RobofumeError, match="40x40x3"):
        policy.act(np.zeros((24, 24, 3), np.uint8), episode.proprioception[0], embedding)
    learner = OnlineLearner.from_pretrained(tmp_path / "policy", recorded, replay=ReplayConfig(online_capacity=100))
    learner.add_episode(make_episode(100))
    assert all(np.isfinite(list(learner.train(2).values())))
    assert learner.online.sample(2, np.random.default_rng(0)).images.shape == (2, 64)
    assert CheckpointStore(tmp_path / "policy").load() is not None


@pytest.mark.parametrize("name", ["", "no/such-model"])
def test_a_vision_model_that_is_not_there_is_named(tmp_path, name: str) -> None:
    network = replace(NETWORK, encoder="frozen", frozen_model=name and str(tmp_path / name))
    with pytest.raises(RobofumeError, match="vision model"):
        pretrain([make_episode()], tmp_path, action_space=SPACE, network=network, agent=AGENT, config=UPDATES)


def test_a_model_without_a_picture_side_of_its_own_is_refused(tmp_path) -> None:
    config = transformers.Qwen2VLConfig(
        text_config={**SMALL, "vocab_size": 64},
        vision_config={"depth": 1, "embed_dim": 16, "hidden_size": 16, "num_heads": 2},
    )
    transformers.Qwen2VLModel(config).save_pretrained(tmp_path)
    with pytest.raises(RobofumeError, match="picture side to itself"):
        FrozenEncoder(str(tmp_path), 2)


def test_a_model_of_sentences_is_refused(tmp_path) -> None:
    transformers.BertConfig(**SMALL, vocab_size=64).save_pretrained(tmp_path)
    with pytest.raises(RobofumeError, match="bert model gives no features of pictures"):
        feature_dimension(str(tmp_path), 2)
