"""Replay memory: what is drawn is what went in, at its boundaries and while another thread adds."""

import threading

import numpy as np
import pytest
from robofume_common.errors import RobofumeError
from robofume_policy.dataset import monte_carlo_returns, n_step_targets
from robofume_policy.replay import Batch, EpisodeTransitions, ReplayMemory, sample_mixed, sample_shares

DISCOUNT = 0.9


def make_episode(number: int, steps: int, success: bool = True, n_step: int = 3, size: int = 8) -> EpisodeTransitions:
    """An episode whose every array names its episode and step, so that mixed-up rows show."""
    rewards, discounts, offset = n_step_targets(steps, success, np.ones(steps, bool), DISCOUNT, n_step)
    returns = monte_carlo_returns(steps, success, DISCOUNT)
    index = np.arange(steps + 1, dtype=np.float32)
    images = np.zeros((steps + 1, size, size, 3), np.uint8)
    images[:, 0, 0, 0], images[:, 0, 0, 1] = number % 256, np.arange(steps + 1)

    def pad(values: np.ndarray) -> np.ndarray:
        return np.append(values, values[:1] * 0)

    return EpisodeTransitions(
        episode_id=f"episode-{number}",
        instruction_embedding=np.full(4, number % 2, np.float32),
        images=images,
        proprioception=np.stack([np.full_like(index, number), index], 1),
        actions=np.stack([np.full_like(index, number), index], 1),
        rewards=pad(rewards), discounts=pad(discounts), returns=pad(returns), next_offset=pad(offset),
        imitation=np.full(steps + 1, float(success), np.float32),
    )  # fmt: skip


def check_consistent(batch: Batch, lengths: dict[int, int], n_step: int = 3) -> None:
    number, step = batch.proprioception.T.astype(int)
    assert (batch.actions == batch.proprioception).all()
    assert (batch.images[:, 0, 0, 0] == number % 256).all() and (batch.images[:, 0, 0, 1] == step).all()
    assert (batch.next_proprioception[:, 0] == number).all(), "a transition leads into another episode"
    last = np.array([lengths[n] for n in number])
    assert (batch.next_proprioception[:, 1] == np.minimum(step + n_step, last)).all()
    assert (batch.next_images[:, 0, 0, 1] == np.minimum(step + n_step, last)).all()
    assert batch.instructions.shape == (len(number), 4) and (batch.instructions == (number % 2)[:, None]).all()


@pytest.mark.parametrize("mapped", [False, True])
def test_favoured_episodes_have_their_share_of_what_is_drawn(mapped: bool) -> None:
    memory, lengths = ReplayMemory(200), {n: 3 + n for n in range(12)}
    for number, steps in lengths.items():
        memory.add(make_episode(number, steps), times=2 if number == 1 else 1)
    if mapped:
        storage = {name: array.copy() for name, array in memory._storage.items()}
        held, sentences = memory.contents()
        begins = np.cumsum([0, *(size for _, size, _ in held)])[:-1]
        episodes = [(key, int(first), size, row) for first, (key, size, row) in zip(begins, held, strict=True)]
        memory = ReplayMemory.of(storage, sentences, episodes, {"episode-1": 2})
    plain, own = len(memory), {"episode-0", "episode-1", "of nowhere"}
    assert plain == sum(lengths.values()) + lengths[1]
    memory.favour(own, 0.5)  # 3 + 2 * 4 of theirs to 95 of others: nine times
    assert len(memory) == plain + 8 * (3 + 2 * 4)
    batch = memory.sample(4000, np.random.default_rng(0))
    check_consistent(batch, lengths)
    number = batch.proprioception[:, 0].astype(int)
    assert abs((number < 2).mean() - 99 / (99 + 95)) < 0.03
    assert abs((number == 1).sum() / (number == 0).sum() - 8 / 3) < 0.5, "who is drawn more often stays so"
    held = len(memory)
    for ids, share in ((own, 0.3), (set(), 0.9)):  # they have it already; there are none
        memory.favour(ids, share)
        assert len(memory) == held
    if not mapped:
        for number in range(12, 40):  # the oldest make room, with all that they counted
            memory.add(make_episode(number, 10))
            lengths[number] = 10
        assert len(memory) == sum(slots - 1 for _, slots, _ in memory.contents()[0])
        check_consistent(memory.sample(500, np.random.default_rng(1)), lengths)


@pytest.mark.parametrize("success", [True, False])
@pytest.mark.parametrize("n_step", [1, 3, 5])
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_n_step_targets_against_a_plain_loop(success: bool, n_step: int, steps: int) -> None:
    rewards, discounts, offset = n_step_targets(steps, success, np.ones(steps, bool), DISCOUNT, n_step)
    step_rewards = [-1.0] * steps
    if success:
        step_rewards[-1] = 0.0
    for t in range(steps):
        end = min(t + n_step, steps)
        assert offset[t] == end - t
        assert rewards[t] == pytest.approx(sum(DISCOUNT ** (k - t) * step_rewards[k] for k in range(t, end)))
        terminal = success and end == steps
        assert discounts[t] == pytest.approx(0.0 if terminal else DISCOUNT ** (end - t))


def test_windows_stop_before_a_transition_of_unknown_reward() -> None:
    known = np.array([True, True, False, True, True])
    rewards, discounts, offset = n_step_targets(5, False, known, DISCOUNT, 3)
    assert offset.tolist() == [2, 1, 0, 2, 1]
    assert rewards == pytest.approx([-1.9, -1.0, 0.0, -1.9, -1.0])
    assert discounts == pytest.approx([0.81, 0.9, 0.0, 0.81, 0.9])


def test_monte_carlo_returns() -> None:
    assert monte_carlo_returns(3, True, DISCOUNT) == pytest.approx([-1.9, -1.0, 0.0])
    assert monte_carlo_returns(3, False, DISCOUNT) == pytest.approx([-10.0] * 3)


def test_returns_agree_with_the_targets_of_a_perfect_critic() -> None:
    """The value that the Bellman equation gives on a success is its Monte-Carlo return."""
    steps = 9
    returns = monte_carlo_returns(steps, True, DISCOUNT)
    rewards, discounts, offset = n_step_targets(steps, True, np.ones(steps, bool), DISCOUNT, 3)
    later = np.append(returns, 0.0)[np.arange(steps) + offset]
    assert rewards + discounts * later == pytest.approx(returns, abs=1e-5)


def test_samples_are_rows_of_one_episode() -> None:
    memory, lengths = ReplayMemory(1000), {}
    for number, steps in enumerate([5, 1, 12, 3]):
        memory.add(make_episode(number, steps))
        lengths[number] = steps
    assert len(memory) == 21 and memory.episodes == 4
    batch = memory.sample(2000, np.random.default_rng(0))
    check_consistent(batch, lengths)
    drawn = {(int(n), int(t)) for n, t in batch.proprioception}
    assert len(drawn) == 21, "each transition can be drawn, and no last observation"


def test_the_ring_forgets_the_oldest_and_stays_within_its_bound() -> None:
    memory, lengths = ReplayMemory(50), {}
    random = np.random.default_rng(1)
    for number in range(200):
        steps = int(random.integers(1, 20))
        lengths[number] = steps
        memory.add(make_episode(number, steps))
        batch = memory.sample(64, random)
        check_consistent(batch, lengths)
        assert f"episode-{number}" in memory
        held = [n for n in range(number + 1) if f"episode-{n}" in memory]
        assert held == list(range(held[0], number + 1)), "only the newest are held, without a gap"
        assert sum(lengths[n] for n in held) == len(memory) and memory.episodes == len(held)
        assert sum(lengths[n] + 1 for n in held) <= 50


def test_an_episode_longer_than_the_memory_is_refused() -> None:
    memory = ReplayMemory(5)
    sentence = r"Episode .* has 6 steps .* memory of 5: set replay\.online_capacity, or .* to 6 or more"
    with pytest.raises(RobofumeError, match=sentence):
        memory.add(make_episode(0, 5))
    memory.add(make_episode(0, 4))
    assert len(memory) == 4


def test_a_bonus_counts_by_its_weight_and_goes_with_its_episode() -> None:
    memory = ReplayMemory(20)
    memory.add(make_episode(0, 9))
    assert memory.episode_ids(without_bonus=True) == ["episode-0"]
    for name in ("episode-0", "episode-9"):
        memory.set_bonus(name, np.full(10, 2.0), np.full(10, 3.0))
    assert memory.episode_ids(without_bonus=True) == []
    plain, shaped = (memory.sample(64, np.random.default_rng(0), weight) for weight in (0.0, 0.5))
    assert shaped.rewards == pytest.approx(plain.rewards + 1.0) and shaped.returns == pytest.approx(plain.returns + 1.5)
    for number in (1, 2):  # the second one takes the slots of the first of all
        memory.add(make_episode(number, 9))
    assert memory.episode_ids(without_bonus=True) == memory.episode_ids() == ["episode-1", "episode-2"]
    plain, shaped = (memory.sample(64, np.random.default_rng(0), weight) for weight in (0.0, 0.5))
    assert (shaped.rewards == plain.rewards).all() and (shaped.returns == plain.returns).all()
    for number in (1, 2):
        memory.set_bonus(f"episode-{number}", np.full(10, 2.0 * number), np.full(10, 3.0 * number))
    shaped = memory.sample(64, np.random.default_rng(0), 0.5)
    assert shaped.rewards == pytest.approx(plain.rewards + plain.proprioception[:, 0])


def test_an_episode_without_a_bonus_that_is_forgotten_waits_for_none() -> None:
    memory = ReplayMemory(20)
    for number in range(3):
        memory.add(make_episode(number, 9))
    assert memory.episode_ids(without_bonus=True) == ["episode-1", "episode-2"]


def test_what_is_held_is_told_and_copied() -> None:
    memory = ReplayMemory(20)
    memory.add(make_episode(0, 3))
    for number in (1, 2):
        memory.add(make_episode(number, 2))
    held, sentences = memory.contents()
    assert held == [("episode-0", 4, 0), ("episode-1", 3, 1), ("episode-2", 3, 0)]
    assert sentences[:, 0].tolist() == [0.0, 1.0]
    assert memory.observations("episode-9") is None
    images, proprioception, offset = memory.observations("episode-1")
    assert proprioception.tolist() == [[1, 0], [1, 1], [1, 2]] and offset.tolist() == [2, 1, 0]
    images[:] = 9
    assert memory.observations("episode-1")[0].max() < 9


def test_sampling_is_deterministic_under_a_seed() -> None:
    memory = ReplayMemory(100)
    memory.add(make_episode(0, 30))
    first, second = (memory.sample(16, np.random.default_rng(3)) for _ in range(2))
    assert (first.proprioception == second.proprioception).all()


def test_mixed_batches_have_the_given_share() -> None:
    offline, online = ReplayMemory(100), ReplayMemory(100)
    offline.add(make_episode(0, 30))
    random = np.random.default_rng(0)
    assert (sample_mixed(offline, online, 0.5, 32, random).proprioception[:, 0] == 0).all(), "nothing online yet"
    online.add(make_episode(1, 30))
    batch = sample_mixed(offline, online, 0.25, 32, random)
    assert (batch.proprioception[:, 0] == 0).sum() == 8
    check_consistent(batch, {0: 30, 1: 30})
    assert (sample_mixed(offline, online, 1.0, 32, random).proprioception[:, 0] == 0).all()
    assert (sample_mixed(offline, online, 0.0, 32, random).proprioception[:, 0] == 1).all()
    assert (sample_mixed(ReplayMemory(10), online, 0.5, 32, random).proprioception[:, 0] == 1).all(), "nothing recorded"
    with pytest.raises(ValueError, match="no transition"):
        ReplayMemory(10).sample(1, random)


def test_each_memory_gives_its_share_of_a_batch() -> None:
    memories = [ReplayMemory(100) for _ in range(3)]
    for number, memory in enumerate(memories):
        memory.add(make_episode(number, 30 - 9 * number))
    random = np.random.default_rng(0)
    batch = sample_shares(memories, [1 / 3, 1 / 3, 1 / 3], 32, random)
    counts = [(batch.proprioception[:, 0] == number).sum() for number in range(3)]
    assert sum(counts) == 32 and set(counts) == {10, 11}
    check_consistent(batch, {0: 30, 1: 21, 2: 12})
    assert (sample_shares(memories, [0.0, 1.0, 0.0], 8, random).proprioception[:, 0] == 1).all()
    with pytest.raises(ValueError, match="no transition"):
        sample_shares([*memories, ReplayMemory(10)], [0.25] * 4, 32, random)


def test_batches_may_be_mixed_in_proportion_to_what_is_held() -> None:
    offline, online = ReplayMemory(200), ReplayMemory(200)
    offline.add(make_episode(0, 90))
    random = np.random.default_rng(0)
    assert len(sample_mixed(offline, online, -1.0, 32, random).rewards) == 32, "nothing online yet"
    online.add(make_episode(1, 30))
    drawn = [(sample_mixed(offline, online, -1.0, 32, random).proprioception[:, 0] == 0).mean() for _ in range(100)]
    assert np.mean(drawn) == pytest.approx(0.75, abs=0.04)


def test_adding_while_sampling() -> None:
    memory, lengths = ReplayMemory(300), {n: 1 + n % 17 for n in range(3000)}
    memory.add(make_episode(0, lengths[0]))
    failures: list[Exception] = []
    done = threading.Event()

    def sample() -> None:
        random = np.random.default_rng(0)
        try:
            while not done.is_set():
                check_consistent(memory.sample(64, random), lengths)
        except Exception as error:  # noqa: BLE001  whatever it was, the test shows it
            failures.append(error)

    threads = [threading.Thread(target=sample) for _ in range(2)]
    for thread in threads:
        thread.start()
    for number in range(1, 1500):
        memory.add(make_episode(number, lengths[number]))
    done.set()
    for thread in threads:
        thread.join()
    assert not failures
