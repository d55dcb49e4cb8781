"""A person's end of `help`, in a terminal of its own."""

import os
import pty
import select
import signal
import sys
import time

import pytest

CHILD = """
import array, fcntl, sys, termios, time
from types import SimpleNamespace
from robofume_bringup.help_desk import HelpDesk

calls = []
node = SimpleNamespace(
    create_client=lambda *_: SimpleNamespace(call_async=lambda _request: calls.append(1)),
    create_subscription=lambda *_: None,
)
desk = HelpDesk(node, lambda sentence: print("SAYS", sentence, flush=True))
message = SimpleNamespace(wanted=False, sentence="Put the pot on the table.", waited=90.0)
print("READY", flush=True)
typed = array.array("i", [0])
while typed[0] < 2:  # until both were typed: the terminal hands on one line after the other
    time.sleep(0.02)
    fcntl.ioctl(sys.stdin, termios.FIONREAD, typed)
desk.look()
message.wanted = True
desk._on_help(message)
for _ in range(20):
    desk.look()
print("answered" if calls else "unanswered", "END", flush=True)
while not calls:
    desk.look()
    time.sleep(0.02)
message.wanted = False
desk._on_help(message)
print("CALLED", len(calls), flush=True)
"""


@pytest.fixture
def terminal():
    """A child with a controlling terminal, and this end of it."""
    child, file = pty.fork()
    if child == 0:
        os.execv(sys.executable, [sys.executable, "-c", CHILD])
    yield file
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(file)


def read_until(file: int, word: str) -> str:
    text, end = "", time.monotonic() + 60.0
    while word not in text:
        assert time.monotonic() < end, text
        if select.select([file], [], [], 0.2)[0]:
            text += os.read(file, 4096).decode()
    return text


def test_only_enter_after_the_call_for_help_says_that_it_was_given(terminal):
    read_until(terminal, "READY")
    os.write(terminal, b"\n\n")  # an impatient person, long before
    said = read_until(terminal, " END")
    assert "\a" in said and "A person is needed: Put the pot on the table. Then step back and press Enter" in said
    assert "unanswered END" in said
    os.write(terminal, b"\n")
    said = read_until(terminal, "CALLED")
    assert "Nobody is waited for any longer; 1.5 minutes" in said
