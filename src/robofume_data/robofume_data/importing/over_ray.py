"""The same import on many machines: each source is a task of Ray.

The machines need this suite, and the same folders under the same paths: a source is read, and its bag written, by
whichever machine takes it.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import socket
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from robofume_common.errors import RobofumeError

from robofume_data.importing.trajectory import ImportReport

HERE = "local"
"""The address that starts a Ray of its own on this machine."""


def import_over_ray(
    address: str, jobs: int, work: Callable[..., ImportReport], sources: Sequence[Any], *arguments: Any
) -> Iterator[ImportReport]:
    """`work(source, *arguments)` of each source, as they are done. jobs: processes of a Ray of its own (`local`).

    A source whose machine is lost goes to another one; where that does not help either, its report says so and the
    others go on. RobofumeError where Ray is not installed or nobody answers at the address; whatever `work` raises.
    """
    try:
        ray = importlib.import_module("ray")
    except ImportError as error:
        raise RobofumeError(f"--ray needs the package ray ({error}): pip install ray.") from error
    # The folders of the packages and of the messages, for workers that were not started from this workspace.
    variables = {
        "PYTHONPATH": _joined(_package_folders()),
        "AMENT_PREFIX_PATH": _joined([*os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep), sys.prefix]),
    }
    settings: dict[str, Any] = {"runtime_env": {"env_vars": variables}}
    if address == HERE:
        settings |= {"num_cpus": jobs, "include_dashboard": False}
    try:
        _knock(address)
        ray.init(address=address, log_to_driver=False, logging_level="error", **settings)
    except Exception as error:  # Ray raises what its transports raise
        raise RobofumeError(
            f"No Ray answers at {address} ({_first_line(error)}): start one with `ray start --head`."
        ) from error
    try:
        task = ray.remote(num_cpus=1)(work)
        waiting = {task.remote(source, *arguments): source for source in sources}
        while waiting:
            (done, *_), _ = ray.wait(list(waiting), num_returns=1)
            source = waiting.pop(done)
            try:
                report = ray.get(done)
            except ray.exceptions.RayError as error:
                if isinstance(error, ray.exceptions.RayTaskError):  # what `work` raised
                    raise
                report = ImportReport(str(source.path))
                report.error = f"{source.path} was not imported: Ray could not finish it ({_first_line(error)})"
            yield report
    finally:
        ray.shutdown()


def _knock(address: str) -> None:
    """OSError where nobody listens at HOST:PORT; Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), timeout=10.0).close()


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")


def _joined(folders: Iterable[str]) -> str:
    return os.pathsep.join(dict.fromkeys(filter(None, folders)))


def _package_folders() -> Iterator[str]:
    for name in ("robofume_data", "robofume_common", "robofume_robot", "robofume_bringup"):
        found = importlib.util.find_spec(name)
        if found is not None and found.origin:
            yield str(Path(found.origin).resolve().parents[1])
    yield from os.environ.get("PYTHONPATH", "").split(os.pathsep)
