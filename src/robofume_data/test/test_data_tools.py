"""Counts, checks and pictures of recorded episodes."""

import dataclasses
import io

import numpy as np
from PIL import Image
from recorded_episodes import CAMERA_PERIOD, make_episode
from robofume_common.enums import Actor, Outcome
from robofume_data.bag_reader import read_episodes
from robofume_data.episode_writer import write_episodes
from robofume_data.film_strip import film_strip_png, frame_indices
from robofume_data.view import describe

from robofume_data import check, summary


def test_summary_counts(tmp_path):
    outcomes = [Outcome.SUCCESS, Outcome.SUCCESS, Outcome.TIMEOUT, Outcome.ABORTED, Outcome.SUCCESS]
    episodes = [make_episode(number, outcome=outcome) for number, outcome in enumerate(outcomes)]
    write_episodes(tmp_path / "a.mcap", episodes[:3])
    write_episodes(tmp_path / "b.mcap", episodes[3:])
    result = summary.summarise(tmp_path)
    assert (result.bags, result.episodes, result.steps, result.incomplete) == (2, 5, 30, 0)
    assert result.assisted_resets == 2
    assert sum(result.actors.values()) == 30
    assert result.image_sizes == {(12, 14)}
    forward, backward = sorted(result.instructions.values(), key=lambda part: part.direction)
    assert (forward.episodes, forward.success_rate) == (3, 2 / 3)
    assert (backward.episodes, backward.success_rate) == (2, 1.0)
    assert forward.true_known == 3
    text = summary.report(result)
    assert "5 episodes, 30 steps" in text
    assert "success rate 67%" in text


def test_an_unknown_outcome_is_counted_apart_and_told(tmp_path):
    outcomes = [Outcome.SUCCESS, Outcome.TIMEOUT, Outcome.UNKNOWN, Outcome.UNKNOWN]
    episodes = [make_episode(2 * number, outcome=outcome) for number, outcome in enumerate(outcomes)]
    write_episodes(tmp_path / "a.mcap", episodes)
    result = summary.summarise(tmp_path)
    (part,) = result.instructions.values()
    assert (part.success_rate, part.outcomes[Outcome.UNKNOWN]) == (0.5, 2)
    text = summary.report(result)
    assert "1 success, 1 timeout, 2 of unknown outcome; success rate 50%" in text
    assert "verdicts unknown 2, success 1, failure 25" in text
    assert [episode.outcome for episode in read_episodes(tmp_path, outcomes=[Outcome.UNKNOWN])] == [Outcome.UNKNOWN] * 2
    assert check.check_bags(tmp_path)[0].is_sound
    assert describe(episodes[2]).endswith("; outcome unknown\n  verdicts: 1 unknown, 6 failure")
    picture = np.asarray(Image.open(io.BytesIO(film_strip_png(episodes[2], frames=5, height=24))))
    assert picture[-1, 0].tolist() == [200, 60, 50] and picture[-1, -1].tolist() == [150, 150, 150]


def test_check_finds_what_is_wrong(tmp_path):
    stamps = np.arange(7) * CAMERA_PERIOD
    stamps[4:] += 10**9
    write_episodes(tmp_path / "a.mcap", [make_episode(0), dataclasses.replace(make_episode(1), stamps=stamps)])
    write_episodes(tmp_path / "b.mcap", [make_episode(0)])
    (tmp_path / "c.mcap").write_bytes(b"no bag")
    whole = tmp_path / "whole"
    write_episodes(whole, [make_episode(5), make_episode(6)])
    (tmp_path / "d.mcap").write_bytes(whole.read_bytes()[: int(whole.stat().st_size * 0.45)])
    first, second, third, fourth = check.check_bags(tmp_path)
    assert first.is_sound
    assert (first.episodes, first.steps) == (2, 12)
    assert first.warnings == ["episode practice-00001 has 1 gap, the longest of 1.10 s after step 3"]
    assert second.errors == [f"episode practice-00000 is also in {tmp_path / 'a.mcap'}"]
    assert "not an MCAP bag" in third.errors[0]
    assert fourth.is_sound
    assert fourth.episodes == 1
    assert "cut off" in fourth.warnings[0]
    assert summary.summarise(tmp_path / "a.mcap").gaps == 1
    text = check.report([first, second, third, fourth])
    assert text.count("BAD") == 2


def test_the_way_home_before_the_last_step_is_no_gap(tmp_path):
    stamps = np.arange(7) * CAMERA_PERIOD
    stamps[6:] += 10**9
    write_episodes(tmp_path / "a.mcap", [dataclasses.replace(make_episode(0), stamps=stamps)])
    assert check.check_bags(tmp_path)[0].warnings == []
    assert summary.summarise(tmp_path).gaps == 0


def test_film_strip_shows_start_and_decision():
    success, failure = make_episode(0, actions=20), make_episode(1, actions=20, outcome=Outcome.TIMEOUT)
    assert frame_indices(success, 8)[[0, -1]].tolist() == [0, 19]
    assert frame_indices(failure, 8)[[0, -1]].tolist() == [0, 20]
    assert len(frame_indices(make_episode(0, actions=3), 8)) == 3
    picture = np.asarray(Image.open(io.BytesIO(film_strip_png(success, frames=5, height=24))))
    assert picture.shape == (24 + 8, 5 * (28 + 3) - 3, 3)
    assert picture[-1, 0].tolist() == [200, 60, 50]
    assert picture[-1, -1].tolist() == [40, 160, 70]


def test_interventions_are_counted_and_their_rate_is_told(tmp_path):
    whole = make_episode(0)
    actors = np.full(len(whole.actors), Actor.POLICY, dtype=np.uint8)
    actors[[0, 2, 3]] = Actor.PERSON
    helped = dataclasses.replace(whole, actors=actors)
    alone = dataclasses.replace(make_episode(1), actors=np.full(len(actors), Actor.POLICY, dtype=np.uint8))
    assert (helped.takeovers, alone.takeovers) == (2, 0)
    write_episodes(tmp_path / "a.mcap", [helped, alone])
    result = summary.summarise(tmp_path)
    assert result.takeovers == 2 and result.actors[Actor.PERSON] == 3
    text = summary.report(result)
    assert f"intervened 2 times, in {3 / result.steps:.1%} of the actions: once in {result.steps / 2:.0f}" in text
