"""The `robofume` command with the real nodes: collection, calm and hard ends, and the whole loop in small."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from fault_kit.rig import TASK, prepare
from random_episodes import random_episode
from robofume_bringup.episodes import read_summaries
from robofume_bringup.run_config import open_run, parse_settings
from robofume_bringup.run_directory import RunDirectory
from robofume_bringup.stages.demonstrations import successes
from robofume_data.bag_reader import read_episodes

COMMAND = [sys.executable, "-m", "robofume_bringup"]
DEADLINE = 240.0


@pytest.fixture
def start(tmp_path):
    started = []

    def begin(*arguments: str) -> subprocess.Popen:
        environment = {name: value for name, value in os.environ.items() if name != "ROS_DOMAIN_ID"}
        output = (tmp_path / f"output_{len(started)}").open("w+")
        process = subprocess.Popen(
            [*COMMAND, *arguments, "--runs", str(tmp_path / "runs")],
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
        process.read = lambda: Path(output.name).read_text()
        started.append(process)
        return process

    yield begin
    for process in started:
        if process.poll() is None:
            process.kill()


def wait_for(condition, process, seconds=DEADLINE):
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.read()
        assert time.monotonic() < end, process.read()
        time.sleep(0.1)


def end(process) -> int:
    try:
        return process.wait(DEADLINE)
    except subprocess.TimeoutExpired:
        pytest.fail(f"still running:\n{process.read()}")


def logs_without_traces(directory: RunDirectory) -> bool:
    return not any("Traceback" in log.read_text() for log in directory.logs.glob("*.log"))


def node_processes(process) -> list[psutil.Process]:
    return [child for child in psutil.Process(process.pid).children() if "robofume_" in " ".join(child.cmdline())]


def test_collection_is_killed_and_continues(start, tmp_path):
    directory = RunDirectory(tmp_path / "runs" / "small")
    arguments = ("demos", "--run", "small", "--failures", "1", "--demonstrations")
    first = start(*arguments, "1000")
    wait_for(lambda: re.search(r" ([2-9]|\d\d+)/2000 ", first.read()), first)
    # The recorder may be behind what is counted.
    wait_for(lambda: read_summaries(directory.bag_files("demos")), first)
    nodes = node_processes(first)
    assert len(nodes) == 8
    first.kill()
    first.wait()
    _, alive = psutil.wait_procs(nodes, timeout=60)
    assert not alive
    before = read_summaries(directory.bag_files("demos"))
    assert before
    wanted = max(successes(before)) + 1
    second = start(*arguments, str(wanted))
    assert end(second) == 0, second.read()
    after = read_summaries(directory.bag_files("demos"))
    assert [episode.episode_id for episode in after if episode.bag == before[0].bag] == [
        episode.episode_id for episode in before
    ]
    assert len({episode.episode_id for episode in after}) == len(after)
    demonstrations = [episode for episode in after if "clumsy" not in episode.bag.name]
    assert min(successes(demonstrations)) >= wanted
    assert len(after) > len(demonstrations)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_signal_stops_all_calmly(start, tmp_path, number):
    # An episode without an end, so that there is one in progress whenever the signal comes.
    endless = ("--set", "switcher.step_limit=10000", "--set", "switcher.min_episode_steps=10000")
    process = start("up", "--mode", "collect", "--run", "up", *endless)
    wait_for(lambda: re.search(r"[1-9]\d*step", process.read()), process)
    nodes = node_processes(process)
    process.send_signal(number)
    assert end(process) == 0, process.read()
    output = process.read()
    assert "Traceback" not in output and "did not end" not in output and "killed" not in output, output
    directory = RunDirectory(tmp_path / "runs" / "up")
    assert logs_without_traces(directory)
    assert not any(node.is_running() and node.status() != psutil.STATUS_ZOMBIE for node in nodes)
    assert read_summaries(directory.bag_files("demos"))[-1].outcome == 4  # the episode in progress: aborted


@pytest.mark.parametrize("name", ["camera", "sim"])
def test_a_node_that_dies_ends_the_run_with_its_name(start, tmp_path, name):
    process = start("up", "--mode", "collect", "--run", "up")
    wait_for(lambda: re.search(r"[1-9]\d*step", process.read()), process)
    nodes = node_processes(process)
    next(node for node in nodes if any(word.endswith(f".nodes.{name}") for word in node.cmdline())).kill()
    assert end(process) == 1
    assert f"The {name} node ended (killed by SIGKILL)" in process.read()
    assert "Traceback" not in process.read()
    assert not any(node.is_running() and node.status() != psutil.STATUS_ZOMBIE for node in nodes)
    read_summaries(RunDirectory(tmp_path / "runs" / "up").bag_files("demos"))


def test_nodes_that_die_are_started_again_as_configured(start, tmp_path):
    process = start("demos", "--run", "up", "--demonstrations", "1000", "--failures", "0", "--restarts", "1")

    def successes_so_far() -> int:
        return max(map(int, re.findall(r" (\d+)/2000 ", process.read())), default=0)

    def kill(name: str) -> None:
        next(n for n in node_processes(process) if any(w.endswith(f".nodes.{name}") for w in n.cmdline())).kill()
        wait_for(lambda: f"The {name} node ended (killed by SIGKILL); starting it again" in process.read(), process)
        before = successes_so_far()
        wait_for(lambda: successes_so_far() > before + 1, process)  # it goes on

    wait_for(successes_so_far, process)
    kill("camera")
    kill("policy")
    process.send_signal(signal.SIGINT)
    assert end(process) in (0, 130), process.read()
    assert "Traceback" not in process.read()
    assert read_summaries(RunDirectory(tmp_path / "runs" / "up").bag_files("demos"))


def test_practice_at_a_control_rate_of_ten_hertz_waits_for_nobody_and_ends_with_its_steps(start, tmp_path):
    directory = RunDirectory(tmp_path / "runs" / "timed")
    settings = ("sim.control_period=0.1", "reward.judge=ground_truth", "switcher.step_limit=10",
                "learner.warm_up_steps=10", "learner.checkpoint_every=1")  # fmt: skip
    open_run(directory, {"task": TASK, "settings": parse_settings(settings)})
    prepare(directory, [random_episode(number, "demos", 20) for number in range(2)])
    directory.reward.mkdir()
    process = start("practice", "--run", "timed", "--no-lockstep", "--practice-steps", "20")
    assert end(process) == 0, process.read()
    episodes = list(read_episodes(directory.bag_files("practice")))
    assert 20 <= sum(episode.length for episode in episodes) < 20 + 10
    for episode in episodes:
        assert np.all(np.diff(episode.stamps) % 100_000_000 == 0), "each observation is that of a control period"
        assert not np.any(np.diff(episode.stamps) == 0) and episode.length <= 10
    assert any(directory.checkpoints.glob("[0-9]*")), "the learner learns beside it"
    assert logs_without_traces(directory)


def test_the_whole_loop_in_small(start, tmp_path):
    process = start(
        "demo", "--run", "tiny", "--demonstrations", "2", "--failures", "2", "--pretraining-updates", "20",
        "--practice-steps", "60", "--trials", "1",
        "--set", "reward_training.updates=30", "--set", "reward_training.check_every=10",
        "--set", "reward_training.threads=1",
        # So few updates teach the judge nothing.
        "--set", "reward_training.retries=0", "--set", "reward.accept_unfit=true",
        "--set", "learner.warm_up_steps=20", "--set", "learner.publish_every=5",
        "--set", "agent.batch_size=16", "--set", "pretraining.checkpoint_every=10",
    )  # fmt: skip
    assert end(process) == 0, process.read()
    directory = RunDirectory(tmp_path / "runs" / "tiny")
    practice = read_summaries(directory.bag_files("practice"))
    assert sum(episode.num_steps for episode in practice) >= 60
    assert all(episode.true_success is not None for episode in practice)
    assert any(directory.checkpoints.glob("[0-9]*"))
    page = directory.report.read_text()
    assert "Success over practice" in page and "The reward model" in page
    assert logs_without_traces(directory)
    again = start("demo", "--run", "tiny")
    assert end(again) == 0, again.read()
    assert len(read_summaries(directory.bag_files("practice"))) == len(practice)
