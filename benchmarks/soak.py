"""Practise for a long time: memory, files, disk, step rate and latency of every node over time, and no lost episode.

    nice python benchmarks/soak.py --robot-hours 24 --folder runs/soak     # again and again, until the goal is reached

The goal is hours of the simulated robot, by the stamps of its pictures, ways home included, over all starts together;
`--minutes` limits one start. In lockstep the graph runs as fast as the machine goes. `--folder` may name a run that is
pre-trained already; where it has a reward model that one judges, otherwise ground truth. The learner makes few updates
a step (`--updates-per-step`), since the steps are what is to be many, and keeps few (`--online-capacity`), so that its
memory has to stop growing. Memory is what belongs to a process alone (RssAnon): what is mapped from files, as the
replay memory's recorded part, is the kernel's to drop.

The rows are kept in the run's soak.csv, which its report draws, and the episodes that the switcher closed in
soak_journal.jsonl. At the end of each start, after Ctrl+C too, these are compared with the bags and judged
(`robofume_bringup.soak_record`): printed, written to soak_summary.md, and copied with the rows and a plot to
benchmarks/results/ (`--output`). No node is started again: one that dies ends the start. The exit code is 1 where a
node died or an episode was lost. Deadlines in real time: benchmarks/deadlines.py.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
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
from robofume_bringup.node_table import NodeDescription
from robofume_bringup.report_figures import soak_curves
from robofume_bringup.robot_session import RobotSession
from robofume_bringup.run_directory import RunDirectory
from robofume_bringup.runner import GraphRunner
from robofume_bringup.soak_record import (
    FLAT,
    Drift,
    Journal,
    Kept,
    Table,
    append_row,
    check_columns,
    columns,
    compare_episodes,
    drift,
    growth,
    growth_verdict,
    hour_name,
    read_table,
    settled,
    settled_hours,
)
from robofume_common.conversion import to_nanoseconds
from robofume_common.errors import RobofumeError
from robofume_data.check import BagReport, check_bags
from robofume_reset.state import SwitcherState, load_state
from robofume_reset.switching import SwitchingConfig
from sensor_msgs.msg import Image

from robofume_common import qos
from robofume_interfaces.msg import ArmCommand, Episode

RESULTS = Path(__file__).parent / "results"
TASK = "pot_pick_and_place"
EVERY = 5.0
"""Seconds between two rows."""
PERSON, GOAL = "stopped by a person", "the goal was reached"
MINUTES, STEPS = "its minutes were over", "the steps were made"
CALM = (PERSON, GOAL, MINUTES, STEPS)
"""Why a start may end."""
Rows = list[tuple[str, str, str]]
"""What, measured, verdict."""
NAMED = 20
"""Episodes that are named, of those that are missing."""


class Listener:
    """A third process, for the graph: notes the episodes that are closed, and takes the seconds from the arrival of a
    picture to that of the command that answers it; and how long the robot was at work by the stamps of the pictures,
    ways home and resets included."""

    def __init__(self, domain: int, journal: Journal) -> None:
        self._journal = journal
        self._pictures: dict[int, float] = {}
        self._lock = threading.Lock()
        self._delays: list[float] = []
        self._first = self._newest = 0
        context = rclpy.Context()
        rclpy.init(context=context, domain_id=domain)
        node = rclpy.create_node("soak", context=context)
        node.create_subscription(Image, "observation/image", self._on_image, qos.IMAGE)
        node.create_subscription(ArmCommand, "arm/command", self._on_command, qos.COMMAND)
        node.create_subscription(Episode, "episode", self._on_episode, qos.EPISODE)
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

    def _on_episode(self, message: Episode) -> None:
        self._journal.closed(message.episode_id, message.num_steps, message.assisted_reset_before)

    def take(self) -> np.ndarray:
        """The delays since the last call."""
        with self._lock:
            delays, self._delays = self._delays, []
        return np.array(delays)


def main() -> int:
    """Soak, judge and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--robot-hours", type=float, default=24.0, help="the goal, over all starts together")
    parser.add_argument("--minutes", type=float, default=240.0, help="end this start after so many")
    parser.add_argument("--folder", type=Path, help="the run; one that is there is continued")
    parser.add_argument("--steps", type=int, default=10**7, help="end after so many control steps")
    parser.add_argument("--updates-per-step", type=float, default=0.1)
    parser.add_argument("--online-capacity", type=int, default=20_000, help="steps of practice that the learner keeps")
    parser.add_argument("--output", type=Path, default=RESULTS / "soak.csv", help="the CSV file")
    given = parser.parse_args()
    directory = RunDirectory(given.folder or Path(tempfile.mkdtemp(prefix="soak_")))
    if not directory.pretrained.exists():
        prepare(directory, demonstrations(TASK), updates=400)
    nodes = build_graph(settings(directory, given))
    check_columns(directory.soak, columns(node.name for node in nodes))
    try:
        if not reached(read_table(directory.soak), given):
            soak(directory, given, nodes)
    finally:
        kept_all = conclude(directory, given)
    return 0 if kept_all else 1


def reached(table: Table, given: argparse.Namespace) -> bool:
    """Whether the goal is reached."""
    return bool(table) and bool(table["robot_hours"][-1] >= given.robot_hours or table["steps"][-1] >= given.steps)


def soak(directory: RunDirectory, given: argparse.Namespace, nodes: Sequence[NodeDescription]) -> None:
    """One start, and why it ended."""
    journal, names = Journal(directory.soak_journal), columns(node.name for node in nodes)
    start, because = journal.begin(), "ended by an error of soak.py"
    try:
        because = practise(GraphRunner(nodes, directory.parameters, directory.logs), directory, given, start, names)
    except RobofumeError as error:
        because = str(error).splitlines()[0]
        raise
    finally:
        journal.end(start, because)


def settings(directory: RunDirectory, given: argparse.Namespace) -> GraphSettings:
    """The graph that is soaked."""
    return GraphSettings(
        TASK, "practice", run_directory=directory.path.resolve(), restarts=0,
        overrides={
            "reward": {} if directory.reward.is_dir() else {"judge": "ground_truth"},
            "learner": {"updates_per_step": given.updates_per_step, "online_capacity": given.online_capacity},
            "switcher": {"episode_listeners": 3},  # recorder, learner, and this process
        },
    )  # fmt: skip


def practise(
    runner: GraphRunner, directory: RunDirectory, given: argparse.Namespace, start: int, names: list[str]
) -> str:
    """Practise, and add a row every few seconds. Returns why it ended."""
    table = read_table(directory.soak)
    before = {name: float(values[-1]) for name, values in table.items()} if table else dict.fromkeys(names, 0.0)
    because = PERSON
    with (
        contextlib.suppress(Stopped),
        Interruption() as interruption,
        runner,
        RobotSession(runner, interruption) as session,
    ):
        listener = Listener(runner.domain, Journal(directory.soak_journal))
        session.wait_until_ready()
        begin = last = time.monotonic()
        last_steps = 0

        def feedback(state: Any) -> None:
            nonlocal last, last_steps, because
            now = time.monotonic()
            if now - last < EVERY:
                return
            runner.check()  # a node that died is told by its last words, not by a file that is missing in /proc
            row = sample(runner, directory, listener.take())
            row |= {
                "start": start,
                "seconds": before["seconds"] + now - begin,
                "robot_hours": before["robot_hours"] + listener.robot_seconds / 3600,
                "steps": before["steps"] + state.steps,
                "updates": state.updates,
                "rate": (state.steps - last_steps) / (now - last),
                "load": os.getloadavg()[0],
            }
            last, last_steps = now, state.steps
            append_row(directory.soak, names, row)
            if row["robot_hours"] >= given.robot_hours:
                because = GOAL
            elif now - begin > 60 * given.minutes:
                because = MINUTES
            else:
                return
            raise Stopped

        session.practice(feedback, steps=max(1, given.steps - int(before["steps"])))
        because = STEPS
    return because


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


def conclude(directory: RunDirectory, given: argparse.Namespace) -> bool:
    """Judge all starts by their rows, the journal and the bags; draw. Returns whether every episode was kept."""
    table = read_table(directory.soak)
    if not table:
        print("Nothing was measured yet.")
        return True
    journal = Journal(directory.soak_journal)
    bags = check_bags(directory.bag_files("practice"))
    switcher = load_state(directory.switcher_state("practice"), SwitchingConfig())
    kept = compare_episodes(journal.closed_steps(), _lengths(bags), _begun(switcher))
    rows = [
        *practice_rows(table, given),
        *episode_rows(kept, bags, switcher, journal),
        *growth_rows(table),
        *rate_rows(table),
        *start_rows(journal),
    ]
    text = summary(rows, given, hour_name(table)).replace(str(directory.path), "RUN")
    print(text)
    directory.soak_summary.write_text(text, encoding="utf-8")
    given.output.with_name(f"{given.output.stem}_summary.md").write_text(text, encoding="utf-8")
    if given.output.resolve() != directory.soak.resolve():
        shutil.copyfile(directory.soak, given.output)
    curves = soak_curves(directory.soak)
    if curves is not None:
        given.output.with_suffix(".png").write_bytes(curves)
    print(f"The run is in {directory.path}.")
    return not kept.lost and not kept.differing


def summary(rows: Rows, given: argparse.Namespace, hour: str) -> str:
    """The rows as Markdown."""
    command = f"python benchmarks/soak.py --robot-hours {given.robot_hours:g} --folder RUN"
    lines = [
        f"`{command}`: {TASK}, {os.cpu_count()} cores, Python {platform.python_version()}, {time.strftime('%Y-%m-%d')}."
        " Growth, rate and latency are those after the first quarter of the soak and of each start; a node is flat up "
        f"to {FLAT:g} MiB a {hour}.",
        "",
        "| what | measured | verdict |",
        "|---|---|---|",
        *(f"| {what} | {measured} | {verdict} |" for what, measured, verdict in rows),
    ]
    return "\n".join(lines) + "\n"


def practice_rows(table: Table, given: argparse.Namespace) -> Rows:
    """How far it went, and what it took."""
    robot, wall, steps = table["robot_hours"][-1], table["seconds"][-1] / 3600, table["steps"][-1]
    load, rows = table["load"], settled(table)
    median, p99, worst = (table[f"latency_{name}_ms"][rows] for name in ("median", "p99", "worst"))
    disk = np.ptp(table["disk_mib"][rows]) / max(1e-9, np.ptp(table["seconds"][rows]) / 3600)
    return [
        (
            "practice",
            f"{robot:.2f} robot hours in {wall:.2f} wall hours; {steps:.0f} control steps; load average "
            f"{load.min():.1f} to {load.max():.1f}",
            f"the goal of {given.robot_hours:g} is " + ("reached" if reached(table, given) else "NOT YET REACHED"),
        ),
        (
            "picture to command [ms]",
            f"median {np.nanmedian(median):.1f}, 99th percentile {np.nanmedian(p99):.1f}, worst {np.nanmax(worst):.0f}",
            "",
        ),
        ("disk", f"{table['disk_mib'][-1]:.0f} MiB; {disk:.0f} MiB a wall hour", ""),
    ]


def episode_rows(kept: Kept, bags: list[BagReport], switcher: SwitcherState, journal: Journal) -> Rows:
    """Whether every episode was kept, with every step."""
    in_bags, counted = sum(bag.steps for bag in bags), switcher.alternation.total.steps
    errors = [f"{bag.path.name}: {error}" for bag in bags for error in bag.errors]
    same = kept.closed_steps == kept.whole_steps and not kept.differing
    return [
        (
            "episodes",
            f"{kept.closed} closed by the switcher, {kept.whole} of them whole in the bags"
            + _named("lost", kept.lost)
            + _named("with another number of steps", kept.differing)
            + _named("begun and never closed", kept.unclosed),
            kept.verdict(len(journal.endings())),
        ),
        (
            "their steps",
            f"{kept.closed_steps} as announced, {kept.whole_steps} in the bags",
            "add up" if same else "DO NOT ADD UP",
        ),
        (
            "all steps of the run's practice",
            f"{counted} by the switcher's count, {in_bags} in whole episodes in the bags",
            "the same" if counted == in_bags else f"{counted - in_bags} are in episodes that were never whole",
        ),
        (
            "bags, as `robofume data check` finds them",
            f"{len(bags)}, {sum(bag.episodes for bag in bags)} whole episodes" + _named("errors", errors),
            "sound" if not errors else "NOT SOUND",
        ),
        ("assisted resets", str(journal.assisted_resets()), ""),
    ]


def growth_rows(table: Table) -> Rows:
    """The memory of each node."""
    covered, hour = settled_hours(table), hour_name(table)
    return [
        (
            f"memory of {name}",
            f"{table[f'{name}_mib'][-1]:.0f} MiB in the end; {slope:+.2f} MiB a {hour}",
            growth_verdict(slope, covered),
        )
        for name, slope in growth(table).items()
    ]


def rate_rows(table: Table) -> Rows:
    """The step rate, and its drift."""
    several = table["start"][0] != table["start"][-1]
    lines = {"over all starts" if several else "over time": drift(table)}
    if several:
        lines["within a start"] = drift(table, within_starts=True)
    return [(f"step rate {name}", _line(line, hour_name(table)), line.verdict) for name, line in lines.items()]


def _line(line: Drift, hour: str) -> str:
    if np.isnan(line.slope):
        return f"{line.mean:.1f} a second"
    return (
        f"{line.mean:.1f} a second; {line.slope:+.2f} a {hour} (95%: {line.low:+.2f} to {line.high:+.2f}) beside "
        f"{line.per_load:+.2f} for each unit of load"
    )


def start_rows(journal: Journal) -> Rows:
    """The starts, and what ended them."""
    endings = journal.endings()
    troubled = sum(reason not in CALM for reason in endings)
    text = "; ".join(f"{endings.count(reason)} {reason}" for reason in dict.fromkeys(endings))
    return [
        ("starts", f"{len(endings)}: {text}", f"{troubled} DID NOT END CALMLY" if troubled else "all ended calmly"),
        ("nodes that were started again", "0: one that dies ends the start", ""),
    ]


def _named(what: str, names: Sequence[str]) -> str:
    """`, 2 lost (a, b)`; empty for none."""
    shown = ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")
    return f", {len(names)} {what} ({shown})" if names else ""


def _lengths(bags: list[BagReport]) -> dict[str, int]:
    return {name: steps for bag in bags for name, steps in bag.lengths.items()}


def _begun(switcher: SwitcherState) -> list[str]:
    """Ids of the episodes that the switcher has begun in the run."""
    return [f"practice-{number:06d}" for number in range(1, switcher.episodes_started + 1)]


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except RobofumeError as error:
        raise SystemExit(str(error)) from None
