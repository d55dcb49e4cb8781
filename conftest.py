"""What the tests of every package share."""

import builtins
import contextlib
import errno
import io
import os
import signal
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

# One thread per test process, and per process that a test starts without saying otherwise: small tensors gain nothing
# from more, and threads of OpenMP spin while they wait for a processor that another test has.
os.environ.setdefault("OMP_NUM_THREADS", "1")

if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # under nohup; what the tests start is to hear of a hang-up
    signal.signal(signal.SIGHUP, lambda *_: None)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Whatever number of threads a test has set, the next one begins with one."""
    yield
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))


@pytest.fixture(autouse=True)
def same_environment() -> Iterator[None]:
    """Whatever a test has set in the environment, a ROS domain above all, the next one on this worker does not see."""
    before = dict(os.environ)
    yield
    for name in os.environ.keys() - before.keys():
        del os.environ[name]
    os.environ.update(before)


@pytest.fixture
def ros_domain(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A ROS domain that no other test and no run on this machine uses, in the environment of what the test starts."""
    # robofume_common is importable in a workspace that is set up; tests of set-up run before
    from robofume_bringup.network import network_environment
    from robofume_common.domain import claim_domain

    monkeypatch.delenv("ROS_DOMAIN_ID", raising=False)
    domain, lock = claim_domain(request.node.nodeid)
    monkeypatch.setenv("ROS_DOMAIN_ID", str(domain))
    for name, value in network_environment().items():
        monkeypatch.setenv(name, value)
    yield domain
    lock.close()


@pytest.fixture
def bench(ros_domain: int) -> Iterator[tuple[Any, Any]]:
    """A node of the test's own, in a context of its own, and the executor that spins it."""
    import rclpy
    from rclpy.executors import SingleThreadedExecutor

    context = rclpy.Context()
    rclpy.init(context=context, domain_id=ros_domain)
    node = rclpy.create_node("bench", context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    yield node, executor
    executor.shutdown()
    node.destroy_node()
    rclpy.shutdown(context=context)


class FailingDisk:
    """The disk of this process, of which the operation number `fails_at` (from 1) and all after it fail with ENOSPC; a
    write that fails has put half of its bytes on the disk."""

    OPERATIONS = ("fsync", "mkdir", "rename", "replace", "rmdir", "chmod")

    def __init__(self, fails_at: int, only_once: bool = False) -> None:
        self._left = fails_at
        self._only_once = only_once
        self.failed = False

    def mend(self) -> None:
        """From here on nothing fails, of files that are open still either."""
        self._left = 1 << 62

    def strike(self) -> None:
        """Count one operation; raise where it is its turn."""
        self._left -= 1
        if self._left == 0 or (self._left < 0 and not self._only_once):
            self.failed = True
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def write(self, write: Callable[[Any], int], data: Any) -> int:
        """A file's write."""
        try:
            self.strike()
        except OSError:
            write(memoryview(data).cast("B")[: len(memoryview(data).cast("B")) // 2])
            raise
        return write(data)


@pytest.fixture
def failing_disk(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """`with failing_disk(3) as disk:` the third operation on the disk fails, and with it those that follow; with
    `only_once=True` it alone. `disk.failed` says whether there were so many."""

    @contextlib.contextmanager
    def fail(fails_at: int, only_once: bool = False) -> Iterator[FailingDisk]:
        disk = FailingDisk(fails_at, only_once)
        plain_open = io.open

        class File(io.FileIO):
            def write(self, data: Any) -> int:
                return disk.write(super().write, data)

        def open_(file: Any, mode: str = "r", buffering: int = -1, *rest: Any, **named: Any) -> Any:
            if not set(mode) & set("wax"):
                return plain_open(file, mode, buffering, *rest, **named)
            raw = File(file, mode.replace("b", "").replace("t", ""))
            if buffering == 0:
                return raw
            buffered = io.BufferedWriter(raw)
            return buffered if "b" in mode else io.TextIOWrapper(buffered, encoding="utf-8")

        with monkeypatch.context() as patch:
            patch.setattr(io, "open", open_)
            patch.setattr(builtins, "open", open_)
            for name in FailingDisk.OPERATIONS:
                plain = getattr(os, name)

                def operation(*arguments: Any, plain: Any = plain, **named: Any) -> Any:
                    disk.strike()
                    return plain(*arguments, **named)

                patch.setattr(os, name, operation)
            yield disk
        disk.mend()

    return fail
