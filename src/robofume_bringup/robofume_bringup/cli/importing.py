"""`robofume import`: recordings of other robots and formats become bags of episodes."""

from __future__ import annotations

import argparse
import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from robofume_common.errors import RobofumeError
from robofume_common.parameters import from_dict
from robofume_data.importing.raw_bag_config import RawBagConfig

from robofume_bringup.interruption import Interruption

Options = argparse.Namespace


def add_parser(add: Callable[..., argparse.ArgumentParser]) -> None:
    """The command and its options."""
    parser = add(
        "import",
        run_import,
        "turn recordings of other robots and formats into bags of episodes",
        "robofume import --rlds bridge_dataset/1.0.0 --conventions bridge --image-size 64 --output prior",
    )
    source = parser.add_argument_group("what to import (one of these)")
    source.add_argument(
        "bags", metavar="BAG", nargs="*", type=Path, help="rosbag2 recordings (MCAP, sqlite3), or folders of them"
    )
    source.add_argument("--rlds", metavar="DIR", type=Path, help="folder of TFRecord files (RLDS, Open X)")
    source.add_argument(
        "--lerobot", metavar="NAME_OR_DIR", help="LeRobotDataset v2.1 or v3: a folder, or a name on the hub"
    )
    raw = parser.add_argument_group("recordings of a robot")
    for field in dataclasses.fields(RawBagConfig):
        if field.name == "further_images":
            raw.add_argument(
                "--further-images", metavar="CAMERA=TOPIC", nargs="+", default=(), help=field.metadata["meaning"]
            )
        elif field.name != "image_size":
            raw.add_argument(
                f"--{field.name.replace('_', '-')}",
                metavar=field.name.split("_")[-1].upper(),
                default=field.default,
                type=type(field.default),
                help=f"{field.metadata['meaning']} (default: {field.default or 'none'})",
            )
    parser.add_argument("--output", metavar="DIR", type=Path, required=True, help="folder for the bags")
    parser.add_argument(
        "--conventions", metavar="NAME_OR_FILE", help="what the numbers mean: a known data set or a YAML file"
    )
    parser.add_argument("--task", default="prior", help="task that the episodes are filed under (default: prior)")
    parser.add_argument(
        "--direction", choices=("none", "forward", "backward"), default="none", help="of the task (default: none)"
    )
    parser.add_argument("--instruction", default="", help="sentence in place of the data's own")
    parser.add_argument(
        "--image-size", type=int, default=0, metavar="PIXELS", help="side of the pictures (default: as they are)"
    )
    parser.add_argument(
        "--labels",
        choices=("last", "given", "none", "model"),
        help="where success comes from: the last pictures, the data's rewards, nowhere, or a reward model "
        "(default: as the conventions say)",
    )
    parser.add_argument("--reward-model", metavar="DIR", help="the reward model for --labels model")
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: one for each processor)"
    )
    parser.add_argument(
        "--ray",
        metavar="ADDRESS",
        default="",
        help="import on the machines of a Ray (auto, or HOST:PORT; local: one of its own), which see the same folders; "
        "needs the package ray",
    )


def add_export_parser(add: Callable[..., argparse.ArgumentParser]) -> None:
    """The command `export`."""
    parser = add(
        "export",
        run_export,
        "write episodes in another format",
        "robofume export runs/lid/bags/practice --lerobot lid_practice",
    )
    parser.add_argument("bags", nargs="+", type=Path, help="bags or folders")
    parser.add_argument("--lerobot", metavar="DIR", type=Path, required=True, help="new folder (LeRobotDataset v3)")


def run_export(options: Options, interruption: Interruption) -> int:
    """Export all whole episodes, with what a person has said about them afterwards."""
    from robofume_data.labels import read_labelled
    from robofume_data.lerobot_writer import export_lerobot

    with interruption.immediately():
        count = export_lerobot(options.lerobot, read_labelled(options.bags))
    print(f"Exported {count} episodes to {options.lerobot}.")
    return 0


def run_import(options: Options, interruption: Interruption) -> int:
    """Import; exit code 1 where a source could not be read or nothing came of it."""
    from robofume_data.importing.conversion import ImportOptions
    from robofume_data.importing.run import import_sources, summary

    if options.ray:
        _name_paths_in_full(options)
    sources, conventions = _sources(options)
    settings = ImportOptions(
        task=options.task,
        direction={"none": 0, "forward": 1, "backward": 2}[options.direction],
        instruction=options.instruction,
        image_size=options.image_size,
    )
    reports = []
    with interruption.immediately():
        for report in import_sources(
            sources, options.output, conventions, settings, options.jobs, judge=_judge(options),
            ray=options.ray,
        ):  # fmt: skip
            reports.append(report)
    print(summary(reports))
    return 0 if any(report.episodes for report in reports) and not any(report.error for report in reports) else 1


def _name_paths_in_full(options: Options) -> None:
    """Elsewhere another folder is the current one."""
    options.bags = [path.absolute() for path in options.bags]
    options.output = options.output.absolute()
    if options.rlds:
        options.rlds = options.rlds.absolute()
    if options.lerobot and Path(options.lerobot).is_dir():
        options.lerobot = str(Path(options.lerobot).absolute())
    if options.label_file:
        options.label_file = str(Path(options.label_file).absolute())


def _sources(options: Options) -> tuple[list[Any], Any]:
    """Sources and conventions that the options name."""
    from robofume_data.importing import rlds
    from robofume_data.importing.bag_messages import find_recordings
    from robofume_data.importing.bags import BagImporter, whole_bag
    from robofume_data.importing.conventions import known_conventions, load_conventions
    from robofume_data.importing.raw_bags import raw_conventions, recording_name
    from robofume_data.importing.run import Source

    if bool(options.bags) + bool(options.rlds) + bool(options.lerobot) != 1:
        raise RobofumeError("Say what to import: either BAG..., --rlds DIR or --lerobot NAME_OR_DIR.")
    if options.bags:
        from robofume_bringup.forward_kinematics import proprioception_of

        names = [field.name for field in dataclasses.fields(RawBagConfig)]
        config = from_dict(RawBagConfig, {name: getattr(options, name) for name in names})
        labels = "none" if options.labels in (None, "model") else options.labels
        recordings = [found for path in options.bags for found in find_recordings(path)]
        reader = BagImporter(config, proprioception_of)
        sources = [Source(recording_name(path), path, reader, whole_bag) for path in recordings]
        return sources, raw_conventions(config.rate, labels)
    if not options.conventions:
        raise RobofumeError(
            f"Say what the numbers of the data mean: --conventions with a YAML file or one of: "
            f"{', '.join(known_conventions())}."
        )
    conventions = load_conventions(options.conventions)
    if options.labels:
        labels = "none" if options.labels == "model" else options.labels
        conventions = dataclasses.replace(conventions, labels=labels)
    if options.lerobot:
        from robofume_data.importing.lerobot import LeRobotReader, find_data_set

        data_set = LeRobotReader(find_data_set(options.lerobot))
        return [Source(data_set.name(path), path, data_set) for path in data_set.parts], conventions
    sources = [Source(rlds.shard_name(path), path, rlds.read_shard) for path in rlds.find_shards(options.rlds)]
    return sources, conventions


def _judge(options: Options) -> Any:
    """The reward model as a function of pictures and a sentence; None without one."""
    if options.labels != "model":
        return None
    if not options.reward_model:
        raise RobofumeError("--labels model needs --reward-model: the folder of a trained reward model.")
    from robofume_reward.loading import load_judge
    from robofume_reward.rescoring import answers

    model = load_judge(options.reward_model)
    return lambda images, instruction: answers(model, images, instruction)
