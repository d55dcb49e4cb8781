"""The layout of a run directory, its configuration file and its stage markers, in one place."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import yaml
from robofume_common.errors import RobofumeError
from robofume_common.files import write_atomically

DOMAIN_FILE = "ros_domain"
"""Beside the logs, while a graph is up: the number of its ROS domain."""
BAG_KINDS = ("demos", "scenes", "practice", "evaluate")
CONFIG_HEAD = "# The settings of this run; the line of three dots at the end says that they are whole.\n"
CONFIG_END = "..."
_NOTING = threading.Lock()
"""Held while a record is read and written again, by whichever thread of this process."""
POLICIES = ("pretrained", "practised", "newest", "retrained", "source", "adapted")
"""The policies that a run may have; `source` is what `adapted` was made from."""


@dataclass(frozen=True)
class RunDirectory:
    """Paths of one run. Nothing is created before `prepare`."""

    path: Path

    @property
    def name(self) -> str:
        """Name of the run."""
        return self.path.name

    @property
    def config_file(self) -> Path:
        """The settings of the run."""
        return self.path / "config.yaml"

    def bags(self, kind: str) -> Path:
        """Folder of the bags of one kind: demos, scenes (arranged by hand), practice or evaluate."""
        assert kind in BAG_KINDS, kind
        return self.path / "bags" / kind

    def bag_files(self, kind: str) -> list[Path]:
        """The bags of one kind, oldest first (their names sort by the time of their start)."""
        return sorted(self.bags(kind).glob("**/*.mcap"))

    @property
    def reward(self) -> Path:
        """The fine-tuned reward model and its evaluation."""
        return self.path / "reward"

    @property
    def labels(self) -> Path:
        """A person's verdicts on recorded episodes."""
        return self.path / "labels.json"

    @property
    def pretrained(self) -> Path:
        """The pre-trained policy."""
        return self.path / "pretrained"

    @property
    def replay(self) -> Path:
        """The replay cache: transitions of recorded bags, mapped into memory; it is made again where it is missing."""
        return self.path / "replay"

    @property
    def retrained(self) -> Path:
        """The policy that was trained anew after practice."""
        return self.path / "retrained"

    @property
    def source(self) -> Path:
        """Copy of the policy, from another run, that this run's is adapted from."""
        return self.path / "source"

    @property
    def adapted(self) -> Path:
        """The policy that was adapted to this run's condition, and its lineage."""
        return self.path / "adapted"

    def policy(self, weights: str) -> Path:
        """Folder of checkpoints of one of POLICIES: `practised` is what practice made of it at its best, by the judge,
        `newest` at its end."""
        if weights == "practised" and any(self.best.glob("[0-9]*")):
            return self.best
        return self.checkpoints if weights in ("practised", "newest") else self.path / weights

    @property
    def best(self) -> Path:
        """The checkpoint of the stretch of practice that the judge found best."""
        return self.path / "best"

    @property
    def checkpoints(self) -> Path:
        """Checkpoints of practice."""
        return self.path / "checkpoints"

    @property
    def metrics(self) -> Path:
        """TensorBoard and CSV metrics."""
        return self.path / "metrics"

    @property
    def evaluations(self) -> Path:
        """Results of evaluations, as JSON."""
        return self.path / "evaluations"

    @property
    def logs(self) -> Path:
        """One log for each node."""
        return self.path / "logs"

    @property
    def parameters(self) -> Path:
        """The parameter files of the nodes as they were started last."""
        return self.path / "parameters"

    def running_domain(self) -> int | None:
        """The ROS domain of this run's graph while it is up, as the runner noted it; None otherwise.

        The note of a runner that was killed does not count: its domain may be another robot's by now.
        """
        try:
            with (self.logs / DOMAIN_FILE).open(encoding="utf-8") as file:
                domain = int(file.read())
                try:
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    return domain
        except (OSError, ValueError):
            pass
        return None

    def switcher_state(self, mode: str) -> Path:
        """What the switcher remembers over restarts, for each mode of the graph."""
        return self.path / "state" / f"switcher_{mode}.json"

    @property
    def keystore(self) -> Path:
        """Keys and permissions of a secured graph."""
        return self.path / "keystore"

    @property
    def soak(self) -> Path:
        """What benchmarks/soak.py measured while the run practised."""
        return self.path / "soak.csv"

    @property
    def soak_journal(self) -> Path:
        """Its starts, and the episodes that it heard to be closed."""
        return self.path / "soak_journal.jsonl"

    @property
    def soak_summary(self) -> Path:
        """What follows from both, as text."""
        return self.path / "soak_summary.md"

    @property
    def report(self) -> Path:
        """The report."""
        return self.path / "report.html"

    @property
    def figures(self) -> Path:
        """The figures of the report."""
        return self.path / "report"

    def prepare(self) -> None:
        """Create the directory and prove that it can be written to.

        Raises RobofumeError with one sentence when it cannot.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            write_atomically(self.path / ".writable", b"")
            (self.path / ".writable").unlink()
        except OSError as error:
            raise RobofumeError(
                f"The run directory {self.path} cannot be written to ({error.strerror}): "
                "choose another place with --runs, or change its permissions."
            ) from error

    def need(self, otherwise: str = "") -> None:
        """Raise RobofumeError when the run does not exist; `otherwise`: what can be done without one."""
        if not self.config_file.is_file():
            raise RobofumeError(
                f"There is no run at {self.path}: start one with `robofume demos --run {self.name}` or "
                f"`robofume demo --run {self.name}`, or name another with --run and --runs"
                f"{f', {otherwise}' if otherwise else ''}."
            )

    def read_config(self) -> dict[str, Any]:
        """Content of config.yaml. Raises RobofumeError when it is not a mapping, or cut off.

        A part of a YAML file is a YAML file too: of what was cut off, the defaults would stand without a word.
        """
        try:
            text = self.config_file.read_text(encoding="utf-8")
            config = yaml.safe_load(text)
        except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
            raise RobofumeError(f"{self.config_file} cannot be read: {first_line(error)}") from error
        if text.startswith(CONFIG_HEAD) and not text.rstrip().endswith(f"\n{CONFIG_END}"):
            raise RobofumeError(
                f"{self.config_file} is cut off: put back a copy, or write what is missing and the line `{CONFIG_END}`."
            )
        if not isinstance(config, dict):
            raise RobofumeError(f"{self.config_file} must hold settings by name.")
        return config

    def write_config(self, config: dict[str, Any]) -> None:
        """Replace config.yaml."""
        text = CONFIG_HEAD + yaml.safe_dump(config, sort_keys=False, explicit_end=True)
        write_atomically(self.config_file, text.encode())

    # Stage markers: what is finished, and what it took.

    def _marker(self, stage: str) -> Path:
        return self.path / "stages" / f"{stage}.json"

    def finished(self, stage: str) -> dict[str, Any] | None:
        """What the stage reported when it finished, or None while it has not."""
        content = self.stage_record(stage)
        return content if content.get("finished") else None

    def stage_record(self, stage: str) -> dict[str, Any]:
        """Everything noted for a stage so far; empty at first. Raises RobofumeError where the file is damaged."""
        try:
            return dict(json.loads(self._marker(stage).read_text()))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError) as error:
            raise RobofumeError(f"{self._marker(stage)} cannot be read: remove it to repeat the stage.") from error

    def note(self, stage: str, **values: Any) -> None:
        """Add values to the record of a stage."""
        with _NOTING:
            record = {**self.stage_record(stage), **values}
            write_atomically(self._marker(stage), json.dumps(record, indent=2).encode())

    @contextmanager
    def alone(self, stage: str) -> Iterator[None]:
        """Within, no other process works on the stage: two would record the same numbers twice, or train into one
        folder. RobofumeError where one does. The lock ends with its process, however that ends.
        """
        path = self._marker(stage).with_suffix(".lock")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = path.open("a+", encoding="utf-8")
        except OSError as error:
            raise RobofumeError(f"Cannot write {path}: {error.strerror or error}.") from error
        with file as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.seek(0)
                raise RobofumeError(
                    f"Another process ({lock.read().strip() or 'unknown'}) is at {stage} of the run {self.name} "
                    "already: wait for it, stop it, or choose another run."
                ) from None
            with contextlib.suppress(OSError):  # who it is, is told where the disk takes it
                lock.truncate(0)
                lock.write(str(os.getpid()))
                lock.flush()
            yield

    def forget(self, stage: str) -> None:
        """Remove the record of a stage so that it runs again."""
        self._marker(stage).unlink(missing_ok=True)


def note_domain(logs: Path, domain: int) -> IO[str] | None:
    """Note the ROS domain of a graph that is up beside its logs: it holds for as long as the file stays open.

    None where another graph of the run is up and has its own noted. Raises OSError.
    """
    file = (logs / DOMAIN_FILE).open("a+", encoding="utf-8")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    file.truncate(0)
    file.write(f"{domain}\n")
    file.flush()
    return file


def first_line(error: BaseException) -> str:
    """The first line of an error's text, or its kind where it has none."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
