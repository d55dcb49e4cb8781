"""The figures of the report, as PNG bytes; None where there is nothing to draw yet."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib

matplotlib.use("Agg")

import numpy as np
from matplotlib.figure import Figure
from robofume_common.errors import RobofumeError

from robofume_bringup.soak_record import hour_name, hours, read_table
from robofume_bringup.statistics import moving_share, wilson_interval

if TYPE_CHECKING:
    from robofume_bringup.episodes import EpisodeSummary
    from robofume_bringup.report import RunResults

WINDOW = 25
"""Episodes per direction in the moving average."""
FIRST = 4
"""Episodes per direction before the lines begin."""
COLOURS = {1: "#1f6f8b", 2: "#d1603d"}
NAMES = {1: "forward", 2: "backward"}
STYLE: Any = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "axes.axisbelow": True,
    "figure.dpi": 130,
}


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", bbox_inches="tight", metadata={"Software": None})
    return buffer.getvalue()


def success_over_steps(results: RunResults) -> bytes | None:
    """Success in practice against control steps, with the evaluations before and after."""
    if not results.practice:
        return None
    return _success(
        results, np.cumsum([episode.num_steps for episode in results.practice]), "control steps of practice"
    )


def success_over_minutes(results: RunResults) -> bytes | None:
    """Success in practice against minutes of wall time; pauses between two starts are left out."""
    closed = np.array([episode.closed for episode in results.practice])
    if not len(closed) or np.isnan(closed).any():
        return None
    gaps = np.diff(closed, prepend=closed[0])
    bags = np.array([str(episode.bag) for episode in results.practice])
    gaps[1:][bags[1:] != bags[:-1]] = 0.0
    return _success(results, np.cumsum(np.maximum(gaps, 0.0)) / 60, "minutes of practice")


def _success(results: RunResults, position: Any, label: str) -> bytes:
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8, 3.6))
        axes = figure.subplots()
        for number, name in NAMES.items():
            chosen = np.array([e.direction == number and e.judged for e in results.practice], dtype=bool)
            episodes = [e for e, keep in zip(results.practice, chosen, strict=True) if keep]
            if not episodes:
                continue
            x = np.asarray(position)[chosen]
            share, low, high = moving_share(np.array([e.success for e in episodes]), WINDOW)
            share, low, high, x = share[FIRST:], low[FIRST:], high[FIRST:], x[FIRST:]
            axes.fill_between(x, low, high, color=COLOURS[number], alpha=0.13, linewidth=0)
            axes.plot(x, share, color=COLOURS[number], label=f"{name}, as judged in the loop")
            _truth_line(axes, x, episodes, COLOURS[number], name)
        end = float(np.asarray(position)[-1])
        _evaluation_marks(axes, results, end)
        axes.set_ylim(-0.02, 1.05)
        axes.set_yticks([0, 0.25, 0.5, 0.75, 1.0], ["0%", "25%", "50%", "75%", "100%"])
        axes.set_xlabel(label)
        axes.set_ylabel(f"success, last {WINDOW} episodes")
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=3, frameon=False, fontsize=8)
        return _png(figure)


def _truth_line(axes: Any, x: Any, episodes: list[EpisodeSummary], colour: str, name: str) -> None:
    if any(episode.true_success is None for episode in episodes):
        return
    share, _, _ = moving_share(np.array([bool(episode.true_success) for episode in episodes]), WINDOW)
    axes.plot(x, share[FIRST:], color=colour, linestyle=":", linewidth=1.3, label=f"{name}, by ground truth")


def _evaluation_marks(axes: Any, results: RunResults, end: float) -> None:
    for number, name in NAMES.items():
        for evaluation, place, nudge in (("before", 0.0, -1), ("after", end, 1)):
            record = results.evaluations.get(evaluation)
            if not record:
                continue
            outcomes = record[f"{name}_success"]
            low, high = wilson_interval(sum(outcomes), len(outcomes))
            share = sum(outcomes) / max(1, len(outcomes))
            x = place + nudge * end * (0.012 + 0.012 * number)
            error = [[max(0.0, share - low)], [max(0.0, high - share)]]
            axes.errorbar(
                x, share, yerr=error, fmt="o", markersize=5, capsize=2,
                color=COLOURS[number], label=f"{name}, evaluation" if evaluation == "before" else None,
            )  # fmt: skip


def evaluation_bars(results: RunResults) -> bytes | None:
    """Success before and after practice, and trained anew, with 95% intervals."""
    from robofume_bringup.evaluation_record import EVALUATIONS

    present = [name for name in EVALUATIONS if name in results.evaluations]
    if not present:
        return None
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.2, 3.0))
        axes = figure.subplots()
        for column, evaluation in enumerate(present):
            for number, name in NAMES.items():
                outcomes = results.evaluations[evaluation][f"{name}_success"]
                share = sum(outcomes) / max(1, len(outcomes))
                low, high = wilson_interval(sum(outcomes), len(outcomes))
                x = column + (number - 1.5) * 0.36
                axes.bar(x, share, 0.32, color=COLOURS[number], label=name if column == 0 else None)
                error = [[max(0.0, share - low)], [max(0.0, high - share)]]
                axes.errorbar(x, share, yerr=error, color="#333333", capsize=3, linewidth=1)
        axes.set_xticks(range(len(present)), [EVALUATIONS[name] for name in present])
        axes.set_ylim(0, 1.08)
        axes.set_yticks([0, 0.5, 1.0], ["0%", "50%", "100%"])
        axes.grid(axis="x", visible=False)
        axes.legend(frameon=False, ncols=2, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.1))
        return _png(figure)


def time_per_stage(results: RunResults) -> bytes | None:
    """Minutes of each stage."""
    from robofume_bringup.report import STAGES

    rows = [
        (STAGES[name], float(record["seconds"]))
        for name, record in results.stages.items()
        if record.get("seconds")
    ]
    if not rows:
        return None
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.2, 3.0))
        axes = figure.subplots()
        names, minutes = [name for name, _ in rows], [seconds / 60 for _, seconds in rows]
        axes.barh(names, minutes, color="#7a8b99")
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("minutes")
        return _png(figure)


def soak_curves(path: Path) -> bytes | None:
    """Memory and open files of every node, step rate and latency over the hours of a soak (benchmarks/soak.py): of
    robot time, or of wall time in tables that do not have it.

    None where the table is not there or has fewer than two rows. Raises RobofumeError where it is damaged.
    """
    table = read_table(path)
    if not table or len(next(iter(table.values()))) < 2:
        return None
    groups = [
        ("anonymous memory [MiB]", [name for name in table if name.endswith("_mib") and name != "disk_mib"]),
        ("open files", [name for name in table if name.endswith("_files")]),
        ("control steps per second", ["rate"]),
        ("picture to command [ms]", [f"latency_{name}_ms" for name in ("median", "p99", "worst")]),
    ]
    try:
        time, label = hours(table), f"{hour_name(table)}s"
        curves = [(title, {name: table[name] for name in names}) for title, names in groups]
    except KeyError as error:
        raise RobofumeError(f"{path} is damaged: move it away, or soak again.") from error
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(11, 7), layout="constrained")
        for axes, (title, lines) in zip(figure.subplots(2, 2).flat, curves, strict=True):
            for name, values in lines.items():
                axes.plot(time, values, label=name.rpartition("_")[0].removeprefix("latency_"))
            axes.set_title(title)
            axes.set_xlabel(label)
            if len(lines) > 1:
                axes.legend(fontsize=7)
        axes.set_yscale("log")
        return _png(figure)
