"""Calls that may never return."""

import sys
import threading

import pytest
from robofume_common.errors import RobofumeError
from robofume_robot.deadlines import Call


def test_a_result_comes_back():
    assert Call(lambda: 7).result(30.0, "too late") == 7


def test_what_never_returns_is_one_sentence():
    never, before = threading.Event(), set(threading.enumerate())
    call = Call(never.wait)
    (thread,) = set(threading.enumerate()) - before
    assert thread.daemon, "it does not keep the process"
    with pytest.raises(RobofumeError, match="too late"):
        call.result(0.05, "too late")
    assert not call.done
    never.set()


@pytest.mark.parametrize("failing", [lambda: 1 / 0, lambda: sys.exit(1)])
def test_a_failure_and_an_exit_are_one_sentence(failing):
    with pytest.raises(RobofumeError, match=r"it broke\. \((ZeroDivisionError|SystemExit)"):
        Call(failing).result(30.0, "it broke.")


def test_the_age_is_the_time_since_the_start(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    call = Call(lambda: 7)
    now[0] = 103.0
    assert call.age == 3.0
