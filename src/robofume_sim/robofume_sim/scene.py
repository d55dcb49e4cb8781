"""The scene around the arm: table, arena, light and camera, as MJCF, and how they look."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from robofume_sim import robot_model

ARENA_MIN = (0.178, -0.145)
ARENA_MAX = (0.392, 0.145)
"""Where objects may be [m]: unseen planes that only objects touch, so practice can neither lose nor trap them.
They stand 2 cm inside the visible edge, which leaves room for an open finger between an object and the edge."""
ARENA_CEILING = 0.30
EDGE_GAP = 0.022
DIVIDER_HEIGHT = 0.006

TEXTURES = ("plain", "checks", "speckles", "gradient")
Colour = tuple[float, float, float]
Point = tuple[float, float, float]


CAMERAS = ("third_person", "side")
"""The first is opposite the arm and what every task is seen through; the other is for policies that see two."""
SIDE: Point = (0.258, -0.52, 0.42)
"""Where the camera at the arm's right is [m]."""


@dataclass(frozen=True)
class Appearance:
    """How the scene looks. The default is the plain scene; `variations.varied` draws another one."""

    background: Colour = (0.62, 0.68, 0.72)
    table: Colour = (0.86, 0.83, 0.77)
    edge: Colour = (0.55, 0.42, 0.30)
    tray: Colour = (0.32, 0.55, 0.80)
    object: Colour = (0.85, 0.13, 0.10)
    light: float = 1.0
    light_position: Point = (0.5, 0.2, 1.5)
    camera_position: Point = (0.70, 0.0, 0.52)
    camera_target: Point = (0.258, 0.0, 0.062)
    camera_field_of_view: float = 36.0
    texture: str = "plain"
    """Of the table, one of TEXTURES."""
    texture_contrast: float = 0.0


def rgba(colour: Colour, brightness: float = 1.0) -> str:
    """`rgba` attribute text of an opaque colour."""
    return " ".join(f"{min(1.0, part * brightness):.4f}" for part in colour) + " 1"


def _arena(appearance: Appearance) -> str:
    (x0, y0), (x1, y1) = ARENA_MIN, ARENA_MAX
    half = math.sqrt(0.5)
    # Planes point inwards; quaternions turn +z to +x, -x, +y, -y and -z.
    limits = (
        (f"{x0} 0 0", f"{half} 0 {half} 0"),
        (f"{x1} 0 0", f"{half} 0 {-half} 0"),
        (f"0 {y0} 0", f"{half} {-half} 0 0"),
        (f"0 {y1} 0", f"{half} {half} 0 0"),
        (f"0 0 {ARENA_CEILING}", "0 1 0 0"),
    )
    planes = "".join(f'<geom class="limit" type="plane" size="1 1 .1" pos="{p}" quat="{q}"/>' for p, q in limits)
    colour = rgba(appearance.edge)
    ex0, ex1, ey0, ey1 = x0 - EDGE_GAP, x1 + EDGE_GAP, y0 - EDGE_GAP, y1 + EDGE_GAP
    wide, tall = 0.005, 0.006
    cx, cy, lx, ly = (ex0 + ex1) / 2, (ey0 + ey1) / 2, (ex1 - ex0) / 2, (ey1 - ey0) / 2
    rails = (
        (cx, ey0 - wide, lx + 2 * wide, wide),
        (cx, ey1 + wide, lx + 2 * wide, wide),
        (ex0 - wide, cy, wide, ly),
        (ex1 + wide, cy, wide, ly),
    )
    edges = "".join(
        f'<geom class="visual" type="box" size="{sx:.4f} {sy:.4f} {tall}" pos="{px:.4f} {py:.4f} {tall}" '
        f'rgba="{colour}"/>'
        for px, py, sx, sy in rails
    )
    return planes + edges


def divider(appearance: Appearance) -> str:
    """A low round ridge along y = 0, between the two halves of the arena. Nothing stays on it: it has no friction."""
    x0, x1 = ARENA_MIN[0] - EDGE_GAP, ARENA_MAX[0] + EDGE_GAP
    return (
        f'<geom class="floor" type="capsule" size="{DIVIDER_HEIGHT}" fromto="{x0} 0 0 {x1} 0 0" '
        f'condim="1" priority="1" rgba="{rgba(appearance.edge)}"/>'
    )


def half_plate(appearance: Appearance) -> str:
    """The coloured bottom of the arena's left half (y > 0): the tray."""
    x0, x1, y1 = ARENA_MIN[0] - EDGE_GAP, ARENA_MAX[0] + EDGE_GAP, ARENA_MAX[1] + EDGE_GAP
    return (
        f'<geom class="visual" type="box" size="{(x1 - x0) / 2} {y1 / 2} .0005" pos="{(x0 + x1) / 2} {y1 / 2} .0005" '
        f'rgba="{rgba(appearance.tray)}"/>'
    )


def movable(name: str, geoms: str, *, mass: float, centre_of_mass_z: float, radius: float, righting: float) -> str:
    """A body that moves freely and rights itself.

    Three slides and a ball joint have the state of a free joint (x y z, quaternion), and the ball joint may carry
    a spring: like a weighted toy, the object cannot stay toppled [righting: Nm/rad; about mass * g * radius or more].
    """
    inertia = 0.5 * mass * radius**2
    slides = "".join(
        f'<joint name="{name}_{axis}" type="slide" axis="{direction}" damping=".05"/>'
        for axis, direction in (("x", "1 0 0"), ("y", "0 1 0"), ("z", "0 0 1"))
    )
    return f"""
<body name="{name}">
  {slides}
  <joint name="{name}_ball" type="ball" stiffness="{righting}" damping="{2.0 * math.sqrt(righting * inertia):.6f}"/>
  <inertial pos="0 0 {centre_of_mass_z}" mass="{mass}" diaginertia="{inertia} {inertia} {inertia}"/>
  {geoms}
</body>"""


def _texture(appearance: Appearance) -> tuple[str, str]:
    """MJCF of the table's pattern, and the attribute that gives it to the table; nothing where it is plain."""
    if appearance.texture == "plain":
        return "", ""
    dark = " ".join([f"{1.0 - appearance.texture_contrast:.4f}"] * 3)
    pattern = {
        "checks": f'builtin="checker" rgb1="1 1 1" rgb2="{dark}"',
        "speckles": f'builtin="flat" rgb1="1 1 1" rgb2="1 1 1" mark="random" markrgb="{dark}" random=".05"',
        "gradient": f'builtin="gradient" rgb1="1 1 1" rgb2="{dark}"',
    }[appearance.texture]
    asset = (
        f'<texture name="table" type="2d" {pattern} width="64" height="64"/>'
        '<material name="table" texture="table" texrepeat="12 12"/>'
    )
    return asset, 'material="table" '


def _camera(name: str, point: Point, appearance: Appearance) -> str:
    position, target = np.asarray(point), np.asarray(appearance.camera_target)
    backward = (position - target) / np.linalg.norm(position - target)
    right = np.cross((0.0, 0.0, 1.0), backward)
    right /= np.linalg.norm(right)
    up = np.cross(backward, right)
    axes = " ".join(f"{value:.6f}" for value in (*right, *up))
    place = " ".join(f"{value:.6f}" for value in position)
    return f'<camera name="{name}" pos="{place}" xyaxes="{axes}" fovy="{appearance.camera_field_of_view}"/>'


def build(
    task_bodies: str,
    appearance: Appearance,
    *,
    timestep: float,
    width: int,
    height: int,
    tool: str = "",
    equalities: str = "",
    flexible: bool = False,
) -> str:
    """The whole MJCF model: arm with what it holds, arena, camera, the task's own bodies, and what may tie them.

    `flexible`: with a flex, whose stiffness only one solver integrates implicitly.

    Shadows and multisampling are off: they are all that rendering costs on a CPU.
    """

    def grey(strength: float) -> str:
        return " ".join([f"{strength * appearance.light:.4f}"] * 3)

    background = rgba(appearance.background)[:-2]
    texture, table = _texture(appearance)
    lx, ly, lz = appearance.light_position
    integrator = "discrete" if flexible else "implicitfast"
    solver = 'solver="CG" tolerance="1e-6"' if flexible else 'cone="elliptic" impratio="10"'
    return f"""
<mujoco model="robofume">
  <compiler angle="radian" autolimits="true"/>
  <option timestep="{timestep}" integrator="{integrator}" {solver}/>
  <size memory="{"64M" if flexible else "2M"}"/>
  <visual>
    <global offwidth="{width}" offheight="{height}"/>
    <quality shadowsize="64" offsamples="0" numslices="16" numstacks="8"/>
    <headlight ambient="{grey(0.38)}" diffuse="{grey(0.25)}" specular="0 0 0"/>
    <map znear=".05" zfar="20"/>
  </visual>
  <default>{robot_model.DEFAULTS}</default>
  <asset>
    <texture name="sky" type="skybox" builtin="flat" rgb1="{background}" rgb2="{background}" width="8" height="48"/>
    {texture}
  </asset>
  <worldbody>
    <light pos="{lx} {ly} {lz}" dir="{0.27 - lx} {-ly} {-lz}" directional="true" castshadow="false"
           diffuse="{grey(0.5)}" specular="0 0 0"/>
    {_camera(CAMERAS[0], appearance.camera_position, appearance)}
    {_camera(CAMERAS[1], SIDE, appearance)}
    <geom class="floor" name="floor" type="plane" size="1.2 1.2 .1" friction=".4 .005 .0001"
          {table}rgba="{rgba(appearance.table)}"/>
    {_arena(appearance)}
    {robot_model.arm_body(tool)}
    {task_bodies}
  </worldbody>
  <equality>{equalities}</equality>
  <actuator>{robot_model.actuators()}</actuator>
</mujoco>"""
