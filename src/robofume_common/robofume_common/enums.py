"""Enumerations of the messages, for code that imports no rclpy. A test holds them equal to the .msg files."""

from enum import IntEnum


class Phase(IntEnum):
    """What is going on (Step.PHASE_*)."""

    IDLE = 0
    FORWARD = 1
    BACKWARD = 2
    EVALUATION = 3
    INTERVENTION = 4


class Direction(IntEnum):
    """Which of the two instructions of a task is followed (Step.DIRECTION_*)."""

    NONE = 0
    FORWARD = 1
    BACKWARD = 2

    @property
    def opposite(self) -> "Direction":
        """The other direction; NONE stays NONE."""
        return {Direction.FORWARD: Direction.BACKWARD, Direction.BACKWARD: Direction.FORWARD}.get(self, self)


class Actor(IntEnum):
    """Who chose an action (Step.ACTOR_*)."""

    NONE = 0
    POLICY = 1
    PERSON = 2
    SCRIPT = 3


class Verdict(IntEnum):
    """A judgement on one step (Reward.VERDICT_*)."""

    UNKNOWN = 0
    SUCCESS = 1
    FAILURE = 2


class RewardSource(IntEnum):
    """Who gave a verdict (Reward.SOURCE_*)."""

    NONE = 0
    VLM = 1
    HUMAN = 2
    GROUND_TRUTH = 3


class Outcome(IntEnum):
    """How an episode ended (Episode.OUTCOME_*)."""

    SUCCESS = 1
    TIMEOUT = 2
    INTERVENTION = 3
    ABORTED = 4
    UNKNOWN = 5


class ArmMode(IntEnum):
    """What an arm command asks for (ArmCommand.MODE_*)."""

    DELTA = 0
    HOME = 1
    HOLD = 2


class ArmState(IntEnum):
    """State of the arm node (ArmStatus.STATE_*)."""

    REFUSING = 0
    HOLDING = 1
    MOVING = 2
    HOMING = 3
    STOPPED = 4
    RECOVERING = 5


class BackendState(IntEnum):
    """State of a backend that talks to servos (BackendStatus.STATE_*)."""

    READY = 0
    RECOVERING = 1
    NEEDS_PERSON = 2
    ENDING = 3
