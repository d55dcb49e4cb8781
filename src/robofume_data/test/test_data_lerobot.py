"""LeRobotDataset v2.1 and v3 come in, v3 goes out; where the `lerobot` library is installed it opens what went out."""

import json
from pathlib import Path

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from recorded_episodes import make_episode
from robofume_common.enums import Outcome, RewardSource, Verdict
from robofume_common.errors import RobofumeError
from robofume_data.bag_reader import read_episodes
from robofume_data.importing.conventions import load_conventions
from robofume_data.importing.conversion import ImportOptions
from robofume_data.importing.lerobot import LeRobotReader, find_data_set
from robofume_data.importing.run import Source, import_sources
from robofume_data.importing.trajectory import Skipped
from robofume_data.lerobot_writer import export_lerobot

CONVENTIONS = load_conventions("robofume")


def smooth_episode(number: int, actions: int = 6, outcome: Outcome = Outcome.SUCCESS):
    """An episode whose pictures survive a video: one colour each, and one success."""
    episode = make_episode(number, actions, outcome, size=32)
    colours = np.arange(actions + 1, dtype=np.uint8)[:, None] * np.array([20, 10, 5], np.uint8) + 40
    episode.images[:] = colours[:, None, None]
    episode.proprioception[:, 6] = np.clip(episode.proprioception[:, 6], 0, 1)
    return episode


def imported(root, folder):
    reader = LeRobotReader(root)
    sources = [Source(reader.name(part), part, reader) for part in reader.parts]
    reports = list(import_sources(sources, folder, CONVENTIONS, ImportOptions(), disk_floor=0))
    return reports, list(read_episodes(folder)) if any(report.episodes for report in reports) else []


def test_what_is_exported_comes_back(tmp_path):
    episodes = [smooth_episode(0), smooth_episode(1, 9), smooth_episode(2, 4, Outcome.TIMEOUT)]
    episodes.append(smooth_episode(3, 4, Outcome.UNKNOWN))
    episodes += [smooth_episode(4, 5, Outcome.INTERVENTION), smooth_episode(5, 5, Outcome.ABORTED)]
    episodes[1].verdicts[2] = Verdict.UNKNOWN
    episodes[1].verdicts[1] = Verdict.SUCCESS  # a single one, which was not believed
    episodes[2].verdicts[2] = Verdict.SUCCESS
    episodes[0].sources[:3] = RewardSource.NONE, RewardSource.HUMAN, RewardSource.GROUND_TRUTH
    episodes[0].verdicts[0] = Verdict.UNKNOWN
    assert export_lerobot(tmp_path / "pots", episodes) == 6
    reports, read = imported(tmp_path / "pots", tmp_path / "bags")
    assert reports[0].skipped == []
    for number, (one, other) in enumerate(zip(read, episodes, strict=True)):
        assert one.episode_id == f"pots-{number:06d}"
        assert one.instruction == other.instruction
        assert (one.outcome, one.success_index) == (other.outcome, other.success_index)
        np.testing.assert_array_equal(one.verdicts, other.verdicts)
        np.testing.assert_array_equal(one.sources, other.sources)  # a model's verdicts do not become a person's
        np.testing.assert_allclose(one.proprioception, other.proprioception, atol=1e-6)
        np.testing.assert_allclose(one.actions, other.actions, atol=1e-6)
        assert np.abs(one.images.astype(int) - other.images).max() < 6
        assert np.diff(one.stamps).tolist() == np.diff(other.stamps).tolist()


def test_without_an_outcome_it_follows_from_the_verdicts(tmp_path):
    """As in earlier exports; one that cannot be is refused."""
    export_lerobot(tmp_path / "pots", [smooth_episode(0), smooth_episode(1, 4, Outcome.TIMEOUT)])
    file = tmp_path / "pots/meta/episodes/chunk-000/file-000.parquet"
    table = pq.read_table(file)
    pq.write_table(table.drop_columns(["outcome", "success_index"]), file)
    _, (success, failure) = imported(tmp_path / "pots", tmp_path / "bags")
    assert (success.outcome, success.success_index) == (Outcome.SUCCESS, 5) and failure.outcome == Outcome.TIMEOUT
    for column, value in (("outcome", 9), ("success_index", 40), ("success_index", -1)):
        place = table.column_names.index(column)
        pq.write_table(table.set_column(place, column, pa.array([value, table[column][1].as_py()])), file)
        (report,), (read,) = imported(tmp_path / "pots", tmp_path / f"{column}{value}")
        assert read.outcome == Outcome.TIMEOUT and "cannot be" in report.skipped[0].reason


def test_an_export_without_verdicts_has_rewards(tmp_path):
    """As data sets of others have it, and those of earlier exports."""
    export_lerobot(tmp_path / "pots", [smooth_episode(0), smooth_episode(1, 4, Outcome.TIMEOUT)])
    file = tmp_path / "pots/data/chunk-000/file-000.parquet"
    table = pq.read_table(file)
    pq.write_table(table.drop_columns(["verdict", "verdict_source"]), file)
    _, (success, failure) = imported(tmp_path / "pots", tmp_path / "bags")
    assert (success.outcome, success.success_index) == (Outcome.SUCCESS, 5)
    assert failure.outcome == Outcome.TIMEOUT and (failure.verdicts == Verdict.FAILURE).all()
    assert (failure.sources == RewardSource.HUMAN).all()
    place = table.column_names.index("verdict")
    pq.write_table(table.set_column(place, "verdict", pa.array([7] * len(table))), file)
    reports, read = imported(tmp_path / "pots", tmp_path / "others")
    assert read == [] and "verdicts are not 0" in reports[0].skipped[0].reason


def test_statistics_are_those_of_the_data(tmp_path):
    episodes = [smooth_episode(0), smooth_episode(1, 9)]
    export_lerobot(tmp_path / "pots", episodes)
    stats = json.loads((tmp_path / "pots/meta/stats.json").read_text())
    states = np.concatenate([episode.proprioception for episode in episodes])
    np.testing.assert_allclose(stats["observation.state"]["mean"], states.mean(0), rtol=1e-5)
    np.testing.assert_allclose(stats["observation.state"]["std"], states.std(0), rtol=1e-4)
    pictures = np.concatenate([episode.images for episode in episodes]) / 255.0
    np.testing.assert_allclose(
        np.ravel(stats["observation.images.camera"]["mean"]), pictures.mean((0, 1, 2)), rtol=1e-4
    )
    assert stats["action"]["count"] == [len(states)]


def older(root, target):
    """The same data set as LeRobot v2.1 lays it out: one Parquet and one MP4 per episode."""
    info = json.loads((root / "meta/info.json").read_text())
    info["codebase_version"] = "v2.1"
    info["data_path"] = "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"
    info["video_path"] = "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"
    key = "observation.images.camera"
    for folder in ("meta", "data/chunk-000", f"videos/chunk-000/{key}"):
        (target / folder).mkdir(parents=True)
    (target / "meta/info.json").write_text(json.dumps(info))
    tasks = pq.read_table(root / "meta/tasks.parquet").to_pylist()
    lines = [{"task_index": row["task_index"], "task": row["__index_level_0__"]} for row in tasks]
    (target / "meta/tasks.jsonl").write_text("\n".join(map(json.dumps, lines)))
    table = pq.read_table(root / "data/chunk-000/file-000.parquet")
    with av.open(str(root / f"videos/{key}/chunk-000/file-000.mp4")) as video:
        pictures = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
    numbers = np.array(table["episode_index"])
    for number in np.unique(numbers):
        rows = table.filter(pa.array(numbers == number))
        pq.write_table(rows, target / f"data/chunk-000/episode_{number:06d}.parquet")
        with av.open(str(target / f"videos/chunk-000/{key}/episode_{number:06d}.mp4"), "w") as out:
            stream = out.add_stream("libx264", rate=info["fps"], options={"crf": "10"})
            stream.height, stream.width = pictures[0].shape[:2]
            for index in np.flatnonzero(numbers == number):
                out.mux(stream.encode(av.VideoFrame.from_ndarray(pictures[index], format="rgb24")))
            out.mux(stream.encode(None))
    return target


def test_version_2_1_gives_the_same(tmp_path):
    episodes = [smooth_episode(0), smooth_episode(1, 9)]
    export_lerobot(tmp_path / "new", episodes)
    _, expected = imported(tmp_path / "new", tmp_path / "a")
    _, actual = imported(older(tmp_path / "new", tmp_path / "old"), tmp_path / "b")
    assert len(actual) == 2
    for one, other in zip(actual, expected, strict=True):
        np.testing.assert_array_equal(one.actions, other.actions)
        np.testing.assert_array_equal(one.verdicts, other.verdicts)
        assert one.instruction == other.instruction
        assert np.abs(one.images.astype(int) - other.images).max() < 8
        assert (one.verdicts == Verdict.SUCCESS).sum() == 1


@pytest.mark.parametrize("name", ["v2.1_video", "v2.1_image", "v3.0_video", "v3.0_image"])
def test_data_sets_of_the_library_itself_are_read(name, tmp_path):
    reader = LeRobotReader(Path(__file__).parent / "lerobot_data" / name)
    sources = [Source(reader.name(part), part, reader) for part in reader.parts]
    conventions = load_conventions("bridge_lerobot")
    (report,) = import_sources(sources, tmp_path, conventions, ImportOptions(), disk_floor=0)
    assert (report.skipped, report.episodes, report.steps) == ([], 3, 6 + 7 + 8)
    for number, episode in enumerate(read_episodes(tmp_path)):
        random = np.random.default_rng(number)
        drawn = [(random.uniform(-0.3, 0.3, 6), random.uniform(-0.02, 0.02, 6)) for _ in range(8 + number)][1:]
        assert episode.episode_id == f"{name}-{number:06d}"
        assert episode.instruction == ("put the pot away", "nimm den Topf: 锅")[number % 2]
        np.testing.assert_allclose(episode.proprioception[:, :6], [state for state, _ in drawn], atol=1e-6)
        np.testing.assert_allclose(episode.proprioception[:, 6], 0.5)
        np.testing.assert_allclose(episode.actions[:, :3], [action[:3] for _, action in drawn[:-1]], atol=1e-6)
        np.testing.assert_allclose(episode.actions[:, 6], 1.0)
        expected = np.array([(20 * step, 200 - 20 * step, 50 * number) for step in range(1, 8 + number)])
        assert episode.images.shape == (7 + number, 64, 80, 3)
        assert np.abs(episode.images.mean((1, 2)) - expected).max() < (6 if name.endswith("video") else 0.01)


def test_damage_is_told(tmp_path):
    root = tmp_path / "pots"
    export_lerobot(root, [smooth_episode(0), smooth_episode(1)])
    video = next(root.glob("videos/*/*/*.mp4"))
    whole = video.read_bytes()
    random = np.random.default_rng(0)
    reader = LeRobotReader(root)
    for number in range(12):
        place = int(random.integers(0, len(whole)))
        video.write_bytes(whole[:place] if number % 2 else whole[:place] + random.bytes(40) + whole[place + 40 :])
        items = list(reader(reader.parts[0], CONVENTIONS))
        assert len(items) == 2  # an episode or a sentence
        assert all("\n" not in item.reason for item in items if isinstance(item, Skipped))
    video.unlink()
    assert all(isinstance(item, Skipped) for item in reader(reader.parts[0], CONVENTIONS))
    data = reader.parts[0]
    data.write_bytes(data.read_bytes()[:-100])
    (item,) = reader(data, CONVENTIONS)
    assert "cannot be read" in item.reason


def test_what_is_no_data_set_is_refused(tmp_path):
    with pytest.raises(RobofumeError, match=r"no meta/info\.json"):
        LeRobotReader(tmp_path)
    with pytest.raises(RobofumeError, match="cannot be downloaded"):
        find_data_set("nobody/no such data set")
    (tmp_path / "meta").mkdir()
    for text, reason in (("{", "damaged"), ('{"codebase_version": "v1.6", "fps": 5, "features": {}}', "version v1.6")):
        (tmp_path / "meta/info.json").write_text(text)
        with pytest.raises(RobofumeError, match=reason):
            LeRobotReader(tmp_path)
    export_lerobot(tmp_path / "pots", [smooth_episode(0)])
    reader = LeRobotReader(tmp_path / "pots")
    with pytest.raises(RobofumeError, match=r"has no 'observation\.images\.image_0'"):
        list(reader(reader.parts[0], load_conventions("bridge_lerobot")))


def test_an_export_needs_one_even_size_and_a_new_folder(tmp_path):
    with pytest.raises(RobofumeError, match="must be even"):
        export_lerobot(tmp_path / "odd", [make_episode(0, size=13)])
    with pytest.raises(RobofumeError, match="a data set has one size"):
        export_lerobot(tmp_path / "two", [make_episode(0, size=32), make_episode(1, size=64)])
    with pytest.raises(RobofumeError, match="no episode"):
        export_lerobot(tmp_path / "none", [])
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(RobofumeError, match="is not empty"):
        export_lerobot(tmp_path / "full", [make_episode(0, size=32)])


def test_the_library_opens_an_export(tmp_path):
    library = pytest.importorskip("lerobot.datasets.lerobot_dataset", reason="the package lerobot is not installed")
    episodes = [smooth_episode(0), smooth_episode(1, 9)]
    export_lerobot(tmp_path / "pots", episodes)
    data = library.LeRobotDataset("robofume/pots", root=tmp_path / "pots", video_backend="pyav")
    assert (data.num_episodes, data.num_frames) == (2, 17)
    frame = data[9]
    assert frame["task"] == episodes[1].instruction
    np.testing.assert_allclose(frame["action"], episodes[1].actions[2], atol=1e-6)
    assert abs(float(frame["observation.images.camera"][0, 0, 0]) * 255 - 80) < 6
