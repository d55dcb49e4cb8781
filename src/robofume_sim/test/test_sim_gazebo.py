"""Gazebo as a scene backend: descriptions that say what MuJoCo has, flows over gazebo_msgs, and the nodes."""

import math
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import mujoco
import numpy as np
import pytest
from robofume_common.enums import Direction
from robofume_common.errors import RobofumeError
from robofume_robot.kinematics import ARM_JOINT_NAMES, JOINT_LOWER, JOINT_UPPER, forward_kinematics
from robofume_sim.gazebo import GazeboScene, GazeboSceneConfig
from robofume_sim.sdf import CAMERA_HEIGHT, CAMERA_WIDTH, scene_model, spawn_sdf, start_places, world_sdf
from robofume_sim.tasks import GAZEBO_TASKS, TASKS
from robofume_sim.tasks.base import HOME_JOINT_POSITIONS
from robofume_sim.urdf import widowx_urdf

WORLDS = Path(__file__).parents[2] / "robofume_bringup" / "worlds"
HOME = np.array([*HOME_JOINT_POSITIONS, 0.037, 0.037])
needs_gazebo = pytest.mark.skipif(
    find_spec("gazebo_msgs") is None, reason="gazebo_msgs comes with a ROS installation, not from PyPI"
)

# URDF


def test_urdf_moves_as_the_kinematics_say():
    text = widowx_urdf().replace(
        '<robot name="wx250s">', '<robot name="wx250s"><mujoco><compiler fusestatic="false"/></mujoco>'
    )
    model = mujoco.MjModel.from_xml_string(text)
    data = mujoco.MjData(model)
    random = np.random.default_rng(0)
    for _ in range(50):
        q = random.uniform(JOINT_LOWER, JOINT_UPPER)
        for name, value in zip(ARM_JOINT_NAMES, q, strict=True):
            data.qpos[model.joint(name).qposadr[0]] = value
        mujoco.mj_forward(model, data)
        pose = forward_kinematics(q)
        np.testing.assert_allclose(data.body("ee_gripper_link").xpos, pose[:3, 3], atol=1e-6)
        np.testing.assert_allclose(data.body("ee_gripper_link").xmat.reshape(3, 3), pose[:3, :3], atol=1e-6)


def test_urdf_is_one_tree_with_limits():
    robot = ElementTree.fromstring(widowx_urdf())
    links = {link.get("name") for link in robot.iter("link")}
    children = [child.get("link") for child in robot.iter("child")]
    assert len(children) == len(set(children)) == len(links) - 1
    for joint in robot.findall("joint"):
        assert joint.find("parent").get("link") in links and joint.find("child").get("link") in links
        if joint.get("type") != "fixed":
            limit = {key: float(value) for key, value in joint.find("limit").attrib.items()}
            assert limit["lower"] < limit["upper"] and limit["effort"] > 0.0 and limit["velocity"] > 0.0


# SDF


@pytest.mark.parametrize("task", GAZEBO_TASKS)
def test_worlds_are_what_the_tasks_say(task):
    assert (WORLDS / f"{task}.world").read_text() == world_sdf(task), f"python -m robofume_sim.sdf {task}"


@pytest.mark.parametrize("task", sorted(set(TASKS) - set(GAZEBO_TASKS)))
def test_what_gazebo_cannot_simulate_is_said(task):
    with pytest.raises(RobofumeError, match=f"{task} cannot be simulated in Gazebo; choose one of: pot_lid, pot_pick"):
        GazeboScene(GazeboSceneConfig(task=task), FAKE)


def numbers(element) -> list[float]:
    return [float(number) for number in element.text.split()]


@pytest.mark.parametrize("task", GAZEBO_TASKS)
def test_a_world_has_objects_camera_and_state_plugin(task):
    sdf = ElementTree.fromstring(world_sdf(task))
    assert sdf.tag == "sdf" and len(sdf.findall("world")) == 1
    world = sdf.find("world")
    models = {model.get("name"): model for model in world.findall("model")}
    assert {"table", "camera", *TASKS[task].object_names} == set(models)
    for model in models.values():
        (link,) = model.findall("link")
        names = [child.get("name") for child in link if child.get("name")]
        assert len(names) == len(set(names))
        for shape in link.iter("geometry"):
            (kind,) = shape
            assert {"plane": 2, "box": 1, "sphere": 1, "cylinder": 2}[kind.tag] == len(kind)
            assert all(math.isfinite(value) for part in kind for value in numbers(part))
        assert all(len(numbers(pose)) == 6 for pose in model.iter("pose"))
    for name in TASKS[task].object_names:
        assert models[name].find("static") is None and models[name].find("link/collision") is not None
        assert float(models[name].findtext("link/inertial/mass")) == pytest.approx(
            float(scene_model(task).body(name).mass[0])
        )
        alone = ElementTree.fromstring(spawn_sdf(task, name)).find("model")
        assert alone.findtext("pose").split()[:3] == ["0", "0", "0"]
    plugins = {plugin.get("filename") for plugin in world.iter("plugin")}
    assert plugins == {"libgazebo_ros_state.so", "libgazebo_ros_camera.so"}


def test_gazebo_camera_looks_where_the_simulated_one_does():
    task = "pot_pick_and_place"
    camera = ElementTree.fromstring(world_sdf(task)).find("world/model[@name='camera']")
    x, y, z, roll, pitch, yaw = numbers(camera.find("pose"))
    model = scene_model(task)
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    np.testing.assert_allclose((x, y, z), data.camera("third_person").xpos, atol=1e-5)
    right, _, backward = data.camera("third_person").xmat.reshape(3, 3).T
    cp, sp, cy, sy = math.cos(pitch), math.sin(pitch), math.cos(yaw), math.sin(yaw)
    np.testing.assert_allclose((cy * cp, sy * cp, -sp), -backward, atol=1e-4)  # Gazebo looks along x ...
    assert roll == pytest.approx(0.0, abs=1e-4) and right[2] == pytest.approx(0.0, abs=1e-6)  # ... with the sky above
    horizontal = float(camera.findtext("link/sensor/camera/horizontal_fov"))
    vertical = 2.0 * math.atan(math.tan(horizontal / 2.0) * CAMERA_HEIGHT / CAMERA_WIDTH)
    assert math.degrees(vertical) == pytest.approx(float(model.camera("third_person").fovy[0]), abs=1e-3)


# Flows


@dataclass
class Vector3:
    x: float = 0.0
    y: float = 0.0
    z: float = 0.0


@dataclass
class Quaternion(Vector3):
    w: float = 1.0


@dataclass
class Pose:
    position: Vector3 = field(default_factory=Vector3)
    orientation: Quaternion = field(default_factory=Quaternion)


@dataclass
class Twist:
    linear: Vector3 = field(default_factory=Vector3)
    angular: Vector3 = field(default_factory=Vector3)


@dataclass
class EntityState:
    name: str = ""
    pose: Pose = field(default_factory=Pose)
    twist: Twist = field(default_factory=Twist)
    reference_frame: str = ""


def _message(**fields):
    """A class with these fields and no others, as a message has."""

    class Message:
        __slots__ = tuple(fields)

        def __init__(self, **given):
            for name, kind in fields.items():
                setattr(self, name, given.get(name, kind()))

    return Message


FAKE = SimpleNamespace(
    SpawnEntity=SimpleNamespace(
        Request=_message(name=str, xml=str, robot_namespace=str, initial_pose=Pose, reference_frame=str),
        Response=_message(success=bool, status_message=str),
    ),
    DeleteEntity=SimpleNamespace(Request=_message(name=str), Response=_message(success=bool, status_message=str)),
    SetEntityState=SimpleNamespace(Request=_message(state=EntityState), Response=_message(success=bool)),
    GetEntityState=SimpleNamespace(
        Request=_message(name=str, reference_frame=str),
        Response=_message(header=SimpleNamespace, state=EntityState, success=bool),
    ),
)


@pytest.fixture(params=["fake", pytest.param("real", marks=needs_gazebo)])
def types(request):
    if request.param == "fake":
        return FAKE
    import gazebo_msgs.srv

    return gazebo_msgs.srv


class Gazebo:
    """What Gazebo would answer: a world of named poses."""

    def __init__(self, types, objects) -> None:
        self.types = types
        self.places = {name: np.array(place, dtype=float) for name, place in objects.items()}
        self.asked: list[str] = []

    def answer(self, kind, request):
        self.asked.append(kind)
        response = getattr(self.types, kind).Response()
        if kind == "SpawnEntity":
            ElementTree.fromstring(request.xml)
            response.success = request.name not in self.places
            response.status_message = "" if response.success else "there is one already"
            if response.success:
                self.places[request.name] = self._place(request.initial_pose)
        elif kind == "DeleteEntity":
            response.success = self.places.pop(request.name, None) is not None
        elif kind == "SetEntityState":
            response.success = request.state.name in self.places
            if response.success:
                self.places[request.state.name] = self._place(request.state.pose)
        else:
            response.success = request.name in self.places
            if response.success:
                x, y, z = self.places[request.name].tolist()
                response.state.name = request.name
                response.state.pose.position.x, response.state.pose.position.y = x, y
                response.state.pose.position.z = z
        return response

    @staticmethod
    def _place(pose):
        return np.array([pose.position.x, pose.position.y, pose.position.z])

    def run(self, flow):
        response = None
        while True:
            try:
                call = flow.send(response)
            except StopIteration as end:
                return end.value
            response = self.answer(call.kind, call.request)


@pytest.mark.parametrize("task", GAZEBO_TASKS)
@pytest.mark.parametrize("direction", [Direction.FORWARD, Direction.BACKWARD])
def test_reset_moves_the_objects_where_a_direction_starts(types, task, direction):
    scene, gazebo = GazeboScene(GazeboSceneConfig(task=task), types), Gazebo(types, start_places(task))
    assert gazebo.run(scene.reset(direction, 5)) == ""
    wanted = TASKS[task]().start(direction, np.random.default_rng([5, int(direction)]))
    for name, place in wanted.items():
        np.testing.assert_allclose(gazebo.places[name], place, atol=0.002)
    assert set(gazebo.asked) == {"SetEntityState"}
    # Where backward starts, forward has succeeded, and the other way round: the truth says so.
    scene.joint_positions(HOME)
    truth = scene.truth(gazebo.run(scene.look()))
    assert truth.success(direction.opposite) and not truth.success(direction)


def test_an_object_that_is_gone_is_made_again(types):
    scene, gazebo = GazeboScene(GazeboSceneConfig(), types), Gazebo(types, {})
    assert "does not tell where 'pot' is" in gazebo.run(scene.look())
    assert gazebo.run(scene.reset(Direction.FORWARD, 1)) == ""
    assert "pot" in gazebo.places and "SpawnEntity" in gazebo.asked


def test_a_gazebo_that_does_not_answer_is_one_sentence(types):
    flow = GazeboScene(GazeboSceneConfig(), types).reset(Direction.FORWARD, 1)
    flow.send(None)
    with pytest.raises(StopIteration) as end:
        while True:
            flow.send(None)
    assert "could neither move nor make 'pot': no answer" in end.value.value


def test_truth_waits_for_the_arm():
    scene = GazeboScene(GazeboSceneConfig(), FAKE)
    assert scene.truth({}) is None


def test_service_prefixes_are_parameters():
    names = set(GazeboScene(GazeboSceneConfig(state_prefix="/demo/", factory_prefix="/factory"), FAKE).services())
    assert names == {
        "/demo/get_entity_state", "/demo/set_entity_state", "/factory/spawn_entity", "/factory/delete_entity",
    }  # fmt: skip
    assert "/spawn_entity" in GazeboScene(GazeboSceneConfig(), FAKE).services()


# Nodes


@needs_gazebo
def test_scene_node_over_real_services(bench):
    import gazebo_msgs.srv
    from robofume_common.conversion import array_to_image, to_nanoseconds, to_time
    from robofume_robot.kinematics import JOINT_NAMES
    from sensor_msgs.msg import Image, JointState

    from robofume_common import qos
    from robofume_interfaces.msg import GroundTruth
    from robofume_interfaces.srv import ResetScene

    node, executor = bench
    gazebo = Gazebo(gazebo_msgs.srv, start_places("pot_pick_and_place"))
    scene = GazeboScene(GazeboSceneConfig(), gazebo_msgs.srv)
    for name, kind in scene.services().items():
        node.create_service(
            getattr(gazebo_msgs.srv, kind), name, lambda request, _response, kind=kind: gazebo.answer(kind, request)
        )
    truths: list[GroundTruth] = []
    node.create_subscription(GroundTruth, "ground_truth", truths.append, qos.GROUND_TRUTH)
    images = node.create_publisher(Image, "observation/image", qos.IMAGE)
    states = node.create_publisher(JointState, "joint_states", qos.STATE)
    client = node.create_client(ResetScene, "scene/reset")
    process = subprocess.Popen([sys.executable, "-m", "robofume_sim.nodes.gazebo_scene"])

    def until(done):
        end = time.monotonic() + 60.0
        while not done() and time.monotonic() < end:
            executor.spin_once(timeout_sec=0.05)
        return done()

    try:
        assert until(lambda: client.service_is_ready() and images.get_subscription_count())
        states.publish(JointState(name=list(JOINT_NAMES), position=HOME.tolist()))
        answer = client.call_async(ResetScene.Request(direction=2, seed=7))
        assert until(answer.done) and answer.result().success, answer.result()
        for stamp in range(1, 50):
            states.publish(JointState(name=list(JOINT_NAMES), position=HOME.tolist()))
            images.publish(array_to_image(np.zeros((8, 8, 3), np.uint8), to_time(stamp)))
            end = time.monotonic() + 0.5
            while not truths and time.monotonic() < end:
                executor.spin_once(timeout_sec=0.05)
            if truths:
                break
        assert truths and 1 <= to_nanoseconds(truths[-1].stamp) <= stamp
        assert truths[-1].forward_success and not truths[-1].backward_success
        assert truths[-1].object_names == ["pot"]
    finally:
        process.terminate()
        code = process.wait(30)
    assert code == 0


@pytest.mark.skipif(find_spec("gazebo_msgs") is not None, reason="gazebo_msgs is installed here")
def test_without_gazebo_msgs_the_node_says_what_to_install(ros_domain):
    done = subprocess.run(
        [sys.executable, "-m", "robofume_sim.nodes.gazebo_scene"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1 and "needs gazebo_msgs" in done.stderr and "Traceback" not in done.stderr


def test_gazebo_arm_node_splits_trajectories_and_relays_joint_states(bench):
    from robofume_robot.kinematics import FINGER_JOINT_NAMES, JOINT_NAMES
    from sensor_msgs.msg import JointState
    from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

    from robofume_common import qos

    node, executor = bench
    parts: dict[str, JointTrajectory] = {}
    for name in ("arm_controller", "gripper_controller"):
        node.create_subscription(
            JointTrajectory,
            f"/wx250s/{name}/joint_trajectory",
            lambda message, name=name: parts.__setitem__(name, message),
            qos.COMMAND,
        )
    relayed: list[JointState] = []
    node.create_subscription(JointState, "joint_states", relayed.append, qos.STATE)
    states = node.create_publisher(JointState, "/wx250s/joint_states", qos.STATE)
    publisher = node.create_publisher(JointTrajectory, "arm_controller/joint_trajectory", qos.COMMAND)
    process = subprocess.Popen([sys.executable, "-m", "robofume_sim.nodes.gazebo_arm"])
    try:
        end = time.monotonic() + 60.0
        while (len(parts) < 2 or not relayed) and time.monotonic() < end:
            states.publish(JointState(name=["gripper", *JOINT_NAMES], position=[9.0, *HOME[:7].tolist(), -0.03]))
            message = JointTrajectory(joint_names=list(reversed(JOINT_NAMES)))
            message.header.stamp.sec = 5
            message.points = [JointTrajectoryPoint(positions=[float(i + 1) for i in range(8)])]
            publisher.publish(message)
            executor.spin_once(timeout_sec=0.2)
        assert parts["arm_controller"].joint_names == list(ARM_JOINT_NAMES)
        assert list(parts["arm_controller"].points[0].positions) == [8.0, 7.0, 6.0, 5.0, 4.0, 3.0]
        assert parts["gripper_controller"].joint_names == list(FINGER_JOINT_NAMES)
        assert list(parts["gripper_controller"].points[0].positions) == [2.0, -1.0]
        assert parts["arm_controller"].header.stamp.sec == 0
        assert relayed[-1].name == list(JOINT_NAMES) and list(relayed[-1].position) == [*HOME[:7].tolist(), 0.03]
    finally:
        process.terminate()
        process.wait(30)
