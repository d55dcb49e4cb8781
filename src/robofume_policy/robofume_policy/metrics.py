"""Metrics with stable names, as CSV and for TensorBoard."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from robofume_common.errors import RobofumeError
from robofume_common.files import write_atomically


class MetricsWriter:
    """Writes rows of named numbers to `<directory>/<name>.csv` and, where installed, to TensorBoard.

    The columns are fixed at the start. A run that continues from update `resume_from` drops the rows after it, so
    that each update has one row.
    """

    def __init__(
        self, directory: Path | str, name: str, columns: Sequence[str], resume_from: int = 0, tensorboard: bool = True
    ) -> None:
        self.path = Path(directory) / f"{name}.csv"
        self.columns = ["updates", *columns]
        kept = [row for row in read_metrics(self.path) if row["updates"] <= resume_from] if resume_from else []
        try:
            write_atomically(self.path, self._lines(kept, header=True))
            self._file = open(self.path, "ab")  # noqa: SIM115  closed by `close`
        except OSError as error:
            raise self._failure(error) from error
        self._board = _summary_writer(Path(directory) / "tensorboard" / name, resume_from) if tensorboard else None

    def write(self, updates: int, values: Mapping[str, float]) -> None:
        """Add the row of update number `updates`."""
        try:
            self._file.write(self._lines([{"updates": updates, **{k: f"{v:.6g}" for k, v in values.items()}}]))
            self._file.flush()
            if self._board is not None:
                for name, value in values.items():
                    self._board.add_scalar(name, value, updates)
        except OSError as error:
            raise self._failure(error) from error

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
        if self._board is not None:
            self._board.close()


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


def _summary_writer(directory: Path, resume_from: int):  # type: ignore[no-untyped-def]
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(directory), purge_step=resume_from or None, flush_secs=10)
