"""Stands in for Interbotix' module of the same name. Its driver is whoever answers the topics below `/wx250s/fake`.

The environment variable FAKE_INTERBOTIX makes it misbehave as the real one can: exit, hang or fail."""

import os
import sys
import time
from types import SimpleNamespace

from rclpy.duration import Duration
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.task import Future
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray, String

REGISTERS = {}
EVERYTHING = QoSProfile(depth=1000, durability=DurabilityPolicy.TRANSIENT_LOCAL)
"""Whoever listens hears all of it, however late and slow."""
FAULT = os.environ.get("FAKE_INTERBOTIX", "")


class InterbotixManipulatorXS:
    def __init__(self, robot_model, robot_name, node, **_settings):
        if FAULT == "exit":
            sys.exit(1)
        while FAULT == "hang":
            time.sleep(0.1)
        self._goals = node.create_publisher(Float64MultiArray, f"/{robot_name}/fake/goals", EVERYTHING)
        self._calls = node.create_publisher(String, f"/{robot_name}/fake/calls", EVERYTHING)
        self.core = SimpleNamespace(joint_states=JointState())
        node.create_subscription(JointState, f"/{robot_name}/joint_states", self._take, 10)
        for name in ("srv_set_reg", "srv_get_reg", "srv_reboot", "srv_torque"):
            setattr(self.core, name, Client(self, name))
        self.arm = SimpleNamespace(set_joint_positions=self._set, moving_time=2.0, accel_time=0.3)
        self.gripper = SimpleNamespace(
            release=lambda _delay: self.tell("open"), grasp=lambda _delay: self.tell("close")
        )
        import rclpy

        while not self.core.joint_states.name:
            rclpy.spin_once(node, timeout_sec=0.1)

    def _take(self, message):
        self.core.joint_states = message

    def _set(self, positions, blocking):
        assert blocking is False
        if FAULT == "break":
            raise ValueError("the library broke")
        self._goals.publish(Float64MultiArray(data=positions))
        # The arm is there at once; who plays its driver, and says so, may be held up longer than an arm may take.
        there = JointState(header=self.core.joint_states.header, name=self.core.joint_states.name)
        there.position = [*positions, *self.core.joint_states.position[6:]]
        self.core.joint_states = there
        return True

    def tell(self, text):
        self._calls.publish(String(data=text))
        if text == "srv_torque False":  # the last thing; what has not arrived goes with the process that ends
            for publisher in (self._goals, self._calls):
                publisher.wait_for_all_acked(Duration(seconds=60.0))


class Client:
    def __init__(self, bot, name):
        self._bot, self.srv_name = bot, name
        self.srv_type = SimpleNamespace(Request=lambda **fields: fields)

    def call_async(self, fields):
        what = f"{fields.get('reg', '')}{fields.get('enable', '')}"
        self._bot.tell(f"{self.srv_name} {what} {fields.get('value', '')}".strip())
        future = Future()
        if self.srv_name == "srv_set_reg":
            REGISTERS[fields["reg"]] = 0 if FAULT == "deaf" else fields["value"]
        if not (FAULT == "mute" and fields.get("reg") == "Hardware_Error_Status"):
            joints = 7 if fields["name"] == "all" else 6
            future.set_result(SimpleNamespace(values=[REGISTERS.get(fields.get("reg"), 0)] * joints))
        return future

    def remove_pending_request(self, _future):
        pass
