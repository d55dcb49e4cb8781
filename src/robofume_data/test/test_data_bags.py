"""Bags give back what was put in, also when they were cut off, and say what is wrong with them."""

import dataclasses
import logging
import struct

import numpy as np
import pytest
from mcap.opcode import Opcode
from mcap.reader import make_reader
from recorded_episodes import make_episode
from robofume_common.enums import Outcome, Phase, RewardSource, Verdict
from robofume_common.errors import RobofumeError
from robofume_data.bag_reader import Bag, read_episodes
from robofume_data.bag_writer import BagWriter, DiskFullError, next_path, prepare_folder
from robofume_data.check import check_bags
from robofume_data.episode import EpisodeData
from robofume_data.episode_writer import EpisodeWriter, write_episodes
from robofume_data.message_definitions import definition
from robofume_data.topics import TOPICS
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

EPISODES = [
    make_episode(0),
    make_episode(1, 3, Outcome.TIMEOUT),
    make_episode(2, 0, Outcome.ABORTED),
    make_episode(3),
]


def assert_same(read: list[EpisodeData], written: list[EpisodeData]) -> None:
    assert [episode.episode_id for episode in read] == [episode.episode_id for episode in written]
    for one, other in zip(read, written, strict=True):
        for field in dataclasses.fields(EpisodeData):
            a, b = getattr(one, field.name), getattr(other, field.name)
            if isinstance(b, np.ndarray):
                assert a.dtype == b.dtype, field.name
            np.testing.assert_array_equal(a, b, err_msg=field.name)


@pytest.fixture
def bag(tmp_path):
    path = tmp_path / "practice_0000.mcap"
    assert write_episodes(path, EPISODES) == 4
    return path


def test_round_trip(bag):
    assert_same(list(read_episodes(bag)), EPISODES)


def test_filters(bag):
    assert_same(list(read_episodes(bag, phases=[Phase.FORWARD])), EPISODES[::2])
    assert_same(list(read_episodes(bag, outcomes=[Outcome.TIMEOUT, Outcome.ABORTED])), EPISODES[1:3])
    assert_same(list(read_episodes(bag, {Phase.BACKWARD}, {Outcome.SUCCESS})), EPISODES[3:])


def test_folders_are_read_in_order(tmp_path):
    for number in (10, 2, 0):
        write_episodes(tmp_path / f"practice_{number:04d}.mcap", [make_episode(number)])
    (tmp_path / "other").mkdir()
    write_episodes(tmp_path / "other" / "demos_0000.mcap", [make_episode(5)])
    (tmp_path / "notes.txt").write_text("not a bag")
    names = [episode.episode_id for episode in read_episodes([tmp_path / "practice_0010.mcap", tmp_path])]
    assert names == [f"practice-{number:05d}" for number in (10, 5, 0, 2, 10)]


def test_a_file_cut_at_any_byte_keeps_every_closed_episode(tmp_path, caplog):
    caplog.set_level(logging.ERROR)
    path = tmp_path / "whole.mcap"
    ends = []
    with BagWriter(path) as writer:
        episodes = EpisodeWriter(writer)
        for episode in EPISODES:
            episodes.add(episode)
            ends.append(path.stat().st_size)
    data = path.read_bytes()
    cut = tmp_path / "cut.mcap"
    random = np.random.default_rng(0)
    places = {*random.integers(9, len(data), 50).tolist(), *ends, *(end - 1 for end in ends), len(data) - 1}
    for place in sorted(places):
        cut.write_bytes(data[:place])
        bag = Bag(cut)
        whole = sum(end <= place for end in ends)
        # The last chunk is whole a little before its index is.
        read = list(bag.episodes())
        assert len(read) in (whole, whole + 1), place
        assert_same(read, EPISODES[: len(read)])
        assert bag.truncated or place > ends[-1], place


def test_episodes_that_were_not_closed_are_skipped_and_counted(tmp_path, caplog):
    path = tmp_path / "open.mcap"
    with BagWriter(path) as writer:
        episodes = EpisodeWriter(writer)
        episodes.add(EPISODES[0])
        write = writer.write
        # No end for the second, no step 2 for the third.
        writer.write = lambda topic, *rest: None if topic == "/episode" else write(topic, *rest)
        episodes.add(EPISODES[1])
        count = iter(range(100))
        writer.write = lambda topic, *rest: None if topic == "/step" and next(count) == 2 else write(topic, *rest)
        episodes.add(EPISODES[3])
        writer.write = write
    bag = Bag(path)
    assert_same(list(bag.episodes()), EPISODES[:1])
    assert bag.incomplete == {
        EPISODES[1].episode_id: "it was never closed",
        EPISODES[3].episode_id: "steps are missing",
    }
    assert "2 episodes are not whole" in caplog.text
    assert not bag.truncated


def end_of(episode: EpisodeData, path) -> bytes:
    """Its Episode, as it is in a bag."""
    write_episodes(path, [episode])
    return next(bytes(raw.data) for raw, _ in Bag(path).messages(["episode"]))


def write_without_its_end(path, said_before: bytes | None, whole: list[EpisodeData], cut: EpisodeData | None) -> None:
    """A start of the graph, which ended before the last episode was closed; at its beginning an end is said again."""
    with BagWriter(path) as writer:
        episodes, write = EpisodeWriter(writer), writer.write
        if said_before:
            write("/episode", said_before)
        for episode in whole:
            episodes.add(episode)
        if cut:
            writer.write = lambda topic, *rest: None if topic == "/episode" else write(topic, *rest)
            episodes.add(cut)
            writer.write = write


def test_an_end_that_is_said_again_at_the_next_start_closes_the_episode(tmp_path):
    run, end = tmp_path / "run", end_of(EPISODES[1], tmp_path / "other.mcap")
    run.mkdir()
    write_without_its_end(run / "practice_0000.mcap", None, EPISODES[:1], EPISODES[1])
    write_without_its_end(run / "practice_0001.mcap", None, [], None)  # one that ended before it began
    write_without_its_end(run / "practice_0002.mcap", end, EPISODES[2:], None)
    (run / "practice_other_0001.mcap").write_text("no bag, and none of these")
    assert [episode.episode_id for episode in Bag(run / "practice_0000.mcap").episodes()] == [
        "practice-00000", "practice-00001"
    ]  # fmt: skip
    (run / "practice_other_0001.mcap").unlink()
    read = [dataclasses.replace(episode, closed=0) for episode in read_episodes(run)]
    assert_same(read, [dataclasses.replace(episode, closed=0) for episode in EPISODES])
    assert all(report.is_sound and not report.warnings for report in check_bags(run)), "it is missed nowhere"
    (run / "practice_0001.mcap").write_text("a bag that cannot be read")
    assert len(list(Bag(run / "practice_0000.mcap").episodes())) == 1, "costs none of the one before"


def test_an_end_that_is_said_twice_closes_the_episode_once(tmp_path):
    end, path = end_of(EPISODES[0], tmp_path / "other.mcap"), tmp_path / "practice_0000.mcap"
    with BagWriter(path) as writer:
        episodes = EpisodeWriter(writer)
        episodes.add(EPISODES[0])
        writer.write("/episode", end)  # as a switcher that was killed does, at any time
        episodes.add(EPISODES[1])
    assert_same(list(read_episodes(path)), EPISODES[:2])
    with BagWriter(tmp_path / "practice_0001.mcap") as writer:
        episodes = EpisodeWriter(writer)
        writer.write("/episode", end)
        episodes.add(EPISODES[2])
    assert_same(list(read_episodes(tmp_path / "practice_0001.mcap")), EPISODES[2:3])
    assert not check_bags(tmp_path / "practice_0001.mcap")[0].warnings
    (tmp_path / "other.mcap").unlink()
    assert_same(list(read_episodes(tmp_path)), EPISODES[:3])


def add_label(writer: BagWriter, episode_id: str, index: int, verdict: int) -> None:
    typestore = get_typestore(Stores.EMPTY)
    typestore.register(get_types_from_msg(definition(TOPICS["label"]), TOPICS["label"]))
    message = typestore.types[TOPICS["label"]](episode_id=episode_id, index=index, verdict=verdict, author="ann")
    writer.write("/label", bytes(typestore.serialize_cdr(message, TOPICS["label"])), 1)


def test_a_label_that_says_nothing_does_not_cost_the_bag(tmp_path, caplog):
    path = tmp_path / "practice_0000.mcap"
    with BagWriter(path) as writer:
        writer.add_topic("/label", TOPICS["label"])
        episodes = EpisodeWriter(writer)
        for episode in EPISODES:
            episodes.add(episode)
        add_label(writer, EPISODES[0].episode_id, 1, 9)
        add_label(writer, EPISODES[1].episode_id, -7, Verdict.SUCCESS)
        add_label(writer, EPISODES[1].episode_id, 2, Verdict.UNKNOWN)
    bag = Bag(path)
    read = list(bag.episodes())
    assert [episode.episode_id for episode in read] == [episode.episode_id for episode in EPISODES]
    assert_same(read[:1], EPISODES[:1])
    assert np.flatnonzero(read[1].sources == RewardSource.HUMAN).tolist() == [2]
    assert bag.malformed_labels == 2 and "2 labels" in caplog.text
    (found,) = check_bags(path)
    assert found.is_sound and "2 labels name no step or no verdict and are left out" in found.warnings


def test_missing_empty_and_foreign_files_are_refused_with_a_sentence(tmp_path):
    with pytest.raises(RobofumeError, match=r"There is no bag .*none\.mcap"):
        read_episodes(tmp_path / "none.mcap")  # at once, not when it is first read
    with pytest.raises(RobofumeError, match="There are no bags"):
        read_episodes([tmp_path])
    empty = tmp_path / "empty.mcap"
    empty.touch()
    with pytest.raises(RobofumeError, match="is empty"):
        list(read_episodes(empty))
    for content in (b"x", b"x" * 5000):
        (tmp_path / "foreign.mcap").write_bytes(content)
        with pytest.raises(RobofumeError, match="not an MCAP bag"):
            list(read_episodes(tmp_path / "foreign.mcap"))
    assert list(read_episodes([])) == []


def test_damage_in_the_middle_is_told(bag):
    data = bytearray(bag.read_bytes())
    refused = 0
    for place in range(60, len(data) // 2, 997):
        damaged = data.copy()
        damaged[place : place + 20] = bytes(255 - value for value in damaged[place : place + 20])
        bag.write_bytes(damaged)
        try:
            read = list(Bag(bag).episodes())
        except RobofumeError as error:
            assert "is damaged" in str(error) or "not whole" in str(error)
            refused += 1
        else:  # a length that points past the end looks like a file that was cut off
            assert_same(read, EPISODES[: len(read)])
    assert refused > 0


@pytest.mark.parametrize("kind", [*(Opcode.CHUNK ^ 1 << bit for bit in range(8)), Opcode.DATA_END, Opcode.SCHEMA])
def test_a_chunk_is_never_passed_over_in_silence(bag, kind):
    """Its kind stands outside of its checksum, and a reader passes over kinds that it does not know."""
    data = bytearray(bag.read_bytes())
    chunks = [begin for begin, opcode in records(bytes(data)) if opcode == Opcode.CHUNK]
    data[chunks[1]] = kind
    bag.write_bytes(data)
    with pytest.raises(RobofumeError, match="is damaged"):
        list(read_episodes(bag))


def test_a_chunk_whose_head_is_zeros_is_not_an_empty_one(bag):
    """No length, no checksum and no compression: what a sector that was never written leaves."""
    data = bytearray(bag.read_bytes())
    chunks = [begin for begin, opcode in records(bytes(data)) if opcode == Opcode.CHUNK]
    data[chunks[1] + 9 : chunks[1] + 60] = bytes(51)
    bag.write_bytes(data)
    with pytest.raises(RobofumeError, match="is damaged"):
        list(read_episodes(bag))


def records(data: bytes):
    """Begin and kind of each record of an MCAP file."""
    position = 8
    while position < len(data) - 8:
        kind, length = struct.unpack_from("<BQ", data, position)
        yield position, kind
        position += 9 + length


def test_the_writer_never_replaces_a_bag_and_counts_up(tmp_path):
    folder = prepare_folder(tmp_path / "new" / "bags")
    assert next_path(folder, "practice").name == "practice_0000.mcap"
    for index in (0, 7):
        BagWriter(folder / f"practice_{index:04d}.mcap").close()
    BagWriter(folder / "practice_left_0011.mcap").close()
    assert next_path(folder, "practice").name == "practice_0008.mcap"
    with pytest.raises(RobofumeError, match="exists already"):
        BagWriter(folder / "practice_0007.mcap")
    assert not list(folder.glob("*.part"))


def test_an_unusable_folder_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RobofumeError, match="Cannot write bags to"):
        prepare_folder(tmp_path / "file" / "bags")


def test_the_disk_floor_stops_recording_and_the_bag_stays_readable(tmp_path, monkeypatch):
    free = 10**9
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": free}))
    path = tmp_path / "full.mcap"
    with BagWriter(path, disk_floor=10**8) as writer:
        episodes = EpisodeWriter(writer)
        episodes.add(EPISODES[0])
        free = 10**7
        with pytest.raises(DiskFullError, match="10 MiB are free"):
            for number in range(100):
                episodes.add(make_episode(number + 10, size=200))
    read = list(read_episodes(path))
    assert_same(read[:1], EPISODES[:1])
    with pytest.raises(DiskFullError):
        BagWriter(tmp_path / "next.mcap", disk_floor=10**8)


def test_a_closed_bag_has_a_summary_and_documented_schemas(bag):
    with bag.open("rb") as file:
        reader = make_reader(file)
        assert reader.get_header().profile == "ros2"
        summary = reader.get_summary()
    assert summary.statistics.message_count == sum(3 * (episode.length + 1) + 1 for episode in EPISODES)
    assert summary.statistics.chunk_count == len(summary.chunk_indexes) == 4
    schema = next(item for item in summary.schemas.values() if item.name.endswith("/Step"))
    assert schema.encoding == "ros2msg"
    text = schema.data.decode()
    assert "The record of one control step" in text
    assert {line.removeprefix("MSG: ") for line in text.splitlines() if line.startswith("MSG: ")} == {
        "builtin_interfaces/Time",
        "sensor_msgs/Image",
        "std_msgs/Header",
    }


def test_every_recorded_type_has_a_definition():
    for type_name in TOPICS.values():
        assert definition(type_name)
    with pytest.raises(RobofumeError, match="Cannot find the message nothing/msg/Nothing"):
        definition("nothing/msg/Nothing")
