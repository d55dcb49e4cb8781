"""The learner node without a graph: its end keeps what was learnt, and its start reads back what was practised."""

import queue
import threading
from types import SimpleNamespace

from robofume_common.enums import Outcome, Phase, Verdict
from robofume_data.episode_writer import write_episodes
from robofume_data.labels import write_labels
from robofume_policy.episode_inbox import EpisodeInbox, StepCount
from robofume_policy.episode_search import EpisodeSearch
from robofume_policy.nodes.learner import LearnerNode, LearnerNodeConfig
from test_policy_replay_cache import episode


class Learner:
    steps = 3

    def __init__(self) -> None:
        self.saved = []

    def note_steps(self, _count, _newest):
        pass

    def add_episode(self, _episode):
        pass

    def save(self, folder, best):
        self.saved.append((folder, best))


def ending_node(tmp_path) -> LearnerNode:
    """A node whose training thread is over, as `close` finds it; without rclpy's part."""
    node = LearnerNode.__new__(LearnerNode)
    (tmp_path / "one.mcap").write_bytes(b"")
    node._config = SimpleNamespace(
        checkpoints="checkpoints", best="best", practice=(str(tmp_path),), further_cameras=()
    )  # fmt: skip
    node._learner, node._failure, node._episodes = Learner(), None, queue.SimpleQueue()
    node._count, node._lock = SimpleNamespace(total=3, newest=None), threading.Lock()
    node._ending, node._news, node._inbox = threading.Event(), threading.Event(), EpisodeInbox(10.0)
    node._search = EpisodeSearch(node._find_in_bags, node._take_found, print)
    node._thread = threading.Thread(target=lambda: None)
    node._thread.start()
    return node


def test_an_episode_that_is_still_looked_for_does_not_cost_the_last_checkpoint(tmp_path, monkeypatch):
    node = ending_node(tmp_path)
    looked = threading.Event()

    def looks_for_long(_bags):
        looked.set()
        node._ending.wait(60.0)
        return {"an episode"}

    monkeypatch.setattr("robofume_policy.nodes.learner.episode_ids", looks_for_long)
    monkeypatch.setattr("robofume_policy.nodes.learner.read_labelled", lambda *_args, **_named: iter([episode(0)]))
    node._search.add("an episode")
    assert looked.wait(60.0)
    node.close()
    assert not node._search._thread.is_alive()
    assert node._learner.saved == [("checkpoints", "best")]


def test_a_learner_that_is_restarted_in_the_middle_of_an_episode_counts_its_steps_once(tmp_path, monkeypatch):
    """From the messages of one node over its end and the messages of the next."""
    practice = tmp_path / "lid" / "bags" / "practice"
    practice.mkdir(parents=True)
    write_episodes(practice / "practice_0000.mcap", [episode(0)])
    kept: dict = {}

    class Kept:
        updates = episodes = 0
        metric_names = ()

        def __init__(self):
            self.steps, self.newest_episode = kept.get("steps", 0), kept.get("newest_episode")

        def restore(self, _folder):
            return bool(kept)

        def read_back(self, episodes):
            list(episodes)

        def note_steps(self, count, newest):
            self.steps, self.newest_episode = self.steps + count, newest

        def save(self, _folder, _best):
            kept.update(steps=self.steps, newest_episode=self.newest_episode)

    monkeypatch.setattr(
        "robofume_policy.online_learner.OnlineLearner.from_pretrained", lambda *_arguments, **_named: Kept()
    )
    for steps in (range(5), range(5, 9)):
        node = ending_node(tmp_path)
        node._config = LearnerNodeConfig(practice=(str(practice),), checkpoints=str(tmp_path / "checkpoints"))
        node._count, node._patience = StepCount(), SimpleNamespace()
        node._publish_weights, node.get_logger = (lambda: None), (lambda: SimpleNamespace(info=print))
        node._load()
        for index in steps:
            node._on_step(SimpleNamespace(phase=Phase.FORWARD, episode_id="open", index=index, action=[0.0]))
        node.close()
    assert node._count.total == kept["steps"] == 8 + 9


def test_practice_is_read_back_with_a_persons_labels(tmp_path):
    practice = tmp_path / "lid" / "bags" / "practice"
    practice.mkdir(parents=True)
    write_episodes(practice / "practice_0000.mcap", [episode(0), episode(1)])
    write_labels(tmp_path / "lid" / "labels.json", {"e0": {-1: Verdict.FAILURE}})
    node = ending_node(tmp_path)
    node._config.practice, node._count, steps = (str(practice),), StepCount(), {}
    read = {found.episode_id: found.outcome for found in node._practised(steps)}
    assert read == {"e0": Outcome.TIMEOUT, "e1": Outcome.SUCCESS}
    assert steps == {"e0": 8, "e1": 8} and node._count.total == 16
