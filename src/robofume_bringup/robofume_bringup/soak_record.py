"""What a soak says (benchmarks/soak.py): whether memory is flat, the step rate stays and every episode was kept.

Its rows are in soak.csv, what it heard in soak_journal.jsonl. A soak may have several starts; in each the processes
are new, so memory is followed within a start.
"""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from robofume_common.errors import RobofumeError

Array = NDArray[np.float64]
Table = dict[str, Array]
"""Columns of soak.csv by name."""

FLAT = 2.0
"""MiB per robot hour up to which a node counts as flat: 50 a day. The recorder, which keeps the index of the bag that
is open until the start ends, grows by 80 bytes a step: 1.2 MiB per robot hour of 15,000 steps."""
SETTLING = 0.25
"""Share of the soak, and of each start, that is left out: it fills buffers."""
LEAST_HOURS = 4.0
"""Settled hours below which nothing is said. The learner's 20,000 steps of practice are there after 1.4 robot hours: a
quarter of 5.4."""
BLOCKS = 60
"""Rows are averaged in about so many blocks: neighbouring rows have the same load and are no independent witnesses."""
LEAST_FREEDOM = 8
"""Degrees of freedom below which the interval of a line means little."""
TELLING = 0.25
"""An interval that leaves room for a larger loss of rate than this share shows nothing."""


def columns(nodes: Iterable[str]) -> list[str]:
    """The columns of soak.csv for a graph of these nodes."""
    nodes = list(nodes)
    return [
        *(f"{name}_mib" for name in nodes), *(f"{name}_files" for name in nodes), "disk_mib",
        "latency_median_ms", "latency_p99_ms", "latency_worst_ms",
        "start", "seconds", "robot_hours", "steps", "updates", "rate", "load",
    ]  # fmt: skip


def check_columns(path: Path, expected: Sequence[str]) -> None:
    """Raise RobofumeError where a table that is to be continued has other columns: they would be lost or left empty."""
    if not path.exists():
        return
    with path.open(newline="") as file:
        found = next(csv.reader(file), [])
    if found == list(expected):
        return
    differences = {
        "without": [name for name in expected if name not in found],
        "with": [name for name in found if name not in expected],
    }
    text = " and ".join(f"{word} {', '.join(names)}" for word, names in differences.items() if names)
    raise RobofumeError(
        f"{path} was begun by another version ({text or 'in another order'}) and cannot be continued: move it away, "
        "and the soak begins anew."
    )


def append_row(path: Path, names: Sequence[str], row: Mapping[str, float]) -> None:
    """Add a row to soak.csv. The file is not read: the soak must not slow down with its length."""
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.writer(file)
        if new:
            writer.writerow(names)
        writer.writerow([f"{row[name]:.8g}" for name in names])


def read_table(path: Path) -> Table:
    """The columns of soak.csv, empty where there are no rows. Raises RobofumeError where it is damaged."""
    if not path.exists():
        return {}
    try:
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        return {name: np.array([float(row[name]) for row in rows]) for name in rows[0]} if rows else {}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise RobofumeError(f"{path} is damaged: move it away, or soak again.") from error


def hours(table: Table) -> Array:
    """Hours of robot time; of wall time in tables from before that was measured."""
    return table["robot_hours"] if "robot_hours" in table else table["seconds"] / 3600


def hour_name(table: Table) -> str:
    """What `hours` counts."""
    return "robot hour" if "robot_hours" in table else "wall hour"


def starts(table: Table) -> Array:
    """Number of the start that each row is of; older tables do not tell them apart."""
    return table.get("start", np.zeros(len(table["seconds"])))


def settled(table: Table) -> NDArray[np.bool_]:
    """Which rows come after the first quarter of the soak, and of their start."""
    time = hours(table)
    chosen = _after_first_quarter(time)
    for start in np.unique(starts(table)):
        rows = starts(table) == start
        chosen[rows] &= _after_first_quarter(time[rows])
    return chosen


def _after_first_quarter(time: Array) -> NDArray[np.bool_]:
    return np.asarray(time >= time[0] + SETTLING * (time[-1] - time[0]))


def settled_hours(table: Table) -> float:
    """Hours that the settled rows cover, all starts together."""
    chosen = settled(table)
    time, number = hours(table)[chosen], starts(table)[chosen]
    return float(sum(np.ptp(time[number == start]) for start in np.unique(number)))


def growth(table: Table) -> dict[str, float]:
    """Memory of each node that is added per hour [MiB], by least squares over the settled rows.

    Each start has a level of its own, since its processes are new; NaN where there are too few rows.
    """
    chosen = settled(table)
    number = starts(table)[chosen]
    time = _without_levels(hours(table)[chosen], number)
    weight = float(time @ time)
    nodes = [name.removesuffix("_mib") for name in table if name.endswith("_mib") and name != "disk_mib"]
    return {
        name: float(time @ _without_levels(table[f"{name}_mib"][chosen], number)) / weight if weight > 0 else math.nan
        for name in nodes
    }


def growth_verdict(slope: float, covered: float) -> str:
    """`flat` or not, for a growth over so many settled hours."""
    if math.isnan(slope) or covered < LEAST_HOURS:
        return "too short to tell"
    return "flat" if slope <= FLAT else "NOT FLAT"


def _without_levels(values: Array, number: Array) -> Array:
    """Each start's values around their mean."""
    rest = values.copy()
    for start in np.unique(number):
        rest[number == start] -= rest[number == start].mean()
    return rest


@dataclass(frozen=True)
class Drift:
    """Change of the step rate over time, with the machine's load kept apart: rate = level + slope hour + load."""

    slope: float
    """Steps a second per hour; NaN where it cannot be told from the load's part."""
    margin: float
    """Half of its 95% interval."""
    per_load: float
    """Steps a second for each unit of the load average."""
    mean: float
    """Steps a second."""
    covered: float
    """Hours in which it was looked for."""
    span: float
    """Hours from the first row to the last."""

    @property
    def low(self) -> float:
        """Lower end of the 95% interval."""
        return self.slope - self.margin

    @property
    def high(self) -> float:
        """Upper end of the 95% interval."""
        return self.slope + self.margin

    @property
    def verdict(self) -> str:
        """In plain words."""
        if math.isnan(self.slope) or self.covered < LEAST_HOURS:
            return "too short to tell"
        if self.high < 0:
            return f"DRIFT: slower, by {-self.slope * self.span / self.mean:.1%} from beginning to end"
        if self.low > 0:
            return f"no loss: faster, by {self.slope * self.span / self.mean:.1%} from beginning to end"
        loss = -self.low * self.span / self.mean
        if loss > TELLING:
            return f"cannot be told: a loss of {loss:.0%} from beginning to end is not excluded"
        return f"no drift: zero is in the interval, a loss of more than {loss:.1%} from beginning to end is not"


def drift(table: Table, within_starts: bool = False) -> Drift:
    """The drift of the step rate over the settled rows. `within_starts`: each start has a level of its own, which shows
    what processes lose as they get older; otherwise what the run loses as it gets longer.

    Rows are averaged in blocks; where blocks still resemble their neighbours, the interval is widened as for a
    first-order autoregression.
    """
    time, load, rate, number = _blocks(table)
    groups = np.unique(number) if within_starts else [None]
    levels = [np.ones_like(rate) if group is None else (number == group).astype(float) for group in groups]
    others = np.column_stack([load, *levels])
    alone = time - others @ np.linalg.lstsq(others, time, rcond=None)[0]  # the part of time that is not load
    weight = float(alone @ alone)
    everything = np.column_stack([time, others])
    solution = np.linalg.lstsq(everything, rate, rcond=None)[0]
    freedom = len(rate) - everything.shape[1]
    slope = margin = math.nan
    if freedom >= LEAST_FREEDOM and weight > 1e-6 * float(np.sum((time - time.mean()) ** 2)):
        slope = float(alone @ rate) / weight
        rest = rate - everything @ solution
        margin = student(freedom) * math.sqrt(float(rest @ rest) / freedom / weight) * _widening(rest)
    span = float(np.ptp(hours(table)))
    return Drift(slope, margin, float(solution[1]), float(rate.mean()), settled_hours(table), span)


def _blocks(table: Table) -> tuple[Array, Array, Array, Array]:
    """Hour, load, rate and start of blocks of settled rows, none of which reaches over a start's end."""
    chosen = settled(table)
    values = np.column_stack([hours(table), table["load"], table["rate"], starts(table)])[chosen]
    size = math.ceil(len(values) / BLOCKS)
    means = []
    for start in np.unique(values[:, 3]):
        own = values[values[:, 3] == start]
        means += [block.mean(axis=0) for block in np.array_split(own, max(1, len(own) // size))]
    time, load, rate, number = np.array(means).T
    return time, load, rate, number


def _widening(rest: Array) -> float:
    """How much wider an interval has to be for residuals that resemble their neighbours."""
    power = float(rest @ rest)
    likeness = float(rest[1:] @ rest[:-1]) / power if power > 0 else 0.0
    likeness = min(max(likeness, 0.0), 0.9)
    return math.sqrt((1 + likeness) / (1 - likeness))


def student(freedom: int) -> float:
    """The two-sided 95% quantile of Student's t, by the expansion of Cornish and Fisher; from 8 degrees on it is right
    to 0.01."""
    z = 1.959964
    return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)


class Journal:
    """Starts of a soak, how they ended, and the episodes that were heard to be closed; a line for each, which stays
    readable when the process is killed."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, **entry: Any) -> None:
        """Add a line."""
        with self.path.open("ab+") as file:  # what is there is not read: a soak must not slow down with its length
            end = file.seek(0, os.SEEK_END)
            file.seek(max(0, end - 1))
            cut_off = end > 0 and file.read() != b"\n"
            file.write((b"\n" if cut_off else b"") + json.dumps(entry).encode() + b"\n")

    def begin(self) -> int:
        """Note a start; returns its number, from 1."""
        number = 1 + len(self._entries("start"))
        self.add(start=number)
        return number

    def end(self, number: int, because: str) -> None:
        """Note how a start ended."""
        self.add(end=number, because=because)

    def closed(self, episode_id: str, num_steps: int, assisted_reset_before: bool) -> None:
        """Note an episode that the switcher closed."""
        self.add(episode=episode_id, steps=num_steps, assisted_reset_before=assisted_reset_before)

    def closed_steps(self) -> dict[str, int]:
        """Steps of each closed episode."""
        return {entry["episode"]: int(entry["steps"]) for entry in self._entries("episode")}

    def assisted_resets(self) -> int:
        """Closed episodes that began with an assisted reset."""
        latest = {entry["episode"]: bool(entry["assisted_reset_before"]) for entry in self._entries("episode")}
        return sum(latest.values())

    def endings(self) -> list[str]:
        """Why each start ended, in order; a start that could not tell was killed."""
        because = {entry["end"]: str(entry["because"]) for entry in self._entries("end")}
        return [because.get(entry["start"], "killed") for entry in self._entries("start")]

    def _entries(self, kind: str) -> list[dict[str, Any]]:
        found = []
        for line in self.path.read_text(encoding="utf-8").splitlines() if self.path.exists() else ():
            try:
                entry = json.loads(line)
            except ValueError:  # what a kill cut off
                continue
            if kind in entry:
                found.append(entry)
        return found


@dataclass(frozen=True)
class Kept:
    """The episodes that the switcher closed against those that are whole in the bags."""

    closed: int
    whole: int
    """Of the closed ones."""
    lost: tuple[str, ...]
    """Closed, and not whole in a bag."""
    differing: tuple[str, ...]
    """Whole in a bag with another number of steps than was announced."""
    unclosed: tuple[str, ...]
    """Begun, and neither heard to be closed nor in a bag: a start may end in an episode before its first step."""
    closed_steps: int
    """As announced."""
    whole_steps: int
    """In the bags, of the same episodes."""

    def verdict(self, starts: int) -> str:
        """In plain words, after so many starts, each of which may leave one episode that was never closed."""
        if self.lost or self.differing:
            return f"{len(self.lost)} LOST, {len(self.differing)} WITH OTHER STEPS"
        if len(self.unclosed) > starts:
            return "none lost, BUT MORE WERE NEVER CLOSED THAN THERE WERE STARTS"
        return "none lost" if self.closed else "none was closed"


def compare_episodes(closed: Mapping[str, int], whole: Mapping[str, int], begun: Iterable[str] = ()) -> Kept:
    """Compare what the switcher closed with what is whole in the bags, both as steps by episode id.

    begun: ids of all episodes that the switcher began.
    """
    return Kept(
        closed=len(closed),
        whole=sum(name in whole for name in closed),
        lost=tuple(name for name in closed if name not in whole),
        differing=tuple(name for name, steps in closed.items() if whole.get(name, steps) != steps),
        unclosed=tuple(name for name in begun if name not in closed and name not in whole),
        closed_steps=sum(closed.values()),
        whole_steps=sum(whole[name] for name in closed if name in whole),
    )
