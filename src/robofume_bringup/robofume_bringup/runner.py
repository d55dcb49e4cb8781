"""Starts the nodes of a graph as processes, watches them, and stops them calmly and in order."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import yaml
from robofume_common.domain import claim_domain
from robofume_common.errors import RobofumeError
from robofume_common.parent import RUNNER_PID

from robofume_bringup.network import network_environment
from robofume_bringup.node_table import NodeDescription
from robofume_bringup.processors import Awake, processor
from robofume_bringup.run_directory import DOMAIN_FILE, note_domain
from robofume_bringup.security import secured, security_environment

LAST_LINES = 8
"""Log lines shown for a node that died."""
TERMINATE_DEADLINE = 3.0
"""Seconds between SIGTERM and SIGKILL."""
HURRIED_DEADLINE = 1.0
"""Seconds for each step of the escalation after a second Ctrl+C."""
EXIT_REFUSED = 1
"""Exit code of a node that says in its last line why it ended (`robofume_common.node`)."""
QUIET = ("--disable-external-lib-logs",)
"""The nodes' logs are in the run directory; none beside them in the home directory."""
CLIENT_ARGUMENTS = (*QUIET, "-p", "start_type_description_service:=false")
"""Of nodes that only ask: in a secured graph they may serve nothing, since their names have their process' number."""


class NodeDied(RobofumeError):
    """A node that the run needs has ended on its own."""


def dds_environment(domain: int) -> dict[str, str]:
    """Environment of every process of a graph: this machine only, and the transport measured to be
    fastest."""
    return {
        "ROS_DOMAIN_ID": str(domain),
        "FASTDDS_BUILTIN_TRANSPORTS": os.environ.get("FASTDDS_BUILTIN_TRANSPORTS", "UDPv4"),
        **network_environment(),
    }


def node_environment(domain: int) -> dict[str, str]:
    """Full environment of a node process: one thread each (the nodes share few cores), rendering without a
    display."""
    defaults = {"OMP_NUM_THREADS": "1", "MUJOCO_GL": "egl", "TOKENIZERS_PARALLELISM": "false"}
    return {
        **defaults,
        **os.environ,
        **dds_environment(domain),
        "PYTHONUNBUFFERED": "1",
        RUNNER_PID: str(os.getpid()),
    }


@dataclass
class _Process:
    description: NodeDescription
    log: Path
    popen: subprocess.Popen[bytes]
    log_start: int
    """Position in the log where the present start begins."""
    restarts: int = 0


class GraphRunner:
    """A running graph. Use as a context manager: leaving it stops every node.

    Arguments:
        nodes: what to start, in this order.
        parameter_directory: the parameter files of the nodes are written here.
        log_directory: `<node>.log` files are appended to here.
        namespace: ROS namespace of all nodes; empty for none.
        environment: variables added to the environment of every node.
        keystore: SROS2 keys; nodes without one take no part. None: not secured.
    """

    def __init__(
        self,
        nodes: Sequence[NodeDescription],
        parameter_directory: Path,
        log_directory: Path,
        namespace: str = "",
        environment: Mapping[str, str] | None = None,
        keystore: Path | None = None,
    ) -> None:
        self.nodes = list(nodes) if keystore is None else secured(nodes)
        self.security = {} if keystore is None else dict(security_environment(keystore))
        self.parameter_directory = parameter_directory
        self.log_directory = log_directory
        self.namespace = namespace
        self.domain, self._domain_lock = claim_domain(str(log_directory.resolve()))
        self._environment = {**node_environment(self.domain), **self.security, **(environment or {})}
        self._processes: dict[str, _Process] = {}
        self._awake = Awake()
        self._domain_note: IO[str] | None = None
        self.hurried = lambda: False
        """Called while stopping; true when the person asked a second time."""

    # Start

    def __enter__(self) -> GraphRunner:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start every node; returns when the processes run, not when the nodes are ready."""
        try:
            self.log_directory.mkdir(parents=True, exist_ok=True)
            self.parameter_directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RobofumeError(f"{error.filename} cannot be written to ({error.strerror}).") from error
        self._domain_note = note_domain(self.log_directory, self.domain)
        if any(node.parameters.get("lockstep") for node in self.nodes):
            self._awake.begin()
        for node in self.nodes:
            self._processes[node.name] = self._launch(node)

    def command(self, node: NodeDescription) -> list[str]:
        """Command line of a node; writes its parameter file."""
        place = None if node.lane is None else processor(node.lane, self.domain)
        how = [str(node.niceness), "batch" if node.batch else "normal", "any" if place is None else str(place)]
        command = [sys.executable, "-m", "robofume_bringup.child", *how, node.module]
        arguments = ["-r", f"__node:={node.name}"]
        if self.namespace:
            arguments += ["-r", f"__ns:=/{self.namespace.strip('/')}"]
        for name, target in node.remappings.items():
            arguments += ["-r", f"{name}:={target}"]
        if node.enclave:
            arguments += ["--enclave", node.enclave]
        if node.ros_parameters():
            path = self.parameter_directory / f"{node.name}.yaml"
            path.write_text(parameter_file(node))
            arguments += ["--params-file", str(path)]
        return [*command, "--ros-args", *arguments, *QUIET]

    def _launch(self, node: NodeDescription) -> _Process:
        path = self.log_directory / f"{node.name}.log"
        with path.open("ab") as log:
            log_start = log.tell()
            log.write(f"--- {time.strftime('%Y-%m-%d %H:%M:%S')} start\n".encode())
            log.flush()
            popen = subprocess.Popen(
                self.command(node),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment,
                start_new_session=True,
            )
        return _Process(node, path, popen, log_start)

    # Watch

    def check(self) -> None:
        """Restart nodes that died as their description allows.

        Raises NodeDied, with the node's last log lines, for one that the run needs and that may not be
        restarted.
        """
        for name, process in list(self._processes.items()):
            code = process.popen.poll()
            if code is None:
                continue
            if process.restarts < process.description.restarts:
                print(
                    f"The {name} node ended ({describe_exit(code)}); starting it again "
                    f"({process.restarts + 1} of {process.description.restarts}).",
                    file=sys.stderr,
                )
                kill_group(process.popen, signal.SIGKILL)
                self._processes[name] = self._launch(process.description)
                self._processes[name].restarts = process.restarts + 1
            elif process.description.needed:
                raise NodeDied(self._obituary(process, code))
            else:
                print(self._obituary(process, code), file=sys.stderr)
                del self._processes[name]

    def _obituary(self, process: _Process, code: int) -> str:
        lines = last_lines(process.log, process.log_start)
        if code == EXIT_REFUSED and lines:  # the node's own sentence is its last line
            return f"The {process.description.name} node ended: {lines[-1]} (Its log is {process.log}.)"
        text = "".join(f"\n    {line}" for line in lines) or " nothing"
        return (
            f"The {process.description.name} node ended ({describe_exit(code)}). "
            f"Its log is {process.log}; it ends with:{text}"
        )

    def pid(self, name: str) -> int:
        """Process id of a node."""
        return self._processes[name].popen.pid

    @property
    def names(self) -> list[str]:
        """Names of the nodes that are watched."""
        return list(self._processes)

    # Stop

    def stop(self) -> list[str]:
        """Stop all nodes: by their order, SIGINT first, then SIGTERM, then SIGKILL.

        Returns one sentence for each node that did not end calmly.
        """
        notes: list[str] = []
        for order in sorted({process.description.stop_order for process in self._processes.values()}):
            group = [p for p in self._processes.values() if p.description.stop_order == order]
            notes += self._stop_group(group)
        self._processes.clear()
        self._awake.end()
        if self._domain_note is not None:
            (self.log_directory / DOMAIN_FILE).unlink(missing_ok=True)
            self._domain_note.close()
            self._domain_note = None
        if self._domain_lock is not None:
            self._domain_lock.close()
            self._domain_lock = None
        for note in notes:
            print(note, file=sys.stderr)
        return notes

    def _stop_group(self, group: list[_Process]) -> list[str]:
        alive = [process for process in group if process.popen.poll() is None]
        deadline = max((process.description.stop_deadline for process in alive), default=0.0)
        escalation = ((signal.SIGINT, deadline), (signal.SIGTERM, TERMINATE_DEADLINE), (signal.SIGKILL, 10.0))
        notes = []
        for number, seconds in escalation:
            late = [process for process in alive if process.popen.poll() is None]
            for process in late:
                if number == signal.SIGKILL:
                    notes.append(
                        f"The {process.description.name} node did not end when asked and was killed."
                    )
                    kill_group(process.popen, number)
                else:
                    process.popen.send_signal(number)
            self._wait(late, seconds)
        for process in alive:
            code = process.popen.poll()
            if code is not None and code not in (0, -signal.SIGKILL):
                notes.append(self._obituary(process, code))
        for process in group:
            kill_group(process.popen, signal.SIGKILL)  # whatever the node itself had started
        return notes

    def _wait(self, processes: list[_Process], seconds: float) -> None:
        start = time.monotonic()
        while any(process.popen.poll() is None for process in processes):
            limit = min(seconds, HURRIED_DEADLINE) if self.hurried() else seconds
            if time.monotonic() - start > limit:
                return
            time.sleep(0.02)


def kill_group(popen: subprocess.Popen[bytes], number: int) -> None:
    """Signal the whole process group of a node; none left is fine."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(popen.pid, number)


def parameter_file(node: NodeDescription) -> str:
    """ROS parameter YAML for one node, whatever its name and namespace."""
    return yaml.safe_dump(
        {"/**": {"ros__parameters": node.ros_parameters()}}, sort_keys=True, allow_unicode=True
    )


def describe_exit(code: int) -> str:
    """`exit code 1`, or the name of the signal for a negative code."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"


def last_lines(path: Path, start: int = 0, count: int = LAST_LINES) -> list[str]:
    """The last lines of a log that are not blank, from the byte `start` on."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(start, size - 16384))
            text = file.read().decode(errors="replace")
    except OSError:
        return []
    return [line.rstrip() for line in text.splitlines() if line.strip() and not line.startswith("--- ")][
        -count:
    ]
