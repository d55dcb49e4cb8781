"""Starting and stopping a node, the same way for all of them."""

import gc
import signal
import sys
import traceback
from collections.abc import Callable
from types import FrameType
from typing import Any

import rclpy
from rclpy._rclpy_pybind11 import RCLError
from rclpy.executors import Executor, ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.signals import SignalHandlerOptions

from robofume_common.errors import MalformedMessage, RobofumeError
from robofume_common.parameters import check_overrides
from robofume_common.parent import end_with_launch

EXIT_CALM = 0
EXIT_REFUSED = 1
EXIT_BROKEN = 2

_POLL = 0.2
"""Seconds after which an idle executor looks whether it was asked to stop."""


class GraphNode(Node):
    """Base of the suite's nodes: a malformed message is told and ignored, since it must not end who receives it; any
    other RobofumeError of a subscription, a timer or a service ends the node with its sentence."""

    failure: BaseException | None = None
    """What ends the node; see `run`."""

    def create_subscription(
        self, msg_type: Any, topic: str, callback: Callable[[Any], None], qos_profile: QoSProfile | int, **named: Any
    ) -> Any:
        """As rclpy's, with a callback that may raise RobofumeError."""

        def receive(message: Any) -> None:
            self._guarded(lambda: callback(message), f"A message on {topic} was ignored.")

        return super().create_subscription(msg_type, topic, receive, qos_profile, **named)

    def create_timer(self, timer_period_sec: float, callback: Callable[..., Any], *more: Any, **named: Any) -> Any:
        """As rclpy's, with a callback that may raise RobofumeError."""
        return super().create_timer(timer_period_sec, lambda: self._guarded(callback, "Ignored."), *more, **named)

    def create_service(
        self, srv_type: Any, srv_name: str, callback: Callable[[Any, Any], Any], **named: Any
    ) -> Any:
        """As rclpy's, of a type whose response has a `message`, with a callback that may raise RobofumeError: whoever
        asked reads it there."""

        def answer(request: Any, response: Any) -> Any:
            def call() -> None:
                nonlocal response
                try:
                    response = callback(request, response)
                except RobofumeError as error:
                    response = srv_type.Response(message=str(error))
                    raise

            self._guarded(call, f"A request on {srv_name} was refused.")
            return response

        return super().create_service(srv_type, srv_name, answer, **named)

    def _guarded(self, callback: Callable[[], Any], ignored: str) -> None:
        try:
            callback()
        except MalformedMessage as error:
            self.get_logger().warning(f"{ignored} {error}", throttle_duration_sec=5.0)
        except RobofumeError as error:  # the executor would print a traceback before the sentence
            self.failure = self.failure or error  # the first one is what it was


class _Stopped(BaseException):
    """Raised in the main thread where a signal arrives before the node spins."""


class _StopRequest:
    """SIGINT, SIGTERM and the end of the terminal (SIGHUP, unless under `nohup`) as a flag while spinning, and as an
    exception during start-up.

    rclpy's own handlers shut the context down at once, so that a node could no longer say goodbye
    (hold the arm, close a bag); therefore they are not used.
    """

    def __init__(self) -> None:
        self.requested = False
        self.interrupts = True

    def install(self) -> None:
        signal.signal(signal.SIGINT, self._handle)
        signal.signal(signal.SIGTERM, self._handle)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            signal.signal(signal.SIGHUP, self._handle)

    def _handle(self, _signal: int, _frame: FrameType | None) -> None:
        first, self.requested = not self.requested, True
        if first and self.interrupts:
            raise _Stopped


def make_executor() -> Executor:
    """The events executor, much the fastest, or a single-threaded one where it is missing."""
    try:
        from rclpy.experimental import EventsExecutor
    except ImportError:
        return SingleThreadedExecutor()
    return EventsExecutor()


def _init(args: list[str] | None) -> None:
    try:
        rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    except RCLError as error:
        raise RobofumeError(f"Cannot start: {str(error).splitlines()[0]}") from error


def _make(node_class: Callable[[], Node]) -> Node:
    try:
        return node_class()
    except RCLError as error:  # such as security that the middleware was built without
        raise RobofumeError(f"Cannot start: {str(error).splitlines()[0]}") from error


def _spin(node: Node, stop: _StopRequest) -> None:
    executor = make_executor()
    stop.install()  # again: the events executor puts its own handlers in place when it is made
    executor.add_node(node)
    stop.interrupts = False
    try:
        # Not spin(): in rclpy 7.1.6 the events executor's spin() runs at full load without calling back.
        while not stop.requested and rclpy.ok():
            executor.spin_once(timeout_sec=_POLL)
            failure = getattr(node, "failure", None)
            if failure is not None:
                raise failure
    finally:
        executor.remove_node(node)
        executor.shutdown()


def settle() -> None:
    """Everything that was made so far stays: Python's collector need not look through it again.

    A full collection takes a process with torch in it a third of a second: three control steps at 10 Hz. To be called
    where much was loaded and before anything has to be in time; `run` does so before a node spins.
    """
    gc.freeze()


def _attempt(step: Callable[[], None]) -> int:
    """Runs one step of the shutdown; a failure is told and does not keep the next ones from running. Its exit code."""
    try:
        step()
    except RobofumeError as error:
        print(error, file=sys.stderr, flush=True)
        return EXIT_REFUSED
    except Exception:  # noqa: BLE001  whatever it was, the rest of the shutdown must follow
        traceback.print_exc()
        return EXIT_BROKEN
    return EXIT_CALM


def run(node_class: Callable[[], Node], args: list[str] | None = None) -> int:
    """Runs one node until SIGINT, SIGTERM or SIGHUP and returns the exit code: `sys.exit(run(MyNode))`.

    Exit codes: 0 asked to stop (also during start-up); 1 a RobofumeError, its sentence is the last line on
    stderr; 2 any other exception, with its traceback. The end of the `ros2 launch` that started it counts as
    SIGTERM. Where the node has a method `close()`, it is called on every way out, after the last callback and
    while it can still publish. Everything runs in the calling (main) thread.

    A callback ends the node with one sentence by setting `self.failure` to a RobofumeError, or, where the node is a
    `GraphNode`, by raising it.
    """
    stop = _StopRequest()
    stop.install()
    node: Node | None = None
    code = EXIT_CALM
    try:
        end_with_launch()
        _init(args)
        node = _make(node_class)
        check_overrides(node)
        settle()
        _spin(node, stop)
    except (_Stopped, KeyboardInterrupt, ExternalShutdownException):
        pass
    except RobofumeError as error:
        print(error, file=sys.stderr, flush=True)
        code = EXIT_REFUSED
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else EXIT_REFUSED
    except BaseException:  # noqa: BLE001  told with its traceback, and the node is closed all the same
        traceback.print_exc()
        code = EXIT_BROKEN
    stop.interrupts = False
    close = getattr(node, "close", None)
    if close is not None:
        ended = _attempt(close)
        code = code or ended
    if node is not None:
        _attempt(node.destroy_node)
    _attempt(rclpy.try_shutdown)
    sys.stdout.flush()
    # Ctrl+C under `ros2 launch` comes twice, from the terminal and from launch. Everything is done by now, and the
    # second one must not make a calm end look like a death.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    return code
