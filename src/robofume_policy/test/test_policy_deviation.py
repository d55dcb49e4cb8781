"""A policy whose deviation is learnt by its entropy, as in soft actor-critic."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from robofume_common.errors import RobofumeError
from robofume_policy.agents import Agent, create_agent
from robofume_policy.exploration import Exploration, Explorer, Spread
from robofume_policy.networks import Actor
from robofume_policy.policy_network import load_policy
from robofume_policy.trained_agent import TrainedAgent
from test_policy_agents import AGENT, NETWORK, loss_of, random_batch, tensors

SOFT = replace(NETWORK, learnt_deviation=True)


def soft(seed: int = 0, **changes: object) -> Agent:
    return create_agent(SOFT, replace(AGENT, **changes), seed)


def outputs_of(network: torch.nn.Module, batch: dict[str, torch.Tensor], now: str = "") -> torch.Tensor:
    return network.outputs(batch[f"{now}images"], batch[f"{now}proprioception"], batch["instructions"])


def test_samples_and_densities_are_those_of_a_squashed_gaussian() -> None:
    actor = Actor(SOFT, 0)
    outputs = torch.randn(6, 4, generator=torch.Generator().manual_seed(0)) * 0.8
    noise = torch.randn(6, 5, 2, generator=torch.Generator().manual_seed(1))
    actions, density = actor.sample(outputs, noise)
    gaussian = torch.distributions.Normal(outputs[:, None, :2], (outputs[:, None, 2:] - 1.0).exp())
    squashed = torch.distributions.TransformedDistribution(gaussian, torch.distributions.TanhTransform(cache_size=1))
    expected = torch.tanh(gaussian.loc + gaussian.scale * noise)
    assert torch.allclose(actions, expected, atol=1e-5)
    inside = expected.abs().amax(-1) < 0.999  # where the reference does not lose its digits
    assert inside.sum() > 15
    assert torch.allclose(density[inside], squashed.log_prob(expected).sum(-1)[inside], atol=2e-3)
    assert torch.equal(actor.mean(outputs), torch.tanh(outputs[:, :2]))
    far, extreme = actor.sample(torch.tensor([[50.0, -50.0, 90.0, -90.0]]), torch.ones(1, 1, 2))
    assert far.abs().max() == 1.0 and extreme.isfinite().all()


def test_a_fixed_deviation_is_a_clipped_gaussian() -> None:
    actor, noise = Actor(NETWORK, 0), torch.randn(6, 5, 2, generator=torch.Generator().manual_seed(1))
    outputs = torch.randn(6, 2, generator=torch.Generator().manual_seed(0))
    actions, density = actor.sample(outputs, noise, 0.3)
    gaussian = torch.distributions.Normal(torch.tanh(outputs)[:, None], 0.3)
    assert torch.allclose(actions, (gaussian.loc + 0.3 * noise).clamp(-1, 1))
    assert torch.allclose(density, gaussian.log_prob(gaussian.loc + 0.3 * noise).sum(-1), atol=1e-4)


@pytest.mark.parametrize("heat", [1.0, 0.2])
def test_actor_temperature_and_target_are_those_of_soft_actor_critic(heat: float) -> None:
    """From the same draws, by the class's equations; the temperature as the one number that is given."""
    agent, batch = soft(entropy_backup=1.0, sampled_actions=1, target_entropy=-0.5), random_batch()
    for _ in range(2):
        agent.update(batch)
    with torch.no_grad():
        agent.network.entropy_log_temperature.fill_(math.log(heat))
    draws, given = agent.draws(8), tensors(batch)
    agent.network.zero_grad()
    loss, metrics = agent.loss(given | draws)
    loss.backward()
    with torch.no_grad():
        network, average = agent.network, agent.average
        actions, density = network.actor.sample(outputs_of(network, given), draws["actor_noise"])
        now = network.normaliser(given["proprioception"], given["instructions"])
        later = average.normaliser(given["next_proprioception"], given["instructions"])
        state = network.critics.features(network.encoder(given["images"]), *now)
        values = network.critics(state, actions).mean(0)
        cost = (heat * density - values).mean() / values.abs().mean()
        next_actions, next_density = average.actor.sample(outputs_of(average, given, "next_"), draws["next_noise"])
        next_state = average.critics.features(average.encoder(given["next_images"]), *later)
        soft_values = average.critics(next_state, next_actions).min(0).values - heat * next_density
        target = given["rewards"] + given["discounts"] * soft_values[:, 0]
    assert float(metrics["losses/actor_value"]) == pytest.approx(float(cost), rel=1e-4)
    assert float(metrics["values/target"]) == pytest.approx(float(target.mean()), rel=1e-4)
    assert float(metrics["values/entropy"]) == pytest.approx(float(-density.mean()), rel=1e-4)
    assert float(metrics["values/temperature"]) == pytest.approx(heat)
    gradient = float(agent.network.entropy_log_temperature.grad)
    assert gradient == pytest.approx(float(-(density.mean() + 2 * -0.5)), rel=1e-3)


@pytest.mark.parametrize(("wanted", "updates"), [(-1.0, 700), (0.6, 300)])
def test_the_entropy_goes_where_it_is_held(wanted: float, updates: int) -> None:
    agent = soft(
        target_entropy=wanted, conservative_weight_offline=0.0, imitation_weight=0.0, learning_rate_offline=1e-2
    )
    batch = random_batch(32)
    entropies = [float(agent.update(batch)["values/entropy"]) for _ in range(updates)]
    assert np.mean(entropies[-50:]) == pytest.approx(2 * wanted, abs=0.4)
    assert entropies[0] == pytest.approx(0.7, abs=0.2)


def test_a_resumed_training_is_the_same_and_the_actor_waits_with_its_temperature() -> None:
    agent = soft(actor_every=2, random_shift=2)
    for seed in range(3):
        before = agent.network.entropy_log_temperature.clone()
        agent.update(random_batch(seed=seed))
        assert torch.equal(before, agent.network.entropy_log_temperature) == (seed != 1)
    other = create_agent(SOFT, agent.config, seed=9)
    other.load_state_dict(*agent.state_dict())
    for seed in range(3, 6):
        agent.update(random_batch(seed=seed))
        other.update(random_batch(seed=seed))
    first, second = agent.state_dict(), other.state_dict()
    assert first[1] == second[1] and all(torch.equal(value, second[0][name]) for name, value in first[0].items())


def test_a_policy_is_not_given_a_deviation_by_loading() -> None:
    for had, gets in ((NETWORK, SOFT), (SOFT, NETWORK)):
        saved = create_agent(had, AGENT, 0).state_dict()
        with pytest.raises(ValueError, match=r"actor\.layers|entropy_log_temperature"):
            create_agent(gets, AGENT, 0).load_state_dict(*saved)


@pytest.mark.parametrize("algorithm", ["iql", "bc"])
def test_learners_without_an_entropy_refuse_it(algorithm: str) -> None:
    with pytest.raises(RobofumeError, match=f"{algorithm} learns no deviation"):
        create_agent(SOFT, replace(AGENT, algorithm=algorithm), 0)


def test_what_acts_draws_from_its_own_deviation_unless_another_is_given() -> None:
    trained = TrainedAgent(soft(exploration_correlation=0.0, exploration_std=0.3), None, "minilm")
    batch = random_batch(1)
    policy = load_policy(*trained.weights())
    seen = batch.images[0], batch.proprioception[0], batch.instructions[0]
    mean = policy.act(*seen)
    with torch.no_grad():
        outputs = trained.agent.acting.outputs(*(torch.from_numpy(vars(batch)[n]) for n in (
            "images", "proprioception", "instructions")))  # fmt: skip
        deviation = trained.agent.acting.actor.log_deviation(outputs).exp()[0].numpy()
    assert mean == pytest.approx(np.tanh(outputs[0, :2].numpy()), abs=1e-6)
    assert mean == pytest.approx(trained.agent.act(vars(batch))[0], abs=1e-6)

    def drawn() -> np.ndarray:
        random = np.random.default_rng(0)
        return np.stack([policy.act(*seen, deterministic=False, random=random) for _ in range(2000)])

    assert policy.explorer.settings.std < 0.0
    before_tanh = np.arctanh(np.clip(drawn(), -0.999999, 0.999999))
    assert before_tanh.std(0) == pytest.approx(deviation, rel=0.1)
    also = np.stack([trained.agent.act(vars(batch), deterministic=False)[0] for _ in range(2000)])
    assert np.arctanh(np.clip(also, -0.999999, 0.999999)).std(0) == pytest.approx(deviation, rel=0.1)
    policy.succeed(None, 0.0)
    assert (drawn() == mean).all()
    policy.succeed(None, 0.05)
    assert (drawn() - mean).std() == pytest.approx(0.05, rel=0.1)


def test_noise_of_a_learnt_deviation_may_last() -> None:
    explorer, random = Explorer(Exploration(std=-1.0, correlation=0.8)), np.random.default_rng(0)
    spread = Spread(np.array([0.2, -0.1]), np.array([0.3, 0.5]))
    actions = np.stack([explorer(np.tanh(spread.centre), random, spread) for _ in range(5000)])
    noise = np.arctanh(actions) - spread.centre
    assert noise.std(0) == pytest.approx(spread.deviation, rel=0.1)
    assert np.corrcoef(noise[:-1, 0], noise[1:, 0])[0, 1] == pytest.approx(0.8, abs=0.05)


def test_a_batch_gives_every_metric_a_finite_number() -> None:
    agent = soft()
    _, metrics = loss_of(agent, random_batch())
    assert set(metrics) | {"values/return", "clipped/data_actions"} == set(agent.metric_names)
    assert all(bool(value.isfinite()) for value in metrics.values())
