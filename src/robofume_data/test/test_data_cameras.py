"""Episodes that several cameras saw: their pictures come together, and one that is missing is named."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from recorded_episodes import make_episode
from rlds_examples import example, jpeg, tfrecord
from robofume_common.enums import Outcome, Phase
from robofume_common.errors import RobofumeError
from robofume_data.assembler import EpisodeAssembler
from robofume_data.bad_attempts import read_for_policy
from robofume_data.bag_reader import Bag, read_episodes
from robofume_data.bag_writer import BagWriter
from robofume_data.episode import EpisodeData
from robofume_data.episode_writer import EpisodeWriter, write_episodes
from robofume_data.importing.bags import whole_bag
from robofume_data.importing.conventions import load_conventions
from robofume_data.importing.conversion import ImportOptions, resized
from robofume_data.importing.lerobot import LeRobotReader
from robofume_data.importing.rlds import read_shard
from robofume_data.importing.run import Source, import_sources
from test_data_assembler import STEPS, end, step, time

CAMERAS = ("wrist", "side")


def seen_by(episode: EpisodeData, *cameras: str) -> EpisodeData:
    """The episode as further cameras saw it too, each in a size of its own."""
    random = np.random.default_rng(7)
    further = {
        camera: random.integers(0, 256, (len(episode.images), 9, 10 + place, 3), dtype=np.uint8)
        for place, camera in enumerate(cameras)
    }
    return dataclasses.replace(episode, further_images=further)


EPISODES = [seen_by(make_episode(number), *CAMERAS) for number in range(3)]


def assert_pictures(read: EpisodeData, written: EpisodeData, *cameras: str) -> None:
    assert read.episode_id == written.episode_id
    np.testing.assert_array_equal(read.images, written.images)
    assert list(read.further_images) == list(cameras)
    for camera in cameras:
        np.testing.assert_array_equal(read.further_images[camera], written.further_images[camera])


@pytest.mark.parametrize("cameras", [(), ("side",), CAMERAS, ("side", "wrist")])
def test_a_bag_gives_the_cameras_that_are_asked_for(tmp_path, cameras) -> None:
    path = tmp_path / "demos_0000.mcap"
    write_episodes(path, EPISODES)
    for way in (read_episodes, read_for_policy):
        for read, written in zip(way(path, cameras=cameras), EPISODES, strict=True):
            assert_pictures(read, written, *cameras)
    assert whole_bag(path) == (3, sum(episode.length for episode in EPISODES))


def test_views_may_come_after_the_end_of_their_episode(tmp_path) -> None:
    path, late = tmp_path / "demos_0000.mcap", []
    with BagWriter(path) as writer:
        episodes, write = EpisodeWriter(writer), writer.write
        for episode in EPISODES:
            writer.write = lambda topic, *rest: late.append((topic, *rest)) if "view" in topic else write(topic, *rest)
            episodes.add(episode)
            writer.write = write
            while late:
                writer.write(*late.pop(0))
    for read, written in zip(read_episodes(path, cameras=CAMERAS), EPISODES, strict=True):
        assert_pictures(read, written, *CAMERAS)
    assert whole_bag(path) == (3, sum(episode.length for episode in EPISODES))


def test_a_camera_that_was_not_recorded_is_named_with_the_episode(tmp_path) -> None:
    path = tmp_path / "demos_0000.mcap"
    alone = dataclasses.replace(EPISODES[1], further_images={"wrist": EPISODES[1].further_images["wrist"]})
    write_episodes(path, [EPISODES[0], alone])
    assert len(list(read_episodes(path, cameras=["wrist"]))) == 2
    with pytest.raises(RobofumeError, match=r"practice-00001 .*demos_0000\.mcap was recorded without the camera side"):
        list(read_episodes(path, cameras=CAMERAS))
    forward = list(read_episodes(path, phases=[Phase.FORWARD], cameras=CAMERAS))  # the other one is not asked for
    assert [episode.episode_id for episode in forward] == ["practice-00000"]


def test_an_end_that_is_said_again_at_the_next_start_asks_for_no_pictures(tmp_path) -> None:
    write_episodes(tmp_path / "demos_0000.mcap", EPISODES[:1])
    end = next(bytes(raw.data) for raw, _ in Bag(tmp_path / "demos_0000.mcap").messages(["episode"]))
    with BagWriter(tmp_path / "demos_0001.mcap") as writer:
        episodes = EpisodeWriter(writer)
        writer.write("/episode", end)
        episodes.add(EPISODES[1])
    assert len(list(read_episodes(tmp_path, cameras=CAMERAS))) == 2
    alone = dataclasses.replace(EPISODES[2], sources=np.zeros_like(EPISODES[2].sources), further_images={})
    write_episodes(tmp_path / "demos_0002.mcap", [alone])  # nothing stands before its end but its steps
    with pytest.raises(RobofumeError, match=r"practice-00002 .* was recorded without the camera wrist"):
        list(read_episodes(tmp_path / "demos_0002.mcap", cameras=CAMERAS))


def test_an_episode_that_lost_a_picture_is_skipped_and_told(tmp_path) -> None:
    path = tmp_path / "demos_0000.mcap"
    with BagWriter(path) as writer:
        episodes, write, count = EpisodeWriter(writer), writer.write, iter(range(100))
        writer.write = lambda topic, *rest: None if topic == "/view_side" and next(count) == 2 else write(topic, *rest)
        for episode in EPISODES:
            episodes.add(episode)
    bag = Bag(path)
    assert [episode.episode_id for episode in bag.episodes(cameras=CAMERAS)] == ["practice-00001", "practice-00002"]
    assert bag.incomplete == {"practice-00000": "pictures of the camera side are missing"}
    assert len(list(bag.episodes(cameras=["wrist"]))) == 3


def test_an_episode_waits_for_its_views_and_for_none_of_before_a_restart() -> None:
    assembler = EpisodeAssembler(cameras=["wrist"])
    for index in range(STEPS + 1):
        assembler.add_step(step(index))
    assembler.add_end(end())
    old = step(STEPS, red=99)
    old.stamp = time(77)
    for view in (*(step(index, red=100 + index) for index in range(STEPS)), old):
        assembler.add_view("wrist", view)
    assert not assembler.is_whole("e") and assembler.open_episodes == ["e"]
    assert assembler.blind_camera("e") == "wrist"
    with pytest.raises(RobofumeError, match="'e' cannot be taken: pictures of the camera wrist"):
        assembler.take("e")
    assembler.add_view("wrist", step(STEPS, red=100 + STEPS))
    episode = assembler.take("e")
    assert episode.images[:, 0, 0, 0].tolist() == list(range(STEPS + 1))
    assert episode.further_images["wrist"][:, 0, 0, 0].tolist() == list(range(100, 101 + STEPS))


def test_further_pictures_are_checked_cut_short_and_resized_with_the_first() -> None:
    episode = seen_by(make_episode(1, outcome=Outcome.TIMEOUT), *CAMERAS).validate()
    short = episode.first_steps(2).validate()
    assert_pictures(short, dataclasses.replace(
        episode, images=episode.images[:3],
        further_images={camera: images[:3] for camera, images in episode.further_images.items()},
    ), *CAMERAS)  # fmt: skip
    small = resized(episode, 8)
    assert [images.shape for images in (small.images, *small.further_images.values())] == [(7, 8, 8, 3)] * 3
    for wrong in (episode.images[:-1], episode.images.astype(np.float32)):
        with pytest.raises(RobofumeError, match=r"further_images\['wrist'\]"):
            dataclasses.replace(episode, further_images={"wrist": wrong}).validate()


def test_an_episode_without_an_action_has_its_one_view(tmp_path) -> None:
    episode = seen_by(make_episode(2, 0, Outcome.ABORTED), "wrist")
    write_episodes(tmp_path / "a.mcap", [episode])
    (read,) = read_episodes(tmp_path / "a.mcap", cameras=["wrist"])
    assert_pictures(read, episode, "wrist")


def test_data_sets_of_several_cameras_are_imported(tmp_path) -> None:
    """Their pictures begin with the first one's, and keep to it; an episode without them is left out and named."""
    views = {"steps/observation/image_1": [jpeg(200 - 20 * index) for index in range(6)]}
    short = {"steps/observation/image_1": [jpeg(1)] * 5}
    shard = tmp_path / "pots.tfrecord"
    shard.write_bytes(tfrecord(example(6, **views), example(6, **short), example(6)))
    conventions = dataclasses.replace(load_conventions("bridge"), further_images=("wrist=observation/image_1",))
    for size, shape in ((0, (12, 16)), (8, (8, 8))):
        folder, options = tmp_path / f"bags{size}", ImportOptions(image_size=size)
        (report,) = import_sources([Source("pots", shard, read_shard)], folder, conventions, options, disk_floor=0)
        short_of_one, blind = (item.reason for item in report.skipped)
        assert short_of_one == "it has 6 pictures and 5 of the camera wrist"
        assert "no pictures 'observation/image_1'" in blind and report.episodes == 1
        (episode,) = read_episodes(folder, cameras=["wrist"])
        wrist = episode.further_images["wrist"]
        assert wrist.shape == episode.images.shape == (5, *shape, 3)
        reds = [images[:, 5, 5, 0].astype(int) for images in (episode.images, wrist)]
        assert np.abs(reds[0] - np.arange(20, 120, 20)).max() < 4  # without the first step
        assert np.abs(reds[1] - np.arange(180, 80, -20)).max() < 4


@pytest.mark.parametrize("name", ["v2.1_video", "v3.0_video", "v3.0_image"])
def test_a_lerobot_data_set_gives_the_fields_that_are_named(name, tmp_path) -> None:
    reader = LeRobotReader(Path(__file__).parent / "lerobot_data" / name)
    bridge, field = load_conventions("bridge_lerobot"), "observation.images.image_0"
    sources = [Source(reader.name(part), part, reader) for part in reader.parts]
    same = dataclasses.replace(bridge, further_images=(f"wrist={field}",))
    (report,) = import_sources(sources, tmp_path, same, ImportOptions(), disk_floor=0)
    assert (report.skipped, report.episodes) == ([], 3)
    for episode in read_episodes(tmp_path, cameras=["wrist"]):
        np.testing.assert_array_equal(episode.further_images["wrist"], episode.images)
    missing = dataclasses.replace(bridge, further_images=("wrist=observation.images.image_9",))
    with pytest.raises(RobofumeError, match=r"no 'observation\.images\.image_9'; it has observation\.images\.image_0"):
        next(reader(reader.parts[0], missing))


@pytest.mark.parametrize(
    ("given", "sentence"),
    [(("wrist",), "CAMERA=FIELD"), (("=field",), "CAMERA=FIELD"), (("a/b=field",), "CAMERA=FIELD"),
     (("wrist=a", "wrist=b"), "twice")],
)  # fmt: skip
def test_further_images_that_cannot_be_are_refused(given, sentence) -> None:
    with pytest.raises(RobofumeError, match=sentence):
        dataclasses.replace(load_conventions("bridge"), further_images=given)
