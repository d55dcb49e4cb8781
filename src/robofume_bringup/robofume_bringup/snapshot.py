"""One picture of a topic."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from robofume_common.errors import RobofumeError
from robofume_robot.crop_picture import read_picture


def snapshot(topic: str, environment: Mapping[str, str] | None = None, namespace: str = "") -> Any:
    """The next RGB picture (h, w, 3) of an image topic, taken by a node of its own.

    `environment`: variables besides those of this process, such as the ROS domain; `namespace`: ROS namespace of the
    node, and of a relative topic. RobofumeError where none comes.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "picture.png"
        arguments = ["-r", f"image:={topic}", "-p", f"output:={file}"]
        if namespace.strip("/"):
            arguments += ["-r", f"__ns:=/{namespace.strip('/')}"]
        done = subprocess.run(
            [sys.executable, "-m", "robofume_robot.nodes.snapshot", "--ros-args", *arguments],
            capture_output=True, text=True, check=False, env={**os.environ, **(environment or {})},
        )  # fmt: skip
        if done.returncode != 0:
            lines = done.stderr.strip().splitlines()
            raise RobofumeError(lines[-1] if lines else f"No picture could be taken from {topic}.")
        return read_picture(str(file))
