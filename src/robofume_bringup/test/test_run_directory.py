"""The run directory: its configuration and markers."""

import os
import subprocess
import sys
import time

import pytest
from robofume_bringup.interruption import Interruption
from robofume_bringup.run_config import RunConfig, open_run, parse_settings
from robofume_bringup.run_directory import DOMAIN_FILE, RunDirectory, note_domain
from robofume_bringup.stages.context import StageContext
from robofume_common.errors import RobofumeError


def test_a_run_keeps_its_configuration(tmp_path):
    directory = RunDirectory(tmp_path / "one")
    config = open_run(directory, {"seed": 3, "settings": {"learner": {"x": 1.5}}})
    assert open_run(directory, {}) == config
    assert config.of("learner") == {"x": 1.5} and config.of("arm") == {}


def test_amounts_may_grow_and_are_kept(tmp_path):
    directory = RunDirectory(tmp_path / "one")
    open_run(directory, {"practice_steps": 100})
    assert open_run(directory, {"practice_steps": 200}).practice_steps == 200
    assert open_run(directory, {}).practice_steps == 200


def test_a_new_run_has_what_its_task_needs_and_what_is_asked_for_comes_first(tmp_path):
    candy = open_run(RunDirectory(tmp_path / "candy"), {"task": "candy_sweeping", "failures": 7})
    assert (candy.demonstrations, candy.failures, candy.of("reward_training")) == (50, 7, {"updates": 4000})
    assert candy.image_size == 96
    assert open_run(RunDirectory(tmp_path / "small"), {"task": "candy_sweeping", "image_size": 64}).image_size == 64
    asked = parse_settings(["policy.exploration_std=0.1", "learner.batch_size=8"])
    cloth = open_run(RunDirectory(tmp_path / "cloth"), {"task": "cloth_folding", "settings": asked})
    assert cloth.of("policy") == {"exploration_std": 0.1} and cloth.of("reward_training") == {"updates": 1600}
    assert cloth.node_settings == {"policy": {"exploration_std": 0.1}, "learner": {"batch_size": 8}}
    plain = RunConfig(task="pot_plates")
    assert open_run(RunDirectory(tmp_path / "plates"), {"task": "pot_plates"}) == plain
    real = open_run(RunDirectory(tmp_path / "real"), {"task": "cloth_folding", "robot": "widowx"})
    assert real.settings == {} and real.failures == RunConfig.failures


def test_settings_of_a_run_may_be_left_out_and_not_be_changed(tmp_path):
    directory = RunDirectory(tmp_path / "cloth")
    given = {"task": "cloth_folding", "settings": parse_settings(["learner.batch_size=8"])}
    config = open_run(directory, given)
    assert open_run(directory, given) == open_run(directory, {}) == config
    assert open_run(directory, {"settings": parse_settings(["policy.exploration_std=0.02"])}) == config
    for changed in ("learner.batch_size=9", "learner.seed=1", "arm.rate=1"):
        with pytest.raises(RobofumeError, match="was started with settings"):
            open_run(directory, {"settings": parse_settings([changed])})


@pytest.mark.parametrize("name", ["pretraining.updates", "adaptation.updates", "network.image_size"])
def test_a_setting_that_an_option_of_the_run_says_is_refused_with_its_name(name):
    with pytest.raises(RobofumeError, match=f"{name} would change nothing: give --"):
        parse_settings([f"{name}=64"])


def test_what_is_set_of_replay_holds_in_practice_unless_the_learner_has_its_own(tmp_path):
    asked = parse_settings(["replay.prior_share=1", "replay.offline_fraction=0.25", "learner.offline_fraction=0.75"])
    directory = RunDirectory(tmp_path / "lid")
    context = StageContext(directory, open_run(directory, {"task": "pot_lid", "settings": asked}), Interruption())
    learner = context.node_configs("practice")["learner"]
    assert (learner.prior_share, learner.offline_fraction) == (1.0, 0.75)
    assert "learner" not in context.node_configs("evaluate")


def test_another_task_for_the_same_run_is_refused(tmp_path):
    directory = RunDirectory(tmp_path / "one")
    open_run(directory, {"task": "pot_lid"})
    with pytest.raises(RobofumeError, match="started with task pot_lid, not pot_pick_and_place"):
        open_run(directory, {"task": "pot_pick_and_place"})


@pytest.mark.parametrize("text", ["- a", "{", "nonsense: 1", "seed: x"])
def test_a_damaged_configuration_is_one_sentence(tmp_path, text):
    directory = RunDirectory(tmp_path / "one")
    directory.path.mkdir()
    directory.config_file.write_text(text)
    with pytest.raises(RobofumeError) as error:
        open_run(directory, {})
    assert "\n" not in str(error.value)


def test_a_configuration_cut_at_any_byte_is_one_sentence_and_never_the_defaults(tmp_path):
    directory = RunDirectory(tmp_path / "one")
    config = open_run(directory, {"seed": 13, "settings": {"learner": {"x": 1.5}}, "prior": ["a", "b"]})
    data = directory.config_file.read_bytes()
    for length in range(len(data) - 1):
        directory.config_file.write_bytes(data[:length])
        with pytest.raises(RobofumeError):
            open_run(directory, {})
    directory.config_file.write_bytes(data[:-1])  # the last line without its end
    assert open_run(directory, {}) == config


def test_a_stage_record_cut_at_any_byte_is_one_sentence(tmp_path):
    directory = RunDirectory(tmp_path)
    directory.note("practice", finished=True, sessions=[{"steps": 3}])
    path = tmp_path / "stages" / "practice.json"
    data = path.read_bytes()
    for length in range(len(data)):
        path.write_bytes(data[:length])
        for read in (directory.stage_record, directory.finished):
            with pytest.raises(RobofumeError, match="remove it to repeat the stage"):
                read("practice")


def test_whatever_write_fails_the_old_configuration_or_the_new_one_is_there(tmp_path, failing_disk):
    directory = RunDirectory(tmp_path / "one")
    for fails_at in range(1, 50):
        directory.write_config({"seed": 1})
        with failing_disk(fails_at) as disk:
            try:
                directory.write_config({"seed": 2})
                told = False
            except OSError:
                told = True
        assert directory.read_config()["seed"] in ((1, 2) if told else (2,))
        if not disk.failed:
            return
    pytest.fail("the disk was never left alone")


def test_amounts_are_checked():
    with pytest.raises(RobofumeError, match="trials must be a whole number of 1 or more"):
        RunConfig(trials=0)


def test_two_processes_at_one_stage_of_a_run_are_one_too_many(tmp_path):
    holder = """
import sys, time
from pathlib import Path
from robofume_bringup.run_directory import RunDirectory
with RunDirectory(Path(sys.argv[1])).alone("demos"):
    print("held", flush=True)
    time.sleep(60)
"""
    directory = RunDirectory(tmp_path / "lid")
    other = subprocess.Popen([sys.executable, "-c", holder, str(directory.path)], stdout=subprocess.PIPE)
    try:
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(RobofumeError, match=rf"process \({other.pid}\) is at demos of the run lid already"):
            directory.alone("demos").__enter__()
        with directory.alone("practice"):  # another stage
            pass
    finally:
        other.kill()
        other.wait()
    for _ in range(2):  # a lock ends with its process, and with its block
        with directory.alone("demos"):
            pass


def test_the_domain_of_a_graph_that_was_killed_is_not_joined(tmp_path):
    """It may be another robot's by now."""
    holder = """
import sys, time
from pathlib import Path
from robofume_bringup.run_directory import note_domain
file = note_domain(Path(sys.argv[1]), 7)
print("up", flush=True)
time.sleep(600)
"""
    directory = RunDirectory(tmp_path / "lid")
    directory.logs.mkdir(parents=True)
    assert directory.running_domain() is None
    graph = subprocess.Popen([sys.executable, "-c", holder, str(directory.logs)], stdout=subprocess.PIPE)
    try:
        assert graph.stdout.readline() == b"up\n"
        assert directory.running_domain() == 7
        assert note_domain(directory.logs, 8) is None, "of two graphs of one run the first is joined"
        assert directory.running_domain() == 7
    finally:
        graph.kill()
        graph.wait()
    assert directory.running_domain() is None and (directory.logs / DOMAIN_FILE).exists()
    with note_domain(directory.logs, 9):
        assert directory.running_domain() == 9


def test_a_stage_that_is_killed_has_its_time_noted_and_the_next_start_adds_to_it(tmp_path):
    worker = """
import sys, time
from pathlib import Path
from robofume_bringup.run_directory import RunDirectory
from robofume_bringup.stages import context
context.NOTE_EVERY = 0.05
directory = RunDirectory(Path(sys.argv[1]))
with context.StageContext(directory, None, None).timed("practice"):
    for count in range(1000):
        directory.note("practice", count=count)
    print("noted", flush=True)
    time.sleep(600)
"""
    directory = RunDirectory(tmp_path / "lid")
    noted = [0.0]
    for _ in range(2):
        process = subprocess.Popen([sys.executable, "-c", worker, str(directory.path)], stdout=subprocess.PIPE)
        try:
            assert process.stdout.readline() == b"noted\n"
            end = time.monotonic() + 60.0
            while directory.stage_record("practice").get("seconds", 0.0) < noted[-1] + 0.5:
                assert time.monotonic() < end, "its time is not noted while it goes on"
                time.sleep(0.05)
        finally:
            process.kill()
            process.wait()
        record = directory.stage_record("practice")
        assert record["count"] == 999, "what the stage itself has noted is kept"
        noted.append(record["seconds"])
    assert noted[2] >= noted[1] + 0.5 >= 1.0


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_unwritable_place(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(RobofumeError, match="cannot be written"):
        RunDirectory(tmp_path / "one").prepare()


def test_a_file_in_the_way_of_the_run(tmp_path):
    (tmp_path / "runs").write_text("")
    with pytest.raises(RobofumeError, match="cannot be written"):
        RunDirectory(tmp_path / "runs" / "one").prepare()


def test_settings_from_the_command_line():
    assert parse_settings(["a.b=1", "a.c=1.5", "d.e=x", "d.f=[1, 2]"]) == {
        "a": {"b": 1, "c": 1.5},
        "d": {"e": "x", "f": [1, 2]},
    }
    for wrong in ("a=1", "a.b", "a.b=[", ".b=1"):
        with pytest.raises(RobofumeError):
            parse_settings([wrong])


def test_markers(tmp_path):
    directory = RunDirectory(tmp_path)
    directory.note("demos", seconds=3.0)
    assert directory.finished("demos") is None
    directory.note("demos", finished=True)
    assert directory.finished("demos") == {"seconds": 3.0, "finished": True}
    directory.forget("demos")
    assert directory.stage_record("demos") == {}
