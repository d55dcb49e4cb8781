"""The dense signal: what it learns, and that it changes no best action."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest
from robofume_common.action import ActionSpace
from robofume_common.enums import Direction, Outcome, Phase, Verdict
from robofume_common.errors import RobofumeError
from robofume_data.episode import EpisodeData
from robofume_policy.adaptation import adapt
from robofume_policy.agents import Agent
from robofume_policy.checkpoint import CheckpointStore, read_checkpoint
from robofume_policy.config import (
    AdaptationConfig,
    AgentConfig,
    NetworkConfig,
    OnlineConfig,
    PretrainingConfig,
    ProgressConfig,
)
from robofume_policy.config import ReplayConfig as Replay
from robofume_policy.dataset import EpisodeConverter
from robofume_policy.language import InstructionEncoder
from robofume_policy.online_learner import OnlineLearner
from robofume_policy.pretraining import fill_memory, pretrain
from robofume_policy.progress import ProgressPotential, shaped
from robofume_policy.replay import Batch, ReplayMemory

DISCOUNT = 0.9
SPACE = ActionSpace()
NETWORK = NetworkConfig(image_size=40, hidden_size=32, image_features=16)
CONFIG = ProgressConfig(progress_weight=4.0, progress_updates=150, progress_learning_rate=3e-3)
INSTRUCTIONS = {Direction.FORWARD: "put the pot into the tray", Direction.BACKWARD: "take the pot out of the tray"}


def episode(number: int, direction: Direction, outcome: Outcome = Outcome.SUCCESS, steps: int = 10) -> EpisodeData:
    """A dot that goes from the left to the right forward, and back backward."""
    share = np.linspace(0.0, 1.0, steps + 1)
    images = np.random.default_rng(number).integers(0, 30, (steps + 1, 40, 40, 3), dtype=np.uint8)
    for image, column in zip(images, 4 + 28 * (share if direction == Direction.FORWARD else 1 - share), strict=True):
        image[16:24, int(column) : int(column) + 5] = 255
    verdicts = np.full(steps + 1, Verdict.FAILURE, np.uint8)
    success = outcome == Outcome.SUCCESS
    verdicts[-1] = Verdict.SUCCESS if success else Verdict.FAILURE
    return EpisodeData(
        episode_id=f"episode-{number}", task="pot", phase=Phase(int(direction)), instruction=INSTRUCTIONS[direction],
        direction=direction, outcome=outcome, success_index=steps if success else -1, assisted_reset_before=False,
        images=images, proprioception=np.random.default_rng(number).normal(size=(steps + 1, 7)).astype(np.float32),
        actions=SPACE.to_physical(np.zeros((steps, 4), np.float32)), actors=np.full(steps, 3, np.uint8),
        policy_versions=np.zeros(steps + 1, np.uint64), stamps=np.arange(steps + 1, dtype=np.int64), verdicts=verdicts,
        probabilities=np.zeros(steps + 1, np.float32), sources=np.zeros(steps + 1, np.uint8),
    )  # fmt: skip


def memory_of(episodes: Iterable[EpisodeData], n_step: int = 1) -> ReplayMemory:
    return fill_memory(episodes, EpisodeConverter(NETWORK, SPACE, InstructionEncoder(), DISCOUNT, n_step), 1000)


def whole(memory: ReplayMemory, phi: np.ndarray) -> tuple[Batch, np.ndarray, np.ndarray]:
    """Every transition of a memory of one episode, in order, and `phi` (S,) where they begin and end."""
    drawn = memory.sample(2000, np.random.default_rng(0))
    _, first = np.unique(drawn.images.reshape(2000, -1), axis=0, return_index=True)
    states = memory.observations(memory.episode_ids()[0])[0]
    begin = [int(np.flatnonzero((states == image).all((1, 2, 3)))[0]) for image in drawn.images[first]]
    first = first[np.argsort(begin)]
    batch = Batch(**{name: value[first] for name, value in vars(drawn).items()})
    end = [int(np.flatnonzero((states == image).all((1, 2, 3)))[0]) for image in batch.next_images]
    return batch, phi[np.sort(begin)], phi[end]


@pytest.mark.parametrize("outcome", [Outcome.SUCCESS, Outcome.TIMEOUT])
def test_the_shaping_of_an_episode_telescopes(outcome: Outcome) -> None:
    phi = np.random.default_rng(1).random(11).astype(np.float32)
    batch, here, there = whole(memory_of([episode(0, Direction.FORWARD, outcome)]), phi)
    assert len(here) == 10
    added = shaped(batch, here, there, 3.0).rewards - batch.rewards
    total = float((DISCOUNT ** np.arange(10) * added).sum())
    # An end has no potential; a time limit is no end.
    left = 0.0 if outcome == Outcome.SUCCESS else DISCOUNT**10 * phi[10]
    assert total == pytest.approx(3.0 * (left - phi[0]), abs=1e-5)


def test_a_window_of_several_steps_and_the_returns_telescope_too() -> None:
    phi = np.random.default_rng(1).random(11).astype(np.float32)
    batch, here, there = whole(memory_of([episode(0, Direction.FORWARD)], n_step=3), phi)
    changed = shaped(batch, here, there, 3.0)
    for t in range(10):
        steps = [DISCOUNT**k * (DISCOUNT * phi[t + k + 1] * (t + k < 9) - phi[t + k]) for k in range(min(3, 10 - t))]
        assert changed.rewards[t] - batch.rewards[t] == pytest.approx(3.0 * sum(steps), abs=1e-5)
    assert changed.returns == pytest.approx(batch.returns - 3.0 * phi[:10], abs=1e-5)
    unseen = {"rewards", "returns"}
    assert all(getattr(changed, name) is value for name, value in vars(batch).items() if name not in unseen)


def test_steps_of_unknown_verdict_stay_out_and_the_others_are_shaped() -> None:
    doubtful = episode(0, Direction.FORWARD, Outcome.UNKNOWN)
    doubtful.verdicts[[3, 4]] = Verdict.UNKNOWN
    phi = np.random.default_rng(1).random(11).astype(np.float32)
    batch, here, there = whole(memory_of([doubtful], n_step=3), phi)
    assert len(batch.rewards) == 8
    changed = shaped(batch, here, there, 3.0)
    # The window of step 0 is cut short before the transition into step 3.
    expected = 3.0 * (DISCOUNT**2 * phi[2] - phi[0])
    assert changed.rewards[0] - batch.rewards[0] == pytest.approx(expected, abs=1e-5)
    assert changed.returns == pytest.approx(-10.0 - 3.0 * here, abs=1e-5)


def test_the_best_actions_stay_the_best() -> None:
    random = np.random.default_rng(0)
    states, actions = 12, 3
    following = random.integers(0, states, (states, actions)).ravel()  # state 0 is the goal
    rewards = random.uniform(-1.0, 0.0, states * actions).astype(np.float32)
    discounts = np.where(following == 0, 0.0, DISCOUNT).astype(np.float32)
    phi, zeros = random.random(states).astype(np.float32), np.zeros(states * actions, np.float32)
    names = Batch.__dataclass_fields__
    plain = Batch(**{**dict.fromkeys(names, zeros), "rewards": rewards, "discounts": discounts})
    here = phi.repeat(actions)

    def best(batch: Batch) -> np.ndarray:
        values = np.zeros((states, actions))
        for _ in range(500):
            values = (batch.rewards + batch.discounts * values.max(1)[following]).reshape(states, actions)
        return values

    before, after = best(plain), best(shaped(plain, here, phi[following], 5.0))
    assert after == pytest.approx(before - 5.0 * phi[:, None], abs=1e-4)
    assert (before.argmax(1) == after.argmax(1)).all()


@pytest.fixture(scope="module")
def learnt() -> ProgressPotential:
    potential = ProgressPotential(NETWORK, CONFIG, InstructionEncoder(), seed=0)
    shown = [episode(n, Direction(1 + n % 2)) for n in range(6)]
    failed = episode(6, Direction.FORWARD, Outcome.TIMEOUT)
    error = potential.fit(memory_of(potential.noting([*shown, failed])))
    assert error < 0.15
    return potential


def test_it_learns_how_far_along_either_direction_is(learnt: ProgressPotential) -> None:
    unseen = episode(50, Direction.FORWARD)
    for direction, instruction in INSTRUCTIONS.items():
        sentences = np.repeat(learnt.language(instruction)[None], 11, 0)
        phi = learnt.potential(unseen.images, unseen.proprioception, sentences)
        wanted = np.linspace(0.0, 1.0, 11)
        wanted = wanted if direction == Direction.FORWARD else 1.0 - wanted
        assert np.corrcoef(phi, wanted)[0, 1] > 0.9 and (phi >= 0).all() and (phi <= 1).all()


def test_rewound_demonstrations_show_the_direction_that_nobody_played() -> None:
    potential = ProgressPotential(NETWORK, CONFIG, InstructionEncoder(), seed=0)
    failed = episode(9, Direction.BACKWARD, Outcome.TIMEOUT)
    potential.fit(memory_of(potential.noting([*(episode(n, Direction.FORWARD) for n in range(4)), failed])))
    unseen = episode(50, Direction.BACKWARD)
    sentences = np.repeat(potential.language(INSTRUCTIONS[Direction.BACKWARD])[None], 11, 0)
    phi = potential.potential(unseen.images, unseen.proprioception, sentences)
    assert np.corrcoef(phi, np.linspace(0.0, 1.0, 11))[0, 1] > 0.9


def test_without_a_success_there_is_nothing_to_learn_from() -> None:
    potential = ProgressPotential(NETWORK, CONFIG, InstructionEncoder(), seed=0)
    with pytest.raises(RobofumeError, match="progress_weight"):
        potential.fit(memory_of(potential.noting([episode(0, Direction.FORWARD, Outcome.TIMEOUT)])))


def test_it_is_learnt_on_another_device_than_the_processor(monkeypatch) -> None:
    # The device `meta` holds no numbers but, as a GPU, takes none from the processor either.
    network, config = replace(NETWORK, encoder="none"), replace(CONFIG, progress_updates=1)
    potential = ProgressPotential(network, config, InstructionEncoder(), 0, "meta")
    monkeypatch.setattr(potential, "potential", lambda *seen: np.zeros(len(seen[0]), np.float32))
    potential.fit(memory_of(potential.noting([episode(0, Direction.FORWARD), episode(1, Direction.BACKWARD)])))
    assert {tensor.device.type for tensor in potential.network.state_dict().values()} == {"meta"}


def test_a_policy_that_practised_with_it_is_adapted_with_it_and_so_are_its_heirs(tmp_path, monkeypatch, caplog) -> None:
    shown, new = ([episode(n, Direction(1 + n % 2)) for n in numbers] for numbers in (range(4), range(10, 14)))
    pretrain(
        shown, tmp_path / "pretrained", action_space=SPACE, network=NETWORK,
        agent=AgentConfig(batch_size=8, discount=DISCOUNT), config=PretrainingConfig(updates=2),
    )  # fmt: skip
    learner = OnlineLearner.from_pretrained(
        tmp_path / "pretrained", shown, OnlineConfig(), Replay(online_capacity=200), progress=CONFIG
    )
    learner.train(1)
    learner.save(tmp_path / "practised")
    potential, drawn, update = learner._progress, [], Agent.update

    def keep_and_update(agent: Agent, batch: Batch) -> dict:
        drawn.append(batch)
        return update(agent, batch)

    monkeypatch.setattr(Agent, "update", keep_and_update)

    def adapted(source: str, name: str) -> Batch:
        config = AdaptationConfig(updates=1)
        adapt(tmp_path / source, shown, new, tmp_path / name, action_space=SPACE, config=config)
        return drawn.pop()

    of_the_task = (1.0 - DISCOUNT ** np.arange(11)) / (DISCOUNT - 1.0)

    def far_from_the_tasks(returns: np.ndarray) -> float:
        return float(np.abs(returns[:, None] - of_the_task).min(1).max())

    for batch in (adapted("practised", "first"), adapted("first", "second")):
        phi = potential.potential(batch.images, batch.proprioception, batch.instructions)
        assert far_from_the_tasks(batch.returns + CONFIG.progress_weight * phi) < 1e-3
        assert far_from_the_tasks(batch.returns) > 0.1
    (path,) = (tmp_path / "practised").glob("0*")
    tensors, state = read_checkpoint(path)
    del state["progress_weight"]  # as one was before it was kept
    CheckpointStore(tmp_path / "older").save(1, tensors, state)
    assert far_from_the_tasks(adapted("older", "third").returns) < 1e-3
    assert "it goes on without" in caplog.text


def test_a_learner_with_a_dense_signal_continues_exactly(tmp_path) -> None:
    shown = [episode(n, Direction(1 + n % 2)) for n in range(4)]
    pretrain(
        shown, tmp_path / "pretrained", action_space=SPACE, network=NETWORK,
        agent=AgentConfig(batch_size=8, discount=DISCOUNT), config=PretrainingConfig(updates=2),
    )  # fmt: skip

    def learner(progress: ProgressConfig | None, agent: AgentConfig | None = None) -> OnlineLearner:
        made = OnlineLearner.from_pretrained(
            tmp_path / "pretrained", shown, OnlineConfig(), Replay(online_capacity=200), agent, progress=progress
        )
        made.add_episode(episode(100, Direction.FORWARD, Outcome.UNKNOWN))
        return made

    short = replace(CONFIG, progress_updates=3)
    first = learner(short)
    metrics = first.train(3)
    assert set(metrics) == set(first.metric_names) and 0.0 < metrics["progress/potential"] < 1.0
    first.save(tmp_path / "checkpoints")
    other = learner(replace(short, progress_updates=1))
    assert other.restore(tmp_path / "checkpoints")
    assert first.train(3) == other.train(3) and first.weights() == other.weights()
    plain, off = learner(None), learner(ProgressConfig())
    assert plain.train(2) == off.train(2) and plain.weights() == off.weights()
    plain.save(tmp_path / "plain")
    with pytest.raises(RobofumeError, match="without a dense signal"):
        learner(short).restore(tmp_path / "plain")
    with pytest.raises(RobofumeError, match="looks at no reward"):
        learner(short, AgentConfig(algorithm="bc"))
