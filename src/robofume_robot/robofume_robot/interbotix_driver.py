"""Interbotix' Python library behind a small protocol, so that what uses it is tested without it.

Its traps, as read in its source, and what is done about them here:
- it waits without an end for its driver, and in some places ends the process by sys.exit: the caller starts it in a
  process of its own, with a deadline, after having seen the driver's services (`nodes/interbotix.py`);
- the constructor's `moving_time` is only remembered and never sent, and a value equal to the remembered one is not
  sent either: the registers are written here directly;
- its service calls wait for ever, and each leaves a timer of 20 Hz behind in its node, so that a register that is read
  once a second would fill a core within the hour: its clients are used, its waiting is not;
- restarted servos lose their RAM registers: a profile of 0 means as fast as they can, so the profile is written again
  before their torque comes back;
- when torque comes on nobody writes goals: the library takes it that servos stay where they are, and their manual does
  not say so. They get the place where they are as their goal first;
- the driver sleeps for 1 s with each servo that it restarts, and neither speaks nor answers: one at a time."""

from __future__ import annotations

import importlib
import threading
import time
from typing import Any, Protocol

from robofume_common.errors import RobofumeError

from robofume_robot.interbotix_config import InterbotixConfig
from robofume_robot.interbotix_joints import JointReader
from robofume_robot.kinematics import ARM_JOINT_NAMES, Array
from robofume_robot.motion import SECOND

ALL_JOINTS = (*ARM_JOINT_NAMES, "gripper")
"""The order of the driver's group `all`."""
SERVICES = (
    "set_operating_modes",
    "set_motor_pid_gains",
    "set_motor_registers",
    "get_motor_registers",
    "get_robot_info",
    "torque_enable",
    "reboot_motors",
)
"""The library's constructor waits for each of them without an end."""
RESTART_TIME = 1.0
"""s until a servo that was restarted answers again."""
_MODULES = ("interbotix_xs_modules.xs_robot.arm", "interbotix_common_modules.common_robot.robot")
_BELIEVED_MOVING_TIME = 2.0
"""s; what the library believes before the registers are written: the value of Interbotix' own mode file."""


class ServoDriver(Protocol):
    """What the backend needs of the arm's servos. `measured`, `move` and `grip` return at once; the others may take
    seconds, and raise RobofumeError where the driver does not answer."""

    def measured(self) -> tuple[int, Array] | None:
        """Stamp (ns) and positions (8,) of the newest joint state, in the order of `kinematics.JOINT_NAMES`; None where
        it cannot be believed."""

    def move(self, joints: Array) -> bool:
        """Send one goal (6,) in rad; False where the library refused it."""

    def grip(self, opened: bool) -> None:
        """Open or close the gripper, with force, until told otherwise."""

    def prepare(self) -> None:
        """Write how fast goals are reached into the servos, and look whether they took it."""

    def hardware_errors(self) -> list[int]:
        """The registers Hardware_Error_Status in the order of ALL_JOINTS; empty: not known."""

    def restart(self) -> None:
        """Restart the servos that report a fault; they come back with torque, where they are."""

    def torque(self, on: bool) -> None:
        """Torque of all servos. Without it the arm falls; where it comes on, it holds the arm where it is."""

    def close(self) -> None:
        """Let go of the library."""


class InterbotixLibrary:
    """`InterbotixManipulatorXS`. The constructor blocks until the driver has answered."""

    def __init__(self, config: InterbotixConfig) -> None:
        arm_module, self._robot = load_library()
        self._config = config
        self._reader = JointReader()
        # Not renamed by this process' own arguments (`__node:=`), which are meant for the node beside it.
        node = self._robot.create_interbotix_global_node(node_name="interbotix_library", use_global_arguments=False)
        self._bot: Any = arm_module.InterbotixManipulatorXS(
            robot_model=config.robot_model,
            robot_name=config.namespace,
            group_name="arm",
            gripper_name="gripper",
            moving_time=_BELIEVED_MOVING_TIME,
            accel_time=0.3,
            gripper_pressure=config.gripper_pressure,
            iterative_update_fk=False,
            node=node,
        )
        self._robot.robot_startup(node)

    def measured(self) -> tuple[int, Array] | None:
        """See ServoDriver."""
        message = self._bot.core.joint_states
        positions = self._reader.positions(message.name, message.position)
        stamp = message.header.stamp
        return None if positions is None else (stamp.sec * SECOND + stamp.nanosec, positions)

    def move(self, joints: Array) -> bool:
        """See ServoDriver."""
        return bool(self._bot.arm.set_joint_positions(joints.tolist(), blocking=False))

    def grip(self, opened: bool) -> None:
        """See ServoDriver."""
        (self._bot.gripper.release if opened else self._bot.gripper.grasp)(0.0)

    def prepare(self) -> None:
        """See ServoDriver."""
        arm, core, config = self._bot.arm, self._bot.core, self._config
        for register, seconds in (
            ("Profile_Velocity", config.moving_time),
            ("Profile_Acceleration", config.acceleration_time),
        ):
            value = round(seconds * 1000)
            self._ask(core.srv_set_reg, cmd_type="group", name="arm", reg=register, value=value)
            # The driver answers in the same way when a servo did not take it, and 0 would be as fast as it can.
            written = list(self._ask(core.srv_get_reg, cmd_type="group", name="arm", reg=register).values)
            if written != [value] * len(ARM_JOINT_NAMES):
                raise RobofumeError(f"The servos have not taken {register} {value}: they say {written or 'nothing'}.")
        # It judges speeds by what it remembers.
        arm.moving_time, arm.accel_time = config.moving_time, config.acceleration_time

    def hardware_errors(self) -> list[int]:
        """See ServoDriver."""
        answer = self._ask(self._bot.core.srv_get_reg, cmd_type="group", name="all", reg="Hardware_Error_Status")
        return list(answer.values)

    def restart(self) -> None:
        """See ServoDriver."""
        core = self._bot.core
        for name in ALL_JOINTS:
            servo = {"cmd_type": "single", "name": name}
            # One that does not answer has no value.
            if list(self._ask(core.srv_get_reg, reg="Hardware_Error_Status", **servo).values) != [0]:
                self._ask(core.srv_reboot, enable=False, smart_reboot=False, **servo)
        time.sleep(RESTART_TIME)
        self.prepare()
        self.torque(True)

    def torque(self, on: bool) -> None:
        """See ServoDriver."""
        if on:
            self._aim_where_they_are()
        self._ask(self._bot.core.srv_torque, cmd_type="group", name="all", enable=on)
        if on:
            # The library remembers the goal before, and would refuse every goal that is far from it.
            measured = self.measured()
            if measured is None:
                raise RobofumeError("The servos do not say where they are.")
            self._bot.arm.joint_commands = measured[1][:6].tolist()

    def _aim_where_they_are(self) -> None:
        """Those without torque alone: the others sag below their goals, and would a little further each time."""
        core = self._bot.core
        torques, places = (
            self._ask(core.srv_get_reg, cmd_type="group", name="arm", reg=register).values
            for register in ("Torque_Enable", "Present_Position")
        )
        if not len(torques) == len(places) == len(ARM_JOINT_NAMES):  # the driver's answer ends before one that is mute
            raise RobofumeError("Not every servo says where it is, so their torque stays as it is: look at the cables.")
        for name, torque, place in zip(ARM_JOINT_NAMES, torques, places, strict=True):
            if not torque:
                self._ask(core.srv_set_reg, cmd_type="single", name=name, reg="Goal_Position", value=place)

    def close(self) -> None:
        """See ServoDriver."""
        self._robot.robot_shutdown()

    def _ask(self, client: Any, **fields: Any) -> Any:
        answered = threading.Event()
        future = client.call_async(client.srv_type.Request(**fields))
        future.add_done_callback(lambda _future: answered.set())
        if not answered.wait(self._config.driver_lost_after):
            client.remove_pending_request(future)
            raise RobofumeError(
                f"The Interbotix driver does not answer {client.srv_name}: look whether it still runs, at the power "
                "and at the USB cable."
            )
        return future.result()


def load_library() -> tuple[Any, Any]:
    """The library's modules `arm` and `robot`. Raises RobofumeError where a package of it is not installed."""
    try:
        arm, robot = (importlib.import_module(name) for name in _MODULES)
    except ImportError as error:
        raise RobofumeError(
            f"The Interbotix packages are not installed ({error}): install interbotix_ros_toolboxes and "
            "interbotix_ros_core from Interbotix, source their workspace, and start this node again."
        ) from error
    return arm, robot
