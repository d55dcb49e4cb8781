"""The published recipes: their settings are allowed, and each trains offline and in practice."""

from dataclasses import replace

import numpy as np
import pytest
from robofume_common.parameters import validate
from robofume_policy.online_learner import OnlineLearner
from robofume_policy.presets import PRESETS
from robofume_policy.pretraining import pretrain
from test_policy_learning_pipeline import SPACE, episodes, make_episode


@pytest.mark.parametrize(
    ("name", "updates", "recorded"), [("paper_cal_ql", 700, 4), ("rlpd", 14_000, 4), ("wsrl", 0, 0)]
)
def test_a_preset_trains_offline_and_in_practice(tmp_path, monkeypatch, name, updates, recorded) -> None:
    preset = PRESETS[name]
    for part in vars(preset).values():
        validate(part)
    network = replace(preset.network, image_size=40, hidden_size=16, image_features=8)
    trained = pretrain(
        episodes(4), tmp_path, action_space=SPACE, network=network, agent=replace(preset.agent, batch_size=8),
        replay=preset.replay, config=replace(preset.pretraining, updates=2),
    )  # fmt: skip
    assert trained.agent.updates == 2 and len(trained.agent.network.critics.heads) == preset.network.critics
    learner = OnlineLearner.from_pretrained(tmp_path, episodes(4), preset.online, preset.replay)
    learner.add_episode(make_episode(100))
    learner.note_steps(1000)
    assert learner.target_updates == updates
    drawn = []
    sample = learner.offline.sample
    monkeypatch.setattr(learner.offline, "sample", lambda count, *rest: drawn.append(count) or sample(count, *rest))
    metrics = learner.train(2)
    assert all(np.isfinite(list(metrics.values()))) and drawn == [recorded] * (2 if recorded else 0)
    weight = learner.trained.agent.conservative_weight
    assert weight == (5.0 if name == "paper_cal_ql" else 0.0)


def test_cal_ql_has_the_papers_numbers_for_antmaze() -> None:
    agent = PRESETS["paper_cal_ql"].agent
    assert (agent.algorithm, agent.discount, agent.n_step, agent.batch_size) == ("cal_ql", 0.99, 1, 256)
    assert agent.conservative_weight_offline == agent.conservative_weight_online == 5.0
    assert (agent.conservative_gap, agent.sampled_actions) == (0.8, 10)
    assert agent.max_target_backup and agent.importance_sampling and agent.entropy_backup == 0.0
    assert agent.averaging_rate == 0.005 and PRESETS["paper_cal_ql"].replay.offline_fraction == 0.5


def test_rlpd_updates_its_actor_once_a_step() -> None:
    preset = PRESETS["rlpd"]
    assert preset.agent.actor_every == preset.online.updates_per_step == 20
    assert (preset.network.critics, preset.agent.critic_subset) == (10, 2)


def test_wsrl_begins_to_learn_after_its_warm_up() -> None:
    online = PRESETS["wsrl"].online
    assert [online.target_updates(steps) for steps in (4999, 5000, 5010)] == [0, 0, 40]
