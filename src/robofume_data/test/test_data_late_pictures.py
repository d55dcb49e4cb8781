"""Pictures of a recording that are read when they are written; the memory that they are read into is used again."""

import dataclasses

import numpy as np
import pytest
from robofume_data.bag_reader import read_episodes
from robofume_data.importing.bag_messages import open_recording
from robofume_data.importing.bags import BagImporter
from robofume_data.importing.conversion import ImportOptions
from robofume_data.importing.late_pictures import LatePictures
from robofume_data.importing.memory import Pool
from robofume_data.importing.raw_bags import RawBagConfig, raw_conventions
from robofume_data.importing.run import Source, import_source
from robofume_data.importing.trajectory import SourceLostError
from robot_recordings import SECOND, START, image, pose_of, robot, write

CONVENTIONS = raw_conventions(5.0, "none")
READER = BagImporter(RawBagConfig(), pose_of)


def pictures_of(bag) -> np.ndarray:
    (episode,) = READER(bag, CONVENTIONS)
    return episode.images


def test_memory_comes_back_when_its_last_view_is_gone():
    pool = Pool(1000)
    first = pool.take(600)
    address = first.ctypes.data
    view = first.reshape(20, 30)[3, :7]
    part = memoryview(view)
    del first, view
    assert pool.take(10).ctypes.data != address
    del part
    second = pool.take(500)
    assert second.shape == (500,)
    assert second.ctypes.data == address


def test_no_more_memory_is_kept_than_was_said():
    pool = Pool(1000)
    lent = [pool.take(600), pool.take(600)]
    addresses = [item.ctypes.data for item in lent]
    lent.clear()
    kept = pool.take(600)
    assert kept.ctypes.data in addresses
    assert not pool._free


def test_late_pictures_have_what_writing_an_episode_takes():
    made = np.arange(4 * 2 * 3 * 3, dtype=np.uint8).reshape(4, 2, 3, 3)
    late = LatePictures(2, 3)
    for picture in made:
        late.add(lambda picture=picture: picture)
    assert (late.shape, late.dtype, len(late), late.nbytes) == (made.shape, made.dtype, 4, made.nbytes)
    np.testing.assert_array_equal(late[2], made[2])
    np.testing.assert_array_equal(np.asarray(late), made)
    np.testing.assert_array_equal(np.asarray(late[1:]), made[1:])
    with pytest.raises(IndexError):
        late[4]
    late.add(lambda: made[0, :1])
    with pytest.raises(SourceLostError, match="has changed"):
        late[4]


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
@pytest.mark.parametrize("compression", [None, "storage"])
def test_plain_pictures_of_one_size_are_read_late(tmp_path, storage, compression):
    if storage == "sqlite3" and compression:
        pytest.skip("rosbag2 compresses blocks of MCAP alone")
    bag = write(tmp_path / "bag", robot(2.0), storage, compression)
    images = pictures_of(bag)
    assert isinstance(images, LatePictures) == (storage == "mcap")
    assert [int(picture[0, 0, 1]) for picture in images] == list(range(0, 30, 3))
    held = list(images)  # those that are held are not written over by the next
    assert [int(picture[0, 0, 1]) for picture in held] == list(range(0, 30, 3))


@pytest.mark.parametrize("change", ["size", "encoding", "compressed"])
def test_other_pictures_are_read_at_once(tmp_path, change):
    other = {
        "size": image(START + SECOND, 9, size=(12, 16)),
        "encoding": dataclasses.replace(image(START + SECOND, 9), encoding="rgb8"),
        "compressed": None,
    }[change]
    extra = [(0.99, "/camera/image", other)] if other else []
    bag = write(tmp_path / "bag", robot(2.0, extra=extra, compressed=other is None))
    recording = open_recording(bag)
    list(recording.messages((), "/camera/image"))
    assert not recording.are_alike("/camera/image")
    assert not any(isinstance(getattr(item, "images", None), LatePictures) for item in READER(bag, CONVENTIONS))


def test_a_recording_that_changes_while_it_is_imported_is_told_and_leaves_no_bag(tmp_path):
    bag = write(tmp_path / "bag", robot(2.0))

    def read(path, conventions):
        for episode in READER(path, conventions):
            next(path.glob("*.mcap")).write_bytes(b"")
            yield episode

    out = tmp_path / "out"
    out.mkdir()
    report = import_source(
        Source("bag", bag, read), out, CONVENTIONS, ImportOptions(instruction="put the pot away"), disk_floor=0
    )
    assert "was not imported: A picture that was there cannot be read any more" in report.error
    assert (report.episodes, report.steps) == (0, 0)
    assert [path.name for path in out.iterdir()] == ["bag.import.json"]


def test_a_judge_sees_the_pictures_that_are_written(tmp_path):
    bag = write(tmp_path / "bag", robot(2.0))
    seen = []

    def judge(images, _):
        seen.append(images)
        return np.zeros(len(images)), np.ones(len(images), np.uint8)

    out = tmp_path / "out"
    out.mkdir()
    options = ImportOptions(instruction="put the pot away")
    import_source(Source("bag", bag, READER), out, CONVENTIONS, options, disk_floor=0, judge=judge)
    (episode,) = read_episodes(out)
    assert isinstance(seen[0], np.ndarray)
    np.testing.assert_array_equal(seen[0], episode.images)
