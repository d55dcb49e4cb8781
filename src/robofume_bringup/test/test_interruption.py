"""Ctrl+C, SIGTERM and the end of the terminal each ask for a calm end."""

import fcntl
import os
import pty
import signal
import subprocess
import sys
import termios

import pytest
from robofume_bringup.interruption import Interruption, Stopped

WORK = """
import sys, time
from robofume_bringup.interruption import Interruption, Stopped
with Interruption() as interruption:
    try:
        while True:
            print("working", flush=True)
            time.sleep(0.02)
            interruption.check()
    except Stopped:
        for _ in range(3):
            print("ending", flush=True)
            print("ending", file=sys.stderr, flush=True)
        open(sys.argv[1], "w").write("saved")
        sys.exit(130)
"""


def at_a_terminal(*command: str) -> tuple[subprocess.Popen[bytes], int]:
    """A process whose controlling terminal is a new one, and the other side of that."""
    master, slave = pty.openpty()

    def take_terminal() -> None:
        os.setsid()
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)

    process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, preexec_fn=take_terminal)
    os.close(slave)
    return process, master


def test_work_ends_calmly_when_its_terminal_goes(tmp_path):
    process, master = at_a_terminal(sys.executable, "-c", WORK, str(tmp_path / "marker"))
    assert b"working" in os.read(master, 100)
    os.close(master)
    assert process.wait(20.0) == 130
    assert (tmp_path / "marker").read_text() == "saved"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_is_a_mark_until_it_is_looked_at(number):
    before = signal.getsignal(number)
    with Interruption() as interruption:
        signal.raise_signal(number)
        with pytest.raises(Stopped):
            interruption.check()
    assert signal.getsignal(number) == before


def test_under_nohup_the_end_of_the_terminal_ends_nothing():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interruption() as interruption:
            signal.raise_signal(signal.SIGHUP)
            interruption.check()
    finally:
        signal.signal(signal.SIGHUP, before)


def test_training_is_stopped_at_once():
    with Interruption() as interruption, pytest.raises(Stopped), interruption.immediately():
        signal.raise_signal(signal.SIGTERM)
        pytest.fail("it went on")
