"""Where an arm's motions go. The arm node knows one kind so far: a trajectory controller on a topic."""

from __future__ import annotations

from typing import Protocol

from robofume_robot.motion import Motion


class Backend(Protocol):
    """Carries out motions; what the arm does comes back as `joint_states`."""

    def send(self, motion: Motion) -> None:
        """Start `motion` now, in place of whatever runs."""
