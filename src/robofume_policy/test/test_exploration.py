"""What a policy adds to its actions while it practises."""

from dataclasses import replace

import numpy as np
import pytest
from robofume_common.action import ActionSpace
from robofume_policy.agents import create_agent
from robofume_policy.config import AgentConfig, NetworkConfig
from robofume_policy.exploration import FLIP_STEPS, Exploration, Explorer, tried_on_the_way
from robofume_policy.trained_agent import TrainedAgent

WAITING = np.array([0.1, -0.1, 0.2, 1.0], np.float32)
MOVING = np.array([0.1, -0.9, 0.2, 1.0], np.float32)


def actions(settings: Exploration, mean: np.ndarray, count: int, seed: int = 0) -> np.ndarray:
    explorer, random = Explorer(settings), np.random.default_rng(seed)
    return np.stack([explorer(mean, random) for _ in range(count)])


def test_noise_has_its_deviation_and_correlation() -> None:
    noise = actions(Exploration(std=0.1, correlation=0.8), np.zeros(4, np.float32), 5000)
    assert noise.std() == pytest.approx(0.1, rel=0.1)
    assert np.corrcoef(noise[:-1].ravel(), noise[1:].ravel())[0, 1] == pytest.approx(0.8, abs=0.05)
    assert (actions(Exploration(std=5.0), MOVING, 100) <= 1.0).all()


def test_the_gripper_is_flipped_for_a_moment_where_the_arm_waits() -> None:
    settings = Exploration(gripper_flip=0.1, gripper=3)
    gripper = actions(settings, WAITING, 3000)[:, 3]
    starts = np.flatnonzero((gripper[1:] < 0) & (gripper[:-1] > 0)) + 1
    assert 100 < len(starts) < 300
    assert all((gripper[start : start + FLIP_STEPS] == -1.0).all() for start in starts[:-1])
    closed = WAITING * (1, 1, 1, -1)
    assert (actions(settings, closed, 300)[:, 3] == 1.0).any()
    assert (actions(settings, WAITING, 300)[:, :3] == WAITING[:3]).all()


def test_it_is_left_alone_while_the_arm_moves_and_where_there_is_none() -> None:
    assert (actions(Exploration(gripper_flip=1.0, gripper=3), MOVING, 300) == MOVING).all()
    assert (actions(Exploration(gripper_flip=1.0), WAITING, 300) == WAITING).all()


def test_what_counts_as_waiting_can_be_less_than_a_slow_way() -> None:
    slow = np.array([0.0, -0.2, 0.05, 1.0], np.float32)  # as someone guides the arm who takes a fifth of its step
    settings = Exploration(gripper_flip=1.0, gripper=3, still=0.1)
    assert (actions(settings, slow, 300) == slow).all()
    assert (actions(replace(settings, still=0.3), slow, 300)[:, 3] == -1.0).all()
    assert (actions(settings, slow * 0.4, 300)[:, 3] == -1.0).all(), "hardly a motion"


def test_demonstrations_that_are_slower_than_waiting_are_told() -> None:
    slow = np.tile(np.array([0.0, -0.2, 0.05, 1.0], np.float32), (5, 1))
    fast = np.tile(MOVING, (4, 1))
    settings = Exploration(gripper_flip=0.15, gripper=3)
    assert tried_on_the_way(np.concatenate([slow, fast]), settings) == pytest.approx(0.2)
    assert tried_on_the_way(np.concatenate([slow[:3], fast]), settings) == 0.0, "most of them are faster"
    assert tried_on_the_way(slow, replace(settings, still=0.1)) == 0.0
    assert tried_on_the_way(slow, replace(settings, gripper_flip=0.0)) == 0.0
    assert tried_on_the_way(slow, replace(settings, gripper=-1)) == 0.0, "a brush cannot let go"
    assert tried_on_the_way(np.zeros((0, 0), np.float32), settings) == 0.0, "nothing is imitated"


@pytest.mark.parametrize(
    ("mask", "index"),
    [((True, True, True, False, False, False, True), 3), ((True,) * 7, 6), ((True,) * 6 + (False,), -1)],
)
def test_the_grippers_place_follows_from_the_action_mask(mask: tuple[bool, ...], index: int) -> None:
    space = ActionSpace(mask=mask)
    network = NetworkConfig(image_size=40, hidden_size=16, image_features=8, action_dimension=space.dimension)
    config = AgentConfig(exploration_gripper_flip=0.2, exploration_still=0.1)
    trained = TrainedAgent(create_agent(network, config, 0), space, "minilm")
    assert trained.exploration == Exploration(0.06, 0.9, 0.2, index, 0.1)
