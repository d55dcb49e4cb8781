"""A person's verdicts on recorded episodes: how they are kept, and who reads them."""

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from recorded_episodes import make_episode
from robofume_common.enums import Outcome, Phase, RewardSource, Verdict
from robofume_common.errors import RobofumeError
from robofume_data.bad_attempts import read_for_policy
from robofume_data.bag_reader import read_episodes
from robofume_data.episode import EpisodeData
from robofume_data.episode_writer import write_episodes
from robofume_data.labels import labelled, labels_hash, labels_hashes, read_labelled, read_labels, write_labels

WRONG, RIGHT = make_episode(0), make_episode(1)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run with two episodes of practice that were called a success; the first one wrongly, a person says."""
    for kind in ("demos", "practice"):
        (tmp_path / "lid" / "bags" / kind).mkdir(parents=True)
        write_episodes(tmp_path / "lid" / "bags" / kind / f"{kind}_0000.mcap", [WRONG, RIGHT])
    write_labels(tmp_path / "lid" / "labels.json", {WRONG.episode_id: {-1: Verdict.FAILURE}})
    return tmp_path / "lid"


def outcomes(episodes) -> list[Outcome]:
    return [episode.outcome for episode in episodes]


def test_labels_are_kept_as_text(tmp_path: Path) -> None:
    labels = {"practice-1": {-1: Verdict.FAILURE, 3: Verdict.SUCCESS}}
    write_labels(tmp_path / "labels.json", labels)
    assert read_labels(tmp_path / "labels.json") == labels
    assert read_labels(tmp_path / "none.json") == {}
    (tmp_path / "labels.json").write_text('{"practice-1": {"3": "perhaps"}}')
    with pytest.raises(RobofumeError, match="labels"):
        read_labels(tmp_path / "labels.json")


def test_a_persons_verdict_on_the_last_step_decides_the_outcome() -> None:
    last = len(WRONG.actions)
    for verdict, outcome, success_index in (
        (Verdict.FAILURE, Outcome.TIMEOUT, -1),
        (Verdict.UNKNOWN, Outcome.UNKNOWN, -1),
        (Verdict.SUCCESS, Outcome.SUCCESS, WRONG.success_index),
    ):
        judged = labelled(WRONG, {-1: verdict})
        assert (judged.outcome, judged.success_index) == (outcome, success_index)
        assert (judged.verdicts[last], judged.sources[last]) == (verdict, RewardSource.HUMAN)
    failed = replace(WRONG, outcome=Outcome.TIMEOUT, success_index=-1)
    found = labelled(failed, {last: Verdict.SUCCESS, 2: Verdict.FAILURE})
    assert (found.outcome, found.success_index) == (Outcome.SUCCESS, last)
    for verdict, outcome in ((Verdict.FAILURE, Outcome.TIMEOUT), (Verdict.UNKNOWN, Outcome.UNKNOWN)):
        assert (labelled(failed, {-1: verdict}).outcome, labelled(failed, {-1: verdict}).success_index) == (outcome, -1)
    for index in (last + 1, 99):
        with pytest.raises(RobofumeError, match=f"no step {index}"):
            labelled(WRONG, {index: Verdict.SUCCESS})


def test_a_verdict_on_another_step_decides_nothing_and_is_sure() -> None:
    failed = replace(WRONG, outcome=Outcome.TIMEOUT, success_index=-1)
    before = failed.verdicts.tolist(), failed.sources.tolist(), failed.probabilities.tolist()
    given = {0: Verdict.FAILURE, 1: Verdict.SUCCESS, 2: Verdict.UNKNOWN}
    for episode in (WRONG, failed, replace(failed, outcome=Outcome.UNKNOWN)):
        judged = labelled(episode, given)
        assert (judged.outcome, judged.success_index) == (episode.outcome, episode.success_index)
    judged = labelled(failed, given)
    assert judged.verdicts[:3].tolist() == list(given.values()) and (judged.sources[:3] == RewardSource.HUMAN).all()
    np.testing.assert_array_equal(judged.probabilities[:3], [0.0, 1.0, np.nan])
    np.testing.assert_array_equal(judged.verdicts[3:], failed.verdicts[3:])
    assert before == (failed.verdicts.tolist(), failed.sources.tolist(), failed.probabilities.tolist())


@pytest.mark.parametrize("read", [read_labelled, read_for_policy])
def test_who_learns_from_practice_reads_the_labels_of_its_run(run: Path, read) -> None:
    recorded = list(read_episodes(run / "bags" / "practice"))
    assert outcomes(recorded) == [Outcome.SUCCESS] * 2
    wrong, right = read([run / "bags" / "practice"])
    assert (wrong.outcome, wrong.success_index) == (Outcome.TIMEOUT, -1)
    assert (wrong.verdicts[-1], wrong.sources[-1]) == (Verdict.FAILURE, RewardSource.HUMAN)
    for field in fields(EpisodeData):  # the episode that has no label is as recorded
        np.testing.assert_array_equal(getattr(right, field.name), getattr(recorded[1], field.name))
    assert outcomes(read([run / "bags" / "demos"])) == [Outcome.SUCCESS] * 2
    (run / "labels.json").unlink()
    assert outcomes(read([run / "bags" / "practice"])) == [Outcome.SUCCESS] * 2


def test_only_the_phases_that_are_asked_for_are_read(run: Path) -> None:
    assert outcomes(read_labelled(run / "bags" / "practice", phases=[Phase.FORWARD])) == [Outcome.TIMEOUT]


def test_labels_have_a_hash_that_changes_with_them(run: Path) -> None:
    bag, demonstrations = run / "bags" / "practice" / "practice_0000.mcap", run / "bags" / "demos" / "demos_0000.mcap"
    before = labels_hash(bag)
    write_labels(run / "labels.json", {RIGHT.episode_id: {-1: Verdict.FAILURE}})
    assert before and labels_hash(bag) not in ("", before)
    assert labels_hash(demonstrations) == ""
    other = run.parent / "pot" / "bags" / "practice" / "practice_0000.mcap"
    other.parent.mkdir(parents=True)
    (run.parent / "pot" / "labels.json").write_bytes((run / "labels.json").read_bytes())
    assert labels_hashes([bag, demonstrations, other, bag]) == [labels_hash(bag)] * 2, "one of each run"
    (run / "labels.json").unlink()
    assert labels_hash(bag) == "" and labels_hashes([bag, demonstrations]) == []
