"""The steps that a recorded robot makes, and `ros2 bag play`; camera and recorder come with bringup."""

from robofume_bringup.launch_parts import describe


def generate_launch_description():
    return describe(["replay"])
