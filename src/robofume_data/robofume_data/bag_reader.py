"""Reads episodes from bags. Needs no ROS: the bags carry their message definitions."""

from __future__ import annotations

import functools
import glob
import logging
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from robofume_common.enums import Outcome, Phase
from robofume_common.errors import RobofumeError
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from robofume_data.assembler import EpisodeAssembler
from robofume_data.episode import EpisodeData
from robofume_data.mcap_records import McapFile, RawMessage
from robofume_data.message_shapes import ShapedDecoder
from robofume_data.topics import view_topic

log = logging.getLogger(__name__)

Paths = str | Path | Iterable[str | Path]


def find_bags(paths: Paths) -> list[Path]:
    """The bags named, and those anywhere below the folders named, in order of their names within each folder.

    RobofumeError where a path does not exist, or where there is no bag at all.
    """
    named = [Path(paths)] if isinstance(paths, (str, Path)) else [Path(path) for path in paths]
    bags: list[Path] = []
    for path in named:
        if path.is_dir():
            bags += sorted(path.rglob("*.mcap"))
        elif path.exists():
            bags.append(path)
        else:
            raise RobofumeError(f"There is no bag {path}.")
    if named and not bags:
        raise RobofumeError(f"There are no bags (*.mcap) in {', '.join(map(str, named))}.")
    return bags


def later_bags(path: Path) -> list[Path]:
    """The bags that the recorder began after this one, in order; see `bag_writer.next_path`."""
    name, _, index = path.stem.rpartition("_")
    found = []
    for other in path.parent.glob(f"{glob.escape(name)}_*.mcap") if index.isdecimal() else ():
        other_name, _, other_index = other.stem.rpartition("_")
        if other_name == name and other_index.isdecimal() and int(other_index) > int(index):
            found.append((int(other_index), other))
    return [other for _, other in sorted(found)]


def episode_ids(paths: Paths) -> set[str]:
    """The ids of all episodes that bags hold the ends of; nothing else of them is decoded. Raises as `find_bags`."""
    return {message.episode_id for bag in find_bags(paths) for _, message in Bag(bag).messages(("episode",))}


def read_episodes(
    paths: Paths,
    phases: Collection[Phase] | None = None,
    outcomes: Collection[Outcome] | None = None,
    cameras: Sequence[str] = (),
) -> Iterator[EpisodeData]:
    """Whole episodes of bags, one after the other, in the order in which they were recorded.

    paths: bags or folders of bags. phases, outcomes: only these. cameras: further ones whose pictures are read too.
    Episodes that were never closed, or that lack a step or a picture, are skipped with a warning that counts them; one
    that was recorded without one of the cameras raises RobofumeError. Paths are checked at once, bags when they are
    reached.
    """
    bags = [Bag(path) for path in find_bags(paths)]
    return (episode for bag in bags for episode in bag.episodes(phases, outcomes, cameras))


class Bag:
    """One bag of this suite.

    A switcher that was killed says again, when it is started again, how the episodes ended of which perhaps nobody has
    heard. Where the whole graph was, that is in the next bag, before its first step, and of an episode of this one.

    After `episodes()` has run to its end, `incomplete` names the episodes that were skipped and why,
    `malformed_labels` counts the labels that were left out because they say nothing, and `truncated` says whether the
    bag was cut off.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.incomplete: dict[str, str] = {}
        self.malformed_labels = 0
        self._file = McapFile(path)

    @property
    def truncated(self) -> bool:
        """Whether the bag ended in the middle when it was last read."""
        return self._file.truncated

    def messages(self, topics: Collection[str] | None = None) -> Iterator[tuple[RawMessage, Any]]:
        """Raw and decoded messages. topics: last parts of topic names, such as `step`; None: all."""
        for raw in self._file:
            if topics is None or _kind(raw) in topics:
                try:
                    message = decode(raw)
                except Exception as error:
                    raise RobofumeError(
                        f"The bag {self.path} is damaged (a message of {raw.topic} cannot be decoded); move it away to "
                        f"go on without it."
                    ) from error
                yield raw, message

    def episodes(
        self,
        phases: Collection[Phase] | None = None,
        outcomes: Collection[Outcome] | None = None,
        cameras: Sequence[str] = (),
    ) -> Iterator[EpisodeData]:
        """Whole episodes in order, with the pictures of further cameras. The bag is read twice: verdicts may come after
        their steps. RobofumeError where an episode was recorded without one of the cameras."""
        self.incomplete = {}
        views = {view_topic(camera): camera for camera in cameras}
        seen: set[tuple[str, str]] = set()
        said_again: set[str] = set()
        quiet = True  # nothing of an episode of this bag was seen yet
        assembler = EpisodeAssembler(cameras=cameras)
        for raw, message in self.messages(("reward", "label", "episode", "ground_truth", *views)):
            kind = _kind(raw)
            quiet = quiet and kind not in ("reward", *views)
            if kind in views:
                seen.add((message.episode_id, views[kind]))
            elif kind == "reward":
                assembler.add_reward(message)
            elif kind == "label":
                assembler.add_label(message)
            elif kind == "episode":
                assembler.add_end(message, raw.log_time)
                if quiet:
                    said_again.add(message.episode_id)
            else:
                assembler.add_ground_truth(message, raw.log_time)
        for raw, end in self._said_later():
            said_again.add(end.episode_id)
            assembler.add_end(end, raw.log_time)
        self.malformed_labels = assembler.malformed_labels
        if self.malformed_labels:
            log.warning("%s: %d labels name no step or no verdict and were left out.", self.path, self.malformed_labels)
        ends = assembler.ends
        for episode_id, end in ends.items():
            if (phases is None or end.phase in phases) and episode_id not in said_again:
                self._refuse_without(cameras, seen, episode_id)
        begun: set[str] = set()
        done: set[str] = set()
        for raw, step in self.messages(("step", *views)):
            episode_id = step.episode_id
            begun.add(episode_id)
            if episode_id in done:
                continue
            if episode_id not in ends:
                self.incomplete[episode_id] = "it was never closed"
                continue
            if episode_id in said_again and (phases is None or ends[episode_id].phase in phases):
                self._refuse_without(cameras, seen, episode_id)  # so it is of this bag
            kind = _kind(raw)
            if kind in views:
                assembler.add_view(views[kind], step)
            else:
                assembler.add_step(step, raw.log_time)
            if not assembler.is_whole(episode_id):
                continue
            done.add(episode_id)
            end = ends.pop(episode_id)
            if phases is not None and end.phase not in phases:
                assembler.forget(episode_id)
                continue
            try:
                episode = assembler.take(episode_id)
            except RobofumeError as error:
                self.incomplete[episode_id] = str(error)
                continue
            if outcomes is None or episode.outcome in outcomes:
                yield episode
        for episode_id in ends:
            if episode_id in said_again - begun:
                continue  # it is of another bag
            camera = assembler.blind_camera(episode_id)
            missing = f"pictures of the camera {camera}" if camera else "steps"
            self.incomplete[episode_id] = f"{missing} are missing"
        if self.incomplete:
            log.warning("%s: %d episodes are not whole and were skipped.", self.path, len(self.incomplete))

    def _refuse_without(self, cameras: Sequence[str], seen: set[tuple[str, str]], episode_id: str) -> None:
        for camera in cameras:
            if (episode_id, camera) not in seen:
                raise RobofumeError(
                    f"Episode {episode_id} in {self.path} was recorded without the camera {camera}: leave out its bag, "
                    "or do without the camera."
                )

    def _said_later(self) -> Iterator[tuple[RawMessage, Any]]:
        """The ends in later bags, up to the first step of the next start; what cannot be read says nothing here."""
        for path in later_bags(self.path):
            try:
                for raw, message in Bag(path).messages(("episode", "step")):
                    if _kind(raw) == "step":
                        return
                    yield raw, message
            except RobofumeError:
                return


def decode(raw: RawMessage) -> Any:
    """The content of a raw message, by the definition that the bag carries; rosbags' errors where they do not fit."""
    return _decoder(raw.type_name, raw.definition)(raw.data)


@functools.lru_cache(maxsize=256)  # definitions take longer to read than a thousand messages
def _decoder(type_name: str, definition: str) -> ShapedDecoder:
    typestore = get_typestore(Stores.EMPTY)
    typestore.register(get_types_from_msg(definition, type_name))
    return ShapedDecoder(typestore, type_name)


def _kind(raw: RawMessage) -> str:
    return raw.topic.rsplit("/", 1)[-1]
