"""What the writer writes is an MCAP file to everybody, packed where that is worth it."""

import dataclasses

import numpy as np
import pytest
from mcap.reader import make_reader
from recorded_episodes import make_episode
from robofume_data.bag_reader import decode, read_episodes
from robofume_data.bag_writer import BagWriter
from robofume_data.episode_writer import write_episodes
from robofume_data.mcap_records import McapFile
from robofume_data.message_definitions import definition
from robofume_data.topics import TOPICS
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

SIZE = 400_000


@pytest.mark.parametrize(("noisy", "compression"), [(True, ""), (False, "zstd")])
def test_chunks_are_packed_where_that_is_worth_it(tmp_path, noisy, compression):
    random = np.random.default_rng(0)
    messages = [
        random.integers(0, 256 if noisy else 8, SIZE + number, np.uint8).tobytes() for number in range(7)
    ]  # as large as pictures, so that there are several chunks
    path = tmp_path / "bag.mcap"
    with BagWriter(path) as writer:
        writer.add_topic("/step", TOPICS["step"])
        for number, data in enumerate(messages):
            view = memoryview(data)
            writer.write("/step", (view[:10], view[10:399_000], view[399_000:]), 100 - number)
        assert writer.bytes == sum(map(len, messages))
    with path.open("rb") as file:
        reader = make_reader(file, validate_crcs=True)
        found = list(reader.iter_messages(log_time_order=False))
        summary = reader.get_summary()
    assert [message.data for *_, message in found] == messages
    assert [message.sequence for *_, message in found] == list(range(7))
    assert {index.compression for index in summary.chunk_indexes} == {compression}
    assert len(summary.chunk_indexes) == 3
    assert (summary.statistics.message_start_time, summary.statistics.message_end_time) == (94, 100)
    assert summary.statistics.channel_message_counts == {1: 7}
    with path.open("rb") as file:  # by the indices of messages
        later = list(make_reader(file).iter_messages(starting_at=97, ending_before=99))
    assert [message.log_time for *_, message in later] == [97, 98]
    assert [bytes(raw.data) for raw in McapFile(path)] == messages


def test_after_a_chunk_that_was_not_packed_seven_are_not_sampled(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, 2**20, np.uint8).tobytes()
    path = tmp_path / "bag.mcap"
    with BagWriter(path) as writer:
        writer.add_topic("/step", TOPICS["step"])
        for data in (noise, *[bytes(2**20)] * 9):
            writer.write("/step", data, 1)
    with path.open("rb") as file:
        summary = make_reader(file).get_summary()
    assert [index.compression for index in summary.chunk_indexes] == [""] * 8 + ["zstd"] * 2
    assert [len(raw.data) for raw in McapFile(path)] == [2**20] * 10


@pytest.mark.parametrize("width", range(1, 9))
def test_a_step_in_parts_is_the_step_as_a_whole(tmp_path, width):
    path = tmp_path / "bag.mcap"
    episode = make_episode(width, 2)
    images = np.random.default_rng(width).integers(0, 256, (3, 3, width, 3), np.uint8)
    episode = dataclasses.replace(episode, images=images, instruction="ü" * width)
    write_episodes(path, [episode])
    (read,) = read_episodes(path)
    np.testing.assert_array_equal(read.images, images)
    store = get_typestore(Stores.EMPTY)
    store.register(get_types_from_msg(definition(TOPICS["step"]), TOPICS["step"]))
    steps = [raw for raw in McapFile(path) if raw.type_name == TOPICS["step"]]
    assert len(steps) == 3
    for raw in steps:
        assert bytes(store.serialize_cdr(decode(raw), raw.type_name)) == bytes(raw.data)


def test_a_topic_without_messages_is_in_the_summary(tmp_path):
    with BagWriter(tmp_path / "bag.mcap") as writer:
        writer.add_topic("/step", TOPICS["step"])
    with (tmp_path / "bag.mcap").open("rb") as file:
        summary = make_reader(file).get_summary()
    assert [channel.topic for channel in summary.channels.values()] == ["/step"]
    assert summary.statistics.message_count == 0
