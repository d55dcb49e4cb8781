"""The camera nodes alone: any image topic or device in, the policy's picture out."""

from robofume_bringup.launch_parts import describe


def generate_launch_description():
    return describe(["camera"])
