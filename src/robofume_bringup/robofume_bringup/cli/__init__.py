"""The `robofume` command. Heavy imports happen in the commands, so that `--help` is quick."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence

from robofume_common.errors import RobofumeError

from robofume_bringup.cli.parser import build_parser
from robofume_bringup.interruption import Interruption, Stopped

STOPPED = 128 + signal.SIGINT


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code.

    0: done; 1: an error, told in one sentence; 2: a command line that makes no sense; 130: stopped by Ctrl+C,
    SIGTERM or the end of the terminal, so that a script does not go on with the next command.
    """
    options = build_parser().parse_args(arguments)
    # These networks are small: a second thread gains a twentieth on idle cores, and on shared ones the threads
    # wait for each other and take many times as long.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with Interruption() as interruption:
        try:
            return int(options.run_command(options, interruption) or 0)
        except RobofumeError as error:
            print(f"robofume: {error}", file=sys.stderr)
            return 1
        except OSError as error:
            if isinstance(error, BrokenPipeError):
                sys.stderr.close()
                return 0
            what = f"{error.filename}: " if error.filename else ""
            print(f"robofume: {what}{error.strerror or error}.", file=sys.stderr)
            return 1
        except Stopped:
            print("\nStopped. The same command continues from here.", file=sys.stderr)
            return STOPPED
