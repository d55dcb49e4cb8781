"""The .msg files of the installed message packages, as bags carry them."""

from __future__ import annotations

import os
import re
import sys
from functools import cache
from pathlib import Path

from robofume_common.errors import RobofumeError

_PRIMITIVES = {"bool", "byte", "char", "float32", "float64", "string", "wstring"} | {
    f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)
}
_SEPARATOR = "=" * 80
_FIELD = re.compile(r"^([A-Za-z][\w/]*)(?:<=\d+)?(?:\[[^\]]*\])?\s+[A-Za-z]\w*")


def _share_folders() -> list[Path]:
    prefixes = [*os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep), sys.prefix]
    return [Path(prefix) / "share" for prefix in prefixes if prefix]


@cache
def _text(package: str, name: str) -> str:
    folders = [folder / package for folder in _share_folders()]
    if package == "robofume_interfaces":  # a source tree that was not built
        folders.append(Path(__file__).resolve().parents[2] / package)
    for folder in folders:
        path = folder / "msg" / f"{name}.msg"
        if path.is_file():
            return path.read_text(encoding="utf-8")
    raise RobofumeError(
        f"Cannot find the message {package}/msg/{name}; source the workspace (install/setup.bash) or install {package}."
    )


def _dependencies(package: str, text: str) -> list[str]:
    """Types that a definition uses, as package/Name, in order."""
    found = []
    for line in text.splitlines():
        match = _FIELD.match(line.split("#")[0].strip())
        if match and match[1] not in _PRIMITIVES:
            parts = match[1].split("/")
            found.append(f"{parts[0] if len(parts) > 1 else package}/{parts[-1]}")
    return found


@cache
def definition(type_name: str) -> str:
    """The definition of e.g. `sensor_msgs/msg/Image` and of what it needs, in the ros2msg format of MCAP."""
    package, _, name = type_name.partition("/msg/")
    pieces = {f"{package}/{name}": _text(package, name)}
    queue = _dependencies(package, pieces[f"{package}/{name}"])
    while queue:
        used = queue.pop(0)
        if used not in pieces:
            used_package, used_name = used.split("/")
            pieces[used] = _text(used_package, used_name)
            queue += _dependencies(used_package, pieces[used])
    (_, first), *rest = pieces.items()
    return first + "".join(f"\n{_SEPARATOR}\nMSG: {key}\n{text}" for key, text in rest)
