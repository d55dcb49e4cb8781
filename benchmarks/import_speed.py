"""How fast `robofume import` takes recordings in, against a plain reader of the same files in the same run.

    python benchmarks/import_speed.py [--minutes 1] [--repeats 5] [--csv FILE]
    python benchmarks/import_speed.py --gigabytes 5 --files 4 --jobs 2

Makes recordings of a robot (pictures of 640x480 at 15 Hz, joint states at 100 Hz) as rosbag2 stores them, and of this
suite's own steps. The plain reader is `mcap`'s own, once giving the bytes of every message and once decoding every
message. For JPEG there is a third measure, "least": the plain reader and nothing more than decoding those pictures that
are imported, with OpenCV, at half their size as the import does it. Each repeat measures all after one another, in CPU
seconds of one process; the table gives the medians of the ratios.
"""

from __future__ import annotations

import argparse
import csv
import multiprocessing
import resource
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
from mcap.reader import make_reader
from mcap.writer import CompressionType, Writer
from mcap_ros2.decoder import DecoderFactory
from robofume_bringup.forward_kinematics import proprioception_of
from robofume_common.enums import Direction, Outcome, Phase
from robofume_data.episode import EpisodeData
from robofume_data.episode_writer import write_episodes
from robofume_data.importing.bags import BagImporter, whole_bag
from robofume_data.importing.conversion import ImportOptions
from robofume_data.importing.raw_bags import RawBagConfig, raw_conventions
from robofume_data.importing.run import Source, import_sources
from robofume_data.message_definitions import definition
from rosbags.typesys import Stores, get_typestore

from robofume_robot import kinematics

SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND
CAMERA, JOINTS = 15, 100
STEPS = 5
"""Of an imported episode, in a second."""
CHUNK = 786_432
"""Bytes; rosbag2's own."""
STORE = get_typestore(Stores.ROS2_JAZZY)
IMAGE, COMPRESSED, STATE = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage", "sensor_msgs/msg/JointState"


def camera_pictures(count: int, width: int, height: int) -> list[np.ndarray]:
    """Pictures (H, W, 3) with a slow scene and the noise of a sensor."""
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[0:height, 0:width]
    found = []
    for index in range(count):
        scene = np.stack([rows // 3, columns // 4, (rows + columns + 5 * index) // 6], -1) % 200 + 20
        cv2.rectangle(scene := scene.astype(np.uint8), (40 + 3 * index, 60), (140 + 3 * index, 200), (30, 60, 180), -1)
        found.append(np.clip(scene + random.normal(0, 3, scene.shape), 0, 255).astype(np.uint8))
    return found


def robot_messages(seconds: float, compressed: bool) -> Iterator[tuple[int, str, str, bytes]]:
    """(time, topic, type, CDR) of a recording, in order."""
    make, kind = STORE.types, COMPRESSED if compressed else IMAGE
    pictures = camera_pictures(30, 640, 480)
    coded = [np.asarray(cv2.imencode(".jpg", item)[1]).reshape(-1) for item in pictures]

    def header(stamp: int):
        moment = make["builtin_interfaces/msg/Time"](sec=stamp // SECOND, nanosec=stamp % SECOND)
        return make["std_msgs/msg/Header"](stamp=moment, frame_id="camera")

    ticks = sorted(
        [(START + index * SECOND // CAMERA, index, True) for index in range(int(seconds * CAMERA))]
        + [(START + index * SECOND // JOINTS, index, False) for index in range(int(seconds * JOINTS))]
    )
    for stamp, index, camera in ticks:
        if not camera:
            angles = [0.4 * np.sin(index / 500), -0.3, 0.3, 0.0, 0.5, 0.0, 0.03, -0.03]
            message = make[STATE](
                header=header(stamp), name=list(kinematics.JOINT_NAMES), position=np.array(angles),
                velocity=np.zeros(8), effort=np.zeros(8),
            )  # fmt: skip
            yield stamp + 2_000_000, "/joint_states", STATE, bytes(STORE.serialize_cdr(message, STATE))
            continue
        if compressed:
            message = make[COMPRESSED](header=header(stamp), format="jpeg", data=coded[index % 30])
        else:
            message = make[IMAGE](
                header=header(stamp), height=480, width=640, encoding="bgr8", is_bigendian=0, step=1920,
                data=pictures[index % 30].reshape(-1),
            )  # fmt: skip
        yield stamp + 20_000_000, "/camera/image", kind, bytes(STORE.serialize_cdr(message, kind))


def write_recording(path: Path, seconds: float, compressed: bool, compression: CompressionType) -> Path:
    """An MCAP recording as `ros2 bag record` writes it."""
    with path.open("wb") as file:
        writer = Writer(file, chunk_size=CHUNK, compression=compression)
        writer.start(profile="ros2", library="benchmark")
        channels: dict[str, int] = {}
        for moment, topic, kind, data in robot_messages(seconds, compressed):
            if topic not in channels:
                schema = writer.register_schema(kind, "ros2msg", definition(kind).encode())
                channels[topic] = writer.register_channel(topic, "cdr", schema, {"offered_qos_profiles": ""})
            writer.add_message(channels[topic], moment, data, moment)
        writer.finish()
    return path


def own_episodes(seconds: float) -> Iterator[EpisodeData]:
    """Episodes of 40 steps with pictures of 64x64, five steps a second."""
    pictures = np.stack(camera_pictures(41, 64, 64))
    for number in range(max(1, int(seconds * 5 / 40))):
        yield EpisodeData(
            episode_id=f"practice-{number:06d}", task="pot_pick_and_place", instruction="put the pot into the tray",
            phase=Phase.FORWARD, direction=Direction.FORWARD, outcome=Outcome.TIMEOUT, success_index=-1,
            assisted_reset_before=False, images=np.roll(pictures, number, axis=2),
            proprioception=np.zeros((41, 7), np.float32), actions=np.zeros((40, 7), np.float32),
            actors=np.ones(40, np.uint8), policy_versions=np.zeros(41, np.uint64),
            stamps=START + np.arange(41, dtype=np.int64) * (SECOND // 5) + number * 10 * SECOND,
            verdicts=np.full(41, 2, np.uint8), probabilities=np.zeros(41, np.float32), sources=np.ones(41, np.uint8),
            closed=START + number * 10 * SECOND,
        )  # fmt: skip


def read_plainly(path: Path, decode: bool = False) -> int:
    """Number of messages, as `mcap` gives them: their bytes, or their content."""
    with path.open("rb") as file:
        if decode:
            return sum(1 for _ in make_reader(file, decoder_factories=[DecoderFactory()]).iter_decoded_messages())
        return sum(1 for _ in make_reader(file).iter_messages())


def read_and_decode_imported(path: Path) -> int:
    """Number of messages, as `mcap` gives them; of the JPEG pictures those that an import takes are decoded."""
    count = pictures = 0
    with path.open("rb") as file:
        for _, channel, message in make_reader(file).iter_messages():
            count += 1
            if channel.topic == "/camera/image":
                if pictures % (CAMERA // STEPS) == 0:
                    begin = message.data.index(b"\xff\xd8")
                    coded = np.frombuffer(message.data, np.uint8, offset=begin)
                    assert cv2.imdecode(coded, cv2.IMREAD_REDUCED_COLOR_2) is not None
                pictures += 1
    return count


def import_recordings(paths: list[Path], output: Path, size: int, jobs: int = 1) -> None:
    """As `robofume import` does; fails where something was not imported."""
    # 200 pictures of their own size are 180 MB; an episode of more than 256 MiB is cut, and told as skipped.
    limit = {} if size else {"step_limit": 200}
    reader = BagImporter(RawBagConfig(image_size=size, **limit), proprioception_of)
    reports = list(
        import_sources(
            [Source(path.stem, path, reader, whole_bag) for path in paths],
            output,
            raw_conventions(float(STEPS), "none"),
            ImportOptions(instruction="do it", image_size=size),
            jobs,
        )
    )
    assert all(item.episodes and not item.error and not item.skipped for item in reports), reports


def seconds_of(work: Callable[[], object], clock: Callable[[], float] = time.process_time) -> float:
    """CPU time of this process, which does not depend on what else the machine does; or by another clock."""
    start = clock()
    work()
    return clock() - start


def compare(folder: Path, seconds: float, repeats: int) -> list[dict[str, object]]:
    """One row for each kind of recording and size of the imported pictures."""
    cases = {
        "raw pictures, as rosbag2 stores them": (
            write_recording(folder / "raw.mcap", seconds, False, CompressionType.NONE), (64, 100, 0),
        ),
        "raw pictures, zstd": (
            write_recording(folder / "zstd.mcap", seconds, False, CompressionType.ZSTD), (64, 100, 0),
        ),
        "JPEG pictures": (write_recording(folder / "jpeg.mcap", seconds, True, CompressionType.NONE), (64, 100)),
    }  # fmt: skip
    own = folder / "own.mcap"
    write_episodes(own, own_episodes(seconds * 20))
    cases["own steps of 64x64"] = (own, (0,))
    rows = []
    for name, (path, sizes) in cases.items():
        read_plainly(path)  # into the page cache
        for size in sizes:
            times = []
            for _ in range(repeats):
                shutil.rmtree(folder / "out", ignore_errors=True)
                plain, decoded = (
                    seconds_of(lambda path=path, decode=decode: read_plainly(path, decode)) for decode in (False, True)
                )
                least = seconds_of(lambda path=path: read_and_decode_imported(path)) if "JPEG" in name else plain
                took = seconds_of(lambda path=path, size=size: import_recordings([path], folder / "out", size))
                times.append((plain, decoded, least, took))
            megabytes = path.stat().st_size / 1e6
            plain, decoded, least, took = (statistics.median(column) for column in zip(*times, strict=True))
            row: dict[str, object] = {
                "recording": name,
                "MB": round(megabytes),
                "imported as": f"{size}x{size}" if size else "as it is",
                "plain s": round(plain, 3),
                "decoded s": round(decoded, 3),
                "least s": round(least, 3) if "JPEG" in name else "",
                "import s": round(took, 3),
                "import MB/s": round(megabytes / took),
            }
            for number, measure in enumerate(("plain", "decoded", "least")):
                ratio = statistics.median(item[number] / item[-1] for item in times)
                row[f"speed / {measure}"] = round(ratio, 2) if measure != "least" or row["least s"] else ""
            rows.append(row)
            print("  ".join(f"{key}: {value}" for key, value in rows[-1].items()), flush=True)
    return rows


def peak(paths: list[Path], output: Path, size: int, jobs: int) -> None:
    """Imports and prints the largest memory of this process and of its workers."""
    shutil.rmtree(output, ignore_errors=True)
    took = seconds_of(lambda: import_recordings(paths, output, size, jobs), time.perf_counter)
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    megabytes = [item.ru_maxrss / 1e3 for item in used]
    spent = sum(item.ru_utime + item.ru_stime for item in used)
    total = sum(path.stat().st_size for path in paths) / 1e6
    print(
        f"{len(paths)} files, {total:.0f} MB, {jobs} jobs, pictures {size or 'as they are'}: {took:.1f} s, "
        f"{total / took:.0f} MB/s, {spent:.1f} CPU s with the start of the processes; "
        f"peak memory {megabytes[0]:.0f} MB, of a worker {megabytes[1]:.0f} MB",
        flush=True,
    )


def measure_large(folder: Path, gigabytes: float, files: int, jobs: int, sizes: list[int]) -> None:
    """Time and memory of a large collection, each import in a process of its own."""
    seconds = gigabytes * 1e9 / files / (CAMERA * 640 * 480 * 3)
    first = write_recording(folder / "part_000.mcap", seconds, False, CompressionType.NONE)
    paths = [first, *(Path(shutil.copy(first, folder / f"part_{number:03d}.mcap")) for number in range(1, files))]
    begin = time.process_time()
    plain = sum(seconds_of(lambda path=path: read_plainly(path), time.perf_counter) for path in paths)
    spent = time.process_time() - begin
    total = sum(path.stat().st_size for path in paths) / 1e6
    print(f"plain reader, one process: {plain:.1f} s, {total / plain:.0f} MB/s, {spent:.1f} CPU s")
    for size in sizes:
        child = multiprocessing.get_context("spawn").Process(target=peak, args=(paths, folder / "out", size, jobs))
        child.start()
        child.join()
        if child.exitcode:
            raise SystemExit(f"The import failed with exit code {child.exitcode}.")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=0.5, help="of each recording (default: 0.5)")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--gigabytes", type=float, help="measure memory and speed of a collection of this size instead")
    parser.add_argument("--files", type=int, default=1, help="of that collection")
    parser.add_argument("--jobs", type=int, default=1, help="processes for that collection")
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 0], help="of its pictures; 0: as they are")
    parser.add_argument("--folder", type=Path, help="where the recordings are made (default: the system's temporary)")
    parser.add_argument("--csv", type=Path, help="write the table to this file")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        if given.gigabytes:
            measure_large(Path(name), given.gigabytes, given.files, given.jobs, given.sizes)
            return
        rows = compare(Path(name), 60 * given.minutes, given.repeats)
    if given.csv:
        with given.csv.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
