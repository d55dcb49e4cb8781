"""What is installed here, which robots can be used, and what is missing for the others.

Nothing here imports ROS, torch or MuJoCo: a package is looked up, not loaded, and drawing is tried in a process of
its own, so that the answer comes even where one of them is broken.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from robofume_bringup.processors import LATENCY, may_keep_awake

WHEELS = "PyPI wheels"
GRAPHICS_BACKENDS = ("egl", "osmesa")
GRAPHICS_ADVICE = "`sudo apt-get install libegl1 libgl1 libgl1-mesa-dri`, or `sudo apt-get install libosmesa6`"

_DRAW = """
import mujoco
model = mujoco.MjModel.from_xml_string(
    '<mujoco><worldbody><light pos="0 0 2"/><geom size=".3"/><camera name="c" pos="0 0 2"/></worldbody></mujoco>')
data = mujoco.MjData(model)
mujoco.mj_forward(model, data)
with mujoco.Renderer(model, 16, 16) as renderer:
    renderer.update_scene(data, camera="c")
    assert renderer.render().any(), "the picture is black"
"""


def draws(backend: str, python: str = sys.executable, timeout: float = 60.0) -> bool:
    """Whether MuJoCo draws a picture with this back end ("egl", "osmesa", "glfw"), tried in a process of its own.

    `timeout` is in seconds; a driver that hangs counts as one that does not draw.
    """
    try:
        done = subprocess.run(
            [python, "-c", _DRAW],
            env={**os.environ, "MUJOCO_GL": backend},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def first_graphics_backend(drawing: Callable[[str], bool] = draws) -> str | None:
    """The first back end that draws without a screen, or None."""
    return next((name for name in GRAPHICS_BACKENDS if drawing(name)), None)


@dataclass(frozen=True)
class Machine:
    """What was found; a missing thing is None or absent from the mapping."""

    python: str
    system: str
    ros_distribution: str | None
    ros_from: str | None
    """"PyPI wheels", or the prefix of a ROS installation."""
    distributions: Mapping[str, str]
    """Version of each Python distribution that was found."""
    modules: frozenset[str]
    """Importable Python modules, of those in `MODULES`."""
    programs: frozenset[str]
    """Programs on the path, of those in `PROGRAMS`."""
    ros_packages: frozenset[str]
    """Names in the ament index."""
    graphics_backend: str | None
    accelerator: str | None
    stays_awake: bool
    """Whether the runner may keep the processors awake."""
    bfloat16: bool
    """Whether the processor computes in bfloat16; training takes float32 otherwise."""
    graph_robots: frozenset[str]
    """Robots that this version's graph can start."""


DISTRIBUTIONS = ("torch", "mujoco", "gymnasium", "transformers", "peft", "mcap", "rosbags")
MODULES = ("rclpy", "robofume_interfaces", "interbotix_xs_modules", "gazebo_msgs", "launch_ros")
PROGRAMS = ("ros2", "rviz2", "gzserver", "nvidia-smi", "docker")


@dataclass(frozen=True)
class Need:
    """One thing that a robot needs."""

    name: str
    present: bool
    advice: str
    """What to do when it is absent, as a phrase."""


@dataclass(frozen=True)
class Robot:
    """A robot of the suite and what it needs here."""

    name: str
    needs: tuple[Need, ...]

    @property
    def missing(self) -> tuple[Need, ...]:
        """What it still needs."""
        return tuple(need for need in self.needs if not need.present)

    @property
    def usable(self) -> bool:
        """Whether it can be used here and now."""
        return not self.missing


def _module_present(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def _distribution_version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _ros_origin(environment: Mapping[str, str]) -> tuple[str | None, str | None]:
    """Distribution of ROS 2 and where it comes from."""
    prefixes = [Path(entry) for entry in environment.get("AMENT_PREFIX_PATH", "").split(":") if entry]
    for prefix in prefixes:
        if (prefix / "share" / "rclpy" / "package.xml").is_file() and prefix != Path(sys.prefix):
            return environment.get("ROS_DISTRO") or None, str(prefix)
    for distribution in ("jazzy", "kilted"):
        if _distribution_version(f"ros-{distribution}-rclpy"):
            return distribution, WHEELS
    return None, None


def _ros_packages(environment: Mapping[str, str]) -> frozenset[str]:
    names: set[str] = set()
    for entry in [*environment.get("AMENT_PREFIX_PATH", "").split(":"), sys.prefix]:
        index = Path(entry) / "share" / "ament_index" / "resource_index" / "packages"
        if entry and index.is_dir():
            names.update(path.name for path in index.iterdir())
    return frozenset(names)


def _accelerator() -> str | None:
    """Name of the graphics card, as its driver gives it."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    try:
        done = subprocess.run(
            [program, "--query-gpu=name", "--format=csv,noheader"],
            capture_output=True, text=True, timeout=20, check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    names = done.stdout.strip().splitlines()
    return ", ".join(names) if done.returncode == 0 and names else None


def _has_bfloat16() -> bool:
    """Whether torch finds it here, asked in a process of its own: its import takes seconds and memory."""
    program = "import sys; from robofume_common.precision import has_bfloat16; sys.exit(not has_bfloat16())"
    try:
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=60, check=False)
        return done.returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def examine(environment: Mapping[str, str] | None = None) -> Machine:
    """Look at this machine; takes a few seconds, as it draws a picture."""
    environment = os.environ if environment is None else environment
    ros_distribution, ros_from = _ros_origin(environment)
    versions = {name: _distribution_version(name) for name in DISTRIBUTIONS}
    backend = first_graphics_backend() if versions["mujoco"] else None
    from robofume_bringup.task_files import ROBOTS
    return Machine(
        python=platform.python_version(),
        system=f"{platform.system()} {platform.machine()}",
        ros_distribution=ros_distribution,
        ros_from=ros_from,
        distributions={name: version for name, version in versions.items() if version},
        modules=frozenset(name for name in MODULES if _module_present(name)),
        programs=frozenset(name for name in PROGRAMS if shutil.which(name)),
        ros_packages=_ros_packages(environment),
        graphics_backend=backend,
        accelerator=_accelerator(),
        stays_awake=may_keep_awake(),
        bfloat16=_has_bfloat16(),
        graph_robots=frozenset(ROBOTS),
    )


def robots(machine: Machine) -> tuple[Robot, ...]:
    """The robots of the suite, each with what it needs."""
    sourced = machine.ros_from is not None and machine.ros_from != WHEELS
    distribution = machine.ros_distribution if sourced else "humble"
    needs_nodes = (
        Need("rclpy", "rclpy" in machine.modules, "`make setup`"),
        Need("robofume_interfaces", "robofume_interfaces" in machine.modules, "`make setup`"),
    )
    installation = Need("a ROS 2 installation", sourced,
                        "install ROS 2 Humble and source it, or use the robot image of docker/")

    def nodes(robot: str) -> tuple[Need, ...]:
        advice = "this version of the suite starts the simulated robot only"
        return (*needs_nodes, Need("its part of the graph", robot in machine.graph_robots, advice))

    def package(name: str, found: frozenset[str], debian: str | None = None) -> Need:
        advice = f"`sudo apt-get install ros-{distribution}-{debian}`" if debian else (
            "build Interbotix's X-series packages in a workspace and source it, or use the robot image of docker/")
        return Need(name, name in found, advice)

    return (
        Robot("mujoco", (
            *nodes("mujoco"),
            Need("mujoco", "mujoco" in machine.distributions, "`make setup`"),
            Need("drawing without a screen", machine.graphics_backend is not None, GRAPHICS_ADVICE),
        )),
        Robot("gazebo", (
            *nodes("gazebo"),
            installation,
            package("gazebo_msgs", machine.modules, "gazebo-msgs"),
            Need("gzserver", "gzserver" in machine.programs,
                 "`sudo apt-get install ros-humble-gazebo-ros-pkgs` (Gazebo Classic is not made for later ROS)"),
            package("interbotix_xsarm_sim", machine.ros_packages),
        )),
        Robot("widowx", (
            *nodes("widowx"),
            installation,
            package("interbotix_xs_modules", machine.modules),
            package("interbotix_xs_sdk", machine.ros_packages),
        )),
    )


def describe(machine: Machine) -> str:
    """The whole answer as text, one line for each thing."""
    ros = f"{machine.ros_distribution or 'unknown'} ({machine.ros_from})" if machine.ros_from else "not found"
    rows = [
        ("Python", f"{machine.python} on {machine.system}"),
        ("ROS 2", ros),
        ("drawing", machine.graphics_backend or f"no back end works: {GRAPHICS_ADVICE}"),
        ("graphics card", machine.accelerator or "none: everything runs on the processor"),
        ("processors", "kept awake while the simulation runs" if machine.stays_awake else
         f"may sleep between two messages, and the simulated graph is slower: let this user write {LATENCY}"),
    ]
    if not machine.bfloat16:
        rows.append(("training", "in float32, twice as long: the processor has neither AVX512-BF16 nor AMX"))
    rows += [(name, machine.distributions.get(name, "not installed")) for name in DISTRIBUTIONS]
    rows += [
        ("ros2 launch", "yes" if "launch_ros" in machine.modules and "ros2" in machine.programs
         else "no: `robofume up` starts the same graph"),
        ("rviz2", "yes" if "rviz2" in machine.programs else "no: it comes with a ROS 2 installation"),
    ]
    lines = ["Installed"] + [f"  {name:<14} {value}" for name, value in rows] + ["", "Robots"]
    for robot in robots(machine):
        lines.append(f"  {robot.name:<14} {'ready' if robot.usable else 'cannot be used here'}")
        lines += [f"    missing: {need.name}: {need.advice}" for need in robot.missing]
    return "\n".join(lines)


def main() -> int:
    """Print what was found. Returns 0 if the simulated robot can be used, else 1."""
    machine = examine()
    print(describe(machine))
    return 0 if robots(machine)[0].usable else 1


if __name__ == "__main__":
    sys.exit(main())
