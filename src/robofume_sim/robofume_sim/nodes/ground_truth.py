"""The truth about a scene as a message, for the sim and the Gazebo scene node."""

from __future__ import annotations

from collections.abc import Mapping

from builtin_interfaces.msg import Time
from geometry_msgs.msg import Pose

from robofume_interfaces.msg import GroundTruth
from robofume_sim.tasks.base import ObjectState, Truth


def truth_message(stamp: Time, task: str, truth: Truth, objects: Mapping[str, ObjectState]) -> GroundTruth:
    """What is true of `task` at `stamp`, and where its objects are."""
    message = GroundTruth(stamp=stamp, task=task)
    message.forward_success, message.backward_success = truth.forward_success, truth.backward_success
    message.forward_score, message.backward_score = truth.forward_score, truth.backward_score
    for name, thing in objects.items():
        pose = Pose()
        pose.position.x, pose.position.y, pose.position.z = thing.position.tolist()
        w, x, y, z = thing.quaternion.tolist()
        pose.orientation.w, pose.orientation.x, pose.orientation.y, pose.orientation.z = w, x, y, z
        message.object_names.append(name)
        message.object_poses.append(pose)
    return message
