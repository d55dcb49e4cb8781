"""When the policy may act on the next step: the switcher's side of lockstep.

Only the learner's own account counts: a learner that comes back from a checkpoint with other totals than the
switcher's never blocks the loop.
"""

from dataclasses import dataclass

from robofume_common.enums import MessageEnum
from robofume_common.parameters import setting


class LearnerState(MessageEnum):
    """State of the learner (LearnerStatus.STATE_*)."""

    LOADING = 0
    WAITING = 1
    TRAINING = 2
    SAVING = 3
    FAILED = 4


STATUS_AGE = 5.0
"""s; a learner whose newest status is older is waited for: it publishes one every second at least."""


@dataclass(frozen=True)
class PacingConfig:
    """Settings of pacing."""

    lockstep: bool = setting(False, "the world waits for each command: give step permits (simulation)")
    expect_verdicts: bool = setting(True, "a reward node runs: wait for its verdicts")
    expect_learner: bool = setting(False, "a learner runs: in practice, wait for it (lockstep only)")
    updates_per_step: float = setting(0.5, "gradient updates per control step, as the learner has it", minimum=0.0)
    warm_up_steps: int = setting(300, "control steps before the first update, as the learner has it", minimum=0)
    update_slack: int = setting(40, "updates that the learner may be behind its target", minimum=0)
    verdict_deadline: float = setting(
        10.0, "wall time after which a missing verdict is unknown", unit="s", minimum=0.1
    )
    learner_deadline: float = setting(
        120.0, "wall time without a status, or without progress while behind, that ends the goal", unit="s", minimum=1.0
    )


class LearnerPace:
    """How far the learner is behind, between two of its statuses. Times are monotonic seconds."""

    def __init__(self, config: PacingConfig, now: float) -> None:
        self.config = config
        self.updates = 0
        self._target = 0
        self._steps = 0
        self._steps_since = 0
        self._state: LearnerState | None = None
        self._message = ""
        self._heard = now
        self._progressed = now

    def begin(self, now: float) -> None:
        """A goal begins: deadlines count from here."""
        self._heard = self._progressed = now

    def on_status(
        self, state: LearnerState, updates: int, target_updates: int, steps: int, message: str, now: float
    ) -> None:
        """Take a LearnerStatus."""
        busy = state in (LearnerState.LOADING, LearnerState.SAVING)
        if updates != self.updates or busy or state != self._state:
            self._progressed = now
        self.updates, self._target, self._steps = updates, target_updates, steps
        self._state, self._message = state, message
        self._steps_since = 0
        self._heard = now

    def on_step(self) -> None:
        """The policy acted once in practice."""
        self._steps_since += 1

    @property
    def failed(self) -> bool:
        """Whether the learner says that it cannot go on."""
        return self._state == LearnerState.FAILED

    @property
    def behind(self) -> float:
        """Updates that the learner still owes for the steps it was told of and those since."""
        known = max(self._steps, self.config.warm_up_steps)
        since = max(0, self._steps + self._steps_since - known)
        return self._target - self.updates + self.config.updates_per_step * since

    def ready(self, now: float) -> bool:
        """Whether the next step may be taken; otherwise keep asking, and ask `problem`.

        In real time it need only be there: nothing waits for its updates.
        """
        alive = now - self._heard <= STATUS_AGE
        started = self._state in (LearnerState.WAITING, LearnerState.TRAINING, LearnerState.SAVING)
        if alive and started and (self.behind <= self.config.update_slack or not self.config.lockstep):
            self._progressed = now
            return True
        return False

    def problem(self, now: float) -> str:
        """A sentence when there is no use in waiting any longer, else ''."""
        deadline = self.config.learner_deadline
        if self._state == LearnerState.FAILED:
            return f"The learner failed: {self._message or 'see its log'}"
        if now - self._heard > deadline:
            return f"The learner has published no status for {deadline:.0f} s: is its node running? See its log."
        if now - self._progressed > deadline:
            return (
                f"The learner is {self.behind:.0f} updates behind and has made none for {deadline:.0f} s "
                f"({self._message or 'no message'}): see its log."
            )
        return ""
