"""Tells the person at this terminal that the robot needs help, and the switcher that it was given."""

from __future__ import annotations

import os
import select
import sys
import time
from collections.abc import Callable
from typing import Any

import rclpy
from rclpy._rclpy_pybind11 import RCLError
from rclpy.executors import SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions
from robofume_common.errors import RobofumeError
from robofume_reset.calling import ring
from std_srvs.srv import Trigger

from robofume_bringup.interruption import Interruption
from robofume_bringup.runner import CLIENT_ARGUMENTS
from robofume_common import qos
from robofume_interfaces.msg import HelpRequest

ANSWER_DEADLINE = 10.0
"""Seconds for the switcher to be found and to answer."""


class HelpDesk:
    """Listens to `help`; Enter in the terminal calls `help/done`.

    Arguments:
        node: whose executor somebody spins.
        say: takes a sentence for the screen.
    """

    def __init__(self, node: Any, say: Callable[[str], None]) -> None:
        self._say = say
        self._wanted = False
        self._done = node.create_client(Trigger, "help/done")
        self._subscription = node.create_subscription(HelpRequest, "help", self._on_help, qos.LATCHED)

    def _on_help(self, message: HelpRequest) -> None:
        if message.wanted and not self._wanted:
            while _enter_was_pressed():  # typed before anybody was asked: that is no answer, and the arm would move
                pass
            ring()
            self._say(
                f"A person is needed: {message.sentence} Then step back and press Enter here, or run `robofume helped`."
            )
        elif self._wanted and not message.wanted:
            self._say(f"Nobody is waited for any longer; {message.waited / 60:.1f} minutes in this run so far.")
        self._wanted = message.wanted

    def look(self) -> None:
        """Call it a few times a second."""
        if self._wanted and _enter_was_pressed():
            self._done.call_async(Trigger.Request())


def say_done(namespace: str, interruption: Interruption) -> str:
    """Call `help/done` from a node of its own, in the domain of the environment; the switcher's answer.

    Raises RobofumeError where the graph cannot be joined, nobody answers, or nobody was waited for.
    """
    context = rclpy.Context()
    arguments = ["--ros-args", *CLIENT_ARGUMENTS]
    try:
        rclpy.init(args=arguments, context=context, signal_handler_options=SignalHandlerOptions.NO)
        node = rclpy.create_node(
            f"robofume_helped_{os.getpid()}", context=context, namespace=namespace or None, enable_rosout=False,
            start_parameter_services=False,
        )  # fmt: skip
    except RCLError as error:  # such as security that the middleware was built without
        raise RobofumeError(f"The graph cannot be joined: {str(error).splitlines()[0]}") from error
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    try:
        client = node.create_client(Trigger, "help/done")
        answering = None
        end = time.monotonic() + ANSWER_DEADLINE
        while time.monotonic() < end and not (answering is not None and answering.done()):
            interruption.check()
            executor.spin_once(timeout_sec=0.05)
            if answering is None and client.service_is_ready():
                answering = client.call_async(Trigger.Request())
        if answering is None or not answering.done():
            raise RobofumeError("The switcher does not answer: is the graph up? Name its run with --run.")
        if not answering.result().success:
            raise RobofumeError(answering.result().message)
        return str(answering.result().message)
    finally:
        executor.shutdown()
        node.destroy_node()
        rclpy.shutdown(context=context)


def _enter_was_pressed() -> bool:
    """Whether a line was typed in this terminal; never where it belongs to another process, or there is none."""
    if sys.stdin is None or not sys.stdin.isatty():
        return False
    file = sys.stdin.fileno()
    try:
        if os.tcgetpgrp(file) != os.getpgrp() or not select.select([file], [], [], 0.0)[0]:
            return False
        return bool(os.read(file, 1024))
    except OSError:  # a terminal of another session, or one that was closed
        return False
