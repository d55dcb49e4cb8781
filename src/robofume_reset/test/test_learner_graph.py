"""Demonstrations, pre-training and practice with a learner that is killed, as real processes over DDS."""

import itertools
import json
import signal

import numpy as np
from robofume_common.action import ActionSpace
from robofume_common.conversion import to_nanoseconds
from robofume_common.enums import Outcome
from robofume_data.bag_reader import read_episodes
from robofume_policy.checkpoint import CheckpointStore, read_version
from robofume_policy.config import AgentConfig, NetworkConfig, PretrainingConfig
from robofume_policy.pretraining import pretrain

from robofume_interfaces.action import Practice
from robofume_interfaces.msg import LearnerStatus

NETWORK = NetworkConfig(hidden_size=16, image_features=8)
AGENT = AgentConfig(batch_size=4)
RATIO, WARM_UP, SLACK = 0.5, 40, 10
STEP_LIMIT = 15
"""Of the tests' graph."""


def collect(graph, folder):
    """Five demonstrations into a bag, then a policy pre-trained for a moment."""
    graph.start_robot(reward_listeners=3)
    start_recorder(graph, folder / "demos", "demos")
    graph.start_policy(step_listeners=4)
    graph.start_switcher(session="demos", episode_listeners=2)
    assert graph.run_goal(Practice, "practice", Practice.Goal(episodes=5)).error_code == 0
    graph.wait(lambda: len(finished(folder / "demos")) == 5)  # the recorder may be behind
    for episode in graph.episodes:
        graph.assert_whole(episode)
    for name in ("switcher", "policy", "recorder", "robot"):
        assert graph.stop(name) == 0
    recorded = list(read_episodes(folder / "demos"))
    assert [len(graph.steps[episode.episode_id]) for episode in recorded] == [e.length + 1 for e in recorded]
    assert len(recorded) == 5
    pretrain(
        recorded, folder / "pretrained", action_space=ActionSpace(), network=NETWORK, agent=AGENT,
        config=PretrainingConfig(updates=2, checkpoint_every=2),
    )  # fmt: skip


def finished(folder):
    """The episodes, not aborted, that are whole in the bag by now."""
    return list(read_episodes(folder, outcomes=[outcome for outcome in Outcome if outcome != Outcome.ABORTED]))


def start_recorder(graph, folder, name):
    graph.start("recorder", ["-m", "robofume_data.nodes.recorder"], directory=folder, name=name)


def start_learner(graph, folder):
    def places(name):
        return json.dumps([str(folder / name)])

    graph.start(
        "learner", ["-m", "robofume_policy.nodes.learner"],
        pretrained=folder / "pretrained", demonstrations=places("demos"), practice=places("practice"),
        checkpoints=folder / "checkpoints", metrics=folder / "metrics", replay_cache=folder / "replay",
        updates_per_step=RATIO, warm_up_steps=WARM_UP, checkpoint_every=20, publish_every=10,
    )  # fmt: skip


def behind(status):
    return status.target_updates - status.updates


def test_a_killed_learner_resumes_with_the_same_numbers(graph, tmp_path):
    collect(graph, tmp_path)
    graph.steps.clear()
    graph.episodes.clear()
    graph.start_robot(demonstrate=False, reward_listeners=4)
    start_recorder(graph, tmp_path / "practice", "practice")
    graph.start_policy(source="policy", step_listeners=5, exploration_std=0.5)
    graph.start_switcher(
        session="practice", episode_listeners=3, expect_learner=True, failures_before_reset=0,
        updates_per_step=RATIO, warm_up_steps=WARM_UP, update_slack=SLACK,
    )  # fmt: skip
    start_learner(graph, tmp_path)
    before = []

    def kill():
        status = graph.learner[-1] if graph.learner else LearnerStatus()
        if not before and status.updates > 50 and status.episodes > 5:
            graph.stop("learner", signal.SIGKILL)
            graph.wait(lambda: len(finished(tmp_path / "practice")) >= status.episodes)  # the recorder may be behind
            kept = CheckpointStore(tmp_path / "checkpoints").numbers()[-1]
            now = graph.node.get_clock().now().nanoseconds
            before.append((status.episodes, kept, read_version(tmp_path / "checkpoints"), now))
            start_learner(graph, tmp_path)

    def said_since():
        """By the second learner; what the first said may be heard long after its end."""
        heard = [status for status in graph.learner if to_nanoseconds(status.stamp) > before[0][-1]]
        return [status for status in heard if status.state != LearnerStatus.STATE_LOADING]

    def learnt_on():
        return bool(before) and any(status.updates >= before[0][1] + 100 for status in said_since())

    # Without an end of its own, so that the learner is killed in the middle of it however late we see that it is time.
    result = graph.run_goal(Practice, "practice", Practice.Goal(steps=10**6), kill, learnt_on)
    assert result.error_code == Practice.Result.ERROR_CANCELED, result.message
    (episodes, kept, published, restarted), = before
    # A step of the demonstrations that was published again at their end may be heard as late as now.
    graph.wait(lambda: {n for n in graph.steps if n.startswith("practice")} == {e.episode_id for e in graph.episodes})
    steps = sum(episode.num_steps for episode in graph.episodes)
    assert result.steps == steps
    after = said_since()
    updates = max(status.updates for status in graph.learner if to_nanoseconds(status.stamp) <= restarted)

    # It never ran ahead of its share, and the loop never ran further ahead of it than the slack and a step: once the
    # learner has made up for what the kill cost, and knows of the episodes that it found neither in the bag nor heard.
    assert all(status.updates <= status.target_updates for status in graph.learner)
    lost = max(0, updates - after[0].updates) + 2 * STEP_LIMIT * RATIO
    assert all(behind(status) <= SLACK + 2 + lost for status in after)
    later = itertools.dropwhile(lambda status: status.steps == after[0].steps or behind(status) > SLACK, after)
    assert all(behind(status) <= SLACK + 2 for status in later)
    # It began again at a checkpoint, lost no step and no episode, and made every update that was due.
    assert after[0].updates >= kept >= 40 and kept + 20 >= updates and after[0].episodes >= episodes
    ended = [episode for episode in graph.episodes if episode.outcome != Outcome.ABORTED]

    def has_all():
        last = graph.learner[-1]
        return last.updates == last.target_updates and (last.steps, last.episodes) == (steps, len(ended))

    graph.wait(has_all)  # one episode began before the learner was back
    last = graph.learner[-1]
    assert last.target_updates == int((steps - WARM_UP) * RATIO)
    for episode in graph.episodes:
        graph.assert_whole(episode)
    graph.wait(lambda: len(finished(tmp_path / "practice")) == len(ended))  # the recorder may be behind
    # Versions never name two different weights, and the policy acted with the new ones.
    graph.wait(lambda: graph.versions[-1] > published)
    assert graph.versions == sorted(set(graph.versions))
    assert max(step.policy_version for steps in graph.steps.values() for step in steps) > published

    for name in ("switcher", "policy", "learner", "recorder", "robot"):
        assert graph.stop(name) == 0, graph.logs()
    recorded = finished(tmp_path / "practice")
    assert [episode.episode_id for episode in recorded] == [episode.episode_id for episode in ended]
    for episode in recorded:
        actions = np.array([step.action for step in graph.steps[episode.episode_id][:-1]], np.float32)
        np.testing.assert_array_equal(episode.actions, actions)
    assert CheckpointStore(tmp_path / "checkpoints").numbers()[-1] == last.updates
    assert len([item for item in (tmp_path / "replay").iterdir() if item.is_dir()]) == 1, "made once, mapped twice"
