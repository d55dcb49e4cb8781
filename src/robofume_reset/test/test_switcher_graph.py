"""The switcher and the policy node as real processes over DDS, with a tiny world in lockstep."""

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
from robofume_common import qos
from robofume_common.enums import Outcome, Phase
from robofume_interfaces.action import Evaluate, Practice
from robofume_interfaces.msg import Episode, Reward, Step, Task

PATIENCE = 60.0


class Graph:
    """Processes in one DDS domain of their own, and a node that records what they say."""

    def __init__(self, domain: int, directory: Path) -> None:
        self.directory = directory
        self.environment = {
            **os.environ,
            "ROS_DOMAIN_ID": str(domain),
            "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
            "ROS_LOG_DIR": str(directory / "ros"),
            "OMP_NUM_THREADS": "1",
        }
        self.processes: dict[str, subprocess.Popen] = {}
        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=domain)
        self.node = rclpy.create_node("observer", context=self.context, enable_rosout=False)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.steps: dict[str, list[Step]] = defaultdict(list)
        self.rewards: dict[str, list[int]] = defaultdict(list)
        self.episodes: list[Episode] = []
        self.tasks: list[Task] = []
        self.order: list[tuple[str, str, int]] = []
        self.feedback: list[object] = []
        self.node.create_subscription(Step, "step", self._on_step, qos.STEP)
        self.node.create_subscription(
            Reward, "reward", lambda m: self.rewards[m.episode_id].append(m.index), qos.REWARD
        )
        self.node.create_subscription(Episode, "episode", self.episodes.append, qos.EPISODE)
        self.node.create_subscription(Task, "task", self.tasks.append, qos.LATCHED)

    def _on_step(self, message: Step) -> None:
        self.steps[message.episode_id].append(message)

    def start(self, name: str, command: list[str], **parameters: object) -> None:
        arguments = ["--ros-args"]
        for key, value in parameters.items():
            text = str(value).lower() if isinstance(value, bool) else str(value)
            arguments += ["-p", f"{key}:={text}"]
        with (self.directory / f"{name}.log").open("a") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, *command, *arguments], env=self.environment, stdout=log, stderr=log
            )

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
            self.wait(client.server_is_ready)
            self.wait(lambda: self.node.count_publishers("reward") and self.node.count_publishers("step"))
            self.spin(0.3)
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
        """Every step exactly once, in order, the last one without an action, and a verdict on each."""
        steps = self.steps[episode.episode_id]
        assert [step.index for step in steps] == list(range(episode.num_steps + 1))
        assert [len(step.action) for step in steps] == [7] * episode.num_steps + [0]
        stamps = [(step.stamp.sec, step.stamp.nanosec) for step in steps]
        assert stamps == sorted(set(stamps))
        if episode.outcome != Outcome.ABORTED:
            assert sorted(self.rewards[episode.episode_id]) == list(range(episode.num_steps + 1))


@pytest.fixture
def graph(tmp_path, request):
    number = sum(map(ord, request.node.name)) + os.getpid()
    graph = Graph(1 + number % 100, tmp_path)
    yield graph
    graph.close()


def test_practice_alternates_and_every_step_is_there_once(graph):
    graph.start_switcher()
    graph.start_robot(fail_every=7)
    graph.start_policy()  # last, so that it meets a task and a frozen world
    started = time.monotonic()
    result = graph.run_goal(Practice, "practice", Practice.Goal(steps=400))
    seconds = time.monotonic() - started
    assert result.error_code == 0, result.message
    assert result.steps >= 400
    assert result.episodes == len(graph.episodes) == result.forward_episodes + result.backward_episodes
    assert result.steps == sum(episode.num_steps for episode in graph.episodes)
    for episode in graph.episodes:
        graph.assert_whole(episode)
    outcomes = [(episode.direction, episode.outcome) for episode in graph.episodes]
    assert {outcome for _, outcome in outcomes} == {Outcome.SUCCESS, Outcome.TIMEOUT}
    for (direction, outcome), (following, _) in zip(outcomes, outcomes[1:]):
        assert (following != direction) == (outcome == Outcome.SUCCESS)
    for episode in graph.episodes:
        if episode.outcome == Outcome.SUCCESS:
            assert episode.num_steps == episode.success_index + 1  # no permit after the success verdict
        else:
            assert episode.num_steps == 15
    assert [task.phase for task in graph.tasks][-1] == Phase.IDLE
    print(f"{result.steps / seconds:.0f} control steps per second, start included")
    assert graph.stop("switcher") == graph.stop("policy") == graph.stop("robot") == 0


def test_evaluation_refuses_a_second_goal_and_can_be_cancelled(graph):
    graph.start_robot(fail_every=2)
    graph.start_policy()
    graph.start_switcher()
    refused = []

    def second_goal():
        if refused or not graph.feedback:
            return
        client = ActionClient(graph.node, Practice, "practice")
        graph.wait(client.server_is_ready)
        accepting = client.send_goal_async(Practice.Goal(episodes=1))
        graph.wait(accepting.done)
        refused.append(not accepting.result().accepted)
        client.destroy()

    result = graph.run_goal(Evaluate, "evaluate", Evaluate.Goal(trials_per_direction=6, seed=1), second_goal)
    assert result.error_code == 0, result.message
    assert refused == [True]
    assert len(result.forward_success) == len(result.backward_success) == 6
    assert sum(result.forward_success) + sum(result.backward_success) == 6
    assert all(step.phase == Phase.EVALUATION for steps in graph.steps.values() for step in steps)
    assert all(episode.assisted_reset_before for episode in graph.episodes)
    for episode in graph.episodes:
        graph.assert_whole(episode)

    done = len(graph.episodes)
    result = graph.run_goal(
        Practice, "practice", Practice.Goal(steps=10**6), cancel_when=lambda: len(graph.episodes) > done + 1
    )
    assert result.error_code == Practice.Result.ERROR_CANCELED
    assert graph.episodes[-1].outcome in (Outcome.ABORTED, Outcome.SUCCESS)
    assert graph.tasks[-1].phase == Phase.IDLE
    assert result.episodes == sum(episode.outcome != Outcome.ABORTED for episode in graph.episodes[done:])
    for episode in graph.episodes:
        graph.assert_whole(episode)


def test_a_killed_policy_is_named_and_a_restarted_one_goes_on(graph):
    graph.start_robot()
    graph.start_policy()
    graph.start_switcher(step_deadline=1.0)
    killed = []

    def kill():
        if len(graph.episodes) == 3 and not killed:
            killed.append(graph.stop("policy", signal.SIGKILL))

    result = graph.run_goal(Practice, "practice", Practice.Goal(episodes=10**6), kill)
    assert killed == [-signal.SIGKILL]
    assert result.error_code == Practice.Result.ERROR_NO_OBSERVATIONS
    assert "policy node" in result.message
    assert graph.tasks[-1].phase == Phase.IDLE
    whole = [episode for episode in graph.episodes if episode.outcome != Outcome.ABORTED]
    for episode in whole:
        graph.assert_whole(episode)

    graph.start_policy()
    again = graph.run_goal(Practice, "practice", Practice.Goal(episodes=3))
    assert again.error_code == 0 and again.episodes == 3


def test_a_policy_that_is_restarted_in_time_costs_one_episode(graph):
    graph.start_robot()
    graph.start_policy()
    graph.start_switcher()
    killed = []

    def restart():
        if len(graph.episodes) == 3 and not killed:
            killed.append(graph.stop("policy", signal.SIGKILL))
            graph.start_policy()

    result = graph.run_goal(Practice, "practice", Practice.Goal(episodes=8), restart)
    assert killed and result.error_code == 0, result.message
    assert result.episodes == 8
    assert [episode.outcome for episode in graph.episodes].count(Outcome.ABORTED) <= 1
    for episode in graph.episodes:
        if episode.outcome != Outcome.ABORTED:
            graph.assert_whole(episode)


def test_a_killed_switcher_goes_on_with_new_ids_and_the_next_direction(graph, tmp_path):
    graph.start_robot()
    graph.start_policy()
    state = tmp_path / "state" / "switcher.json"
    graph.start_switcher(state_file=state)
    client = ActionClient(graph.node, Practice, "practice")
    graph.wait(client.server_is_ready)
    client.send_goal_async(Practice.Goal(episodes=10**6))
    graph.wait(lambda: len(graph.episodes) >= 4)
    graph.stop("switcher", signal.SIGKILL)
    client.destroy()
    graph.spin(0.5)
    before = set(graph.steps)
    closed = len(graph.episodes)
    graph.start_switcher(state_file=state)
    result = graph.run_goal(Practice, "practice", Practice.Goal(episodes=4))
    assert result.error_code == 0, result.message
    fresh = [episode for episode in graph.episodes[closed:] if episode.outcome != Outcome.ABORTED]
    assert len(fresh) == 4
    assert not before & {episode.episode_id for episode in fresh}
    assert fresh[0].direction != [e for e in graph.episodes[:closed] if e.outcome == Outcome.SUCCESS][-1].direction
    for episode in graph.episodes:
        graph.assert_whole(episode)  # the one that was cut by the kill too


def test_a_switcher_that_is_stopped_closes_its_episode(graph):
    graph.start_robot(fail_every=1)
    graph.start_policy()
    graph.start_switcher(step_limit=10_000)
    client = ActionClient(graph.node, Practice, "practice")
    graph.wait(client.server_is_ready)
    client.send_goal_async(Practice.Goal(episodes=1))
    graph.wait(lambda: sum(map(len, graph.steps.values())) > 20)
    assert graph.stop("switcher") == 0
    client.destroy()
    graph.spin(0.5)
    assert [episode.outcome for episode in graph.episodes] == [Outcome.ABORTED]
    graph.assert_whole(graph.episodes[0])


@pytest.mark.parametrize(
    ("robot", "error", "words"),
    [
        ({"silent_after": 30}, Practice.Result.ERROR_NO_OBSERVATIONS, "camera is silent"),
        ({"verdicts": False}, Practice.Result.ERROR_NO_VERDICTS, "reward node"),
        ({"demonstrate": False}, Practice.Result.ERROR_NO_OBSERVATIONS, "overrides"),
    ],
)
def test_who_is_silent_is_named(graph, robot, error, words):
    graph.start_robot(**robot)
    graph.start_policy()
    graph.start_switcher(step_deadline=1.0, start_deadline=4.0, verdict_deadline=0.5, close_deadline=1.0)
    result = graph.run_goal(Practice, "practice", Practice.Goal(episodes=10**6))
    assert result.error_code == error and words in result.message
