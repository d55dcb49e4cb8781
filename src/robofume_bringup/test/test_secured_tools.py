"""A person's tools at a secured graph: what each opens is what their one key allows, and with --secure they use it."""

import os
import pty
import shutil
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
from robofume_bringup.cli import main, person
from robofume_bringup.interruption import Interruption
from robofume_bringup.robot_session import RobotSession
from robofume_bringup.run_config import RunConfig
from robofume_bringup.run_directory import RunDirectory
from robofume_bringup.security import graph_permissions

SPACE = "left"
PATIENCE = 60.0  # s
needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="the command openssl is not installed")


@pytest.fixture
def runs(tmp_path):
    """A folder with the run `lid` of a real arm."""
    directory = RunDirectory(tmp_path / "lid")
    directory.prepare()
    directory.write_config(RunConfig(task="pot_lid", robot="widowx", scenes=3).to_dict())
    return tmp_path


def commands(runs, *more):
    """Tool -> its command line, as a person types it for the run."""
    given = ["--runs", str(runs), "--run", "lid", *more]
    robofume = [shutil.which("robofume")]
    return {
        "teleop": [*robofume, "teleop", *given],
        "helped": [*robofume, "helped", *given],
        "workspace": [*robofume, "workspace", "record", *given, "--output", str(runs / "box.yaml")],
        "scenes": [*robofume, "scenes", *given],
    }


def start(command, **streams):
    """The tool at a terminal, at which `b` was typed."""
    keyboard, terminal = pty.openpty()
    os.write(keyboard, b"b\n")
    process = subprocess.Popen(command, stdin=terminal, text=True, **streams)
    os.close(terminal)
    return process, keyboard


def end(process, keyboard):
    process.terminate()
    process.wait()
    os.close(keyboard)


def opened(node, start_of_name):
    """The DDS topics that a node, found by the start of its name, writes and reads."""
    writes, reads = set(), set()
    for name, space in node.get_node_names_and_namespaces():
        if not name.startswith(start_of_name):
            continue
        of = (name, space)
        writes |= {f"rt{topic}" for topic, _ in node.get_publisher_names_and_types_by_node(*of)}
        reads |= {f"rt{topic}" for topic, _ in node.get_subscriber_names_and_types_by_node(*of)}
        for service, _ in node.get_service_names_and_types_by_node(*of):
            reads.add(f"rq{service}Request")
            writes.add(f"rr{service}Reply")
        for service, _ in node.get_client_names_and_types_by_node(*of):
            writes.add(f"rq{service}Request")
            reads.add(f"rr{service}Reply")
    return writes, reads


def all_opened(node, name):
    """The same, once nothing has been added for a second."""
    seen, since, ends = (set(), set()), time.monotonic(), time.monotonic() + PATIENCE
    while not seen[0] or time.monotonic() < since + 1.0:
        assert time.monotonic() < ends, f"{name} was not found"
        time.sleep(0.1)
        now = opened(node, name)
        if now != seen:
            seen, since = now, time.monotonic()
    return seen


def test_a_persons_tools_open_what_their_key_allows_and_no_topic_more(runs, bench, ros_domain):
    node, _ = bench
    allowed = {entry.name: entry for entry in graph_permissions([], SPACE)}["client"]
    tools = commands(runs, "--domain", str(ros_domain), "--namespace", SPACE)
    verdict = [sys.executable, "-m", "robofume_reset.nodes.verdict", "--ros-args", "-r", f"__ns:=/{SPACE}"]
    names = {"helped": "robofume_helped", "scenes": "snapshot"}
    writes, reads = set(), set()
    for tool, command in {**tools, "verdict": verdict}.items():
        process, keyboard = start(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            written, read = all_opened(node, names.get(tool, tool))
        finally:
            end(process, keyboard)
        assert written <= allowed.writes and read <= allowed.reads, tool
        writes, reads = writes | written, reads | read
    runner = SimpleNamespace(domain=ros_domain, security={}, namespace=SPACE)
    with RobotSession(runner, Interruption()):
        written, read = all_opened(node, "robofume_client")
    assert written <= allowed.writes and read <= allowed.reads, "the commands that start a graph"
    spare = (allowed.writes - writes - written) | (allowed.reads - reads - read)
    assert {name for name in spare if name.startswith("rt/left")} == set()


@needs_openssl
def test_with_secure_the_tools_join_with_a_persons_key(runs, ros_domain):
    """Fast DDS from PyPI has no security plugins, and says so once ROS has found the key; where it has them, what is
    written about the key is all there is."""
    assert main(["security", "--run", "lid", "--runs", str(runs)]) == 0
    for tool, command in commands(runs, "--domain", str(ros_domain), "--secure").items():
        process, keyboard = start(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        try:
            output = process.communicate(timeout=PATIENCE)[0]
        finally:
            end(process, keyboard)
        assert process.returncode == 1 and "Traceback" not in output, (tool, output)
        assert "doesn't have the security libraries" in output, (tool, output)
        # The picture is taken by a process of its own, of which the last line alone is passed on.
        assert "keystore/enclaves/robofume/client" in output or tool == "scenes", (tool, output)


@needs_openssl
def test_a_picture_is_taken_with_a_persons_key(runs, monkeypatch):
    assert main(["security", "--run", "lid", "--runs", str(runs)]) == 0
    seen = []
    monkeypatch.setattr(person, "snapshot", lambda *arguments: seen.append(arguments))
    person.picture_of(SimpleNamespace(runs=runs, domain=7, namespace="", secure=True), "lid")()
    _topic, environment, _namespace = seen[0]
    assert environment["ROS_SECURITY_ENCLAVE_OVERRIDE"] == "/robofume/client"
    assert environment["ROS_SECURITY_STRATEGY"] == "Enforce" and environment["ROS_DOMAIN_ID"] == "7"


@pytest.mark.parametrize("tool", ["teleop", "helped", "workspace", "scenes"])
def test_without_a_keystore_it_is_one_sentence(runs, capsys, tool):
    command = commands(runs, "--domain", "7", "--secure")[tool][1:]
    assert main(command) == 1
    assert "make it with `robofume security`" in capsys.readouterr().err
    if tool != "scenes":
        named = command.index("--run")
        assert main([*command[:named], *command[named + 2 :]]) == 1
        assert "name it with --run" in capsys.readouterr().err
