"""The command line: help, and errors that a person can read."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from robofume_bringup.cli import main
from robofume_bringup.cli.commands import open_context
from robofume_bringup.cli.parser import build_parser
from robofume_bringup.run_config import RunConfig
from robofume_bringup.run_directory import RunDirectory
from robofume_bringup.task_files import FOLDER


def run(capsys, *arguments) -> tuple[int, str, str]:
    try:
        code = main([str(argument) for argument in arguments])
    except SystemExit as end:
        code = end.code
    output = capsys.readouterr()
    return code, output.out, output.err


COMMANDS = [
    [], ["demo"], ["up"], ["demos"], ["reward"], ["reward", "train"], ["reward", "evaluate"], ["reward", "rescore"],
    ["label"], ["pretrain"], ["retrain"], ["adapt"], ["practice"], ["evaluate"], ["report"], ["data"], ["data", "info"],
    ["data", "check"], ["tasks"], ["doctor"], ["teleop"], ["helped"], ["workspace"], ["workspace", "record"],
    ["camera", "crop"],
]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help(capsys, command):
    code, out, _ = run(capsys, *command, "--help")
    assert code == 0 and "usage: robofume" in out


def test_help_loads_nothing_heavy():
    script = (
        "import sys\nfrom robofume_bringup.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "print([m for m in ('torch', 'rclpy', 'mujoco', 'numpy', 'matplotlib') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert out.splitlines()[-1] == "[]"


def sentence(text: str) -> None:
    assert text.startswith("robofume: ") and "Traceback" not in text and len(text.splitlines()) == 1, text


def test_wrong_task_names_the_known_ones(capsys, tmp_path):
    code, _, err = run(capsys, "demo", "--task", "juggling", "--runs", tmp_path)
    assert code == 1 and "pot_pick_and_place" in err
    sentence(err)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "command",
    [["practice"], ["pretrain"], ["report"], ["evaluate"], ["reward", "train"], ["reward", "evaluate"]],
)
def test_a_run_that_does_not_exist(capsys, tmp_path, command):
    code, _, err = run(capsys, *command, "--run", "nothing", "--runs", tmp_path)
    assert code == 1 and "There is no run" in err
    sentence(err)


@pytest.mark.parametrize(
    "command", [["practice"], ["pretrain"], ["evaluate"], ["reward", "train"], ["reward", "evaluate"]]
)
def test_a_stage_before_its_turn_says_what_comes_first(capsys, tmp_path, command):
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "config.yaml").write_text("task: pot_pick_and_place\n")
    code, _, err = run(capsys, *command, "--run", "new", "--runs", tmp_path)
    assert code == 1 and "robofume" in err.removeprefix("robofume:")
    sentence(err)


def test_unwritable_run_directory(capsys, tmp_path):
    (tmp_path / "file").write_text("")
    code, _, err = run(capsys, "demos", "--runs", tmp_path / "file")
    assert code == 1 and "cannot be written" in err
    sentence(err)


def test_run_takes_a_name(capsys, tmp_path):
    code, _, err = run(capsys, "demos", "--run", "../elsewhere", "--runs", tmp_path)
    assert code == 1
    sentence(err)


WRONG = {
    ("--set", "arm.colour=red"): "colour",
    ("--set", "leg.colour=red"): "leg",
    ("--set", "agent.batch_sze=64"): "batch_sze",  # of a training that comes after two others
    ("--set", "agent.batch_size=-1"): "batch_size",
    ("--set", "reward_training.updates=few"): "updates",
    ("--set", "reward_data.colour=red"): "colour",
    ("--set", "replay.colour=red"): "colour",
    ("--set", "replay.online_capacity=100", "--set", "switcher.step_limit=100"): "may have 101 steps",
    ("--set", "learner.colour=red"): "colour",  # of a node of another stage
    ("--set", "sim.control_period=fast"): "control_period must be a number",
    ("--set", "sim.control_period=0.03"): "multiple of 0.02 s",
    ("--robot", "widowx", "--set", "arm.velocity_scale=fast"): "velocity_scale must be a number",
    ("--robot", "widowx", "--set", "camera.rate=[1]"): "rate must be a number",
    ("--set", "network.further_cameras=[moon]"): "no camera moon",
    ("--image-size", "1000"): "at most 256",
    ("--robot", "crane"): "no robot 'crane'",
}


@pytest.mark.parametrize("words", WRONG, ids=" ".join)
def test_a_run_is_not_begun_with_what_cannot_be(capsys, tmp_path, words):
    """It would keep that, and refuse what mends it."""
    code, _, err = run(capsys, "demos", "--runs", tmp_path, *words)
    assert code == 1 and WRONG[words] in err
    sentence(err)
    assert not list(tmp_path.iterdir())


def test_an_empty_name_is_not_that_of_the_task(capsys, tmp_path):
    code, _, err = run(capsys, "demos", "--run", "", "--runs", tmp_path)
    assert code == 1 and "--run takes a name" in err
    assert not list(tmp_path.iterdir())


def test_a_run_to_compare_with_is_named_and_not_given_as_a_path(capsys, tmp_path):
    """The record is named after it."""
    for name in ("lid", "lab"):
        RunDirectory(tmp_path / name).write_config(RunConfig(task="pot_lid").to_dict())
    for path in (f"../{tmp_path.name}/lab", "lab/", str(tmp_path / "lab")):
        code, _, err = run(capsys, "evaluate", "--run", "lid", "--runs", tmp_path, "--like", path)
        assert code == 1 and "--like names a run beside this one" in err
        sentence(err)


def test_an_adaptation_without_a_name_is_of_its_policys_task(tmp_path, monkeypatch):
    policy = RunDirectory(tmp_path / "elsewhere" / "lid")
    policy.write_config(RunConfig(task="pot_lid", image_size=96).to_dict())
    adapted = []
    monkeypatch.setattr("robofume_bringup.stages.adaptation.policy_named", lambda _path: policy.best)
    monkeypatch.setattr("robofume_bringup.stages.adaptation.checkpoint_to_take", lambda *_: None)
    monkeypatch.setattr("robofume_bringup.stages.adaptation.adapt_policy", lambda context, *_: adapted.append(context))
    assert main(["adapt", "--from", str(policy.path), "--runs", str(tmp_path)]) == 0
    config = adapted[0].config
    assert (adapted[0].directory.name, config.task, config.image_size) == ("pot_lid", "pot_lid", 96)


def test_a_task_file_is_found_from_any_folder(capsys, tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    file = tmp_path / "mine.yaml"
    file.write_bytes((FOLDER / "pot_lid.yaml").read_bytes())
    named = ["--runs", str(tmp_path), "--run", "real", "--robot", "widowx"]
    monkeypatch.chdir(tmp_path)
    for relative in (False, True):  # as runs of earlier versions have it
        if relative:
            RunDirectory(tmp_path / "real").write_config(RunConfig(task="mine.yaml", robot="widowx").to_dict())
        options = build_parser().parse_args(["demos", *named, "--task", "mine.yaml"])
        assert open_context(options, None).config.task == str(file)
    monkeypatch.chdir(tmp_path / "elsewhere")
    options = build_parser().parse_args(["demos", *named, "--task", "../mine.yaml"])
    assert open_context(options, None).config.task == str(file)
    assert run(capsys, "report", *named[:4])[0] == 0


@pytest.mark.parametrize("command", ["info", "check"])
def test_missing_bag(capsys, tmp_path, command):
    code, _, err = run(capsys, "data", command, tmp_path / "none.mcap")
    assert code == 1 and "none.mcap" in err
    sentence(err)


def test_nonsense_is_a_usage_error(capsys):
    assert run(capsys, "dance")[0] == 2
    assert run(capsys, "demo", "--seed", "x")[0] == 2


def test_the_command_runs_as_a_module():
    path = Path(sys.executable)
    done = subprocess.run(
        [path, "-m", "robofume_bringup", "tasks"], check=False, capture_output=True, text=True, env=os.environ
    )
    assert done.returncode == 0 and "pot_pick_and_place" in done.stdout


def test_a_run_that_is_not_up_cannot_be_driven(capsys, tmp_path):
    code, _, error = run(capsys, "teleop", "--run", "lid", "--runs", str(tmp_path))
    assert code == 1 and "The run lid is not up" in error


@pytest.mark.parametrize("size", [0, -4, 10**9])
def test_a_crop_for_a_picture_that_cannot_be_is_one_sentence(capsys, tmp_path, size):
    code, _, error = run(capsys, "camera", "crop", "--source", tmp_path / "none.png", "--image-size", size)
    assert code == 1 and "--image-size is from 8 to 2048" in error
    sentence(error)


@pytest.mark.parametrize("domain", [-3, 233])
def test_a_domain_that_there_is_not_is_one_sentence(capsys, domain):
    for command in (["teleop"], ["helped"], ["workspace", "record"]):
        code, _, error = run(capsys, *command, "--domain", domain)
        assert code == 1 and "--domain is from 0 to 232" in error
        sentence(error)


def test_a_workspace_without_an_arm_is_one_sentence(tmp_path, ros_domain):
    """As a process, ended by SIGTERM to the command alone."""
    command = [sys.executable, "-m", "robofume_bringup", "workspace", "record", "--output", str(tmp_path / "w.yaml")]
    process = subprocess.Popen(
        [*command, "--domain", str(ros_domain)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    line = process.stdout.readline()
    assert "Guide the gripper" in line
    process.terminate()
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 1 and "No joint states arrived" in output and "Traceback" not in output
