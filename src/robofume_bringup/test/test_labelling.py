"""`robofume label` and `robofume reward rescore` on a recorded run."""

import weakref
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from robofume_bringup.cli import main
from robofume_bringup.in_process_learner import InProcessLearner
from robofume_bringup.run_directory import RunDirectory
from robofume_common.enums import Direction, Outcome, Phase, RewardSource, Verdict
from robofume_data.bag_reader import read_episodes
from robofume_data.episode import EpisodeData
from robofume_data.episode_writer import write_episodes
from robofume_data.labels import labels_of, read_labelled, read_labels

from robofume_reward import tiny_model


def practised(name: str, probability: float) -> EpisodeData:
    count = 4
    return EpisodeData(
        episode_id=name, task="pot_pick_and_place", instruction="put the pot into the tray", phase=Phase.FORWARD,
        direction=Direction.FORWARD, outcome=Outcome.TIMEOUT, success_index=-1, assisted_reset_before=False,
        images=np.zeros((count, 32, 32, 3), np.uint8), proprioception=np.zeros((count, 7), np.float32),
        actions=np.zeros((count - 1, 7), np.float32), actors=np.ones(count - 1, np.uint8),
        policy_versions=np.zeros(count, np.uint64), stamps=np.arange(count, dtype=np.int64),
        verdicts=np.full(count, Verdict.FAILURE, np.uint8), probabilities=np.full(count, probability, np.float32),
        sources=np.full(count, RewardSource.VLM, np.uint8),
    )  # fmt: skip


@pytest.fixture
def run(tmp_path):
    directory = RunDirectory(tmp_path / "lid")
    directory.bags("practice").mkdir(parents=True)
    directory.config_file.write_text("task: pot_pick_and_place\n")
    episodes = [practised("practice-1", 0.1), practised("practice-2", 0.45)]
    episodes[1] = replace(episodes[1], outcome=Outcome.UNKNOWN)
    write_episodes(directory.bags("practice") / "practice_0000.mcap", episodes)
    return directory


def robofume(run, *words) -> int:
    return main([*map(str, words), "--run", run.name, "--runs", str(run.path.parent)])


def test_a_label_is_kept_and_what_is_labelled_is_not_asked_again(run, capsys):
    assert robofume(run, "label", "--doubtful", 1) == 0
    assert "practice-2  P 0.45, unknown:" in capsys.readouterr().out
    assert [path.name for path in (run.path / "doubtful").iterdir()] == ["practice-2.png"]
    assert robofume(run, "label", "practice-2", "success") == 0
    assert robofume(run, "label", "practice-2", "failure", "--index", 1) == 0
    assert read_labels(run.labels) == {"practice-2": {-1: Verdict.SUCCESS, 1: Verdict.FAILURE}}
    capsys.readouterr()
    assert robofume(run, "label", "--doubtful", 5) == 0
    assert "practice-1" in (out := capsys.readouterr().out) and "practice-2" not in out
    assert robofume(run, "label", "--called", 5) == 0
    assert capsys.readouterr().out == "Practice has no episode called a success that a person has not judged yet.\n"


def test_the_newest_verdict_on_the_last_step_counts_however_it_is_named(run):
    for words, verdict in (((), "success"), (("--index", 3), "failure"), ((), "success")):
        assert robofume(run, "label", "practice-1", verdict, *words) == 0
        (episode, _) = read_labelled(run.bag_files("practice"))
        assert episode.outcome == {"success": Outcome.SUCCESS, "failure": Outcome.TIMEOUT}[verdict]
    assert read_labels(run.labels) == {"practice-1": {-1: Verdict.SUCCESS}}


def test_what_is_worth_a_label_is_found_without_all_pictures_in_memory(run, monkeypatch):
    alive, most = [], 0

    def read(_bags):
        nonlocal most
        for number in range(12):
            episode = practised(f"practice-{number}", 0.4)
            alive.append(weakref.ref(episode.images))
            yield episode
            del episode
            most = max(most, sum(item() is not None for item in alive))

    monkeypatch.setattr("robofume_data.bag_reader.read_episodes", read)
    assert robofume(run, "label", "--doubtful", 2) == 0
    assert robofume(run, "label", "practice-11", "success") == 0
    assert most <= 2


def test_the_next_start_of_practice_learns_from_the_label(run):
    assert robofume(run, "label", "practice-1", "success") == 0
    (bag,) = run.bag_files("practice")
    assert labels_of(bag) == {"practice-1": {-1: Verdict.SUCCESS}}
    learner = InProcessLearner.__new__(InProcessLearner)
    learner._config = SimpleNamespace(practice=[str(run.bags("practice"))], further_cameras=())
    read = {episode.episode_id: (episode.outcome, episode.success_index) for episode in learner._practised([])}
    assert read == {"practice-1": (Outcome.SUCCESS, 3), "practice-2": (Outcome.UNKNOWN, -1)}


def test_called_successes_can_be_looked_at(run, capsys):
    called = [replace(practised(f"practice-{i}", 0.9), outcome=Outcome.SUCCESS, success_index=3) for i in range(3, 6)]
    write_episodes(run.bags("practice") / "practice_0001.mcap", called)
    assert robofume(run, "label", "--called", 2) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len([line for line in lines if "P 0.90, success:" in line]) == 2
    assert len(list((run.path / "called").iterdir())) == 2
    assert robofume(run, "label", "practice-4", "failure") == 0
    assert robofume(run, "label", "--called", 9) == 0
    assert {path.stem for path in (run.path / "called").iterdir()} == {"practice-3", "practice-5"}


@pytest.mark.parametrize(
    "words",
    [
        ("practice-9", "success"), ("practice-1", "success", "--index", "77"), (), ("practice-1",),
        ("practice-1", "success", "--index", "-2"),  # the last step but one is no outcome
        ("practice-1", "success", "--doubtful", "3"),  # the verdict would be lost
        ("--doubtful", "3", "--called", "2"), ("--doubtful", "-1"), ("--called", "0"),
    ],
)  # fmt: skip
def test_a_label_that_fits_nothing_is_one_sentence(run, capsys, words):
    assert robofume(run, "label", *words) == 1
    error = capsys.readouterr().err
    assert error.startswith("robofume: ") and len(error.splitlines()) == 1
    assert not run.labels.exists()


def test_rescoring_writes_beside_the_original(run, capsys):
    tiny_model.save(run.reward, tiny_model.TinyModelConfig(image_size=32, vision_width=8, text_width=32), seed=0)
    assert robofume(run, "label", "practice-1", "success") == 0
    assert robofume(run, "reward", "rescore", run.bags("practice")) == 0
    assert "2 episodes with 8 steps" in capsys.readouterr().out
    (copy,) = (run.path / "rescored").rglob("*.mcap")
    labelled, unlabelled = read_episodes([copy])
    assert (labelled.episode_id, unlabelled.episode_id) == ("practice-1", "practice-2")
    # What a person has said is in the copy, which lies where labels.json does not hold.
    assert (labelled.outcome, labelled.sources[-1]) == (Outcome.SUCCESS, RewardSource.HUMAN)
    assert not (unlabelled.sources == RewardSource.HUMAN).any()
