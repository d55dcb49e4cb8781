"""The switcher's events and counts as messages."""

from typing import Any

from robofume_common.conversion import floats, to_time
from robofume_common.enums import Direction

from robofume_interfaces.action import Evaluate
from robofume_interfaces.msg import Episode, Task
from robofume_reset.events import PublishEpisode, PublishTask
from robofume_reset.switching import EvaluationPlan


def task_message(event: PublishTask, task: str) -> Task:
    """A Task; `task` is the name of the scene's own one."""
    return Task(
        stamp=to_time(event.stamp),
        phase=int(event.phase),
        direction=int(event.direction),
        task=event.task or task,
        instruction=event.instruction,
        episode_id=event.episode_id,
        step_limit=event.step_limit,
        home=event.home,
        script=floats(event.script),
    )


def episode_message(event: PublishEpisode, task: str, stamp: Any) -> Episode:
    """The end of an episode; `task` as above."""
    return Episode(
        stamp=stamp,
        episode_id=event.episode_id,
        phase=int(event.phase),
        direction=int(event.direction),
        task=event.task or task,
        instruction=event.instruction,
        num_steps=event.num_steps,
        outcome=int(event.outcome),
        success_index=event.success_index,
        assisted_reset_before=event.assisted_reset_before,
    )


def evaluation_feedback(plan: EvaluationPlan) -> Evaluate.Feedback:
    """How far an evaluation is."""
    evaluation = Evaluate.Feedback(trials_done=plan.trials_done, trials_total=plan.trials_total)
    evaluation.forward_trials = len(plan.results[Direction.FORWARD])
    evaluation.backward_trials = len(plan.results[Direction.BACKWARD])
    evaluation.forward_successes = sum(plan.successes(Direction.FORWARD))
    evaluation.backward_successes = sum(plan.successes(Direction.BACKWARD))
    return evaluation


def fill(message: Any, tally: Any) -> None:
    """A tally's fields into a result or feedback of the same names."""
    for name, value in vars(tally).items():
        setattr(message, name, value)


def fill_trials(result: Any, plan: EvaluationPlan) -> None:
    """Trials into a result of `evaluate`."""
    result.forward_success = plan.successes(Direction.FORWARD)
    result.backward_success = plan.successes(Direction.BACKWARD)
    result.forward_steps = plan.steps(Direction.FORWARD)
    result.backward_steps = plan.steps(Direction.BACKWARD)
    result.forward_score = plan.scores(Direction.FORWARD)
    result.backward_score = plan.scores(Direction.BACKWARD)
