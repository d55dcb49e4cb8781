"""Policies that see the pictures of more than one camera."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from robofume_common.action import ActionSpace
from robofume_common.errors import RobofumeError
from robofume_data.bag_reader import read_episodes
from robofume_data.episode import EpisodeData
from robofume_data.episode_writer import write_episodes
from robofume_policy.agents import create_agent
from robofume_policy.config import NetworkConfig, PretrainingConfig
from robofume_policy.dataset import EpisodeConverter
from robofume_policy.encoder import ConvEncoder, create_encoder, random_shift, seen
from robofume_policy.frozen_encoder import FrozenEncoder
from robofume_policy.language import InstructionEncoder
from robofume_policy.networks import Policy
from robofume_policy.online_learner import OnlineLearner
from robofume_policy.policy_network import load_policy, serialise_policy
from robofume_policy.pretraining import fill_memory, pretrain
from robofume_policy.replay import EpisodeTransitions, ReplayMemory
from robofume_policy.replay_cache import ReplayCache
from robofume_policy.weight_intake import policy_from_checkpoint
from test_policy_agents import AGENT, NETWORK, DotWorld
from test_policy_frozen_encoder import make
from test_policy_learning_pipeline import make_episode

TWO = replace(NETWORK, further_cameras=("wrist",))
SENTENCE = np.eye(5, dtype=np.float32)[0]
SPACE = ActionSpace()
WHOLE = NetworkConfig(image_size=40, hidden_size=32, image_features=16, further_cameras=("wrist", "side"))


def seen_by(number: int, *cameras: str) -> EpisodeData:
    """A random episode whose further cameras saw other pictures than the first."""
    others = {camera: make_episode(100 * (place + 1) + number).images for place, camera in enumerate(cameras)}
    return replace(make_episode(number), further_images=others)


class HintWorld(DotWorld):
    """The dot must go to the side that is bright in the second picture; nothing else tells which it is."""

    sign = 1

    def image(self, x: float, y: float) -> np.ndarray:
        hint = np.zeros((40, 40, 3), np.uint8)
        hint[:, 20:] = 255
        return np.concatenate([super().image(x, y), hint[:, :: self.sign]], axis=-1)

    def episode(self, number: int, choose, noise: float) -> EpisodeTransitions:
        self.sign = 1 if number % 2 else -1
        told = super().episode(number, lambda image, _, sign: choose(image, SENTENCE, sign), noise)
        return replace(told, instruction_embedding=SENTENCE)


@pytest.mark.parametrize("algorithm", ["cal_ql", "bc"])
def test_learns_what_only_the_second_picture_tells(algorithm: str) -> None:
    world, memory = HintWorld(0), ReplayMemory(4000)
    for n in range(80):
        memory.add(world.episode(n, lambda _i, _s, sign: np.array([0.3 * sign, 0.0]), 0.7))
    config = replace(AGENT, algorithm=algorithm, discount=0.9, batch_size=32, averaging_rate=0.05, random_shift=1)
    agent = create_agent(replace(TWO, hidden_size=64), config, seed=0)
    agent.fit_inputs(*memory.statistics())
    for _ in range(120):
        agent.update(memory.sample(32, agent.random))

    def act(image, sentence, _sign):
        given = {"images": image[None], "proprioception": np.zeros((1, 3), np.float32), "instructions": sentence[None]}
        return agent.act(given)[0]

    def blind(image, sentence, sign):
        return act(np.concatenate([image[..., :3], np.zeros_like(image[..., 3:])], axis=-1), sentence, sign)

    rates = [np.mean([world.episode(n, way, 0.0).imitation[0] for n in range(30)]) for way in (act, blind)]
    assert rates[0] > 0.9 and rates[1] < 0.7


def test_the_stem_sees_every_camera() -> None:
    encoder = ConvEncoder(64, cameras=2)
    images = torch.randint(0, 256, (2, 64, 64, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    weight = encoder.stem.weight.reshape(32, 4, 4, 6, 2, 2)  # out, y in cell, x in cell, channel, cell y, cell x
    kernel = weight.permute(0, 3, 4, 1, 5, 2).reshape(32, 6, 8, 8)
    plain = torch.nn.functional.conv2d(images.permute(0, 3, 1, 2) / 255.0 - 0.5, kernel, encoder.stem.bias, stride=4)
    expected = encoder.layers(plain).permute(0, 2, 3, 1).flatten(1)
    assert torch.allclose(encoder(images), expected, atol=1e-5)
    assert encoder.output_dimension == ConvEncoder(64).output_dimension == expected.shape[1]


def test_each_camera_is_shifted_for_itself() -> None:
    images = np.random.default_rng(1).integers(0, 256, (8, 40, 40, 6), dtype=np.uint8)
    shifted = random_shift(images, 3, np.random.default_rng(0))
    random = np.random.default_rng(0)
    one_by_one = [random_shift(images[..., first : first + 3], 3, random) for first in (0, 3)]
    assert (shifted == np.concatenate(one_by_one, axis=-1)).all()
    twice = np.concatenate([images[..., :3]] * 2, axis=-1)
    shifted = random_shift(twice, 3, np.random.default_rng(0))
    assert any((a[..., :3] != a[..., 3:]).any() for a in shifted)


def test_a_frozen_encoder_sees_the_cameras_one_by_one(tmp_path) -> None:
    name = make("vit", tmp_path)
    network = replace(TWO, encoder="frozen", frozen_model=name, frozen_cells=2)
    images = np.random.default_rng(0).integers(0, 256, (3, 40, 40, 6), dtype=np.uint8)
    features = seen(network, images)
    encoder = FrozenEncoder(name, 2)
    assert (features == np.concatenate([encoder(images[..., :3]), encoder(images[..., 3:])], axis=-1)).all()
    assert create_encoder(network).output_dimension == features.shape[1] == 2 * encoder.dimension
    assert (seen(replace(network, further_cameras=()), images[..., :3]) == encoder(images[..., :3])).all()


def test_a_policy_says_which_pictures_it_needs() -> None:
    torch.manual_seed(0)
    policy = load_policy(serialise_policy(Policy(TWO).state_dict(), TWO))
    images = np.random.default_rng(0).integers(0, 256, (2, 40, 40, 6), dtype=np.uint8)
    actions = [policy.act(image, np.zeros(3), SENTENCE) for image in images]
    assert (actions[0] != actions[1]).any() and policy.config.image_shape == (40, 40, 6)
    mixed = np.concatenate([images[0, ..., :3], images[1, ..., 3:]], axis=-1)
    assert (policy.act(mixed, np.zeros(3), SENTENCE) != actions[0]).any()
    with pytest.raises(RobofumeError, match=r"40x40x6 .* \(40, 40, 3\) .* first camera's picture and .* wrist"):
        policy.act(images[0, ..., :3], np.zeros(3), SENTENCE)
    with pytest.raises(RobofumeError, match="image size"):
        policy.act(np.zeros((24, 24, 6), np.uint8), np.zeros(3), SENTENCE)


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"further_cameras": ("wrist", "wrist")}, "different names"),
        ({"further_cameras": ("a/b",)}, "different names"),
        ({"further_cameras": ("",)}, "different names"),
        ({"further_cameras": ("wrist",), "encoder": "none"}, "sees no pictures"),
    ],
)
def test_cameras_that_cannot_be_are_refused(settings, word) -> None:
    with pytest.raises(RobofumeError, match=word):
        NetworkConfig(**settings)


def test_pictures_enter_the_memory_in_the_order_of_the_setting() -> None:
    episode = seen_by(1, "side", "unused", "wrist")
    language = InstructionEncoder()
    transitions = EpisodeConverter(WHOLE, SPACE, language, discount=0.9, n_step=1)(episode)
    wanted = [episode.images, episode.further_images["wrist"], episode.further_images["side"]]
    count = episode.success_index + 1
    assert (transitions.images == np.concatenate(wanted, axis=-1)[:count]).all()
    one = EpisodeConverter(replace(WHOLE, further_cameras=()), SPACE, language, discount=0.9, n_step=1)
    assert (one(episode).images == episode.images[:count]).all()


def test_an_episode_that_a_camera_did_not_see_is_refused() -> None:
    converter = EpisodeConverter(WHOLE, SPACE, InstructionEncoder(), discount=0.9, n_step=1)
    with pytest.raises(RobofumeError, match="episode-3 has no pictures of the camera side"):
        converter(seen_by(3, "wrist"))
    whole = seen_by(3, "wrist", "side")
    short = {**whole.further_images, "side": whole.images[:, :24]}
    with pytest.raises(RobofumeError, match=r"episode-3 has images of \(24, 40, 3\)"):
        converter(replace(whole, further_images=short))


def test_from_bags_of_several_cameras_to_practice_and_weights(tmp_path) -> None:
    """Recorded, read, kept in the replay cache, trained, continued, practised and published."""
    bag, recorded = tmp_path / "demos_0000.mcap", [seen_by(n, "wrist", "side") for n in range(4)]
    write_episodes(bag, recorded)

    def read():
        return read_episodes(bag, cameras=WHOLE.further_cameras)

    converter = EpisodeConverter(WHOLE, SPACE, InstructionEncoder(), discount=0.9, n_step=3)
    held = fill_memory(recorded, converter, 1000)
    mapped = fill_memory(read(), converter, 1000, cache=ReplayCache(tmp_path / "replay", [bag]))
    batches = [memory.sample(16, np.random.default_rng(0)) for memory in (held, mapped)]
    assert (batches[0].images == batches[1].images).all() and batches[0].next_images.shape == (16, 40, 40, 9)
    agent = replace(AGENT, discount=0.9, random_shift=2)
    trained = [
        pretrain(
            read(), tmp_path / place, action_space=SPACE, network=WHOLE, agent=agent,
            config=PretrainingConfig(updates=updates),
        )
        for place, updates in (("whole", 4), ("parts", 2), ("parts", 4))
    ]  # fmt: skip
    assert trained[0].weights() == trained[2].weights() != trained[1].weights()
    learner = OnlineLearner.from_pretrained(tmp_path / "whole", read())
    learner.add_episode(seen_by(50, "wrist", "side"))
    assert all(np.isfinite(list(learner.train(2).values())))
    policy = load_policy(*learner.weights())
    assert policy.act(batches[0].images[0], np.zeros(7), InstructionEncoder()("go")).shape == (4,)
    for cameras in ((), ("side", "wrist")):
        with pytest.raises(RobofumeError, match="of the cameras the first, wrist, side, but the first"):
            policy_from_checkpoint(tmp_path / "whole", SPACE, 40, cameras)
    assert policy_from_checkpoint(tmp_path / "whole", SPACE, 40, ("wrist", "side")).config == WHOLE
