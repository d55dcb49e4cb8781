"""Control deadlines at ten steps a second while the learner never rests: how many steps are answered too late?

    python benchmarks/deadlines.py --minutes 10                               # as the suite schedules its nodes
    python benchmarks/deadlines.py --minutes 3 --learner 0 19 5@1 --output ...   # other niceness; 5, on core 1 alone

The simulation keeps the wall clock; the learner is allowed a thousand updates a step, so that it always has work. The
time from a picture of the camera to the joint targets that answer it is taken from the source timestamps that DDS gives
every message, so a witness that is late does not change it. A step has missed its deadline where its targets come later
than the next picture is due, or where its picture was passed over. `--folder` may name a run that is pre-trained
already; where it has a reward model that one judges every step, otherwise ground truth. `--priority -15` puts the graph
above everything else on a machine that others use (autogroup; needs root). Writes benchmarks/results/deadlines.md, and
beside it deadlines.csv with latencies, and the memory of every node, every ten seconds.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import platform
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("MUJOCO_GL", "egl")
os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.append(str(Path(__file__).resolve().parents[1] / "src" / "robofume_bringup" / "test"))

import numpy as np
import rclpy
from demonstrations import demonstrations
from fault_kit.rig import prepare
from rclpy.executors import SingleThreadedExecutor
from robofume_bringup.graph import GraphSettings, build_graph
from robofume_bringup.interruption import Interruption, Stopped
from robofume_bringup.robot_session import RobotSession
from robofume_bringup.run_directory import RunDirectory
from robofume_bringup.runner import GraphRunner
from robofume_common.conversion import to_nanoseconds
from robofume_policy.config import AgentConfig, NetworkConfig
from sensor_msgs.msg import Image
from soak import append_row, memory
from trajectory_msgs.msg import JointTrajectory

from robofume_common import qos
from robofume_interfaces.msg import Step

RESULTS = Path(__file__).parent / "results"
TASK = "pot_pick_and_place"
EVERY = 10.0
"""Seconds between two rows."""
PERIOD = 0.1
"""Control period [s]."""


class _Measured(Stopped):
    """The time is over, which a person's Ctrl+C is not."""


class Deadlines:
    """Pictures, the targets that answer them and the steps that they make, by the times at which they were sent.

    A missed step is late, passed over (the policy had the picture and a newer one came) or lost (on the way from the
    simulation to the camera node, which takes pictures as it takes them from a driver: best effort).
    """

    def __init__(self, domain: int) -> None:
        self._pictures: dict[int, int] = {}
        self._targets: dict[int, int] = {}
        self._passed_on: set[int] = set()
        self._steps: list[tuple[str, int, int, bool]] = []
        self._lock = threading.Lock()
        context = rclpy.Context()
        rclpy.init(context=context, domain_id=domain)
        node = rclpy.create_node("deadlines", context=context)
        node.create_subscription(Image, "camera/image_raw", self._on_picture, qos.STEP)
        node.create_subscription(Image, "observation/image", self._on_observation, qos.STEP)
        node.create_subscription(JointTrajectory, "arm_controller/joint_trajectory", self._on_targets, qos.STEP)
        node.create_subscription(Step, "step", self._on_step, qos.STEP)
        executor = SingleThreadedExecutor(context=context)
        executor.add_node(node)
        threading.Thread(target=executor.spin, daemon=True).start()
        self._keep = (context, node, executor)

    def _on_picture(self, message: Image, info: dict[str, int]) -> None:
        with self._lock:
            self._pictures.setdefault(to_nanoseconds(message.header.stamp), info["source_timestamp"])

    def _on_observation(self, message: Image) -> None:
        with self._lock:
            self._passed_on.add(to_nanoseconds(message.header.stamp))

    def _on_targets(self, message: JointTrajectory, info: dict[str, int]) -> None:
        with self._lock:
            self._targets.setdefault(to_nanoseconds(message.header.stamp), info["source_timestamp"])

    def _on_step(self, message: Step) -> None:
        with self._lock:
            stamp = to_nanoseconds(message.stamp)
            self._steps.append((message.episode_id, int(message.index), stamp, len(message.action) > 0))

    def latencies(self) -> np.ndarray:
        """Seconds from picture to targets of every control step so far; infinite where nothing answered: NaN where the
        camera node did not even pass the picture on."""
        with self._lock:
            steps, pictures, targets = list(self._steps), dict(self._pictures), dict(self._targets)
            passed_on = set(self._passed_on)
        delays: list[float] = []
        for step, following in itertools.pairwise(steps):
            episode, _, stamp, acted = step
            if not acted or following[0] != episode or stamp not in pictures:
                continue
            answered = targets.get(stamp)
            delays.append(float("inf") if answered is None else (answered - pictures[stamp]) * 1e-9)
            if following[3]:  # the arm goes home before the last step of an episode
                between = [other for other in pictures if stamp < other < following[2]]
                delays += [float("inf") if other in passed_on else float("nan") for other in between]
        return np.array(delays)

    def intervals(self) -> np.ndarray:
        """Seconds between pictures: the simulation itself may be late."""
        with self._lock:
            return np.diff(sorted(self._pictures.values())) * 1e-9


def main() -> int:
    """Measure one or several ways to schedule the learner."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument(
        "--learner", nargs="*", default=[""], metavar="NICENESS[@CORE]",
        help="niceness of the learner, and the core that it is kept on; one run for each",
    )  # fmt: skip
    parser.add_argument("--priority", type=int, default=0, help="niceness of all nodes together; below 0 needs root")
    parser.add_argument("--folder", type=Path, help="the run; a temporary one by default")
    parser.add_argument("--output", type=Path, default=RESULTS / "deadlines.md")
    given = parser.parse_args()
    directory = RunDirectory(given.folder or Path(tempfile.mkdtemp(prefix="deadlines_")))
    if not directory.pretrained.exists():
        prepare(directory, demonstrations(TASK), updates=50, network=NetworkConfig(), agent=AgentConfig())
    table = given.output.with_suffix(".csv")
    table.unlink(missing_ok=True)
    rows = []
    for way in given.learner:
        rows.append(measure(directory, given, way, table))
        given.output.write_text(report(given, rows, directory.reward.is_dir()), encoding="utf-8")
        print(rows[-1], flush=True)
    return 0


def measure(directory: RunDirectory, given: argparse.Namespace, way: str, table: Path) -> str:
    """One run; returns its row of the report."""
    niceness, _, core = way.partition("@")
    overrides: dict[str, dict[str, Any]] = {
        "reward": {} if directory.reward.is_dir() else {"judge": "ground_truth"},
        "sim": {"control_period": PERIOD},
        "arm": {"control_period": PERIOD},
        "switcher": {"step_limit": 200},  # less homing, more control
        "policy": {"step_listeners": 5},  # the witness listens too
        "learner": {"updates_per_step": 1000.0, "warm_up_steps": 1},
    }
    settings = GraphSettings(
        TASK, "practice", run_directory=directory.path.resolve(), lockstep=False, restarts=0, overrides=overrides
    )
    nodes = build_graph(settings)
    if niceness:
        nodes = [replace(node, niceness=int(niceness) if node.name == "learner" else node.niceness) for node in nodes]
    chosen = {node.name: node.niceness for node in nodes}
    runner = GraphRunner(nodes, directory.parameters, directory.logs)
    updates, updates_before = 0, -1
    loads: list[float] = []
    with Interruption() as interruption, runner, RobotSession(runner, interruption) as session:
        deadlines = Deadlines(runner.domain)
        session.wait_until_ready()
        _raise(runner, chosen, given.priority)  # each has set its own by now
        if core:
            _keep_on(runner.pid("learner"), int(core))
        begin = last = time.monotonic()
        done = 0

        def feedback(state: Any) -> None:
            nonlocal last, done, updates, updates_before
            now = time.monotonic()
            updates_before = state.updates if updates_before < 0 else updates_before
            if now - last < EVERY:
                return
            last, updates = now, state.updates
            delays = deadlines.latencies()
            loads.append(os.getloadavg()[0])
            row = {"learner_niceness": chosen["learner"], "learner_core": int(core or -1), "seconds": now - begin}
            row |= {"updates": updates, "load": loads[-1]}
            row |= _shares(delays[done:]) | memory(runner)
            done = len(delays)
            append_row(table, row)
            if now - begin > 60 * given.minutes:
                raise _Measured

        with contextlib.suppress(_Measured):
            session.practice(feedback, steps=10**7)
    delays, pauses = deadlines.latencies(), deadlines.intervals()
    share = _shares(delays)
    pauses = pauses[pauses < 1.0]  # scene resets
    missed = 100 * share["missed"] / max(1, len(delays))
    learner = f"{chosen['learner']}{f', on core {core}' if core else ''}"
    return (
        f"| {learner} | {len(delays)} | {share['missed']} ({missed:.3f}%) | "
        f"{share['late']}, {share['passed_over']}, {share['lost']} | "
        f"{share['median_ms']:.1f} | {share['p99_ms']:.1f} | {share['p999_ms']:.1f} | {share['worst_ms']:.0f} | "
        f"{100 * (pauses > 1.5 * PERIOD).mean():.2f}% | {(updates - updates_before) / (last - begin):.1f} | "
        f"{min(loads):.0f} to {max(loads):.0f} |"
    )


def _raise(runner: GraphRunner, chosen: dict[str, int], priority: int) -> None:
    """Put the sessions of all nodes above, or below, everybody else's."""
    for name in runner.names if priority else ():
        above = max(-20, min(19, priority + chosen[name]))
        Path(f"/proc/{runner.pid(name)}/autogroup").write_text(str(above))


def _keep_on(pid: int, core: int) -> None:
    """Let every thread of a process run on one core alone."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(task.name), {core})


def _shares(delays: np.ndarray) -> dict[str, Any]:
    """Steps, those that missed their deadline, and quantiles [ms] of those that were answered at all."""
    answered = delays[np.isfinite(delays)]
    quantiles = np.quantile(answered, (0.5, 0.99, 0.999, 1.0)) if len(answered) else np.full(4, np.nan)
    names = ("median_ms", "p99_ms", "p999_ms", "worst_ms")
    missed = {
        "late": int((answered > PERIOD).sum()),
        "passed_over": int(np.isinf(delays).sum()),
        "lost": int(np.isnan(delays).sum()),
    }
    counts = {"steps": len(delays), "missed": sum(missed.values()), **missed}
    return {**counts, **dict(zip(names, 1000 * quantiles, strict=True))}


def report(given: argparse.Namespace, rows: Sequence[str], model: bool) -> str:
    """The results as Markdown."""
    judge = "a reward model" if model else "ground truth"
    command = f"python benchmarks/deadlines.py --minutes {given.minutes:g}"
    command += f" --learner {' '.join(given.learner)}" if any(given.learner) else ""
    command += f" --priority {given.priority}" if given.priority else ""
    return "\n".join(
        (
            "# Control deadlines",
            "",
            f"`{command}`: {TASK} at {1 / PERIOD:.0f} control steps a second by the wall clock, learner always at "
            f"work, {judge} for every step, {os.cpu_count()} cores, Python {platform.python_version()}, "
            f"{time.strftime('%Y-%m-%d')}.",
            "",
            "| learner's niceness | control steps | missed | late, passed over, lost | median [ms] | p99 [ms] | "
            "p99.9 [ms] | worst [ms] | "
            "pictures more than half a period late | updates/s | load |",
            "|---|---|---|---|---|---|---|---|---|---|---|",
            *rows,
            "",
        )
    )


if __name__ == "__main__":
    raise SystemExit(main())
