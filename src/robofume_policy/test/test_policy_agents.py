"""The learning rules: equations against a slow reference, and that they learn."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from robofume_common.errors import RobofumeError
from robofume_policy.agents import Agent, create_agent
from robofume_policy.config import AgentConfig, NetworkConfig
from robofume_policy.dataset import monte_carlo_returns, n_step_targets
from robofume_policy.encoder import ConvEncoder, random_shift
from robofume_policy.replay import Batch, EpisodeTransitions, ReplayMemory

NETWORK = NetworkConfig(
    image_size=40, action_dimension=2, proprioception_dimension=3, instruction_dimension=5, hidden_size=32,
    image_features=16,
)  # fmt: skip
AGENT = AgentConfig(batch_size=8, mixed_precision=False, random_shift=0, imitation_trains_encoder=False)
ALGORITHMS = AgentConfig.__dataclass_fields__["algorithm"].metadata["choices"]


def random_batch(size: int = 8, seed: int = 0) -> Batch:
    random = np.random.default_rng(seed)

    def floats(*shape: int) -> np.ndarray:
        return random.normal(size=(size, *shape)).astype(np.float32)

    return Batch(
        images=random.integers(0, 256, (size, 40, 40, 3), dtype=np.uint8),
        next_images=random.integers(0, 256, (size, 40, 40, 3), dtype=np.uint8),
        proprioception=floats(3), next_proprioception=floats(3), instructions=floats(5),
        actions=np.tanh(floats(2)), rewards=-np.abs(floats()), discounts=np.full(size, 0.8, np.float32),
        returns=floats() - 10.0, imitation=(random.random(size) < 0.5).astype(np.float32),
    )  # fmt: skip


def tensors(batch: Batch) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(value) for name, value in vars(batch).items()}


def loss_of(agent: Agent, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """The loss and its metrics, with random numbers drawn as an update draws them."""
    return agent.loss(tensors(batch) | agent.draws(len(batch.actions)))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("phase", ["offline", "online"])
def test_every_agent_is_the_same_to_its_users(algorithm: str, phase: str) -> None:
    """What an update counts, names and leaves alone, and how it acts, whichever rule is chosen."""
    agent = create_agent(NETWORK, replace(AGENT, algorithm=algorithm), seed=0)
    agent.use_phase(online=phase == "online")
    batch = random_batch()
    held = {name: value.copy() for name, value in vars(batch).items()}
    before = {name: value.clone() for name, value in agent.policy_tensors().items()}
    metrics = agent.update(batch)
    assert agent.updates == 1 and set(metrics) == set(agent.metric_names)
    assert all(value.shape == () and bool(value.isfinite()) for value in metrics.values())
    assert all((value == held[name]).all() for name, value in vars(batch).items())
    after = agent.policy_tensors()
    assert before.keys() == after.keys() == create_agent(NETWORK, AGENT, seed=0).policy_tensors().keys()
    assert any(not torch.equal(value, after[name]) for name, value in before.items())
    first, second = (agent.act(vars(batch)) for _ in range(2))
    assert first.shape == (8, 2) and first.dtype == np.float32 and (first == second).all()
    noisy = agent.act(vars(batch), deterministic=False)
    assert (noisy != first).any() and (np.abs(noisy) <= 1.0).all()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("proprioception", np.zeros((8, 9), np.float32), r"proprioception are \(8, 9\) float32, expected \(8, 3\)"),
        ("next_proprioception", np.zeros((7, 3), np.float32), r"next_proprioception are \(7, 3\)"),
        ("instructions", np.zeros((8, 384), np.float32), r"instructions are \(8, 384\) float32, expected \(8, 5\)"),
        ("actions", np.zeros((8, 4), np.float32), r"actions are \(8, 4\) float32, expected \(8, 2\)"),
        ("rewards", np.zeros((8, 1), np.float32), r"rewards are \(8, 1\) float32, expected \(8,\)"),
        ("discounts", np.zeros(8), r"discounts are \(8,\) float64, expected \(8,\) float32"),
        ("images", np.zeros((8, 40, 40, 3), np.float32), r"images are \(8, 40, 40, 3\) float32, expected .* uint8"),
        ("next_images", np.zeros((8, 64, 64, 3), np.uint8), r"next_images are \(8, 64, 64, 3\).* \(8, 40, 40, "),
        ("returns", np.full(8, np.nan, np.float32), "returns hold numbers that are not finite"),
        ("imitation", np.full(8, np.inf, np.float32), "imitation hold numbers that are not finite"),
    ],
)
def test_a_batch_that_does_not_fit_is_named_before_anything_is_learnt(algorithm, name, value, said) -> None:
    agent = create_agent(NETWORK, replace(AGENT, algorithm=algorithm), seed=0)
    before, _ = agent.state_dict()
    with pytest.raises(RobofumeError, match=said):
        agent.update(replace(random_batch(), **{name: value}))
    assert all(torch.equal(tensor, before[key]) for key, tensor in agent.state_dict()[0].items())


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_metrics_tell_returns_entropy_and_what_is_clipped(algorithm: str) -> None:
    config = replace(AGENT, algorithm=algorithm, policy_std=0.3, advantage_temperature=1e6, sampled_actions=3)
    agent, batch = create_agent(NETWORK, config, seed=0), random_batch()
    batch.actions[:3, 0], batch.actions[5, 1] = 1.0, -1.0
    agent.noise.manual_seed(0)
    metrics = {name: float(value) for name, value in agent.update(batch).items()}
    assert metrics["values/return"] == pytest.approx(float(batch.returns.mean()), rel=1e-5)
    assert metrics["clipped/data_actions"] == 4.0
    if algorithm in ("cal_ql", "cql"):
        assert metrics["values/entropy"] == pytest.approx(
            float(torch.distributions.Normal(torch.zeros(2), 0.3).entropy().sum())
        )
        fresh = create_agent(NETWORK, config, seed=0)
        noise = torch.Generator().manual_seed(0)
        torch.randn((8, 3, 2), generator=noise)  # at s'
        means = fresh.network(*(tensors(batch)[n] for n in ("images", "proprioception", "instructions")))
        drawn = means.detach()[:, None] + 0.3 * torch.randn((8, 3, 2), generator=noise)
        assert metrics["clipped/policy_actions"] == float((drawn.abs() >= 1.0).sum())
        wide = create_agent(NETWORK, replace(config, policy_std=1.0, sampled_actions=100), seed=0)
        assert 200 < float(wide.update(batch)["clipped/policy_actions"]) < 1600
    if algorithm == "iql":
        assert 0.0 < metrics["clipped/weights"] <= 8.0


@pytest.mark.parametrize("network", [replace(NETWORK, hidden_size=16), replace(NETWORK, critics=3)])
def test_weights_of_another_architecture_are_told_in_one_sentence(network: NetworkConfig) -> None:
    saved = create_agent(network, AGENT, seed=0).state_dict()
    with pytest.raises(ValueError, match=r"its \S+ (is .* expected|has no place)") as raised:
        create_agent(NETWORK, AGENT, seed=0).load_state_dict(*saved)
    assert "\n" not in str(raised.value) and "more of its tensors differ" in str(raised.value)
    with pytest.raises(ValueError, match=r"it has no state_value\S+ and"):
        create_agent(NETWORK, replace(AGENT, algorithm="iql"), seed=0).load_state_dict(
            *create_agent(NETWORK, AGENT, seed=0).state_dict()
        )


@pytest.mark.parametrize("algorithm", ["cal_ql", "cql"])
@pytest.mark.parametrize(("critics", "best"), [(2, False), (3, False), (2, True)])
def test_loss_equals_a_slow_reference(algorithm: str, critics: int, best: bool) -> None:
    """Every term of the docstring, one transition and one action at a time, from the same random draws."""
    config = replace(AGENT, algorithm=algorithm, sampled_actions=3, max_target_backup=best)
    agent = create_agent(replace(NETWORK, critics=critics), config, seed=1)
    batch = random_batch()
    for _ in range(3):
        agent.update(batch)  # let network and average differ, and the values spread around the returns
    alpha, std, count = agent.conservative_weight, config.policy_std, config.sampled_actions
    draws = torch.Generator().manual_seed(7)
    agent.noise.manual_seed(7)
    loss, metrics = (value if isinstance(value, dict) else value.detach() for value in loss_of(agent, batch))
    metrics = {name: float(value.detach()) for name, value in metrics.items()}
    next_noise = torch.randn((8, count, 2), generator=draws)
    noise = torch.randn((8, count, 2), generator=draws)
    uniform = torch.rand((8, count, 2), generator=draws) * 2 - 1

    def q(network, i, row, action):
        encoded = network.encoder(torch.from_numpy(batch.images[row : row + 1]))
        return value(network, i, encoded, batch.proprioception[row], row, action)

    def value(network, i, encoded, proprioception, row, action):
        inputs = network.normaliser(
            torch.from_numpy(proprioception)[None], torch.from_numpy(batch.instructions[row : row + 1])
        )
        state = network.critics.features(encoded, *inputs)
        return float(network.critics.heads[i](state, action.reshape(1, 1, -1)))

    def log_density(sample_noise):
        return sum(-0.5 * float(e) ** 2 - math.log(std * math.sqrt(2 * math.pi)) for e in sample_noise)

    bellman = conservative = 0.0
    with torch.no_grad():
        for row in range(8):
            part = {k: v[row : row + 1] for k, v in tensors(batch).items()}
            mean = agent.network(part["images"], part["proprioception"], part["instructions"])[0]
            next_mean = agent.average(part["next_images"], part["next_proprioception"], part["instructions"])[0]
            encoded = agent.average.encoder(part["next_images"])
            backup = max(
                min(
                    value(agent.average, i, encoded, batch.next_proprioception[row], row, next_action)
                    for i in range(critics)
                )
                for next_action in (next_mean + std * next_noise[row]).clamp(-1, 1)[: count if best else 1]
            )
            target = batch.rewards[row] + batch.discounts[row] * backup
            for i in range(critics):
                data = q(agent.network, i, row, part["actions"][0])
                bellman += 0.5 * (data - target) ** 2 / 8
                terms = []
                for k in range(count):
                    terms.append(q(agent.network, i, row, uniform[row, k]) - math.log(0.25))
                    for centre, e in ((mean, noise[row, k]), (next_mean, next_noise[row, k])):
                        sampled = q(agent.network, i, row, (centre + std * e).clamp(-1, 1))
                        if algorithm == "cal_ql":
                            sampled = max(sampled, float(batch.returns[row]))
                        terms.append(sampled - log_density(e))
                conservative += (math.log(sum(math.exp(t) for t in terms)) - data) / 8
    assert metrics["losses/bellman"] == pytest.approx(bellman, rel=1e-4)
    assert metrics["losses/conservative"] == pytest.approx(conservative, rel=1e-4)
    expected = bellman + alpha * conservative
    expected += agent.value_weight * metrics["losses/actor_value"] + metrics["losses/imitation"]
    assert float(loss) == pytest.approx(expected, rel=1e-4)


def test_the_return_of_failing_for_ever_leaves_the_calibration_without_effect() -> None:
    """Episodes without a success are treated as in CQL: their return is a lower bound of every value."""
    losses = {}
    for algorithm in ("cal_ql", "cql"):
        for bound in (-1.0 / (1.0 - AGENT.discount), 50.0):
            agent = create_agent(NETWORK, replace(AGENT, algorithm=algorithm), seed=1)
            batch = replace(random_batch(), returns=np.full(8, bound, np.float32))
            losses[algorithm, bound] = float(loss_of(agent, batch)[1]["losses/conservative"].detach())
    (low, high) = sorted({bound for _, bound in losses})
    assert losses["cal_ql", low] == losses["cql", low]
    assert losses["cal_ql", high] > losses["cql", high]


def test_iql_equals_a_slow_reference() -> None:
    config = replace(AGENT, algorithm="iql", imitation_weight=2.0, expectile=0.8, advantage_temperature=0.5)
    agent = create_agent(replace(NETWORK, critics=3), config, seed=1)
    batch = random_batch()
    for _ in range(3):
        agent.update(batch)
    loss, metrics = loss_of(agent, batch)
    metrics = {name: float(value.detach()) for name, value in metrics.items()}
    bellman = expectile = weighted = weights = 0.0
    with torch.no_grad():
        for row in range(8):
            part = {k: v[row : row + 1] for k, v in tensors(batch).items()}
            now = agent.network.normaliser(part["proprioception"], part["instructions"])
            later = agent.network.normaliser(part["next_proprioception"], part["instructions"])
            network, average = agent.network, agent.average
            target = part["rewards"] + part["discounts"] * average.state_value(
                average.encoder(part["next_images"]), *later
            )
            encoded = network.encoder(part["images"])
            values = network.critics(network.critics.features(encoded, *now), part["actions"][:, None])
            bellman += float((0.5 * (values.flatten() - target) ** 2).sum()) / 8
            steady = average.critics(
                average.critics.features(average.encoder(part["images"]), *now), part["actions"][:, None]
            )
            advantage = float(steady.min()) - float(network.state_value(encoded, *now))
            expectile += (0.8 if advantage > 0 else 0.2) * advantage**2 / 8
            weight = min(math.exp(0.5 * advantage), 100.0)
            error = float(((network.actor(encoded, *now) - part["actions"]) ** 2).sum())
            weighted, weights = weighted + weight * error, weights + weight
    assert metrics["losses/bellman"] == pytest.approx(bellman, rel=1e-4)
    assert metrics["losses/expectile"] == pytest.approx(expectile, rel=1e-4)
    assert float(loss.detach()) == pytest.approx(bellman + expectile + 2.0 * weighted / weights, rel=1e-4)


def test_the_target_is_the_minimum_over_a_few_critics_drawn_anew() -> None:
    agent = create_agent(replace(NETWORK, critics=5), replace(AGENT, critic_subset=2), seed=0)
    drawn = [agent.draws(8)["subset"].tolist() for _ in range(200)]
    assert {len(set(chosen)) for chosen in drawn} == {2} and {min(chosen) for chosen in drawn} == {0, 1, 2, 3}
    assert 0.3 < sum(0 in chosen for chosen in drawn) / 200 < 0.5  # two of five
    assert "subset" not in create_agent(replace(NETWORK, critics=5), AGENT, seed=0).draws(8)
    batch = tensors(random_batch()) | agent.draws(8)
    each = [agent.loss(batch | {"subset": torch.tensor([i])})[1]["values/target"] for i in range(5)]
    both = agent.loss(batch | {"subset": torch.tensor([1, 3])})[1]["values/target"]
    assert float(both) < min(float(each[1]), float(each[3])) and float(both) >= float(
        agent.loss(batch | {"subset": torch.arange(5)})[1]["values/target"]
    )


@pytest.mark.parametrize("algorithm", ["cal_ql", "cql"])
def test_in_practice_only_what_is_at_least_as_good_as_the_policy_s_own_is_imitated(algorithm) -> None:
    batch = replace(random_batch(), imitation=np.array([1.0] * 6 + [0.0] * 2, np.float32))
    config = replace(AGENT, algorithm=algorithm)
    filtered, plain = (create_agent(NETWORK, replace(config, imitation_filter=on), seed=0) for on in (True, False))
    assert float(loss_of(filtered, batch)[1]["values/imitated"]) == 1.0, "what is recorded is imitated as it is"
    for agent in (filtered, plain):
        agent.use_phase(online=True)
    assert float(loss_of(plain, batch)[1]["values/imitated"]) == 1.0

    seen, network = tensors(batch), filtered.network
    inputs = network.normaliser(seen["proprioception"], seen["instructions"])
    with torch.no_grad():
        encoded = network.encoder(seen["images"])
        state, own = network.critics.features(encoded, *inputs), network.actor(encoded, *inputs)
        data_values, own_values = (
            network.critics(state, actions[:, None])[..., 0].mean(0) for actions in (seen["actions"], own)
        )
    kept = (data_values >= own_values)[:6]
    assert 0 < kept.sum() < 6
    error = (own - seen["actions"])[:6].square().sum(-1)
    metrics = loss_of(filtered, batch)[1]
    assert float(metrics["values/imitated"]) == pytest.approx(float(kept.float().mean()))
    assert float(metrics["losses/imitation"].detach()) == pytest.approx(float(error[kept].mean()), rel=1e-4)


def test_without_a_weight_the_conservative_term_asks_no_further_actions() -> None:
    agent = create_agent(NETWORK, replace(AGENT, conservative_weight_online=0.0), seed=0)
    asked: list[int] = []
    agent.network.critics.register_forward_pre_hook(lambda module, given: asked.append(given[1].shape[1]))
    assert float(agent.update(random_batch())["losses/conservative"]) != 0.0
    agent.use_phase(online=True)
    metrics = agent.update(random_batch())
    assert asked == [1 + 3 * AGENT.sampled_actions, 1, 1, 1]
    assert set(metrics) == set(agent.metric_names) and float(metrics["losses/conservative"]) == 0.0


def test_calibration_stops_pushing_values_below_the_return() -> None:
    """Where the policy's values lie below the return, Cal-QL's term has no gradient through them; CQL's has."""
    gradients = {}
    for algorithm in ("cal_ql", "cql"):
        agent = create_agent(NETWORK, replace(AGENT, algorithm=algorithm), seed=0)
        values = torch.full((2, 4, 12), -20.0, requires_grad=True)
        term, below = agent._conservative(torch.zeros(2, 4), values, torch.full((4,), -5.0), torch.zeros(4, 8))
        term.backward()
        gradients[algorithm] = float(values.grad[..., 4:].abs().sum())
        assert float(below) == 1.0
    assert gradients["cal_ql"] == 0.0 and gradients["cql"] > 0.1


def test_the_multiplier_of_the_conservative_term_follows_its_gap() -> None:
    """Two critics whose terms are 3 and 7, gap 2, weight 1.5, multiplier 1: worked out by hand."""
    config = replace(AGENT, conservative_gap=2.0, conservative_weight_offline=1.5)
    agent = create_agent(NETWORK, config, seed=0)
    term = torch.tensor(10.0, requires_grad=True)
    loss, multiplier = agent._weighted(term)
    loss.backward()
    assert float(multiplier) == 1.0
    assert float(term.grad) == pytest.approx(1.5)  # as with a fixed weight of 1.5 x 1
    logarithm = agent.network.conservative_log_multiplier
    assert float(logarithm.grad) == pytest.approx(-1.5 * (5.0 - 2.0))  # above the gap: the multiplier grows
    assert float(loss.detach()) == pytest.approx(1.5 * (10.0 - 4.0) - 1.5 * 3.0)
    with torch.no_grad():
        logarithm.fill_(math.log(4.0))
    assert float(agent._weighted(torch.tensor(1.0))[1]) == pytest.approx(4.0)
    for gap, grows in ((-5.0, None), (0.0, True), (1e4, False)):
        agent = create_agent(NETWORK, replace(AGENT, conservative_gap=gap), seed=0)
        values = [float(agent.update(random_batch())["values/multiplier"]) for _ in range(4)]
        assert values[0] == 1.0 and (values[-1] == 1.0 if grows is None else (values[-1] > 1.0) == grows)


def test_importance_sampling_takes_the_densities_off() -> None:
    """One critic, one state, one action of each kind, all of value 0: worked out by hand."""
    zero, density = torch.zeros(1, 1), torch.tensor([[0.5, -1.0]])
    for switch, expected in (
        (True, math.log(4.0 + math.exp(-0.5) + math.exp(1.0))),  # uniform on [-1, 1]^2: a density of 1/4
        (False, math.log(3.0)),
    ):
        config = replace(AGENT, algorithm="cql", sampled_actions=1, importance_sampling=switch)
        agent = create_agent(replace(NETWORK, critics=1), config, seed=0)
        term, _ = agent._conservative(zero, torch.zeros(1, 1, 3), torch.zeros(1), density)
        assert float(term) == pytest.approx(expected)


@pytest.mark.parametrize("best", [False, True])
def test_entropy_backup_adds_the_entropy_of_what_is_sampled(best: bool) -> None:
    """The target moves by -discount x weight x log-density of the action taken, drawn here a second time."""
    targets = {}
    for weight in (0.0, 0.5):
        config = replace(AGENT, entropy_backup=weight, sampled_actions=1, max_target_backup=best)
        agent = create_agent(NETWORK, config, seed=0)
        agent.noise.manual_seed(3)
        targets[weight] = float(loss_of(agent, random_batch())[1]["values/target"])
    noise = torch.randn((8, 1, 2), generator=torch.Generator().manual_seed(3))[:, 0]
    density = -0.5 * noise.square().sum(-1) - 2.0 * math.log(AGENT.policy_std * math.sqrt(2.0 * math.pi))
    assert targets[0.5] - targets[0.0] == pytest.approx(float((-0.8 * 0.5 * density).mean()), rel=1e-3)


@pytest.mark.parametrize("algorithm", ["iql", "bc"])
def test_what_an_algorithm_does_not_have_is_refused(algorithm: str) -> None:
    for changes, word in (({"entropy_backup": 0.1}, "no entropy"), ({"conservative_gap": 0.8}, "no CQL term")):
        with pytest.raises(RobofumeError, match=word):
            create_agent(NETWORK, replace(AGENT, algorithm=algorithm, **changes), seed=0)
    create_agent(NETWORK, replace(AGENT, algorithm=algorithm), seed=0)


def test_cloning_has_no_critics_to_update_more_often() -> None:
    with pytest.raises(RobofumeError, match=r"bc trains no critics .* leave actor_every at 1"):
        create_agent(NETWORK, replace(AGENT, algorithm="bc", actor_every=2), seed=0)


def test_an_entropy_that_pays_for_never_finishing_is_refused() -> None:
    wide = replace(AGENT, policy_std=0.5, entropy_backup=0.6)  # entropy 1.45
    create_agent(NETWORK, wide, seed=0)
    with pytest.raises(RobofumeError, match="never finishing"):
        create_agent(NETWORK, replace(wide, entropy_backup=0.7), seed=0)


def test_which_loss_trains_what() -> None:
    """The encoder learns from the critic only; the critics do not learn from the actor's loss."""
    agent = create_agent(NETWORK, replace(AGENT, value_weight_offline=0.0, imitation_weight=0.0), seed=0)
    agent.noise.manual_seed(0)
    loss_of(agent, random_batch())[0].backward()
    critic_only = {n: p.grad.clone() for n, p in agent.network.named_parameters() if p.grad is not None}
    assert critic_only["encoder.stem.weight"].abs().sum() > 0
    other = create_agent(NETWORK, replace(AGENT, value_weight_offline=5.0, imitation_weight=1.0), seed=0)
    other.noise.manual_seed(0)
    loss_of(other, random_batch())[0].backward()
    for name, parameter in other.network.named_parameters():
        if name.startswith("actor."):
            assert parameter.grad.abs().sum() > 0
        else:
            assert torch.equal(parameter.grad, critic_only[name]), name


@pytest.mark.parametrize("algorithm", ["cal_ql", "iql"])
def test_imitation_may_have_another_weight_in_practice(algorithm: str) -> None:
    batch, losses = random_batch(), {}
    for online in (-1.0, 0.0, 2.0):
        config = replace(AGENT, algorithm=algorithm, imitation_weight=1.0, imitation_weight_online=online)
        for practising in (False, True):
            agent = create_agent(NETWORK, config, seed=0)
            agent.use_phase(online=practising)
            loss, metrics = loss_of(agent, batch)
            losses[online, practising] = float(loss.detach())
    term = float(metrics["losses/imitation"].detach())
    assert losses[-1.0, False] == losses[0.0, False] == losses[2.0, False]
    assert losses[-1.0, True] - losses[0.0, True] == pytest.approx(term, rel=1e-3)
    assert losses[2.0, True] - losses[0.0, True] == pytest.approx(2.0 * term, rel=1e-3)


def test_imitation_may_train_the_encoder() -> None:
    gradients = []
    for weight in (0.0, 1.0):
        config = replace(AGENT, imitation_trains_encoder=True, imitation_weight=weight)
        agent = create_agent(NETWORK, config, seed=0)
        loss_of(agent, random_batch())[0].backward()
        gradients.append(agent.network.encoder.stem.weight.grad)
    assert not torch.equal(*gradients)


def test_only_successful_episodes_are_imitated() -> None:
    agent = create_agent(NETWORK, replace(AGENT, algorithm="bc"), seed=0)
    batch = random_batch()
    changed = replace(batch, actions=np.where(batch.imitation[:, None] > 0, batch.actions, 1.0).astype(np.float32))
    first, second = (agent.loss(tensors(b))[0].detach() for b in (batch, changed))
    assert float(first) == float(second)


@pytest.mark.parametrize(
    ("algorithm", "gap"), [*((algorithm, -1.0) for algorithm in ALGORITHMS), ("cal_ql", 0.8), ("cql", 0.8)]
)
def test_resuming_is_exact(algorithm: str, gap: float) -> None:
    config = replace(AGENT, algorithm=algorithm, conservative_gap=gap, random_shift=2)
    agent = create_agent(NETWORK, config, seed=0)
    for seed in range(3):
        agent.update(random_batch(seed=seed))
    saved_tensors, saved_state = agent.state_dict()
    other = create_agent(NETWORK, config, seed=99)
    other.load_state_dict(saved_tensors, saved_state)
    for seed in range(3, 6):
        agent.update(random_batch(seed=seed))
        other.update(random_batch(seed=seed))
    first, second = agent.state_dict(), other.state_dict()
    assert first[1] == second[1] and first[0].keys() == second[0].keys()
    for name, value in first[0].items():
        assert torch.equal(value, second[0][name]), name


@pytest.mark.parametrize(("had", "gets", "advice"), [(-1.0, 0.8, "below 0"), (0.8, -1.0, "that it had")])
def test_a_multiplier_is_neither_invented_nor_dropped(had: float, gets: float, advice: str) -> None:
    saved = create_agent(NETWORK, replace(AGENT, conservative_gap=had), seed=0).state_dict()
    with pytest.raises(RobofumeError, match=advice):
        create_agent(NETWORK, replace(AGENT, conservative_gap=gets), seed=0).load_state_dict(*saved)


@pytest.mark.parametrize("algorithm", ["cal_ql", "iql"])
def test_the_actor_may_be_updated_more_rarely_than_the_critics(algorithm: str) -> None:
    agent = create_agent(NETWORK, replace(AGENT, algorithm=algorithm, actor_every=3), seed=0)
    agent.update(random_batch())
    agent.use_phase(online=True)  # of which the counting begins anew
    changed = {"actor": [], "critics": [], "encoder": []}
    for number in range(7):
        before = {name: value.clone() for name, value in agent.network.state_dict().items()}
        agent.update(random_batch(seed=number))
        after = agent.network.state_dict()
        for part, seen in changed.items():
            seen.append(any((after[name] != before[name]).any() for name in before if name.startswith(f"{part}.")))
    assert changed == {"actor": [False, False, True] * 2 + [False], "critics": [True] * 7, "encoder": [True] * 7}

    resumed = create_agent(NETWORK, agent.config, seed=5)
    resumed.use_phase(online=True)
    resumed.load_state_dict(*agent.state_dict())
    for number in range(3):
        agent.update(random_batch(seed=number))
        resumed.update(random_batch(seed=number))
    assert all(torch.equal(value, resumed.state_dict()[0][name]) for name, value in agent.state_dict()[0].items())


def test_the_average_trails_the_network() -> None:
    agent = create_agent(NETWORK, replace(AGENT, averaging_rate=0.25), seed=0)
    before = {n: p.clone() for n, p in agent.average.named_parameters()}
    agent.update(random_batch())
    for name, parameter in agent.network.named_parameters():
        expected = before[name] + 0.25 * (parameter - before[name])
        assert torch.allclose(dict(agent.average.named_parameters())[name], expected, atol=1e-6)


def share_taken(agent: Agent) -> float:
    """Make an update; what share of the way to the newest weights the policy that acts went."""
    before = agent.acting.actor.layers[0].weight.clone()
    agent.update(random_batch())
    newest, now = agent.network.actor.layers[0].weight, agent.acting.actor.layers[0].weight
    return float((now - before).norm() / (newest - before).norm())


def test_the_policy_that_acts_is_averaged_over_a_tenth_of_its_phase_within_its_bounds() -> None:
    agent = create_agent(NETWORK, replace(AGENT, averaging_rate=0.25, acting_updates=8), seed=0)
    agent.updates = 1000
    agent.use_phase(online=True)
    shares = [share_taken(agent) for _ in range(100)]
    wanted = [max(1 / 8, min(0.25, 10 / max(1, done))) for done in range(100)]
    assert shares == pytest.approx(wanted, rel=1e-2) and wanted[0] == 0.25 and wanted[-1] == 1 / 8
    agent.use_phase(online=False)  # a new phase is followed at once
    assert share_taken(agent) == pytest.approx(0.25, rel=1e-2)


def test_the_span_of_the_average_that_acts_outlives_a_checkpoint() -> None:
    first = create_agent(NETWORK, replace(AGENT, acting_updates=8), seed=0)
    first.use_phase(online=True)
    for _ in range(3):
        first.update(random_batch())
    second = create_agent(NETWORK, replace(AGENT, acting_updates=8), seed=5)
    second.use_phase(online=True)
    second.load_state_dict(*first.state_dict())
    assert second.phase_began == first.phase_began == 0
    for name, value in first.policy_tensors().items():
        assert torch.equal(value, second.policy_tensors()[name]), name


def test_a_checkpoint_from_before_there_was_a_policy_that_acts_acts_as_it_did() -> None:
    agent = create_agent(NETWORK, AGENT, seed=0)
    agent.update(random_batch())
    tensors, state = agent.state_dict()
    old = {name: value for name, value in tensors.items() if not name.startswith("acting.")}
    del state["phase_began"]
    loaded = create_agent(NETWORK, AGENT, seed=1)
    loaded.load_state_dict(old, state)
    for name, value in loaded.policy_tensors().items():
        assert torch.equal(value, tensors[f"average.{name}"]), name


def test_the_stem_is_a_convolution_of_kernel_eight_and_stride_four() -> None:
    encoder = ConvEncoder(64)
    images = torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    weight = encoder.stem.weight.reshape(32, 4, 4, 3, 2, 2)  # out, y in cell, x in cell, colour, cell y, cell x
    kernel = weight.permute(0, 3, 4, 1, 5, 2).reshape(32, 3, 8, 8)
    plain = torch.nn.functional.conv2d(images.permute(0, 3, 1, 2) / 255.0 - 0.5, kernel, encoder.stem.bias, stride=4)
    expected = encoder.layers(plain).permute(0, 2, 3, 1).flatten(1)
    assert torch.allclose(encoder(images), expected, atol=1e-5)
    assert expected.shape[1] == encoder.output_dimension


def test_random_shift_moves_the_picture_and_repeats_its_edge() -> None:
    images = np.arange(2 * 40 * 40 * 3, dtype=np.uint32).reshape(2, 40, 40, 3).astype(np.uint8)
    shifted = random_shift(images, 3, np.random.default_rng(0))
    padded = np.pad(images, ((0, 0), (3, 3), (3, 3), (0, 0)), mode="edge")
    for before, after in zip(padded, shifted, strict=True):
        places = [(y, x) for y in range(7) for x in range(7) if (before[y : y + 40, x : x + 40] == after).all()]
        assert places
    assert random_shift(images, 0, np.random.default_rng(0)) is images


class DotWorld:
    """A dot moves by the action; forward it must go to the right edge, backward to the left one."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)

    def image(self, x: float, y: float) -> np.ndarray:
        image = np.zeros((40, 40, 3), np.uint8)
        row, column = (int(18 + 15 * v) for v in (y, x))
        image[row : row + 4, column : column + 4] = 255
        return image

    def episode(self, number: int, choose, noise: float) -> EpisodeTransitions:
        sign = 1 if number % 2 else -1
        sentence = np.eye(5, dtype=np.float32)[0 if sign > 0 else 1]
        x, y = float(self.random.uniform(-0.3, 0.3)), float(self.random.uniform(-1, 1))
        images, actions, success = [self.image(x, y)], [], False
        for _ in range(12):
            action = np.clip(choose(images[-1], sentence, sign) + noise * self.random.normal(size=2), -1, 1)
            x, y = np.clip([x + 0.25 * action[0], y + 0.25 * action[1]], -1, 1)
            actions.append(action)
            images.append(self.image(x, y))
            success = sign * x > 0.9
            if success:
                break
        steps = len(actions)
        rewards, discounts, offset = n_step_targets(steps, success, np.ones(steps, bool), 0.9, 3)
        returns = monte_carlo_returns(steps, success, 0.9)

        def pad(values: np.ndarray) -> np.ndarray:
            return np.concatenate([values, np.zeros_like(values[:1])])

        return EpisodeTransitions(
            str(number), sentence, np.stack(images), np.zeros((steps + 1, 3), np.float32),
            pad(np.array(actions, np.float32)), pad(rewards), pad(discounts), pad(returns), pad(offset),
            np.full(steps + 1, float(success), np.float32),
        )  # fmt: skip


def test_a_single_recorded_step_gives_input_statistics_too() -> None:
    agent = create_agent(NETWORK, AGENT, seed=0)
    size, length = NETWORK.proprioception_dimension, NETWORK.instruction_dimension
    seen = np.ones((1, size), np.float32), np.ones((1, length), np.float32)
    agent.fit_inputs(*seen)
    assert all(bool(torch.isfinite(values).all()) for values in agent.network.normaliser(*map(torch.from_numpy, seen)))


@pytest.mark.parametrize(
    ("algorithm", "soft"), [*((algorithm, False) for algorithm in ALGORITHMS), ("cal_ql", True)]
)
def test_learns_a_small_problem_from_images(algorithm: str, soft: bool) -> None:
    """From poor data (a random walk with a drift) to better than the data, in a few hundred small updates."""
    world, memory = DotWorld(0), ReplayMemory(4000)
    data = [world.episode(n, lambda _i, _s, sign: np.array([0.3 * sign, 0.0]), 0.7) for n in range(80)]
    for episode in data:
        memory.add(episode)
    config = replace(AGENT, algorithm=algorithm, discount=0.9, batch_size=32, averaging_rate=0.05)
    agent = create_agent(replace(NETWORK, hidden_size=64, learnt_deviation=soft), config, seed=0)
    agent.fit_inputs(*memory.statistics())
    for _ in range(250):
        agent.update(memory.sample(32, agent.random))

    def act(image, sentence, _sign):
        observation = {
            "images": image[None], "proprioception": np.zeros((1, 3), np.float32), "instructions": sentence[None]
        }  # fmt: skip
        return agent.act(observation)[0]

    trials = [world.episode(n, act, 0.0) for n in range(30)]
    success = np.mean([t.imitation[0] for t in trials])
    length = np.mean([t.transitions for t in trials])
    assert success > 0.9
    assert length < 0.8 * np.mean([e.transitions for e in data])
