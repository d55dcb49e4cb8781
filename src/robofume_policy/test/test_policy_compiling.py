"""A compiled loss gives the updates of the plain one, and so does one that cannot be compiled."""

import logging
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from robofume_policy.agents import base, create_agent
from robofume_policy.config import AgentConfig, NetworkConfig
from robofume_policy.replay import Batch

from robofume_policy import compiling

NETWORK = NetworkConfig(
    encoder="none", action_dimension=2, proprioception_dimension=3, instruction_dimension=5, hidden_size=16
)
AGENT = AgentConfig(batch_size=8, mixed_precision=False)


def random_batch(seed: int) -> Batch:
    random = np.random.default_rng(seed)

    def floats(*shape: int) -> np.ndarray:
        return random.normal(size=(8, *shape)).astype(np.float32)

    images = np.zeros((8, 0, 0, 3), np.uint8)
    return Batch(
        images=images, next_images=images, proprioception=floats(3), next_proprioception=floats(3),
        instructions=floats(5), actions=np.tanh(floats(2)), rewards=floats(), discounts=np.full(8, 0.8, np.float32),
        returns=floats(), imitation=np.ones(8, np.float32),
    )  # fmt: skip


def failing(graph: Any, inputs: Any) -> Any:
    raise RuntimeError("no compiler")


@pytest.mark.parametrize("backend", ["eager", failing])
def test_a_compiled_loss_is_the_plain_one(monkeypatch, caplog, backend: Any) -> None:
    """Over a few updates of Cal-QL, whose loss draws random numbers."""
    made: list[str] = []

    def compiled(function: Any) -> Any:
        made.append(function.__name__)
        return compiling.compiled(function, backend)

    monkeypatch.setattr(base, "compiled", compiled)
    plain, other = (create_agent(NETWORK, replace(AGENT, compile=on), seed=0) for on in (False, True))
    assert made == ["loss"]
    torch._dynamo.reset()
    with caplog.at_level(logging.WARNING):
        for seed in range(3):
            expected, found = plain.update(random_batch(seed)), other.update(random_batch(seed))
            assert {name: float(value) for name, value in found.items()} == pytest.approx(
                {name: float(value) for name, value in expected.items()}, abs=1e-5
            )
    warned = [record for record in caplog.records if "cannot be compiled" in record.getMessage()]
    assert len(warned) == (backend is failing)
