"""The commands that bring data in and out: each is run as a person would."""

import os
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from robofume_bringup.cli import main
from robofume_bringup.forward_kinematics import proprioception_of
from robofume_common.enums import Outcome, RewardSource, Verdict
from robofume_data.bag_reader import read_episodes
from robofume_reward.model import RewardModel
from robofume_reward.saved import Calibration

from robofume_reward import tiny_model
from robofume_robot import kinematics

sys.path.append(str(Path(__file__).resolve().parents[2] / "robofume_data" / "test"))

from recorded_episodes import make_episode
from rlds_examples import example, tfrecord
from robofume_data.episode_writer import write_episodes
from robofume_data.labels import write_labels
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


def test_over_ray_it_is_the_same(tmp_path, capsys, monkeypatch):
    pytest.importorskip("ray", reason="the package ray is not installed")
    for number in range(3):
        (tmp_path / f"pots-train.tfrecord-{number:05d}-of-00003").write_bytes(tfrecord(example(seed=number), b"bad"))
    monkeypatch.chdir(tmp_path)
    command = ["import", "--rlds", ".", "--conventions", "bridge", "--output"]
    assert main([*command, "one", "--jobs", "1"]) == 0
    assert main([*command, "two", "--jobs", "2", "--ray", "local"]) == 0
    assert capsys.readouterr().out.count("not imported: 3") == 2
    for one, two in zip(read_episodes(tmp_path / "one"), read_episodes(tmp_path / "two"), strict=True):
        assert one.episode_id == two.episode_id
        np.testing.assert_array_equal(one.images, two.images)
    assert main([*command, "three", "--ray", "127.0.0.1:1"]) == 1
    assert "No Ray answers at 127.0.0.1:1" in capsys.readouterr().err


class RayError(Exception):
    pass


class RayTaskError(RayError):
    pass


class RayThatLosesAMachine(ModuleType):
    """What the import uses of Ray, in this process; the task of the second source is lost for good."""

    exceptions = SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError)

    def init(self, **settings):
        variables = settings["runtime_env"]["env_vars"]
        assert variables["PYTHONPATH"]
        assert sys.prefix in variables["AMENT_PREFIX_PATH"].split(os.pathsep)

    def remote(self, **_):
        return lambda work: SimpleNamespace(remote=lambda *arguments: (work, arguments))

    def wait(self, waiting, num_returns):
        return waiting[-num_returns:], waiting[:-num_returns]

    def get(self, task):
        work, (source, *rest) = task
        if "00001" in source.name:
            raise RayError("The node died.\nIts id was 1.")
        return work(source, *rest)

    def shutdown(self):
        self.ended = True


def test_a_source_whose_machine_is_lost_is_told_and_the_others_go_on(tmp_path, capsys, monkeypatch):
    ray = RayThatLosesAMachine("ray")
    monkeypatch.setitem(sys.modules, "ray", ray)
    for number in range(3):
        (tmp_path / f"pots-train.tfrecord-{number:05d}-of-00003").write_bytes(tfrecord(example(seed=number)))
    out = tmp_path / "out"
    out.mkdir()
    left = out / "pots-train-00000.mcap.elsewhere-7.unfinished"
    left.write_bytes(b"of an import that was killed")
    os.utime(left, (0, 0))
    command = ["import", "--rlds", str(tmp_path), "--conventions", "bridge", "--output", str(out), "--ray", "auto"]
    assert main(command) == 1
    said = capsys.readouterr().out
    assert "Imported 2 episodes" in said
    assert "00001-of-00003 was not imported: Ray could not finish it (The node died)" in said
    assert len(list(read_episodes(out))) == 2
    assert not list(out.glob("*unfinished*"))
    assert ray.ended


def test_without_ray_or_with_a_reward_model_a_sentence_says_so(tmp_path, capsys, monkeypatch):
    (tmp_path / "pots-train.tfrecord").write_bytes(tfrecord(example()))
    command = ["import", "--rlds", str(tmp_path), "--conventions", "bridge", "--output", str(tmp_path / "out")]
    monkeypatch.setitem(sys.modules, "ray", None)
    assert main([*command, "--ray", "auto"]) == 1
    assert "--ray needs the package ray" in capsys.readouterr().err
    config = tiny_model.TinyModelConfig(image_size=32, vision_width=8, text_width=32)
    tiny_model.save(tmp_path / "reward", config, seed=0)
    assert main([*command, "--ray", "auto", "--labels", "model", "--reward-model", str(tmp_path / "reward")]) == 1
    assert "labels on this machine alone" in capsys.readouterr().err


def test_a_reward_model_labels_what_is_imported_and_leaves_open_what_it_does_not_know(tmp_path, capsys):
    """A real model of random weights, whose calibration puts the last picture on either side of "failure"."""
    (tmp_path / "pots-train.tfrecord").write_bytes(tfrecord(example(8, seed=1)))
    model = tmp_path / "reward"
    tiny_model.save(model, tiny_model.TinyModelConfig(image_size=32, vision_width=8, text_width=32), seed=0)

    def labelled(name: str, calibration: Calibration):
        calibration.write(model)
        words = ["import", "--rlds", str(tmp_path), "--conventions", "bridge", "--labels", "model"]
        assert main([*words, "--reward-model", str(model), "--output", str(tmp_path / name)]) == 0
        return next(read_episodes(tmp_path / name)), capsys.readouterr().out

    episode, _ = labelled("first", Calibration())
    expected = RewardModel.load(model).probabilities(episode.images, [episode.instruction] * len(episode.images))
    np.testing.assert_allclose(episode.probabilities, expected, atol=1e-5)
    assert (episode.sources == RewardSource.VLM).all()
    odds = np.log(expected / (1 - expected))
    scale = 0.1 / np.abs(odds).max()  # so that no probability is above 0.53, and none a success
    squeezed = 1 / (1 + np.exp(-odds * scale))
    assert squeezed.std() > 1e-5  # else the test would show nothing
    for name, shift, outcome in (("unknown", -1e-6, Outcome.UNKNOWN), ("failure", 1e-6, Outcome.TIMEOUT)):
        boundary = float(squeezed[-1]) + shift
        episode, told = labelled(name, Calibration(1 / scale, 0.99, 0.95, boundary))
        verdicts = np.where(squeezed <= boundary, Verdict.FAILURE, Verdict.UNKNOWN)
        assert episode.verdicts.tolist() == verdicts.tolist()
        assert (episode.outcome, episode.success_index) == (outcome, -1)
        assert ("episodes of unknown outcome: 1" in told) == (outcome == Outcome.UNKNOWN)


def test_rewards_that_a_recording_does_not_carry_are_missed_aloud(tmp_path, capsys):
    messages = []
    for index in range(20):
        stamp = START + index * SECOND // 10
        messages.append((stamp, "/camera", image(stamp, index)))
        messages.append((stamp, "/wx250s/joint_states", joint_state(stamp, positions(index / 10), NAMES)))
    bag = write(tmp_path / "session", messages)
    words = ["import", str(bag), "--output", str(tmp_path / "out"), "--instruction", "turn", "--labels", "given"]
    assert main(words) == 1
    assert "it has no rewards; choose other labels" in capsys.readouterr().out


def test_an_export_has_what_a_person_said_afterwards(tmp_path):
    practice = tmp_path / "lid" / "bags" / "practice"
    practice.mkdir(parents=True)
    write_episodes(practice / "practice_0000.mcap", [make_episode(0, size=16)])
    write_labels(tmp_path / "lid" / "labels.json", {make_episode(0).episode_id: {-1: Verdict.FAILURE}})
    assert main(["export", str(practice), "--lerobot", str(tmp_path / "set")]) == 0
    words = ["import", "--lerobot", str(tmp_path / "set"), "--conventions", "robofume", "--output", str(tmp_path / "b")]
    assert main(words) == 0
    (episode,) = read_episodes(tmp_path / "b")
    assert (episode.outcome, episode.sources[-1]) == (Outcome.TIMEOUT, RewardSource.HUMAN)


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
