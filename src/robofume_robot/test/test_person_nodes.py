"""The teleop and workspace nodes as real processes; teleop on a terminal of its own."""

import itertools
import os
import pty
import subprocess
import sys
import termios
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from robofume_common.conversion import to_time
from robofume_common.errors import MalformedMessage
from robofume_robot.kinematics import ARM_JOINT_NAMES, inverse_kinematics, pose_from_vector
from robofume_robot.nodes.teleop import TeleopNode
from robofume_robot.teleop_config import TeleopConfig
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool
from std_srvs.srv import Trigger

from robofume_common import qos
from robofume_interfaces.msg import ArmCommand

READY = np.array([0.0, -0.3, 0.45, 0.0, 1.43, 0.0])


class Terminal:
    """The teleop node at a keyboard."""

    def __init__(self, graph) -> None:
        self.graph, node = graph, graph.node
        self.keyboard, self.tty = pty.openpty()
        self.before = termios.tcgetattr(self.tty)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "robofume_robot.nodes.teleop"],
            stdin=self.tty,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        graph._processes.append(self.process)
        self.overrides, self.commands, self.stops, self.releases = [], [], [], []
        node.create_subscription(ArmCommand, "arm/override", self.overrides.append, qos.COMMAND)
        node.create_subscription(ArmCommand, "arm/command", self.commands.append, qos.COMMAND)
        node.create_subscription(Bool, "arm/emergency_stop", self.stops.append, qos.COMMAND)
        node.create_service(Trigger, "arm/release", self._on_release)
        self._publisher = node.create_publisher(JointState, "observation/proprioception", qos.STATE)
        self.stamp = 10**9
        assert graph.until(lambda: self._publisher.get_subscription_count() and node.count_publishers("arm/override"))

    def _on_release(self, _request, response):
        self.releases.append(True)
        return response

    def observe(self) -> None:
        self.stamp += 200_000_000
        message = JointState(position=[0.25, 0.0, 0.1, 0.0, 0.0, 0.0, 1.0])
        message.header.stamp = to_time(self.stamp)
        self._publisher.publish(message)
        self.graph.settle(0.05)

    def repeat(self, text: str, done) -> bool:
        """Hold a key and observe, until `done`."""

        def is_done() -> bool:
            if text:
                os.write(self.keyboard, text.encode())
            self.graph.settle(0.05)
            self.observe()
            return done()

        return self.graph.until(is_done)


def test_proprioception_that_is_cut_short_does_not_end_who_has_the_emergency_stop():
    node = SimpleNamespace(_opening=None, _sent=-1, _config=TeleopConfig(), _teleoperator=None)
    with pytest.raises(MalformedMessage):  # which `GraphNode` tells and ignores
        TeleopNode._on_proprioception(node, JointState(position=[0.0] * 3))


def test_keys_become_overrides_of_a_person_and_the_terminal_is_left_as_it_was(graph):
    bench = Terminal(graph)
    bench.observe()
    assert bench.overrides == []
    assert bench.repeat("w", lambda: len(bench.overrides) >= 3)
    last = bench.overrides[-1]
    assert last.actor == 2 and last.mode == ArmCommand.MODE_DELTA
    np.testing.assert_allclose(last.action, [0.02, 0, 0, 0, 0, 0, 1], atol=1e-6)
    counts = []

    def is_let_go() -> bool:
        counts.append(len(bench.overrides))
        return len(counts) > 10 and counts[-10] == counts[-1]

    assert bench.repeat("", is_let_go), "a key that was let go moves nothing"
    assert bench.repeat("g", lambda: bench.overrides[-1].action[6] < 0.5)
    assert bench.repeat("h", lambda: bench.commands) and bench.commands[-1].mode == ArmCommand.MODE_HOME
    assert bench.commands[-1].actor == 2
    assert bench.repeat(" ", lambda: bench.stops) and bench.stops[-1].data
    assert bench.repeat("x", lambda: bench.releases), "once the service has been found"
    code, output = graph.stop(bench.process)
    assert code == 0 and "emergency stop" in output and "Traceback" not in output
    assert termios.tcgetattr(bench.tty) == bench.before
    os.close(bench.keyboard)
    os.close(bench.tty)


@pytest.mark.parametrize("moved", [True, False])
def test_the_workspace_is_written_from_joint_states_and_nothing_is_published(graph, tmp_path, moved):
    file = tmp_path / "workspace.yaml"
    process = graph.start("workspace", output=str(file), margin=0.01)
    publisher = graph.node.create_publisher(JointState, "joint_states", qos.STATE)
    assert graph.until(publisher.get_subscription_count)
    rng = np.random.default_rng(1)
    low, high = np.array([0.2, -0.1, 0.03]), np.array([0.3, 0.1, 0.15])
    names = [*ARM_JOINT_NAMES, "gripper"][::-1]
    places = [low, high, *(np.where(rng.random((60, 3)) < 0.5, low, high))] if moved else [low]
    path = itertools.cycle(
        inverse_kinematics(pose_from_vector((*place, 0, 0, 0)), READY, any_configuration=True).joint_positions
        for place in places
    )
    shown = "x +0.200 .. +0.300 m  y -0.100 .. +0.100 m  z +0.030 .. +0.150 m" if moved else "x +0.200 .. +0.200 m"
    taken = 0

    def is_shown() -> bool:
        """The node shows the whole box, and has then been told of places for longer than it may be held up."""
        nonlocal taken
        publisher.publish(JointState(name=names, position=[0.3, *next(path)[::-1].tolist()]))
        graph.settle(0.02)
        taken += process.says(shown)
        return taken > 200

    assert graph.until(is_shown)
    assert graph.until(lambda: "workspace" in graph.node.get_node_names())
    published = {name for name, _ in graph.node.get_publisher_names_and_types_by_node("workspace", "/")}
    assert published <= {"/rosout", "/parameter_events"}
    code, output = graph.stop(process)
    assert "Traceback" not in output, output
    if not moved:
        assert code != 0 and "hardly moved" in output and not file.exists()
        return
    assert code == 0, output
    values = yaml.safe_load(file.read_text())
    np.testing.assert_allclose(values["workspace_minimum"], low + 0.01, atol=2e-3)
    np.testing.assert_allclose(values["workspace_maximum"], high - 0.01, atol=2e-3)
    again = graph.start("workspace", output=str(file))
    assert graph.until(lambda: again.poll() is not None)
    assert again.returncode == 1 and "is there already" in again.stdout.read()
