"""Which processors the nodes run on, and whether those sleep between two messages.

In lockstep one node works at a time and the next one waits for its message. A processor that sleeps meanwhile wakes up
slowly and with cold caches: on a virtual machine of two cores, keeping them awake brought 31 % more steps a second, and
10 % beside a learner (`docs/results.md`).
"""

from __future__ import annotations

import os
import struct
from pathlib import Path

LATENCY = Path("/dev/cpu_dma_latency")
"""Linux' PM QoS: while it is open, processors sleep no deeper than the latency [us] written to it allows."""


class Awake:
    """Keeps the processors from sleeping, where this user may, and does nothing where not; ends with the process."""

    def __init__(self, device: Path = LATENCY) -> None:
        self._device = device
        self._descriptor: int | None = None

    def begin(self) -> None:
        """From now on."""
        try:
            self._descriptor = os.open(self._device, os.O_WRONLY | os.O_CLOEXEC)
            os.write(self._descriptor, struct.pack("i", 0))
        except OSError:  # no such device, or not for this user
            self.end()

    def end(self) -> None:
        """Let them sleep again."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    @property
    def held(self) -> bool:
        """Whether they are being kept awake."""
        return self._descriptor is not None


def may_keep_awake() -> bool:
    """Whether this user may keep the processors awake."""
    return os.access(LATENCY, os.W_OK)


def processor(lane: int, graph: int) -> int | None:
    """The processor for the nodes of a `lane`, of those that this process may use; None where there is but one.

    `graph` is a number of the graph, such as its domain: graphs beside each other take different processors, where
    there are more than one of them needs.
    """
    if not hasattr(os, "sched_getaffinity"):
        return None
    usable = sorted(os.sched_getaffinity(0))
    return usable[(2 * graph + lane) % len(usable)] if len(usable) > 1 else None
