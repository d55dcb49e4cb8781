"""Whether an episode is over, and how it ended: what its steps and verdicts say (docs/architecture.md, "Verdicts and
episodes")."""

from dataclasses import dataclass
from enum import Enum, auto

from robofume_common.enums import Outcome, Phase, Verdict

from robofume_reset.events import Episode
from robofume_reset.loop_config import LoopConfig
from robofume_reset.pacing import PacingConfig
from robofume_reset.success_rule import SuccessRule


class Due(Enum):
    """What is to be done with an episode."""

    NOTHING = auto()
    LOOK_FROM_HOME = auto()
    """The arm goes home before the last step: what it holds is let go, and nothing hides the objects."""
    VERDICT_MISSED = auto()
    """The verdict on the last step is overdue."""
    BROKEN_OFF = auto()
    """The policy ended it before its time."""
    END = auto()


@dataclass(frozen=True)
class Judgement:
    """What is due; `outcome` and `success_index` (-1: none) of an episode that is to END."""

    due: Due
    outcome: Outcome = Outcome.ABORTED
    success_index: int = -1


NOTHING = Judgement(Due.NOTHING)


def judge_episode(
    episode: Episode, config: LoopConfig, pacing: PacingConfig, rule: SuccessRule, now: float
) -> Judgement:
    """What is due at the time `now` [s, monotonic]."""
    if episode.phase == Phase.INTERVENTION:  # a nudge, which nobody judges: it is over with its script
        if not episode.last_seen:
            return NOTHING
        early = episode.steps < episode.step_limit
        return Judgement(Due.BROKEN_OFF) if early else Judgement(Due.END, Outcome.INTERVENTION)
    seen = episode.steps if episode.last_seen else episode.steps - 1
    held = episode.gripping if config.success_needs_open_gripper else ()
    verdicts = {index: verdict for index, verdict in episode.verdicts.items() if index not in held}
    success_index = rule.success_index(verdicts, seen)
    if config.confirm:
        called = success_index >= 0 and not episode.only_from_home
        over = called or episode.steps >= episode.step_limit
        if over and not episode.last_seen and not episode.going_home:
            return Judgement(Due.LOOK_FROM_HOME)
        # What the arm only lets go of on its way home was not put there by the policy.
        success = episode.going_home and verdicts.get(episode.steps) == Verdict.SUCCESS
        success_index = episode.steps if episode.last_seen and success else -1
    if success_index >= 0:
        return Judgement(Due.END, Outcome.SUCCESS, success_index)
    if not episode.last_seen:
        return NOTHING
    if episode.steps < episode.step_limit and not episode.going_home:
        return Judgement(Due.BROKEN_OFF)
    if not pacing.expect_verdicts:
        return Judgement(Due.END, Outcome.TIMEOUT)
    if episode.steps not in episode.verdicts:
        overdue = now - episode.step_time >= pacing.verdict_deadline
        return Judgement(Due.VERDICT_MISSED) if overdue else NOTHING
    unknown = episode.verdicts[episode.steps] == Verdict.UNKNOWN
    if config.uncalled_is_failure and episode.steps not in episode.called:
        unknown = False
    return Judgement(Due.END, Outcome.UNKNOWN if unknown else Outcome.TIMEOUT)
