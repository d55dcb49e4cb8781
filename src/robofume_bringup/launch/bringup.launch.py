"""The whole graph: ros2 launch robofume_bringup bringup.launch.py robot:=... task:=... mode:=..."""

from robofume_bringup.launch_parts import describe


def generate_launch_description():
    return describe()
