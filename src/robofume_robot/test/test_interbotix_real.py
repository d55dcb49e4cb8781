"""The interbotix node on Interbotix' own Python library and servo simulator, wherever they are installed."""

import importlib
import math
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from builtin_interfaces.msg import Duration
from robofume_robot.kinematics import ARM_JOINT_NAMES, JOINT_LOWER, JOINT_UPPER, SLEEP_JOINT_POSITIONS
from sensor_msgs.msg import JointState
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from robofume_common import qos
from robofume_robot import kinematics

HOME = np.array([0.0, -0.3044, 0.4469, 0.0, 1.4283, 0.0])


def simulator() -> Path:
    """Interbotix' servo simulator; skips where it or the library is not installed."""
    for module in ("interbotix_xs_msgs", "interbotix_common_modules", "interbotix_xs_modules.xs_robot.arm"):
        try:
            importlib.import_module(module)
        except ImportError as error:
            pytest.skip(f"the package {module.split('.')[0]} from Interbotix is not installed ({error})")
    from ament_index_python.packages import PackageNotFoundError, get_package_prefix

    try:
        found = list((Path(get_package_prefix("interbotix_xs_sdk")) / "lib/interbotix_xs_sdk").glob("xs_sdk_sim*"))
    except PackageNotFoundError:
        found = []
    if not found:
        pytest.skip("the package interbotix_xs_sdk from Interbotix is not installed")
    return found[0]


def configuration(directory: Path) -> Path:
    """A parameter file for the simulator: a WidowX 250s as far as its servos go."""
    joints = [*ARM_JOINT_NAMES, "gripper"]
    motors = {
        "joint_order": joints,
        "sleep_positions": [*SLEEP_JOINT_POSITIONS.tolist(), 0.0],
        "joint_state_publisher": {"update_rate": 100, "publish_states": True, "topic_name": "joint_states"},
        "groups": {"arm": list(ARM_JOINT_NAMES)},
        "grippers": {
            "gripper": {
                "horn_radius": 0.014,
                "arm_length": 0.024,
                "left_finger": "left_finger",
                "right_finger": "right_finger",
            }
        },
        "motors": {name: {"ID": index + 1} for index, name in enumerate(joints)},
    }
    arm = {"operating_mode": "position", "profile_type": "time", "profile_velocity": 2000, "profile_acceleration": 300}
    modes = {"groups": {"arm": arm}, "singles": {"gripper": {"operating_mode": "pwm"}}}
    limits = dict(zip(ARM_JOINT_NAMES, zip(JOINT_LOWER, JOINT_UPPER, strict=True), strict=True))
    limits |= {"left_finger": (0.015, 0.037), "right_finger": (-0.037, -0.015)}
    urdf = '<robot name="wx250s"><link name="base"/>'
    for name, (low, high) in limits.items():
        kind = "prismatic" if "finger" in name else "revolute"
        urdf += (
            f'<link name="{name}_link"/><joint name="{name}" type="{kind}"><parent link="base"/>'
            f'<child link="{name}_link"/><limit lower="{low}" upper="{high}" velocity="{math.pi}" effort="1"/></joint>'
        )
    for name, content in (("motors", motors), ("modes", modes)):
        (directory / f"{name}.yaml").write_text(yaml.safe_dump(content))
    parameters = {
        "motor_configs": str(directory / "motors.yaml"),
        "mode_configs": str(directory / "modes.yaml"),
        "robot_description": urdf + "</robot>",
    }
    file = directory / "simulator.yaml"
    file.write_text(yaml.safe_dump({"/**": {"ros__parameters": parameters}}))
    return file


class Bench:
    def __init__(self, graph) -> None:
        self.graph = graph
        self.states, self.driver_states = [], []
        node = graph.node
        node.create_subscription(JointState, "joint_states", self.states.append, qos.STATE)
        node.create_subscription(JointState, "/wx250s/joint_states", self.driver_states.append, 10)
        self._publisher = node.create_publisher(JointTrajectory, "arm_controller/joint_trajectory", qos.COMMAND)

    def position(self):
        return np.array(self.states[-1].position)

    def send(self, joints, finger=0.037, milliseconds=200) -> None:
        point = JointTrajectoryPoint(positions=[*map(float, joints), finger, finger])
        point.time_from_start = Duration(sec=milliseconds // 1000, nanosec=milliseconds % 1000 * 1_000_000)
        self._publisher.publish(JointTrajectory(joint_names=list(kinematics.JOINT_NAMES), points=[point]))

    def lead_home(self) -> None:
        start = self.position()[:6]
        for share in np.linspace(0.0, 1.0, 13)[1:]:
            self.send(start + share * (HOME - start))
            self.graph.settle(0.2)
        assert self.graph.until(lambda: np.abs(self.position()[:6] - HOME).max() < 1e-3)


@pytest.fixture
def bench(graph, tmp_path):
    command = [sys.executable, str(simulator()), "--ros-args", "-r", "__ns:=/wx250s"]
    command += ["--params-file", str(configuration(tmp_path))]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
    bench = Bench(graph)
    bench.simulator = process
    yield bench
    process.kill()
    process.wait()


def test_start_stream_gripper_sleep_and_shutdown(graph, bench):
    process = graph.start("interbotix", startup_timeout=60.0)
    assert graph.until(lambda: bench.states), process.poll()
    assert tuple(bench.states[-1].name) == kinematics.JOINT_NAMES
    assert bench.position()[7] > 0.0
    bench.lead_home()
    fingers = []
    for index in range(100):
        phase = 2.0 * np.pi * index / 50.0
        target = HOME + (0.3 * np.sin(phase), 0.1 * np.sin(2 * phase), 0, 0, 0.1 * np.sin(phase), 0.4 * np.sin(phase))
        bench.send(target, 0.015 if 25 <= index < 75 else 0.037)
        graph.settle(0.1)
        fingers.append(bench.position()[6])
    assert graph.until(lambda: np.abs(bench.position()[:6] - target).max() < 1e-3)
    assert max(fingers) > 0.035 and min(fingers) < 0.017
    for bad in (HOME * np.nan, HOME + 9.0):
        bench.send(bad)
    graph.settle(0.5)
    np.testing.assert_allclose(bench.position()[:6], target, atol=1e-3)
    code, output = graph.stop(process, signal.SIGTERM)
    assert code == 0 and "torque is off" in output and "Traceback" not in output, output
    names = list(bench.driver_states[-1].name)
    asleep = [bench.driver_states[-1].position[names.index(name)] for name in ARM_JOINT_NAMES]
    np.testing.assert_allclose(asleep, SLEEP_JOINT_POSITIONS, atol=1e-3)


def test_the_driver_is_killed_in_the_middle(graph, bench):
    process = graph.start("interbotix", startup_timeout=60.0, driver_lost_after=2.0)
    assert graph.until(lambda: bench.states)
    bench.lead_home()
    bench.send(HOME + (0.5, 0, 0, 0, 0, 0), milliseconds=5000)
    graph.settle(1.0)
    bench.simulator.kill()
    assert graph.until(lambda: process.poll() is not None)
    output = process.stdout.read()
    assert process.returncode == 1 and "sent no joint states" in output and "Traceback" not in output, output
