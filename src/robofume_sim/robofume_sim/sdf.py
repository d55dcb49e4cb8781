"""SDF of the tasks' scenes for Gazebo Classic, from the very models that MuJoCo simulates.

`python -m robofume_sim.sdf pot_lid > pot_lid.world`. What differs there: objects do not right themselves, the unseen
walls that keep them in reach are missing, and contacts are Gazebo's own.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable

import mujoco
import numpy as np
from robofume_common.enums import Direction

from robofume_sim.scene import Appearance, build
from robofume_sim.tasks import make_task
from robofume_sim.urdf import numbers, rpy

CAMERA_WIDTH, CAMERA_HEIGHT, CAMERA_RATE = 640, 480, 30
STATE_NAMESPACE = "/gazebo"
"""Where the state plugin of our worlds serves; the factory of gzserver serves without a namespace."""


def scene_model(task: str) -> mujoco.MjModel:
    """The whole scene of a task, as MuJoCo has it."""
    look = Appearance()
    bodies = make_task(task).bodies(look)
    return mujoco.MjModel.from_xml_string(build(bodies, look, timestep=0.002, width=64, height=64))


def world_sdf(task: str) -> str:
    """The world of a task: light, table, what stands fast, the objects, a camera, and the state plugin."""
    model = scene_model(task)
    look = Appearance()
    objects = "\n".join(object_model(model, name, place) for name, place in start_places(task).items())
    background = numbers(np.array([*look.background, 1.0]))
    light = [-float(value) for value in look.light_position[:2]] + [-look.light_position[2]]
    return f"""<?xml version="1.0"?>
<sdf version="1.6">
<world name="{task}">
<physics type="ode"><max_step_size>0.001</max_step_size><real_time_update_rate>1000</real_time_update_rate></physics>
<scene><ambient>0.5 0.5 0.5 1</ambient><background>{background}</background><shadows>false</shadows></scene>
<light name="lamp" type="directional"><pose>{numbers(np.array(look.light_position))} 0 0 0</pose>
<diffuse>0.7 0.7 0.7 1</diffuse><specular>0 0 0 1</specular><direction>{numbers(np.array(light))}</direction></light>
{_fixed_model(model)}
{objects}
{_camera_model(model)}
<plugin name="gazebo_ros_state" filename="libgazebo_ros_state.so">
<ros><namespace>{STATE_NAMESPACE}</namespace></ros><update_rate>50</update_rate>
</plugin>
</world>
</sdf>
"""


def start_places(task: str) -> dict[str, np.ndarray]:
    """Where the objects stand at first: where forward starts, the same on every call."""
    return make_task(task).start(Direction.FORWARD, np.random.default_rng([0, 1]))


def spawn_sdf(task: str, name: str) -> str:
    """One object alone, at the origin, for `spawn_entity`."""
    return f'<?xml version="1.0"?>\n<sdf version="1.6">\n{object_model(scene_model(task), name, np.zeros(3))}\n</sdf>\n'


def object_model(model: mujoco.MjModel, name: str, place: np.ndarray) -> str:
    """A movable object as an SDF model; its frame is at its foot, as in the task's truth."""
    body = model.body(name).id
    ixx, iyy, izz = model.body_inertia[body]
    return f"""<model name="{name}">
<pose>{numbers(place)} 0 0 0</pose>
<link name="link">
<inertial><pose>{numbers(model.body_ipos[body])} 0 0 0</pose><mass>{model.body_mass[body]:.6g}</mass>
<inertia><ixx>{ixx:.4g}</ixx><ixy>0</ixy><ixz>0</ixz><iyy>{iyy:.4g}</iyy><iyz>0</iyz><izz>{izz:.4g}</izz></inertia></inertial>
{_shapes(model, _geoms_of(model, body))}
</link>
</model>"""


def _fixed_model(model: mujoco.MjModel) -> str:
    """The table and everything of the task that does not move."""
    return f"""<model name="table">
<static>true</static>
<link name="link">
{_shapes(model, _geoms_of(model, 0))}
</link>
</model>"""


def _geoms_of(model: mujoco.MjModel, body: int) -> Iterable[int]:
    first, count = int(model.body_geomadr[body]), int(model.body_geomnum[body])
    return range(first, first + count)


def _shapes(model: mujoco.MjModel, geoms: Iterable[int]) -> str:
    """Visuals of all geoms that can be seen, collisions of those of them that can be touched."""
    parts = []
    for geom in geoms:
        if model.geom_rgba[geom][3] == 0.0:
            continue  # what MuJoCo needs for its contacts, and walls that nobody sees
        place = f"<pose>{numbers(model.geom_pos[geom])} {numbers(np.array(rpy(model.geom_quat[geom])))}</pose>"
        shape = f"<geometry>{_shape(model, geom)}</geometry>"
        colour = numbers(model.geom_rgba[geom])
        parts.append(
            f'<visual name="visual_{geom}">{place}{shape}<material><ambient>{colour}</ambient>'
            f"<diffuse>{colour}</diffuse></material></visual>"
        )
        if model.geom_contype[geom] or model.geom_conaffinity[geom]:
            parts.append(
                f'<collision name="collision_{geom}">{place}{shape}<surface><friction><ode><mu>1</mu><mu2>1</mu2></ode>'
                "</friction></surface></collision>"
            )
    return "\n".join(parts)


def _shape(model: mujoco.MjModel, geom: int) -> str:
    size = model.geom_size[geom]
    kind = mujoco.mjtGeom(int(model.geom_type[geom]))
    if kind == mujoco.mjtGeom.mjGEOM_PLANE:
        return f"<plane><normal>0 0 1</normal><size>{numbers(2.0 * size[:2])}</size></plane>"
    if kind == mujoco.mjtGeom.mjGEOM_BOX:
        return f"<box><size>{numbers(2.0 * size)}</size></box>"
    if kind == mujoco.mjtGeom.mjGEOM_SPHERE:
        return f"<sphere><radius>{size[0]:.6g}</radius></sphere>"
    if kind in (mujoco.mjtGeom.mjGEOM_CYLINDER, mujoco.mjtGeom.mjGEOM_CAPSULE):
        return f"<cylinder><radius>{size[0]:.6g}</radius><length>{2.0 * size[1]:.6g}</length></cylinder>"
    raise ValueError(f"no SDF shape for {kind}")


def _camera_model(model: mujoco.MjModel) -> str:
    """The simulation's camera with a webcam's picture: Gazebo's looks along x, MuJoCo's along -z."""
    camera = model.camera("third_person")
    rotation = np.zeros(9)
    mujoco.mju_quat2Mat(rotation, np.asarray(camera.quat))
    right, up, backward = rotation.reshape(3, 3).T
    quaternion = np.zeros(4)
    mujoco.mju_mat2Quat(quaternion, np.column_stack([-backward, -right, up]).ravel())
    vertical = math.radians(float(camera.fovy[0]))
    horizontal = 2.0 * math.atan(math.tan(vertical / 2.0) * CAMERA_WIDTH / CAMERA_HEIGHT)
    return f"""<model name="camera">
<static>true</static>
<pose>{numbers(np.asarray(camera.pos))} {numbers(np.array(rpy(quaternion)))}</pose>
<link name="camera_link">
<sensor name="camera" type="camera">
<update_rate>{CAMERA_RATE}</update_rate>
<camera name="camera">
<horizontal_fov>{horizontal:.6f}</horizontal_fov>
<image><width>{CAMERA_WIDTH}</width><height>{CAMERA_HEIGHT}</height><format>R8G8B8</format></image>
<clip><near>0.05</near><far>20</far></clip>
</camera>
<plugin name="camera" filename="libgazebo_ros_camera.so">
<ros><namespace>/</namespace></ros><camera_name>camera</camera_name><frame_name>camera</frame_name>
</plugin>
</sensor>
</link>
</model>"""


if __name__ == "__main__":
    print(world_sdf(sys.argv[1]), end="")
