"""What a policy is shown: checked before it acts, whichever way it is asked, and at no cost that a step would feel."""

import timeit
from dataclasses import replace

import numpy as np
import pytest
from robofume_common.errors import RobofumeError
from robofume_policy.agents import create_agent
from robofume_policy.config import NetworkConfig
from robofume_policy.fitting import OBSERVED, check_batch, check_observations
from robofume_policy.policy_network import ActingPolicy, load_policy, serialise_policy
from test_policy_agents import AGENT, NETWORK, random_batch

FROZEN = replace(NETWORK, encoder="frozen", frozen_model="a model of 6 features")


def observations(count: int = 1) -> dict[str, np.ndarray]:
    return {name: getattr(random_batch(count), name) for name in OBSERVED}


def acting() -> ActingPolicy:
    return load_policy(serialise_policy(create_agent(NETWORK, AGENT, seed=0).policy_tensors(), NETWORK))


BAD = [
    ("proprioception", np.zeros((1, 4), np.float32), r"proprioception are \(1, 4\) float32, expected \(1, 3\)"),
    ("proprioception", np.full((1, 3), np.nan, np.float32), "proprioception hold numbers that are not finite"),
    ("instructions", np.zeros((1, 384), np.float32), r"instructions are \(1, 384\) float32, expected \(1, 5\)"),
    ("instructions", np.full((1, 5), np.inf, np.float32), "instructions hold numbers that are not finite"),
]


@pytest.mark.parametrize(("name", "value", "said"), BAD)
def test_what_does_not_fit_is_named_before_anybody_acts(name: str, value: np.ndarray, said: str) -> None:
    given = observations() | {name: value}
    with pytest.raises(RobofumeError, match=said):
        create_agent(NETWORK, AGENT, seed=0).act(given)
    with pytest.raises(RobofumeError, match=said):
        acting().act(given["images"][0], given["proprioception"][0], given["instructions"][0])


def test_pictures_that_do_not_fit_are_named() -> None:
    agent, given = create_agent(NETWORK, AGENT, seed=0), observations(3)
    for images, said in (
        (given["images"].astype(np.float32), r"images are \(3, 40, 40, 3\) float32, expected .* uint8"),
        (given["images"][:2], r"images are \(2, 40, 40, 3\) uint8, expected \(3, "),
        (given["images"][:, :32], r"images are \(3, 32, 40, 3\)"),
    ):
        with pytest.raises(RobofumeError, match=said):
            agent.act(given | {"images": images})
    with pytest.raises(RobofumeError, match="was given none: give it the camera's picture"):
        acting().act(None, given["proprioception"][0], given["instructions"][0])


@pytest.mark.parametrize("name", OBSERVED)
def test_what_is_missing_is_named(name: str) -> None:
    given = {key: value for key, value in observations().items() if key != name}
    with pytest.raises(RobofumeError, match=f"have no {name}: give images, proprioception, instructions"):
        create_agent(NETWORK, AGENT, seed=0).act(given)


@pytest.mark.parametrize("kind", [np.float16, np.float32])
@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_features_that_are_not_finite_are_named(kind: type, number: float) -> None:
    batch = replace(random_batch(), images=np.full((8, 6), 6e4, kind), next_images=np.full((8, 6), -6e4, kind))
    check_batch(batch, FROZEN, 6)
    batch.next_images[7, 5] = number
    with pytest.raises(RobofumeError, match="The batch's next_images hold numbers that are not finite"):
        check_batch(batch, FROZEN, 6)
    with pytest.raises(RobofumeError, match="The observations' images hold numbers that are not finite"):
        check_observations({**observations(8), "images": batch.next_images}, FROZEN, 6)


def test_a_control_step_does_not_feel_the_check() -> None:
    network = NetworkConfig()
    given = {
        "images": np.zeros((1, *network.image_shape), np.uint8), "proprioception": np.zeros((1, 7), np.float32),
        "instructions": np.zeros((1, 384), np.float32),
    }  # fmt: skip
    seconds = min(timeit.repeat(lambda: check_observations(given, network, 0), number=100, repeat=20)) / 100
    assert seconds < 20e-6  # measured: 3
