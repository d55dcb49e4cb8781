"""Starts the graph and keeps it running until the person stops it."""

from __future__ import annotations

import math
import time
from typing import Any

from robofume_bringup.interruption import Stopped
from robofume_bringup.stages.context import StageContext, percent
from robofume_bringup.stages.demonstrations import STAGE as DEMONSTRATIONS
from robofume_bringup.stages.practice import STAGE as PRACTICE

STAGES = {"collect": DEMONSTRATIONS, "practice": PRACTICE, "evaluate": "up_evaluate"}
"""At which stage of the run a graph of each mode is; two at one would give other episodes the same names."""


def keep_up(
    context: StageContext, mode: str, namespace: str, idle: bool, demonstrator: str, secure: bool = False
) -> None:
    """Run the graph of `mode`. Unless `idle`, practice (or collection) starts and goes on without an end; in
    the mode evaluate the graph always waits for a goal. `demonstrator`: as in GraphSettings. `secure`: with
    the run's keystore, and nobody without a key takes part.

    Raises RobofumeError where another process collects or practises in this run already.
    """
    try:
        with (
            context.directory.alone(STAGES[mode]),
            context.graph(mode, namespace=namespace, demonstrator=demonstrator, secure=secure) as session,
        ):
            runner = session.runner
            context.say(
                f"The graph is up: {', '.join(runner.names)} in ROS domain {runner.domain}. Ctrl+C stops it. "
                f"Logs: {runner.log_directory}."
            )
            if secure:  # whoever forgets it is not heard, an emergency stop neither
                context.say("It is secured: who joins it, with `robofume teleop` or another command, needs --secure.")
            if idle or mode == "evaluate":
                while True:
                    session.wait_idle(1.0)
            with context.bar(mode, None, "step") as bar:

                def feedback(state: Any) -> None:
                    bar.update(state.steps - bar.n)
                    bar.set_postfix(
                        episodes=state.episodes,
                        forward=percent_or_dash(state.forward_success_rate),
                        backward=percent_or_dash(state.backward_success_rate),
                        refresh=False,
                    )

                session.practice(feedback)
    except Stopped:
        context.say(f"The graph has stopped at {time.strftime('%H:%M:%S')}.")


def percent_or_dash(share: float) -> str:
    """`91%`, or `-` for NaN."""
    return "-" if math.isnan(share) else percent(share)
