"""Layers for torch.compile: the same numbers as torch's own, plain and compiled, and one graph for every agent."""

from dataclasses import replace

import pytest
import torch
from robofume_policy.agents import create_agent
from robofume_policy.config import AgentConfig, NetworkConfig
from robofume_policy.layers import LayerNorm, Linear, ReLU
from torch import Tensor, nn

ALGORITHMS = AgentConfig.__dataclass_fields__["algorithm"].metadata["choices"]


def outcome(layers: nn.Module, values: Tensor, compile: bool) -> list[Tensor]:
    """The result, and the gradients of input and weights of a loss on it."""
    values = values.clone().requires_grad_()
    function = torch.compile(layers, backend="aot_eager") if compile else layers
    result = function(values)
    layers.zero_grad(set_to_none=True)
    (result.float() ** 3).sum().backward()
    return [result, values.grad, *(parameter.grad for parameter in layers.parameters())]


@pytest.mark.parametrize("compile", [False, True])
@pytest.mark.parametrize("halved", [False, True])
def test_they_are_torchs_own_layers(compile: bool, halved: bool) -> None:
    """Results and gradients of a small network (two leading dimensions), in float32 and under autocast."""
    torch.manual_seed(0)
    ours = nn.Sequential(Linear(6, 8), LayerNorm(8), ReLU(), Linear(8, 5, bias=False), LayerNorm(5))
    theirs = nn.Sequential(
        nn.Linear(6, 8), nn.LayerNorm(8), nn.ReLU(), nn.Linear(8, 5, bias=False), nn.LayerNorm(5)
    )  # fmt: skip
    for parameter in ours.parameters():
        nn.init.normal_(parameter)
    theirs.load_state_dict(ours.state_dict())
    values = torch.randn(7, 3, 6)
    torch._dynamo.reset()
    with torch.autocast("cpu", torch.bfloat16, enabled=halved):
        found, expected = outcome(ours, values, compile), outcome(theirs, values, False)
    assert len(found) == len(expected) == 2 + 7
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one.float(), other.float(), rtol=0.1 if halved else 1e-4, atol=0.3 if halved else 1e-4)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_loss_of_every_agent_is_one_graph(algorithm: str) -> None:
    """Nothing in it makes torch.compile go back to Python, as drawing from a generator would."""
    network = NetworkConfig(
        image_size=40, action_dimension=2, proprioception_dimension=3, instruction_dimension=5, hidden_size=16,
        image_features=8, critics=3,
    )  # fmt: skip
    config = AgentConfig(algorithm=algorithm, critic_subset=2 if algorithm in ("cal_ql", "cql") else 0)
    agent = create_agent(network, replace(config, mixed_precision=False), seed=0)
    pictures = torch.zeros(4, 40, 40, 3, dtype=torch.uint8)
    batch = {
        "images": pictures, "next_images": pictures,
        "proprioception": torch.randn(4, 3), "next_proprioception": torch.randn(4, 3),
        "instructions": torch.randn(4, 5), "actions": torch.randn(4, 2).tanh(),
        **{name: torch.rand(4) for name in ("rewards", "discounts", "returns", "imitation")},
    }  # fmt: skip
    torch._dynamo.reset()
    explained = torch._dynamo.explain(agent.loss)(batch | agent.draws(4))
    assert (explained.graph_count, explained.graph_break_count) == (1, 0), explained.break_reasons
