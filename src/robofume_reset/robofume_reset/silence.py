"""Who is silent: the sentence for a goal that ends because no step came."""

from collections.abc import Mapping
from dataclasses import dataclass

PROBED = ("observation/image", "observation/proprioception")
"""Topics that are listened to for `PROBE_TIME`; in lockstep both are repeated every second."""
PROBE_TIME = 2.5
"""s"""


@dataclass(frozen=True)
class Findings:
    """What the switcher's node saw. Topic names are relative."""

    seconds: float
    """Since when no step has come."""
    publishers: Mapping[str, int]
    """Topic -> number of publishers, of `step`, `camera/image_raw`, `joint_states` and the probed topics."""
    heard: Mapping[str, int]
    """Probed topic -> messages during the probe."""
    arm_refuses: str = ""
    """The arm's reason for refusing, '' where it does not."""


def silence_sentence(findings: Findings) -> str:
    """One sentence that names the silent one and says what to look at."""
    start = f"No control step for {findings.seconds:.0f} s: "
    publishers, heard = findings.publishers, findings.heard
    if not publishers["step"]:
        return start + "the policy node is gone. See its log."
    if not publishers["observation/image"]:
        return start + "the camera node is gone (nobody publishes observation/image). See its log."
    if not heard["observation/image"]:
        if not publishers["camera/image_raw"]:
            return start + "the camera is silent: nobody publishes camera/image_raw. Is its source up?"
        return start + "the camera is silent (observation/image). See the logs of the camera and of its source."
    if not publishers["observation/proprioception"]:
        return start + "the arm node is gone (nobody publishes observation/proprioception). See its log."
    if not heard["observation/proprioception"]:
        if not publishers["joint_states"]:
            return start + "the arm is silent: nobody publishes joint_states. Is its source up?"
        return start + "the arm is silent (observation/proprioception). See the logs of the arm and of its driver."
    if findings.arm_refuses:
        return start + f"the arm refuses to move: {findings.arm_refuses}"
    return (
        start + "images and proprioception arrive, but the policy node acts on none of them. "
        "See its log: has it weights (or, in collection, overrides), and is it told the right step_listeners?"
    )
