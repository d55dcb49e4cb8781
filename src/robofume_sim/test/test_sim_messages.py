"""What the nodes of the simulation do with messages that do not fit; without a graph."""

from types import SimpleNamespace

import numpy as np
import pytest
from robofume_common.errors import MalformedMessage
from robofume_robot.kinematics import JOINT_NAMES
from robofume_sim.nodes.demonstrator import DemonstratorNode
from robofume_sim.nodes.gazebo_arm import CONTROLLERS, GazeboArmNode
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from robofume_interfaces.msg import GroundTruth, Step, Task


def test_the_demonstrator_does_nothing_in_a_task_that_it_does_not_know():
    node = DemonstratorNode.__new__(DemonstratorNode)
    told, sent = [], []
    node.get_logger = lambda: SimpleNamespace(error=told.append)
    node._scripts = {"pot_lid": SimpleNamespace(begin=lambda _way: None, act=lambda _state: np.zeros(7, np.float32))}
    node._overrides = SimpleNamespace(publish=sent.append)
    node._task, node._answer = None, None
    node._joint_state, node._truth, node._objects = (0, np.zeros(8)), GroundTruth(), ()
    known = {"phase": Step.PHASE_FORWARD, "direction": Step.DIRECTION_FORWARD}
    node._on_task(Task(task="candy_sweeping", episode_id="1", **known))
    node._act()
    assert sent == [] and len(told) == 1 and "candy_sweeping" in told[0]
    node._on_task(Task(task="pot_lid", episode_id="2", **known))
    assert len(sent) == 1


def test_a_trajectory_with_too_few_positions_does_not_end_the_gazebo_arm():
    sent = []
    node = SimpleNamespace(
        _controllers={name: SimpleNamespace(publish=sent.append) for name in CONTROLLERS},
        _counters={"incomplete": 0, "trajectories": 0},
    )
    message = JointTrajectory(joint_names=list(JOINT_NAMES), points=[JointTrajectoryPoint(positions=[0.0] * 3)])
    with pytest.raises(MalformedMessage, match="one position for each"):
        GazeboArmNode._on_trajectory(node, message)
    assert sent == []
