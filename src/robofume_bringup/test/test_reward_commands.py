"""`robofume reward train`, `evaluate` and `rescore` on recorded bags."""

import json

import pytest
from drawn_episodes import demonstrations, drawn
from robofume_bringup.cli import main
from robofume_bringup.run_directory import RunDirectory
from robofume_common.enums import RewardSource, Verdict
from robofume_data.episode_writer import write_episodes

QUICK = "settings: {reward_training: {updates: 2, batch_size: 8}}\n"


def make_run(folder, practice=(), number=0):
    """A run with demonstrations, and what it practised."""
    directory = RunDirectory(folder)
    for kind, episodes in (("demos", demonstrations(10, number)), ("practice", practice)):
        directory.bags(kind).mkdir(parents=True)
        if episodes:
            write_episodes(directory.bags(kind) / f"{kind}_0000.mcap", episodes)
    directory.config_file.write_text("task: pot_pick_and_place\n" + QUICK)
    return directory


def robofume(capsys, *words) -> tuple[int, str, str]:
    code = main([str(word) for word in words])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def on(run) -> list:
    return ["--run", run.name, "--runs", run.path.parent]


def training_of(folder) -> dict:
    return json.loads((folder / "training.json").read_text())


@pytest.fixture
def judged_by_the_model():
    return [drawn(number, "practice", number % 2 == 0, RewardSource.VLM) for number in range(4)]


def test_labels_that_were_given_while_it_practised_are_learnt_from(capsys, tmp_path, judged_by_the_model):
    """By the topic `label`, so that they are in the bag and not in labels.json."""
    known = judged_by_the_model[1]
    known.sources[-1], known.verdicts[-1] = RewardSource.HUMAN, Verdict.FAILURE
    run = make_run(tmp_path / "lid", judged_by_the_model)
    code, out, err = robofume(capsys, "reward", "train", *on(run))
    assert code == 0, err
    assert not run.labels.exists() and "held-out episodes" in out
    summary = training_of(run.reward)
    learnt = {*summary["trained_on"], *summary["held_out_episodes"]}
    assert {name for name in learnt if name.startswith("practice")} == {known.episode_id}
    assert len(learnt) == 11 and known.episode_id == "practice-000001"
