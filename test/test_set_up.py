"""The set-up's decisions: what is missing, what is out of date, where ROS 2 comes from."""

from __future__ import annotations

import ctypes
import dataclasses
import importlib.util
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from types import ModuleType

import numpy
import pytest

WORKSPACE = Path(__file__).resolve().parent.parent


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """tools/set_up.py, at work on a workspace of its own."""
    spec = importlib.util.spec_from_file_location("set_up", WORKSPACE / "tools" / "set_up.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "set_up", module)
    spec.loader.exec_module(module)
    for name, value in {
        "ROOT": tmp_path,
        "SOURCES": tmp_path / "src",
        "VENV": tmp_path / ".venv",
        "PYTHON": Path(sys.executable),
        "ENVIRONMENT_STAMP": tmp_path / ".venv" / "set_up.json",
    }.items():
        monkeypatch.setattr(module, name, value)
    monkeypatch.delenv("AMENT_PREFIX_PATH", raising=False)
    monkeypatch.delenv("ROS_DISTRO", raising=False)
    return module


def make_ros(prefix: Path) -> Path:
    (prefix / "share" / "rclpy").mkdir(parents=True)
    (prefix / "share" / "rclpy" / "package.xml").touch()
    return prefix


def test_ros_comes_from_the_wheels_unless_an_installation_is_sourced(tool, tmp_path, monkeypatch):
    assert tool.wanted_origin(None).uses_wheels
    # This workspace's own install folder, sourced, is not a ROS installation.
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(tmp_path / "install"))
    assert tool.wanted_origin(None).uses_wheels

    ros = make_ros(tmp_path / "ros")
    monkeypatch.setenv("AMENT_PREFIX_PATH", f"{tmp_path / 'install'}:{ros}")
    with pytest.raises(tool.SetUpError, match="ROS_DISTRO"):
        tool.wanted_origin(None)
    monkeypatch.setenv("ROS_DISTRO", "humble")
    sourced = tool.wanted_origin(None)
    assert (sourced.ros_distribution, sourced.ros_prefixes) == ("humble", (str(ros),))
    assert tool.requirement_files(sourced)[-1].name != "ros-jazzy.txt"

    # A later shell that has not sourced it keeps what was built.
    monkeypatch.delenv("AMENT_PREFIX_PATH")
    assert tool.wanted_origin(sourced) == sourced


def test_another_distribution_of_the_wheels_is_kept(tool, tmp_path, monkeypatch):
    kilted = tool.wanted_origin(None, "kilted")
    assert kilted.uses_wheels and tool.requirement_files(kilted)[-1].name == "ros-kilted.txt"
    assert tool.wanted_origin(kilted) == kilted != tool.wanted_origin(kilted, "jazzy")
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(make_ros(tmp_path / "ros")))
    monkeypatch.setenv("ROS_DISTRO", "humble")
    with pytest.raises(tool.SetUpError, match="humble is sourced"):
        tool.wanted_origin(None, "kilted")


@pytest.mark.parametrize("version", [(3, 9, 18), (3, 14, 0)])
def test_another_python_is_refused_with_the_way_out(tool, monkeypatch, version):
    monkeypatch.setattr(sys, "version_info", version)
    with pytest.raises(tool.SetUpError, match=r"3\.10 to 3\.13.*make setup PYTHON="):
        tool.wanted_origin(None)


def test_every_missing_thing_is_named_with_its_command(tool, tmp_path, monkeypatch):
    origin = tool.wanted_origin(None)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path))
    monkeypatch.setitem(sys.modules, "ensurepip", None)

    def no_library(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", no_library)
    with pytest.raises(tool.SetUpError) as error:
        tool.check_system(origin)
    version = "python{}.{}".format(*sys.version_info[:2])
    graphics = ("libegl1 libgl1 libgl1-mesa-dri", "libosmesa6")
    for package in (f"{version}-venv", f"{version}-dev", "build-essential", *graphics):
        assert f"sudo apt-get install {package}`" in str(error.value)


def test_one_of_the_two_drawing_libraries_is_enough(tool, monkeypatch):
    origin = tool.wanted_origin(None)
    monkeypatch.setattr(tool, "library_present", lambda *names: "libOSMesa.so.8" in names)
    tool.check_system(origin)


def test_a_sourced_ros_for_another_python_is_said(tool, tmp_path):
    ros = make_ros(tmp_path / "ros")
    (ros / "lib" / "python3.99" / "site-packages" / "rclpy").mkdir(parents=True)
    origin = dataclasses.replace(tool.wanted_origin(None), ros_prefixes=(str(ros),), ros_distribution="humble")
    with pytest.raises(tool.SetUpError, match=r"python3\.99"):
        tool.check_system(origin)


def test_what_makes_colcon_run_again(tool, tmp_path):
    package = tmp_path / "src" / "robofume_x"
    names = ["package.xml", "setup.py", "msg/Step.msg", "robofume_x/core.py", "test/test_x.py", "launch/up.launch.py"]
    for name in names:
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text("1")
    (tmp_path / "colcon.meta").write_text("{}")

    def changed_by(change) -> bool:
        before = tool.sources_digest("environment")
        change()
        return tool.sources_digest("environment") != before

    assert changed_by(lambda: (package / "msg" / "Step.msg").write_text("2"))
    assert changed_by(lambda: (package / "setup.py").write_text("2"))
    assert changed_by(lambda: (package / "package.xml").write_text("2"))
    assert changed_by(lambda: (package / "msg" / "Reward.msg").touch())
    assert changed_by(lambda: (package / "launch" / "other.launch.py").touch())
    assert changed_by(lambda: (tmp_path / "colcon.meta").write_text("{ }"))
    assert tool.sources_digest("environment") != tool.sources_digest("another environment")
    # Links into src/ make these live without a build.
    assert not changed_by(lambda: (package / "robofume_x" / "core.py").write_text("2"))
    assert not changed_by(lambda: (package / "robofume_x" / "new.py").touch())
    assert not changed_by(lambda: (package / "launch" / "up.launch.py").write_text("2"))
    assert not changed_by(lambda: (package / "test" / "test_y.py").touch())


def test_the_wheels_cmake_files_are_pointed_at_this_interpreter(tool, tmp_path):
    file = tmp_path / ".venv" / "share" / "x" / "cmake" / "x.cmake"
    file.parent.mkdir(parents=True)
    file.write_text(
        'set(a "/opt/python/cp312-cp312/include/python3.12;${PREFIX}/include")\n'
        'set(b "/opt/python/cp312-cp312/lib/python3.12/site-packages/numpy/_core/include")\n'
        'set(c "/opt/_internal/cpython-3.10.19/lib/python3.10/site-packages/numpy/core/include")\n'
    )
    tool.point_headers_here()
    assert file.read_text() == (
        f'set(a "{sysconfig.get_path("include")};${{PREFIX}}/include")\n'
        f'set(b "{numpy.get_include()}")\n'
        f'set(c "{numpy.get_include()}")\n'
    )


def test_a_stamp_survives_only_whole(tool, tmp_path):
    stamp = tmp_path / "stamp.json"
    assert tool.read_stamp(stamp) == {}
    tool.write_stamp(stamp, {"a": 1})
    assert tool.read_stamp(stamp) == {"a": 1}
    stamp.write_text('{"a": ')
    assert tool.read_stamp(stamp) == {}


def test_what_fails_shows_its_last_lines(tool, tmp_path):
    with pytest.raises(tool.SetUpError, match=r"(?s)the reason\nNo luck\..*failed\.log"):
        tool.run([sys.executable, "-c", "print('the reason'); raise SystemExit(3)"], {}, "failed.log", "No luck.")


def test_a_second_set_up_waits_for_the_first(tool, tmp_path):
    script = (
        "import fcntl, sys, time; lock = open(sys.argv[1], 'w'); fcntl.flock(lock, fcntl.LOCK_EX)\n"
        "print('held', flush=True); sys.stdin.readline(); open(sys.argv[2], 'w').close()"
    )
    done = tmp_path / "done"
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / ".set_up.lock"), str(done)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as first:
        assert first.stdout is not None
        assert first.stdin is not None
        assert first.stdout.readline() == "held\n"
        first.stdin.write("\n")
        first.stdin.flush()
        with tool.alone():
            assert done.exists()
