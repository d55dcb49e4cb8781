"""What importing BridgeData V2 costs: the rate of `robofume import --rlds`, and what follows for all of it.

    python benchmarks/import_bridge.py [--rlds DIR] [--trajectories 40]

Measures the RLDS folder that is given, and a generated one of the shape of the published data: trajectories of 38 steps
with four JPEG pictures of 256x256, of which one is imported. CPU seconds of one process.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import cv2
import numpy as np
from import_speed import camera_pictures, seconds_of
from robofume_data.importing.conventions import load_conventions
from robofume_data.importing.conversion import ImportOptions
from robofume_data.importing.rlds import find_shards, read_shard, shard_name
from robofume_data.importing.run import Source, import_sources
from robofume_data.importing.tfrecord import example_class, framed

ALL = 60_000
"""Trajectories of BridgeData V2, about."""
STEPS, CAMERAS, SIDE = 38, 4, 256


def write_shard(path: Path, count: int) -> None:
    """A shard of `count` trajectories with Bridge's fields."""
    pictures = [cv2.resize(item, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for item in camera_pictures(30, 640, 480)]
    coded = [cv2.imencode(".jpg", item)[1].tobytes() for item in pictures]
    random = np.random.default_rng(0)
    with path.open("wb") as file:
        for _ in range(count):
            record = example_class()()
            fields = record.features.feature
            for camera in range(CAMERAS):
                name = f"steps/observation/image_{camera}"
                fields[name].bytes_list.value.extend(coded[(camera + step) % 30] for step in range(STEPS))
            fields["steps/observation/state"].float_list.value.extend(random.uniform(0, 0.3, STEPS * 7).tolist())
            fields["steps/action"].float_list.value.extend(random.uniform(0, 0.02, STEPS * 7).tolist())
            fields["steps/language_instruction"].bytes_list.value.extend([b"put the pot away"] * STEPS)
            file.write(framed(record.SerializeToString()))


def measure(name: str, folder: Path, output: Path, size: int) -> None:
    """Import a folder and print what it cost, and what all of Bridge would."""
    shards = find_shards(folder)
    read = sum(path.stat().st_size for path in shards)
    reports = []

    def work() -> None:
        sources = [Source(shard_name(path), path, read_shard) for path in shards]
        options = ImportOptions(image_size=size)
        reports.extend(import_sources(sources, output, load_conventions("bridge"), options))

    seconds = seconds_of(work)
    episodes = sum(report.episodes for report in reports)
    assert episodes, reports
    written = sum(path.stat().st_size for path in output.glob("*.mcap"))
    scale = ALL / episodes
    print(
        f"{name}, to {size}x{size}: {episodes} trajectories, {sum(item.steps for item in reports)} steps, "
        f"{read / 1e6:.1f} MB in {seconds:.2f} CPU s, {1000 * seconds / episodes:.1f} ms each; {ALL} of them: "
        f"{seconds * scale / 3600:.2f} h of a core, {read * scale / 1e9:.0f} GB read, {written * scale / 1e9:.0f} GB "
        "written",
        flush=True,
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rlds", type=Path, help="folder of real data to measure too")
    parser.add_argument("--trajectories", type=int, default=40, help="of the generated data (default: 40)")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "made").mkdir()
        write_shard(folder / "made" / "made-train.tfrecord-00000-of-00001", given.trajectories)
        measure("first import, which loads the libraries", folder / "made", folder / "warm", 64)
        for size in (64, 100):
            measure("generated, 256x256", folder / "made", folder / f"out{size}", size)
        if given.rlds:
            measure(f"{given.rlds}", given.rlds, folder / "real", 64)


if __name__ == "__main__":
    main()
