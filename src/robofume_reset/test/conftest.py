"""A graph of real processes for the tests of this folder."""

import os
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import rclpy
from rclpy.action import ActionClient
from rclpy.executors import SingleThreadedExecutor
from robofume_common.enums import Outcome, Phase

from robofume_common import qos
from robofume_interfaces.action import Evaluate
from robofume_interfaces.msg import Episode, LearnerStatus, PolicyWeights, Reward, Step, Task

sys.path.insert(0, str(Path(__file__).parent))  # helpers beside the tests

PATIENCE = 300.0
"""s until a test gives up: on a machine that does much else, the imports of a node alone take minutes."""
DEADLINE = 200.0
"""s that the nodes give one another, where their impatience is not what is tested."""


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
            self.node.create_subscription(Episode, "episode", self._on_episode, qos.EPISODE),
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

    def _on_episode(self, message: Episode) -> None:
        """Each once: after a restart the switcher says again what may not have been heard, at another time."""
        known = next((episode for episode in self.episodes if episode.episode_id == message.episode_id), None)
        if known is None:
            self.episodes.append(message)
        else:
            message.stamp = known.stamp
            assert message == known, "closed twice, and differently"

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
        settings = {"reward_listeners": 2, **parameters}  # the switcher and the observer
        self.start("robot", [str(Path(__file__).with_name("fake_robot.py"))], **settings)

    def start_policy(self, **parameters: object) -> None:
        settings = {"lockstep": True, "source": "override", "step_listeners": 3, **parameters}
        self.start("policy", ["-m", "robofume_policy.nodes.policy"], **settings)

    def start_switcher(self, probe_time: float = 2.5, killed_after: int = 0, **parameters: object) -> None:
        """killed_after: it dies when it has noted so many episodes, before it says that the last of them ended."""
        deadlines = ("start", "step", "close", "verdict", "reset", "learner")
        settings = {
            **{f"{name}_deadline": DEADLINE for name in deadlines},
            "episode_listeners": 1,  # the observer
            "lockstep": True,
            "task": "line",
            "forward_instruction": "go right",
            "backward_instruction": "go left",
            "step_limit": 15,
            "session": "test",
            **parameters,
        }
        script, argument = ("killed", killed_after) if killed_after else ("patient", probe_time)
        command = [str(Path(__file__).with_name(f"{script}_switcher.py")), str(argument)]
        self.start("switcher", command, **settings)

    def run_goal(self, kind, name: str, goal, meanwhile=lambda: None, cancel_when=lambda: False):
        """The goal's result, None where it was refused; what was said before it has been heard."""
        client = ActionClient(self.node, kind, name)
        before = len(self.episodes)
        try:
            self.wait_for_server(client)
            handle = self.send_goal(client, goal)
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
            result = finishing.result().result
        finally:
            client.destroy()
        # Topics do not wait for one another: the result may come before what led to it.
        evaluated = kind is Evaluate
        counted = len(result.forward_success) + len(result.backward_success) if evaluated else result.episodes
        uncounted = (Outcome.ABORTED, Outcome.INTERVENTION)
        self.wait(lambda: sum(e.outcome not in uncounted for e in self.episodes[before:]) >= counted)
        self.wait(lambda: self.tasks[-1].phase == Phase.IDLE)
        return result

    def send_goal(self, client: ActionClient, goal):
        """The handle of a goal that was accepted or refused."""
        return self.answer(
            lambda: client.send_goal_async(goal, feedback_callback=lambda m: self.feedback.append(m.feedback))
        )

    def answer(self, ask: Callable[[], Any]) -> Any:
        """The answer to what `ask` sends. A server that was killed a moment ago still looks ready: where nobody answers
        it is sent again. Who was only slow answers all of it in order, and the first answer counts."""
        asked: list[Any] = []

        def answered() -> bool:
            return any(future.done() for future in asked)

        end = time.monotonic() + PATIENCE
        while not answered():
            assert time.monotonic() < end, f"nobody answered; logs:\n{self.logs()}"
            asked.append(ask())
            self.spin(3.0, until=answered)
        return next(future.result() for future in asked if future.done())

    def wait_for_server(self, client: ActionClient) -> None:
        """Before a goal: everybody is there. Each of them waits by itself until those who must miss nothing hear it."""
        self.wait(client.server_is_ready)
        self.wait(lambda: all(subscription.get_publisher_count() for subscription in self.heard))

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
        return process.wait(timeout=PATIENCE)

    def logs(self) -> str:
        return "\n".join(f"== {path.name}\n{path.read_text()}" for path in sorted(self.directory.glob("*.log")))

    def close(self) -> None:
        for process in self.processes.values():
            process.kill()
            process.wait()
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)

    def last_step(self, episode: Episode) -> Step:
        """The step at which a closed episode ended; it may be heard later than the end."""
        steps = self.steps[episode.episode_id]
        self.wait(lambda: any(step.index == episode.num_steps for step in steps))
        return next(step for step in steps if step.index == episode.num_steps)

    def assert_whole(self, episode: Episode, cut: bool = False) -> None:
        """Every step, in order, the last one without an action, and one verdict on each.

        In lockstep the newest step and its verdict may be given again, as they were. cut: the policy was killed before
        the last step, so that the newest one shows where the episode ended, and its action is none of the episode's.
        """
        steps, rewards = self.steps[episode.episode_id], self.rewards[episode.episode_id]
        self.last_step(episode)
        judged = episode.outcome != Outcome.ABORTED
        self.wait(lambda: not judged or any(index == episode.num_steps for index, _ in rewards))
        assert [step.index for step in steps] == list(range(episode.num_steps + 1))
        assert [len(step.action) for step in steps] == [7] * episode.num_steps + [7 if cut else 0]
        stamps = [(step.stamp.sec, step.stamp.nanosec) for step in steps]
        assert stamps == sorted(set(stamps))
        if judged:
            assert sorted(index for index, _ in rewards) == list(range(episode.num_steps + 1))


@pytest.fixture
def graph(tmp_path, ros_domain):
    graph = Graph(ros_domain, tmp_path)
    yield graph
    graph.close()
