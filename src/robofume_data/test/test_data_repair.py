"""A damaged bag can be repaired: originals stay, what is whole is saved, and doing it again changes nothing."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mcap.writer import MCAP0_MAGIC
from recorded_episodes import make_episode
from robofume_common.errors import RobofumeError
from robofume_data.bag_reader import Bag, read_episodes
from robofume_data.bag_writer import BagWriter
from robofume_data.check import check_bags
from robofume_data.episode_writer import EpisodeWriter, write_episodes
from robofume_data.repair import repair_bags, report
from robofume_data.view import describe, find_episode, write_view

EPISODES = [make_episode(number, actions=3, size=6) for number in range(4)]


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """The bytes of a recording, and its length after each episode was committed."""
    path = tmp_path_factory.mktemp("whole") / "practice_0000.mcap"
    ends = []
    with BagWriter(path) as writer:
        episodes = EpisodeWriter(writer)
        for episode in EPISODES:
            episodes.add(episode)
            ends.append(path.stat().st_size)
    return path.read_bytes(), ends


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_recorder_killed_at_any_byte_loses_the_open_episode_at_most(recording, tmp_path_factory, data):
    whole, ends = recording
    place = data.draw(st.integers(ends[0] // 8, len(whole)))
    zeros = data.draw(st.sampled_from([0, 0, 17, 4096]))  # a file system may leave zeros after a crash
    folder = tmp_path_factory.mktemp("killed")
    path = folder / "practice_0000.mcap"
    path.write_bytes(whole[:place] + bytes(zeros))
    safe = sum(end <= place for end in ends)
    read = list(Bag(path).episodes())
    assert len(read) >= safe
    for one, other in zip(read, EPISODES, strict=False):
        np.testing.assert_array_equal(one.images, other.images)
        np.testing.assert_array_equal(one.actions, other.actions)
    before = path.read_bytes()
    (repaired,) = repair_bags(path, folder / "repaired")
    assert path.read_bytes() == before
    if repaired.action == "repaired":
        assert repaired.episodes == len(read)
        assert all(item.is_sound and not any("cut off" in note for note in item.warnings)
                   for item in check_bags(folder / "repaired"))  # fmt: skip
        content = repaired.target.read_bytes()
        (again,) = repair_bags(path, folder / "repaired")
        assert again.action == "there"
        assert repaired.target.read_bytes() == content
        (sound,) = repair_bags(repaired.target, folder / "twice")
        assert sound.action == "sound"
    else:
        assert repaired.action == ("lost" if not read else "sound")


def test_zeros_in_the_place_of_indices_and_statistics_hide_nothing(recording, tmp_path):
    whole, ends = recording
    path = tmp_path / "practice_0000.mcap"
    for place in [*range(ends[1] - 400, ends[1] + 20, 3), *range(ends[-1], len(whole), 3)]:
        path.write_bytes(whole[:place] + bytes(17 if place % 2 else 4096))
        assert len(list(Bag(path).episodes())) >= sum(end <= place for end in ends), place


def test_repair_of_a_folder_is_told(recording, tmp_path):
    whole, ends = recording
    folder = tmp_path / "bags"
    (folder / "more").mkdir(parents=True)
    (folder / "good.mcap").write_bytes(whole)
    (folder / "cut.mcap").write_bytes(whole[: ends[1] + 40])
    (folder / "more" / "cut.mcap").write_bytes(whole[: ends[0]])
    flipped = bytearray(whole)
    flipped[ends[1] + 60] ^= 255
    (folder / "flipped.mcap").write_bytes(flipped)
    (folder / "foreign.mcap").write_bytes(b"no bag at all")
    repairs = repair_bags(folder, tmp_path / "out")
    found = {str(item.path.relative_to(folder)): (item.action, item.episodes) for item in repairs}
    assert found == {
        "good.mcap": ("sound", 0), "cut.mcap": ("repaired", 2), "more/cut.mcap": ("repaired", 1),
        "flipped.mcap": ("repaired", 3), "foreign.mcap": ("lost", 0),
    }  # fmt: skip
    assert len(list(read_episodes(tmp_path / "out"))) == 6
    text = report(repairs)
    assert "nothing in it can be read" in text
    assert "with 2 whole episodes" in text
    assert not list((tmp_path / "out").glob("*.unfinished*"))


@pytest.mark.parametrize("damaged", range(4))
def test_what_lies_behind_a_damaged_block_is_saved(recording, tmp_path, damaged):
    whole, ends = recording
    begin = ends[damaged - 1] if damaged else len(MCAP0_MAGIC) + 60  # the first block describes the topics as well
    flipped = bytearray(whole)
    flipped[begin + 100] ^= 1
    (tmp_path / "a.mcap").write_bytes(flipped)
    (repaired,) = repair_bags(tmp_path / "a.mcap", tmp_path / "out")
    assert "1 damaged blocks were left out" in repaired.notes[0]
    saved = list(read_episodes(tmp_path / "out"))
    left = [episode for number, episode in enumerate(EPISODES) if number != damaged]
    assert [episode.episode_id for episode in saved] == [episode.episode_id for episode in left]
    for one, other in zip(saved, left, strict=True):
        np.testing.assert_array_equal(one.images, other.images)
        np.testing.assert_array_equal(one.verdicts, other.verdicts)


def test_an_episode_can_be_looked_at(tmp_path):
    write_episodes(tmp_path / "a.mcap", EPISODES)
    episode = find_episode(tmp_path, "00002")
    assert episode.episode_id == "practice-00002"
    paths = write_view(episode, tmp_path / "view")
    assert [path.name for path in paths[:2]] == ["practice-00002_film.png", "practice-00002_plots.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths[:2])
    assert all(path.stat().st_size > 100 for path in paths)
    assert "3 actions in 0.3 s" in describe(episode)
    with pytest.raises(RobofumeError, match="no episode 'x'; there are practice-00000, "):
        find_episode(tmp_path, "x")
    with pytest.raises(RobofumeError, match="several episodes"):
        find_episode([tmp_path / "a.mcap", tmp_path / "a.mcap"], "0002")
