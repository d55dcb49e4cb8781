"""From episodes to transitions, pre-training, practice and published weights."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from robofume_common.action import ActionSpace
from robofume_common.enums import Direction, Outcome, Phase, Verdict
from robofume_common.errors import RobofumeError
from robofume_data.episode import EpisodeData
from robofume_policy.checkpoint import CheckpointStore
from robofume_policy.config import (
    AgentConfig,
    NetworkConfig,
    NoveltyConfig,
    OnlineConfig,
    PretrainingConfig,
    ReplayConfig,
)
from robofume_policy.dataset import EpisodeConverter
from robofume_policy.language import InstructionEncoder
from robofume_policy.metrics import UPDATES_PER_SECOND, read_metrics
from robofume_policy.networks import Policy
from robofume_policy.online_learner import OnlineLearner
from robofume_policy.policy_network import architecture_hash, load_policy, serialise_policy
from robofume_policy.pretraining import fill_memory, pretrain

SPACE = ActionSpace()
NETWORK = NetworkConfig(image_size=40, hidden_size=32, image_features=16)
AGENT = AgentConfig(batch_size=8, discount=0.9)
UPDATES = PretrainingConfig(updates=6, checkpoint_every=2, metrics_every=2)


def make_episode(
    number: int = 0,
    steps: int = 8,
    outcome: Outcome = Outcome.SUCCESS,
    success_index: int | None = None,
    size: int = 40,
) -> EpisodeData:
    random = np.random.default_rng(number)
    if success_index is None:
        success_index = steps - 1 if outcome == Outcome.SUCCESS else -1
    verdicts = np.full(steps + 1, Verdict.FAILURE, np.uint8)
    if success_index >= 0:
        verdicts[success_index] = Verdict.SUCCESS
    direction = Direction.FORWARD if number % 2 else Direction.BACKWARD
    return EpisodeData(
        episode_id=f"episode-{number}", task="pot", phase=Phase.FORWARD if number % 2 else Phase.BACKWARD,
        instruction="put the pot into the tray" if number % 2 else "take the pot out of the tray",
        direction=direction, outcome=outcome, success_index=success_index, assisted_reset_before=False,
        images=random.integers(0, 256, (steps + 1, size, size, 3), dtype=np.uint8),
        proprioception=random.normal(size=(steps + 1, 7)).astype(np.float32),
        actions=SPACE.to_physical(random.uniform(-1, 1, (steps, 4))),
        actors=np.full(steps, 3, np.uint8), policy_versions=np.zeros(steps + 1, np.uint64),
        stamps=np.arange(steps + 1, dtype=np.int64), verdicts=verdicts,
        probabilities=np.zeros(steps + 1, np.float32), sources=np.zeros(steps + 1, np.uint8),
        forward_success=None, backward_success=None,
    )  # fmt: skip


def episodes(count: int = 6) -> list[EpisodeData]:
    return [make_episode(n, outcome=Outcome.TIMEOUT if n % 3 == 2 else Outcome.SUCCESS) for n in range(count)]


@pytest.fixture(scope="module")
def converter() -> EpisodeConverter:
    return EpisodeConverter(NETWORK, SPACE, InstructionEncoder(), discount=0.9, n_step=1)


def test_a_success_ends_at_its_index(converter: EpisodeConverter) -> None:
    episode = make_episode(steps=8, success_index=5)
    result = converter(episode)
    assert result is not None and result.transitions == 5 and len(result.images) == 6
    assert result.rewards[:5].tolist() == [-1, -1, -1, -1, 0]
    assert result.discounts[:5] == pytest.approx([0.9, 0.9, 0.9, 0.9, 0.0])
    assert result.returns[:5] == pytest.approx([-3.439, -2.71, -1.9, -1.0, 0.0])
    assert (result.imitation == 1).all()
    assert result.actions[:5] == pytest.approx(SPACE.to_normalised(episode.actions[:5]), abs=1e-6)
    assert (result.images == episode.images[:6]).all()


def test_a_timeout_bootstraps_and_counts_as_failing_for_ever(converter: EpisodeConverter) -> None:
    result = converter(make_episode(steps=4, outcome=Outcome.TIMEOUT))
    assert result is not None and result.transitions == 4
    assert (result.rewards[:4] == -1).all() and result.discounts[:4] == pytest.approx([0.9] * 4)
    assert result.returns[:4] == pytest.approx([-10.0] * 4)
    assert (result.imitation == 0).all()


def test_unknown_verdicts_are_neither(converter: EpisodeConverter) -> None:
    episode = make_episode(steps=4, outcome=Outcome.TIMEOUT)
    verdicts = episode.verdicts.copy()
    verdicts[2] = Verdict.UNKNOWN
    result = converter(replace(episode, verdicts=verdicts))
    assert result is not None and result.next_offset.tolist() == [1, 0, 1, 1, 0]
    nothing_said = converter(replace(episode, verdicts=np.zeros(5, np.uint8)))
    assert nothing_said is not None and nothing_said.transitions == 4


def test_an_unknown_outcome_is_learnt_from_as_far_as_its_verdicts_are_known(converter: EpisodeConverter) -> None:
    episode = make_episode(steps=4, outcome=Outcome.UNKNOWN)
    verdicts = np.array([0, Verdict.FAILURE, 0, Verdict.FAILURE, 0], np.uint8)
    result = converter(replace(episode, verdicts=verdicts))
    assert result is not None and result.next_offset.tolist() == [1, 0, 1, 0, 0]
    assert result.rewards[[0, 2]].tolist() == [-1, -1] and (result.discounts[[0, 2]] > 0).all()
    assert (result.imitation == 0).all()
    # The least that any return can be: nothing is held up by a success that nobody saw.
    assert result.returns[:4] == pytest.approx([-10.0] * 4)
    assert converter(replace(episode, verdicts=np.zeros(5, np.uint8))) is None


def test_what_nobody_knows_is_left_out_of_the_memory_and_counted(converter: EpisodeConverter, caplog) -> None:
    unknown = replace(make_episode(steps=4, outcome=Outcome.UNKNOWN), verdicts=np.zeros(5, np.uint8))
    assert len(fill_memory([unknown, make_episode(number=1, steps=4)], converter, 100)) == 3
    assert "1 episodes are left out" in caplog.text
    with pytest.raises(RobofumeError, match="nobody knows how they ended"):
        fill_memory([unknown], converter, 100)


def test_what_is_not_learnt_from(converter: EpisodeConverter) -> None:
    assert converter(make_episode(outcome=Outcome.ABORTED)) is None
    assert converter(make_episode(steps=1, outcome=Outcome.INTERVENTION)) is None
    cut_short = converter(make_episode(steps=5, outcome=Outcome.INTERVENTION))
    assert cut_short is not None and cut_short.transitions == 4 and (cut_short.discounts[:4] > 0).all()
    with pytest.raises(RobofumeError, match="40x40"):
        converter(make_episode(size=48))


def spoilt(name: str) -> EpisodeData:
    episode = make_episode(3)
    if name == "proprioception":
        wrong = np.zeros((9, 9), np.float32)
    elif name == "actors":
        wrong = episode.actors[:-2]
    elif name == "images":
        wrong = episode.images / np.float32(255.0)
    else:
        wrong = episode.actions * np.float32("nan")
    return replace(episode, **{name: wrong})


@pytest.mark.parametrize("name", ["proprioception", "actors", "images", "actions"])
def test_an_episode_that_is_not_whole_is_named(tmp_path, converter: EpisodeConverter, name: str) -> None:
    with pytest.raises(RobofumeError, match=rf"'episode-3' is not whole: {name}"):
        converter(spoilt(name))
    with pytest.raises(RobofumeError, match=rf"'episode-3' is not whole: {name}"):
        run(tmp_path, data=[make_episode(1), spoilt(name)])


def test_a_network_of_another_size_than_the_data_is_named(tmp_path) -> None:
    for network, said in (
        (replace(NETWORK, action_dimension=5), "4 components, but the network's action_dimension is 5"),
        (replace(NETWORK, proprioception_dimension=9), "7 values of proprioception a step, but .* is 9: set it to 7"),
        (replace(NETWORK, instruction_dimension=12), "384 values a sentence, but .* is 12: set it to 384"),
    ):
        with pytest.raises(RobofumeError, match=said):
            pretrain(episodes(), tmp_path, action_space=SPACE, network=network, agent=AGENT, config=UPDATES)


def run(directory, data=None, **changes):
    return pretrain(
        data or episodes(), directory, action_space=SPACE, network=NETWORK, agent=AGENT,
        config=replace(UPDATES, **changes), metrics_directory=directory / "metrics",
    )  # fmt: skip


def test_pretraining_interrupted_ends_with_the_same_weights(tmp_path) -> None:
    whole = run(tmp_path / "whole")
    calls = []

    class Stop(Exception):
        pass

    def stop(done, total, metrics):
        calls.append((done, total))
        assert set(metrics) == set(whole.agent.metric_names)
        if done == 4:
            raise Stop

    with pytest.raises(Stop):
        pretrain(
            episodes(), tmp_path / "cut", action_space=SPACE, network=NETWORK, agent=AGENT, config=UPDATES,
            metrics_directory=tmp_path / "cut" / "metrics", progress=stop,
        )  # fmt: skip
    assert calls == [(2, 6), (4, 6)]
    assert CheckpointStore(tmp_path / "cut").numbers() == [2]
    resumed = run(tmp_path / "cut")
    for name, tensor in whole.state_dict()[0].items():
        assert torch.equal(tensor, resumed.state_dict()[0][name]), name
    first, second = (read_metrics(tmp_path / name / "metrics" / "pretraining.csv") for name in ("whole", "cut"))
    assert all(row.pop(UPDATES_PER_SECOND) > 0.0 for row in first + second)
    assert first == second and [row["updates"] for row in first] == [2, 4, 6]


def test_pretraining_seeds_and_settings(tmp_path) -> None:
    first, second, third = run(tmp_path / "a"), run(tmp_path / "b"), run(tmp_path / "c", seed=1)
    assert first.weights() == second.weights()
    assert first.weights() != third.weights()
    with pytest.raises(RobofumeError, match=r"other settings or data \(seed\)"):
        run(tmp_path / "a", seed=1)
    with pytest.raises(RobofumeError, match="no episode"):
        run(tmp_path / "d", data=[make_episode(outcome=Outcome.ABORTED)])


def test_demonstrations_slower_than_what_counts_as_waiting_are_warned_of(tmp_path, caplog) -> None:
    slow = [replace(episode, actions=SPACE.to_physical(np.full((8, 4), 0.2))) for episode in episodes()]
    run(tmp_path / "slow", data=slow, updates=2)
    assert "slower than 0.20" in caplog.text and "exploration_still to about 0.10" in caplog.text
    caplog.clear()
    run(tmp_path / "usual", updates=2)
    assert "exploration_still" not in caplog.text


def test_a_training_with_other_actions_or_sentences_is_not_continued(tmp_path) -> None:
    run(tmp_path, updates=2)
    smaller = ActionSpace(translation_limit=0.02)
    with pytest.raises(RobofumeError, match="other settings"):
        pretrain(episodes(), tmp_path, action_space=smaller, network=NETWORK, agent=AGENT, config=UPDATES)
    store = CheckpointStore(tmp_path)
    updates, tensors, state = store.load()
    store.save(updates, tensors, {**state, "language": "another model"})
    with pytest.raises(RobofumeError, match="other settings"):
        run(tmp_path)


def test_a_training_that_blows_up_says_so_and_keeps_the_checkpoint_before(tmp_path, monkeypatch) -> None:
    run(tmp_path, updates=2)
    monkeypatch.setattr(
        "robofume_policy.agents.cal_ql.CalQL.loss", lambda self, _batch: (
            sum(p.sum() for p in self.network.parameters()) * float("nan"), {"losses/bellman": torch.tensor(np.nan)}
        )
    )  # fmt: skip
    with pytest.raises(RobofumeError, match="no longer finite"):
        run(tmp_path)
    assert CheckpointStore(tmp_path).numbers() == [2]


@pytest.fixture
def learner(tmp_path) -> OnlineLearner:
    run(tmp_path / "pretrained")
    return new_learner(tmp_path)


def new_learner(
    tmp_path, offline: int = 6, novelty: NoveltyConfig | None = None, online_folder: str = ""
) -> OnlineLearner:
    config = OnlineConfig(updates_per_step=0.5, warm_up_steps=10)
    replay = ReplayConfig(online_capacity=200, online_folder=online_folder)
    return OnlineLearner.from_pretrained(tmp_path / "pretrained", episodes(offline), config, replay, novelty=novelty)


def test_updates_follow_the_steps(learner: OnlineLearner) -> None:
    assert (learner.steps, learner.updates, learner.updates_due()) == (0, 0, 0)
    learner.note_steps(10)
    assert learner.updates_due() == 0
    learner.note_steps(9)
    assert learner.target_updates == 4 and learner.updates_due() == 4
    metrics = learner.train(3)
    assert set(metrics) == set(learner.metric_names) and all(np.isfinite(list(metrics.values())))
    assert learner.updates == 3 and learner.updates_due() == 1
    assert learner.trained.agent.conservative_weight == AGENT.conservative_weight_online


def test_episodes_are_taken_in_once(learner: OnlineLearner) -> None:
    assert learner.add_episode(make_episode(100, steps=8)) == 7
    assert learner.add_episode(make_episode(100, steps=8)) == 0
    assert learner.add_episode(make_episode(101, outcome=Outcome.ABORTED)) == 0
    assert len(learner.online) == 7 and learner.online.episodes == 1


def test_practice_on_the_disk_teaches_the_same(tmp_path, learner: OnlineLearner, monkeypatch) -> None:
    on_disk = new_learner(tmp_path, online_folder=str(tmp_path / "practice"))
    with monkeypatch.context() as full:
        full.setattr("robofume_policy.disk_array.DISK_FLOOR", 2**62)
        with pytest.raises(RobofumeError, match="make room"):
            on_disk.add_episode(make_episode(100))
    assert on_disk.episodes == 1 and on_disk.online.episodes == 0, "it waits for room"
    learner.add_episode(make_episode(100))
    for one in (learner, on_disk):
        one.note_steps(30)
        one.train(3)
    assert on_disk.online.episodes == 1 and isinstance(on_disk.online._storage["images"].base, np.memmap)
    assert on_disk.weights() == learner.weights()


def test_a_killed_learner_continues_exactly(tmp_path, learner: OnlineLearner) -> None:
    learner.note_steps(30, ("practice-000002", 3))
    learner.add_episode(make_episode(100))
    learner.train(5)
    learner.save(tmp_path / "checkpoints")
    other = new_learner(tmp_path)
    assert other.restore(tmp_path / "checkpoints") and other.newest_episode == ("practice-000002", 3)
    other.add_episode(make_episode(100))
    assert (other.steps, other.updates, other.updates_due()) == (30, 5, learner.updates_due())
    assert learner.train(3) == other.train(3)
    assert learner.weights() == other.weights()
    assert not new_learner(tmp_path).restore(tmp_path / "empty")


def test_a_learner_that_explores_continues_exactly(tmp_path) -> None:
    run(tmp_path / "pretrained")
    novelty = NoveltyConfig(
        novelty_weight=1.0, novelty_decay_updates=20, novelty_recompute_every=4, novelty_hidden_size=16
    )
    learner = new_learner(tmp_path, novelty=novelty)
    learner.add_episode(make_episode(100))
    first = learner.train(5)
    assert set(first) == set(learner.metric_names)
    assert first["novelty/bonus"] > 0.0 and first["novelty/weight"] == pytest.approx(0.9)
    learner.add_episode(make_episode(101))
    learner.train(1)
    learner.save(tmp_path / "checkpoints")
    other = new_learner(tmp_path, novelty=novelty)
    assert other.restore(tmp_path / "checkpoints")
    for number in (100, 101):
        other.add_episode(make_episode(number))
    assert learner.train(6) == other.train(6)
    assert learner.weights() == other.weights()
    plain = new_learner(tmp_path)
    assert plain.restore(tmp_path / "checkpoints"), "what has explored may go on without the bonus"
    plain.save(tmp_path / "plain")
    with pytest.raises(RobofumeError, match="without a novelty bonus"):
        new_learner(tmp_path, novelty=novelty).restore(tmp_path / "plain")


def test_without_a_weight_there_is_no_bonus(tmp_path) -> None:
    run(tmp_path / "pretrained")
    plain, off = new_learner(tmp_path), new_learner(tmp_path, novelty=NoveltyConfig())
    assert plain.train(3) == off.train(3) and plain.metric_names == off.metric_names
    assert plain.weights() == off.weights()


def test_an_agent_that_looks_at_no_reward_takes_no_bonus(tmp_path) -> None:
    cloning, short = replace(AGENT, algorithm="bc"), replace(UPDATES, updates=1)
    pretrain(episodes(2), tmp_path, action_space=SPACE, network=NETWORK, agent=cloning, config=short)
    with pytest.raises(RobofumeError, match="looks at no reward: set novelty_weight to 0"):
        OnlineLearner.from_pretrained(tmp_path, episodes(2), novelty=NoveltyConfig(novelty_weight=0.5))
    OnlineLearner.from_pretrained(tmp_path, episodes(2), novelty=NoveltyConfig())


@pytest.mark.parametrize("algorithm", ["cal_ql", "cql", "iql", "bc"])
def test_a_policy_without_pictures(tmp_path, algorithm: str) -> None:
    """Pictures of any size are left out; the rest is the same: train, publish, act, practise."""
    network, agent = replace(NETWORK, encoder="none"), replace(AGENT, algorithm=algorithm)
    recorded = [make_episode(n, size=24) for n in range(4)]
    trained = pretrain(
        recorded, tmp_path, action_space=SPACE, network=network, agent=agent, config=PretrainingConfig(updates=3)
    )
    assert not any(name.startswith("encoder") for name in trained.agent.policy_tensors())
    policy = load_policy(*trained.weights())
    episode, embedding = recorded[1], InstructionEncoder()(recorded[1].instruction)
    actions = [policy.act(i, episode.proprioception[0], embedding) for i in (episode.images[0], np.zeros((0, 0, 3)))]
    assert (actions[0] == actions[1]).all() and actions[0].shape == (4,)
    assert (policy.act(episode.images[0], episode.proprioception[1], embedding) != actions[0]).any()
    learner = OnlineLearner.from_pretrained(tmp_path, recorded)
    learner.add_episode(make_episode(100, size=24))
    assert all(np.isfinite(list(learner.train(2).values())))
    assert learner.online.sample(2, np.random.default_rng(0)).images.nbytes == 0


def test_a_training_from_before_a_setting_existed_continues(tmp_path) -> None:
    run(tmp_path, updates=2)
    store = CheckpointStore(tmp_path)
    updates, tensors, state = store.load()
    for part, name in (("agent", "entropy_backup"), ("network", "encoder"), ("network", "further_cameras")):
        del state["pretraining"][part][name], state[part][name]
    store.save(updates, tensors, state)
    assert run(tmp_path).agent.updates == 6


def test_a_missing_pretraining_is_named(tmp_path) -> None:
    with pytest.raises(RobofumeError, match="run `robofume pretrain`"):
        OnlineLearner.from_pretrained(tmp_path, episodes())


def test_published_weights_act_as_the_averaged_policy(learner: OnlineLearner) -> None:
    learner.train(3)
    data, architecture = learner.weights()
    policy = load_policy(data, architecture)
    assert policy.architecture == architecture and policy.language == "minilm"
    episode, embedding = make_episode(5), InstructionEncoder()("put the pot into the tray")
    action = policy.act(episode.images[0], episode.proprioception[0], embedding)
    assert action.shape == (4,) and action.dtype == np.float32 and (np.abs(action) <= 1).all()
    expected = learner.trained.agent.act(
        {"images": episode.images[:1], "proprioception": episode.proprioception[:1], "instructions": embedding[None]}
    )
    assert action == pytest.approx(expected[0], abs=1e-5)
    noise = {}
    for seed in (1, 1, 2):
        policy, random = load_policy(data), np.random.default_rng(seed)
        actions = [
            policy.act(episode.images[0], episode.proprioception[0], embedding, False, random) for _ in range(400)
        ]
        assert seed not in noise or (noise[seed] == np.array(actions) - action).all()
        noise[seed] = np.array(actions) - action
    assert (noise[1] != noise[2]).any()
    assert policy.explorer.settings == learner.trained.exploration


def test_checkpoints_of_another_architecture_are_told_in_one_sentence(tmp_path, learner: OnlineLearner) -> None:
    wider = replace(NETWORK, hidden_size=48)
    other, short = tmp_path / "wider", replace(UPDATES, updates=1)
    pretrain(episodes(2), other, action_space=SPACE, network=wider, agent=AGENT, config=short)
    OnlineLearner.from_pretrained(other, episodes(2)).save(other / "practice")
    with pytest.raises(RobofumeError, match=r"belong to another policy: its .* expected") as raised:
        learner.restore(other / "practice")
    assert "\n" not in str(raised.value)


def test_bad_weights_are_refused(learner: OnlineLearner) -> None:
    data, architecture = learner.weights()
    for bad in (b"", data[:100], data[:-8]):
        with pytest.raises(RobofumeError, match="damaged"):
            load_policy(bad)
    with pytest.raises(RobofumeError, match="architecture"):
        load_policy(data, "0" * 16)
    other = replace(NETWORK, hidden_size=16)
    assert architecture_hash(other) != architecture
    wrong = serialise_policy(Policy(NETWORK).state_dict(), NETWORK).replace(b"hidden_size", b"hidden_sise")
    with pytest.raises(RobofumeError, match=r"hidden_sise|another version"):
        load_policy(wrong)
    lacking = data.replace(b'\\"exploration\\"', b'\\"exploratiom\\"')
    assert lacking != data
    with pytest.raises(RobofumeError, match="another version"):
        load_policy(lacking)
    with pytest.raises(RobofumeError, match="40x40x3"):
        load_policy(data).act(np.zeros((64, 64, 3), np.uint8), np.zeros(7), np.zeros(384))
