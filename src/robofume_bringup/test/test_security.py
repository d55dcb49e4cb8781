"""Who may take part in a graph: permissions for exactly its topics, keys, and sockets that the network does not see."""

import shutil
import socket
import stat
import subprocess
import time
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest
from fault_kit.rig import prepare
from fuzz_kit.nodes import NodeBoundary
from random_episodes import random_episode
from robofume_bringup.access import ACCESS, access_of
from robofume_bringup.cli import main
from robofume_bringup.graph import GraphSettings, build_graph
from robofume_bringup.network import PROFILE_VARIABLES, RANGE, network_environment
from robofume_bringup.node_table import NODES
from robofume_bringup.run_directory import RunDirectory
from robofume_bringup.runner import GraphRunner
from robofume_bringup.security import (
    graph_permissions,
    make_keystore,
    permissions_xml,
    secured,
    security_environment,
)
from robofume_common.errors import RobofumeError

TASK = "pot_pick_and_place"
needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="the command openssl is not installed")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    directory = RunDirectory(tmp_path_factory.mktemp("secure") / "run")
    prepare(directory, [random_episode(number, "demo", 5) for number in range(2)])
    return directory


def graph(run, mode, **settings):
    return build_graph(GraphSettings(TASK, mode, run_directory=run.path, **settings))


def every_graph(run):
    truth = {"reward": {"judge": "ground_truth"}}
    yield from graph(run, "practice", overrides=truth)
    yield from graph(run, "practice", overrides=truth, further_cameras=("side",))
    yield from graph(run, "collect", extra_cameras=("wrist",))
    yield from graph(run, "collect", lockstep=False, camera_source="0", image_topic="/lab/camera/image_raw")
    yield from graph(run, "evaluate", weights="pretrained")
    yield from graph(run, "replay", bag="bag")
    living = graph(run, "practice", robot="gazebo", overrides=truth)
    yield from (node for node in living if node.name != "gazebo_scene" or find_spec("gazebo_msgs"))


@pytest.mark.filterwarnings("ignore")
def test_the_table_is_what_the_nodes_open(run, tmp_path, ros_domain):
    """Each node is made, and its topics and services are compared with the table; none may be left out."""
    seen, done = set(), set()
    for description in every_graph(run):
        access = access_of(replace(description, remappings={}))
        if access in done or (description.name == "camera" and description.parameter_values().get("source")):
            continue
        done.add(access)
        seen.add(description.name if description.name in ACCESS else description.name.partition("_")[0])
        with NodeBoundary(description, tmp_path) as boundary:
            boundary._begin()
            node = boundary._node

            def names(items):
                return {item.removeprefix("/") for item in items}

            own = [s.srv_name for s in node.services if not s.srv_name.startswith(f"{node.get_name()}/")]
            own += [s.srv_name for s in node.services if s.srv_name in ("arm/stop", "arm/release")]
            assert names(p.topic_name for p in node.publishers) - {"parameter_events"} == names(access.publishes)
            heard = names(s.topic_name for s in node.subscriptions) - {"clock"}  # which everybody may read
            assert heard == names(access.subscribes), description.name
            assert names(own) == names(access.serves), description.name
            assert names(c.srv_name for c in node.clients) == names(access.calls)
    assert seen >= set(ACCESS) - {"interbotix", "markers", "gazebo_scene"}, "these need what is not on PyPI"


def test_a_graph_in_gazebo_asks_for_the_scene_and_its_own_arm_alone(run):
    overrides = {"gazebo_scene": {"state_prefix": "/w"}}
    nodes = graph(run, "practice", robot="gazebo", robot_name="left", overrides=overrides)
    entries = {entry.name: entry for entry in graph_permissions(nodes)}
    asked = {name for name in entries["gazebo_scene"].writes if name.startswith("rq/") and "gazebo_scene" not in name}
    assert asked == {f"rq/{name}Request" for name in
                     ("w/get_entity_state", "w/set_entity_state", "spawn_entity", "delete_entity")}  # fmt: skip
    assert "rr/scene/resetReply" in entries["gazebo_scene"].writes
    assert {name for name, entry in entries.items() if "rt/left/arm_controller/joint_trajectory" in entry.writes} == {
        "gazebo_arm"
    }
    assert "rt/left/joint_states" in entries["gazebo_arm"].reads
    assert len(secured(nodes)) == len(nodes)


def test_remappings_are_followed(run):
    wrist = next(node for node in graph(run, "collect", extra_cameras=("wrist",)) if node.name == "camera_wrist")
    assert access_of(wrist).subscribes == ("wrist/image_raw",)
    assert "observation/wrist/image" in access_of(wrist).publishes


def test_every_node_of_ours_has_an_entry():
    assert {name for name, node in NODES.items() if node.module} == set(ACCESS)


def test_nobody_may_do_what_is_not_his(run):
    entries = {entry.name: entry for entry in graph_permissions(graph(run, "practice"))}
    assert {name for name, entry in entries.items() if "rt/arm/command" in entry.writes} == {"policy", "client"}
    assert {name for name, e in entries.items() if "rt/arm_controller/joint_trajectory" in e.writes} == {"arm"}
    assert {name for name, entry in entries.items() if "rt/policy/weights" in entry.writes} == {"learner"}
    assert {name for name, e in entries.items() if "rt/ground_truth" in e.reads} == {"recorder"}, "nor he who learns"
    assert {name for name, e in entries.items() if "rq/practice/_action/send_goalRequest" in e.writes} == {"client"}
    assert "rt/practice/_action/feedback" in entries["switcher"].writes & entries["client"].reads
    assert "rr/arm/releaseReply" in entries["arm"].writes and "rq/arm/releaseRequest" in entries["client"].writes
    spaced = {entry.name: entry for entry in graph_permissions(graph(run, "practice"), "/left/")}
    assert "rt/left/step" in spaced["policy"].writes and "rt/step" not in spaced["policy"].writes
    assert "rt/clock" in spaced["sim"].writes, "an absolute name stays"
    text = permissions_xml(entries["recorder"])
    assert "<default>DENY</default>" in text and "CN=/robofume/recorder<" in text and "*" not in text


def test_nodes_of_other_packages_are_named(run):
    with pytest.raises(RobofumeError, match=r"no permissions for .*rviz"):
        secured(graph(run, "practice", use_rviz=True))
    assert {node.enclave for node in secured(graph(run, "practice"))} >= {"/robofume/arm", "/robofume/policy"}


@needs_openssl
def test_the_cameras_that_a_policy_sees_have_keys_and_may_show_it_their_pictures(tmp_path):
    words = ["security", "--run", "two", "--runs", str(tmp_path), "--set", "network.further_cameras=[side]"]
    assert main(words) == 0
    directory = RunDirectory(tmp_path / "two")
    nodes = build_graph(GraphSettings("pot_pick_and_place", "practice", run_directory=directory.path,
                                      further_cameras=("side",)))  # fmt: skip
    for entry in graph_permissions(nodes):
        text = (directory.keystore / "enclaves" / "robofume" / entry.name / "permissions.xml").read_text()
        allowed = {line.partition("</topic>")[0] for line in text.split("<topic>")[1:]}
        assert allowed >= entry.writes | entry.reads, entry.name


@needs_openssl
def test_one_command_makes_the_keystore_and_renews_it(tmp_path, capsys):
    arguments = ["security", "--run", "lab", "--runs", str(tmp_path)]
    assert main(arguments) == 0
    keystore = RunDirectory(tmp_path / "lab").keystore
    assert str(keystore) in capsys.readouterr().out
    enclave = keystore / "enclaves" / "robofume" / "arm"
    authority = keystore / "public" / "ca.cert.pem"
    for folder in (keystore / "private", enclave):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((enclave / "key.pem").stat().st_mode) == 0o600
    verify = ["openssl", "verify", "-CAfile", str(authority), str(enclave / "cert.pem")]
    assert subprocess.run(verify, capture_output=True).returncode == 0
    for name in ("permissions.p7s", "governance.p7s"):
        check = ["openssl", "smime", "-verify", "-text", "-in", str(enclave / name), "-CAfile", str(authority)]
        done = subprocess.run(check, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    subject = ["openssl", "x509", "-in", str(enclave / "cert.pem"), "-noout", "-subject", "-nameopt", "rfc2253"]
    assert subprocess.run(subject, capture_output=True, text=True).stdout.strip() == "subject=CN=/robofume/arm"
    keys = {path: path.read_bytes() for path in keystore.rglob("*key.pem")}
    assert main(arguments) == 0
    assert keys and keys == {path: path.read_bytes() for path in keystore.rglob("*key.pem")}
    assert security_environment(keystore)["ROS_SECURITY_STRATEGY"] == "Enforce"
    with pytest.raises(RobofumeError, match="robofume security"):
        security_environment(tmp_path / "nowhere")


def test_without_openssl_it_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda _name: None)
    with pytest.raises(RobofumeError, match="apt install openssl"):
        make_keystore(tmp_path, [])


def test_the_network_is_opened_by_one_setting(monkeypatch):
    for name in (RANGE, *PROFILE_VARIABLES.values()):
        monkeypatch.delenv(name, raising=False)
    for rclpy, variable in (("3.3.16", PROFILE_VARIABLES[2]), ("7.1.6", PROFILE_VARIABLES[2]),
                            ("9.1.2", PROFILE_VARIABLES[3])):  # fmt: skip
        monkeypatch.setattr("importlib.metadata.version", lambda _name, rclpy=rclpy: rclpy)
        closed = network_environment()
        assert closed.pop(RANGE) == "SYSTEM_DEFAULT"
        assert list(closed) == [variable] and Path(closed[variable]).is_file()
    monkeypatch.setenv(PROFILE_VARIABLES[2], "own.xml")
    assert network_environment() == {RANGE: "SYSTEM_DEFAULT"}, "a profile of the person's own stands"
    monkeypatch.setenv(RANGE, "SUBNET")
    assert network_environment() == {RANGE: "SUBNET"}


def test_no_node_listens_beyond_this_machine(run, tmp_path, ros_domain):
    """Sockets that receive are bound to the loopback interface; those bound to others only send: what is sent to them
    stays unread."""
    nodes = graph(run, "practice", overrides={"reward": {"judge": "ground_truth"}})
    with GraphRunner(nodes, tmp_path / "parameters", tmp_path / "logs") as runner:
        processes = {name: psutil.Process(runner.pid(name)) for name in runner.names}
        end = time.monotonic() + 300
        while not all(_sockets(process) for process in processes.values()):
            assert time.monotonic() < end
            runner.check()
            time.sleep(0.2)
        time.sleep(2.0)
        for name, process in processes.items():
            assert not [c for c in process.net_connections("tcp") if c.status == psutil.CONN_LISTEN], name
            for address, port in _sockets(process):
                if address not in ("127.0.0.1", "::1"):
                    assert _unread(address, port), f"{name} listens on {address}:{port}"


def _sockets(process):
    return [(c.laddr.ip, c.laddr.port) for c in process.net_connections("udp")]


def _unread(address, port):
    """Send a datagram and look whether it still lies there a moment later."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"nobody reads this", ("127.0.0.1" if address == "0.0.0.0" else address, port))
    time.sleep(0.3)
    for line in Path("/proc/net/udp").read_text().splitlines()[1:]:
        fields = line.split()
        if int(fields[1].rpartition(":")[2], 16) == port and int(fields[4].partition(":")[2], 16) > 0:
            return True
    return False
