"""Which weights the policy node takes, and that it keeps the old ones otherwise."""

import hashlib
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from robofume_common.action import ActionSpace
from robofume_common.errors import RobofumeError
from robofume_policy.agents import create_agent
from robofume_policy.checkpoint import CheckpointStore
from robofume_policy.config import AgentConfig, NetworkConfig
from robofume_policy.exploration import Exploration, Explorer
from robofume_policy.networks import Policy
from robofume_policy.nodes.policy import PolicyNode, PolicyNodeConfig
from robofume_policy.policy_network import architecture_hash, serialise_policy
from robofume_policy.trained_agent import TrainedAgent
from robofume_policy.weight_intake import checked_policy, policy_from_checkpoint

from robofume_interfaces.msg import PolicyWeights

NETWORK = NetworkConfig(image_size=40, hidden_size=16, image_features=8)


def weights(network=NETWORK, spoil=None):
    tensors = Policy(network).state_dict()
    if spoil is not None:
        next(tensor for tensor in tensors.values() if tensor.is_floating_point()).view(-1)[0] = spoil
    return serialise_policy(tensors, network, Exploration(std=0.06))


def check(data, sha256=None, architecture=None, expected="", action_dimension=4, image_size=40):
    return checked_policy(
        data,
        sha256 if sha256 is not None else hashlib.sha256(data).hexdigest(),
        architecture or architecture_hash(NETWORK),
        action_dimension=action_dimension,
        image_size=image_size,
        expected_architecture=expected,
    )


def test_good_weights_act():
    policy = check(weights(), expected=architecture_hash(NETWORK))
    action = policy.act(np.zeros((40, 40, 3), np.uint8), np.zeros(7, np.float32), np.zeros(384, np.float32))
    assert action.shape == (4,) and np.isfinite(action).all()


def test_a_wrong_checksum_is_refused():
    data = weights()
    with pytest.raises(RobofumeError, match="checksum"):
        check(data, sha256="0" * 64)
    with pytest.raises(RobofumeError, match="checksum"):
        check(data[:-1], sha256=hashlib.sha256(data).hexdigest())


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_refused(value):
    with pytest.raises(RobofumeError, match="finite"):
        check(weights(spoil=value))


def test_another_architecture_is_refused():
    other = NetworkConfig(image_size=40, hidden_size=32, image_features=8)
    with pytest.raises(RobofumeError, match="architecture"):
        check(weights(other), architecture=architecture_hash(other), expected=architecture_hash(NETWORK))
    with pytest.raises(RobofumeError, match="architecture"):
        check(weights(other))  # they are not what they were announced as


def test_another_task_or_image_size_is_refused():
    with pytest.raises(RobofumeError, match="action components"):
        check(weights(), action_dimension=7)
    with pytest.raises(RobofumeError, match="64"):
        check(weights(), image_size=64)


def test_bytes_that_are_no_policy_are_refused():
    with pytest.raises(RobofumeError):
        check(b"nothing of the kind")


def test_a_checkpoint_folder_gives_its_policy_and_only_for_its_own_task(tmp_path):
    agent = create_agent(NETWORK, AgentConfig(), 0)
    trained = TrainedAgent(agent, ActionSpace(), "minilm")
    tensors, state = trained.state_dict()
    CheckpointStore(tmp_path).save(1, tensors, state)
    policy = policy_from_checkpoint(tmp_path, ActionSpace(), 40)
    published = check(trained.weights()[0]).network.state_dict()
    assert all(torch.equal(tensor, published[name]) for name, tensor in policy.network.state_dict().items())
    with pytest.raises(RobofumeError, match="trained for"):
        policy_from_checkpoint(tmp_path, ActionSpace(translation_limit=0.02), 40)
    with pytest.raises(RobofumeError, match="no policy checkpoint"):
        policy_from_checkpoint(tmp_path / "empty", ActionSpace(), 40)


def test_weights_of_a_language_model_that_is_not_there_are_refused(tmp_path, monkeypatch):
    node, told = PolicyNode.__new__(PolicyNode), []
    monkeypatch.setattr(
        "robofume_policy.weight_intake.checked_policy", lambda *_a, **_n: SimpleNamespace(language=str(tmp_path))
    )
    node.get_logger = lambda: SimpleNamespace(error=told.append)
    node._config, node._action_space = PolicyNodeConfig(), ActionSpace()
    node._policy, node._language = SimpleNamespace(architecture="a"), SimpleNamespace(model_name="minilm")
    before = node._policy, node._language
    node._on_weights(PolicyWeights(version=3))
    assert len(told) == 1 and "language model" in told[0]
    assert (node._policy, node._language) == before, "it goes on with what it has"


def test_new_weights_go_on_with_the_noise_of_the_old_ones():
    node, used = PolicyNode.__new__(PolicyNode), []
    node._config, node._policy, node._publish = PolicyNodeConfig(), None, used.append
    node._actor = SimpleNamespace(set_policy=lambda _act, version: version)
    first, second, other = check(weights()), check(weights()), check(weights())
    other.explorer = Explorer(Exploration(std=0.5))
    node._use(first, 1)
    noise = first.explorer
    node._use(second, 2)
    assert used == [1, 2] and node._policy is second and second.explorer is noise
    node._use(other, 3)
    assert other.explorer is not noise, "another noise begins anew"
