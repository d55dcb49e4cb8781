"""Which topics, services and actions each node of the graph uses, and no others: what a secured graph allows.

A test holds this equal to what the nodes really open.
"""

from __future__ import annotations

from dataclasses import dataclass

from robofume_common.parameters import from_dict
from robofume_data.topics import observation_topic, view_topic
from robofume_robot.interbotix_joints import CONTROLLERS

from robofume_bringup.node_table import NodeDescription


@dataclass(frozen=True)
class Access:
    """What one node opens; names are relative, as in docs/architecture.md."""

    publishes: tuple[str, ...] = ()
    subscribes: tuple[str, ...] = ()
    serves: tuple[str, ...] = ()
    calls: tuple[str, ...] = ()
    serves_actions: tuple[str, ...] = ()
    calls_actions: tuple[str, ...] = ()


ACTIONS = ("practice", "evaluate")
_RECORDED = ("task", "step", "reward", "label", "episode", "help", "arm/status", "arm/backend_status",
             "learner/status", "ground_truth")  # fmt: skip

ACCESS: dict[str, Access] = {
    "sim": Access(
        publishes=("joint_states", "camera/image_raw", "ground_truth", "/clock", "diagnostics"),
        subscribes=("arm_controller/joint_trajectory",),
        serves=("scene/reset",),
    ),
    "camera": Access(publishes=("observation/image", "diagnostics"), subscribes=("camera/image_raw",)),
    "arm": Access(
        publishes=("arm_controller/joint_trajectory", "observation/proprioception", "arm/status", "arm/released",
                   "diagnostics"),
        subscribes=("joint_states", "arm/command", "arm/backend_status", "arm/emergency_stop"),
        serves=("arm/stop", "arm/release"),
    ),
    "policy": Access(
        publishes=("arm/command", "step"),
        subscribes=("observation/image", "observation/proprioception", "arm/status", "arm/override", "task"),
    ),
    "reward": Access(
        publishes=("reward", "label", "diagnostics"), subscribes=("step", "label"), serves=("label_step",)
    ),
    "switcher": Access(
        publishes=("task", "step_permit", "episode", "help"),
        subscribes=("step", "reward", "learner/status", "arm/status"),
        serves=("help/done",),
        calls=("scene/reset",),
        serves_actions=ACTIONS,
    ),
    "learner": Access(
        publishes=("policy/weights", "learner/status", "diagnostics"), subscribes=("step", "reward", "episode")
    ),
    "recorder": Access(publishes=("diagnostics",), subscribes=_RECORDED),
    "demonstrator": Access(publishes=("arm/override",), subscribes=("joint_states", "ground_truth", "task")),
    "replay": Access(
        publishes=("step", "reward", "episode", "task", "diagnostics"),
        subscribes=("joint_states", "arm/command", "observation/image"),
    ),
    "interbotix": Access(
        publishes=("joint_states", "arm/backend_status", "diagnostics"),
        subscribes=("arm_controller/joint_trajectory", "arm/status", "arm/emergency_stop", "arm/released"),
    ),
    "gazebo_arm": Access(
        publishes=("joint_states", "diagnostics"), subscribes=("arm_controller/joint_trajectory",)
    ),
    "gazebo_scene": Access(
        publishes=("ground_truth", "diagnostics"), subscribes=("observation/image", "joint_states"),
        serves=("scene/reset",),
    ),
    "markers": Access(publishes=("markers",), subscribes=("task", "reward", "episode", "observation/proprioception")),
}  # fmt: skip
"""Node -> what it opens whatever its settings are; `access_of` adds what they bring."""

CLIENT = Access(
    publishes=("arm/override", "arm/command", "arm/emergency_stop", "label"),
    subscribes=("observation/image", "observation/proprioception", "arm/command", "arm/status", "joint_states", "joy",
                "step", "task", "help", "diagnostics"),
    calls=("arm/release", "help/done"),
    calls_actions=ACTIONS,
)  # fmt: skip
"""What a person's tools open: the `robofume` command itself, and TOOLS."""
TOOLS = ("teleop", "verdict", "snapshot", "workspace")
"""Their nodes, each with its parameter services; the command's own nodes serve nothing (`CLIENT_ARGUMENTS`)."""


def access_of(node: NodeDescription) -> Access | None:
    """What a node with these settings opens, after its remappings; None for a node of another package."""
    name = "camera" if node.module.endswith(".camera") else node.name
    if name not in ACCESS:
        return None
    access, parameters = ACCESS[name], node.parameter_values()
    publishes, subscribes, calls = list(access.publishes), list(access.subscribes), list(access.calls)
    if name == "camera" and parameters.get("source"):
        subscribes.remove("camera/image_raw")
    elif name == "camera" and parameters.get("compressed"):
        subscribes = ["camera/image_raw/compressed"]
    cameras = parameters.get("further_cameras", ())
    views = [view_topic(camera) for camera in cameras]
    if name == "sim":
        publishes += [f"{camera}/image_raw" for camera in cameras]
    elif name == "policy":
        publishes += views
        subscribes += [observation_topic(camera) for camera in cameras]
    else:
        subscribes += views
    if name == "policy" and parameters.get("lockstep"):
        subscribes.append("step_permit")
    if name == "policy" and parameters.get("source", "policy") == "policy":
        subscribes.append("policy/weights")
    if name == "reward" and parameters.get("judge") == "ground_truth":
        subscribes += ["ground_truth", "task"]
    if name in ("interbotix", "gazebo_arm"):
        subscribes.append(f"/{parameters.get('robot_name', 'wx250s')}/joint_states")
    if name == "gazebo_arm":
        robot = parameters.get("robot_name", "wx250s")
        publishes += [f"/{robot}/{controller}/joint_trajectory" for controller in CONTROLLERS]
    if name == "gazebo_scene":
        from robofume_sim.gazebo import GazeboSceneConfig, service_names  # loads MuJoCo

        config = from_dict(GazeboSceneConfig, parameters)
        calls += service_names(config).values()

    def mapped(names: tuple[str, ...] | list[str]) -> tuple[str, ...]:
        return tuple(node.remappings.get(item, item) for item in names)

    return Access(
        mapped(publishes), mapped(subscribes), mapped(access.serves), mapped(calls),
        mapped(access.serves_actions), mapped(access.calls_actions),
    )  # fmt: skip
