"""A person drives the simulated arm through the real nodes by joystick; then one of the nodes is lost."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import rclpy
import yaml
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from robofume_bringup.graph import NODES, task_description
from robofume_bringup.runner import node_environment
from robofume_common.conversion import to_nanoseconds
from sensor_msgs.msg import JointState, Joy
from std_msgs.msg import Bool
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory

from robofume_common import qos
from robofume_interfaces.msg import ArmStatus, Step, Task

PATIENCE = 120.0
TASK = task_description("mujoco", "pot_pick_and_place")
ENABLE, STOP, RELEASE = 5, 1, 7


class Person:
    """The graph without a switcher, and a joystick."""

    def __init__(self, domain: int, directory) -> None:
        self.context = Context()
        rclpy.init(context=self.context, domain_id=domain)
        self.node = Node("bench", context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.directory, self.environment = directory, node_environment(domain)
        self.processes: dict[str, subprocess.Popen] = {}
        self.steps, self.statuses, self.motions, self.waist = [], [], [], []
        self.buttons = []
        subscribe = self.node.create_subscription
        subscribe(Step, "step", self.steps.append, qos.STEP)
        subscribe(ArmStatus, "arm/status", self.statuses.append, qos.LATCHED)
        subscribe(JointTrajectory, "arm_controller/joint_trajectory", self.motions.append, qos.COMMAND)
        subscribe(JointState, "joint_states", lambda m: self.waist.append(m.position[0]), qos.STATE)
        self._joystick = self.node.create_publisher(Joy, "joy", 10)
        self._tasks = self.node.create_publisher(Task, "task", qos.LATCHED)
        self.stop = self.node.create_publisher(Bool, "arm/emergency_stop", qos.COMMAND)
        self.release = self.node.create_client(Trigger, "arm/release")
        self.node.create_timer(0.05, self._push)

    def _push(self) -> None:
        if self.buttons is not None:
            axes = [0.0] * 8
            axes[0] = 1.0
            self._joystick.publish(Joy(axes=axes, buttons=[int(i in self.buttons) for i in range(11)]))

    def start(self, name: str, **parameters) -> None:
        file = self.directory / f"{name}.yaml"
        file.write_text(yaml.safe_dump({name: {"ros__parameters": parameters}}))
        module = NODES[name].module if name in NODES else f"robofume_robot.nodes.{name}"
        command = [sys.executable, "-m", module, "--ros-args", "--params-file", str(file)]
        log = (self.directory / f"{name}.log").open("w")
        self.processes[name] = subprocess.Popen(
            command, env=self.environment, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
        )

    def start_all(self) -> None:
        box = {
            "workspace_minimum": list(TASK.workspace_minimum),
            "workspace_maximum": list(TASK.workspace_maximum),
            "home_joint_positions": list(TASK.home_joint_positions),
        }
        self.start("sim", task=TASK.name, lockstep=False)
        self.start("camera", width=64, height=64)
        # A machine that is busy with other things must not look like a lost node.
        self.start("arm", watchdog=3.0, joint_state_timeout=10.0, max_command_age=5.0, **box)
        ages = {"image_max_age": 5.0, "proprioception_max_age": 5.0, "override_max_age": 1.0}
        self.start("policy", source="override", use_sim_time=True, **ages)
        self.start("teleop", joystick_timeout=5.0)
        task = Task(phase=1, direction=1, instruction=TASK.forward_instruction, episode_id="one", step_limit=10_000)
        self._tasks.publish(task)

    def until(self, done, seconds: float = PATIENCE) -> bool:
        end = time.monotonic() + seconds
        while not done():
            if time.monotonic() > end:
                return False
            self.executor.spin_once(timeout_sec=0.02)
        return True

    def settle(self, seconds: float) -> None:
        """Take what comes; what is there already also where this process was held up for longer."""
        end, turns = time.monotonic() + seconds, 0
        while time.monotonic() < end or turns < 50 * seconds:
            self.executor.spin_once(timeout_sec=0.02)
            turns += 1

    def rests(self) -> bool:
        """Whether nobody steps and the arm keeps still for a second, and for 20 joint states; to be waited for, as who
        is behind does so late."""
        count, seen = len(self.steps), len(self.waist)
        self.settle(1.0)
        assert self.until(lambda: len(self.waist) >= seen + 20), "no joint states"
        return len(self.steps) == count and float(np.ptp(self.waist[seen:])) < 0.01

    def logs(self) -> str:
        return "\n".join(f"--- {f.name}\n{f.read_text()}" for f in sorted(self.directory.glob("*.log")))

    def close(self) -> None:
        for process in self.processes.values():
            if process.poll() is None:
                process.kill()
            process.wait()
        self.executor.remove_node(self.node)
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)


@pytest.fixture
def person(tmp_path, ros_domain):
    person = Person(ros_domain, tmp_path)
    yield person
    person.close()


def test_a_persons_actions_become_steps_and_the_arm_is_held_when_a_node_is_lost(person):
    person.start_all()
    assert person.until(lambda: person.waist and person.statuses), person.logs()
    person.settle(2.0)
    assert person.steps == [], "nobody acts"
    person.buttons = [ENABLE]
    start = person.waist[-1]
    assert person.until(lambda: len(person.steps) >= 5 and person.waist[-1] - start > 0.1), person.logs()
    step = person.steps[-1]
    assert step.actor == Step.ACTOR_PERSON and [s.index for s in person.steps] == list(range(len(person.steps)))
    np.testing.assert_allclose(step.action, [0, 0.02, 0, 0, 0, 0, 1], atol=1e-6)

    # The emergency stop by its button, while the enabling button is still held; then released.
    person.buttons = [ENABLE, STOP]
    assert person.until(lambda: person.statuses[-1].state == ArmStatus.STATE_STOPPED), person.logs()
    person.buttons = [ENABLE]
    assert person.until(person.rests), person.logs()
    assert person.statuses[-1].state == ArmStatus.STATE_STOPPED
    person.buttons = [RELEASE]
    assert person.until(lambda: person.statuses[-1].state != ArmStatus.STATE_STOPPED), person.logs()
    person.buttons = [ENABLE]
    assert person.until(lambda: person.statuses[-1].state == ArmStatus.STATE_MOVING), person.logs()

    # Without a camera the policy does not act, and the watchdog holds.
    person.processes["camera"].send_signal(signal.SIGKILL)
    assert person.until(lambda: person.statuses[-1].state == ArmStatus.STATE_HOLDING), person.logs()
    assert person.until(lambda: to_nanoseconds(person.motions[-1].header.stamp) == 0)
    assert person.statuses[-1].watchdog_holds >= 1
    person.start("camera", width=64, height=64)
    assert person.until(lambda: person.statuses[-1].state == ArmStatus.STATE_MOVING), person.logs()

    # Nor without a policy.
    holds = person.statuses[-1].watchdog_holds
    person.processes["policy"].send_signal(signal.SIGKILL)
    assert person.until(lambda: person.statuses[-1].state == ArmStatus.STATE_HOLDING), person.logs()
    assert person.until(person.rests), person.logs()
    assert person.statuses[-1].watchdog_holds == holds + 1

    # Asked to end, the arm node holds what is measured, and says so until it is acknowledged.
    sent = len(person.motions)
    person.processes["arm"].send_signal(signal.SIGTERM)
    assert person.until(lambda: person.processes["arm"].poll() is not None)
    assert person.until(lambda: len(person.motions) > sent)
    person.settle(0.5)
    hold, *again = person.motions[sent:]
    assert person.processes["arm"].returncode == 0 and all(motion == hold for motion in again)
    assert "Traceback" not in person.logs()
    os.kill(person.processes["teleop"].pid, signal.SIGINT)
    assert person.until(lambda: person.processes["teleop"].poll() is not None)
    assert person.processes["teleop"].returncode == 0
