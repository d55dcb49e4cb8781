"""`robofume retrain`, from the bags of a run to a policy of its own."""

import json

import pytest
from random_episodes import random_episode
from robofume_bringup.cli import main
from robofume_bringup.graph import GraphSettings, build_graph
from robofume_common.enums import Outcome
from robofume_data.episode_writer import write_episodes
from robofume_policy.checkpoint import CheckpointStore
from robofume_policy.pretraining import pretrain


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "runs" / "pot"
    for kind, count in (("demos", 2), ("practice", 4)):
        (folder / "bags" / kind).mkdir(parents=True)
        write_episodes(folder / "bags" / kind / f"{kind}_000.mcap", [random_episode(n, kind, 8) for n in range(count)])
    (folder / "config.yaml").write_text("task: pot_pick_and_place\n")
    return folder


def robofume(capsys, *words) -> tuple[int, str, str]:
    code = main([str(word) for word in words])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_a_new_policy_from_demonstrations_and_the_first_steps_of_practice(capsys, run):
    words = ["retrain", "--run", run.name, "--runs", run.parent, "--retraining-updates", 3, "--first-steps", 20]
    code, out, err = robofume(capsys, *words, "--upsampling", 4)
    assert code == 0, err
    assert "16 steps of practice (2 episodes)" in out
    updates, _, state = CheckpointStore(run / "retrained").load()
    assert updates == 3
    assert state["pretraining"]["data"] == {"practice_steps": 16, "practice_episodes": 2, "upsampling": 4}
    assert json.loads((run / "stages" / "retrain.json").read_text())["finished"]

    code, _, err = robofume(capsys, *words)  # other data: upsampling 1
    assert code == 1 and "other settings or data (data.upsampling)" in err
    assert robofume(capsys, *words, "--again")[0] == 0

    nodes = {n.name: n for n in build_graph(GraphSettings("pot_pick_and_place", "evaluate", run_directory=run,
                                                          weights="retrained"))}  # fmt: skip
    assert nodes["policy"].parameters["checkpoint"] == run / "retrained"


def test_what_a_person_has_judged_since_is_other_data(capsys, run, monkeypatch):
    learnt = {}

    def spied(episodes, *arguments, **named):
        assert iter(episodes) is episodes, "they come one after another, so that memory does not bound them"
        kept = list(episodes)
        assert all(len(episode.images) == len(episode.actions) + 1 for episode in kept)
        learnt.update({episode.episode_id: episode.outcome for episode in kept})
        return pretrain(kept, *arguments, **named)

    monkeypatch.setattr("robofume_policy.pretraining.pretrain", spied)
    words = ["retrain", "--run", run.name, "--runs", run.parent, "--retraining-updates", 1]
    assert robofume(capsys, *words)[0] == 0
    assert learnt["practice-0"] == learnt["practice-1"] == Outcome.SUCCESS
    assert robofume(capsys, "label", "practice-0", "failure", "--run", run.name, "--runs", run.parent)[0] == 0
    code, _, err = robofume(capsys, *words)
    assert code == 1 and "other settings or data (data.labels)" in err
    assert robofume(capsys, *words, "--again")[0] == 0
    assert (learnt["practice-0"], learnt["practice-1"]) == (Outcome.TIMEOUT, Outcome.SUCCESS)


def test_the_recorded_data_are_converted_once(capsys, run):
    words = ["retrain", "--run", run.name, "--runs", run.parent, "--retraining-updates", 1, "--again"]

    def entries() -> set[str]:
        return {entry.name for entry in (run / "replay").iterdir() if entry.is_dir()}

    assert robofume(capsys, *words, "--first-steps", 20)[0] == 0
    first = entries()
    assert robofume(capsys, *words, "--first-steps", 20)[0] == 0
    assert len(first) == 1 and entries() == first
    assert robofume(capsys, *words)[0] == 0
    (whole,) = entries() - first
    kept = {name: json.loads((run / "replay" / name / "index.json").read_text())["episodes"] for name in entries()}
    assert {name: len(episodes) for name, episodes in kept.items()} == {first.pop(): 4, whole: 6}


@pytest.mark.parametrize("stage", ["pretrain", "retrain"])
def test_data_that_do_not_fit_the_memory_are_told_and_none_is_forgotten(capsys, run, stage):
    demos, practice = run / "bags" / "demos" / "demos_000.mcap", run / "bags" / "practice" / "practice_000.mcap"
    more = {"pretrain": demos, "retrain": practice}[stage]
    more.unlink()
    write_episodes(more, [random_episode(n, "more", 8) for n in range(12)])
    (run / "config.yaml").write_text("task: pot_pick_and_place\nsettings: {replay: {offline_capacity: 100}}\n")
    code, _, err = robofume(capsys, stage, "--run", run.name, "--runs", run.parent)
    assert code == 1 and "have more than the 100 steps that the memory holds" in err
    assert ("--first-steps" in err) == (stage == "retrain")
    assert not (run / f"{stage}ed").exists()


def test_without_practice_it_says_what_comes_first(capsys, run):
    code, _, err = robofume(capsys, "retrain", "--run", run.name, "--runs", run.parent, "--first-steps", 5)
    assert code == 1 and "no episode of practice in its first 5 steps" in err
    code, _, err = robofume(capsys, "evaluate", "--run", run.name, "--runs", run.parent, "--weights", "retrained")
    assert code == 1 and "no retrained policy yet" in err
