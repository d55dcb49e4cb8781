"""What each command does. Modules of the stages are imported inside, so that `--help` is quick."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from robofume_common.errors import RobofumeError

from robofume_bringup.interruption import Interruption
from robofume_bringup.run_config import RunConfig, merged, open_run, parse_settings
from robofume_bringup.run_directory import RunDirectory

Options = argparse.Namespace


OF_ONE_CALL = ("reward_training", "reward_data", "reward")
"""What --set means for one call of `robofume reward` alone, whatever the run was started with."""


def open_context(options: Options, interruption: Interruption, existing: bool = False, otherwise: str = "") -> Any:
    """The StageContext of the run that the options name; `existing`: the run must be there already. `otherwise`: what
    else a person can do where it is not, for the error.
    """
    from robofume_bringup.stages.context import StageContext

    given = {
        name: getattr(options, name)
        for name in (field.name for field in dataclasses.fields(RunConfig))
        if getattr(options, name, None) is not None
    }
    if "prior" in given:
        given["prior"] = [str(path.resolve()) for path in given["prior"]]
    if getattr(options, "set", None):
        given["settings"] = parse_settings(options.set)
    from robofume_bringup.stages.settings import check_settings
    from robofume_bringup.task_files import is_task_file, task_description

    name = Path(given.get("task", RunConfig.task)).stem if options.run is None else options.run
    if is_task_file(given.get("task", "")):  # the run may be continued from another folder
        given["task"] = str(Path(given["task"]).resolve())
    if not name or Path(name).name != name or name in (".", ".."):
        raise RobofumeError(f"--run takes a name, not a path ({name!r}); --runs says where the runs are.")
    directory = RunDirectory(options.runs / name)
    if existing:
        directory.need(otherwise)

    def check(config: RunConfig) -> None:
        check_settings(StageContext(directory, config, interruption), given.get("settings", {}))

    config = open_run(directory, given, check)
    task_description(config.robot, config.task)
    return StageContext(directory, config, interruption)


def demo(options: Options, interruption: Interruption) -> None:
    """All stages in turn."""
    from robofume_bringup.stages.demo import run_demo

    run_demo(open_context(options, interruption))


def up(options: Options, interruption: Interruption) -> None:
    """Keep a graph running."""
    from robofume_bringup.stages.up import keep_up

    if options.demonstrator == "person" and options.mode != "collect":
        raise RobofumeError("--demonstrator person is for --mode collect: in the other modes the policy acts.")
    if options.in_process:
        raise RobofumeError("A graph that others can join is one of processes: leave --in-process out.")
    keep_up(
        open_context(options, interruption), options.mode, options.namespace, options.idle, options.demonstrator,
        options.secure,
    )  # fmt: skip


def security(options: Options, interruption: Interruption) -> None:
    """Make the keystore of a run."""
    from robofume_bringup.stages.keystore import make_run_keystore

    make_run_keystore(open_context(options, interruption), options.namespace)


def demonstrations(options: Options, interruption: Interruption) -> None:
    """Collect demonstrations."""
    from robofume_bringup.stages.demonstrations import collect_demonstrations

    collect_demonstrations(open_context(options, interruption))


def scenes(options: Options, interruption: Interruption) -> None:
    """Photograph scenes that are arranged by hand, or by the simulated task."""
    from robofume_bringup.cli.person import picture_of
    from robofume_bringup.stages.scenes import arrange_scenes, ask_for_scenes, photographed

    context = open_context(options, interruption, existing=True)
    if context.config.robot != "mujoco":
        ask_for_scenes(context, picture_of(options, context.directory.name))
    elif photographed(context) >= context.config.scenes:
        context.say(f"There are {photographed(context)} scenes already.")
    else:
        arrange_scenes(context)
        if not photographed(context):
            context.say(f"The simulated task {context.config.task} arranges no scenes: its failures show enough.")


def open_for_reward(options: Options, interruption: Interruption, suffices: bool, otherwise: str) -> Any:
    """The StageContext of a command of `robofume reward`: that of a run, with the settings of OF_ONE_CALL as they are
    given for this call and not kept; or without a run, where none is named and the other options say all (`suffices`).
    """
    from robofume_bringup.stages.context import StageContext

    own = [text for text in options.set if text.partition(".")[0].strip() in OF_ONE_CALL]
    options.set = [text for text in options.set if text not in own]
    if options.run is not None or not suffices:
        context = open_context(options, interruption, existing=True, otherwise=otherwise)
    elif options.set:
        raise RobofumeError(f"Without a run --set takes settings of {', '.join(OF_ONE_CALL)} alone.")
    else:
        config = RunConfig() if options.seed is None else RunConfig(seed=options.seed)
        context = StageContext(RunDirectory(options.runs / "none"), config, interruption)
    settings = merged(context.config.settings, parse_settings(own))
    return dataclasses.replace(context, config=dataclasses.replace(context.config, settings=settings))


def reward_train(options: Options, interruption: Interruption) -> None:
    """Fine-tune the reward model."""
    from robofume_bringup.stages.reward import STAGE, train_reward

    otherwise = "or give the bags to train on and --output, the folder for the model"
    context = open_for_reward(options, interruption, bool(options.output and options.bags), otherwise)
    if options.output is not None:
        trained = _holds_a_model(options.output)
    else:
        trained = context.directory.finished(STAGE) is not None
    if trained and not options.again:
        where = "of this run" if options.output is None else f"in {options.output}"
        context.say(f"The reward model {where} is trained; --again trains it anew.")
        return
    train_reward(context, options.model, options.bags, options.second_judge, options.output)


def _holds_a_model(folder: Path) -> bool:
    """Whether a reward model was trained into a folder. RobofumeError where it holds anything else, which training
    would put away.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return False
    if not (folder / "training.json").is_file():
        raise RobofumeError(f"{folder} is there and holds no reward model: give another folder with --output.")
    return True


def reward_evaluate(options: Options, interruption: Interruption) -> None:
    """Measure the reward model."""
    from robofume_bringup.stages.reward import evaluate_reward

    otherwise = "or give the bags to measure on and --model"
    context = open_for_reward(options, interruption, bool(options.model and options.bags), otherwise)
    evaluate_reward(context, options.bags, options.baselines, options.model)


def reward_rescore(options: Options, interruption: Interruption) -> None:
    """Judge recorded bags again."""
    from robofume_bringup.stages.reward import rescore

    otherwise = "or give --model and --output, the folder for the new bags"
    context = open_for_reward(options, interruption, bool(options.model and options.output), otherwise)
    rescore(context, options.bags, options.model, options.output)


def label(options: Options, interruption: Interruption) -> None:
    """Keep a person's verdict, or show what is worth one."""
    from robofume_bringup.stages.labelling import add_label, show_called, show_doubtful

    ways = (options.doubtful, options.called, options.episode)
    if sum(way is not None for way in ways) != 1 or (options.episode is not None and options.verdict is None):
        raise RobofumeError("Give an episode and its verdict, or --doubtful or --called and how many to show.")
    if any(count is not None and count < 1 for count in ways[:2]):
        raise RobofumeError("--doubtful and --called take how many to show: 1 or more.")
    context = open_context(options, interruption, existing=True)
    if options.doubtful is not None:
        show_doubtful(context, options.doubtful)
    elif options.called is not None:
        show_called(context, options.called)
    else:
        add_label(context, options.episode, options.verdict, options.index)


def pretrain(options: Options, interruption: Interruption) -> None:
    """Train the policy offline."""
    from robofume_bringup.stages.pretraining import pretrain_policy

    pretrain_policy(open_context(options, interruption, existing=True), options.again)


def practice(options: Options, interruption: Interruption) -> None:
    """Practise."""
    from robofume_bringup.stages.practice import practise

    practise(open_context(options, interruption, existing=True))


def retrain(options: Options, interruption: Interruption) -> None:
    """Train a new policy offline on demonstrations and practice."""
    from robofume_bringup.stages.pretraining import retrain_policy

    context = open_context(options, interruption, existing=True)
    retrain_policy(context, options.first_steps, options.upsampling, options.again)


def adapt(options: Options, interruption: Interruption) -> None:
    """Adapt a trained policy to this run's condition."""
    from robofume_bringup.stages.adaptation import adapt_policy, checkpoint_to_take, policy_named, settings_of_source

    if options.checkpoint is not None:
        options.checkpoint = policy_named(options.checkpoint)
    task, robot, image_size, network = settings_of_source(options.checkpoint)
    if options.run is None:
        options.run = Path(options.task or task or RunConfig.task).stem
    directory = RunDirectory(options.runs / options.run)
    if not directory.config_file.exists():
        checkpoint_to_take(directory, options.checkpoint)  # a run is not begun without the settings of its source
        options.task, options.robot = options.task or task, options.robot or robot
        options.image_size = options.image_size or image_size
        options.set = [*network, *options.set]
    context = open_context(options, interruption)
    adapt_policy(context, options.checkpoint, options.bags, options.base, options.again)


def evaluate(options: Options, interruption: Interruption) -> None:
    """Count successes by ground truth."""
    from robofume_bringup.stages.conditions import evaluate_like
    from robofume_bringup.stages.evaluation import evaluate_policy
    from robofume_bringup.stages.robustness import evaluate_robustness

    if options.variation_draws != 1 and not options.variation:
        raise RobofumeError("--variation-draws is about --variation: say which kinds, or all.")
    if options.like and options.variation:
        raise RobofumeError("Of --like and --variation one at a time: the simulation is another run's, or varied.")
    name = {"pretrained": "before", "practised": "after"}.get(options.weights, options.weights)
    context = open_context(options, interruption, existing=True)
    if options.like:
        evaluate_like(context, options.weights, name, options.like)
    elif options.variation:
        evaluate_robustness(context, options.weights, name, options.variation, options.variation_draws)
    else:
        evaluate_policy(context, options.weights, name)
    if options.weights in ("source", "adapted"):
        from robofume_bringup.stages.adaptation import note_scores

        note_scores(context)


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


def teleop(options: Options, interruption: Interruption) -> int:
    """Drive the arm by keys and joystick."""
    from robofume_bringup.cli import person

    return person.teleop(options, interruption)


def helped(options: Options, interruption: Interruption) -> None:
    """Answer a request for help."""
    from robofume_bringup.cli import person

    person.helped(options, interruption)


def workspace_record(options: Options, interruption: Interruption) -> int:
    """Write the workspace box from an arm that is guided by hand."""
    from robofume_bringup.cli import person

    return person.workspace_record(options, interruption)


def camera_crop(options: Options, _interruption: Interruption) -> None:
    """Choose the part of the picture that the policy sees."""
    from robofume_bringup.cli.camera import crop

    crop(
        options.source, options.topic, options.crop, options.task_file, options.output, options.image_size,
        options.window,
    )  # fmt: skip


def tasks(options: Options, _interruption: Interruption) -> None:
    """List the tasks of a robot."""
    from robofume_bringup.task_files import task_description, task_names, task_run_settings

    for name in task_names(options.robot):
        description = task_description(options.robot, name)
        print(
            f"{name}\n    forward:  {description.forward_instruction}\n    backward: "
            f"{description.backward_instruction}"
        )
        own = dict(task_run_settings(options.robot, name))
        if own:
            texts = [f"{name.replace('_', '-')} {own[name]}" for name in own if name != "settings"]
            texts += [
                f"{component}.{setting} {value}"
                for component, values in own.get("settings", {}).items()
                for setting, value in values.items()
            ]
            print(f"    its runs have: {', '.join(texts)}")


def doctor(_options: Options, _interruption: Interruption) -> int:
    """Say what is installed."""
    from robofume_bringup.doctor import main

    return main()
