"""Where pre-training is not what a person may think: interrupted, under way elsewhere, or of other demonstrations."""

import shutil

import pytest
from random_episodes import random_episode
from robofume_bringup.cli import main
from robofume_bringup.run_directory import RunDirectory
from robofume_common.errors import RobofumeError
from robofume_data.episode_writer import write_episodes
from robofume_policy.checkpoint import CheckpointStore


@pytest.fixture
def run(tmp_path):
    directory = RunDirectory(tmp_path / "pot")
    directory.bags("demos").mkdir(parents=True)
    write_episodes(directory.bags("demos") / "demos_000.mcap", [random_episode(0, "demo", 6)])
    directory.config_file.write_text(
        "task: pot_lid\nsettings: {network: {hidden_size: 16, image_features: 8}, agent: {batch_size: 4}}\n"
    )
    return directory


def said(capsys, run, *words) -> str:
    main([*words, "--run", run.name, "--runs", str(run.path.parent)])
    captured = capsys.readouterr()
    return captured.out + captured.err


def test_demonstrations_that_came_later_are_told_of(capsys, run):
    assert "began with" not in said(capsys, run, "pretrain", "--pretraining-updates", "2")
    assert "began with" not in said(capsys, run, "pretrain")
    write_episodes(run.bags("demos") / "demos_001.mcap", [random_episode(1, "demo", 6)])
    told = said(capsys, run, "pretrain")
    assert "There are 2 recorded episodes, and the pre-training began with 1: train with --again" in told
    assert "began with" not in said(capsys, run, "pretrain", "--again")
    assert "began with" not in said(capsys, run, "pretrain")


def test_demonstrations_that_came_after_a_retraining_began_are_told_of(capsys, run):
    run.bags("practice").mkdir()
    write_episodes(run.bags("practice") / "practice_000.mcap", [random_episode(1, "practice", 6)])
    assert "began with" not in said(capsys, run, "retrain", "--retraining-updates", "2")
    write_episodes(run.bags("demos") / "demos_001.mcap", [random_episode(2, "demo", 6)])
    told = said(capsys, run, "retrain")
    assert "There are 2 recorded episodes, and the retraining began with 1: train with --again" in told
    assert "began with" not in said(capsys, run, "retrain", "--again")


def test_a_training_of_another_process_is_not_removed_by_beginning_anew(capsys, run):
    said(capsys, run, "pretrain", "--pretraining-updates", "2")
    run.bags("practice").mkdir()
    write_episodes(run.bags("practice") / "practice_000.mcap", [random_episode(1, "practice", 6)])
    for place in (run.retrained, run.source, run.adapted):
        shutil.copytree(run.pretrained, place)
    adapt = ("adapt", str(run.bags("practice")), "--from", str(run.pretrained))
    for stage, command in (("adapt", adapt), ("retrain", ("retrain",)), ("pretrain", ("pretrain",))):
        with run.alone(stage):
            assert "Another process" in said(capsys, run, *command, "--again")
    for place in (run.pretrained, run.retrained, run.source, run.adapted):
        assert CheckpointStore(place).numbers() == [2], place


def test_practice_that_begins_with_an_unfinished_policy_says_so(capsys, run, monkeypatch):
    def refuse(*_, **__):
        raise RobofumeError("Only the sentence was wanted.")

    monkeypatch.setattr("robofume_bringup.stages.context.GraphRunner", refuse)
    monkeypatch.setattr("robofume_bringup.stages.practice.check_judge", lambda _context: None)
    run.reward.mkdir()
    said(capsys, run, "pretrain", "--pretraining-updates", "2")
    assert "updates" not in said(capsys, run, "practice")
    run.write_config({**run.read_config(), "pretraining_updates": 4})  # what an interrupted one leaves
    assert "has made 2 of 4 updates, and practice begins with this policy" in said(capsys, run, "practice")
    run.checkpoints.mkdir()
    assert "updates" not in said(capsys, run, "practice"), "it goes on from what was practised"
