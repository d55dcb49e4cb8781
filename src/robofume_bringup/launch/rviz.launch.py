"""rviz with the robot's model and the markers, beside a graph that runs."""

from robofume_bringup.launch_parts import describe


def generate_launch_description():
    return describe(["rviz"])
