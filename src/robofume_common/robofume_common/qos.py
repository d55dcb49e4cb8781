"""One quality-of-service profile per kind of topic, named once.

Our own topics are reliable on both ends, since lockstep loses its rhythm with every lost message.
What comes from drivers is subscribed best-effort, which matches reliable and best-effort publishers alike.
"""

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy


def _profile(depth: int, *, reliable: bool = True, latched: bool = False) -> QoSProfile:
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=depth,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )


IMAGE = _profile(5)
"""`observation/image`, and `camera/image_raw` where we publish it."""

STATE = _profile(10)
"""`observation/proprioception`, and `joint_states` where we publish it."""

SENSOR_INPUT = _profile(10, reliable=False)
"""Subscriptions to a driver's camera or joint states in real time: any publisher matches."""

SENSOR_INPUT_LOCKSTEP = _profile(10)
"""The same subscriptions in lockstep, where the simulation publishes reliably and nothing may be lost."""

COMMAND = _profile(10)
"""`arm/command`, `arm/override`, `arm_controller/joint_trajectory`, `step_permit`."""

STEP = _profile(1000)
"""`step`: the record that learning and bags live on; deep, so that a busy subscriber loses nothing."""

REWARD = _profile(1000)
"""`reward` and `label`."""

EPISODE = _profile(1000)
"""`episode`."""

GROUND_TRUTH = _profile(1000)
"""`ground_truth`."""

LATCHED = _profile(1, latched=True)
"""`task`, `policy/weights`, `arm/status`, `help`: who comes late gets the last one."""

STATUS = _profile(10)
"""`learner/status`."""

CLOCK = _profile(1, reliable=False)
"""`/clock`: only the newest time matters."""

DIAGNOSTICS = _profile(10)
"""`diagnostics`."""


def sensor_input(lockstep: bool) -> QoSProfile:
    """Profile of a subscription to raw images or joint states."""
    return SENSOR_INPUT_LOCKSTEP if lockstep else SENSOR_INPUT
