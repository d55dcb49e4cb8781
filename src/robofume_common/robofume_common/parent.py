"""The end of a process together with the one that started it, so that no node is left behind with a robot.

The kernel is asked for a signal at the parent's end, since a parent that is killed tells nobody. Linux only.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from pathlib import Path

RUNNER_PID = "ROBOFUME_RUNNER_PID"
"""Set by the runner for the nodes that it starts."""
LAUNCH_PID = "ROBOFUME_LAUNCH_PID"
"""Set by the launch files for the nodes that they start."""

_PR_SET_PDEATHSIG = 1


def signal_at_parents_end(number: signal.Signals) -> None:
    """Have this process sent `number` when its parent ends, whatever the reason; replaces an earlier request."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)


def end_with_launch() -> None:
    """Stop calmly (SIGTERM) when the `ros2 launch` that started this process is gone.

    Does nothing where something stands between the two, such as a terminal or a debugger, or without launch.
    """
    launch = os.environ.get(LAUNCH_PID, "")
    if launch == str(os.getppid()):
        signal_at_parents_end(signal.SIGTERM)
    if launch and sys.platform == "linux" and not Path("/proc", launch).exists():
        # It ended before the kernel was asked.
        os.kill(os.getpid(), signal.SIGTERM)
