"""Whatever is imported: an episode or a sentence for everything that went in, and never a crash."""

import dataclasses

import pytest
from hostile_recordings import SENTENCES, Hostile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from recorded_episodes import make_episode
from robofume_data.bag_reader import read_episodes
from robofume_data.episode_writer import write_episodes

MUTANTS = 320


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    return Hostile(tmp_path_factory.mktemp("hostile"))


@pytest.mark.parametrize("part", range(8))
def test_damaged_and_absurd_recordings_lose_nothing_in_silence(hostile, part):
    for seed in range(part * MUTANTS // 8, (part + 1) * MUTANTS // 8):
        hostile.check(seed)
    assert hostile.seen


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
@given(sentence=st.text(min_size=1, max_size=60) | st.sampled_from(SENTENCES))
def test_a_sentence_in_any_language_comes_back(tmp_path, sentence):
    path = tmp_path / "bag.mcap"
    path.unlink(missing_ok=True)
    write_episodes(path, [dataclasses.replace(make_episode(0, 1, size=4), instruction=sentence)])
    (episode,) = read_episodes(path)
    assert episode.instruction == sentence
