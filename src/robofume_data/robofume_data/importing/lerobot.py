"""Trajectories of LeRobotDataset v2.1 and v3: Parquet for the numbers, MP4 or PNG for the pictures."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from robofume_common.enums import RewardSource, Verdict
from robofume_common.errors import RobofumeError

from robofume_data.importing.conventions import Conventions
from robofume_data.importing.trajectory import Skipped, Trajectory

VERSIONS = ("v2.1", "v3.0")
_DAMAGE = (pa.ArrowException, av.FFmpegError, OSError, ValueError, KeyError, TypeError, IndexError)


class LeRobotReader:
    """One data set on this disk. Called with a data file (v3) or a folder of data files (v2.1) it reads those."""

    def __init__(self, root: Path) -> None:
        self.root = root
        try:
            self._info: dict[str, Any] = json.loads((root / "meta" / "info.json").read_text(encoding="utf-8"))
            self.version, self.fps = str(self._info["codebase_version"]), float(self._info["fps"])
            self.features: dict[str, dict[str, Any]] = self._info["features"]
        except OSError as error:
            raise RobofumeError(f"{root} is no LeRobot data set: it has no meta/info.json.") from error
        except (ValueError, KeyError, TypeError) as error:
            raise RobofumeError(f"{root}/meta/info.json is damaged ({error}).") from error
        if self.version not in VERSIONS:
            raise RobofumeError(
                f"{root} is a LeRobot data set of version {self.version}; {' and '.join(VERSIONS)} can be read. "
                f"LeRobot's own scripts convert others."
            )

    @property
    def parts(self) -> list[Path]:
        """What can be read on its own: data files (v3) or folders of a thousand of them (v2.1)."""
        found = sorted(self.root.glob("data/chunk-*/*.parquet"))
        if not found:
            raise RobofumeError(f"The data set {self.root} has no data (data/chunk-*/*.parquet).")
        return found if self.version == "v3.0" else sorted({path.parent for path in found})

    def name(self, part: Path) -> str:
        """Name of the bag that a part becomes."""
        return "-".join([self.root.resolve().name, *part.relative_to(self.root).with_suffix("").parts[1:]])

    def __call__(self, path: Path, conventions: Conventions) -> Iterator[Trajectory | Skipped]:
        """The episodes of one part in order; what cannot be read is given as Skipped."""
        self._check(conventions)
        for file in [path] if path.is_file() else sorted(path.glob("*.parquet")):
            try:
                table = pq.read_table(file)
                numbers = np.asarray(table["episode_index"].to_pylist(), np.int64)
            except _DAMAGE as error:
                yield Skipped(file.name, f"it cannot be read ({_reason(error)})")
                continue
            for number in dict.fromkeys(numbers.tolist()):
                name = f"{self.root.resolve().name}-{number:06d}"
                rows = table.filter(pa.array(numbers == number))
                try:
                    yield self._trajectory(name, number, rows, conventions)
                except RobofumeError as error:
                    yield Skipped(name, str(error).rstrip("."))
                except _DAMAGE as error:
                    yield Skipped(name, f"it cannot be read ({_reason(error)})")

    def _check(self, conventions: Conventions) -> None:
        fields = (conventions.image, *conventions.image_fields.values(), *conventions.state, *conventions.action)
        for field in fields:
            if field not in self.features:
                raise RobofumeError(f"The data set {self.root} has no {field!r}; it has {', '.join(self.features)}.")

    def _trajectory(self, name: str, number: int, rows: pa.Table, conventions: Conventions) -> Trajectory:
        rows = rows.sort_by("frame_index")
        if rows["frame_index"].to_pylist() != list(range(len(rows))):
            raise RobofumeError("its frames are not 0, 1, 2 and so on")
        rewards = None
        if "next.reward" in rows.column_names:  # of the step that leads to the next observation
            rewards = np.zeros(len(rows))
            rewards[1:] = _numbers(rows, ("next.reward",))[:-1, 0]
        outcome = None
        verdicts: NDArray[np.float64] | None = None
        sources: NDArray[np.float64] | None = None
        if conventions.labels == "given" and {"verdict", "verdict_source"} <= set(rows.column_names):  # our own export
            verdicts, sources = _numbers(rows, ("verdict", "verdict_source")).T
            if not (np.isin(verdicts, list(Verdict)).all() and np.isin(sources, list(RewardSource)).all()):
                raise RobofumeError("its verdicts are not 0 (unknown), 1 (success) or 2 (failure), by sources 0 to 3")
            episode = self._episodes.get(number, {})
            if {"outcome", "success_index"} <= set(episode):
                outcome = int(episode["outcome"]), int(episode["success_index"])
        return Trajectory(
            name=name,
            instruction=self._sentence(rows, conventions),
            images=self._pictures(number, rows, conventions.image),
            further_images={
                camera: self._pictures(number, rows, field) for camera, field in conventions.image_fields.items()
            },
            states=_numbers(rows, conventions.state),
            actions=_numbers(rows, conventions.action) if conventions.action else None,
            stamps=np.round(np.arange(len(rows)) * (1e9 / self.fps)).astype(np.int64),
            rewards=rewards,
            verdicts=None if verdicts is None else verdicts.astype(np.uint8),
            sources=None if sources is None else sources.astype(np.uint8),
            outcome=outcome,
        )

    def _sentence(self, rows: pa.Table, conventions: Conventions) -> str:
        if conventions.instruction:
            return str(rows[conventions.instruction][0].as_py())
        return self._tasks.get(rows["task_index"][0].as_py(), "")

    @cached_property
    def _tasks(self) -> dict[int, str]:
        if self.version == "v2.1":
            return {item["task_index"]: item["task"] for item in _lines(self.root / "meta" / "tasks.jsonl")}
        table = pq.read_table(self.root / "meta" / "tasks.parquet")
        (sentences,) = (column for column in table.column_names if column != "task_index")
        return dict(zip(table["task_index"].to_pylist(), table[sentences].to_pylist(), strict=True))

    @cached_property
    def _episodes(self) -> dict[int, dict[str, Any]]:
        found: dict[int, dict[str, Any]] = {}
        for file in sorted(self.root.glob("meta/episodes/chunk-*/*.parquet")):
            columns = [name for name in pq.read_schema(file).names if not name.startswith("stats/")]
            found.update({row["episode_index"]: row for row in pq.read_table(file, columns=columns).to_pylist()})
        return found

    def _pictures(self, number: int, rows: pa.Table, key: str) -> list[Any]:
        if self.features[key]["dtype"] == "video":
            video = self._video(number, key)
            return list(frames(self.root / video.path, video.start, len(rows), self.fps))
        return [self._picture(item) for item in rows[key].to_pylist()]

    def _video(self, number: int, key: str) -> _Video:
        if self.version == "v2.1":
            chunk = number // int(self._info["chunks_size"])
            place = {"episode_chunk": chunk, "episode_index": number, "video_key": key}
            return _Video(self._info["video_path"].format(**place), 0.0)
        episode = self._episodes[number]
        place = {"video_key": key, **{part: episode[f"videos/{key}/{part}"] for part in ("chunk_index", "file_index")}}
        return _Video(self._info["video_path"].format(**place), float(episode[f"videos/{key}/from_timestamp"]))

    def _picture(self, item: Any) -> bytes:
        if item["bytes"]:
            return bytes(item["bytes"])
        return (self.root / item["path"]).read_bytes()


@dataclass(frozen=True)
class _Video:
    """Where an episode's pictures are: a file below the root, and the second at which they begin."""

    path: str
    start: float


def frames(path: Path, start: float, count: int, fps: float) -> list[NDArray[np.uint8]]:
    """`count` pictures (H, W, 3) of a video from the second `start` on; RobofumeError where one is missing."""
    found: dict[int, NDArray[np.uint8]] = {}
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.time_base is not None
        container.seek(max(0, int((start - 0.5 / fps) / stream.time_base)), stream=stream, backward=True)
        for frame in container.decode(stream):
            assert frame.time is not None
            index = round((frame.time - start) * fps)
            if 0 <= index < count:
                found[index] = np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
            if index >= count - 1:
                break
    if len(found) < count:
        raise RobofumeError(f"{count - len(found)} of its {count} pictures are missing in {path.name}")
    return [found[index] for index in range(count)]


def find_data_set(name_or_path: str) -> Path:
    """The folder of a data set: a path, LeRobot's own cache, or a download from the hub."""
    path = Path(name_or_path)
    if path.is_dir():
        return path
    import huggingface_hub
    from huggingface_hub import constants

    cached = Path(constants.HF_HOME) / "lerobot" / name_or_path
    if cached.is_dir():
        return cached
    try:
        return Path(huggingface_hub.snapshot_download(name_or_path, repo_type="dataset"))
    except Exception as error:
        raise RobofumeError(
            f"There is no LeRobot data set {name_or_path} here, and it cannot be downloaded ({_reason(error)})."
        ) from error


def _numbers(rows: pa.Table, names: tuple[str, ...]) -> NDArray[np.float64]:
    parts = []
    for name in names:
        values = np.asarray(rows[name].to_pylist(), np.float64)
        parts.append(values.reshape(len(rows), -1))
    if not parts:
        raise RobofumeError("its conventions name no state")
    return np.concatenate(parts, axis=1)


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with open(path, encoding="utf-8") as file:
        yield from (json.loads(line) for line in file if line.strip())


def _reason(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
