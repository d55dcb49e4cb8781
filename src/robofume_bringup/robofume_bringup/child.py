"""Starts one node's module in this process: `child NICE SCHEDULING PROCESSOR MODULE [ARGUMENTS...]`.

The kernel is asked to kill this process when the runner that started it is gone, whatever the reason (even
SIGKILL): a node without its runner would keep a robot moving with nobody to stop it.
"""

from __future__ import annotations

import contextlib
import os
import runpy
import signal
import sys
import time
from pathlib import Path

from robofume_common.parent import RUNNER_PID, signal_at_parents_end

AUTOGROUP = Path("/proc/self/autogroup")
MODULE = 4
"""Where in the arguments the module's name is; before it, what `main` does to this process."""


def die_with_parent(parent: int) -> None:
    """Linux: SIGKILL for this process when its parent ends; ends at once if the parent (a pid) is gone
    already."""
    signal_at_parents_end(signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(1)


def be_nice(niceness: int) -> None:
    """Give way to others by so much, in and between sessions.

    Every node is a session of its own, and Linux shares the processors out between sessions first (autogroup): niceness
    alone would only tell the threads of this node apart.
    """
    os.nice(niceness)
    if os.getsid(0) != os.getpid():
        return  # a session that others share
    for _ in range(20):
        try:
            AUTOGROUP.write_text(str(niceness))
        except BlockingIOError:  # another process asked a moment ago: the kernel takes ten of these a second
            time.sleep(0.15)
        except OSError:  # a kernel without sessions' shares
            return
        else:
            return


def main() -> None:
    """Read the arguments, take the given niceness, scheduling and processor, and run the module as `__main__`."""
    die_with_parent(int(os.environ[RUNNER_PID]))
    for number in (signal.SIGINT, signal.SIGTERM):  # while the imports run, before the node listens itself
        signal.signal(number, lambda _number, _frame: sys.exit(0))
    niceness, scheduling, processor, module = sys.argv[1 : MODULE + 1]
    if int(niceness):
        be_nice(int(niceness))
    if scheduling == "batch" and hasattr(os, "SCHED_BATCH"):
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    if processor.isdecimal():
        with contextlib.suppress(OSError):  # it was taken from us just now: then any other
            os.sched_setaffinity(0, {int(processor)})
    sys.argv = [module, *sys.argv[MODULE + 1 :]]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
