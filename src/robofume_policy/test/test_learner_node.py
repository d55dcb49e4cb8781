"""The learner node's end, without a graph: what was learnt is kept whatever is still looked for."""

import queue
import threading
from types import SimpleNamespace

from robofume_policy.nodes.learner import LearnerNode


class Learner:
    steps = 3

    def __init__(self) -> None:
        self.saved = []

    def note_steps(self, _count):
        pass

    def add_episode(self, _episode):
        pass

    def save(self, folder):
        self.saved.append(folder)


def ending_node(tmp_path) -> LearnerNode:
    """A node whose training thread is over, as `close` finds it; without rclpy's part."""
    node = LearnerNode.__new__(LearnerNode)
    (tmp_path / "one.mcap").write_bytes(b"")
    node._config = SimpleNamespace(checkpoints="checkpoints", practice=(str(tmp_path),))
    node._learner, node._failure, node._episodes = Learner(), None, queue.SimpleQueue()
    node._count, node._lock = SimpleNamespace(total=3), threading.Lock()
    node._ending, node._news, node._incomplete = threading.Event(), threading.Event(), threading.Event()
    node._thread = threading.Thread(target=lambda: None)
    node._thread.start()
    return node


def test_an_episode_that_is_still_looked_for_does_not_cost_the_last_checkpoint(tmp_path, monkeypatch):
    node = ending_node(tmp_path)
    monkeypatch.setattr("robofume_policy.nodes.learner.read_episodes", lambda *_args, **_named: iter(["an episode"]))
    node._incomplete.set()
    node.close()
    assert node._learner.saved == ["checkpoints"]
