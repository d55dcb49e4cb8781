"""Settings of the episode loop, and how a goal may end."""

from dataclasses import dataclass

from robofume_common.parameters import setting

from robofume_reset.escalation import PersonConfig

ERROR_NONE = 0
ERROR_CANCELED = 1
ERROR_NO_OBSERVATIONS = 2
ERROR_RESET_FAILED = 3
ERROR_BUSY = 4
ERROR_NO_VERDICTS = 5
ERROR_NO_LEARNER = 6
ERROR_ARM_STOPPED = 7


@dataclass(frozen=True)
class LoopConfig(PersonConfig):
    """Settings of the episode loop."""

    home: bool = setting(True, "bring the arm home before each episode")
    confirm: bool = setting(
        False,
        "end each episode with the arm at home, out of the picture; only the verdict there counts (needs verdicts)",
    )
    success_needs_open_gripper: bool = setting(
        False,
        "do not count verdicts on what the gripper may still hold: a success needs an open gripper at the step before",
    )
    open_gripper: float = setting(
        0.8, "gripper opening, of 0 to 1, that lets go of everything: wider than any object", minimum=0.0, maximum=1.0
    )
    uncalled_is_failure: bool = setting(
        False, "a person watches and calls the successes: an end that nobody judged is a failure, and not unknown"
    )
    start_deadline: float = setting(
        60.0, "wall time from a goal's first task to its first step", unit="s", minimum=0.1
    )
    step_deadline: float = setting(
        20.0, "wall time to the next step, or through homing to step 0, that ends the goal", unit="s", minimum=0.1
    )
    close_deadline: float = setting(
        5.0, "wall time to the last step of an episode that was ended", unit="s", minimum=0.1
    )
    reset_deadline: float = setting(60.0, "wall time for a scene reset", unit="s", minimum=0.1)
    max_missing_verdicts: int = setting(3, "missing verdicts in a row that end the goal", minimum=1)
    max_unknown_episodes: int = setting(
        12, "episodes in a row whose end the judge could not tell that end the goal, resets or not", minimum=1
    )
    max_aborts: int = setting(3, "episodes in a row aborted by a restarted policy that end the goal", minimum=1)
