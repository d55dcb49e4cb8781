"""Metrics with stable names, as CSV and for TensorBoard."""

import contextlib
import csv
import io
import math
import os
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from robofume_common.errors import RobofumeError
from robofume_common.files import write_atomically

UPDATES_PER_SECOND = "speed/updates_per_second"
"""A column of every file of metrics: updates by the wall time spent on them, batches included, checkpoints not."""


class MetricsMean:
    """Gathers the metrics of blocks of updates until they are so many that a row of their mean is due."""

    def __init__(self, every: int) -> None:
        self._every = every
        self._rows: list[tuple[int, Mapping[str, float]]] = []
        self._seconds = 0.0

    def add(self, updates: int, metrics: Mapping[str, float], seconds: float) -> dict[str, float] | None:
        """Take the mean metrics of `updates` more updates, which took so many seconds; returns that of all since the
        last row, and their UPDATES_PER_SECOND, where one is due."""
        self._rows.append((updates, metrics))
        self._seconds += seconds
        total = sum(count for count, _ in self._rows)
        if total < self._every:
            return None
        mean = {name: sum(count * row[name] for count, row in self._rows) / total for name in metrics}
        mean[UPDATES_PER_SECOND] = update_rate(total, self._seconds)
        self._rows.clear()
        self._seconds = 0.0
        return mean


def update_rate(updates: int, seconds: float) -> float:
    """Updates per second, finite whatever the clock says."""
    return updates / max(1e-9, seconds)


class MetricsWriter:
    """Writes rows of named numbers to `<directory>/<name>.csv` and, where installed, to TensorBoard.

    The columns are fixed at the start: `updates`, the given ones, and UPDATES_PER_SECOND. A run that continues from
    update `resume_from` drops the rows after it, so that each update has one row.
    """

    def __init__(
        self, directory: Path | str, name: str, columns: Sequence[str], resume_from: int = 0, tensorboard: bool = True
    ) -> None:
        self.path = Path(directory) / f"{name}.csv"
        self.columns = ["updates", *columns, UPDATES_PER_SECOND]
        kept = [row for row in read_metrics(self.path) if row["updates"] <= resume_from] if resume_from else []
        try:
            write_atomically(self.path, self._lines(kept, header=True))
            self._length = self.path.stat().st_size
            self._file = open(self.path, "ab", buffering=0)  # noqa: SIM115  closed by `close`
        except OSError as error:
            raise self._failure(error) from error
        self._waiting = b""
        self._folder = Path(directory) / "tensorboard" / name if tensorboard else None
        self._curves = _curves(self._folder, resume_from)

    def write(self, updates: int, values: Mapping[str, float]) -> None:
        """Add the row of update number `updates`.

        Raises RobofumeError where that is not possible; the row is written with the next one then.
        """
        self._waiting += self._lines([{"updates": updates, **{k: f"{v:.6g}" for k, v in values.items()}}])
        try:
            self._append()
        except OSError as error:
            raise self._failure(error) from error
        if self._curves is None:
            self._curves = _curves(self._folder, 0)  # what follows a damaged record would not be read
        if self._curves is not None and not self._curves.write(updates, values):
            self._curves = None

    def _append(self) -> None:
        """What waits, behind the last whole row: a write that failed may have left a part of one."""
        if self.path.stat().st_size != self._length:
            os.truncate(self.path, self._length)
        while self._waiting:
            written = self._file.write(self._waiting) or 0
            self._length += written
            self._waiting = self._waiting[written:]

    def _lines(self, rows: Sequence[Mapping[str, object]], header: bool = False) -> bytes:
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, self.columns, restval="", extrasaction="ignore", lineterminator="\n")
        if header:
            writer.writeheader()
        writer.writerows(rows)
        return text.getvalue().encode()

    def _failure(self, error: OSError) -> RobofumeError:
        return RobofumeError(f"The metrics {self.path} cannot be written: {error.strerror or error}.")

    def close(self) -> None:
        """Close the files."""
        self._file.close()
        if self._curves is not None:
            self._curves.close()


def check_finite(metrics: Mapping[str, float]) -> None:
    """Raises RobofumeError where one of them is not finite: the weights are then lost, and those of the newest
    checkpoint are not."""
    if not all(math.isfinite(value) for value in metrics.values()):
        raise RobofumeError(
            "The learner's losses are no longer finite: lower the learning rate, or pre-train again. "
            "The last checkpoint is still good."
        )


def read_metrics(path: Path | str) -> list[dict[str, float]]:
    """Whole rows of a metrics CSV file; empty if there is none. Raises RobofumeError for what is no number."""
    if not Path(path).exists():
        return []
    data = Path(path).read_bytes()
    whole = data[: data.rfind(b"\n") + 1]  # a kill cuts the last row off
    try:
        return [{k: float(v) for k, v in row.items() if k and v} for row in csv.DictReader(io.StringIO(whole.decode()))]
    except (ValueError, TypeError, csv.Error) as error:
        raise RobofumeError(f"{path} is not a file of metrics ({error}): remove it.") from error


class _Curves:
    """The rows for TensorBoard. In the caller's thread, unlike its own writer, so that a disk that is full ends no
    thread with a traceback; what it does not take is left out here, for the CSV file has it."""

    def __init__(self, folder: Path, resume_from: int) -> None:
        from tensorboard.compat.proto import event_pb2, summary_pb2
        from tensorboard.summary.writer.record_writer import RecordWriter

        self._messages = (event_pb2.Event, summary_pb2.Summary)
        folder.mkdir(parents=True, exist_ok=True)
        name = f"events.out.tfevents.{int(time.time()):010d}.{socket.gethostname()}.{os.getpid()}.{time.monotonic_ns()}"
        self._file = open(folder / name, "wb")  # noqa: SIM115  closed by `close`
        self._writer = RecordWriter(self._file)
        self._add(file_version="brain.Event:2")
        if resume_from:  # TensorBoard forgets that step and those after it: the row of `resume_from` itself stays
            self._add(step=resume_from + 1, session_log=event_pb2.SessionLog(status=event_pb2.SessionLog.START))

    def _add(self, **content: Any) -> None:
        self._writer.write(self._messages[0](wall_time=time.time(), **content).SerializeToString())

    def write(self, updates: int, values: Mapping[str, float]) -> bool:
        """Add a row; False where the disk did not take it, and this file is closed."""
        summary = self._messages[1]
        row = summary(value=[summary.Value(tag=name, simple_value=value) for name, value in values.items()])
        try:
            self._add(step=updates, summary=row)
            self._writer.flush()
        except OSError:
            self.close()
            return False
        return True

    def close(self) -> None:
        """Close the file."""
        with contextlib.suppress(OSError):
            self._file.close()


def _curves(folder: Path | None, resume_from: int) -> _Curves | None:
    try:
        return _Curves(folder, resume_from) if folder is not None else None
    except (ImportError, OSError):
        return None
