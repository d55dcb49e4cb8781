"""The recorder alone: bags of what the graph does."""

from robofume_bringup.launch_parts import describe


def generate_launch_description():
    return describe(["recorder"])
