"""The interbotix node as a real process, with a stand-in for Interbotix' library: start, every way to end, and what is
sent meanwhile. The library itself is in test_interbotix_real.py."""

import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from interbotix_bench import HOME, QUICK
from robofume_robot.kinematics import SLEEP_JOINT_POSITIONS
from std_msgs.msg import Bool, Empty

from robofume_robot import kinematics


def test_motions_are_streamed_and_what_is_not_safe_is_not(graph, driver):
    process = graph.start("interbotix", **QUICK)
    driver.ready(process)
    state = driver.states[-1]
    assert tuple(state.name) == kinematics.JOINT_NAMES
    np.testing.assert_allclose(state.position, [*HOME, 0.02, 0.02])
    assert state.effort[1] == pytest.approx(0.357, abs=0.01), "Nm, not mA"
    assert graph.until(lambda: "srv_torque True" in driver.calls), "the last session has cut it"
    assert "srv_set_reg Profile_Velocity 200" in driver.calls[: driver.calls.index("srv_torque True")]
    target = HOME + 0.2
    driver.send(target, 60)
    assert graph.until(lambda: len(driver.goals) > 5)
    assert all(((goal > HOME - 1e-6) & (goal < target)).all() for goal in driver.goals), "on the way there"
    driver.send(target)
    assert graph.until(lambda: np.abs(driver.goals[-1] - target).max() < 1e-6)
    assert graph.until(lambda: "open" in driver.calls)
    graph.settle(1.0)  # its last goal may come twice
    count = len(driver.goals)
    for bad in (HOME * np.nan, HOME + 9.0, HOME + (1.5, 0, 0, 0, 0, 0)):
        driver.send(bad)
    graph.settle(0.5)
    assert len(driver.goals) == count
    code, output = graph.stop(process)
    assert code == 0 and "refused" in output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_asked_to_end_it_sleeps_and_then_cuts_the_torque(graph, driver, number):
    process = graph.start("interbotix", **QUICK)
    driver.ready(process)
    driver.send(HOME + 0.4, 20)
    assert graph.until(lambda: driver.goals)
    code, output = graph.stop(process, number)
    assert code == 0 and "torque is off" in output and "Traceback" not in output, output
    assert graph.until(lambda: driver.calls[-1:] == ["srv_torque False"])
    np.testing.assert_allclose(driver.joints, SLEEP_JOINT_POSITIONS)
    assert max(np.abs(np.diff(driver.goals, axis=0)).max(axis=1)) < 0.3


def test_when_its_runner_is_killed_it_lays_the_arm_down(graph, driver, monkeypatch, tmp_path):
    """Other nodes are killed with their runner; this one still has something to do."""
    log = tmp_path / "log"
    settings = [word for name, value in QUICK.items() for word in ("-p", f"{name}:={value}")]
    script = (
        "import subprocess, sys, time\n"
        f"command = [sys.executable, '-m', 'robofume_robot.nodes.interbotix', '--ros-args', *{settings!r}]\n"
        f"print(subprocess.Popen(command, stdout=open({str(log)!r}, 'w'), stderr=subprocess.STDOUT).pid, flush=True)\n"
        "time.sleep(1000)\n"
    )
    monkeypatch.setenv("ROBOFUME_RUNNER_PID", "1")
    runner = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    graph._processes.append(runner)
    pid = int(runner.stdout.readline())
    driver.ready(runner)
    driver.send(HOME + 0.4, 20)
    assert graph.until(lambda: driver.goals)
    runner.kill()
    assert graph.until(lambda: driver.calls[-1:] == ["srv_torque False"]), log.read_text()
    np.testing.assert_allclose(driver.joints, SLEEP_JOINT_POSITIONS)

    def is_gone() -> bool:
        try:
            return "zombie" in Path(f"/proc/{pid}/status").read_text()
        except OSError:
            return True

    assert graph.until(is_gone)


def test_an_exception_ends_it_asleep_too(graph, driver, monkeypatch):
    """Inside the library, at the first goal; the arm was asleep, so that the way there needs no goal."""
    monkeypatch.setenv("FAKE_INTERBOTIX", "break")
    driver.joints = np.array(SLEEP_JOINT_POSITIONS)
    process = graph.start("interbotix", **QUICK)
    driver.ready(process)
    driver.send(SLEEP_JOINT_POSITIONS + 0.01)
    assert graph.until(lambda: process.poll() is not None)
    assert process.returncode == 2 and "the library broke" in process.stdout.read()


def test_when_the_arm_node_is_gone_the_arm_is_held_and_then_laid_down(graph, driver):
    driver.arm_node = False
    process = graph.start("interbotix", **{**QUICK, "arm_timeout": 1.5, "arm_lost_after": 4.0})
    driver.ready(process)
    driver.send(HOME + 0.4, 60)
    assert graph.until(lambda: len(driver.goals) > 3)
    driver.sign_of_life()
    assert graph.until(lambda: process.poll() is not None)
    output = process.stdout.read()
    assert process.returncode == 1 and "The arm node has been silent" in output and "Traceback" not in output, output
    np.testing.assert_allclose(driver.joints, SLEEP_JOINT_POSITIONS)


def test_when_the_driver_is_gone_it_says_so(graph, driver):
    process = graph.start("interbotix", **{**QUICK, "driver_timeout": 0.5, "driver_lost_after": 2.0})
    # Where this process is held up, the driver is gone before it is told to be.
    assert graph.until(lambda: (driver.states and driver.statuses) or process.poll() is not None)
    driver.speaking = False
    assert graph.until(lambda: process.poll() is not None)
    output = process.stdout.read()
    assert process.returncode == 1 and "sent no joint states" in output and driver.goals == []


def test_when_the_driver_does_not_answer_it_says_so(graph, driver, monkeypatch):
    monkeypatch.setenv("FAKE_INTERBOTIX", "mute")
    process = graph.start("interbotix", **{**QUICK, "driver_timeout": 5.0, "driver_lost_after": 6.0})
    assert graph.until(lambda: process.poll() is not None)
    assert process.returncode == 1 and "does not answer srv_get_reg" in process.stdout.read()


@pytest.mark.parametrize("fault", ["exit", "hang", "deaf"])
def test_a_start_that_fails_is_one_sentence(graph, driver, monkeypatch, fault):
    monkeypatch.setenv("FAKE_INTERBOTIX", fault)
    process = graph.start("interbotix", startup_timeout=10.0 if fault == "hang" else 60.0)
    assert graph.until(lambda: process.poll() is not None)
    output = process.stdout.read()
    assert process.returncode == 1 and "Traceback" not in output, output
    sentences = {"exit": "refused to start", "hang": "did not answer within", "deaf": "have not taken Profile_Velocity"}
    assert sentences[fault] in output


def test_without_a_driver_the_node_does_not_wait_for_ever(graph, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent / "fake_interbotix"), prepend=":")
    process = graph.start("interbotix", startup_timeout=1.0)
    assert graph.until(lambda: process.poll() is not None)
    output = process.stdout.read()
    assert process.returncode == 1 and "No Interbotix driver was found under /wx250s" in output


def test_the_emergency_stop_reaches_the_servos_without_the_arm_node(graph, driver):
    process = graph.start("interbotix", **QUICK)
    driver.ready(process)
    driver.send(HOME + 0.4, 30)
    assert graph.until(lambda: driver.goals)
    driver.stop.publish(Bool(data=True))
    assert graph.until(lambda: process.says("The arm is held: emergency stop"))
    graph.settle(1.0)  # goals from before it
    count = len(driver.goals)
    graph.settle(1.0)
    assert len(driver.goals) == count
    driver.send(HOME)
    graph.settle(0.5)
    assert len(driver.goals) == count
    driver.released.publish(Empty())
    # Again and again: what arrives before the release is refused.
    assert graph.until(lambda: driver.send(HOME) or graph.until(lambda: len(driver.goals) > count, 0.5))
    assert graph.stop(process)[0] == 0


@pytest.mark.parametrize("cause", ["asked to end", "the arm node is gone"])
def test_the_emergency_stop_is_heard_while_the_arm_is_laid_down(graph, driver, cause):
    times = {"arm_timeout": 1.5, "arm_lost_after": 2.5} if "gone" in cause else {}
    driver.arm_node = "gone" not in cause
    process = graph.start("interbotix", **{**QUICK, "sleep_velocity_scale": 0.02, **times})
    driver.ready(process)
    if "gone" in cause:
        driver.sign_of_life()
    else:
        process.send_signal(signal.SIGTERM)
    assert graph.until(lambda: len(driver.goals) > 10)
    driver.stop.publish(Bool(data=True))
    assert graph.until(lambda: process.poll() is not None)
    output = process.stdout.read()
    assert process.returncode == int("gone" in cause) and "Traceback" not in output, output
    assert "The arm was stopped" in output
    assert np.abs(driver.joints - SLEEP_JOINT_POSITIONS).max() > 0.3 and "srv_torque False" not in driver.calls


def test_a_guided_arm_must_be_asleep_first(graph, driver):
    process = graph.start("interbotix", guided=True, **QUICK)
    assert graph.until(lambda: process.poll() is not None)
    assert process.returncode == 1 and "sleep pose" in process.stdout.read()


@pytest.mark.skipif(find_spec("interbotix_xs_modules") is not None, reason="interbotix_xs_modules is installed")
def test_without_interbotix_packages_the_node_says_what_to_install(graph):
    process = graph.start("interbotix")
    assert graph.until(lambda: process.poll() is not None)
    output = process.stdout.read()
    assert process.returncode == 1 and "interbotix_ros_toolboxes" in output and "Traceback" not in output
