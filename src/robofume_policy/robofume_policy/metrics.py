"""Metrics with stable names, as CSV and for TensorBoard."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path


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
        self.path.parent.mkdir(parents=True, exist_ok=True)
        kept = [row for row in read_metrics(self.path) if row["updates"] <= resume_from] if resume_from else []
        self._file = open(self.path, "w", newline="", encoding="utf-8")  # noqa: SIM115  closed by `close`
        self._writer = csv.DictWriter(self._file, self.columns, restval="", extrasaction="ignore")
        self._writer.writeheader()
        self._writer.writerows(kept)
        self._file.flush()
        self._board = _summary_writer(Path(directory) / "tensorboard" / name, resume_from) if tensorboard else None

    def write(self, updates: int, values: Mapping[str, float]) -> None:
        """Add the row of update number `updates`."""
        self._writer.writerow({"updates": updates, **{k: f"{v:.6g}" for k, v in values.items()}})
        self._file.flush()
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(name, value, updates)

    def close(self) -> None:
        """Close the files."""
        self._file.close()
        if self._board is not None:
            self._board.close()


def read_metrics(path: Path | str) -> list[dict[str, float]]:
    """Rows of a metrics CSV file; empty if there is none."""
    if not Path(path).exists():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return [{k: float(v) for k, v in row.items() if k and v} for row in csv.DictReader(file)]


def _summary_writer(directory: Path, resume_from: int):  # type: ignore[no-untyped-def]
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(directory), purge_step=resume_from or None, flush_secs=10)
