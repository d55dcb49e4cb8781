"""The command line: help, and errors that a person can read."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from robofume_bringup.cli import main


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


def test_setting_that_no_node_has(capsys, tmp_path):
    code, _, err = run(capsys, "demos", "--runs", tmp_path, "--set", "arm.colour=red")
    assert code == 1 and "colour" in err
    sentence(err)
    code, _, err = run(capsys, "demos", "--runs", tmp_path, "--run", "other", "--set", "leg.colour=red")
    assert code == 1 and "leg" in err
    sentence(err)


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
