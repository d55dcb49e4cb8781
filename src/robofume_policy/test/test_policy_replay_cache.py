"""The replay cache: the same as memory filled from the bags, made once, anew when they change, shared by processes."""

import dataclasses
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from robofume_common.action import ActionSpace
from robofume_common.enums import Direction, Outcome, Phase, Verdict
from robofume_common.errors import RobofumeError
from robofume_data.bag_reader import read_episodes
from robofume_data.episode import EpisodeData
from robofume_data.episode_writer import write_episodes
from robofume_data.labels import read_labelled, write_labels
from robofume_policy.config import AgentConfig, NetworkConfig, PretrainingConfig
from robofume_policy.dataset import EpisodeConverter
from robofume_policy.pretraining import fill_memory, pretrain
from robofume_policy.replay import ReplayMemory
from robofume_policy.replay_cache import ReplayCache

SPACE = ActionSpace()
NETWORK = NetworkConfig(image_size=40, hidden_size=16, image_features=8, instruction_dimension=4)


class Language:
    """A sentence is its length."""

    def __init__(self, name: str = "length") -> None:
        self.model_name = name

    def __call__(self, sentence: str) -> np.ndarray:
        return np.full(4, len(sentence), np.float32)


CONVERTER = EpisodeConverter(NETWORK, SPACE, Language(), 0.9, 3)


def episode(number: int, steps: int = 8, outcome: Outcome = Outcome.SUCCESS) -> EpisodeData:
    random, count = np.random.default_rng(number), steps + 1
    return EpisodeData(
        episode_id=f"e{number}", task="pot", phase=Phase.FORWARD, direction=Direction.FORWARD,
        instruction="put the pot into the tray" if number % 2 else "take it out", assisted_reset_before=False,
        outcome=outcome, success_index=steps if outcome == Outcome.SUCCESS else -1,
        images=random.integers(0, 256, (count, 40, 40, 3), dtype=np.uint8),
        proprioception=random.normal(size=(count, 7)).astype(np.float32),
        actions=SPACE.to_physical(random.uniform(-1, 1, (steps, 4)).astype(np.float32)),
        actors=np.ones(steps, np.uint8), policy_versions=np.zeros(count, np.uint64),
        stamps=np.arange(count, dtype=np.int64),
        verdicts=np.full(count, 0 if outcome == Outcome.UNKNOWN else Verdict.FAILURE, np.uint8),
        probabilities=np.zeros(count, np.float32), sources=np.zeros(count, np.uint8),
    )  # fmt: skip


EPISODES = [
    episode(0), episode(1, 5, Outcome.TIMEOUT), episode(2, 4, Outcome.ABORTED), episode(3, 3),
    episode(4, 4, Outcome.UNKNOWN), episode(0, 2), episode(5, 7),
]  # fmt: skip


@pytest.fixture
def bag(tmp_path) -> Path:
    write_episodes(tmp_path / "demos.mcap", EPISODES[:4])
    return tmp_path / "demos.mcap"


def must_not_be_read():
    pytest.fail("the bags were read again")
    yield


def assert_same(one: ReplayMemory, other: ReplayMemory, bonus_weight: float = 0.0) -> None:
    assert (len(one), one.episodes, one.episode_ids()) == (len(other), other.episodes, other.episode_ids())
    for a, b in zip(one.statistics(), other.statistics(), strict=True):
        np.testing.assert_array_equal(a, b)
    batches = [memory.sample(200, np.random.default_rng(7), bonus_weight) for memory in (one, other)]
    for field in dataclasses.fields(batches[0]):
        a, b = (getattr(batch, field.name) for batch in batches)
        assert a.dtype == b.dtype and type(a) is type(b)
        np.testing.assert_array_equal(a, b, err_msg=field.name)


@pytest.mark.parametrize("capacity", [1000, 20, 14])
@pytest.mark.parametrize("encoder", ["convolution", "none"])
def test_it_is_what_memory_would_be(bag, tmp_path, capacity, encoder):
    """Also where the oldest episodes had to make room, where an episode comes twice, and without pictures."""
    network = dataclasses.replace(NETWORK, encoder=encoder)
    converter, times = EpisodeConverter(network, SPACE, Language(), 0.9, 3), {"e3": 4}
    plain = fill_memory(EPISODES, converter, capacity, times)
    for episodes in (EPISODES, must_not_be_read()):
        cached = fill_memory(episodes, converter, capacity, times, cache=ReplayCache(tmp_path / "replay", [bag]))
        assert_same(cached, plain)
        newest = cached.episode_ids()[-1]
        for memory in (cached, plain):
            for a, b in zip(memory.observations(newest), plain.observations(newest), strict=True):
                np.testing.assert_array_equal(a, b)
            memory.set_bonus(newest, np.arange(8, dtype=np.float32), np.arange(8, dtype=np.float32))
        assert_same(cached, plain, bonus_weight=0.5)
        with pytest.raises(ValueError, match="takes in no episode"):
            cached.add(converter(episode(9)))
        plain = fill_memory(EPISODES, converter, capacity, times)


def test_episodes_of_two_runs_that_have_the_same_id_are_both_learnt_from(tmp_path):
    first = dataclasses.replace(episode(0, 8), closed=1)
    other = dataclasses.replace(episode(7, 5), episode_id=first.episode_id, closed=2)
    given = [first, other, first, other]  # a copy of either is the same episode
    plain = fill_memory(given, CONVERTER, 100)
    assert plain.episode_ids() == [first.episode_id, other.key] and len(plain) == 8 + 5
    for episodes in (given, must_not_be_read()):
        cached = fill_memory(episodes, CONVERTER, 100, cache=ReplayCache(tmp_path / "replay", []))
        assert_same(cached, plain)


def test_training_on_it_is_the_same_bit_for_bit(bag, tmp_path, monkeypatch):
    monkeypatch.setattr("robofume_policy.pretraining.InstructionEncoder", Language)

    def weights(name: str, episodes, cache=None) -> dict[str, torch.Tensor]:
        trained = pretrain(
            episodes, tmp_path / name, action_space=SPACE, network=NETWORK,
            agent=AgentConfig(batch_size=8, discount=0.9), config=PretrainingConfig(updates=4), cache=cache,
        )  # fmt: skip
        return trained.state_dict()[0]

    plain = weights("plain", read_episodes(bag))
    for name, episodes in (("made", read_episodes(bag)), ("mapped", must_not_be_read())):
        cached = weights(name, episodes, ReplayCache(tmp_path / "replay", [bag]))
        assert plain.keys() == cached.keys()
        assert all(torch.equal(plain[key], cached[key]) for key in plain)


def test_a_bag_that_changes_makes_it_anew(bag, tmp_path):
    folder = tmp_path / "replay"
    old = ReplayCache(folder, [bag]).memory(read_episodes(bag), CONVERTER, 100).memory
    before = old.sample(50, np.random.default_rng(0))
    other_settings = EpisodeConverter(NETWORK, SPACE, Language(), 0.9, 1)
    one_step = ReplayCache(folder, [bag]).memory(read_episodes(bag), other_settings, 100).memory
    assert one_step.sample(50, np.random.default_rng(0)).discounts.max() == pytest.approx(0.9)
    assert len(entries(folder)) == 2
    bag.unlink()
    write_episodes(bag, [episode(5, 7)])
    cached = fill_memory(read_episodes(bag), CONVERTER, 100, cache=ReplayCache(folder, [bag]))
    assert_same(cached, fill_memory(read_episodes(bag), CONVERTER, 100))
    assert len(entries(folder)) == 1, "what belongs to no bag any more is removed"
    after = old.sample(50, np.random.default_rng(0))
    np.testing.assert_array_equal(before.images, after.images)  # who has it mapped keeps it
    (second := tmp_path / "second.mcap").write_bytes(bag.read_bytes())
    ReplayCache(folder, [bag, second]).memory(EPISODES, CONVERTER, 100)
    assert len(entries(folder)) == 2


def test_a_success_that_a_person_denies_is_a_failure_in_memory_and_in_the_cache(tmp_path):
    run = tmp_path / "lid"
    (run / "bags" / "practice").mkdir(parents=True)
    bag = run / "bags" / "practice" / "practice_0000.mcap"
    write_episodes(bag, [episode(0)])

    def batch(cache=None):
        memory = fill_memory(read_labelled([bag]), CONVERTER, 100, cache=cache)
        return memory.sample(50, np.random.default_rng(0))

    cache = ReplayCache(tmp_path / "replay", [bag])
    called = batch(cache)
    assert called.discounts.min() == 0.0 and called.returns.max() == 0.0 and called.imitation.all()
    write_labels(run / "labels.json", {"e0": {-1: Verdict.FAILURE}})
    for denied in (batch(), batch(cache)):
        assert denied.discounts.min() > 0.0 and not denied.imitation.any()
        np.testing.assert_allclose(denied.returns, -10.0, rtol=1e-6)  # of failing for ever
        assert denied.rewards.max() <= -1.0
    assert len(entries(tmp_path / "replay")) == 1, "what was made without the label is removed"


def entries(folder: Path) -> list[Path]:
    return [item for item in folder.iterdir() if item.is_dir()]


def test_what_an_earlier_version_made_is_removed(bag, tmp_path, monkeypatch):
    folder = tmp_path / "replay"
    ReplayCache(folder, [bag]).memory(read_episodes(bag), CONVERTER, 100)
    before = entries(folder)
    monkeypatch.setattr("robofume_policy.replay_cache.VERSION", 1000)
    ReplayCache(folder, [bag]).memory(read_episodes(bag), CONVERTER, 100)
    assert len(entries(folder)) == 1 and entries(folder) != before


def test_what_is_not_whole_is_made_again(bag, tmp_path):
    cache = ReplayCache(tmp_path / "replay", [bag])

    def killed():
        yield EPISODES[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.memory(killed(), CONVERTER, 100)
    assert entries(tmp_path / "replay") == []
    plain = fill_memory(EPISODES, CONVERTER, 100)
    assert_same(cache.memory(EPISODES, CONVERTER, 100).memory, plain)
    (entry,) = entries(tmp_path / "replay")
    left = entry.with_name("0123.unfinished")
    left.mkdir()
    os.truncate(entry / "images", 100)
    assert_same(cache.memory(EPISODES, CONVERTER, 100).memory, plain)
    assert not left.exists()
    assert cache.memory(must_not_be_read(), CONVERTER, 100).undecided == 1


def test_where_it_cannot_be_written_a_sentence_says_so(bag, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(RobofumeError, match="Cannot write the replay cache"):
        ReplayCache(tmp_path / "file", [bag]).memory(EPISODES, CONVERTER, 100)
    monkeypatch.setattr("robofume_policy.disk_array.DISK_FLOOR", 2**62)
    with pytest.raises(RobofumeError, match=r"MiB are free at .*: make room"):
        ReplayCache(tmp_path / "replay", [bag]).memory(EPISODES, CONVERTER, 100)
    assert entries(tmp_path / "replay") == []


PROCESS = """
import hashlib, sys, time
from pathlib import Path
import numpy as np
from robofume_common.action import ActionSpace
from robofume_data.bag_reader import read_episodes
from robofume_policy.config import NetworkConfig
from robofume_policy.dataset import EpisodeConverter
from robofume_policy.replay_cache import ReplayCache

class Language:
    model_name = "length"
    def __call__(self, sentence):
        return np.full(4, len(sentence), np.float32)

folder, bag = map(Path, sys.argv[1:])
def episodes():
    print("read", flush=True)
    time.sleep(1.0)
    yield from read_episodes(bag)

network = NetworkConfig(image_size=40, hidden_size=16, image_features=8, instruction_dimension=4)
converter = EpisodeConverter(network, ActionSpace(), Language(), 0.9, 3)
print("ready", flush=True)
sys.stdin.readline()
memory = ReplayCache(folder, [bag]).memory(episodes(), converter, 100).memory
print("drawn", hashlib.sha256(memory.sample(500, np.random.default_rng(1)).images.tobytes()).hexdigest())
maps = Path("/proc/self/maps").read_text().splitlines()
print(*(line for line in maps if str(folder) in line), sep="\\n", flush=True)
sys.stdin.readline()
"""


def test_two_processes_share_it(bag, tmp_path):
    words = [sys.executable, "-c", PROCESS, str(tmp_path / "replay"), str(bag)]
    processes = [subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:  # both at once
        process.stdin.write("\n")
        process.stdin.flush()
    said = [process.communicate("\n", timeout=600)[0] for process in processes]
    assert sum(text.count("read\n") for text in said) == 1, "one of them reads the bags, the other waits for it"
    drawn = {line for text in said for line in text.splitlines() if line.startswith("drawn")}
    assert len(drawn) == 1
    for text in said:
        kinds = {line.split()[1] for line in text.splitlines() if re.search(r"/images$", line)}
        assert kinds == {"r--s"}, "mapped for reading, and shared"
