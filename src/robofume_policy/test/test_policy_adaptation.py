"""Adapting a policy: all weights are taken over, half of every batch is new, and a killed one ends the same."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from robofume_common.action import ActionSpace
from robofume_common.enums import Direction, Outcome, Phase, Verdict
from robofume_common.errors import RobofumeError
from robofume_data.episode import EpisodeData
from robofume_policy.adaptation import adapt
from robofume_policy.checkpoint import CheckpointStore
from robofume_policy.config import (
    AdaptationConfig,
    AgentConfig,
    NetworkConfig,
    OnlineConfig,
    PretrainingConfig,
    ReplayConfig,
)
from robofume_policy.lineage import FILE, Generation, data_by_condition, read_lineage, write_lineage
from robofume_policy.online_learner import OnlineLearner
from robofume_policy.pretraining import pretrain

from robofume_policy import adaptation

SPACE = ActionSpace()
NETWORK = NetworkConfig(image_size=40, hidden_size=32, image_features=16)
AGENT = AgentConfig(batch_size=8, discount=0.9, mixed_precision=False)
CONFIG = AdaptationConfig(updates=6, checkpoint_every=2, metrics_every=2, learning_rate=1e-3)


def episodes(first: int, action: float, outcome: Outcome = Outcome.SUCCESS) -> list[EpisodeData]:
    """Four episodes in which the arm always does the same; where it is tells what."""
    made, steps = [], 6
    for number in range(first, first + 4):
        random = np.random.default_rng(number)
        made.append(
            EpisodeData(
                episode_id=f"episode-{number}", task="pot", phase=Phase.FORWARD, direction=Direction.FORWARD,
                instruction="put the pot into the tray", assisted_reset_before=False, outcome=outcome,
                success_index=steps if outcome == Outcome.SUCCESS else -1,
                images=random.integers(0, 256, (steps + 1, 40, 40, 3), dtype=np.uint8),
                proprioception=(random.normal(size=(steps + 1, 7)) + 2.0 * action).astype(np.float32),
                actions=SPACE.to_physical(np.full((steps, 4), action, np.float32)),
                actors=np.full(steps, 3, np.uint8), policy_versions=np.zeros(steps + 1, np.uint64),
                stamps=np.arange(steps + 1, dtype=np.int64), verdicts=np.full(steps + 1, Verdict.FAILURE, np.uint8),
                probabilities=np.zeros(steps + 1, np.float32), sources=np.zeros(steps + 1, np.uint8),
                forward_success=None, backward_success=None,
            )
        )  # fmt: skip
    return made


BASE, TARGET = episodes(0, 0.5), episodes(10, -0.5)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("source")
    pretrain(
        BASE, folder, action_space=SPACE, network=NETWORK, agent=AGENT,
        config=PretrainingConfig(updates=20, checkpoint_every=20),
    )  # fmt: skip
    return folder


def run(source, directory, base=BASE, target=TARGET, **changes):
    options = {"action_space": SPACE, "network": NETWORK, "config": CONFIG, **changes}
    return adapt(source, base, target, directory, **options)


def test_all_weights_are_taken_over_and_nothing_is_frozen(source, tmp_path, monkeypatch) -> None:
    seen = []
    original = adaptation.sample_shares
    monkeypatch.setattr(
        adaptation, "sample_shares", lambda *given: seen.append(original(*given).actions[:, 0]) or original(*given)
    )
    trained, _ = run(source, tmp_path, config=replace(CONFIG, updates=1, learning_rate=1e-5))
    before = CheckpointStore(source).load()[1]
    after = trained.agent.state_dict()[0]
    names = [name for name in before if name.startswith("network.") and before[name].is_floating_point()]
    moved = {name for name in names if not torch.equal(before[name], after[name])}
    assert all(torch.allclose(before[name], after[name], atol=1e-4) for name in names), "it begins at the source"
    for part in ("encoder.", "actor.", "critics."):
        assert any(name.startswith(f"network.{part}") for name in moved), part
    assert trained.agent.updates == 1
    assert [float((actions > 0).mean()) for actions in seen] == [0.5], "half of a batch is the policy's own data"


def test_the_new_condition_is_learnt(source, tmp_path) -> None:
    _, errors = run(source, tmp_path, config=replace(CONFIG, updates=60), agent={"averaging_rate": 0.1})
    assert errors["target"][1] < 0.8 * errors["target"][0]
    assert np.isfinite(errors["base"]).all()


def test_killed_and_continued_it_ends_with_the_same_weights(source, tmp_path) -> None:
    class Stop(Exception):
        pass

    def stop(done, total, metrics):
        if done == 4:
            raise Stop

    whole, errors = run(source, tmp_path / "whole")
    with pytest.raises(Stop):
        run(source, tmp_path / "cut", progress=stop)
    assert CheckpointStore(tmp_path / "cut").numbers() == [2]
    resumed, same = run(source, tmp_path / "cut")
    for name, tensor in whole.state_dict()[0].items():
        assert torch.equal(tensor, resumed.state_dict()[0][name]), name
    assert errors == same
    for changes in ({"config": replace(CONFIG, learning_rate=1e-5)}, {"data": {"target": "other"}}):
        with pytest.raises(RobofumeError, match="an adaptation of another policy"):
            run(source, tmp_path / "cut", **changes)


@pytest.fixture(scope="module")
def practised(source, tmp_path_factory):
    """The source after some practice."""
    folder = tmp_path_factory.mktemp("practised")
    learner = OnlineLearner.from_pretrained(source, BASE, OnlineConfig(warm_up_steps=0), ReplayConfig())
    for episode in episodes(20, 0.5):
        learner.add_episode(episode)
    learner.note_steps(4)
    learner.train(4)
    learner.save(folder)
    return folder


def test_a_policy_that_has_practised_goes_on_with_the_loss_of_practice_and_so_do_its_heirs(
    source, practised, tmp_path
) -> None:
    (agent, _), (first, _) = run(source, tmp_path / "offline"), run(practised, tmp_path / "first")
    heir, _ = run(tmp_path / "first", tmp_path / "second")
    assert agent.agent.value_weight == AGENT.value_weight_offline
    for trained in (first, heir):
        assert trained.agent.value_weight == AGENT.value_weight_online != AGENT.value_weight_offline
        assert trained.agent.conservative_weight == AGENT.conservative_weight_online
        assert {group["lr"] for group in trained.agent.optimiser.param_groups} == {CONFIG.learning_rate}


def test_that_one_killed_and_continued_ends_with_the_same_weights_too(practised, tmp_path) -> None:
    whole, _ = run(practised, tmp_path / "whole")
    run(practised, tmp_path / "cut", config=replace(CONFIG, updates=4))
    again, _ = run(practised, tmp_path / "cut")
    assert again.agent.value_weight == AGENT.value_weight_online
    for name, value in whole.state_dict()[0].items():
        assert torch.equal(value, again.state_dict()[0][name]), name


def test_what_cannot_be_adapted_is_named(source, tmp_path) -> None:
    with pytest.raises(RobofumeError, match="There is no policy in"):
        run(tmp_path / "nothing", tmp_path / "a")
    with pytest.raises(RobofumeError, match=r"another architecture: hidden_size 32 \(not 64\)"):
        run(source, tmp_path / "a", network=replace(NETWORK, hidden_size=64))
    with pytest.raises(RobofumeError, match="other actions"):
        run(source, tmp_path / "a", action_space=ActionSpace(translation_limit=0.02))
    with pytest.raises(RobofumeError, match="cannot go on by iql"):
        run(source, tmp_path / "a", agent={"algorithm": "iql"})
    with pytest.raises(RobofumeError, match="data of the new condition hold no episode"):
        run(source, tmp_path / "a", target=episodes(20, 0.0, Outcome.ABORTED))
    with pytest.raises(RobofumeError, match="data of the policy that is adapted hold no episode"):
        run(source, tmp_path / "a", base=[])
    assert not (tmp_path / "a").exists()


def test_agreement_is_unknown_without_a_success(source, tmp_path) -> None:
    _, errors = run(source, tmp_path, target=episodes(20, 0.0, Outcome.TIMEOUT), config=replace(CONFIG, updates=1))
    assert np.isnan(errors["target"]).all()


def test_what_was_adapted_to_before_is_rehearsed_as_much_as_the_first_data(source, tmp_path, monkeypatch) -> None:
    drawn = []
    original = adaptation.sample_shares

    def sample(*given):
        drawn.append(original(*given))
        return drawn[-1]

    monkeypatch.setattr(adaptation, "sample_shares", sample)
    dark, shiny = episodes(20, 0.0), episodes(30, 1.0)
    config = replace(CONFIG, updates=2, base_fraction=0.25)
    _, errors = run(source, tmp_path, config=config, earlier=[dark, shiny[:1]], agent={"batch_size": 24})
    assert set(errors) == {"base", "earlier_0", "earlier_1", "target"}
    for batch in drawn:
        actions = np.round(batch.actions[:, 0], 3).tolist()
        shares = [actions.count(action) for action in (0.5, 0.0, 1.0, -0.5)]
        assert shares == [4, 4, 4, 12], "a quarter to three quarters each, however much there is of them"
    with pytest.raises(RobofumeError, match="data of the condition that it was adapted to before hold no episode"):
        run(source, tmp_path / "other", earlier=[[]])


def test_prior_data_do_not_drown_what_is_rehearsed(source, tmp_path, monkeypatch) -> None:
    drawn = []
    original = adaptation.sample_shares
    monkeypatch.setattr(adaptation, "sample_shares", lambda *given: drawn.append(original(*given)) or drawn[-1])
    own = BASE[:1]
    base = [*own, *(episode for number in range(40, 100, 10) for episode in episodes(number, 0.0))]
    config = replace(CONFIG, updates=4)
    run(source, tmp_path, base, config=config, own={episode.episode_id for episode in own}, agent={"batch_size": 256})
    actions = np.round(np.concatenate([batch.actions[:, 0] for batch in drawn]), 3).tolist()
    assert len(base) > 12 and 0.4 < actions.count(0.5) / (actions.count(0.5) + actions.count(0.0)) < 0.6


def test_the_data_of_a_line_are_told_by_condition() -> None:
    lab = Generation("lab", "", "", base=("prior.mcap",), target=("demos.mcap", "practice.mcap"))
    dark = Generation("dark", "", "", base=("demos.mcap", "extra.mcap"), target=("dark.mcap",))
    both = Generation("both", "", "", base=("demos.mcap", "dark.mcap"), target=("dark.mcap", "shiny.mcap"))
    first = ["prior.mcap", "extra.mcap", "demos.mcap", "practice.mcap"]
    assert sorted(data_by_condition([lab, dark])[0]) == sorted(first)
    assert data_by_condition([lab, dark, both])[1:] == [["dark.mcap"], ["shiny.mcap"]]
    assert data_by_condition([lab]) == [["prior.mcap", "demos.mcap", "practice.mcap"]]
    assert data_by_condition([]) == []


def test_a_lineage_grows_and_is_read_again(tmp_path) -> None:
    assert read_lineage(tmp_path) == []
    first = Generation("lab", "/runs/lab/pretrained/6", "ab", target=("demos.mcap",), scores={"x": 1.0})
    second = Generation("light", "/runs/light/adapted/2", "cd", base=("demos.mcap",), target=("dark.mcap",))
    write_lineage(tmp_path, [first])
    write_lineage(tmp_path, [*read_lineage(tmp_path), second])
    assert read_lineage(tmp_path) == [first, second]
    assert data_by_condition([first, second]) == [["demos.mcap"], ["dark.mcap"]]
    (tmp_path / FILE).write_text("[{")
    with pytest.raises(RobofumeError, match="cannot be read"):
        read_lineage(tmp_path)
    with pytest.raises(RobofumeError, match="cannot be written"):
        write_lineage(tmp_path / FILE / "nowhere", [])
