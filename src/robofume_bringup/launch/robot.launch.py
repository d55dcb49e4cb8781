"""What moves: the embedded simulation, Gazebo with the arm, or the driver's side of the real arm."""

from robofume_bringup.launch_parts import describe


def generate_launch_description():
    return describe(["robot"])
