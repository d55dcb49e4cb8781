"""The sim and demonstrator nodes as real processes over DDS, beside the real arm node."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import rclpy
import yaml
from builtin_interfaces.msg import Duration
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from robofume_common.conversion import image_to_array, to_nanoseconds, to_time
from robofume_common.enums import Direction, Phase
from robofume_robot.kinematics import JOINT_NAMES
from robofume_sim.tasks import TASKS
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image, JointState
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from robofume_common import qos
from robofume_interfaces.msg import ArmCommand, ArmStatus, GroundTruth, Task
from robofume_interfaces.srv import ResetScene

PERIOD = 200_000_000
HOME = [0.0, -0.3044, 0.4469, 0.0, 1.4283, 0.0, 0.037, 0.037]


class Bench:
    """What surrounds the sim node: keeps what it shows, in the order of arrival, and sends it trajectories."""

    def __init__(self, domain: int, directory) -> None:
        self.context = Context()
        rclpy.init(context=self.context, domain_id=domain)
        self.node = node = Node("bench", context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(node)
        self.directory = directory
        self.processes: list[subprocess.Popen] = []
        self.logs: dict[subprocess.Popen, Path] = {}
        self.joint_states: list[JointState] = []
        self.truths: list[GroundTruth] = []
        self.images: list[Image] = []
        self.clocks: list[Clock] = []
        node.create_subscription(JointState, "joint_states", self.joint_states.append, qos.STATE)
        node.create_subscription(GroundTruth, "ground_truth", self.truths.append, qos.GROUND_TRUTH)
        node.create_subscription(Image, "camera/image_raw", self.images.append, qos.IMAGE)
        node.create_subscription(Clock, "/clock", self.clocks.append, qos.CLOCK)
        self.trajectories = node.create_publisher(JointTrajectory, "arm_controller/joint_trajectory", qos.COMMAND)
        self.reset_client = node.create_client(ResetScene, "scene/reset")

    def start(self, module: str, environment=None, **parameters) -> subprocess.Popen:
        name = module.rsplit(".", 1)[-1]
        file = self.directory / f"{name}{len(self.processes)}.yaml"
        file.write_text(yaml.safe_dump({name: {"ros__parameters": parameters}}))
        log = file.with_suffix(".log")
        with log.open("w") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", module, "--ros-args", "--params-file", str(file)],
                env={**os.environ, **(environment or {})},
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self.processes.append(process)
        self.logs[process] = log
        return process

    def until(self, done, deadline: float = 60.0) -> bool:
        end = time.monotonic() + deadline
        while not done():
            if time.monotonic() > end:
                return False
            self.executor.spin_once(timeout_sec=0.01)
        return True

    def settle(self, seconds: float = 0.4) -> None:
        """Take what still comes; what is there already also where this process was held up for longer."""
        end, turns = time.monotonic() + seconds, 0
        while time.monotonic() < end or turns < 100 * seconds:
            self.executor.spin_once(timeout_sec=0.01)
            turns += 1

    def says(self, process: subprocess.Popen, text: str) -> bool:
        """Whether a node that goes on has said so."""
        return text in self.logs[process].read_text()

    @property
    def stamp(self) -> int:
        return to_nanoseconds(self.images[-1].header.stamp) if self.images else -1

    def first_image(self) -> int:
        assert self.until(lambda: self.images and self.truths and self.joint_states), "no image"
        assert self.until(lambda: self.trajectories.get_subscription_count())
        return self.stamp

    def send(self, stamp: int, points, times=(0.2,), names=JOINT_NAMES) -> None:
        message = JointTrajectory(joint_names=list(names))
        message.header.stamp = to_time(stamp)
        for positions, seconds in zip(points, times, strict=True):
            duration = Duration(sec=int(seconds), nanosec=int(seconds % 1 * 1e9))
            message.points.append(JointTrajectoryPoint(positions=list(positions), time_from_start=duration))
        self.trajectories.publish(message)

    def agree(self) -> bool:
        """Whether everything is there that belongs to the newest image: topics do not wait for one another."""
        newest = to_nanoseconds(self.joint_states[-1].header.stamp), to_nanoseconds(self.truths[-1].stamp)
        return newest == (self.stamp, self.stamp)

    def advances(self, stamp: int) -> bool:
        return self.until(lambda: self.stamp > stamp) and self.until(self.agree)

    def reset(self, direction: int, seed: int) -> ResetScene.Response:
        assert self.reset_client.wait_for_service(timeout_sec=30.0)
        future = self.reset_client.call_async(ResetScene.Request(direction=direction, seed=seed))
        assert self.until(future.done)
        return future.result()

    def stop(self, process: subprocess.Popen, number: int = signal.SIGINT) -> tuple[int, str]:
        process.send_signal(number)
        return self.end(process)

    def end(self, process: subprocess.Popen) -> tuple[int, str]:
        return process.wait(timeout=60), self.logs[process].read_text()

    def close(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait()
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)


@pytest.fixture
def bench(tmp_path, ros_domain):
    bench = Bench(ros_domain, tmp_path)
    yield bench
    bench.close()


def test_lockstep(bench):
    process = bench.start("robofume_sim.nodes.sim", image_width=48, image_height=32, repeat_after=0.5)
    stamp = bench.first_image()
    assert (bench.images[0].width, bench.images[0].height, bench.images[0].encoding) == (48, 32, "rgb8")
    assert list(bench.joint_states[0].name) == list(JOINT_NAMES)

    # nobody answers: the very same observation again
    count = len(bench.images)
    assert bench.until(lambda: len(bench.images) > count and len(bench.truths) > count)
    assert bench.stamp == stamp
    assert bytes(bench.images[-1].data) == bytes(bench.images[0].data)

    # the answer moves the world by one period, all topics agree on the stamp, and a duplicate moves nothing
    target = [0.2, *HOME[1:]]
    for _ in range(2):
        bench.send(stamp, [target])
    assert bench.advances(stamp)
    bench.settle()
    assert bench.until(bench.agree) and bench.stamp == stamp + PERIOD
    assert bench.until(lambda: to_nanoseconds(bench.clocks[-1].clock) == bench.stamp)
    assert bench.joint_states[-1].position[0] == pytest.approx(0.2, abs=0.01)

    # another order of joints; a trajectory of several points is played to its end before the next image
    stamp, images = bench.stamp, {to_nanoseconds(m.header.stamp) for m in bench.images}
    back = list(reversed(HOME))
    bench.send(stamp, [back, back], (0.4, 0.9), names=tuple(reversed(JOINT_NAMES)))
    assert bench.advances(stamp)
    assert bench.stamp == stamp + 5 * PERIOD
    assert {to_nanoseconds(m.header.stamp) for m in bench.images} == images | {bench.stamp}
    np.testing.assert_allclose(bench.joint_states[-1].position, HOME, atol=0.005)

    # stale, of the future, and answering nothing: time stands still
    for wrong in (stamp, bench.stamp + PERIOD, 0):
        before = bench.stamp
        bench.send(wrong, [target])
        bench.settle(0.3)
        assert bench.stamp == before

    code, output = bench.stop(process)
    assert code == 0, output
    assert "Traceback" not in output


@pytest.mark.parametrize(
    ("points", "times", "names"),
    [
        ([[float("nan")] * 8], (0.2,), JOINT_NAMES),
        ([HOME[:7]], (0.2,), JOINT_NAMES),
        ([HOME[:7]], (0.2,), JOINT_NAMES[:7]),
        ([HOME], (0.0,), JOINT_NAMES),
        ([HOME], (1e5,), JOINT_NAMES),
        ([], (), JOINT_NAMES),
    ],
    ids=["nan", "too few positions", "a joint missing", "no time", "too long", "empty"],
)
def test_bad_trajectories_are_refused_with_a_warning_and_the_node_lives_on(bench, points, times, names):
    process = bench.start("robofume_sim.nodes.sim", image_width=32, image_height=32)
    stamp = bench.first_image()
    bench.send(stamp, points, times, names)
    assert bench.until(lambda: bench.says(process, "A trajectory was refused"))
    bench.settle()
    assert bench.stamp == stamp
    bench.send(stamp, [HOME])
    assert bench.advances(stamp)
    assert bench.stop(process, signal.SIGTERM)[0] == 0


def test_scene_reset(bench):
    bench.start("robofume_sim.nodes.sim", image_width=32, image_height=32)
    stamp = bench.first_image()

    def place() -> list[float]:
        pose = bench.truths[-1].object_poses[0].position
        return [pose.x, pose.y]

    places = []
    for direction, seed in ((1, 5), (2, 5), (1, 6), (1, 5)):
        before = bench.stamp
        answer = bench.reset(direction, seed)
        assert answer.success, answer.message
        new = to_nanoseconds(answer.stamp)
        assert new > before >= stamp
        assert bench.until(lambda new=new: to_nanoseconds(bench.truths[-1].stamp) == new == bench.stamp)
        truth = bench.truths[-1]
        assert (truth.backward_success, truth.forward_success) == (direction == 1, direction == 2)
        places.append(place())
    assert places[0] == places[3] != places[2]
    assert not bench.reset(0, 1).success


def test_real_time_moves_by_the_wall_clock(bench):
    process = bench.start("robofume_sim.nodes.sim", image_width=32, image_height=32, lockstep=False, speed=2.0)
    bench.first_image()
    start = time.monotonic()
    bench.send(0, [[0.2, *HOME[1:]]])
    # What shows the arm moving was made after `start`, however late it was taken: that much time has passed at most.
    assert bench.until(lambda: bench.joint_states[-1].position[0] > 0.01)
    first = to_nanoseconds(bench.joint_states[-1].header.stamp)
    assert bench.until(lambda: bench.stamp >= first + 20 * PERIOD)
    behind = 2 * PERIOD * 1e-9  # that the simulation makes up for after it was held up
    assert (bench.stamp - first) * 1e-9 < 2.0 * (time.monotonic() - start) + behind, "faster than the clock allows"
    # An image each period, and joint states in between; who was held up for long has missed some.
    stamps = np.array([to_nanoseconds(m.header.stamp) for m in bench.images])
    assert not np.any(np.diff(stamps) % PERIOD) and np.diff(stamps).min() == PERIOD
    assert np.diff([to_nanoseconds(m.header.stamp) for m in bench.joint_states]).min() < PERIOD / 2
    assert bench.until(lambda: bench.joint_states[-1].position[0] == pytest.approx(0.2, abs=0.01))
    code, output = bench.stop(process)
    assert code == 0, output


def test_no_graphics_is_one_sentence_and_exit_code_1(bench):
    hidden = {"MUJOCO_GL": "glfw", "DISPLAY": "", "WAYLAND_DISPLAY": ""}
    process = bench.start("robofume_sim.nodes.sim", environment=hidden)
    code, output = bench.end(process)
    assert code == 1
    assert "apt-get install libegl1" in output.splitlines()[-1]
    assert "Traceback" not in output


def test_an_unknown_task_is_one_sentence_and_exit_code_1(bench):
    process = bench.start("robofume_sim.nodes.sim", task="nothing")
    code, output = bench.end(process)
    assert code == 1
    assert "pot_pick_and_place" in output.splitlines()[-1]


def test_sim_arm_and_demonstrator_do_the_task_forward_and_backward(bench):
    """The bench stands for the policy node: it passes each override on to the arm."""
    description = TASKS["pot_pick_and_place"].description
    box = {
        name: list(getattr(description, name))
        for name in ("workspace_minimum", "workspace_maximum", "home_joint_positions")
    }
    clean = {"action_noise": 0.0, "grasp_offset": 0.0}
    node = bench.node
    overrides: dict[int, ArmCommand] = {}
    turned: set[int] = set()
    """Observations that are the last one under one task and the first one under the next."""
    statuses: list[ArmStatus] = []

    def keep(message: ArmCommand) -> None:
        stamp = to_nanoseconds(message.header.stamp)
        if stamp in turned:
            overrides[stamp] = message
        known = overrides.setdefault(stamp, message)
        assert list(known.action) == list(message.action), "another answer to the same observation"

    node.create_subscription(ArmCommand, "arm/override", keep, qos.COMMAND)
    node.create_subscription(ArmStatus, "arm/status", statuses.append, qos.LATCHED)
    commands = node.create_publisher(ArmCommand, "arm/command", qos.COMMAND)
    tasks = node.create_publisher(Task, "task", qos.LATCHED)
    bench.start("robofume_sim.nodes.sim", image_width=64, image_height=64, seed=1)
    bench.start("robofume_robot.nodes.arm", lockstep=True, **box)
    bench.start("robofume_sim.nodes.demonstrator", **clean)
    bench.first_image()
    assert bench.until(lambda: commands.get_subscription_count() and tasks.get_subscription_count())
    assert bench.until(lambda: statuses and statuses[-1].state != ArmStatus.STATE_REFUSING), "no joint states"
    assert not overrides, "overrides without a task"

    for direction in (Direction.FORWARD, Direction.BACKWARD):
        stamp = bench.stamp
        # Under the task before there is an answer, too, and it may come again as long as that task goes on.
        assert direction is Direction.FORWARD or bench.until(lambda stamp=stamp: stamp in overrides)
        before = overrides.pop(stamp, ArmCommand())
        turned.add(stamp)
        task = Task(phase=int(Phase.FORWARD), direction=int(direction), task="pot_pick_and_place")
        task.episode_id, task.stamp = direction.name, to_time(stamp)
        tasks.publish(task)

        def is_answered_anew(stamp=stamp, before=before) -> bool:
            return stamp in overrides and list(overrides[stamp].action) != list(before.action)

        assert bench.until(is_answered_anew), "no override for the new task"
        home = ArmCommand(mode=ArmCommand.MODE_HOME)
        home.header.stamp = to_time(stamp)
        commands.publish(home)
        assert bench.advances(stamp)
        assert bench.until(lambda stamp=stamp: to_nanoseconds(statuses[-1].home_command) == stamp)
        for _ in range(description.steps_allowed(demonstrating=True)):
            stamp = bench.stamp
            assert bench.until(lambda stamp=stamp: stamp in overrides), "no override"
            assert overrides[stamp].actor == 3
            commands.publish(overrides[stamp])
            assert bench.advances(stamp)
            assert bench.until(lambda: to_nanoseconds(bench.truths[-1].stamp) == bench.stamp)
            truth = bench.truths[-1]
            if truth.forward_success if direction is Direction.FORWARD else truth.backward_success:
                break
        else:
            pytest.fail(f"the demonstrator did not succeed {direction.name.lower()}")
    assert image_to_array(bench.images[-1]).shape == (64, 64, 3)
