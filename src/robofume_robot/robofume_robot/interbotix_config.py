"""Settings of the Interbotix backend."""

from __future__ import annotations

from dataclasses import dataclass

from robofume_common.errors import RobofumeError
from robofume_common.parameters import setting

SUPPORTED_MODELS = ("wx250s",)
"""`robofume_robot.kinematics` describes this arm and no other."""


@dataclass(frozen=True)
class InterbotixConfig:
    """How the arm is driven through Interbotix' driver (`xs_sdk`), and how long is waited for whom."""

    robot_model: str = setting("wx250s", "Interbotix' name of the arm", choices=SUPPORTED_MODELS)
    robot_name: str = setting("", "Namespace of the driver, without the first slash; empty: the robot_model")
    startup_timeout: float = setting(
        30.0, "Wall time until the driver must be there and answer", unit="s", minimum=1.0, maximum=600.0
    )
    stream_period: float = setting(
        0.1, "Time between two goals sent to the servos", unit="s", minimum=0.02, maximum=0.5
    )
    moving_time: float = setting(
        0.2,
        "In which a servo reaches each goal (Profile_Velocity), set once; twice the stream period or more is smooth",
        unit="s",
        minimum=0.04,
        maximum=2.0,
    )
    acceleration_time: float = setting(
        0.05, "Of which the servo accelerates (Profile_Acceleration), at most half", unit="s", minimum=0.0, maximum=1.0
    )
    velocity_scale: float = setting(
        0.85, "Share of the joint velocity limits that a stream may ask for", minimum=0.01, maximum=1.0
    )
    largest_jump: float = setting(
        1.2, "A motion that begins further from the arm is refused", unit="rad", minimum=0.05, maximum=3.0
    )
    gripper_pressure: float = setting(0.5, "Share of the gripper's force range", minimum=0.0, maximum=1.0)
    driver_timeout: float = setting(
        0.5, "Wall time without joint states until nothing is streamed", unit="s", minimum=0.05, maximum=10.0
    )
    driver_lost_after: float = setting(
        5.0, "Wall time without joint states, or without an answer, until the node ends", unit="s", minimum=1.0
    )
    arm_timeout: float = setting(
        3.0, "Wall time without `arm/status` until the measured pose is held", unit="s", minimum=1.5, maximum=60.0
    )
    arm_lost_after: float = setting(
        15.0, "Wall time without `arm/status` until the arm goes to sleep and the node ends", unit="s", minimum=2.0
    )
    error_period: float = setting(
        1.0, "Between two readings of the servos' hardware errors", unit="s", minimum=0.2, maximum=60.0
    )
    recovery_attempts: int = setting(
        3, "Restarts of servos within recovery_window before a person is asked", minimum=0, maximum=20
    )
    recovery_window: float = setting(120.0, "See recovery_attempts", unit="s", minimum=1.0)
    sleep_velocity_scale: float = setting(
        0.15, "Share of the joint velocity limits on the way to the sleep pose", minimum=0.02, maximum=0.5
    )
    sleep_height: float = setting(
        0.15, "The gripper first rises to this height, as far as the arm allows", unit="m", minimum=0.0, maximum=0.4
    )
    sleep_tolerance: float = setting(
        0.2, "Largest joint error in the sleep pose to cut the torque", unit="rad", minimum=0.02, maximum=0.5
    )
    torque_off_at_end: bool = setting(True, "Cut the torque once the arm is in its sleep pose")
    guided: bool = setting(
        False, "Torque off from the start, so that a person can guide the arm by hand; only from the sleep pose"
    )

    def check(self) -> InterbotixConfig:
        """The same settings. Raises RobofumeError where two of them contradict each other."""
        if self.acceleration_time > 0.5 * self.moving_time:
            raise RobofumeError("acceleration_time must be at most half of moving_time.")
        if self.moving_time < self.stream_period:
            raise RobofumeError("moving_time must be at least stream_period: the servos would stop between two goals.")
        if self.driver_lost_after <= self.driver_timeout or self.arm_lost_after <= self.arm_timeout:
            raise RobofumeError("driver_lost_after and arm_lost_after must be longer than the timeouts before them.")
        return self

    @property
    def namespace(self) -> str:
        """Namespace of the driver."""
        return (self.robot_name or self.robot_model).strip("/")
