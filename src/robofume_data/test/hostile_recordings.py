"""Recordings that are damaged or absurd, and what an import must keep to whatever it is given.

For each seed `check(seed, folder)` makes one: the bytes of a sound file mutated, or a sound-looking file with absurd
content. It imports it and raises AssertionError where something was lost without a word.
"""

import dataclasses
import logging
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
from recorded_episodes import make_episode
from rlds_examples import example, tfrecord
from robofume_common.enums import Outcome
from robofume_common.errors import RobofumeError
from robofume_data.bag_reader import read_episodes
from robofume_data.bag_writer import BagWriter
from robofume_data.episode_writer import EpisodeWriter, write_episodes
from robofume_data.importing.bags import BagImporter, whole_bag
from robofume_data.importing.conventions import load_conventions
from robofume_data.importing.conversion import ImportOptions
from robofume_data.importing.lerobot import LeRobotReader
from robofume_data.importing.raw_bags import RawBagConfig, raw_conventions
from robofume_data.importing.rlds import read_shard
from robofume_data.importing.run import Source, import_source
from robofume_data.importing.trajectory import ImportReport
from robofume_data.topics import TOPICS
from robot_recordings import (
    JOINTS,
    SECOND,
    START,
    flag,
    image,
    joint_state,
    pose_at,
    pose_of,
    robot,
    target,
    text,
    write,
)

RAW = raw_conventions(5.0, "none")
BRIDGE = load_conventions("bridge")
LEROBOT = load_conventions("bridge_lerobot")
READER = BagImporter(RawBagConfig(), pose_of)
LEROBOT_DATA = Path(__file__).parent / "lerobot_data"
SENTENCES = (
    "put the pot away", "Größe", "锅を片付ける", "ارفع الوعاء", "🫕" * 40,
    "a\nb", "a\tb\u202e", "x\0y", "  ", "é" * 5000,
)  # fmt: skip


def sound_files(folder: Path) -> dict[str, Path]:
    """One sound source of each kind, made once; the path of what will be mutated."""
    folder.mkdir(parents=True)
    write(folder / "raw_mcap", robot(1.2, compressed=True), "mcap")
    write(folder / "raw_zstd", robot(1.2), "mcap", "storage")
    write(folder / "raw_sqlite", robot(1.2), "sqlite3")
    write_episodes(folder / "own.mcap", [make_episode(0), make_episode(1, outcome=Outcome.TIMEOUT)])
    (folder / "shard.tfrecord").write_bytes(tfrecord(*(example(5, seed=number) for number in range(3))))
    shutil.copy(folder / "raw_mcap" / "raw_mcap.mcap", folder / "alone.mcap")
    for name in ("v3.0_video", "v2.1_image"):
        shutil.copytree(LEROBOT_DATA / name, folder / name)
    return {
        "mcap file": folder / "alone.mcap",
        "mcap in a folder": folder / "raw_zstd" / "raw_zstd.mcap",
        "metadata of a folder": folder / "raw_mcap" / "metadata.yaml",
        "sqlite": next((folder / "raw_sqlite").glob("*.db3")),
        "own bag": folder / "own.mcap",
        "tfrecord": folder / "shard.tfrecord",
        "lerobot video": next((folder / "v3.0_video").glob("videos/*/*/*.mp4")),
        "lerobot numbers": next((folder / "v3.0_video").glob("data/*/*.parquet")),
        "lerobot episodes": next((folder / "v3.0_video").glob("meta/episodes/*/*.parquet")),
        "lerobot info": folder / "v3.0_video" / "meta" / "info.json",
        "lerobot pictures": next((folder / "v2.1_image").glob("data/*/*.parquet")),
        "lerobot tasks": folder / "v2.1_image" / "meta" / "tasks.jsonl",
    }


CHECKED = ("mcap file", "mcap in a folder", "own bag", "tfrecord")
"""Kinds whose bytes have checksums: what comes out without a word must be what went in."""


def source_of(kind: str, path: Path) -> tuple[Source, object]:
    """Source and conventions of a file of `sound_files`; may raise RobofumeError, as the command would."""
    if kind == "tfrecord":
        return Source("x", path, read_shard), BRIDGE
    if kind.startswith("lerobot"):
        root = next(parent for parent in path.parents if (parent / "meta").is_dir())
        reader = LeRobotReader(root)
        return Source("x", reader.parts[0], reader), LEROBOT
    folder = kind in ("mcap in a folder", "metadata of a folder", "sqlite")
    return Source("x", path.parent if folder else path, READER, whole_bag), RAW


def mutated(data: bytes, random: np.random.Generator, others: list[bytes]) -> tuple[str, bytes]:
    """What was done, and the bytes."""
    begin, end = sorted(random.integers(0, len(data) + 1, 2).tolist())
    short = min(len(data), begin + int(random.integers(1, 65)))
    noise = random.bytes(short - begin)
    flipped = bytearray(data)
    for place in random.integers(0, len(data), int(random.integers(1, 21))):
        flipped[place] ^= 1 << int(random.integers(8))
    one = bytearray(data)
    one[min(begin, len(data) - 1)] ^= 1 << int(random.integers(8))
    choices = {
        "cut off": lambda: data[:begin],
        "cut off, then zeros": lambda: data[:begin] + bytes(len(data) - begin),
        "one bit flipped": lambda: bytes(one),
        "bits flipped": lambda: bytes(flipped),
        "some bytes noise": lambda: data[:begin] + noise + data[short:],
        "some bytes zero": lambda: data[:begin] + bytes(short - begin) + data[short:],
        "a part removed": lambda: data[:begin] + data[end:],
        "a part twice": lambda: data[:end] + data[begin:end] + data[end:],
        "parts changed places": lambda: data[end:] + data[begin:end] + data[:begin],
        "noise put in": lambda: data[:begin] + random.bytes(33) + data[begin:],
        "empty": lambda: b"",
        "only zeros": lambda: bytes(len(data)),
        "only noise": lambda: random.bytes(len(data)),
        "of another kind": lambda: others[int(random.integers(len(others)))],
        "noise behind": lambda: data + random.bytes(50),
    }
    name = list(choices)[int(random.integers(len(choices)))]
    return name, choices[name]()


def absurd_recording(random: np.random.Generator, path: Path) -> int:
    """A raw recording in which everything may be wrong; returns how many pictures are in it."""

    def rarely() -> bool:
        return bool(random.random() < 0.15)

    wild = (np.nan, np.inf, -np.inf, 1e300, 0.0)
    messages = []
    jump = 0
    for time, topic, content in robot(1.2, compressed=rarely(), pauses=[(0.4, 0.6)] if rarely() else ()):
        if random.random() < 0.02:
            jump = int(random.choice([-SECOND, SECOND, 10 * SECOND, -START, START, 2**62 - 2 * START]))
        stamp = max(-(2**31), min(2**31 - 1, (time + jump) // SECOND)), (time + jump) % SECOND
        content.header.stamp.sec, content.header.stamp.nanosec = int(stamp[0]), int(stamp[1])
        if topic == "/joint_states" and random.random() < 0.05:
            content.position[int(random.integers(7))] = wild[int(random.integers(len(wild)))]
        elif topic == "/joint_states" and random.random() < 0.03:
            content = joint_state(time, pose_at(0.0)[: int(random.integers(7))], JOINTS[: int(random.integers(7))])
        elif topic != "/joint_states" and random.random() < 0.05 and hasattr(content, "encoding"):
            change = [
                {"encoding": "yuv422"}, {"width": 0}, {"height": 2**32 - 1}, {"step": 1}, {"data": content.data[:7]},
                {"encoding": "mono8"}, {"width": 3, "height": 2},
            ][int(random.integers(7))]  # fmt: skip
            content = dataclasses.replace(content, **change)
        elif topic != "/joint_states" and random.random() < 0.05 and hasattr(content, "encoding"):
            content = image(time, 3, size=(20, 12))
        messages.append((time, topic, content))
    if rarely():
        messages += [(START + SECOND // 2, "/go", flag(True)), (START + SECOND, "/go", flag(False))]
    if rarely():
        goal = [*pose_at(0.5)[:6], wild[int(random.integers(5))]]
        messages.append((START + SECOND // 3, "/controller", target(goal)))
    if rarely():
        messages = [item for item in messages if item[1] != ("/joint_states" if rarely() else "/camera/image")]
    if rarely():  # the name of one topic, the type of another
        messages = [(*item[:2], text("x")) if item[1] == "/joint_states" else item for item in messages]
    if rarely():
        times = random.permutation([item[0] for item in messages]).tolist()
        messages = [(time, *item[1:]) for time, item in zip(times, messages, strict=True)]
    if rarely():
        messages += [messages[index] for index in random.integers(0, max(1, len(messages)), 9) if messages]
    if rarely():
        messages = []
    write(path, messages or [(START, "/chatter", text("x"))], "sqlite3" if rarely() else "mcap")
    return sum(content.__msgtype__.endswith(("msg/Image", "msg/CompressedImage")) for *_, content in messages)


def absurd_own_bag(random: np.random.Generator, path: Path) -> set[str]:
    """A bag of this suite whose messages are missing, doubled and out of order; returns the ids of its episodes."""
    gathered = []

    class Gatherer:
        def add_topic(self, *_):
            pass

        def write(self, topic, data, time):
            gathered.append((topic, data if isinstance(data, bytes) else b"".join(data), time))

        def commit(self):
            pass

    writer = EpisodeWriter(Gatherer())
    episodes = [
        dataclasses.replace(
            make_episode(int(random.integers(4)), int(random.integers(1, 5)), Outcome(int(random.integers(1, 5)))),
            episode_id=f"e{number}",
            instruction=SENTENCES[int(random.integers(len(SENTENCES)))],
        )
        for number in range(3)
    ]
    for episode in episodes:
        success = episode.outcome == Outcome.SUCCESS
        writer.add(dataclasses.replace(episode, success_index=0 if success else -1))
    if random.random() < 0.5:
        gathered = [gathered[index] for index in random.permutation(len(gathered))]
    if random.random() < 0.5:
        gathered = [item for item in gathered if random.random() < 0.97]
    if random.random() < 0.5:
        gathered += [gathered[index] for index in random.integers(0, len(gathered), 3)]
    if random.random() < 0.3:
        index = int(random.integers(len(gathered)))
        data = bytearray(gathered[index][1])
        data[int(random.integers(len(data)))] ^= 1 << int(random.integers(8))
        gathered[index] = (gathered[index][0], bytes(data), gathered[index][2])
    with BagWriter(path) as bag:
        for topic in ("step", "reward", "episode", "ground_truth"):
            bag.add_topic(f"/{topic}", TOPICS[topic])
        for topic, data, time in gathered:
            bag.write(topic, data, time)
    return {episode.episode_id for episode in episodes}


class Hostile:
    """Makes and checks mutants; the sound files are made once."""

    def __init__(self, folder: Path) -> None:
        logging.getLogger("robofume_data").setLevel(logging.ERROR)
        logging.getLogger("libav").setLevel(logging.CRITICAL)
        self._folder = folder
        self._files = sound_files(folder / "sound")
        self._bytes = {kind: path.read_bytes() for kind, path in self._files.items()}
        self._sound = {}
        for kind, path in self._files.items():
            report, episodes = self._imported(*source_of(kind, path))
            assert report.episodes and not report.skipped and not report.error, (kind, report)
            self._sound[kind] = episodes
        self.seen: Counter[str] = Counter()
        """What was made, and what became of it."""

    def check(self, seed: int) -> None:
        """AssertionError that names the seed where the import of its mutant broke a promise."""
        random = np.random.default_rng(seed)
        try:
            kind = int(random.integers(len(self._files) + 6))
            if kind < len(self._files):
                self._check_bytes(list(self._files)[kind], random)
            elif kind < len(self._files) + 4:
                self._check_absurd_recording(random)
            else:
                self._check_absurd_own_bag(random)
        except Exception as error:
            raise AssertionError(f"seed {seed}: {type(error).__name__}: {error}") from error

    def _check_bytes(self, kind: str, random: np.random.Generator) -> None:
        others = [data for name, data in self._bytes.items() if name != kind]
        what, data = mutated(self._bytes[kind], random, others)
        path = self._files[kind]
        path.write_bytes(data)
        try:
            try:
                source, conventions = source_of(kind, path)
            except RobofumeError as error:
                self._is_a_sentence(str(error))
                self.seen[f"{kind}: refused"] += 1
                return
            report, episodes = self._imported(source, conventions)
        finally:
            path.write_bytes(self._bytes[kind])
        self._note(kind, report)
        if report.error or report.skipped or report.counters:
            return
        if what == "of another kind":
            return
        sound = self._sound[kind]
        assert [item.length for item in episodes] == [item.length for item in sound], f"{kind}, {what}: lost in silence"
        if kind in CHECKED:
            for one, other in zip(episodes, sound, strict=True):
                assert np.array_equal(one.images, other.images), f"{kind}, {what}: other pictures"
                assert np.array_equal(one.actions, other.actions), f"{kind}, {what}: other actions"
                assert one.instruction == other.instruction, f"{kind}, {what}: another sentence"

    def _check_absurd_recording(self, random: np.random.Generator) -> None:
        shutil.rmtree(self._folder / "absurd", ignore_errors=True)
        path = self._folder / "absurd" / "recording"
        path.parent.mkdir()
        pictures = absurd_recording(random, path)
        config = RawBagConfig(rate=0.0, episode_topic="/go" if random.random() < 0.1 else "")
        report, episodes = self._imported(Source("x", path, BagImporter(config, pose_of)), RAW)
        self._note("absurd recording", report)
        if report.error:
            return
        kept = sum(item.length + 1 for item in episodes)
        refused = [item for item in report.skipped if item.name.startswith("recording-")]
        counted = sum(
            int(number)
            for number, _, what in (item.name.partition(" ") for item in report.skipped)
            if what.startswith(("pictures", "repeated pictures"))
        )
        single = sum(item.reason == "it has a single picture" for item in refused)
        if len(refused) == single:  # of an episode that was refused it is not said how many pictures it had
            assert kept + counted + single == pictures, f"{pictures} pictures: {kept} kept, {counted + single} told"
        else:
            assert kept + counted + single < pictures, f"{pictures} pictures, {kept} kept"

    def _check_absurd_own_bag(self, random: np.random.Generator) -> None:
        path = self._folder / "absurd_own.mcap"
        path.unlink(missing_ok=True)
        ids = absurd_own_bag(random, path)
        report, episodes = self._imported(Source("x", path, READER, whole_bag), RAW)
        self._note("absurd own bag", report)
        found = {item.episode_id for item in episodes}
        unnamed = {item.name for item in report.skipped if item.name not in ids}
        missing = ids - found - {item.name for item in report.skipped}
        assert not missing or unnamed or report.error, f"{missing} lost in silence"

    def _imported(self, source: Source, conventions: object) -> tuple[ImportReport, list]:
        out = self._folder / "out"
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        report = import_source(source, out, conventions, ImportOptions(instruction="do it"), disk_floor=0)
        for sentence in (report.error, *(item.reason for item in report.skipped)):
            if sentence:
                self._is_a_sentence(sentence)
        assert report.error or report.skipped or report.episodes, "nothing was said"
        episodes = list(read_episodes(out)) if report.episodes else []
        assert len(episodes) == report.episodes, f"{report.episodes} told, {len(episodes)} in the bag"
        assert sum(item.length for item in episodes) == report.steps
        return report, episodes

    def _note(self, kind: str, report: ImportReport) -> None:
        whole = not (report.error or report.skipped or report.counters)
        self.seen[f"{kind}: {'whole' if whole else 'in part' if report.episodes else 'nothing, told'}"] += 1

    @staticmethod
    def _is_a_sentence(words: str) -> None:
        assert words.strip() and "\n" not in words and len(words) < 2000, f"no sentence: {words!r}"
