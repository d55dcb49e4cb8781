"""What a new policy is trained on after practice."""

from dataclasses import replace

import numpy as np
import pytest
from robofume_common.action import ActionSpace
from robofume_common.enums import Direction, Outcome, Phase, Verdict
from robofume_common.errors import RobofumeError
from robofume_data.episode import EpisodeData
from robofume_policy.config import AgentConfig, NetworkConfig, PretrainingConfig
from robofume_policy.dataset import EpisodeConverter
from robofume_policy.language import InstructionEncoder
from robofume_policy.pretraining import fill_memory, pretrain
from robofume_policy.retraining import first_steps, repeated_successes, without_pictures

SPACE = ActionSpace()
NETWORK = NetworkConfig(image_size=40, hidden_size=16, image_features=8)
AGENT = AgentConfig(batch_size=4, discount=0.9)


def episode(number: int, steps: int = 10, success: bool = True) -> EpisodeData:
    count = steps + 1
    return EpisodeData(
        episode_id=f"e{number}", task="pot", phase=Phase.FORWARD, direction=Direction.FORWARD,
        instruction="put the pot into the tray", assisted_reset_before=False,
        outcome=Outcome.SUCCESS if success else Outcome.TIMEOUT, success_index=steps if success else -1,
        images=np.full((count, 40, 40, 3), number, np.uint8), proprioception=np.zeros((count, 7), np.float32),
        actions=SPACE.to_physical(np.zeros((steps, 4), np.float32)), actors=np.ones(steps, np.uint8),
        policy_versions=np.zeros(count, np.uint64), stamps=np.arange(count, dtype=np.int64),
        verdicts=np.full(count, Verdict.FAILURE, np.uint8), probabilities=np.zeros(count, np.float32),
        sources=np.zeros(count, np.uint8), forward_success=None, backward_success=None, closed=1000 + number,
    )  # fmt: skip


def test_the_first_steps_are_those_of_the_first_episodes_to_end() -> None:
    practised = [episode(n) for n in (3, 1, 2, 0)]
    assert [e.episode_id for e in first_steps(practised, 25)] == ["e0", "e1"]
    assert [e.episode_id for e in first_steps(practised, 30)] == ["e0", "e1", "e2"]
    assert len(first_steps(practised, 0)) == 4
    assert first_steps(practised, 9) == []


def test_what_is_chosen_from_needs_no_pictures() -> None:
    (bare,) = without_pictures([replace(episode(0), further_images={"wrist": episode(0).images})])
    assert bare.images.shape == (0, 40, 40, 3) and bare.images.base is None and not bare.further_images
    assert first_steps([bare], 10) == [bare]


def test_successes_are_drawn_as_often_as_asked() -> None:
    practised = [episode(0, success=False), episode(1)]
    times = repeated_successes(practised, 3)
    converter = EpisodeConverter(NETWORK, SPACE, InstructionEncoder("minilm"), AGENT.discount, AGENT.n_step)
    memory = fill_memory(practised, converter, 1000, times)
    random = np.random.default_rng(0)
    drawn = np.concatenate([memory.sample(100, random).images[:, 0, 0, 0] for _ in range(20)])
    assert (drawn == 1).mean() == pytest.approx(0.75, abs=0.04)
    assert memory.episodes == 2


def test_an_old_episode_that_counts_several_times_goes_as_a_whole() -> None:
    converter = EpisodeConverter(NETWORK, SPACE, InstructionEncoder("minilm"), AGENT.discount, AGENT.n_step)
    memory = fill_memory([episode(n) for n in range(5)], converter, 33, {f"e{n}": 4 for n in range(5)})
    assert memory.episodes == 3 and len(memory) == 3 * 4 * 10
    assert set(memory.sample(300, np.random.default_rng(0)).images[:, 0, 0, 0].tolist()) == {2, 3, 4}


def test_a_training_is_not_continued_on_other_data(tmp_path) -> None:
    def train(**data: int) -> None:
        pretrain(
            [episode(0)], tmp_path, action_space=SPACE, network=NETWORK, agent=AGENT,
            config=PretrainingConfig(updates=2), data=data,
        )  # fmt: skip

    train(practice_steps=10)
    train(practice_steps=10)
    with pytest.raises(RobofumeError, match="other settings or data"):
        train(practice_steps=20)


def test_no_episode_counts_less_than_once() -> None:
    assert repeated_successes([episode(0), replace(episode(1), outcome=Outcome.TIMEOUT, success_index=-1)], 8) == {
        "e0": 8,
        "e1": 1,
    }
