"""MJCF of the WidowX 250s: joints, limits, masses and gripper of the maker's description, primitive shapes.

The chain is the one `robofume_robot.kinematics` solves; a test compares the two. Only the fingers collide:
the envelope keeps the rest of the arm away from everything, and contacts cost time.
"""

from __future__ import annotations

from dataclasses import dataclass

from robofume_robot.kinematics import FINGER_CLOSED, FINGER_JOINT_NAMES, FINGER_OPEN

PAD_OFFSET = 0.005
"""How far [m] the inner face of a pad lies inside the finger position: the gap is 20 mm closed, 64 mm open."""
FINGERTIP_BELOW_GRIPPER = 0.013
"""How far [m] the fingertips reach beyond the gripper frame."""
GRIP_FORCE = 4.0
"""Largest force of a finger [N]; strong grips fling small objects."""

FINGER_BIT, OBJECT_BIT, CLOTH_BIT = 1, 2, 4
"""Collision bits. Fingers touch floor and grips; objects touch floor, limits and one another; cloth touches floor and
itself."""


@dataclass(frozen=True)
class _ArmJoint:
    """One revolute joint: where it sits in its parent [m], axis, limits [rad], effort [Nm], mass after it [kg]."""

    name: str
    position: tuple[float, float, float]
    axis: str
    lower: float
    upper: float
    effort: float
    mass: float
    stiffness: float  # servo gain [Nm/rad]
    geoms: str


_FULL_TURN = 3.14158
_BLACK = 'rgba=".13 .13 .15 1"'
_GREY = 'rgba=".30 .31 .34 1"'


def _visual(kind: str, size: str, colour: str, *, fromto: str = "", pos: str = "0 0 0", euler: str = "") -> str:
    place = f'fromto="{fromto}"' if fromto else f'pos="{pos}"'
    turn = f' euler="{euler}"' if euler else ""
    return f'<geom class="visual" type="{kind}" size="{size}" {place}{turn} {colour}/>'


_ARM = (
    _ArmJoint("waist", (0, 0, 0.072), "0 0 1", -_FULL_TURN, _FULL_TURN, 10, 0.480879, 400,
              _visual("cylinder", ".042 .022", _BLACK, pos="0 0 .012")
              + _visual("box", ".026 .040 .026", _BLACK, pos="0 0 .040")),
    _ArmJoint("shoulder", (0, 0, 0.03865), "0 1 0", -1.88496, 1.98968, 20, 0.430811, 400,
              _visual("box", ".016 .026 .115", _BLACK, pos="0 0 .118")
              + _visual("box", ".032 .026 .020", _BLACK, pos=".028 0 .250")),
    _ArmJoint("elbow", (0.04975, 0, 0.25), "0 1 0", -2.14675, 1.60570, 15, 0.234589, 400,
              _visual("capsule", ".023", _BLACK, fromto="0 0 0 .150 0 0")),
    _ArmJoint("forearm_roll", (0.175, 0, 0), "1 0 0", -_FULL_TURN, _FULL_TURN, 2, 0.220991, 80,
              _visual("capsule", ".021", _GREY, fromto="0 0 0 .060 0 0")),
    _ArmJoint("wrist_angle", (0.075, 0, 0), "0 1 0", -1.74533, 2.14675, 5, 0.084957, 80,
              _visual("box", ".034 .017 .015", _BLACK, pos=".032 0 0")),
    _ArmJoint("wrist_rotate", (0.065, 0, 0), "1 0 0", -_FULL_TURN, _FULL_TURN, 1, 0.072885, 30,
              _visual("cylinder", ".018 .014", _GREY, pos=".022 0 0", euler="0 1.5708 0")
              + _visual("box", ".008 .046 .014", _BLACK, pos=".046 0 0")),
)  # fmt: skip


GRIPPER_IN_LINK = 0.093575
"""Where the gripper frame lies on the x axis of the last link [m]."""


def _finger(name: str, sign: int) -> str:
    centre = -sign * (PAD_OFFSET - 0.004)
    return f"""
<body name="{name}_link" pos=".066 0 0" gravcomp="1">
  <joint name="{name}" type="slide" axis="0 {sign} 0" range="{FINGER_CLOSED} {FINGER_OPEN}"
         damping="15" armature=".05"/>
  <inertial pos="0 0 0" mass=".016" diaginertia="1e-5 1e-5 1e-5"/>
  <geom name="{name}_pad" class="finger" type="box" size=".0233 .004 .011" pos=".0173 {centre} 0"/>
  <geom class="visual" type="box" size=".010 .006 .010" pos="-.008 {centre} 0" {_GREY}/>
</body>"""


def arm_body(tool: str = "") -> str:
    """The arm as nested MJCF bodies; the base stands on z = 0 with x forward, as the robot's own frame.

    `tool` is MJCF of what the gripper holds: in the frame of the last link, which has x to the fingertips, and y along
    the way of the fingers.
    """
    # Rotor inertia seen at a joint (armature) and critical damping for the servo gain; see _actuator.
    text = f"""
<body name="base_link">
  {_visual("box", ".055 .050 .024", _BLACK, pos="0 0 .024")}
  {_visual("cylinder", ".046 .012", _GREY, pos="0 0 .060")}
"""
    for joint in _ARM:
        x, y, z = joint.position
        armature = joint.stiffness / 6400.0
        text += f"""
<body name="{joint.name}_link" pos="{x} {y} {z}" gravcomp="1">
  <joint name="{joint.name}" axis="{joint.axis}" range="{joint.lower} {joint.upper}" armature="{armature:.5f}"/>
  <inertial pos="0.02 0 0.02" mass="{joint.mass}" diaginertia="3e-4 3e-4 3e-4"/>
  {joint.geoms}
"""
    text += f'<site name="gripper" pos="{GRIPPER_IN_LINK} 0 0" size=".003" rgba="0 0 0 0"/>'
    text += _finger("left_finger", 1) + _finger("right_finger", -1) + tool
    return text + "</body>" * len(_ARM) + "</body>"


def actuators() -> str:
    """Position servos for the eight joints, in the order of `robofume_robot.kinematics.JOINT_NAMES`."""
    text = ""
    for joint in _ARM:
        damping = 2.0 * joint.stiffness / 70.0
        text += (
            f'<position name="{joint.name}" joint="{joint.name}" kp="{joint.stiffness}" kv="{damping:.3f}" '
            f'ctrlrange="{joint.lower} {joint.upper}" forcerange="{-joint.effort} {joint.effort}"/>\n'
        )
    for name in FINGER_JOINT_NAMES:
        text += f'<position name="{name}" joint="{name}" kp="1500" forcerange="{-GRIP_FORCE} {GRIP_FORCE}"/>\n'
    return text


DEFAULTS = f"""
<default class="visual"><geom contype="0" conaffinity="0" group="1" mass="0"/></default>
<default class="finger">
  <geom contype="{FINGER_BIT}" conaffinity="0" condim="4" friction="1.6 .02 .001" priority="1" mass="0"
        solref=".006 1" solimp=".95 .99 .001" rgba=".45 .47 .52 1"/>
</default>
<default class="floor"><geom contype="0" conaffinity="{FINGER_BIT | OBJECT_BIT | CLOTH_BIT}" condim="3"/></default>
<default class="limit"><geom contype="0" conaffinity="{OBJECT_BIT}" condim="3" friction=".1 .005 .0001"
                             rgba="0 0 0 0" group="4"/></default>
<default class="object"><geom contype="{OBJECT_BIT}" conaffinity="{OBJECT_BIT}" friction=".4 .005 .0001"/></default>
<default class="grip"><geom contype="0" conaffinity="{FINGER_BIT}" condim="4" rgba="0 0 0 0" group="4"/></default>
"""
