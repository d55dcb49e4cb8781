"""Recordings of a robot become episodes by explicit rules, whatever rosbag2 stored them in."""

import contextlib
import dataclasses
import os
import shutil
import socket
import sqlite3

import numpy as np
import pytest
from recorded_episodes import make_episode
from robofume_common.enums import Outcome, Verdict
from robofume_common.errors import RobofumeError
from robofume_data.bag_reader import read_episodes
from robofume_data.bag_writer import BagWriter
from robofume_data.episode_writer import write_episodes
from robofume_data.importing.bag_messages import find_recordings
from robofume_data.importing.bags import BagImporter, whole_bag
from robofume_data.importing.conversion import ImportOptions
from robofume_data.importing.raw_bags import RawBagConfig, raw_conventions, recording_name
from robofume_data.importing.run import KEPT, Source, import_sources
from robofume_data.labels import write_labels
from robofume_data.mcap_records import McapFile
from robot_recordings import (
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
)  # fmt: skip

CONFIG = RawBagConfig()
OPTIONS = ImportOptions(task="pot", direction=1, instruction="put the pot away")


def imported(path, folder, config=CONFIG, options=OPTIONS, labels="none"):
    reader = BagImporter(config, pose_of)
    sources = [Source(recording_name(item), item, reader) for item in find_recordings(path)]
    conventions = raw_conventions(config.rate, labels)
    reports = list(import_sources(sources, folder, conventions, options, disk_floor=0))
    for report in reports:
        assert not report.error, report.error
    return reports, list(read_episodes(folder)) if any(report.episodes for report in reports) else []


def lost(report) -> dict[str, int]:
    """What the report says does not fit, by its name."""
    counted = [item.name.partition(" ") for item in report.skipped if item.name[0].isdigit()]
    return {what: int(number) for number, _, what in counted}


@pytest.mark.parametrize(
    ("storage", "compression", "compressed"),
    [
        ("mcap", None, False),
        ("mcap", "storage", True),
        ("sqlite3", None, True),
        ("sqlite3", "message", False),
        ("sqlite3", "file", False),
    ],
)
def test_every_storage_gives_the_same_episode(tmp_path, storage, compression, compressed):
    bag = write(tmp_path / "bag", robot(compressed=compressed), storage, compression)
    reports, (episode,) = imported(bag, tmp_path / "out")
    assert reports[0].skipped == []
    # 6 s at 5 Hz of a 15 Hz camera: every third picture.
    assert episode.length == 29
    assert episode.images[:, 0, 0, 1].tolist() == list(range(0, 90, 3))
    if not compressed:
        assert (episode.images[..., 0] == 0).all()  # bgr was put right
    assert episode.stamps.tolist() == [START + round(index / 15 * SECOND) for index in range(0, 90, 3)]
    times = np.arange(30) / 5
    np.testing.assert_allclose(episode.proprioception, [pose_at(time) for time in times], atol=1e-6)
    np.testing.assert_allclose(episode.actions[:, 0], 0.002, atol=1e-6)
    np.testing.assert_allclose(episode.actions[:, 6], [pose_at(time)[6] for time in times[1:]], atol=1e-6)
    assert (episode.task, episode.instruction, episode.outcome) == ("pot", "put the pot away", Outcome.UNKNOWN)


def test_a_recording_without_definitions_is_read(tmp_path):
    bag = write(tmp_path / "bag", robot(2.0), "sqlite3")
    with contextlib.closing(sqlite3.connect(next(bag.glob("*.db3")))) as database, database:
        database.execute("DELETE FROM message_definitions")
    _, (episode,) = imported(bag, tmp_path / "out")
    assert episode.length == 9


def test_folders_of_recordings_become_one_bag_each(tmp_path):
    write(tmp_path / "in" / "one", robot(2.0))
    write(tmp_path / "in" / "more" / "two", robot(3.0), "sqlite3")
    shutil.copy(tmp_path / "in" / "one" / "one.mcap", tmp_path / "in" / "three.mcap")
    reports, episodes = imported(tmp_path / "in", tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").glob("*.mcap")) == ["one.mcap", "three.mcap", "two.mcap"]
    assert [report.steps for report in reports] == [14, 9, 9] or sorted(r.steps for r in reports) == [9, 9, 14]
    assert len(episodes) == 3


def test_gaps_and_step_limits_cut_episodes(tmp_path):
    bag = write(tmp_path / "bag", robot(10.0, pauses=[(4.0, 7.0)]))
    _, episodes = imported(bag, tmp_path / "gap")
    assert [episode.length for episode in episodes] == [19, 14]
    _, episodes = imported(bag, tmp_path / "limit", dataclasses.replace(CONFIG, step_limit=8))
    assert [episode.length for episode in episodes] == [8, 8, 1, 8, 5]


def test_an_episode_ends_where_no_step_can_be_made_for_longer_than_the_gap(tmp_path):
    def without_joint_states(begin, end):
        away = START + begin * SECOND, START + end * SECOND
        return [item for item in robot(12.0) if item[1] != "/joint_states" or not away[0] < item[0] < away[1]]

    bag = write(tmp_path / "long", without_joint_states(4, 9))
    reports, episodes = imported(bag, tmp_path / "a")
    assert len(episodes) == 2
    assert max(np.diff(episode.stamps).max() for episode in episodes) < SECOND // 2
    assert lost(reports[0])["pictures without joint state"] == 59
    # A shorter one does not, nor do slow steps.
    _, episodes = imported(write(tmp_path / "short", without_joint_states(4, 6)), tmp_path / "b")
    assert len(episodes) == 1
    _, episodes = imported(bag, tmp_path / "slow", dataclasses.replace(CONFIG, rate=0.3))
    assert [episode.length for episode in episodes] == [3]


def test_a_topic_or_a_label_file_says_where_episodes_begin(tmp_path):
    marks = [(1.0, "/go", flag(True)), (3.0, "/go", flag(False)), (4.0, "/go", flag(True))]
    told = [(0.5, "/told", text("first")), (3.9, "/told", text("zweitens: Größe"))]
    bag = write(tmp_path / "bag", robot(6.0, extra=[*marks, *told]))
    config = dataclasses.replace(CONFIG, episode_topic="/go", instruction_topic="/told")
    reports, episodes = imported(bag, tmp_path / "topic", config, dataclasses.replace(OPTIONS, instruction=""))
    assert [episode.instruction for episode in episodes] == ["first", "zweitens: Größe"]
    assert [episode.length for episode in episodes] == [9, 9]
    assert lost(reports[0]) == {"pictures outside of episodes": 30}
    labels = tmp_path / "labels.yaml"
    labels.write_text(
        "- {start: 0, end: 2, instruction: 锅, success: true}\n- {start: 3, end: 5, success: false, instruction: b}\n"
    )
    config = dataclasses.replace(CONFIG, label_file=str(labels))
    reports, (good, bad) = imported(bag, tmp_path / "file", config, dataclasses.replace(OPTIONS, instruction=""))
    assert (good.instruction, good.outcome, good.success_index) == ("锅", Outcome.SUCCESS, 7)
    assert (bad.instruction, bad.outcome) == ("b", Outcome.TIMEOUT)
    assert lost(reports[0]) == {"pictures outside of episodes": 30}


def test_a_wrong_label_file_is_refused_with_its_entry(tmp_path):
    bag = write(tmp_path / "bag", robot(1.0))
    for number, content in enumerate(
        ("- {start: 2, end: 1}", "- {begin: 1}", "- 7", "a: [", "x", "- {start: a, end: 1}")
    ):
        labels = tmp_path / f"{number}.yaml"
        labels.write_text(content)
        with pytest.raises(AssertionError, match="label file"):
            imported(bag, tmp_path / "out", dataclasses.replace(CONFIG, label_file=str(labels)))


def test_targets_that_were_commanded_are_the_actions(tmp_path):
    goal = pose_at(0.0)
    goal[:3] += [0.03, -0.02, 0.01]
    bag = write(tmp_path / "bag", robot(2.0, extra=[(0.45, "/controller", target(goal))]))
    _, (episode,) = imported(bag, tmp_path / "out")
    np.testing.assert_allclose(episode.actions[2, :3], goal[:3] - pose_at(0.4)[:3], atol=1e-6)
    np.testing.assert_allclose(episode.actions[[0, 1, 3, 4], 0], 0.002, atol=1e-6)


def test_what_fits_no_step_is_counted(tmp_path):
    strange = [
        (0.51, "/joint_states", joint_state(START + SECOND // 2, [0.0] * 3, ("a", "b", "c"))),
        (0.52, "/joint_states", joint_state(START + SECOND // 2, [np.nan] * 7)),
        (1.01, "/camera/image", dataclasses.replace(image(START + SECOND + 10, 3), encoding="yuv422")),
        (2.91, "/camera/image", image(START + 9 * SECOND, 3)),
        (2.99, "/camera/image", image(START + 9 * SECOND + SECOND // 2, 3)),
    ]
    bag = write(tmp_path / "bag", robot(3.0, extra=strange))
    reports, episodes = imported(bag, tmp_path / "out", dataclasses.replace(CONFIG, rate=0.0))
    assert lost(reports[0]) == {
        "joint states without the arm": 2,
        "pictures that cannot be decoded": 1,
        "pictures without joint state": 2,
    }
    assert sum(episode.length + 1 for episode in episodes) in (44, 45)


def test_a_clock_that_jumps_and_a_picture_that_changes_its_size_begin_another_episode(tmp_path):
    messages = list(robot(4.0))
    for index, (time, topic, _) in enumerate(messages):
        if topic == "/camera/image" and time - START > 2 * SECOND:
            stamp = time - 5_000_000
            messages[index] = (time, topic, image(stamp, 7, size=(20, 12)))
    _, episodes = imported(write(tmp_path / "size", messages), tmp_path / "a")
    assert [episode.images.shape[1:3] for episode in episodes] == [(12, 16), (12, 20)]
    back = [(time + 10 * SECOND, topic, content) for time, topic, content in robot(2.0)]
    _, episodes = imported(write(tmp_path / "back", [*robot(2.0), *back]), tmp_path / "b")
    assert [episode.length for episode in episodes] == [9, 9]


def test_topics_that_are_missing_or_unclear_are_named(tmp_path):
    two = write(tmp_path / "two", robot(1.0, extra=[(0.1, "/other/image", image(START, 1))]))
    for path, config, words in (
        (two, CONFIG, "--image-topic: /camera/image, /other/image"),
        (two, dataclasses.replace(CONFIG, image_topic="/none"), "no topic /none; it has /camera/image (sensor_msgs"),
        (write(tmp_path / "blind", [item for item in robot(1.0) if "image" not in item[1]]), CONFIG, "has no pictures"),
        (write(tmp_path / "still", [item for item in robot(1.0) if "image" in item[1]]), CONFIG, "has no joint states"),
    ):
        with pytest.raises(AssertionError) as error:
            imported(path, tmp_path / "out", config)
        assert words in str(error.value)
    reports, _ = imported(two, tmp_path / "named", dataclasses.replace(CONFIG, image_topic="/camera/image"))
    assert reports[0].episodes == 1
    (tmp_path / "empty").mkdir()
    with pytest.raises(RobofumeError, match="There are no bags"):
        find_recordings(tmp_path / "empty")


def test_bags_of_this_suite_come_through_unchanged(tmp_path):
    episodes = [make_episode(0), make_episode(1, outcome=Outcome.TIMEOUT)]
    write_episodes(tmp_path / "practice_0000.mcap", episodes)
    assert whole_bag(tmp_path / "practice_0000.mcap") == (2, 12)
    _, read = imported(tmp_path / "practice_0000.mcap", tmp_path / "out")
    for one, other in zip(read, episodes, strict=True):
        np.testing.assert_array_equal(one.images, other.images)
        np.testing.assert_array_equal(one.actions, other.actions)
        assert (one.episode_id, one.outcome) == (other.episode_id, other.outcome)


def test_a_whole_bag_of_this_suite_is_copied_and_another_is_written_anew(tmp_path):
    path = tmp_path / "practice_0000.mcap"
    write_episodes(path, [make_episode(0), make_episode(1, outcome=Outcome.TIMEOUT)])
    conventions, reader = raw_conventions(5.0, "none"), BagImporter(CONFIG, pose_of)
    (report,) = import_sources([Source("x", path, reader, whole_bag)], tmp_path / "a", conventions, OPTIONS)
    assert (report.episodes, report.steps, report.skipped) == (2, 12, [])
    assert (tmp_path / "a" / "x.mcap").read_bytes() == path.read_bytes()
    path.write_bytes(path.read_bytes()[:-30])  # its index is gone
    assert whole_bag(path) is None
    (report,) = import_sources([Source("x", path, reader, whole_bag)], tmp_path / "b", conventions, OPTIONS)
    assert (report.episodes, report.steps) == (2, 12)


def test_what_a_person_said_about_the_practice_of_a_run_comes_along(tmp_path):
    practice = tmp_path / "lid" / "bags" / "practice"
    practice.mkdir(parents=True)
    wrong, right = make_episode(0), make_episode(1)
    for name, episode in (("practice_0000", wrong), ("practice_0001", right)):
        write_episodes(practice / f"{name}.mcap", [episode])
    write_labels(tmp_path / "lid" / "labels.json", {wrong.episode_id: {-1: Verdict.FAILURE}})
    assert whole_bag(practice / "practice_0000.mcap") is None
    assert whole_bag(practice / "practice_0001.mcap") == (1, 6)
    reader = BagImporter(CONFIG, pose_of)
    sources = [Source(path.stem, path, reader, whole_bag) for path in sorted(practice.iterdir())]
    list(import_sources(sources, tmp_path / "out", raw_conventions(5.0, "none"), ImportOptions(), disk_floor=0))
    assert [episode.outcome for episode in read_episodes(tmp_path / "out")] == [Outcome.TIMEOUT, Outcome.SUCCESS]


def test_that_episodes_of_this_suite_keep_what_they_say_is_told(tmp_path):
    path = tmp_path / "practice_0000.mcap"
    write_episodes(path, [make_episode(0), make_episode(1)])
    for number, (whole, told) in enumerate(((whole_bag, 2), (None, 2), (whole_bag, 0), (None, 0))):
        source, options = Source("x", path, BagImporter(CONFIG, pose_of), whole), OPTIONS if told else ImportOptions()
        conventions = raw_conventions(5.0, "none")
        (report,) = import_sources([source], tmp_path / str(number), conventions, options, disk_floor=0)
        assert report.counters.get(KEPT, 0) == told


def _killed_at_the_second(path, _conventions):
    if path.stem == "practice_0001":
        os._exit(9)
    return read_episodes(path)


def test_a_process_that_is_killed_takes_no_report_along(tmp_path):
    for number in range(2):
        write_episodes(tmp_path / f"practice_000{number}.mcap", [make_episode(number)])
    sources = [Source(path.stem, path, _killed_at_the_second) for path in sorted(tmp_path.glob("*.mcap"))]
    reports = list(import_sources(sources, tmp_path / "out", raw_conventions(5.0, "none"), OPTIONS, jobs=2))
    assert len(reports) == 2
    (killed,) = (report.error for report in reports if "0001" in report.source)
    assert "practice_0001.mcap was not imported" in killed and "--jobs 1" in killed


def test_what_a_killed_import_left_is_removed_and_what_another_one_writes_is_not(tmp_path):
    path, out = tmp_path / "own.mcap", tmp_path / "out"
    write_episodes(path, [make_episode(0)])
    out.mkdir()
    here, gone = socket.gethostname(), 2**22 + 1  # Linux does not count so far
    name = "x[1].mcap"  # what a pattern would read as another name
    kept = [out / f"{name}.{here}-{os.getppid()}.unfinished", out / f"{name}.elsewhere-7.unfinished"]
    removed = [out / f"{name}.{here}-{gone}.unfinished", out / f"{name}.else-where-8.unfinished"]
    for left in (*kept, *removed):
        left.write_bytes(b"half")
    os.utime(removed[1], (0, 0))
    source, conventions = Source("x[1]", path, BagImporter(CONFIG, pose_of), whole_bag), raw_conventions(5.0, "none")
    (report,) = import_sources([source], out, conventions, OPTIONS, disk_floor=0)
    assert (report.episodes, report.error) == (1, "")
    assert [left.exists() for left in (*kept, *removed)] == [True, True, False, False]


def test_of_two_imports_into_one_folder_the_first_bag_stays(tmp_path):
    path, out = tmp_path / "own.mcap", tmp_path / "out"
    write_episodes(path, [make_episode(0), make_episode(1)])

    def read(source, conventions):
        yield from read_episodes(source)
        (out / "x.mcap").write_bytes(b"the other import's")

    (report,) = import_sources([Source("x", path, read)], out, raw_conventions(5.0, "none"), OPTIONS, disk_floor=0)
    assert "is there already" in report.error and report.episodes == 0
    assert [item.name for item in out.iterdir()] == ["x.mcap"]
    assert (out / "x.mcap").read_bytes() == b"the other import's"


def test_joint_states_of_several_publishers_and_layouts_are_gathered(tmp_path):
    fingers = [(0.01 * index, "/joint_states", joint_state(START + index, [0.1], ("finger",))) for index in range(40)]
    frames = list(robot(2.0))
    for index, (_, topic, content) in enumerate(frames):
        if topic == "/joint_states":  # a header that is longer each time: more layouts than are remembered
            content.header.frame_id = "base" * (index % 40)
    reports, (episode,) = imported(write(tmp_path / "bag", [*frames, *robot(0.0, extra=fingers)]), tmp_path / "out")
    assert lost(reports[0]) == {"joint states without the arm": 40}
    np.testing.assert_allclose(episode.proprioception, [pose_at(index / 5) for index in range(10)], atol=1e-6)


def test_a_recording_whose_times_are_out_of_order_is_put_in_order(tmp_path):
    _, (episode,) = imported(write(tmp_path / "one", robot(2.0)), tmp_path / "a")
    (whole,) = (tmp_path / "one").glob("*.mcap")
    raw = list(McapFile(whole))
    with BagWriter(tmp_path / "other.mcap") as writer:
        for number in np.random.default_rng(0).permutation(len(raw)):
            one = raw[number]
            writer.add_topic(one.topic, one.type_name, one.definition)
            writer.write(one.topic, bytes(one.data), one.log_time)
    _, (other,) = imported(tmp_path / "other.mcap", tmp_path / "b")
    np.testing.assert_array_equal(one_of(episode), one_of(other))


def one_of(episode):
    return np.concatenate([episode.actions.ravel(), episode.proprioception.ravel(), episode.images.ravel()])


def test_a_recording_that_was_cut_off_gives_what_is_whole(tmp_path):
    bag = write(tmp_path / "bag", robot(6.0))
    (file,) = bag.glob("*.mcap")
    data = file.read_bytes()
    cut = tmp_path / "cut.mcap"
    cut.write_bytes(data[: len(data) * 2 // 3])
    try:
        reports, episodes = imported(cut, tmp_path / "out")
    except AssertionError as error:  # nothing whole is in it: one sentence says so
        assert "Cannot read the bag" in str(error)
        return
    assert any("cut off" in item.reason for item in reports[0].skipped)
    assert all(episode.length for episode in episodes)


def test_damage_never_ends_without_a_sentence(tmp_path):
    random = np.random.default_rng(0)
    for storage in ("mcap", "sqlite3"):
        bag = write(tmp_path / storage, robot(2.0), storage, "message" if storage == "sqlite3" else None)
        (file,) = (item for item in bag.iterdir() if item.name != "metadata.yaml")
        data = file.read_bytes()
        for number in range(25):
            damaged = bytearray(data)
            place = int(random.integers(0, len(data)))
            if number % 3 == 0:
                damaged = damaged[:place]
            else:
                damaged[place : place + 8] = random.bytes(len(damaged[place : place + 8]))
            file.write_bytes(damaged)
            reader = BagImporter(CONFIG, pose_of)
            out = tmp_path / f"{storage}{number}"
            (report,) = import_sources(
                [Source("x", bag, reader)], out, raw_conventions(5.0, "none"), OPTIONS, disk_floor=0
            )
            assert report.error or report.episodes or report.skipped
            assert "\n" not in report.error


WRIST = dataclasses.replace(CONFIG, image_topic="/camera/image", further_images=("wrist=/wrist/image",))


def wrist(seconds=6.0, rate=10.0, start=0.0, size=(16, 12), compressed=False):
    """What a second camera records: its nth picture has the value 200 - n."""
    for index in range(round(rate * start), round(rate * seconds)):
        time = index / rate
        yield time, "/wrist/image", image(START + round(time * SECOND), 200 - index, compressed, size)


@pytest.mark.parametrize(("storage", "compressed"), [("mcap", False), ("mcap", True), ("sqlite3", False)])
def test_a_step_has_the_nearest_picture_of_a_further_camera(tmp_path, storage, compressed):
    bag = write(tmp_path / "bag", robot(extra=[*wrist(compressed=compressed)]), storage)
    reports, (plain,) = imported(bag, tmp_path / "plain", dataclasses.replace(WRIST, further_images=()))
    reports, (_,) = imported(bag, tmp_path / "out", WRIST)
    assert reports[0].skipped == []
    (episode,) = read_episodes(tmp_path / "out", cameras=["wrist"])
    np.testing.assert_array_equal(episode.images, plain.images)
    assert episode.stamps.tolist() == plain.stamps.tolist()
    shown = 200 - episode.further_images["wrist"][:, 0, 0, 1].astype(int)
    times = (episode.stamps - START) / SECOND
    assert np.abs(shown / 10 - times).max() <= 0.05 + 1e-6
    assert shown.tolist() == [2 * index for index in range(30)]


def test_what_a_further_camera_did_not_see_is_left_out_and_counted(tmp_path):
    bag = write(tmp_path / "bag", robot(extra=[*wrist(start=2.0)]))
    reports, _ = imported(bag, tmp_path / "out", WRIST)
    (episode,) = read_episodes(tmp_path / "out", cameras=["wrist"])
    assert START + 1.5 * SECOND <= episode.stamps[0] < START + 1.6 * SECOND, "half a second before its first picture"
    assert lost(reports[0]) == {"pictures without one of the camera wrist": 23}
    grown = [*wrist(seconds=3.0), *wrist(start=3.0, size=(20, 10))]
    reports, _ = imported(write(tmp_path / "grown", robot(extra=grown)), tmp_path / "sizes", WRIST)
    episodes = list(read_episodes(tmp_path / "sizes", cameras=["wrist"]))
    assert [episode.further_images["wrist"].shape[1:3] for episode in episodes] == [(12, 16), (10, 20)]
    assert lost(reports[0]) == {"changes of the picture size": 1}


def test_further_cameras_are_followed_where_the_times_go_back(tmp_path):
    once = list(robot(3.0, extra=[*wrist(3.0)]))
    again = [(time + 10 * SECOND, topic, content) for time, topic, content in once]  # with the stamps of before
    bag = write(tmp_path / "bag", [*once, *again])
    imported(bag, tmp_path / "out", WRIST)
    episodes = list(read_episodes(tmp_path / "out", cameras=["wrist"]))
    assert [episode.length for episode in episodes] == [14, 14]
    np.testing.assert_array_equal(*(episode.further_images["wrist"] for episode in episodes))


def test_further_cameras_that_cannot_be_are_named(tmp_path):
    bag = write(tmp_path / "bag", robot(2.0))
    with pytest.raises(AssertionError, match="no topic /wrist/image; it has /camera/image"):
        imported(bag, tmp_path / "out", WRIST)
    for wrong, said in (("wrist", "takes CAMERA=TOPIC"), ("a b=/x", "takes CAMERA=TOPIC")):
        with pytest.raises(RobofumeError, match=said):
            RawBagConfig(further_images=(wrong,))
    with pytest.raises(RobofumeError, match="names the camera wrist twice"):
        RawBagConfig(further_images=("wrist=/a", "wrist=/b"))
