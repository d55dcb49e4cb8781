"""Which stages `robofume demo` repeats when it is given again."""

import json
from dataclasses import replace

import pytest
from robofume_bringup.interruption import Interruption
from robofume_bringup.run_config import RunConfig
from robofume_bringup.run_directory import RunDirectory
from robofume_bringup.stages import demo
from robofume_bringup.stages.context import StageContext
from robofume_common.files import write_atomically

POLICY = {"pretrained": "first", "practised": "second"}


@pytest.fixture
def given(tmp_path, monkeypatch):
    """Give the command; which evaluations it made. `policies` has the hashes of those that the run has."""
    directory, policies, made = RunDirectory(tmp_path / "lid"), dict(POLICY), []
    context = StageContext(directory, RunConfig(task="pot_lid", trials=3), Interruption())
    for stage in ("collect_demonstrations", "train_reward", "check_judge", "pretrain_policy", "write_run_report"):
        monkeypatch.setattr(demo, stage, lambda _context: None)
    monkeypatch.setattr(demo, "practise", lambda _context: directory.checkpoints.mkdir(exist_ok=True))
    monkeypatch.setattr(demo, "measured_by", lambda _context, weights: {"sha256": policies[weights]})

    def evaluate(context, weights, name):
        made.append(name)
        record = {f"{direction}_{what}": [1] * context.config.trials for direction in ("forward", "backward")
                  for what in ("success", "steps")}  # fmt: skip
        record |= {"trials_per_direction": context.config.trials, "sha256": policies[weights]}
        write_atomically(directory.evaluations / f"{name}.json", json.dumps(record).encode())
        directory.note(f"evaluate_{name}", finished=True)

    monkeypatch.setattr(demo, "evaluate_policy", evaluate)

    def give(trials=3):
        made.clear()
        demo.run_demo(replace(context, config=replace(context.config, trials=trials)))
        return list(made)

    give.directory, give.policies = directory, policies
    return give


def test_evaluations_are_made_once(given):
    assert given() == ["before", "after"] and given() == []
    given.policies["pretrained"] = "trained on"  # practice began with what was measured
    assert given() == []


def test_another_number_of_trials_is_not_passed_over(given):
    assert given() == ["before", "after"] and given(trials=5) == ["before", "after"] and given(trials=5) == []


def test_another_policy_is_measured_anew(given):
    given()
    given.policies["practised"] = "better"  # `robofume up` practises too
    assert given() == ["after"]
    given.directory.checkpoints.rmdir()
    given.policies["pretrained"] = "trained on"
    assert given() == ["before"]


def test_a_record_that_was_removed_is_made_again(given):
    given()
    (given.directory.evaluations / "after.json").unlink()  # as the sentence about a damaged one advises
    assert given() == ["after"]
