"""Nodes start and stop calmly: real processes, real signals."""

import signal
import subprocess
import sys
import time

import pytest

pytestmark = pytest.mark.usefixtures("ros_domain")

NODE = """
import gc, sys, time
from std_msgs.msg import String
from std_srvs.srv import Trigger
from robofume_common.errors import MalformedMessage, RobofumeError
from robofume_common.node import GraphNode, run

class Tested(GraphNode):
    def __init__(self):
        super().__init__("tested")
        self.publisher = self.create_publisher(String, "words", 1)
        mode = sys.argv[1]
        if mode == "slow":
            print("ready", flush=True)
            time.sleep(60)
        if mode == "refuse":
            raise RobofumeError("No box is configured; set one.")
        self.create_service(Trigger, "serve", lambda request, response: self.serve(mode))
        self.create_timer(0.05, lambda: self.tick(mode))
        self.ticks = 0
    def serve(self, mode):
        raise MalformedMessage("No such task.") if mode == "ask" else RobofumeError("The disk is full.")
    def tell(self, answer):
        print(answer.result().success, answer.result().message, flush=True)
        sys.exit(0)
    def tick(self, mode):
        self.ticks += 1
        if self.ticks == 3:
            print("ready", flush=True)
            if mode == "settled":
                print(gc.get_freeze_count() > 10_000, flush=True)
                sys.exit(0)
            if mode == "raise":
                raise ValueError("a bug")
            if mode == "fail":
                self.failure = RobofumeError("The disk is full.")
            if mode.startswith("ask"):
                self.create_client(Trigger, "serve").call_async(Trigger.Request()).add_done_callback(self.tell)
            if mode == "complain":
                raise RobofumeError("The disk is full.")
    def close(self):
        self.publisher.publish(String(data="still here"))
        print("closed", flush=True)
        if sys.argv[1] == "broken_close":
            raise ValueError("close is broken")
        if sys.argv[1] == "refused_close":
            raise RobofumeError("Nothing was shown, so nothing is written.")

sys.exit(run(Tested))
"""


def start(mode: str, *arguments: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", NODE, mode, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen) -> tuple[int, str, str]:
    try:
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    return process.returncode, out, err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("mode", ["spin", "slow"])
def test_a_signal_ends_a_node_calmly(mode, number):
    process = start(mode)
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    code, out, err = finish(process)
    assert (code, err) == (0, "")
    assert out == ("closed\n" if mode == "spin" else "")


def test_a_node_ends_calmly_when_its_launch_is_killed(tmp_path):
    log = tmp_path / "log"
    script = f"""
import os, subprocess, sys, time
os.environ["ROBOFUME_LAUNCH_PID"] = str(os.getpid())
subprocess.Popen([sys.executable, "-c", {NODE!r}, "spin"], stdout=open({str(log)!r}, "w"))
time.sleep(1000)
"""
    launch = subprocess.Popen([sys.executable, "-c", script])
    try:
        wait_for_text(log, "ready\n")
    finally:
        launch.kill()
        launch.wait()
    wait_for_text(log, "ready\nclosed\n")


@pytest.mark.skipif(sys.platform != "linux", reason="asks the kernel of Linux")
def test_a_node_whose_launch_is_gone_does_not_begin(monkeypatch):
    launch = subprocess.Popen(["true"])
    launch.wait()
    monkeypatch.setenv("ROBOFUME_LAUNCH_PID", str(launch.pid))
    code, out, _ = finish(start("spin"))
    assert (code, out) == (0, "")


def wait_for_text(path, text: str, deadline: float = 60.0) -> None:
    end = time.monotonic() + deadline
    while not path.exists() or path.read_text() != text:
        assert time.monotonic() < end, path.read_text()
        time.sleep(0.05)


def test_what_start_up_made_is_not_collected_again_while_the_node_must_be_in_time():
    code, out, err = finish(start("settled"))
    assert (code, out) == (0, "ready\nTrue\nclosed\n"), err


def test_with_nohup_a_node_outlives_its_terminal():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        process = start("spin")
    finally:
        signal.signal(signal.SIGHUP, before)
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGHUP)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(1.0)
    process.send_signal(signal.SIGTERM)
    assert finish(process) == (0, "closed\n", "")


def test_a_second_signal_does_not_disturb_the_end():
    process = start("spin")
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    assert finish(process) == (0, "closed\n", "")


def test_a_refusal_is_one_sentence_and_code_1():
    assert finish(start("refuse")) == (1, "", "No box is configured; set one.\n")


def test_a_request_that_cannot_be_carried_out_is_answered_with_a_sentence_and_ends_nobody():
    code, out, err = finish(start("ask"))
    assert (code, out) == (0, "ready\nFalse No such task.\nclosed\n")
    assert err.endswith("A request on serve was refused. No such task.\n") and "Traceback" not in err


@pytest.mark.parametrize("mode", ["fail", "complain", "ask_and_end"])
def test_a_failure_in_a_callback_is_one_sentence_and_code_1(mode):
    assert finish(start(mode)) == (1, "ready\nclosed\n", "The disk is full.\n")


def test_a_refusal_at_the_end_is_one_sentence_and_code_1():
    process = start("refused_close")
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    assert finish(process) == (1, "closed\n", "Nothing was shown, so nothing is written.\n")


def test_an_unknown_parameter_is_refused():
    code, out, err = finish(start("spin", "--ros-args", "-p", "sped:=3"))
    assert (code, out) == (1, "closed\n")
    assert err.startswith("Node tested has no parameter sped")


def test_a_bug_is_told_with_its_traceback_and_code_2():
    code, out, err = finish(start("raise"))
    assert (code, out) == (2, "ready\nclosed\n")
    assert "Traceback" in err
    assert err.rstrip().endswith("ValueError: a bug")


def test_a_broken_close_is_told_and_code_2():
    process = start("broken_close")
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    code, _, err = finish(process)
    assert code == 2
    assert "close is broken" in err
