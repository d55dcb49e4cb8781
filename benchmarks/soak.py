"""Practice for a long time: memory, files, disk, step rate and latency of every node over time.

    nice python benchmarks/soak.py --minutes 240 --folder runs/soak        # goes on where it was stopped

In lockstep the graph runs as fast as the machine goes. `--folder` may name a run that is pre-trained already; where it
has a reward model that one judges, otherwise ground truth. The learner makes few updates a step (`--updates-per-step`),
since the steps are what is to be many, and keeps few (`--online-capacity`), so that its memory has to stop growing.
Memory is what belongs to a process alone (RssAnon): what is mapped from files, as the replay memory's recorded part, is
the kernel's to drop. The rows are kept in the run's soak.csv, which its report draws, and copied with a plot to
benchmarks/results/soak.csv. `robot_hours` are those of the simulated robot, by the stamps of its pictures.
Deadlines in real time: benchmarks/deadlines.py.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import os
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("MUJOCO_GL", "egl")
os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.append(str(Path(__file__).resolve().parents[1] / "src" / "robofume_bringup" / "test"))

import numpy as np
import psutil
import rclpy
from demonstrations import demonstrations
from fault_kit.rig import prepare
from rclpy.executors import SingleThreadedExecutor
from robofume_bringup.graph import GraphSettings, build_graph
from robofume_bringup.interruption import Interruption, Stopped
from robofume_bringup.report_figures import soak_curves
from robofume_bringup.robot_session import RobotSession
from robofume_bringup.run_directory import RunDirectory
from robofume_bringup.runner import GraphRunner
from robofume_common.conversion import to_nanoseconds
from sensor_msgs.msg import Image

from robofume_common import qos
from robofume_interfaces.msg import ArmCommand

RESULTS = Path(__file__).parent / "results"
TASK = "pot_pick_and_place"
EVERY = 5.0
"""Seconds between two rows."""
NODES = ("sim", "camera", "arm", "policy", "reward", "switcher", "learner", "recorder")


class Latency:
    """Seconds from the arrival of a picture to that of the command that answers it, as a third process hears them;
    and how long the robot was at work by the stamps of the pictures, ways home and resets included."""

    def __init__(self, domain: int) -> None:
        self._pictures: dict[int, float] = {}
        self._lock = threading.Lock()
        self._delays: list[float] = []
        self._first = self._newest = 0
        context = rclpy.Context()
        rclpy.init(context=context, domain_id=domain)
        node = rclpy.create_node("soak", context=context)
        node.create_subscription(Image, "observation/image", self._on_image, qos.IMAGE)
        node.create_subscription(ArmCommand, "arm/command", self._on_command, qos.COMMAND)
        executor = SingleThreadedExecutor(context=context)
        executor.add_node(node)
        threading.Thread(target=executor.spin, daemon=True).start()
        self._keep = (context, node, executor)

    @property
    def robot_seconds(self) -> float:
        """Simulated seconds from the first picture to the newest."""
        with self._lock:
            return (self._newest - self._first) / 1e9

    def _on_image(self, message: Image) -> None:
        stamp = to_nanoseconds(message.header.stamp)
        with self._lock:
            self._first, self._newest = self._first or stamp, max(self._newest, stamp)
            self._pictures.setdefault(stamp, time.perf_counter())
            while len(self._pictures) > 50:
                self._pictures.pop(next(iter(self._pictures)))

    def _on_command(self, message: ArmCommand) -> None:
        with self._lock:
            began = self._pictures.pop(to_nanoseconds(message.header.stamp), None)
            if began is not None:
                self._delays.append(time.perf_counter() - began)

    def take(self) -> np.ndarray:
        """The delays since the last call."""
        with self._lock:
            delays, self._delays = self._delays, []
        return np.array(delays)


def main() -> int:
    """Soak and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=240.0)
    parser.add_argument("--folder", type=Path, help="the run; one that is there is continued")
    parser.add_argument("--steps", type=int, default=10**7, help="end after so many control steps")
    parser.add_argument("--updates-per-step", type=float, default=0.1)
    parser.add_argument("--online-capacity", type=int, default=20_000, help="steps of practice that the learner keeps")
    parser.add_argument("--output", type=Path, default=RESULTS / "soak.csv", help="the CSV file")
    given = parser.parse_args()
    output = given.output
    folder = given.folder or Path(tempfile.mkdtemp(prefix="soak_"))
    directory = RunDirectory(folder)
    if not directory.pretrained.exists():
        prepare(directory, demonstrations(TASK), updates=400)
    soak(directory, given)
    shutil.copyfile(directory.soak, output)
    draw(output)
    return 0


def soak(directory: RunDirectory, given: argparse.Namespace) -> None:
    """Practise, and add a row every few seconds."""
    table = directory.soak
    settings = GraphSettings(
        TASK, "practice", run_directory=directory.path.resolve(), restarts=0,
        overrides={
            "reward": {} if directory.reward.is_dir() else {"judge": "ground_truth"},
            "learner": {"updates_per_step": given.updates_per_step, "online_capacity": given.online_capacity},
        },
    )  # fmt: skip
    rows = _rows(table)
    before = rows[-1] if rows else {}
    steps_before, seconds_before = float(before.get("steps", 0)), float(before.get("seconds", 0))
    hours_before = float(before.get("robot_hours", 0))
    runner = GraphRunner(build_graph(settings), directory.parameters, directory.logs)
    with Interruption() as interruption, runner, RobotSession(runner, interruption) as session:
        latency = Latency(runner.domain)
        session.wait_until_ready()
        begin = last = time.monotonic()
        last_steps = 0.0

        def feedback(state: Any) -> None:
            nonlocal last, last_steps
            now = time.monotonic()
            if now - last < EVERY:
                return
            row = sample(runner, directory, latency.take())
            row |= {
                "seconds": seconds_before + now - begin,
                "robot_hours": hours_before + latency.robot_seconds / 3600,
                "steps": steps_before + state.steps,
                "updates": state.updates,
                "rate": (state.steps - last_steps) / (now - last),
                "load": os.getloadavg()[0],
            }
            last, last_steps = now, state.steps
            append_row(table, row)
            if now - begin > 60 * given.minutes:
                raise Stopped

        with contextlib.suppress(Stopped):
            session.practice(feedback, steps=max(1, given.steps - int(steps_before)))


def memory(runner: GraphRunner) -> dict[str, float]:
    """Memory of every node that is its own [MiB]."""
    sizes = {}
    for name in runner.names:
        status = Path(f"/proc/{runner.pid(name)}/status").read_text()
        sizes[f"{name}_mib"] = int(status.partition("RssAnon:")[2].split()[0]) / 1024
    return sizes


def sample(runner: GraphRunner, directory: RunDirectory, delays: np.ndarray) -> dict[str, float]:
    """Memory [MiB] and open files of every node, disk [MiB], and latency [ms]."""
    row = memory(runner)
    for name in runner.names:
        row[f"{name}_files"] = psutil.Process(runner.pid(name)).num_fds()
    row["disk_mib"] = sum(path.stat().st_size for path in directory.path.rglob("*") if path.is_file()) / 2**20
    for name, share in (("median", 0.5), ("p99", 0.99), ("worst", 1.0)):
        row[f"latency_{name}_ms"] = 1000 * float(np.quantile(delays, share)) if len(delays) else float("nan")
    return row


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def append_row(path: Path, row: dict[str, float]) -> None:
    """Add a row to a CSV file: the columns that it has, in their order."""
    names = list(next(iter(_rows(path)), row))
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, names, extrasaction="ignore")
        if new:
            writer.writeheader()
        writer.writerow({name: f"{value:.5g}" for name, value in row.items()})


def draw(path: Path) -> None:
    """The plot, and what can be said in numbers."""
    rows = _rows(path)
    hours = np.array([float(row["seconds"]) for row in rows]) / 3600

    def column(name: str) -> np.ndarray:
        return np.array([float(row[name]) for row in rows])

    curves = soak_curves(path)
    if curves is not None:
        path.with_suffix(".png").write_bytes(curves)
    settled = slice(len(rows) // 4, None)  # the first quarter fills buffers
    span = max(1e-9, float(hours[settled][-1] - hours[settled][0]))
    growth = {
        name: float(np.polyfit(hours[settled], column(f"{name}_mib")[settled], 1)[0]) if len(rows) > 8 else 0.0
        for name in NODES
    }
    disk = (column("disk_mib")[settled][-1] - column("disk_mib")[settled][0]) / span
    worked = f" ({column('robot_hours')[-1]:.2f} hours of robot time)" if "robot_hours" in rows[0] else ""
    lines = [
        f"{hours[-1] * 60:.0f} minutes{worked}, {column('steps')[-1]:.0f} control steps, "
        f"{np.mean(column('rate')):.0f} a second; load average {np.min(column('load')):.1f} to "
        f"{np.max(column('load')):.1f}.",
        f"Disk: {disk:.0f} MiB an hour. Picture to command: median {np.nanmedian(column('latency_median_ms')):.1f} ms, "
        f"99th percentile {np.nanmedian(column('latency_p99_ms')):.1f} ms, worst "
        f"{np.nanmax(column('latency_worst_ms')):.0f} ms.",
        "Memory, MiB an hour after the first quarter: "
        + ", ".join(f"{name} {value:+.0f}" for name, value in growth.items())
        + ".",
    ]
    print("\n".join(lines))


if __name__ == "__main__":
    raise SystemExit(main())
