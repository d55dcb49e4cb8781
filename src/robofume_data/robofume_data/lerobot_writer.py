"""Writes episodes as a LeRobotDataset v3: Parquet for the numbers, MP4 for the pictures.

An episode of N actions becomes N + 1 frames, so that nothing is lost; the last frame's action stays where it is: no
motion, the gripper as before. `next.reward` of frame t is 1 where the observation t + 1 is a success. A reward cannot
say that nobody knows, nor who said so: `verdict` and `verdict_source` do, of the frame itself, as in Reward.VERDICT_*
(0 unknown, 1 success, 2 failure) and Reward.SOURCE_* (0 nobody, 1 a model, 2 a person, 3 ground truth). How the episode
ended stands with it in meta/episodes: `outcome`, as in Episode.OUTCOME_*, and `success_index`, -1 where there is none.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from robofume_common.action import GRIPPER, PHYSICAL_DIMENSION
from robofume_common.enums import Verdict
from robofume_common.errors import RobofumeError

from robofume_data.episode import EpisodeData

CAMERA = "observation.images.camera"
AXES = ["x", "y", "z", "roll", "pitch", "yaw", "gripper"]
FILE_BYTES = 200 * 2**20
"""A new file is begun after a video of this size."""
_PLACE = "chunk-{chunk_index:03d}/file-{file_index:03d}"
_CHUNK = 1000
_COLUMNS: dict[str, tuple[str, int, list[str] | None]] = {
    "observation.state": ("float32", PHYSICAL_DIMENSION, AXES),
    "action": ("float32", PHYSICAL_DIMENSION, [f"delta_{axis}" for axis in AXES[:6]] + ["gripper"]),
    "next.reward": ("float32", 1, None),
    "next.done": ("bool", 1, None),
    "next.success": ("bool", 1, None),
    "verdict": ("int64", 1, None),
    "verdict_source": ("int64", 1, None),
    "timestamp": ("float32", 1, None),
    "frame_index": ("int64", 1, None),
    "episode_index": ("int64", 1, None),
    "index": ("int64", 1, None),
    "task_index": ("int64", 1, None),
}
Arrays = dict[str, Any]


@dataclasses.dataclass
class _Total:
    """Sums of one feature over all frames, for its statistics."""

    minimum: NDArray[np.float64]
    maximum: NDArray[np.float64]
    sum: NDArray[np.float64]
    squares: NDArray[np.float64]
    weight: int
    count: int

    def add(self, other: _Total) -> None:
        self.minimum = np.minimum(self.minimum, other.minimum)
        self.maximum = np.maximum(self.maximum, other.maximum)
        self.sum, self.squares = self.sum + other.sum, self.squares + other.squares
        self.weight, self.count = self.weight + other.weight, self.count + other.count

    def as_dict(self) -> dict[str, Any]:
        mean = self.sum / self.weight
        deviation = np.sqrt(np.maximum(self.squares / self.weight - mean**2, 0.0))
        values = {"min": self.minimum, "max": self.maximum, "mean": mean, "std": deviation}
        return {**{name: value.tolist() for name, value in values.items()}, "count": [self.count]}


class LeRobotWriter:
    """Adds episodes to a new data set; `close` makes it whole. All pictures must have one, even size."""

    def __init__(self, folder: Path, fps: int) -> None:
        if folder.exists() and any(folder.iterdir()):
            raise RobofumeError(f"{folder} is not empty; export into a new folder.")
        self._folder, self._fps = folder, fps
        self._size: tuple[int, int] | None = None
        self._sentences: dict[str, int] = {}
        self._rows: list[dict[str, Any]] = []
        self._totals: dict[str, _Total] = {}
        self._frames = 0
        self._file = -1
        self._table: pq.ParquetWriter | None = None
        self._container: Any = None
        self._stream: Any = None
        self._video_frames = self._video_bytes = 0

    def add(self, episode: EpisodeData) -> None:
        """One episode. RobofumeError where its pictures differ in size from those before."""
        size = episode.images.shape[1], episode.images.shape[2]
        self._size = self._size or size
        if size != self._size:
            raise RobofumeError(
                f"Episode {episode.episode_id} has pictures of {size[1]}x{size[0]}, those before it of "
                f"{self._size[1]}x{self._size[0]}; a data set has one size."
            )
        if size[0] % 2 or size[1] % 2:
            raise RobofumeError(f"Pictures of {size[1]}x{size[0]} cannot become a video: both sides must be even.")
        if self._table is None or self._video_bytes > FILE_BYTES:
            self._begin_file()
        number, count = len(self._rows), episode.length + 1
        task = self._sentences.setdefault(episode.instruction, len(self._sentences))
        arrays = _arrays(episode, number, self._frames, task, self._fps)
        assert self._table is not None
        self._table.write_table(pa.Table.from_pydict(dict(arrays), schema=_schema()))
        begin = self._video_frames
        self._encode(episode.images)
        totals = {name: _total(np.asarray(values, np.float64)) for name, values in arrays.items()}
        totals[CAMERA] = _picture_total(episode.images)
        for name, total in totals.items():
            if name in self._totals:
                self._totals[name].add(total)
            else:
                self._totals[name] = dataclasses.replace(total)
        place = {"chunk_index": self._file // _CHUNK, "file_index": self._file % _CHUNK}
        self._rows.append(
            {
                "episode_index": number,
                "tasks": [episode.instruction],
                "length": count,
                "outcome": int(episode.outcome),
                "success_index": int(episode.success_index),
                **{f"data/{key}": value for key, value in place.items()},
                "dataset_from_index": self._frames,
                "dataset_to_index": self._frames + count,
                **{f"videos/{CAMERA}/{key}": value for key, value in place.items()},
                f"videos/{CAMERA}/from_timestamp": begin / self._fps,
                f"videos/{CAMERA}/to_timestamp": self._video_frames / self._fps,
                **{
                    f"stats/{name}/{key}": value
                    for name, total in totals.items()
                    for key, value in total.as_dict().items()
                },
                "meta/episodes/chunk_index": 0,
                "meta/episodes/file_index": 0,
            }
        )
        self._frames += count

    def close(self) -> None:
        """Ends the files and writes what describes them."""
        self._end_file()
        if not self._rows:
            raise RobofumeError("There is no episode to export.")
        meta = self._folder / "meta"
        (meta / "episodes" / "chunk-000").mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(self._rows), meta / "episodes" / "chunk-000" / "file-000.parquet")
        pq.write_table(_sentence_table(self._sentences), meta / "tasks.parquet")
        stats = {name: total.as_dict() for name, total in self._totals.items()}
        (meta / "stats.json").write_text(json.dumps(stats, indent=4), encoding="utf-8")
        part = meta / "info.json.part"  # it makes the folder a data set, so it comes last
        part.write_text(json.dumps(self._info(), indent=4, ensure_ascii=False), encoding="utf-8")
        os.rename(part, meta / "info.json")

    def _info(self) -> dict[str, Any]:
        assert self._size is not None
        height, width = self._size
        features: dict[str, Any] = {
            CAMERA: {
                "dtype": "video",
                "shape": [height, width, 3],
                "names": ["height", "width", "channels"],
                "info": {
                    "video.height": height,
                    "video.width": width,
                    "video.codec": "h264",
                    "video.pix_fmt": "yuv420p",
                    "video.is_depth_map": False,
                    "video.fps": self._fps,
                    "video.channels": 3,
                    "has_audio": False,
                },
            }
        }
        for name, (dtype, length, names) in _COLUMNS.items():
            features[name] = {"dtype": dtype, "shape": [length], "names": names}
        return {
            "codebase_version": "v3.0",
            "robot_type": "widowx",
            "total_episodes": len(self._rows),
            "total_frames": self._frames,
            "total_tasks": len(self._sentences),
            "chunks_size": _CHUNK,
            "data_files_size_in_mb": 100,
            "video_files_size_in_mb": FILE_BYTES // 2**20,
            "fps": self._fps,
            "splits": {"train": f"0:{len(self._rows)}"},
            "data_path": f"data/{_PLACE}.parquet",
            "video_path": f"videos/{{video_key}}/{_PLACE}.mp4",
            "features": features,
        }

    def _begin_file(self) -> None:
        assert self._size is not None
        self._end_file()
        self._file += 1
        place = _PLACE.format(chunk_index=self._file // _CHUNK, file_index=self._file % _CHUNK)
        data, video = self._folder / f"data/{place}.parquet", self._folder / f"videos/{CAMERA}/{place}.mp4"
        try:
            data.parent.mkdir(parents=True, exist_ok=True)
            video.parent.mkdir(parents=True, exist_ok=True)
            self._table = pq.ParquetWriter(data, _schema())
            self._container = av.open(str(video), "w")
        except OSError as error:
            raise RobofumeError(f"Cannot write to {self._folder}: {error.strerror}.") from error
        # A key frame every second picture: training reads pictures in any order.
        options = {"crf": "18", "g": "2", "preset": "fast"}
        self._stream = self._container.add_stream("libx264", rate=self._fps, options=options)
        self._stream.height, self._stream.width = self._size
        self._stream.pix_fmt = "yuv420p"
        self._stream.codec_context.time_base = Fraction(1, self._fps)
        self._video_frames = self._video_bytes = 0

    def _encode(self, images: NDArray[np.uint8]) -> None:
        for image in images:
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = self._video_frames, Fraction(1, self._fps)
            self._mux(self._stream.encode(frame))
            self._video_frames += 1

    def _mux(self, packets: Iterable[Any]) -> None:
        for packet in packets:
            self._video_bytes += packet.size
            self._container.mux(packet)

    def _end_file(self) -> None:
        if self._table is None:
            return
        self._mux(self._stream.encode(None))
        self._container.close()
        self._table.close()
        self._table = None


def export_lerobot(folder: Path, episodes: Iterable[EpisodeData]) -> int:
    """Writes episodes to a new data set and returns how many. The rate is that of the first episode."""
    writer, count = None, 0
    for episode in episodes:
        if writer is None:
            period = float(np.median(np.diff(episode.stamps))) * 1e-9 if episode.length else 0.2
            writer = LeRobotWriter(folder, max(1, round(1 / period)) if period > 0 else 5)
        writer.add(episode)
        count += 1
    if writer is None:
        raise RobofumeError("There is no episode to export.")
    writer.close()
    return count


def _arrays(episode: EpisodeData, number: int, first: int, task: int, fps: int) -> Arrays:
    count = episode.length + 1
    stay = np.zeros((1, PHYSICAL_DIMENSION), np.float32)
    stay[0, GRIPPER] = episode.actions[-1, GRIPPER] if episode.length else episode.proprioception[0, GRIPPER]
    success = episode.verdicts == Verdict.SUCCESS
    after = np.append(success[1:], False)
    frame = np.arange(count)
    return {
        "observation.state": list(episode.proprioception),
        "action": list(np.concatenate([episode.actions, stay])),
        "next.reward": after.astype(np.float32),
        "next.done": frame == count - 1,
        "next.success": after,
        "verdict": episode.verdicts.astype(np.int64),
        "verdict_source": episode.sources.astype(np.int64),
        "timestamp": (frame / fps).astype(np.float32),
        "frame_index": frame,
        "episode_index": np.full(count, number),
        "index": first + frame,
        "task_index": np.full(count, task),
    }


def _schema() -> pa.Schema:
    kinds = {"float32": pa.float32(), "bool": pa.bool_(), "int64": pa.int64()}
    features: dict[str, Any] = {}
    fields = []
    for name, (dtype, length, _) in _COLUMNS.items():
        value = {"dtype": dtype, "_type": "Value"}
        features[name] = value if length == 1 else {"feature": value, "length": length, "_type": "List"}
        fields.append(pa.field(name, kinds[dtype] if length == 1 else pa.list_(kinds[dtype], length)))
    return pa.schema(fields, metadata={"huggingface": json.dumps({"info": {"features": features}})})


def _sentence_table(sentences: dict[str, int]) -> pa.Table:
    """Numbers of the sentences; the sentence is the index that pandas finds when LeRobot reads the file."""
    index = "__index_level_0__"
    columns: list[dict[str, str | None]] = [
        {"name": "task_index", "field_name": "task_index", "pandas_type": "int64", "numpy_type": "int64"},
        {"name": None, "field_name": index, "pandas_type": "unicode", "numpy_type": "object"},
    ]
    description = {
        "index_columns": [index],
        "column_indexes": [],
        "columns": [{**column, "metadata": None} for column in columns],
        "pandas_version": "2.0.0",
    }
    table = pa.table({"task_index": list(sentences.values()), index: list(sentences)})
    return table.replace_schema_metadata({"pandas": json.dumps(description)})


def _total(values: NDArray[np.float64]) -> _Total:
    """Of (S,) or (S, D)."""
    columns = values.reshape(len(values), -1)
    return _Total(columns.min(0), columns.max(0), columns.sum(0), (columns**2).sum(0), len(columns), len(columns))


def _picture_total(images: NDArray[np.uint8]) -> _Total:
    """Of (S, H, W, 3), as LeRobot has it: each colour (3, 1, 1) in 0 .. 1, counted by pictures."""
    shape = (3, 1, 1)
    values = images.reshape(-1, 3).astype(np.float32) / 255.0
    parts = [values.min(0), values.max(0), values.sum(0, dtype=np.float64), (values**2).sum(0, dtype=np.float64)]
    minimum, maximum, total, squares = (part.astype(np.float64).reshape(shape) for part in parts)
    return _Total(minimum, maximum, total, squares, len(values), len(images))
