"""Imports sources into bags: one bag per source, several sources at a time, every loss listed and counted."""

from __future__ import annotations

import glob
import json
import multiprocessing
import os
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from robofume_common.enums import Outcome
from robofume_common.errors import RobofumeError
from robofume_common.parameters import to_dict

from robofume_data.bag_writer import BagWriter, DiskFullError, copy_bag, prepare_folder
from robofume_data.episode import EpisodeData
from robofume_data.episode_writer import EpisodeWriter
from robofume_data.importing import limits
from robofume_data.importing.conventions import Conventions
from robofume_data.importing.conversion import ImportOptions, resized, to_episode, with_labels
from robofume_data.importing.over_ray import import_over_ray
from robofume_data.importing.trajectory import ImportReport, Skipped, SourceLostError, Trajectory

DISK_FLOOR = 500_000_000
"""Bytes that an import leaves free."""

ABANDONED_AFTER = 3600.0
"""Seconds without a write after which an unfinished bag of another machine is taken for one that was given up."""

KEPT = "episodes_of_this_suite_that_keep_their_own_task_direction_and_sentence"

Judge = Callable[[NDArray[np.uint8], str], tuple[NDArray[np.float64], NDArray[np.uint8]]]
"""P(success) (S,) of pictures (S, H, W, 3) of an episode under a sentence, and verdicts (S,) of Verdict on them."""


@dataclass(frozen=True)
class Source:
    """One file, or one part of a data set, that becomes one bag."""

    name: str
    """Name of the bag, without its ending."""
    path: Path
    read: Callable[[Path, Conventions], Iterable[EpisodeData | Trajectory | Skipped]]
    """A function or callable object that can be sent to another process."""
    whole: Callable[[Path], tuple[int, int] | None] | None = None
    """Episodes and steps of a path that is such a bag already, so that it can be copied; None where it is not."""


def import_source(
    source: Source,
    folder: Path,
    conventions: Conventions,
    options: ImportOptions,
    disk_floor: int = DISK_FLOOR,
    judge: Judge | None = None,
) -> ImportReport:
    """Writes `<name>.mcap` and `<name>.import.json` into the folder. A bag that is there already is left as it is.

    A damaged source is told in the report; only a disk that is full or fails raises.
    """
    report = ImportReport(str(source.path))
    bag, record = folder / f"{source.name}.mcap", folder / f"{source.name}.import.json"
    there = f"{bag} is there already; delete it to import it again"
    if bag.exists():
        report.error = there
        return report
    for left in folder.glob(f"{glob.escape(source.name)}.mcap.*.unfinished"):
        if _is_abandoned(left):
            left.unlink(missing_ok=True)
    # A name of its own: over Ray, a machine that was given up may still be at it, and so may another import.
    unfinished = folder / f"{source.name}.mcap.{socket.gethostname()}-{os.getpid()}.unfinished"
    try:
        as_it_is = source.whole(source.path) if source.whole and judge is None and not options.image_size else None
        if as_it_is is not None:
            copy_bag(source.path, unfinished, disk_floor)
            report.episodes, report.steps = as_it_is
            report.count(KEPT, _says_something_else(options) * report.episodes)
        else:
            with BagWriter(unfinished, disk_floor) as writer:
                episodes = EpisodeWriter(writer)
                for episode in _episodes(source, conventions, options, report):
                    if judge is not None:
                        images = np.asarray(episode.images)  # the pictures of a recording may not be read yet
                        episode = with_labels(replace(episode, images=images), *judge(images, episode.instruction))
                    episodes.add(episode, commit=False)
                    report.episodes += 1
                    report.steps += episode.length
                    report.count("episodes_of_unknown_outcome", episode.outcome == Outcome.UNKNOWN)
        if report.episodes and bag.exists():  # another import was faster
            return ImportReport(str(source.path), error=there)
        if report.episodes:
            os.rename(unfinished, bag)
    except SourceLostError as error:  # half an episode is written already
        report = ImportReport(str(source.path), error=f"{source.path} was not imported: {error}")
    finally:
        unfinished.unlink(missing_ok=True)
    if not (report.episodes or report.skipped or report.error):
        report.error = f"{source.path} holds no episode."
    details = {"conventions": to_dict(conventions), "options": to_dict(options), **report.as_dict()}
    record.write_text(json.dumps(details, indent=1, ensure_ascii=False), encoding="utf-8")
    return report


def _says_something_else(options: ImportOptions) -> bool:
    """Whether a person has named what episodes of this suite have already, and keep."""
    named = ("task", "direction", "instruction")
    return any(getattr(options, name) != getattr(ImportOptions, name) for name in named)


def _is_abandoned(unfinished: Path) -> bool:
    """Whether nobody writes this file any more: a process of this machine that is gone, or of another one, for long."""
    host, _, number = unfinished.name.removesuffix(".unfinished").rpartition(".mcap.")[2].rpartition("-")
    if host == socket.gethostname() and number.isdigit():
        return int(number) == os.getpid() or not Path("/proc", number).exists()
    try:
        return time.time() - unfinished.stat().st_mtime > ABANDONED_AFTER
    except OSError:  # gone just now
        return False


def _episodes(
    source: Source, conventions: Conventions, options: ImportOptions, report: ImportReport
) -> Iterator[EpisodeData]:
    trajectories = iter(source.read(source.path, conventions))
    room = limits.memory_room()
    while True:
        try:
            with limits.bounded_memory(room):
                item = next(trajectories, None)
        except RobofumeError as error:
            report.error = str(error)
            return
        except MemoryError:
            report.error = (
                f"Reading on in {source.path} takes more than {room / 2**30:.1f} GiB of memory: it is damaged, made to "
                "do harm, or has an episode that is too long for this machine. What was read before is imported."
            )
            return
        if item is None:
            return
        if isinstance(item, Skipped):
            report.skipped.append(item)
            continue
        name = item.episode_id if isinstance(item, EpisodeData) else item.name
        try:
            with limits.bounded_memory(room):
                if isinstance(item, EpisodeData):
                    episode = resized(item, options.image_size)
                    report.count(KEPT, _says_something_else(options))
                else:
                    episode = to_episode(item, conventions, options, report)
        except DiskFullError:
            raise
        except RobofumeError as error:
            report.skipped.append(Skipped(name, str(error).rstrip(".")))
        except MemoryError:
            wanted = f"it takes more than {room / 2**30:.1f} GiB of memory; give --image-size"
            report.skipped.append(Skipped(name, wanted))
        else:
            yield episode


def import_sources(
    sources: list[Source],
    folder: Path,
    conventions: Conventions,
    options: ImportOptions,
    jobs: int = 1,
    disk_floor: int = DISK_FLOOR,
    judge: Judge | None = None,
    ray: str = "",
) -> Iterator[ImportReport]:
    """Reports of the sources as they are done; `jobs` processes, each with one source at a time.

    ray: address of a Ray whose machines import them instead, see `over_ray`.
    """
    prepare_folder(folder)
    names = [source.name for source in sources]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise RobofumeError(f"Several sources would become the bag {twice[0]}.mcap; import into different folders.")
    if ray:
        if judge is not None:
            raise RobofumeError("A reward model labels on this machine alone: leave out --ray, or label afterwards.")
        yield from import_over_ray(ray, jobs, import_source, sources, folder, conventions, options, disk_floor)
        return
    if jobs <= 1 or len(sources) <= 1 or judge is not None:  # a reward model is held once
        for source in sources:
            yield import_source(source, folder, conventions, options, disk_floor, judge)
        return
    # A fresh process: a fork of one that has threads may hang.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(jobs, len(sources)), mp_context=context) as pool:
        waiting = {
            pool.submit(import_source, source, folder, conventions, options, disk_floor): source for source in sources
        }
        try:
            for done in as_completed(waiting):
                try:
                    yield done.result()
                except BrokenProcessPool:
                    source = waiting[done]
                    lost = "a process was killed, as the system does where memory is short; import it with --jobs 1"
                    yield ImportReport(str(source.path), error=f"{source.path} was not imported: {lost}")
        finally:
            for item in waiting:
                item.cancel()


def summary(reports: list[ImportReport], listed: int = 20) -> str:
    """The reports as text for a terminal; every skipped thing is counted, the first ones are listed."""
    episodes, steps = sum(item.episodes for item in reports), sum(item.steps for item in reports)
    lines = [f"Imported {episodes} episodes, {steps} steps from {len(reports)} sources."]
    counters: dict[str, int] = {}
    for item in reports:
        for name, number in item.counters.items():
            counters[name] = counters.get(name, 0) + number
    lines += [f"  {name.replace('_', ' ')}: {number}" for name, number in sorted(counters.items())]
    skipped = [(item.source, one) for item in reports for one in item.skipped]
    if skipped:
        lines.append(f"  not imported: {len(skipped)} (all are listed in *.import.json)")
        lines += [f"    {Path(source).name}: {one.name}: {one.reason}" for source, one in skipped[:listed]]
        if len(skipped) > listed:
            lines.append(f"    and {len(skipped) - listed} more")
    lines += [f"  {item.error}" for item in reports if item.error]
    return "\n".join(lines)
