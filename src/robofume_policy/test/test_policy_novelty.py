"""The exploration bonus: what is new, how it enters rewards and returns, and that the task's rewards stay."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from robofume_common.errors import RobofumeError
from robofume_policy.config import NetworkConfig, NoveltyConfig
from robofume_policy.dataset import monte_carlo_returns, n_step_targets
from robofume_policy.novelty import NoveltyBonus, discounted_bonus
from robofume_policy.replay import Batch, EpisodeTransitions, ReplayMemory

DISCOUNT = 0.9
NETWORK = NetworkConfig(image_size=40, action_dimension=2, proprioception_dimension=2, instruction_dimension=4)
CONFIG = NoveltyConfig(
    novelty_weight=2.0, novelty_hidden_size=32, novelty_share=1.0, novelty_learning_rate=1e-3,
    novelty_recorded_updates=20, novelty_largest=1e9,
)


def places(count: int, left: float, right: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Pictures of a dot between two columns, and its place."""
    x = np.random.default_rng(seed).uniform(left, right, count).astype(np.float32)
    images = np.zeros((count, 40, 40, 3), np.uint8)
    for image, column in zip(images, (2 + 30 * x).astype(int), strict=True):
        image[18:22, column : column + 4] = 255
    return images, np.stack([x, np.zeros_like(x)], 1)


def batch_of(images: np.ndarray, proprioception: np.ndarray) -> Batch:
    count, zeros = len(images), np.zeros(len(images), np.float32)
    return Batch(
        images=images, next_images=images, proprioception=proprioception, next_proprioception=proprioception,
        instructions=np.zeros((count, 4), np.float32), actions=np.zeros((count, 2), np.float32), rewards=zeros,
        discounts=zeros, returns=zeros, imitation=zeros,
    )  # fmt: skip


def filled(network: NetworkConfig, numbers=range(3), capacity: int = 200) -> ReplayMemory:
    memory = ReplayMemory(capacity)
    for number in numbers:
        memory.add(episode(network, number))
    return memory


def episode(network: NetworkConfig, number: int, steps: int = 12) -> EpisodeTransitions:
    """A success whose proprioception names its episode and step, with random pictures."""
    rewards, discounts, offset = n_step_targets(steps, True, np.ones(steps, bool), DISCOUNT, 3)
    index = np.arange(steps + 1, dtype=np.float32)
    size = 0 if network.encoder == "none" else network.image_size

    def pad(values: np.ndarray) -> np.ndarray:
        return np.append(values, values[:1] * 0)

    return EpisodeTransitions(
        episode_id=f"episode-{number}", instruction_embedding=np.ones(4, np.float32),
        images=np.random.default_rng(number).integers(0, 256, (steps + 1, size, size, 3), dtype=np.uint8),
        proprioception=np.stack([np.full_like(index, number), index], 1),
        actions=np.zeros((steps + 1, 2), np.float32), rewards=pad(rewards), discounts=pad(discounts),
        returns=pad(monte_carlo_returns(steps, True, DISCOUNT)), next_offset=pad(offset),
        imitation=np.ones(steps + 1, np.float32),
    )  # fmt: skip


@pytest.mark.parametrize("encoder", ["convolution", "none"])
def test_novelty_falls_with_visits_and_is_high_where_nobody_was(encoder: str) -> None:
    network = replace(NETWORK, encoder=encoder)
    bonus = NoveltyBonus(network, CONFIG, DISCOUNT, seed=0)
    images, proprioception = places(64, 0.0, 1.0, seed=0)
    recorded = ReplayMemory(100)
    cut = images if encoder == "convolution" else images[:, :0, :0]
    recorded.add(replace(episode(network, 0, steps=63), images=cut, proprioception=proprioception))
    bonus.fit(recorded)
    visited, elsewhere = places(32, 0.0, 0.4, seed=1), places(32, 0.7, 1.0, seed=2)
    if encoder == "none":
        visited, elsewhere = ((i[:, :0, :0], p) for i, p in (visited, elsewhere))
    before = bonus.bonus(*visited).mean()
    history = []
    for _ in range(3):
        for _ in range(60):
            metrics = bonus.update(batch_of(*visited))
        history.append(bonus.bonus(*visited).mean())
    assert before > history[0] > history[1] > history[2]
    assert bonus.bonus(*elsewhere).mean() > 5.0 * history[-1]
    assert set(metrics) | {"novelty/weight"} == set(bonus.metric_names)


def test_bonuses_of_an_episode_against_a_plain_loop() -> None:
    bonus, offset = np.random.default_rng(0).random(7), np.array([3, 3, 3, 3, 2, 1, 0])
    rewards, returns = discounted_bonus(bonus, offset, DISCOUNT)
    for t in range(7):
        assert rewards[t] == pytest.approx(sum(DISCOUNT**k * bonus[t + 1 + k] for k in range(offset[t])), abs=1e-6)
        assert returns[t] == pytest.approx(sum(DISCOUNT ** (j - t - 1) * bonus[j] for j in range(t + 1, 7)), abs=1e-6)


def test_the_bonus_enters_rewards_and_returns_and_the_tasks_own_stay() -> None:
    memory, plain = filled(NETWORK), filled(NETWORK)
    first = {"rewards": np.full(13, 0.5, np.float32), "returns": np.full(13, 3.0, np.float32)}
    memory.set_bonus("episode-1", **first)
    task, with_bonus = (memory.sample(64, np.random.default_rng(0), weight) for weight in (0.0, 2.0))
    for name, value in vars(plain.sample(64, np.random.default_rng(0))).items():
        assert (getattr(task, name) == value).all(), name
    chosen = task.proprioception[:, 0] == 1
    assert 0 < chosen.sum() < 64
    assert with_bonus.rewards == pytest.approx(task.rewards + 2.0 * 0.5 * chosen)
    assert with_bonus.returns == pytest.approx(task.returns + 2.0 * 3.0 * chosen)
    assert memory.episode_ids(without_bonus=True) == ["episode-0", "episode-2"]


def test_a_forgotten_episode_leaves_no_bonus_to_the_one_in_its_place() -> None:
    memory = filled(NETWORK, range(3), capacity=40)
    memory.set_bonus("episode-0", np.ones(13), np.ones(13))
    memory.add(episode(NETWORK, 3))
    assert "episode-0" not in memory and memory.observations("episode-0") is None
    memory.set_bonus("episode-0", np.ones(13), np.ones(13))
    task, with_bonus = (memory.sample(64, np.random.default_rng(0), weight) for weight in (0.0, 1.0))
    assert (task.rewards == with_bonus.rewards).all() and (task.returns == with_bonus.returns).all()


def test_bonuses_stay_until_all_are_computed_anew() -> None:
    memory, online = filled(NETWORK), ReplayMemory(100)
    bonus = NoveltyBonus(NETWORK, CONFIG, DISCOUNT, seed=0)
    bonus.fit(memory)

    def returns(held: ReplayMemory, number: int) -> float:
        drawn, task = (held.sample(400, np.random.default_rng(0), weight) for weight in (1.0, 0.0))
        return float((drawn.returns - task.returns)[drawn.proprioception[:, 0] == number].mean())

    bonus.refresh((memory, online), everything=True)
    first = returns(memory, 0)
    assert first > 0.0
    for _ in range(20):
        bonus.update(memory.sample(32, np.random.default_rng(1)))
    online.add(episode(NETWORK, 7))
    bonus.refresh((memory, online), everything=False)
    assert returns(memory, 0) == first and returns(online, 7) > 0.0
    bonus.refresh((memory, online), everything=True)
    assert returns(memory, 0) != first
    images, proprioception, offset = online.observations("episode-7")
    expected = discounted_bonus(bonus.bonus(images, proprioception), offset, DISCOUNT)
    drawn, task = (online.sample(50, np.random.default_rng(0), weight) for weight in (1.0, 0.0))
    steps = task.proprioception[:, 1].astype(int)
    assert drawn.rewards - task.rewards == pytest.approx(expected[0][steps], abs=1e-4)
    assert drawn.returns - task.returns == pytest.approx(expected[1][steps], abs=1e-4)


def test_episodes_of_the_same_id_in_both_memories_have_each_its_own_bonus() -> None:
    """As another run's practice among the recorded data has."""
    memory, online = filled(NETWORK), ReplayMemory(100)
    online.add(replace(episode(NETWORK, 7, steps=20), episode_id="episode-1"))
    online.add(replace(episode(NETWORK, 8), episode_id="episode-2"))
    bonus = NoveltyBonus(NETWORK, CONFIG, DISCOUNT, seed=0)
    bonus.fit(memory)

    def check(bonus: NoveltyBonus) -> None:
        for held in (memory, online):
            drawn, task = (held.sample(400, np.random.default_rng(0), weight) for weight in (1.0, 0.0))
            for name in ("episode-1", "episode-2"):
                images, proprioception, offset = held.observations(name)
                expected = discounted_bonus(bonus.bonus(images, proprioception), offset, DISCOUNT)
                rows = task.proprioception[:, 0] == proprioception[0, 0]
                steps = task.proprioception[rows, 1].astype(int)
                assert (drawn.returns - task.returns)[rows] == pytest.approx(expected[1][steps], abs=1e-4)

    for everything in (False, True):
        bonus.refresh((memory, online), everything=everything)
        check(bonus)
    other = NoveltyBonus(NETWORK, CONFIG, DISCOUNT, seed=99)
    other.load_state_dict(*bonus.state_dict())
    memory, given = filled(NETWORK), online
    online = ReplayMemory(100)
    for name, number, steps in (("episode-1", 7, 20), ("episode-2", 8, 12)):
        online.add(replace(episode(NETWORK, number, steps=steps), episode_id=name))
    other.refresh((memory, online), everything=False)
    check(other)
    drawn, same = (held.sample(64, np.random.default_rng(0), 1.0) for held in (given, online))
    assert (drawn.returns == same.returns).all()


def test_a_checkpoint_that_does_not_say_which_memory_an_episode_is_in_is_continued() -> None:
    memory, online = filled(NETWORK), filled(NETWORK, [7])
    bonus = NoveltyBonus(NETWORK, CONFIG, DISCOUNT, seed=0)
    bonus.fit(memory)
    bonus.refresh((memory, online), everything=True)
    tensors, state = bonus.state_dict()
    state["episodes"] = [entry[:2] for entry in state["episodes"]]
    bonus.update(memory.sample(32, np.random.default_rng(1)))
    drawn = [held.sample(64, np.random.default_rng(0), 1.0).returns for held in (memory, online)]
    memory, online = filled(NETWORK), filled(NETWORK, [7])
    bonus.load_state_dict(tensors, state)
    bonus.update(memory.sample(32, np.random.default_rng(1)))
    bonus.refresh((memory, online), everything=False)
    again = [held.sample(64, np.random.default_rng(0), 1.0).returns for held in (memory, online)]
    assert all((first == second).all() for first, second in zip(drawn, again, strict=True))


def test_the_weight_falls_to_nothing_or_stays() -> None:
    falling = NoveltyBonus(NETWORK, replace(CONFIG, novelty_decay_updates=100), DISCOUNT, seed=0)
    assert [falling.weight(n) for n in (0, 25, 100, 500)] == pytest.approx([2.0, 1.5, 0.0, 0.0])
    assert NoveltyBonus(NETWORK, CONFIG, DISCOUNT, seed=0).weight(10**6) == 2.0
    assert NoveltyConfig().novelty_weight == 0.0


def test_the_deviation_is_that_of_all_errors_held() -> None:
    """From the recorded data at first, and with what was practised at each refresh of everything."""
    memory, online = filled(NETWORK), filled(NETWORK, [7])
    bonus = NoveltyBonus(NETWORK, CONFIG, DISCOUNT, seed=0)
    bonus.fit(memory)

    def given(*held: ReplayMemory) -> np.ndarray:
        seen = [m.observations(e) for m in held for e in m.episode_ids()]
        return np.concatenate([bonus.bonus(*observed[:2]) for observed in seen])

    assert given(memory).std() == pytest.approx(1.0, rel=1e-3)
    assert given(memory, online).std() != pytest.approx(1.0, rel=1e-2)
    bonus.refresh((memory, online), everything=False)
    assert given(memory).std() == pytest.approx(1.0, rel=1e-3)
    bonus.refresh((memory, online), everything=True)
    assert given(memory, online).std() == pytest.approx(1.0, rel=1e-3)


def test_what_was_recorded_is_not_new() -> None:
    """Before any practice: a place that the recordings do not show has a greater bonus, where g has learnt them."""
    recorded, elsewhere = places(64, 0.0, 0.4, seed=0), places(32, 0.7, 1.0, seed=2)
    ratios = []
    for updates in (0, 300):
        memory = ReplayMemory(100)
        memory.add(replace(episode(NETWORK, 0, steps=63), images=recorded[0], proprioception=recorded[1]))
        bonus = NoveltyBonus(NETWORK, replace(CONFIG, novelty_recorded_updates=updates), DISCOUNT, seed=0)
        bonus.fit(memory)
        ratios.append(bonus.bonus(*elsewhere).mean() / bonus.bonus(*recorded).mean())
    assert ratios[1] > 5.0 * ratios[0]


def test_no_bonus_is_above_the_largest() -> None:
    memory, elsewhere = filled(NETWORK), places(32, 0.0, 1.0, seed=2)
    free, bound = (
        NoveltyBonus(NETWORK, replace(CONFIG, novelty_largest=largest), DISCOUNT, seed=0) for largest in (1e9, 3.0)
    )
    for bonus in (free, bound):
        bonus.fit(memory)
    assert free.bonus(*elsewhere).max() > 3.0
    assert bound.bonus(*elsewhere) == pytest.approx(free.bonus(*elsewhere).clip(max=3.0))


def test_what_is_ignored_makes_nothing_new() -> None:
    network = replace(NETWORK, encoder="none")
    images, proprioception = np.zeros((13, 0, 0, 3), np.uint8), filled(network).observations("episode-1")[1]
    for ignored, same in ((slice(1, 2), True), (slice(0), False)):
        bonus = NoveltyBonus(network, CONFIG, DISCOUNT, seed=0)
        bonus.fit(filled(network), ignored)
        moved = proprioception + np.array([0.0, 50.0], np.float32)
        assert (bonus.bonus(images, moved) == bonus.bonus(images, proprioception)).all() == same


def test_continuing_is_exact() -> None:
    def steps(bonus: NoveltyBonus, memory: ReplayMemory, seeds: range) -> None:
        for seed in seeds:
            bonus.refresh([memory], everything=seed % 4 == 0)
            bonus.update(memory.sample(16, np.random.default_rng(seed), 1.0))

    config = replace(CONFIG, novelty_share=0.25)
    memory, other_memory = filled(NETWORK), filled(NETWORK)
    bonus = NoveltyBonus(NETWORK, config, DISCOUNT, seed=0)
    bonus.fit(memory)
    steps(bonus, memory, range(6))
    other = NoveltyBonus(NETWORK, config, DISCOUNT, seed=99)
    other.load_state_dict(*bonus.state_dict())
    for held in (memory, other_memory):
        held.add(episode(NETWORK, 5))
    steps(bonus, memory, range(6, 11))
    steps(other, other_memory, range(6, 11))
    first, second = bonus.state_dict(), other.state_dict()
    assert first[1] == second[1] and first[0].keys() == second[0].keys()
    for name, value in first[0].items():
        assert torch.equal(value, second[0][name]), name
    drawn, same = (held.sample(64, np.random.default_rng(0), 1.0) for held in (memory, other_memory))
    assert (drawn.returns == same.returns).all() and (drawn.rewards == same.rewards).all()
    with pytest.raises(RobofumeError, match="another shape"):
        NoveltyBonus(replace(NETWORK, proprioception_dimension=3), config, DISCOUNT, 0).load_state_dict(*first)
