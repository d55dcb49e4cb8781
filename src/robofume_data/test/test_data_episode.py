"""EpisodeData checks itself and cuts itself short."""

import dataclasses

import numpy as np
import pytest
from recorded_episodes import make_episode
from robofume_common.enums import Direction, Outcome
from robofume_common.errors import RobofumeError
from robofume_data.bag_reader import read_episodes
from robofume_data.episode_writer import write_episodes


def test_a_good_episode_is_valid():
    episode = make_episode(0)
    assert episode.validate() is episode
    assert episode.length == 6
    assert episode.is_success
    assert make_episode(1, actions=0, outcome=Outcome.ABORTED).validate().length == 0


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"images": np.zeros((6, 12, 14, 3), np.uint8)}, "images"),
        ({"images": np.zeros((7, 12, 14, 3), np.float32)}, "images"),
        ({"actions": np.full((6, 7), np.nan, np.float32)}, "finite"),
        ({"actions": np.zeros((6, 4), np.float32)}, "actions"),
        ({"stamps": np.arange(7, dtype=np.int64)[::-1]}, "back in time"),
        ({"success_index": -1}, "success index"),
        ({"success_index": 7}, "success index"),
        ({"outcome": Outcome.TIMEOUT}, "success index"),
        ({"episode_id": ""}, "no id"),
        ({"forward_success": np.zeros(6, bool)}, "forward_success"),
    ],
)
def test_what_does_not_fit_is_named(changes, sentence):
    with pytest.raises(RobofumeError, match=sentence):
        dataclasses.replace(make_episode(0), **changes).validate()


def test_truncation_at_success():
    episode = make_episode(0, actions=9)
    short = episode.truncated_at_success().validate()
    assert short.length == episode.success_index == 8
    np.testing.assert_array_equal(short.images, episode.images[:9])
    np.testing.assert_array_equal(short.actors, episode.actors[:8])
    np.testing.assert_array_equal(short.forward_success, episode.forward_success[:9])
    failed = make_episode(1, outcome=Outcome.TIMEOUT)
    assert failed.truncated_at_success() is failed


def test_episodes_of_two_runs_have_other_keys_and_a_copy_has_the_same(tmp_path):
    """A simulation's time begins at 0 in every run, so neither ids nor stamps tell them apart."""
    episode = make_episode(0)
    other = dataclasses.replace(episode, closed=episode.closed + 1)
    assert len({episode.key, other.key, dataclasses.replace(episode, episode_id="practice-9").key}) == 3
    write_episodes(tmp_path / "one.mcap", [episode])
    (read,) = read_episodes(tmp_path / "one.mcap")
    write_episodes(tmp_path / "copy.mcap", [dataclasses.replace(read, verdicts=read.verdicts[::-1].copy())])
    (copy,) = read_episodes(tmp_path / "copy.mcap")
    assert episode.key == read.key == copy.key


def test_truth_is_that_of_the_direction():
    forward, backward = make_episode(0), make_episode(1)
    assert forward.direction == Direction.FORWARD
    assert forward.truth is forward.forward_success
    assert backward.truth is backward.backward_success
