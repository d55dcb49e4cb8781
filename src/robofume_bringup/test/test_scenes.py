"""Scenes arranged by hand: by the simulated task, by a person at the terminal, and from a real camera node."""

import json
import shutil
import subprocess
import sys
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from robofume_bringup.cli import main, person
from robofume_bringup.interruption import Interruption
from robofume_bringup.run_config import RunConfig
from robofume_bringup.run_directory import RunDirectory, note_domain
from robofume_bringup.stages.context import StageContext
from robofume_bringup.stages.scenes import arrange_scenes, ask_for_scenes, photographed
from robofume_common.enums import Direction, Outcome
from robofume_common.errors import RobofumeError
from robofume_data.bag_reader import read_episodes


def context_of(folder, **settings) -> StageContext:
    directory = RunDirectory(folder)
    directory.prepare()
    config = RunConfig(**{"task": "pot_lid", "in_process": True, **settings})
    directory.write_config(config.to_dict())
    return StageContext(directory, config, Interruption())


def scenes_of(context: StageContext) -> list:
    return list(read_episodes(context.directory.bag_files("scenes")))


def test_the_simulation_arranges_the_same_scenes_in_one_go_and_in_two(tmp_path, capsys):
    whole = context_of(tmp_path / "whole", scenes=5, seed=3)
    arrange_scenes(whole)
    first = context_of(tmp_path / "parts", scenes=2, seed=3)
    arrange_scenes(first)
    rest = context_of(tmp_path / "parts", scenes=5, seed=3)
    arrange_scenes(rest)
    arrange_scenes(rest)
    assert "Scenes arranged near the borders of the goals: 5" in capsys.readouterr().out
    once, twice = scenes_of(whole), scenes_of(rest)
    assert len(once) == len(twice) == 10 and photographed(rest) == 5
    for one, other in zip(once, twice, strict=True):
        assert (one.episode_id, one.outcome) == (other.episode_id, other.outcome)
        np.testing.assert_array_equal(one.images, other.images)
    assert {episode.outcome for episode in once} == {Outcome.SUCCESS, Outcome.TIMEOUT}
    assert once[0].images.shape == (1, 64, 64, 3) and np.ptp(once[0].images) > 100
    assert abs(once[0].proprioception[0, 2] - 0.17) < 0.02, "the arm is at home"
    assert len(list((rest.directory.path / "scenes").glob("*.png"))) == 5


def test_a_task_without_such_scenes_has_none_and_says_so(tmp_path, capsys):
    context = context_of(tmp_path / "pot", task="pot_plates", scenes=5)
    arrange_scenes(context)
    assert photographed(context) == 0
    assert main(["scenes", "--run", "pot", "--runs", str(tmp_path)]) == 0
    assert "pot_plates arranges no scenes" in capsys.readouterr().out


def test_a_kill_between_two_scenes_loses_none_and_the_reward_model_learns_from_them(tmp_path):
    context = context_of(tmp_path / "lid", scenes=40, demonstrations=2, failures=2)
    command = [shutil.which("robofume"), "demos", "--run", "lid", "--runs", str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while photographed(context) < 3:
        assert process.poll() is None
    process.kill()
    process.wait()
    there = photographed(context)
    assert 3 <= there <= 40 and len(scenes_of(context)) == 2 * there
    runs = ["--run", "lid", "--runs", str(tmp_path)]
    assert main(["scenes", *runs, "--scenes", str(max(there, 20))]) == 0
    assert photographed(context) == max(there, 20)
    assert main(["reward", "train", *runs, "--set", "reward_training.updates=2"]) == 0
    summary = json.loads((context.directory.reward / "training.json").read_text())
    assert summary["mined_questions"] > 10 and any("scenes" in bag for bag in summary["bags"])


def test_a_person_is_asked_until_it_is_enough(tmp_path, capsys):
    context = context_of(tmp_path / "lid", robot="widowx", scenes=4, image_size=32)
    pictures = iter(np.random.default_rng(0).integers(0, 255, (4, 32, 32, 3), np.uint8))
    typed = iter(["f", "yes", " N ", "q"])
    prompts = []

    def answer(prompt: str) -> str:
        prompts.append(prompt)
        return next(typed)

    ask_for_scenes(context, lambda: next(pictures), answer)
    said = capsys.readouterr().out
    assert "put the lid on the pot" in said and "'yes' is none of the answers" in said and "2 scenes of 4" in said
    assert prompts == [f"Scene {number} of 4 [f/b/n/q]: " for number in (1, 2, 2, 3)]
    ends = [(episode.direction, episode.outcome) for episode in scenes_of(context)]
    assert ends == [
        (Direction.FORWARD, Outcome.SUCCESS), (Direction.BACKWARD, Outcome.TIMEOUT),
        (Direction.FORWARD, Outcome.TIMEOUT), (Direction.BACKWARD, Outcome.TIMEOUT),
    ]  # fmt: skip

    def gone():
        raise RobofumeError("No picture came.")

    with pytest.raises(RobofumeError, match="No picture came"):
        ask_for_scenes(context, gone, lambda _prompt: "b")
    with pytest.raises(RobofumeError, match="64 x 48, those of this run are 32 x 32"):
        ask_for_scenes(context, lambda: np.zeros((48, 64, 3), np.uint8), lambda _prompt: "b")
    assert photographed(context) == 2

    def closed(_prompt: str) -> str:
        raise EOFError

    more = iter(["b", "fb"])
    ask_for_scenes(context, lambda: next(pictures), lambda _prompt: next(more))
    assert photographed(context) == 4
    ask_for_scenes(context, gone, closed)
    assert "There are 4 scenes already; --scenes 24 asks for 20 more." in capsys.readouterr().out
    ask_for_scenes(context_of(tmp_path / "lid", robot="widowx", scenes=5, image_size=32), gone, closed)
    assert photographed(context) == 4


def test_a_wrong_answer_is_taken_back_with_a_label(tmp_path, capsys):
    context = context_of(tmp_path / "lid", robot="widowx", scenes=1, image_size=32)
    ask_for_scenes(context, lambda: np.zeros((32, 32, 3), np.uint8), lambda _prompt: "f")
    runs = ["--run", "lid", "--runs", str(tmp_path)]
    assert main(["label", "scene_forward-000000", "failure", *runs]) == 0
    assert "the policy" not in capsys.readouterr().out, "it learns from practice, not from pictures"
    from robofume_data.labels import read_labelled

    (forward, _) = read_labelled(context.directory.bag_files("scenes"))
    assert forward.outcome == Outcome.TIMEOUT


def test_the_picture_is_that_of_the_running_camera(tmp_path, ros_domain):
    context = context_of(tmp_path / "lid", robot="widowx", scenes=3, image_size=32)
    shown = np.zeros((48, 64, 3), np.uint8)
    shown[:, 8:56] = (10, 20, 200)
    video = cv2.VideoWriter(str(tmp_path / "seen.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 5.0, (64, 48))
    for _ in range(300):
        video.write(shown)
    video.release()
    module = ["-m", "robofume_robot.nodes.camera", "--ros-args"]
    settings = ["-p", f"source:='{tmp_path / 'seen.avi'}'", "-p", "width:=32", "-p", "height:=32"]
    camera = subprocess.Popen([sys.executable, *module, *settings])
    try:
        command = [shutil.which("robofume"), "scenes", "--run", "lid", "--runs", str(tmp_path)]
        command += ["--domain", str(ros_domain)]
        done = subprocess.run(command, input="b\nq\n", capture_output=True, text=True, timeout=90, check=False)
    finally:
        camera.terminate()
        camera.wait()
    assert done.returncode == 0, done.stderr
    (forward, backward) = scenes_of(context)
    assert (forward.outcome, backward.outcome) == (Outcome.TIMEOUT, Outcome.SUCCESS)
    assert forward.images.shape == (1, 32, 32, 3)
    np.testing.assert_allclose(forward.images[0, 16, 16], (200, 20, 10), atol=12)


def test_the_graph_is_that_of_the_option_of_the_run_or_of_the_environment(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(person, "snapshot", lambda *arguments: asked.append(arguments))
    monkeypatch.setenv("ROS_DOMAIN_ID", "44")
    directory = context_of(tmp_path / "lid", robot="widowx").directory
    given = {"runs": tmp_path, "namespace": "/left/", "domain": None, "secure": False}
    person.picture_of(SimpleNamespace(**given), "lid")()
    directory.logs.mkdir(exist_ok=True)
    with note_domain(directory.logs, 9):
        person.picture_of(SimpleNamespace(**given), "lid")()
        person.picture_of(SimpleNamespace(**given | {"domain": 7}), "lid")()
    assert {(topic, namespace) for topic, _, namespace in asked} == {("observation/image", "/left/")}
    assert [environment["ROS_DOMAIN_ID"] for _, environment, _ in asked] == ["44", "9", "7"]
