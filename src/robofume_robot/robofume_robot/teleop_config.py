"""Settings of the teleop node."""

from __future__ import annotations

from dataclasses import dataclass

from robofume_common.parameters import setting


@dataclass(frozen=True)
class TeleopConfig:
    """How a person's keys and joystick become commands."""

    keyboard: bool = setting(True, "Read keys from the terminal, where there is one")
    translation_step: float = setting(
        0.02, "Translation of one command at full deflection", unit="m", minimum=0.001, maximum=0.2
    )
    rotation_step: float = setting(
        0.1, "Rotation of one command at full deflection", unit="rad", minimum=0.005, maximum=1.0
    )
    key_time: float = setting(
        0.4,
        "A key counts as held for so long; longer than the terminal takes to repeat it",
        unit="s",
        minimum=0.05,
        maximum=2.0,
    )
    joystick_timeout: float = setting(
        0.5, "A joystick that is silent for longer is let go", unit="s", minimum=0.05, maximum=5.0
    )
    dead_zone: float = setting(0.1, "Deflections below it are none", minimum=0.0, maximum=0.9)
    axes: tuple[int, ...] = setting(
        (1, 0, 4, -1, -1, 3), "Joystick axes for x, y, z, roll, pitch, yaw; -1: none", minimum=-1, maximum=63
    )
    enable_button: int = setting(5, "Held while the joystick moves the arm", minimum=0, maximum=63)
    gripper_button: int = setting(0, "Opens and closes the gripper", minimum=0, maximum=63)
    stop_button: int = setting(1, "Emergency stop", minimum=0, maximum=63)
    release_button: int = setting(7, "Releases the emergency stop", minimum=0, maximum=63)
    home_button: int = setting(6, "Sends the arm home", minimum=0, maximum=63)
    command_period: float = setting(
        0.02, "Least time between two commands, by the stamps of the proprioception", unit="s", minimum=0.0, maximum=1.0
    )
