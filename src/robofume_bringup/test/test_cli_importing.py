"""The commands that bring data in and out: each is run as a person would."""

import sys
from pathlib import Path

import numpy as np
import pytest
from robofume_bringup.cli import main
from robofume_bringup.forward_kinematics import proprioception_of
from robofume_data.bag_reader import read_episodes

from robofume_robot import kinematics

sys.path.append(str(Path(__file__).resolve().parents[2] / "robofume_data" / "test"))

from recorded_episodes import make_episode
from rlds_examples import example, tfrecord
from robofume_data.episode_writer import write_episodes
from robot_recordings import SECOND, START, image, joint_state, write

NAMES = ("gripper", "right_finger", *kinematics.ARM_JOINT_NAMES, "left_finger")


def positions(seconds: float) -> list[float]:
    """Joint positions in the order of NAMES; the waist turns, the right finger counts negative."""
    return [0.5, -0.026, 0.05 * seconds, -0.3, 0.3, 0.0, 0.5, 0.0, 0.026]


def test_proprioception_comes_from_joints_in_any_order():
    q = [0.0, -0.3, 0.3, 0.0, 0.5, 0.0]
    expected = kinematics.proprioception([*q, 0.026, 0.026])
    np.testing.assert_allclose(proprioception_of(NAMES, positions(0.0)), expected)
    assert proprioception_of(NAMES[:-2], positions(0.0)[:-2]) is None
    assert proprioception_of(NAMES, [np.nan] * 9) is None


def test_a_recording_of_the_arm_is_imported(tmp_path, capsys):
    messages = [
        (START + index * SECOND // 10, "/camera", image(START + index * SECOND // 10, index)) for index in range(40)
    ]
    for index in range(200):
        stamp = START + index * SECOND // 50
        messages.append((stamp, "/wx250s/joint_states", joint_state(stamp, positions(index / 50), NAMES)))
    bag = write(tmp_path / "session", messages)
    command = ["import", str(bag), "--output", str(tmp_path / "out"), "--instruction", "turn", "--task", "turning"]
    assert main([*command, "--labels", "last", "--direction", "forward", "--image-size", "8", "--rate", "5"]) == 0
    assert "Imported 1 episodes, 19 steps" in capsys.readouterr().out
    (episode,) = read_episodes(tmp_path / "out")
    assert (episode.task, episode.instruction) == ("turning", "turn")
    assert episode.images.shape == (20, 8, 8, 3)
    np.testing.assert_allclose(episode.actions[:, 5], 0.01, atol=1e-5)  # the waist turns by 0.05 rad/s
    np.testing.assert_allclose(episode.actions[:, 6], 0.5, atol=1e-6)
    assert main(command) == 1
    assert "is there already" in capsys.readouterr().out


def test_two_processes_import_what_one_does(tmp_path, capsys):
    for number in range(3):
        (tmp_path / f"pots-train.tfrecord-{number:05d}-of-00003").write_bytes(tfrecord(example(seed=number), b"bad"))
    command = ["import", "--rlds", str(tmp_path), "--conventions", "bridge", "--output"]
    assert main([*command, str(tmp_path / "one"), "--jobs", "1"]) == 0
    assert main([*command, str(tmp_path / "two"), "--jobs", "2"]) == 0
    assert capsys.readouterr().out.count("not imported: 3") == 2
    for one, two in zip(read_episodes(tmp_path / "one"), read_episodes(tmp_path / "two"), strict=True):
        assert one.episode_id == two.episode_id
        np.testing.assert_array_equal(one.images, two.images)
        np.testing.assert_array_equal(one.actions, two.actions)


def test_export_repair_and_view(tmp_path, capsys):
    path = tmp_path / "bags" / "a.mcap"
    path.parent.mkdir()
    write_episodes(path, [make_episode(0, size=16), make_episode(1, size=16)])
    assert main(["export", str(path), "--lerobot", str(tmp_path / "set")]) == 0
    assert "Exported 2 episodes" in capsys.readouterr().out
    words = ["import", "--lerobot", str(tmp_path / "set"), "--conventions", "robofume", "--output", str(tmp_path / "b")]
    assert main(words) == 0
    assert main(["data", "view", "00001", str(path), "--output", str(tmp_path / "view")]) == 0
    assert len(list((tmp_path / "view").glob("*.png"))) == 2
    path.write_bytes(path.read_bytes()[:-200])
    assert main(["data", "repair", str(path), "--output", str(tmp_path / "repaired")]) == 0
    assert main(["data", "check", str(tmp_path / "repaired")]) == 0


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["import", "--output", "x"], "Say what to import"),
        (["import", "--rlds", ".", "--output", "x"], "Say what the numbers of the data mean"),
        (["import", "--rlds", ".", "--conventions", "none", "--output", "x"], "There are no conventions"),
        (["import", "none.mcap", "--output", "x"], "There is no bag none.mcap"),
        (["import", "--rlds", ".", "--conventions", "bridge", "--labels", "model", "--output", "x"], "TFRecord"),
        (["data", "view", "x", "none.mcap"], "There is no bag"),
    ],
)
def test_mistakes_get_one_sentence(words, sentence, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(words) == 1
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1
