"""What acts, judges, switches and learns; may run on another machine than the robot."""

from robofume_bringup.launch_parts import describe


def generate_launch_description():
    return describe(["learning"])
