"""An arm without a robot, with time in the test's hand."""

import numpy as np
from robofume_common.enums import Actor, ArmMode
from robofume_robot.arm import Arm
from robofume_robot.arm_config import ArmConfig
from robofume_robot.motion import Command

from robofume_robot import kinematics

HOME = (0.0, -0.3044, 0.4469, 0.0, 1.4283, 0.0)
PERIOD = 200_000_000
START = 5_000_000_000
STILL = [0, 0, 0, 0, 0, 0, 1]
DOWN = [0, 0, -0.03, 0, 0, 0, 1]


class Bench:
    """An arm, wall time, and a robot that does what the arm says (unless `blocked`)."""

    def __init__(self, **settings):
        box = {"workspace_minimum": (0.17, -0.15, 0.02), "workspace_maximum": (0.40, 0.15, 0.18)}
        self.now = 100.0
        self.seen = []
        self.config = ArmConfig(**{**box, "home_joint_positions": HOME, **settings})
        self.arm = Arm(self.config, clock=lambda: self.now, on_status=lambda: self.seen.append(self.arm.state))
        self.positions = np.append(HOME, (0.037, 0.037))
        self.stamp = START
        self.blocked = False

    def observe(self, after=PERIOD):
        self.stamp += after
        return self.arm.joint_state(self.stamp, self.positions)

    def send(self, action=STILL, mode=ArmMode.DELTA, stamp=None, actor=Actor.POLICY):
        return self.arm.command(Command(self.stamp if stamp is None else stamp, mode, action, actor))

    def obey(self, motion):
        if not self.blocked:
            self.positions = motion.points[-1].positions.copy()
        return self.observe(int(motion.points[-1].time_from_start * 1e9))

    def height(self):
        return kinematics.forward_kinematics(self.positions[:6])[2, 3]
