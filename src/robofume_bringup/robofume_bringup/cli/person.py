"""`robofume teleop`, `scenes`, `workspace record` and `helped`: what a person does at the arm."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml
from robofume_common.errors import RobofumeError

from robofume_bringup.interruption import Interruption
from robofume_bringup.run_directory import RunDirectory
from robofume_bringup.runner import QUIET, dds_environment
from robofume_bringup.security import client_environment
from robofume_bringup.snapshot import snapshot

DOMAINS = range(233)
"""ROS domains that have ports in DDS."""
END_DEADLINE = 10.0
"""Seconds that the node has for a calm end."""


def domain_of(runs: Path, run: str | None, domain: int | None) -> int:
    """The ROS domain to join: the given one, that of a run which is up, or the environment's.

    Raises RobofumeError where the named run is not up, and for a domain that there is not."""
    if domain is not None:
        if domain not in DOMAINS:
            raise RobofumeError(f"--domain is from 0 to {DOMAINS[-1]}, not {domain}.")
        return domain
    if run is not None:
        found = RunDirectory(runs / run).running_domain()
        if found is None:
            raise RobofumeError(
                f"The run {run} is not up: start it with `robofume up --run {run}`, or give the ROS domain of one that "
                "`ros2 launch` started with --domain."
            )
        return found
    text = os.environ.get("ROS_DOMAIN_ID", "0")
    if not text.isdecimal() or int(text) not in DOMAINS:
        raise RobofumeError(f"ROS_DOMAIN_ID must be a whole number from 0 to {DOMAINS[-1]}, not {text!r}.")
    return int(text)


def joining(options: Any) -> dict[str, str]:
    """Environment of a tool that joins the graph which the options name.

    Raises RobofumeError where the named run is not up, or has no key for it."""
    domain = domain_of(options.runs, options.run, options.domain)
    return _environment(options, options.run, domain)


def _environment(options: Any, run: str | None, domain: int) -> dict[str, str]:
    """The ROS domain, and with `options.secure` a person's key from the run."""
    environment = dds_environment(domain)
    if options.secure:
        if run is None:
            raise RobofumeError("The keys of a secured graph are with its run: name it with --run.")
        environment.update(client_environment(RunDirectory(options.runs / run).keystore))
    return environment


def run_node(name: str, parameters: Mapping[str, Any], options: Any, interruption: Interruption) -> int:
    """Run a node of robofume_robot in the foreground, with this terminal, in the graph that the options name, until it
    ends or the person does; its exit code."""
    environment = {**os.environ, **joining(options)}
    arguments = ["-r", f"__node:={name}"]
    if options.namespace:
        arguments += ["-r", f"__ns:=/{options.namespace.strip('/')}"]
    for key, value in parameters.items():
        arguments += ["-p", f"{key}:={yaml.safe_dump(value, default_flow_style=True).splitlines()[0]}"]
    command = [sys.executable, "-m", f"robofume_robot.nodes.{name}", "--ros-args", *arguments, *QUIET]
    process = subprocess.Popen(command, env=environment)
    try:
        while process.poll() is None and not interruption.requests:
            time.sleep(0.05)
        if process.poll() is None:  # a Ctrl+C has reached it as well; a signal to this process alone has not
            process.send_signal(signal.SIGINT)
            process.wait(END_DEADLINE)
    except subprocess.TimeoutExpired:
        print(f"robofume: the {name} node did not end when asked and was killed.", file=sys.stderr)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    return min(abs(process.returncode), 1)


def teleop(options: Any, interruption: Interruption) -> int:
    """Drive the arm by keys and joystick."""
    return run_node("teleop", {}, options, interruption)


def helped(options: Any, interruption: Interruption) -> None:
    """Tell the switcher that the scene is as it asked for. Raises RobofumeError where it had not asked."""
    os.environ.update(joining(options))
    from robofume_bringup.help_desk import say_done

    print(say_done(options.namespace, interruption))


def picture_of(options: Any, run: str) -> Callable[[], Any]:
    """What takes the newest picture of a running graph, as the policy sees it (H, W, 3): of the domain in the options,
    of the run where it is up, or else of the environment's domain, where `ros2 launch` may have started one.
    """
    domain = options.domain if options.domain is not None else RunDirectory(options.runs / run).running_domain()
    environment = _environment(options, run, domain_of(options.runs, None, domain))
    return lambda: snapshot("observation/image", environment, options.namespace)


def workspace_record(options: Any, interruption: Interruption) -> int:
    """Write the workspace box from an arm that is guided by hand."""
    parameters = {"output": str(options.output), "margin": options.margin, "overwrite": options.overwrite}
    return run_node("workspace", parameters, options, interruption)
