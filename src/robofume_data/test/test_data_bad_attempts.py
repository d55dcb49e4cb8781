"""Which deliberately bad attempts the policy learns from."""

from dataclasses import replace

import pytest
from recorded_episodes import make_episode
from robofume_common.enums import Outcome
from robofume_common.errors import RobofumeError
from robofume_data.bad_attempts import read_for_policy, read_with_prior
from robofume_data.episode_writer import write_episodes


def write(folder, name, outcomes, first=0):
    folder.mkdir(exist_ok=True)
    episodes = [make_episode(first + i, outcome=outcome) for i, outcome in enumerate(outcomes)]
    episodes = [replace(episode, episode_id=f"{folder.name}-{name}-{i}") for i, episode in enumerate(episodes)]
    write_episodes(folder / name, episodes)
    return [episode.episode_id for episode in episodes]


def read(paths):
    return [episode.episode_id for episode in read_for_policy(paths)]


def test_no_more_bad_attempts_than_successes_of_their_folder(tmp_path):
    shown = write(tmp_path / "a", "demos_0000.mcap", [Outcome.SUCCESS, Outcome.TIMEOUT, Outcome.SUCCESS])
    first = write(tmp_path / "a", "clumsy_0000.mcap", [Outcome.TIMEOUT])
    second = write(tmp_path / "a", "clumsy_0001.mcap", [Outcome.TIMEOUT] * 3)
    assert read(tmp_path / "a") == [*first, *second[:1], *shown]

    other = write(tmp_path / "b", "demos_0000.mcap", [Outcome.SUCCESS])
    few = write(tmp_path / "b", "clumsy_0000.mcap", [Outcome.TIMEOUT])
    assert read([tmp_path / "a", tmp_path / "b"]) == [*first, *second[:1], *shown, *few, *other], "each folder alone"


def test_bad_attempts_alone_and_demonstrations_alone_are_whole(tmp_path):
    alone = write(tmp_path / "a", "clumsy_0000.mcap", [Outcome.TIMEOUT] * 3)
    assert read(tmp_path / "a") == alone
    shown = write(tmp_path / "b", "demos_0000.mcap", [Outcome.TIMEOUT, Outcome.SUCCESS])
    assert read(tmp_path / "b") == shown


def test_a_missing_bag_is_told_at_once(tmp_path):
    with pytest.raises(RobofumeError, match="There is no bag"):
        read_for_policy(tmp_path / "gone.mcap")


def test_prior_data_come_first_and_under_names_that_are_not_the_runs_own(tmp_path):
    (own,) = write(tmp_path / "a", "demos_0000.mcap", [Outcome.SUCCESS])
    (tmp_path / "other").mkdir()
    there = replace(make_episode(5), episode_id=own, closed=1234)
    write_episodes(tmp_path / "other" / "demos_0000.mcap", [there])
    first, second = read_with_prior(tmp_path / "other", [tmp_path / "a"])
    assert (first.episode_id, second.episode_id) == (f"{own} {int(there.stamps[0])} 1234", own)
    assert [episode.episode_id for episode in read_with_prior((), [tmp_path / "a"])] == [own]
