"""The whole loop, stage by stage. Finished stages are skipped, so a killed demo continues with the same
command."""

from __future__ import annotations

import time

from robofume_bringup.stages.context import StageContext
from robofume_bringup.stages.demonstrations import collect_demonstrations
from robofume_bringup.stages.evaluation import evaluate_policy, measured_by, read_evaluation
from robofume_bringup.stages.practice import STAGE as PRACTICE
from robofume_bringup.stages.practice import check_judge, practise
from robofume_bringup.stages.pretraining import pretrain_policy
from robofume_bringup.stages.report import write_run_report
from robofume_bringup.stages.reward import STAGE as REWARD
from robofume_bringup.stages.reward import train_reward


def run_demo(context: StageContext) -> None:
    """Demonstrations, reward model, pre-training, evaluation, practice, evaluation, report."""
    start = time.monotonic()
    finished = context.directory.finished
    context.say(f"Run {context.directory.path}, task {context.config.task}, seed {context.config.seed}.")
    collect_demonstrations(context)
    if not finished(REWARD):
        train_reward(context)
    if not finished(PRACTICE):
        check_judge(context)  # rather than after the hours of pre-training
    pretrain_policy(context)
    if not _is_measured(context, "pretrained", "before"):
        evaluate_policy(context, "pretrained", "before")
    practise(context)
    if not _is_measured(context, "practised", "after"):
        evaluate_policy(context, "practised", "after")
    write_run_report(context)
    context.say(f"Finished in {(time.monotonic() - start) / 60:.1f} minutes.")


def _is_measured(context: StageContext, weights: str, name: str) -> bool:
    """Whether the evaluation is there, with as many trials as the run asks for now and of the policy that it has now.

    What was measured before practice stands once there is practice, whatever became of `pretrained/` since.
    """
    directory, trials = context.directory, context.config.trials
    record = read_evaluation(directory, name) if directory.finished(f"evaluate_{name}") else None
    if record is None or record.get("trials_per_direction", trials) != trials:
        return False
    if weights == "pretrained" and directory.checkpoints.exists():
        return True
    measured = record.get("sha256")  # records of earlier versions do not say it
    return measured is None or bool(measured == measured_by(context, weights)["sha256"])
