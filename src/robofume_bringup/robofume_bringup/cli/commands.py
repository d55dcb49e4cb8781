"""What each command does. Modules of the stages are imported inside, so that `--help` is quick."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from robofume_common.errors import RobofumeError

from robofume_bringup.interruption import Interruption
from robofume_bringup.run_config import RunConfig, open_run, parse_settings
from robofume_bringup.run_directory import RunDirectory

Options = argparse.Namespace


def open_context(options: Options, interruption: Interruption, existing: bool = False) -> Any:
    """The StageContext of the run that the options name; `existing`: the run must be there already."""
    from robofume_bringup.stages.context import StageContext

    given = {
        name: getattr(options, name)
        for name in (field.name for field in dataclasses.fields(RunConfig))
        if getattr(options, name, None) is not None
    }
    if getattr(options, "set", None):
        given["settings"] = parse_settings(options.set)
    if "task" in given:
        known_task(given["task"])
    name = options.run or given.get("task", RunConfig.task)
    if not name or Path(name).name != name or name in (".", ".."):
        raise RobofumeError(f"--run takes a name, not a path ({name!r}); --runs says where the runs are.")
    directory = RunDirectory(options.runs / name)
    if existing:
        directory.need()
    config = open_run(directory, given)
    known_task(config.task)
    return StageContext(directory, config, interruption)


def known_task(name: str) -> None:
    """Raise RobofumeError, naming the tasks there are, for another one."""
    from robofume_sim.tasks import TASKS

    if name not in TASKS:
        raise RobofumeError(f"There is no task {name!r}; choose one of: {', '.join(sorted(TASKS))}.")


def demo(options: Options, interruption: Interruption) -> None:
    """All stages in turn."""
    from robofume_bringup.stages.demo import run_demo

    run_demo(open_context(options, interruption))


def up(options: Options, interruption: Interruption) -> None:
    """Keep a graph running."""
    from robofume_bringup.stages.up import keep_up

    keep_up(open_context(options, interruption), options.mode, options.namespace, options.idle)


def demonstrations(options: Options, interruption: Interruption) -> None:
    """Collect demonstrations."""
    from robofume_bringup.stages.demonstrations import collect_demonstrations

    collect_demonstrations(open_context(options, interruption))


def reward_train(options: Options, interruption: Interruption) -> None:
    """Fine-tune the reward model."""
    from robofume_bringup.stages.reward import STAGE, train_reward

    context = open_context(options, interruption, existing=True)
    if context.directory.finished(STAGE) and not options.again:
        context.say("The reward model of this run is trained; --again trains it anew.")
        return
    train_reward(context, options.model)


def reward_evaluate(options: Options, interruption: Interruption) -> None:
    """Measure the reward model."""
    from robofume_bringup.stages.reward import evaluate_reward

    evaluate_reward(open_context(options, interruption, existing=True), options.bags)


def pretrain(options: Options, interruption: Interruption) -> None:
    """Train the policy offline."""
    from robofume_bringup.stages.pretraining import pretrain_policy

    pretrain_policy(open_context(options, interruption, existing=True), options.again)


def practice(options: Options, interruption: Interruption) -> None:
    """Practise."""
    from robofume_bringup.stages.practice import practise

    practise(open_context(options, interruption, existing=True))


def evaluate(options: Options, interruption: Interruption) -> None:
    """Count successes by ground truth."""
    from robofume_bringup.stages.evaluation import evaluate_policy

    name = {"pretrained": "before", "practised": "after"}[options.weights]
    evaluate_policy(open_context(options, interruption, existing=True), options.weights, name)


def report(options: Options, interruption: Interruption) -> None:
    """Write the report."""
    from robofume_bringup.stages.report import write_run_report

    write_run_report(open_context(options, interruption, existing=True))


def data_info(options: Options, _interruption: Interruption) -> int:
    """Say what is in bags."""
    from robofume_bringup.cli.data import info

    return info(options.bags)


def data_check(options: Options, _interruption: Interruption) -> int:
    """Say whether bags are whole."""
    from robofume_bringup.cli.data import check

    return check(options.bags)


def data_repair(options: Options, _interruption: Interruption) -> int:
    """Write whole bags for damaged ones."""
    from robofume_bringup.cli.data import repair

    return repair(options.bags, options.output)


def data_view(options: Options, _interruption: Interruption) -> int:
    """Write pictures of an episode."""
    from robofume_bringup.cli.data import view

    return view(options.episode, options.bags, options.output)


def tasks(_options: Options, _interruption: Interruption) -> None:
    """List the tasks."""
    from robofume_sim.tasks import TASKS

    for name, task in sorted(TASKS.items()):
        description = task.description
        print(
            f"{name}\n    forward:  {description.forward_instruction}\n    backward: "
            f"{description.backward_instruction}"
        )


def doctor(_options: Options, _interruption: Interruption) -> int:
    """Say what is installed."""
    from robofume_bringup.doctor import main

    return main()
