"""A node of this package as a real process, and a ROS graph around it in a domain of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import rclpy
import yaml
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

sys.path.append(str(Path(__file__).parent))  # helpers beside the tests, which pytest's importlib mode leaves out

_DEADLINE = 60.0  # s; generous, the machine may be busy


class _Process(subprocess.Popen):
    """A node with its output in a file, which can be read while it goes on: `says`."""

    def __init__(self, command: list[str], log: Path) -> None:
        with log.open("w") as output:
            super().__init__(command, stdout=output, stderr=subprocess.STDOUT)
        self.stdout = log.open()
        self._log = log

    def says(self, text: str) -> bool:
        return text in self._log.read_text()


class Graph:
    """What surrounds the node under test."""

    def __init__(self, domain: int, directory) -> None:
        self.context = Context()
        rclpy.init(context=self.context, domain_id=domain)
        self.node = Node("bench", context=self.context)
        self._executor = SingleThreadedExecutor(context=self.context)
        self._executor.add_node(self.node)
        self._directory = directory
        self._processes: list[subprocess.Popen] = []

    def start(self, name: str, **parameters) -> subprocess.Popen:
        file = self._directory / f"{name}{len(self._processes)}.yaml"
        file.write_text(yaml.safe_dump({name: {"ros__parameters": parameters}}))
        command = [
            sys.executable,
            "-m",
            f"robofume_robot.nodes.{name}",
            "--ros-args",
            "--params-file",
            str(file),
        ]
        process = _Process(command, file.with_suffix(".log"))
        self._processes.append(process)
        return process

    def until(self, done: Callable[[], object], deadline: float = _DEADLINE) -> bool:
        """Handle messages until `done`; False at the deadline."""
        end = time.monotonic() + deadline
        while not done():
            if time.monotonic() > end:
                return False
            self._executor.spin_once(timeout_sec=0.01)
        return True

    def settle(self, seconds: float = 0.2) -> None:
        """Handle what still comes in; what is there already also where this process was held up for longer."""
        end, turns = time.monotonic() + seconds, 0
        while time.monotonic() < end or turns < 100 * seconds:
            self._executor.spin_once(timeout_sec=0.01)
            turns += 1

    def stop(self, process: subprocess.Popen, number: int = signal.SIGINT) -> tuple[int, str]:
        """Signal the node, and take the messages that it sends on its way out; its exit code and output."""
        process.send_signal(number)
        assert self.until(lambda: process.poll() is not None), "the node does not end"
        self.settle()
        return process.returncode, process.stdout.read()

    def close(self) -> None:
        for process in self._processes:
            if process.poll() is None:
                process.kill()
            process.wait()
            process.stdout.close()
        self._executor.remove_node(self.node)
        self._executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)


@pytest.fixture
def graph(tmp_path, ros_domain) -> Iterator[Graph]:
    graph = Graph(ros_domain, tmp_path)
    yield graph
    graph.close()


@pytest.fixture
def driver(graph, monkeypatch):
    """Interbotix' driver, and its library for the nodes that the test starts."""
    from interbotix_bench import Driver

    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent / "fake_interbotix"), prepend=":")
    return Driver(graph)
