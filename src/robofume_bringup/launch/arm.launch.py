"""The arm node alone: safe joint trajectories from commands. It moves nothing by itself."""

from robofume_bringup.launch_parts import describe


def generate_launch_description():
    return describe(["arm"])
