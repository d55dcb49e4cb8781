"""The verdict node: a person says of the running graph "that was a success" or "that was a failure", on `label`.

In a terminal: y and n, as often as wanted. `-p verdict:=success` says it once, of the newest step, and ends.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass

from rclpy.clock import Clock, ClockType
from rclpy.duration import Duration
from robofume_common.enums import Phase, Verdict
from robofume_common.errors import RobofumeError
from robofume_common.node import GraphNode, run
from robofume_common.parameters import declare, setting
from robofume_robot.nodes.teleop import Terminal

from robofume_common import qos
from robofume_interfaces.msg import Label, Step, Task

KEYS = {"y": Verdict.SUCCESS, "n": Verdict.FAILURE}
VERDICTS = {"success": Verdict.SUCCESS, "failure": Verdict.FAILURE}


@dataclass(frozen=True)
class VerdictConfig:
    """Settings of the verdict node."""

    verdict: str = setting("", "Said once; empty: keys in the terminal", choices=("", *VERDICTS))
    author: str = setting("person", "Who says so, for the record")
    deadline: float = setting(30.0, "Wall time to wait for a step, when said once", unit="s", minimum=0.1)


class VerdictNode(GraphNode):
    """Knows the newest step, and labels it when told to."""

    def __init__(self) -> None:
        super().__init__("verdict")
        self.failure: RobofumeError | None = None
        self._config = declare(self, VerdictConfig)
        self._terminal = Terminal()
        if not self._config.verdict and not self._terminal.is_there:
            raise RobofumeError("Keys need a terminal: start the verdict node in one, or give the parameter verdict.")
        self._newest: tuple[str, int] | None = None
        self._due = time.monotonic() + self._config.deadline
        self._said = False
        self._labels = self.create_publisher(Label, "label", qos.REWARD)
        self.create_subscription(Step, "step", self._on_step, qos.STEP)
        self.create_subscription(Task, "task", self._on_task, qos.LATCHED)
        self.create_timer(0.05, self._look, clock=Clock(clock_type=ClockType.STEADY_TIME))
        if not self._config.verdict:
            print("y: the newest step is a success   n: a failure   Ctrl+C: end", flush=True)

    def _on_step(self, message: Step) -> None:
        self._newest = message.episode_id, message.index

    def _on_task(self, message: Task) -> None:
        # Who starts while nothing moves has heard no step: the label is then for the episode's last one.
        if message.phase != Phase.IDLE and (self._newest is None or self._newest[0] != message.episode_id):
            self._newest = message.episode_id, -1

    def _look(self) -> None:
        if self._config.verdict:
            self._say_once()
            return
        for key in self._terminal.read():
            if key in KEYS:
                self._say(KEYS[key])

    def _say_once(self) -> None:
        if self._said:
            raise SystemExit(0)
        if self._newest is not None and self._labels.get_subscription_count():
            self._say(VERDICTS[self._config.verdict])
            self._said = True
        elif time.monotonic() > self._due:
            self.failure = RobofumeError("No episode is going on, or nobody listens to `label`: is the graph up?")

    def _say(self, verdict: Verdict) -> None:
        if self._newest is None:
            print("There is no episode to judge yet.", flush=True)
            return
        episode, index = self._newest
        self._labels.publish(
            Label(episode_id=episode, index=index, verdict=int(verdict), author=self._config.author)
        )
        print(f"{verdict.name.lower()}: {episode}, {'its last step' if index < 0 else f'step {index}'}", flush=True)

    def close(self) -> None:
        """Let the last label arrive; leave the terminal as it was."""
        self._labels.wait_for_all_acked(Duration(seconds=1.0))
        self._terminal.close()


def main() -> None:
    """Entry point."""
    sys.exit(run(VerdictNode))


if __name__ == "__main__":
    main()
