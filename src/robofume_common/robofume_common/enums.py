"""Enumerations of the messages, for code that imports no rclpy. A test holds them equal to the .msg files."""

from enum import IntEnum

from robofume_common.errors import MalformedMessage


class MessageEnum(IntEnum):
    """Base of them all: a number that is none of them is a malformed message."""

    @classmethod
    def _missing_(cls, value: object) -> None:
        names = ", ".join(f"{member.value} {member.name}" for member in cls)
        raise MalformedMessage(f"{cls.__name__} has no value {value}; it is one of: {names}.")


class Phase(MessageEnum):
    """What is going on (Step.PHASE_*)."""

    IDLE = 0
    FORWARD = 1
    BACKWARD = 2
    EVALUATION = 3
    INTERVENTION = 4


class Direction(MessageEnum):
    """Which of the two instructions of a task is followed (Step.DIRECTION_*)."""

    NONE = 0
    FORWARD = 1
    BACKWARD = 2

    @property
    def opposite(self) -> "Direction":
        """The other direction; NONE stays NONE."""
        return {Direction.FORWARD: Direction.BACKWARD, Direction.BACKWARD: Direction.FORWARD}.get(self, self)


class Actor(MessageEnum):
    """Who chose an action (Step.ACTOR_*)."""

    NONE = 0
    POLICY = 1
    PERSON = 2
    SCRIPT = 3


class Verdict(MessageEnum):
    """A judgement on one step (Reward.VERDICT_*)."""

    UNKNOWN = 0
    SUCCESS = 1
    FAILURE = 2


class RewardSource(MessageEnum):
    """Who gave a verdict (Reward.SOURCE_*)."""

    NONE = 0
    VLM = 1
    HUMAN = 2
    GROUND_TRUTH = 3


class Outcome(MessageEnum):
    """How an episode ended (Episode.OUTCOME_*)."""

    SUCCESS = 1
    TIMEOUT = 2
    INTERVENTION = 3
    ABORTED = 4
    UNKNOWN = 5


class ArmMode(MessageEnum):
    """What an arm command asks for (ArmCommand.MODE_*)."""

    DELTA = 0
    HOME = 1
    HOLD = 2


class ArmState(MessageEnum):
    """State of the arm node (ArmStatus.STATE_*)."""

    REFUSING = 0
    HOLDING = 1
    MOVING = 2
    HOMING = 3
    STOPPED = 4
    RECOVERING = 5


class BackendState(MessageEnum):
    """State of a backend that talks to servos (BackendStatus.STATE_*)."""

    READY = 0
    RECOVERING = 1
    NEEDS_PERSON = 2
    ENDING = 3
