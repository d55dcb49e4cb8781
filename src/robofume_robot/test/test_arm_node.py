"""The arm node as a real process over DDS."""

import signal

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from robofume_common.conversion import to_nanoseconds, to_time
from robofume_robot.envelope import Limits, is_safe
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool, Empty
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory

from robofume_common import qos
from robofume_interfaces.msg import ArmCommand, ArmStatus, BackendStatus
from robofume_robot import kinematics

HOME = [0.0, -0.3044, 0.4469, 0.0, 1.4283, 0.0]
BOX = {"workspace_minimum": [0.17, -0.15, 0.02], "workspace_maximum": [0.40, 0.15, 0.18]}
LIMITS = Limits((0.17, -0.15, 0.02), (0.40, 0.15, 0.18))
PERIOD = 200_000_000


class Robot:
    """The other side of the arm node: publishes joint states and commands, keeps what comes back."""

    def __init__(self, graph) -> None:
        self.graph = graph
        node = graph.node
        self.positions = np.append(HOME, (0.037, 0.037))
        self.stamp = 10 * PERIOD
        self.efforts: list[float] = []
        self.motions: list[JointTrajectory] = []
        self.proprioceptions: list[JointState] = []
        self.statuses: list[ArmStatus] = []
        self._states = node.create_publisher(JointState, "joint_states", qos.STATE)
        self._commands = node.create_publisher(ArmCommand, "arm/command", qos.COMMAND)
        node.create_subscription(JointTrajectory, "arm_controller/joint_trajectory", self.motions.append, qos.COMMAND)
        node.create_subscription(JointState, "observation/proprioception", self.proprioceptions.append, qos.STATE)
        node.create_subscription(ArmStatus, "arm/status", self.statuses.append, qos.LATCHED)

    def connect(self) -> None:
        node = self.graph.node
        self.statuses.clear()
        self.proprioceptions.clear()
        assert self.graph.until(
            lambda: (
                self._states.get_subscription_count()
                and self._commands.get_subscription_count()
                and node.count_publishers("arm_controller/joint_trajectory")
                and self.statuses
            )
        )
        # One round trip: then the connections back to this side stand as well.
        assert self.graph.until(lambda: self.observe() or self.graph.until(lambda: self.proprioceptions, 0.5))
        assert self.graph.until(self.is_seen), "and nothing that was sent for it is on its way still"

    def observe(self) -> None:
        self.stamp += PERIOD
        # Another order than ours, as drivers have it.
        order = [6, 7, 0, 1, 2, 3, 4, 5]
        message = JointState(name=[kinematics.JOINT_NAMES[i] for i in order])
        message.header.stamp = to_time(self.stamp)
        message.position = [float(self.positions[i]) for i in order]
        message.effort = self.efforts
        self._states.publish(message)

    def is_seen(self) -> bool:
        """Whether the arm node has taken the newest joint state."""
        return bool(self.proprioceptions) and to_nanoseconds(self.proprioceptions[-1].header.stamp) == self.stamp

    def send(self, action, mode=ArmCommand.MODE_DELTA, stamp=None) -> None:
        message = ArmCommand(mode=mode)
        message.header.stamp = to_time(self.stamp if stamp is None else stamp)
        message.action = np.asarray(action, dtype=np.float32)
        self._commands.publish(message)

    def answer(self, deadline=60.0) -> JointTrajectory | None:
        """The trajectory that answers the newest joint state."""

        def found() -> list[JointTrajectory]:  # the last few: a hold of the watchdog may have come after it
            return [m for m in self.motions[-5:] if to_nanoseconds(m.header.stamp) == self.stamp]

        return found()[0] if self.graph.until(found, deadline) else None

    def check(self) -> int:
        """Every target that came out so far is safe; returns how many there were."""
        count = 0
        for motion in self.motions:
            assert tuple(motion.joint_names) == kinematics.JOINT_NAMES
            for point in motion.points:
                count += 1
                positions = np.array(point.positions)
                assert np.isfinite(positions).all() and is_safe(positions[:6], LIMITS)
                assert (positions[6:] >= 0.015).all() and (positions[6:] <= 0.037).all()
                assert point.time_from_start.sec * 1_000_000_000 + point.time_from_start.nanosec > 0
        return count


@pytest.fixture
def robot(graph):
    return Robot(graph)


def test_ten_thousand_wild_commands_and_not_one_unsafe_target(graph, robot):
    """In lockstep, so that each valid command has one answer to wait for; the stale, infinite, not-a-number
    and huge ones between them have none, or the target that the arm has."""
    process = graph.start("arm", lockstep=True, watchdog=0.3, home_joint_positions=HOME, **BOX)
    robot.connect()
    rng = np.random.default_rng(11)
    rounds, wild = 3400, 0
    for index in range(rounds):
        for _ in range(2):
            action = rng.normal(size=7) * 10.0 ** rng.uniform(-2, 30)
            action[rng.integers(7)] = rng.choice([np.nan, np.inf, -np.inf, 3e38])
            stale = robot.stamp - int(rng.integers(1, robot.stamp))
            robot.send(action, int(rng.choice([0, 0, 0, 1, 2, 99])), stale)
            wild += 1
        mode = ArmCommand.MODE_HOME if index % 200 == 150 else ArmCommand.MODE_DELTA
        scale = 10.0 ** rng.uniform(-3, 2)
        robot.send(rng.normal(size=7) * scale, mode)
        motion = robot.answer()
        assert motion is not None, f"round {index} was not answered"
        if index % 100 == 99:
            graph.settle(0.4)  # the watchdog holds in between
        last = motion.points[-1]
        duration = last.time_from_start.sec * 1_000_000_000 + last.time_from_start.nanosec
        robot.positions = np.array(last.positions)
        robot.stamp += duration - PERIOD
        robot.observe()
        assert graph.until(robot.is_seen)
    assert graph.until(lambda: robot.statuses[-1].commands == rounds + wild), "each has arrived, and once"
    status = robot.statuses[-1]
    assert robot.check() >= rounds
    assert status.refused_not_finite > 0.3 * wild and status.clamped_step > 100 and status.clamped_box > 100
    assert status.refused_not_finite + status.refused_stale + status.refused_unreachable >= wild
    assert status.watchdog_holds > 0
    code, output = graph.stop(process)
    assert code == 0 and "Traceback" not in output
    robot.check()


def test_in_real_time_only_fresh_commands_move_the_arm(graph, robot):
    """Joint states at their own rate; what is late, early or comes while they are silent sends nothing."""
    # None of the waits of the node itself is over in the rounds, however long this process or the node is held up.
    process = graph.start("arm", watchdog=60.0, joint_state_timeout=60.0, home_joint_positions=HOME, **BOX)
    robot.connect()
    down = [0, 0, -0.01, 0, 0, 0, 1]
    rng = np.random.default_rng(3)
    for index in range(200):
        robot.observe()
        wanted = robot.stamp
        assert graph.until(robot.is_seen)
        wild = rng.normal(size=7) * 10.0 ** rng.uniform(0, 30)
        robot.send(wild, stamp=wanted - 500_000_000)
        robot.send(wild, stamp=wanted + 500_000_000)
        robot.send(wild, stamp=0)
        wild[3:6] = 0.0  # turned far enough, the arm would refuse as unreachable
        robot.send(down if index % 2 else wild)
        assert robot.answer() is not None
        robot.positions = np.array(robot.motions[-1].points[-1].positions)
    assert [to_nanoseconds(m.header.stamp) for m in robot.motions] == sorted(
        {to_nanoseconds(m.header.stamp) for m in robot.motions}
    )
    assert len(robot.motions) == robot.check() == 200
    assert graph.until(lambda: robot.statuses[-1].refused_stale >= 600)
    assert graph.stop(process)[0] == 0

    process = graph.start("arm", watchdog=60.0, joint_state_timeout=1.0, home_joint_positions=HOME, **BOX)
    robot.connect()

    def is_ready():
        return graph.until(lambda: robot.statuses[-1].state == ArmStatus.STATE_HOLDING, 0.2)

    # It refuses at its start too, before it has heard anything: only what follows on being ready is about old states.
    assert graph.until(lambda: robot.observe() or is_ready())
    assert graph.until(lambda: robot.statuses[-1].state == ArmStatus.STATE_REFUSING)
    sent = len(robot.motions)
    robot.send(down)
    graph.settle(0.5)
    assert len(robot.motions) == sent
    assert graph.until(lambda: robot.observe() or is_ready()), "one joint state is in time for a second only"
    assert graph.stop(process)[0] == 0


def test_two_arm_nodes_in_one_domain_do_not_move_the_arm(graph, robot):
    """Two graphs hear each other's commands; neither may move the arm by them, and the one that stays goes on."""
    settings = {"watchdog": 30.0, "joint_state_timeout": 30.0, "home_joint_positions": HOME, **BOX}
    first, second = graph.start("arm", **settings), graph.start("arm", **settings)
    robot.connect()
    levels: list[bytes] = []
    graph.node.create_subscription(DiagnosticArray, "/diagnostics", lambda m: levels.append(m.status[0].level), 10)
    other = "another arm node /arm is in this ROS domain"
    assert graph.until(lambda: first.says(other) and second.says(other)), "each has seen the other one"
    assert graph.until(lambda: levels[-2:] == [DiagnosticStatus.ERROR] * 2)
    down = [0, 0, -0.01, 0, 0, 0, 1]
    for _ in range(3):
        robot.observe()
        robot.send(down)
        graph.settle(0.3)
    assert not robot.motions
    assert graph.stop(second)[0] == 0
    levels.clear()

    def is_well() -> bool:
        robot.observe()  # how long all this took is the machine's affair: the joint states must not be old
        graph.settle(0.2)
        return levels[-2:] == [DiagnosticStatus.OK] * 2

    assert graph.until(is_well)
    robot.send(down)
    assert robot.answer() is not None
    assert graph.stop(first)[0] == 0


def test_proprioception_answers_each_joint_state(graph, robot):
    process = graph.start("arm", lockstep=True, home_joint_positions=HOME, **BOX)
    robot.connect()
    message = robot.proprioceptions[-1]
    assert list(message.name) == ["x", "y", "z", "roll", "pitch", "yaw", "gripper"]
    np.testing.assert_allclose(message.position, kinematics.proprioception(robot.positions))
    before = len(robot.proprioceptions)
    robot.stamp -= PERIOD
    robot.observe()  # repeated, same stamp: the same answer
    assert graph.until(lambda: len(robot.proprioceptions) > before)
    assert robot.proprioceptions[-1] == message
    assert graph.stop(process, signal.SIGTERM)[0] == 0


def test_without_a_box_the_node_says_so_and_does_not_move(graph, robot):
    process = graph.start("arm", lockstep=True)
    robot.connect()
    assert robot.statuses[-1].state == ArmStatus.STATE_REFUSING
    for mode in (ArmCommand.MODE_DELTA, ArmCommand.MODE_HOME, ArmCommand.MODE_HOLD):
        robot.send([0.0] * 7, mode)
        robot.observe()
    graph.settle(1.0)
    assert robot.motions == []
    code, output = graph.stop(process)
    assert code == 0 and "workspace_minimum" in output and robot.motions == []


def test_the_watchdog_and_the_end_hold_the_measured_pose(graph, robot):
    process = graph.start("arm", lockstep=True, watchdog=0.3, home_joint_positions=HOME, **BOX)
    robot.connect()
    robot.send([0.03, 0, -0.03, 0, 0, 0, 1])
    answer = robot.answer()
    for number, cause in ((2, "watchdog"), (3, "end")):
        if cause == "end":
            robot.positions = 0.9 * np.array(answer.points[-1].positions) + 0.1 * robot.positions
            robot.observe()
            assert graph.until(robot.is_seen)
            assert graph.stop(process, signal.SIGTERM)[0] == 0
        # The first time the arm has not stirred: whenever the watchdog strikes, the one pose that was measured is held.
        # The last hold is said until it is acknowledged.
        assert graph.until(lambda number=number: len(robot.motions) >= number), cause
        assert all(motion == robot.motions[number - 1] for motion in robot.motions[number:]), cause
        assert len(robot.motions) == number or cause == "end"
        held = robot.motions[-1]
        assert to_nanoseconds(held.header.stamp) == 0 and len(held.points) == 1
        np.testing.assert_allclose(held.points[0].positions[:6], robot.positions[:6], atol=1e-9)


def test_homing_is_reported_before_and_after(graph, robot):
    process = graph.start("arm", lockstep=True, home_joint_positions=HOME, **BOX)
    robot.positions[0] += 0.3
    robot.connect()
    robot.send([0.0] * 7, ArmCommand.MODE_HOME)
    asked = robot.stamp
    motion = robot.answer()
    assert len(motion.points) > 1
    assert graph.until(lambda: robot.statuses[-1].state == ArmStatus.STATE_HOMING)
    robot.positions = np.array(motion.points[-1].positions)
    robot.stamp += 5 * 10**9
    robot.observe()
    assert graph.until(lambda: to_nanoseconds(robot.statuses[-1].home_command) == asked)
    assert robot.statuses[-1].state == ArmStatus.STATE_HOLDING
    assert graph.stop(process)[0] == 0


def test_a_home_outside_the_box_is_one_sentence_and_an_exit_code(graph):
    process = graph.start("arm", home_joint_positions=[0.0, -1.8, 1.55, 0.0, 0.8, 0.0], **BOX)
    assert graph.until(lambda: process.poll() is not None)
    output = process.stdout.read()
    assert process.returncode == 1 and "home_joint_positions" in output and "Traceback" not in output


def test_the_emergency_stop_is_a_topic_and_a_service_and_only_a_release_ends_it(graph, robot):
    process = graph.start("arm", watchdog=30.0, joint_state_timeout=60.0, home_joint_positions=HOME, **BOX)
    robot.connect()
    topic = graph.node.create_publisher(Bool, "arm/emergency_stop", qos.COMMAND)
    stop = graph.node.create_client(Trigger, "arm/stop")
    release = graph.node.create_client(Trigger, "arm/release")
    released = []
    graph.node.create_subscription(Empty, "arm/released", released.append, qos.COMMAND)
    assert graph.until(lambda: stop.service_is_ready() and release.service_is_ready())
    assert graph.until(topic.get_subscription_count)
    for count, by_topic in ((1, True), (2, False)):
        robot.observe()
        robot.send([0, 0, -0.01, 0, 0, 0, 1])
        assert robot.answer() is not None
        if by_topic:
            topic.publish(Bool(data=True))
        else:
            future = stop.call_async(Trigger.Request())
            assert graph.until(future.done) and future.result().success
        assert graph.until(lambda: robot.statuses[-1].state == ArmStatus.STATE_STOPPED)
        assert graph.until(lambda: to_nanoseconds(robot.motions[-1].header.stamp) == 0), "the measured pose is held"
        topic.publish(Bool(data=False))
        sent = len(robot.motions)
        for mode in (ArmCommand.MODE_DELTA, ArmCommand.MODE_HOME):
            robot.observe()
            robot.send([0, 0, -0.01, 0, 0, 0, 1], mode)
        graph.settle(0.5)
        assert len(robot.motions) == sent and robot.statuses[-1].state == ArmStatus.STATE_STOPPED
        future = release.call_async(Trigger.Request())
        assert graph.until(lambda future=future: future.done() and robot.statuses[-1].state == ArmStatus.STATE_HOLDING)
        assert graph.until(lambda count=count: len(released) == count)
    assert graph.stop(process)[0] == 0


def test_too_much_torque_and_faults_of_servos_are_seen_in_the_status(graph, robot):
    process = graph.start("arm", watchdog=30.0, joint_state_timeout=60.0, home_joint_positions=HOME, **BOX)
    robot.connect()
    robot.efforts = [0.0, 0.0, 0.1, 0.1, 9.0, 0.1, 0.1, 0.1]
    for _ in range(5):
        robot.observe()
        assert graph.until(robot.is_seen)  # each: a torque is too much by the stamps of those that arrive
    assert graph.until(lambda: robot.statuses[-1].state == ArmStatus.STATE_RECOVERING)
    assert "elbow" in robot.statuses[-1].message
    robot.efforts = [0.0] * 8

    def is_over():
        return graph.until(lambda: robot.statuses[-1].state == ArmStatus.STATE_HOLDING, 0.1)

    assert graph.until(lambda: robot.observe() or is_over())
    backend = graph.node.create_publisher(BackendStatus, "arm/backend_status", qos.LATCHED)
    backend.publish(BackendStatus(state=BackendStatus.STATE_RECOVERING, message="elbow: overload"))
    assert graph.until(lambda: robot.statuses[-1].state == ArmStatus.STATE_RECOVERING)
    backend.publish(BackendStatus(state=BackendStatus.STATE_NEEDS_PERSON, message="support the arm"))
    assert graph.until(lambda: robot.statuses[-1].state == ArmStatus.STATE_STOPPED)
    assert "support the arm" in robot.statuses[-1].message
    robot.statuses.clear()
    assert graph.until(lambda: robot.statuses)
    assert (robot.statuses[-1].overloads, robot.statuses[-1].recoveries) == (2, 1)
    assert graph.stop(process)[0] == 0
