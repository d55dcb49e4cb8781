"""The `robofume` command with the real nodes: collection, calm and hard ends, and the whole loop in small."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from robofume_bringup.episodes import read_summaries
from robofume_bringup.run_directory import RunDirectory
from robofume_bringup.stages.demonstrations import successes

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
    wait_for(lambda: re.search(r" [2-9]/2000 ", first.read()), first)
    nodes = node_processes(first)
    assert len(nodes) == 8
    first.kill()
    first.wait()
    _, alive = psutil.wait_procs(nodes, timeout=10)
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
    process = start("up", "--mode", "collect", "--run", "up")
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
    process = start("demos", "--run", "up", "--demonstrations", "40", "--failures", "0", "--restarts", "1")

    def successes_so_far() -> int:
        return max(map(int, re.findall(r" (\d+)/80 ", process.read())), default=0)

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


def test_the_whole_loop_in_small(start, tmp_path):
    process = start(
        "demo", "--run", "tiny", "--demonstrations", "2", "--failures", "2", "--pretraining-updates", "20",
        "--practice-steps", "60", "--trials", "1",
        "--set", "reward_training.updates=30", "--set", "reward_training.check_every=10",
        "--set", "reward_training.threads=1",
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
