"""The process runner, with nodes that behave badly in every way that matters."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest
import yaml
from robofume_bringup.node_table import NodeDescription
from robofume_bringup.run_directory import RunDirectory
from robofume_bringup.runner import GraphRunner, NodeDied, parameter_file

FAKES = Path(__file__).parent / "fake_nodes"


@pytest.fixture
def make_runner(tmp_path, monkeypatch):
    monkeypatch.delenv("ROS_DOMAIN_ID", raising=False)
    journal = tmp_path / "journal"
    runners = []

    def make(*nodes: dict) -> GraphRunner:
        descriptions = []
        for values in nodes:
            values = dict(values)
            behaviour = values.pop("behaviour", "calm")
            parameters = {"behaviour": behaviour, "journal": str(journal), "name": values["name"]}
            values.setdefault("stop_deadline", 60.0)  # nobody waits for it who is calm
            descriptions.append(NodeDescription("fake", module="fake_node", parameters=parameters, **values))
        path = os.pathsep.join([str(FAKES), os.environ.get("PYTHONPATH", "")])
        runner = GraphRunner(
            descriptions, tmp_path / "parameters", tmp_path / "logs", environment={"PYTHONPATH": path}
        )
        runner.journal = journal
        runners.append(runner)
        return runner

    yield make
    for runner in runners:
        runner.stop()


def wait_for(condition, seconds=120.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


def is_gone(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def lines(runner) -> list[str]:
    return runner.journal.read_text().splitlines() if runner.journal.exists() else []


def test_a_nice_node_gives_way_to_the_others_although_each_is_a_session_of_its_own(make_runner):
    runner = make_runner({"name": "learner", "niceness": 7}, {"name": "arm"})
    with runner:
        wait_for(lambda: len(lines(runner)) >= 2)
        own = os.getpriority(os.PRIO_PROCESS, 0)
        assert os.getpriority(os.PRIO_PROCESS, runner.pid("learner")) == own + 7
        shares = {name: Path(f"/proc/{runner.pid(name)}/autogroup") for name in runner.names}
        if shares["learner"].exists():
            assert shares["learner"].read_text().split()[-2:] == ["nice", "7"]
            assert shares["arm"].read_text().split()[-2:] == ["nice", "0"]


def test_nodes_stop_calmly_and_in_order(make_runner):
    runner = make_runner(
        {"name": "recorder", "stop_order": 9},
        {"name": "switcher", "stop_order": 0},
        {"name": "arm", "stop_order": 4},
    )
    runner.start()
    wait_for(lambda: len(lines(runner)) == 3)
    runner.check()
    run = RunDirectory(runner.log_directory.parent)
    assert run.running_domain() == runner.domain
    assert runner.stop() == [] and run.running_domain() is None
    assert lines(runner)[3:] == ["switcher SIGINT", "arm SIGINT", "recorder SIGINT"]


def test_a_node_that_dies_is_named_with_its_last_lines(make_runner):
    runner = make_runner({"name": "arm"}, {"name": "camera", "behaviour": "dies"})
    runner.start()
    with pytest.raises(NodeDied, match=r"camera node ended \(exit code 3\)(.|\n)*something is missing"):
        wait_for(lambda: runner.check())


def test_a_node_is_restarted_as_often_as_allowed(make_runner, capfd):
    runner = make_runner({"name": "camera", "behaviour": "dies", "restarts": 2})
    runner.start()
    with pytest.raises(NodeDied):
        wait_for(lambda: runner.check())
    assert (runner.log_directory / "camera.log").read_text().count("hello from") == 3
    assert capfd.readouterr().err.count("starting it again") == 2


def test_a_node_that_is_not_needed_may_die(make_runner, capfd):
    runner = make_runner({"name": "arm"}, {"name": "viewer", "behaviour": "dies", "needed": False})
    runner.start()
    wait_for(lambda: runner.check() or runner.names == ["arm"])
    assert "viewer node ended" in capfd.readouterr().err


def test_a_stubborn_node_gets_sigterm_then_sigkill(make_runner, monkeypatch):
    runner = make_runner(
        {"name": "slow", "behaviour": "slow", "stop_deadline": 0.3},
        {"name": "stubborn", "behaviour": "stubborn", "stop_deadline": 0.3},
    )
    runner.start()
    wait_for(lambda: len(lines(runner)) == 2)
    # SIGKILL comes once SIGTERM has had its effects, and not a few seconds after it.
    slow, terms = psutil.Process(runner.pid("slow")), {"slow SIGTERM", "stubborn SIGTERM"}
    monkeypatch.setattr("robofume_bringup.runner.TERMINATE_DEADLINE", 120.0)
    runner.hurried = lambda: terms <= set(lines(runner)) and is_gone(slow)
    notes = runner.stop()
    assert notes == ["The stubborn node did not end when asked and was killed."]
    assert terms <= set(lines(runner))


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one processor")
def test_a_node_with_a_lane_stays_on_one_processor(make_runner):
    runner = make_runner({"name": "sim", "lane": 0}, {"name": "policy", "lane": 1}, {"name": "reward"})
    runner.start()
    wait_for(lambda: len(lines(runner)) == 3 or runner.check())
    sim, policy, reward = (os.sched_getaffinity(runner.pid(name)) for name in ("sim", "policy", "reward"))
    assert len(sim) == len(policy) == 1 and sim != policy
    assert reward == os.sched_getaffinity(0)


def test_children_of_a_node_end_with_it(make_runner):
    runner = make_runner({"name": "parent", "behaviour": "with_child", "stop_deadline": 0.3})
    runner.start()
    wait_for(lambda: len(lines(runner)) == 2)
    children = psutil.Process(runner.pid("parent")).children()
    assert len(children) == 1
    runner.stop()
    wait_for(lambda: is_gone(children[0]))


def test_no_node_outlives_a_runner_that_was_killed(make_runner, tmp_path):
    script = textwrap.dedent(
        f"""
        import sys, time
        from pathlib import Path
        from robofume_bringup.node_table import NodeDescription
        from robofume_bringup.runner import GraphRunner
        parameters = dict(behaviour="stubborn", journal={str(tmp_path / "journal")!r}, name="arm")
        here = Path({str(tmp_path)!r})
        node = NodeDescription("fake", "arm", "fake_node", parameters=parameters)
        runner = GraphRunner([node], here / "p", here / "l")
        runner.start()
        print(runner.pid("arm"), flush=True)
        time.sleep(100)
        """
    )
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(FAKES), os.environ.get("PYTHONPATH", "")]),
    }
    parent = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, env=environment, text=True
    )
    node = psutil.Process(int(parent.stdout.readline()))
    wait_for(lambda: (tmp_path / "journal").exists())
    parent.kill()
    parent.wait()
    wait_for(lambda: is_gone(node))


def test_a_second_request_hurries_the_stop(make_runner):
    runner = make_runner({"name": "stubborn", "behaviour": "stubborn", "stop_deadline": 1000.0})
    runner.start()
    wait_for(lambda: len(lines(runner)) == 1)
    runner.hurried = lambda: True
    assert len(runner.stop()) == 1


def test_parameter_files_keep_types():
    given = {"a": 1, "b": 1.0, "c": (True, False), "d": Path("x"), "e": (), "f": 1e-5}
    values = yaml.safe_load(parameter_file(NodeDescription("p", "n", "m", parameters=given)))
    parameters = values["/**"]["ros__parameters"]
    assert parameters == {"a": 1, "b": 1.0, "c": [True, False], "d": "x", "f": 1e-5}
    assert isinstance(parameters["b"], float) and isinstance(parameters["f"], float)


def test_signals_are_described():
    from robofume_bringup.runner import describe_exit

    assert describe_exit(-signal.SIGKILL) == "killed by SIGKILL" and describe_exit(2) == "exit code 2"
