"""The whole loop, stage by stage. Finished stages are skipped, so a killed demo continues with the same
command."""

from __future__ import annotations

import time

from robofume_bringup.stages.context import StageContext
from robofume_bringup.stages.demonstrations import collect_demonstrations
from robofume_bringup.stages.evaluation import evaluate_policy
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
    if not finished("evaluate_before"):
        evaluate_policy(context, "pretrained", "before")
    practise(context)
    if not finished("evaluate_after"):
        evaluate_policy(context, "practised", "after")
    write_run_report(context)
    context.say(f"Finished in {(time.monotonic() - start) / 60:.1f} minutes.")
