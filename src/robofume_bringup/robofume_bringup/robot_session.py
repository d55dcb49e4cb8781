"""Talks to a running graph as a client: waits until it is ready, runs the actions `practice` and `evaluate`.

Every wait has a deadline and looks after the nodes meanwhile, so that a dead node never hangs it.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy._rclpy_pybind11 import RCLError
from rclpy.action import ActionClient
from rclpy.executors import SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions
from robofume_common.errors import RobofumeError
from tqdm import tqdm

from robofume_bringup.help_desk import HelpDesk
from robofume_bringup.interruption import Interruption, Stopped
from robofume_bringup.runner import CLIENT_ARGUMENTS, GraphRunner, dds_environment
from robofume_bringup.security import CLIENT_NAME, PREFIX
from robofume_common import qos
from robofume_interfaces.action import Evaluate, Practice

POLL = 0.05
"""Seconds between two looks at the nodes while waiting."""


class RobotSession:
    """A client of the graph that `runner` runs.

    Arguments:
        runner: a started graph.
        interruption: asked between two waits whether to stop.
        ready_deadline: seconds that the nodes have to appear.
        silence_deadline: seconds without feedback from an action after which the run ends with a sentence.
        say: takes a sentence for the screen, such as that a person is needed.
    """

    def __init__(
        self,
        runner: GraphRunner,
        interruption: Interruption,
        ready_deadline: float = 120.0,
        silence_deadline: float = 90.0,
        say: Callable[[str], None] = print,
    ) -> None:
        self.runner = runner
        self.interruption = interruption
        self.ready_deadline = ready_deadline
        self.silence_deadline = silence_deadline
        self._say = say

    def __enter__(self) -> RobotSession:
        os.environ.update({**dds_environment(self.runner.domain), **self.runner.security})
        enclave = ("--enclave", f"{PREFIX}/{CLIENT_NAME}") if self.runner.security else ()
        self._context = rclpy.Context()
        rclpy.init(
            args=["--ros-args", *enclave, *CLIENT_ARGUMENTS],
            context=self._context,
            signal_handler_options=SignalHandlerOptions.NO,
        )
        try:
            self._node = rclpy.create_node(
                f"robofume_client_{os.getpid()}",
                context=self._context,
                namespace=self.runner.namespace or None,
                enable_rosout=False,
                start_parameter_services=False,
            )
        except RCLError as error:
            raise RobofumeError(f"The graph cannot be joined: {str(error).splitlines()[0]}") from error
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._practice = ActionClient(self._node, Practice, "practice")
        self._evaluate = ActionClient(self._node, Evaluate, "evaluate")
        self._help_desk = HelpDesk(self._node, self._say)
        self._node.create_subscription(DiagnosticArray, "diagnostics", self._on_diagnostics, qos.DIAGNOSTICS)
        self._running = False
        self._wrong: dict[str, str] = {}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._executor.shutdown(timeout_sec=1.0)
        self._practice.destroy()
        self._evaluate.destroy()
        self._node.destroy_node()
        rclpy.shutdown(context=self._context)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        """While a goal runs, tell the person what is wrong with a node although it goes on; once."""
        for status in message.status:
            wrong = status.message if status.level == DiagnosticStatus.ERROR else ""
            if wrong and self._running and wrong != self._wrong.get(status.name):
                tqdm.write(f"{status.name}: {wrong}", file=sys.stderr)
            if self._running:
                self._wrong[status.name] = wrong

    def _wait(self, condition: Callable[[], bool], deadline: float, sentence: Callable[[], str]) -> None:
        """Spin until the condition holds; `sentence` says what was awaited when it does not in time."""
        end = time.monotonic() + deadline
        while not condition():
            if time.monotonic() > end:
                raise RobofumeError(sentence())
            self._executor.spin_once(timeout_sec=POLL)
            self.runner.check()
            self.interruption.check()

    def wait_until_ready(self) -> None:
        """Wait until all nodes of the graph and the two actions are there."""

        def missing() -> list[str]:
            present = set(self._node.get_node_names())
            return [name for name in self.runner.names if name not in present]

        def ready() -> bool:
            return not missing() and self._practice.server_is_ready() and self._evaluate.server_is_ready()

        self._wait(
            ready,
            self.ready_deadline,
            lambda: (
                f"The graph was not ready within {self.ready_deadline:.0f} s; still missing: "
                f"{', '.join(missing()) or 'the actions of the switcher'}. Logs: {self.runner.log_directory}."
            ),
        )

    def wait_idle(self, seconds: float) -> None:
        """Look after the nodes for a while."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._executor.spin_once(timeout_sec=POLL)
            self._help_desk.look()
            self.runner.check()
            self.interruption.check()

    def practice(
        self,
        on_feedback: Callable[[Any], None],
        steps: int = 0,
        episodes: int = 0,
        successes_per_direction: int = 0,
    ) -> Any:
        """Run the action `practice` to its end. Returns the Practice result; raises RobofumeError on an
        error code."""
        goal = Practice.Goal(steps=steps, episodes=episodes, successes_per_direction=successes_per_direction)
        return self._run(self._practice, goal, on_feedback)

    def evaluate(self, on_feedback: Callable[[Any], None], trials_per_direction: int, seed: int) -> Any:
        """Run the action `evaluate` to its end. Returns the Evaluate result; raises RobofumeError on an
        error code."""
        goal = Evaluate.Goal(trials_per_direction=trials_per_direction, seed=seed)
        return self._run(self._evaluate, goal, on_feedback)

    def _run(self, client: Any, goal: Any, on_feedback: Callable[[Any], None]) -> Any:
        heard = time.monotonic()

        def feedback(message: Any) -> None:
            nonlocal heard
            heard = time.monotonic()
            on_feedback(message.feedback)

        accepting = client.send_goal_async(goal, feedback_callback=feedback)
        self._wait(accepting.done, 30.0, lambda: "The switcher did not answer the goal within 30 s.")
        handle = accepting.result()
        self._running = handle.accepted
        if not handle.accepted:
            raise RobofumeError(
                "The switcher refused the goal: it is busy with another one, or the goal has no end."
            )
        finishing = handle.get_result_async()
        try:
            while not finishing.done():
                silent = time.monotonic() - heard
                if silent > self.silence_deadline:
                    raise RobofumeError(
                        f"The switcher has said nothing for {silent:.0f} s. Logs: "
                        f"{self.runner.log_directory}."
                    )
                self._executor.spin_once(timeout_sec=POLL)
                self._help_desk.look()
                self.runner.check()
                self.interruption.check()
        except Stopped:
            self._cancel(handle, finishing)
            raise
        finally:
            self._running = False
        result = finishing.result().result
        if result.error_code != result.ERROR_NONE:
            raise RobofumeError(
                result.message or f"The switcher ended the goal with error {result.error_code}."
            )
        return result

    def _cancel(self, handle: Any, finishing: Any) -> None:
        """Cancel a goal and wait a little for its result, so that the episode in progress is closed and
        recorded."""
        handle.cancel_goal_async()
        end = time.monotonic() + 5.0
        while not finishing.done() and time.monotonic() < end and self.interruption.requests < 2:
            self._executor.spin_once(timeout_sec=POLL)
