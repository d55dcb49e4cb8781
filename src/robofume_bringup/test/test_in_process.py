"""The graph in one process: the same commands, the same bags, the same course each time, and no rclpy node."""

import json
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fault_kit.rig import prepare
from random_episodes import random_episode
from robofume_bringup.cli import main
from robofume_bringup.graph import GraphSettings, build_graph
from robofume_bringup.in_process_graph import InProcessJudge
from robofume_bringup.in_process_session import InProcessSession
from robofume_bringup.interruption import Interruption
from robofume_bringup.run_config import open_run, parse_settings
from robofume_bringup.run_directory import RunDirectory
from robofume_common.enums import Actor, Direction, Outcome, Phase, RewardSource, Verdict
from robofume_common.errors import RobofumeError
from robofume_data.bag_reader import Bag, read_episodes
from robofume_data.bag_writer import BagWriter
from robofume_data.check import check_bags
from robofume_policy.nodes.learner import LearnerNodeConfig
from robofume_reset.events import PublishEpisode
from robofume_reset.state import load_state, save_state
from robofume_reset.switching import SwitchingConfig
from robofume_reward.familiarity import Familiarity
from robofume_reward.reward_config import RewardNodeConfig
from robofume_reward.saved import Calibration, View
from robofume_sim.tasks import TASKS

from robofume_bringup import in_process_learner

TASK = "pot_pick_and_place"
COMMON = ("--in-process", "--task", TASK)
PRACTICE = ("reward.judge=ground_truth", "learner.warm_up_steps=50", "learner.publish_every=10",
            "learner.checkpoint_every=20")  # fmt: skip


def demonstrate(runs, name: str, *more: str) -> RunDirectory:
    words = ("demos", "--runs", str(runs), "--run", name, *COMMON, "--demonstrations", "2", "--failures", "1", *more)
    assert main(list(words)) == 0
    return RunDirectory(runs / name)


@pytest.fixture(scope="module")
def collected(tmp_path_factory) -> RunDirectory:
    return demonstrate(tmp_path_factory.mktemp("runs"), "one")


def practising(directory: RunDirectory, collected: RunDirectory, *more: str) -> list[str]:
    """A run with a small policy and `more` settings, and the words that let it practise, judged by the truth."""
    open_run(directory, {"task": TASK, "in_process": True, "settings": parse_settings((*PRACTICE, *more))})
    prepare(directory, list(read_episodes(collected.bag_files("demos"))))
    directory.reward.mkdir()
    return ["practice", "--runs", str(directory.path.parent), "--run", directory.name]


def test_pictures_between_the_judged_steps_are_looked_at_as_the_node_does():
    seen = []

    def answers(images, instructions):
        seen.append(images[..., 0, 0, 0].tolist())
        return np.array([0.4])

    model = SimpleNamespace(
        view=View(2, 1), familiarity=Familiarity(), probabilities=answers, opposites={}, calibration=Calibration()
    )
    judge = InProcessJudge(RewardNodeConfig(every=2), model)
    pictures = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), np.uint8)
    for index, picture in enumerate(pictures):
        judge(
            SimpleNamespace(
                episode_id="a", index=index, direction=Direction.FORWARD, phase=Phase.FORWARD, instruction="x",
                image=picture, proprioception=np.zeros(7, np.float32), action=np.zeros(7),
            ),
            None,
        )  # fmt: skip
    first = pictures[:, 0, 0, 0].tolist()
    assert seen == [[[first[0], first[0]]], [[first[1], first[2]]]]


def test_the_same_seed_gives_the_same_demonstrations_and_another_seed_others(collected, tmp_path):
    again = demonstrate(tmp_path, "again")
    first, second = (list(read_episodes(run.bag_files("demos"))) for run in (collected, again))
    assert [e.episode_id for e in first] == [e.episode_id for e in second]
    for a, b in zip(first, second, strict=True):
        assert np.array_equal(a.images, b.images) and np.array_equal(a.actions, b.actions)
        assert np.array_equal(a.stamps, b.stamps) and a.outcome == b.outcome
    other = list(read_episodes(demonstrate(tmp_path, "other", "--seed", "7").bag_files("demos")))
    assert not np.array_equal(first[0].images[0], other[0].images[0])


def test_demonstrations_are_whole_episodes_judged_by_the_truth(collected):
    episodes = list(read_episodes(collected.bag_files("demos")))
    assert sum(e.outcome == Outcome.SUCCESS for e in episodes) >= 4
    for episode in episodes:
        episode.validate()
        assert (episode.actors == Actor.SCRIPT).all()
        assert (episode.sources == RewardSource.GROUND_TRUTH).all()
        assert ((episode.verdicts == Verdict.SUCCESS) == episode.truth).all()
        assert (np.diff(episode.stamps) > 0).all()
        limit = TASKS[TASK].description.steps_allowed(demonstrating=True)
        assert episode.length <= limit
        if episode.outcome == Outcome.SUCCESS:  # three in a row, as the graph's switcher asks for
            assert episode.truth[episode.success_index : episode.success_index + 3].all()
        else:
            assert episode.length == limit
    assert not collected.parameters.exists(), "no node was started"


@pytest.mark.parametrize("task", ["candy_sweeping", "pot_plates"])
def test_other_hands_and_chains_of_tasks_are_demonstrated_too(task, tmp_path):
    words = ["demos", "--runs", str(tmp_path), "--run", "one", "--in-process", "--task", task, "--failures", "0"]
    assert main([*words, "--demonstrations", "3"]) == 0
    episodes = list(read_episodes(RunDirectory(tmp_path / "one").bag_files("demos")))
    assert {episode.task for episode in episodes} == {pair.name for pair in TASKS[task].description.pairs}
    assert all(((e.verdicts == Verdict.SUCCESS) == e.truth).all() for e in episodes)
    put_down_anew = TASKS[task].description.demonstrations_per_scene
    for number, episode in enumerate(episodes):
        assert episode.assisted_reset_before == (number > 0 and put_down_anew > 0 and number % put_down_anew == 0)
    assert len(episodes) > 4 or put_down_anew == 0, "too few to see it"


def test_practice_learns_records_and_continues(collected, tmp_path, capsys):
    directory = RunDirectory(tmp_path / "small")
    words = practising(directory, collected)
    assert main([*words, "--practice-steps", "110"]) == 0
    assert "Practice: " in capsys.readouterr().out
    episodes = list(read_episodes(directory.bag_files("practice")))
    steps = sum(episode.length for episode in episodes)
    assert steps >= 110
    assert max(int(path.name) for path in directory.checkpoints.glob("[0-9]*")) == steps - 50
    assert len({int(version) for e in episodes for version in e.policy_versions}) > 2, "newer weights act"
    assert main([*words, "--practice-steps", "160"]) == 0
    more = list(read_episodes(directory.bag_files("practice")))
    assert len(directory.bag_files("practice")) == 2
    ids = [episode.episode_id for episode in more]
    assert len(set(ids)) == len(ids) > len(episodes)
    total = sum(episode.length for episode in more)
    assert max(int(path.name) for path in directory.checkpoints.glob("[0-9]*")) == total - 50
    log = (directory.logs / "in_process.log").read_text()
    assert f"Continuing with {steps - 50} updates, {steps} steps, {len(episodes)} episodes" in log


def test_where_practice_does_not_get_on_the_scene_is_nudged_once_and_then_reset(collected, tmp_path):
    directory = RunDirectory(tmp_path / "stuck")
    impatient = ("switcher.failures_before_reset=1", "switcher.failures_after_nudge=1")
    words = practising(directory, collected, *impatient)
    assert main([*words, "--practice-steps", "150"]) == 0
    episodes = list(read_episodes(directory.bag_files("practice")))
    (nudge,) = [episode for episode in episodes if episode.outcome == Outcome.INTERVENTION]
    task = TASKS[TASK].description
    assert np.allclose(nudge.actions.ravel(), task.nudge_actions, atol=1e-6) and (nudge.actors == Actor.SCRIPT).all()
    assert [episode.outcome for episode in episodes[:3]] == [Outcome.TIMEOUT, Outcome.INTERVENTION, Outcome.TIMEOUT]
    assert [episode.assisted_reset_before for episode in episodes[:4]] == [False, False, False, True]
    begun = [episode.proprioception[0, :3] for episode in episodes]
    assert np.allclose(begun, begun[0], atol=0.005), "each begins at home, that after the nudge too"


def test_the_same_practice_again_is_the_same(collected, tmp_path):
    courses = []
    for name in ("one", "two"):
        directory = RunDirectory(tmp_path / name)
        assert main([*practising(directory, collected), "--practice-steps", "80"]) == 0
        courses.append(list(read_episodes(directory.bag_files("practice"))))
    assert len(courses[0]) == len(courses[1]) > 2
    for a, b in zip(*courses, strict=True):
        assert np.array_equal(a.actions, b.actions) and np.array_equal(a.images, b.images)
        assert np.array_equal(a.policy_versions, b.policy_versions) and a.outcome == b.outcome


def test_a_killed_practice_loses_the_open_episode_at_most(collected, tmp_path):
    directory = RunDirectory(tmp_path / "killed")
    words = [sys.executable, "-m", "robofume_bringup", *practising(directory, collected), "--practice-steps"]
    process = subprocess.Popen([*words, "100000"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 300
        while len(list(read_episodes(directory.bag_files("practice")))) < 3:
            assert process.poll() is None and time.monotonic() < end
            time.sleep(0.2)
    finally:
        process.kill()
        process.wait()
    before = list(read_episodes(directory.bag_files("practice")))
    steps = sum(episode.length for episode in before)
    assert main([*words[3:], str(steps + 20)]) == 0
    after = list(read_episodes(directory.bag_files("practice")))
    assert [e.episode_id for e in after[: len(before)]] == [e.episode_id for e in before]
    assert len({e.episode_id for e in after}) == len(after)
    newest = max(int(path.name) for path in directory.checkpoints.glob("[0-9]*"))
    # A checkpoint of just before the kill has learnt at the steps of the episode that was lost, too.
    ahead = newest - (sum(e.length for e in after) - 50)
    assert 0 <= ahead <= TASKS[TASK].description.steps_allowed(demonstrating=False)


def test_an_end_that_a_killed_graph_had_counted_and_not_said_is_said(collected, tmp_path):
    directory = RunDirectory(tmp_path / "killed")
    words = practising(directory, collected)
    assert main([*words, "--practice-steps", "60"]) == 0
    before = list(read_episodes(directory.bag_files("practice")))
    steps = sum(episode.length for episode in before)
    (whole,), last = directory.bag_files("practice"), before[-1]
    whole.rename(tmp_path / "whole.mcap")
    with BagWriter(whole) as writer:  # as the graph's recorder leaves it, which has heard all but the last end
        for raw, message in Bag(tmp_path / "whole.mcap").messages():
            writer.add_topic(raw.topic, raw.type_name)
            if raw.topic != "/episode" or message.episode_id != last.episode_id:
                writer.write(raw.topic, bytes(raw.data), raw.log_time)
    assert len(list(read_episodes(whole))) == len(before) - 1
    state = load_state(directory.switcher_state("practice"), SwitchingConfig())
    state.unheard = [
        PublishEpisode(
            last.episode_id, last.phase, last.direction, last.instruction, last.length, last.outcome,
            last.success_index, last.assisted_reset_before,
        )
    ]  # fmt: skip
    save_state(directory.switcher_state("practice"), state)

    assert main([*words, "--practice-steps", str(steps + 20)]) == 0
    after = list(read_episodes(directory.bag_files("practice")))
    assert [e.episode_id for e in after[: len(before)]] == [e.episode_id for e in before]
    assert (after[len(before) - 1].outcome, after[len(before) - 1].task) == (last.outcome, TASK)
    assert sum(e.length for e in after) >= steps + 20 and len({e.episode_id for e in after}) == len(after)
    assert f"{steps} steps, {len(before)} episodes" in (directory.logs / "in_process.log").read_text(), "it is learnt"
    assert load_state(directory.switcher_state("practice"), SwitchingConfig()).unheard == []
    reports = check_bags(directory.bags("practice"))
    assert all(report.is_sound and "skipped" not in "".join(report.warnings) for report in reports)


def test_ctrl_c_ends_practice_calmly(collected, tmp_path):
    directory = RunDirectory(tmp_path / "stopped")
    # An episode without an end, so that there is one in progress whenever the signal comes.
    endless = ("switcher.step_limit=10000", "switcher.min_episode_steps=10000")
    words = practising(directory, collected, *endless)
    words = [sys.executable, "-m", "robofume_bringup", *words, "--practice-steps", "100000"]
    process = subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    end = time.monotonic() + 300
    while not list(directory.checkpoints.glob("[0-9]*")):
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.2)
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 130, output
    assert "Traceback" not in output
    assert list(read_episodes(directory.bag_files("practice")))[-1].outcome == Outcome.ABORTED
    assert list(directory.checkpoints.glob("[0-9]*"))


class Owing:
    """A learner that owes 1000 updates, and notes on how many threads it was asked for anything to compute."""

    steps = episodes = 0
    metric_names = ()

    def __init__(self):
        self.updates, self.computed_on = 0, set()

    def updates_due(self):
        return 1000 - self.updates

    def next_block(self, most, _due_every):
        return min(most, self.updates_due())

    def train(self, updates):
        self.updates += updates
        self.computed_on.add(torch.get_num_threads())
        return {}

    def read_back(self, _episodes):
        self.computed_on.add(torch.get_num_threads())

    def add_episode(self, _episode):
        self.computed_on.add(torch.get_num_threads())

    def note_steps(self, _count):
        pass


def owing_learner(monkeypatch, **settings):
    owing = Owing()
    monkeypatch.setattr(in_process_learner, "OnlineLearner", SimpleNamespace(from_pretrained=lambda *_, **__: owing))
    config = LearnerNodeConfig(update_block=10, **settings)
    return owing, in_process_learner.InProcessLearner(config, print)


def test_ctrl_c_does_not_wait_for_the_updates_that_are_owed(monkeypatch):
    owing, learner = owing_learner(monkeypatch)
    learner.train(until=lambda: owing.updates >= 30)
    assert owing.updates == 30
    learner.train()
    assert owing.updates == 1000


def test_the_learners_threads_are_its_own(monkeypatch):
    owing, learner = owing_learner(monkeypatch, threads=3)
    learner.train()
    learner.add_episode(random_episode(0, "practice", 8))
    assert owing.computed_on == {3}
    assert torch.get_num_threads() == 1, "what acts and judges beside it computes as before"


def test_evaluation_is_the_same_each_time(collected, tmp_path, capsys):
    directory = RunDirectory(tmp_path / "evaluated")
    practising(directory, collected)
    words = ["evaluate", "--runs", str(tmp_path), "--run", "evaluated", "--weights", "pretrained", "--trials", "2"]
    records = []
    for _ in range(2):
        assert main(words) == 0
        record = (directory.evaluations / "before.json").read_text().splitlines()
        records.append([line for line in record if '"started"' not in line and '"duration"' not in line])
    assert records[0] == records[1]
    record = json.loads((directory.evaluations / "before.json").read_text())
    assert len(record["forward_success"]) == len(record["backward_success"]) == 2
    shown = {
        f"{what}_{direction}_in_the_evaluation_before_practice.png"
        for direction in ("forward", "backward")
        for what, outcome in (("a_success", True), ("a_failure", False))
        if outcome in record[f"{direction}_success"]
    }
    assert shown and {path.name for path in directory.figures.iterdir()} == shown
    told = capsys.readouterr()
    assert all(name in told.out + told.err for name in (str(directory.figures), *shown))
    for direction in ("forward", "backward"):
        for success, score in zip(record[f"{direction}_success"], record[f"{direction}_score"], strict=True):
            assert score == 1.0 if success else 0.0 <= score < 1.0


def test_a_chain_is_practised_and_evaluated_pair_by_pair(tmp_path, capsys):
    task = TASKS["pot_plates"].description
    pairs = [pair.name for pair in task.pairs]
    words = ("--runs", str(tmp_path), "--run", "chain")
    assert main(["demos", *words, "--in-process", "--task", task.name, "--demonstrations", "2", "--failures", "0",
                 *(word for setting in PRACTICE for word in ("--set", setting)), "--set", "network.hidden_size=32"]
                ) == 0  # fmt: skip
    assert main(["pretrain", *words, "--pretraining-updates", "2"]) == 0
    directory = RunDirectory(tmp_path / "chain")
    directory.reward.mkdir()
    assert main(["practice", *words, "--practice-steps", "60"]) == 0
    practised = [episode.task for episode in read_episodes(directory.bag_files("practice"))]
    assert practised and set(practised) <= set(pairs)
    capsys.readouterr()
    assert main(["evaluate", *words, "--trials", "1"]) == 0
    record = json.loads((directory.evaluations / "after.json").read_text())
    assert record["forward_task"] == record["backward_task"] == pairs
    for direction in (Direction.FORWARD, Direction.BACKWARD):
        seen = [e for e in read_episodes(directory.bag_files("evaluate")) if e.direction == direction]
        name = direction.name.lower()
        assert [e.task for e in seen] == record[f"{name}_task"], "the record is in the order of the trials"
        assert [e.outcome == Outcome.SUCCESS for e in seen] == record[f"{name}_success"]
    told = capsys.readouterr()
    assert all(f"Of it {pair}: forward" in told.out + told.err for pair in pairs)
    assert main(["report", *words]) == 0
    page = directory.report.read_text()
    for pair in task.pairs:
        assert pair.forward_instruction in page and f"<td>backward, {pair.name}</td>" in page
        assert f"{pair.name}: {practised.count(pair.name)} episodes of practice" in page


def test_a_run_by_the_wall_clock_is_refused_with_a_sentence(collected, tmp_path, capsys):
    words = practising(RunDirectory(tmp_path / "timed"), collected)
    assert main([*words, "--no-lockstep"]) == 1
    assert "go on with --lockstep, or with --no-in-process" in capsys.readouterr().err


def test_a_run_that_asks_a_person_is_refused_before_anything_starts(collected, tmp_path, capsys):
    directory = RunDirectory(tmp_path / "asking")
    words = practising(directory, collected, "switcher.ask_person=true")
    assert main([*words, "--practice-steps", "20"]) == 1
    assert "nobody can be waited for, as switcher.ask_person wants: go on with --no-in-proc" in capsys.readouterr().err
    assert not directory.bag_files("practice") and not directory.checkpoints.exists()


def test_a_policy_with_two_cameras_learns_practises_and_is_evaluated(collected, tmp_path):
    settings = ("network.further_cameras=[side]", "network.hidden_size=32", *PRACTICE)
    directory = demonstrate(tmp_path, "two", *(word for setting in settings for word in ("--set", setting)))
    plain, seen = list(read_episodes(collected.bag_files("demos"))), []
    for episode in read_episodes(directory.bag_files("demos"), cameras=["side"]):
        seen.append(episode)
        side = episode.further_images["side"]
        assert side.shape == episode.images.shape and (side != episode.images).mean() > 0.5
        assert (side[0] != side[-1]).any(), "it sees the arm move"
    assert all(np.array_equal(a.images, b.images) for a, b in zip(plain, seen, strict=True)), "the first sees the same"
    run = ("--runs", str(tmp_path), "--run", "two")
    assert main(["pretrain", *run, "--pretraining-updates", "2"]) == 0
    directory.reward.mkdir()
    assert main(["practice", *run, "--practice-steps", "60"]) == 0
    assert not directory.best.exists() and directory.policy("practised") == directory.checkpoints
    assert main(["practice", *run, "--practice-steps", "70"]) == 0  # reads what was practised
    assert all("side" in e.further_images for e in read_episodes(directory.bag_files("practice"), cameras=["side"]))
    assert main(["evaluate", *run, "--weights", "practised", "--trials", "1"]) == 0
    assert main(["practice", *run, "--no-in-process", "--practice-steps", "80"]) == 0  # nodes go on with it
    seen = {episode.episode_id: episode for episode in read_episodes(directory.bag_files("practice"), cameras=["side"])}
    assert len(seen) == len(list(read_episodes(directory.bag_files("practice")))), "all with both pictures"
    newest = list(seen.values())[-1]
    assert (newest.further_images["side"] != newest.images).mean() > 0.5
    assert (newest.further_images["side"][0] != newest.further_images["side"][1:]).any(), "it sees the arm move"


def test_a_camera_that_the_simulation_has_not_is_named(tmp_path, capsys):
    words = ("demos", "--runs", str(tmp_path), "--run", "far", *COMMON, "--set", "network.further_cameras=[moon]")
    assert main(list(words)) == 1
    assert "no camera moon; it has third_person, side" in capsys.readouterr().err


def test_what_cannot_run_so_is_one_sentence(tmp_path):
    nodes = build_graph(GraphSettings(TASK, "collect", robot="gazebo", record=False))
    with pytest.raises(RobofumeError, match="Only the embedded simulation can run in one process, and not gazebo_"):
        InProcessSession(nodes, TASKS[TASK].description, tmp_path / "log", Interruption())
