"""A graph of real processes for the tests of this folder."""

import os
import signal
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

import pytest
import rclpy
from rclpy.action import ActionClient
from rclpy.executors import SingleThreadedExecutor
from robofume_common.enums import Outcome

from robofume_common import qos
from robofume_interfaces.msg import Episode, LearnerStatus, PolicyWeights, Reward, Step, Task

sys.path.insert(0, str(Path(__file__).parent))  # helpers beside the tests

PATIENCE = 120.0


class Graph:
    """Processes in one DDS domain of their own, and a node that records what they say."""

    def __init__(self, domain: int, directory: Path) -> None:
        self.directory = directory
        self.environment = {**os.environ, "ROS_LOG_DIR": str(directory / "ros")}
        self.processes: dict[str, subprocess.Popen] = {}
        self.standard_error: dict[str, int] = {}
        """Node -> file descriptor, where it is another than that of the log."""
        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=domain)
        self.node = rclpy.create_node("observer", context=self.context, enable_rosout=False)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.steps: dict[str, list[Step]] = defaultdict(list)
        self.rewards: dict[str, set[tuple[int, int]]] = defaultdict(set)  # (index, verdict)
        self.episodes: list[Episode] = []
        self.tasks: list[Task] = []
        self.learner: list[LearnerStatus] = []
        self.versions: list[int] = []
        self.feedback: list[object] = []
        self.heard = [
            self.node.create_subscription(Step, "step", self._on_step, qos.STEP),
            self.node.create_subscription(
                Reward, "reward", lambda m: self.rewards[m.episode_id].add((m.index, m.verdict)), qos.REWARD
            ),
            self.node.create_subscription(Episode, "episode", self.episodes.append, qos.EPISODE),
        ]
        self.node.create_subscription(Task, "task", self.tasks.append, qos.LATCHED)
        self.node.create_subscription(LearnerStatus, "learner/status", self.learner.append, qos.STATUS)
        self.node.create_subscription(
            PolicyWeights, "policy/weights", lambda m: self.versions.append(m.version), qos.LATCHED
        )

    def _on_step(self, message: Step) -> None:
        known = self.steps[message.episode_id]
        if not known or known[-1] != message:  # the newest one may be given again, as it was
            known.append(message)

    def start(self, node: str, command: list[str], **parameters: object) -> None:
        arguments = ["--ros-args"]
        for key, value in parameters.items():
            text = str(value).lower() if isinstance(value, bool) else str(value)
            arguments += ["-p", f"{key}:={text}"]
        with (self.directory / f"{node}.log").open("a") as log:
            self.processes[node] = subprocess.Popen(
                [sys.executable, *command, *arguments], env=self.environment, stdout=log,
                stderr=self.standard_error.get(node, log),
            )  # fmt: skip

    def start_robot(self, **parameters: object) -> None:
        self.start("robot", [str(Path(__file__).with_name("fake_robot.py"))], **parameters)

    def start_policy(self, **parameters: object) -> None:
        settings = {"lockstep": True, "source": "override", "step_listeners": 3, **parameters}
        self.start("policy", ["-m", "robofume_policy.nodes.policy"], **settings)

    def start_switcher(self, **parameters: object) -> None:
        settings = {
            "lockstep": True,
            "task": "line",
            "forward_instruction": "go right",
            "backward_instruction": "go left",
            "step_limit": 15,
            "session": "test",
            **parameters,
        }
        self.start("switcher", ["-m", "robofume_reset.nodes.switcher"], **settings)

    def run_goal(self, kind, name: str, goal, meanwhile=lambda: None, cancel_when=lambda: False):
        client = ActionClient(self.node, kind, name)
        try:
            self.wait_for_server(client)
            # A server that was killed a moment ago still looks ready: the goal is sent again if nobody answers.
            for _ in range(10):
                accepting = client.send_goal_async(goal, feedback_callback=lambda m: self.feedback.append(m.feedback))
                self.spin(3.0, until=accepting.done)
                if accepting.done():
                    break
            handle = accepting.result()
            if not handle.accepted:
                return None
            finishing = handle.get_result_async()
            canceled = False
            end = time.monotonic() + PATIENCE
            while not finishing.done():
                assert time.monotonic() < end, f"the goal did not end; logs:\n{self.logs()}"
                self.executor.spin_once(timeout_sec=0.05)
                meanwhile()
                if cancel_when() and not canceled:
                    canceled = True
                    handle.cancel_goal_async()
            self.spin(0.3)
            return finishing.result().result
        finally:
            client.destroy()

    def wait_for_server(self, client: ActionClient) -> None:
        """Before a goal: what is published before the observer has found the publisher is lost for it."""
        self.wait(client.server_is_ready)
        self.wait(lambda: all(subscription.get_publisher_count() for subscription in self.heard))
        self.spin(0.3)

    def wait(self, condition) -> None:
        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end, f"waited in vain; logs:\n{self.logs()}"
            self.executor.spin_once(timeout_sec=0.05)

    def spin(self, seconds: float, until=lambda: False) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end and not until():
            self.executor.spin_once(timeout_sec=0.05)

    def stop(self, name: str, number: int = signal.SIGINT) -> int:
        process = self.processes.pop(name)
        process.send_signal(number)
        return process.wait(timeout=20)

    def logs(self) -> str:
        return "\n".join(f"== {path.name}\n{path.read_text()}" for path in sorted(self.directory.glob("*.log")))

    def close(self) -> None:
        for process in self.processes.values():
            process.kill()
            process.wait()
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)

    def assert_whole(self, episode: Episode) -> None:
        """Every step, in order, the last one without an action, and one verdict on each.

        In lockstep the newest step and its verdict may be given again, as they were.
        """
        steps = self.steps[episode.episode_id]
        assert [step.index for step in steps] == list(range(episode.num_steps + 1))
        assert [len(step.action) for step in steps] == [7] * episode.num_steps + [0]
        stamps = [(step.stamp.sec, step.stamp.nanosec) for step in steps]
        assert stamps == sorted(set(stamps))
        if episode.outcome != Outcome.ABORTED:
            judged = sorted(index for index, _ in self.rewards[episode.episode_id])
            assert judged == list(range(episode.num_steps + 1))


@pytest.fixture
def graph(tmp_path, ros_domain):
    graph = Graph(ros_domain, tmp_path)
    yield graph
    graph.close()
