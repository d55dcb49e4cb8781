"""URDF of the arm, from the very model that the simulation moves: `python -m robofume_sim.urdf > wx250s.urdf`."""

from __future__ import annotations

import math
from xml.sax.saxutils import quoteattr

import mujoco
import numpy as np
from robofume_robot.kinematics import ARM_JOINT_NAMES, EFFORT_LIMITS, VELOCITY_LIMITS

from robofume_sim import robot_model

_FINGER_EFFORT, _FINGER_VELOCITY = 5.0, 1.0  # N, m/s
_FIXED_FRAMES = (("ee_arm_link", 0.043), ("ee_bar_link", 0.023), ("ee_gripper_link", 0.027575))
"""Frames in front of the wrist, each in the one before [m]; the last is the gripper frame of the kinematics."""


def arm_model() -> mujoco.MjModel:
    """The simulated arm alone."""
    return mujoco.MjModel.from_xml_string(
        f'<mujoco><compiler angle="radian" autolimits="true"/><default>{robot_model.DEFAULTS}</default>'
        f"<worldbody>{robot_model.arm_body()}</worldbody><actuator>{robot_model.actuators()}</actuator></mujoco>"
    )


def widowx_urdf() -> str:
    """The robot description as text: links with masses, shapes and colours, joints with their limits."""
    model = arm_model()
    efforts = dict(zip(ARM_JOINT_NAMES, EFFORT_LIMITS.tolist(), strict=True))
    speeds = dict(zip(ARM_JOINT_NAMES, VELOCITY_LIMITS.tolist(), strict=True))
    parts = ['<?xml version="1.0"?>\n<robot name="wx250s">']
    for body in range(1, model.nbody):
        parts.append(_link(model, body))
    for joint in range(model.njnt):
        name = model.joint(joint).name
        body = int(model.jnt_bodyid[joint])
        kind = "revolute" if model.jnt_type[joint] == mujoco.mjtJoint.mjJNT_HINGE else "prismatic"
        low, high = model.jnt_range[joint]
        parts.append(
            f"""<joint name={quoteattr(name)} type="{kind}">
  <parent link={quoteattr(model.body(int(model.body_parentid[body])).name)}/>
  <child link={quoteattr(model.body(body).name)}/>
  {origin(model.body_pos[body], model.body_quat[body])}
  <axis xyz="{numbers(model.jnt_axis[joint])}"/>
  <limit lower="{low:.6g}" upper="{high:.6g}" effort="{efforts.get(name, _FINGER_EFFORT):.6g}" """
            f"""velocity="{speeds.get(name, _FINGER_VELOCITY):.6g}"/>
</joint>"""
        )
    parent = "wrist_rotate_link"
    for name, x in _FIXED_FRAMES:
        parts.append(
            f'<link name="{name}"/>\n<joint name="{name.removesuffix("_link")}" type="fixed">'
            f'<parent link="{parent}"/><child link="{name}"/><origin xyz="{x} 0 0" rpy="0 0 0"/></joint>'
        )
        parent = name
    return "\n".join([*parts, "</robot>\n"])


def _link(model: mujoco.MjModel, body: int) -> str:
    ixx, iyy, izz = model.body_inertia[body]
    mass = float(model.body_mass[body])
    inertial = (
        f"""  <inertial>{origin(model.body_ipos[body], model.body_iquat[body])}<mass value="{mass:.6g}"/>
    <inertia ixx="{ixx:.4g}" ixy="0" ixz="0" iyy="{iyy:.4g}" iyz="0" izz="{izz:.4g}"/></inertial>\n"""
        if mass > 0.0
        else ""
    )
    first, count = int(model.body_geomadr[body]), int(model.body_geomnum[body])
    visuals = "\n".join(_visual(model, geom) for geom in range(first, first + count))
    return f"<link name={quoteattr(model.body(body).name)}>\n{inertial}{visuals}\n</link>"


def _visual(model: mujoco.MjModel, geom: int) -> str:
    colour, link = numbers(model.geom_rgba[geom]), model.body(int(model.geom_bodyid[geom])).name
    material = f'<material name="{link}_{geom}"><color rgba="{colour}"/></material>'
    place = origin(model.geom_pos[geom], model.geom_quat[geom])
    return f"  <visual>{place}<geometry>{shape(model, geom)}</geometry>{material}</visual>"


def shape(model: mujoco.MjModel, geom: int) -> str:
    """The geometry element of URDF for one geom; a capsule is drawn as the cylinder around its middle line."""
    size = model.geom_size[geom]
    kind = mujoco.mjtGeom(int(model.geom_type[geom]))
    if kind == mujoco.mjtGeom.mjGEOM_BOX:
        return f'<box size="{numbers(2.0 * size)}"/>'
    if kind in (mujoco.mjtGeom.mjGEOM_CYLINDER, mujoco.mjtGeom.mjGEOM_CAPSULE):
        return f'<cylinder radius="{size[0]:.6g}" length="{2.0 * size[1]:.6g}"/>'
    if kind == mujoco.mjtGeom.mjGEOM_SPHERE:
        return f'<sphere radius="{size[0]:.6g}"/>'
    raise ValueError(f"no URDF shape for {kind}")


def numbers(values: np.ndarray) -> str:
    """Numbers with spaces between them; no negative zero."""
    return " ".join(f"{value:.6g}" for value in np.round(np.asarray(values, dtype=np.float64), 9) + 0.0)


def rpy(quaternion: np.ndarray) -> tuple[float, float, float]:
    """Roll, pitch and yaw (rad) of a quaternion w x y z."""
    w, x, y, z = quaternion / np.linalg.norm(quaternion)
    sine = float(np.clip(2.0 * (w * y - z * x), -1.0, 1.0))
    if abs(sine) > 1.0 - 1e-9:
        return float(2.0 * math.atan2(x, w)), math.copysign(math.pi / 2.0, sine), 0.0
    roll = math.atan2(2.0 * (w * x + y * z), 1.0 - 2.0 * (x * x + y * y))
    yaw = math.atan2(2.0 * (w * z + x * y), 1.0 - 2.0 * (y * y + z * z))
    return float(roll), math.asin(sine), float(yaw)


def origin(position: np.ndarray, quaternion: np.ndarray) -> str:
    """The origin element of URDF."""
    return f'<origin xyz="{numbers(position)}" rpy="{numbers(np.array(rpy(quaternion)))}"/>'


if __name__ == "__main__":
    print(widowx_urdf(), end="")
