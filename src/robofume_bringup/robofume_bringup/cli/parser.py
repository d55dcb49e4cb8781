"""Commands, options and help of `robofume`."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable
from pathlib import Path

from robofume_bringup.cli import commands, importing, prior
from robofume_bringup.run_config import RunConfig
from robofume_bringup.run_directory import POLICIES
from robofume_bringup.task_files import ROBOTS

DESCRIPTION = (
    "A robot arm learns a task: demonstrations, reward model, pre-training, practice without resets, report."
)

EXAMPLES = """\
examples:
  robofume demo                                  the whole loop on the simulated arm, about 20 minutes
  robofume demo --task pot_lid --run lid         the same for another task, in runs/lid
  robofume practice --run lid --practice-steps 20000
                                                 practise on with the same run
  robofume data check runs/lid/bags              are the bags whole?
  robofume doctor                                what is installed, which robots can be used here

A command that was stopped or killed continues when it is given again."""

JOIN_SECURELY = "join a graph that is up with --secure, with a person's key from the run's keystore"


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line; each command sets `run_command`."""
    parser = argparse.ArgumentParser(
        prog="robofume",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def add(
        name: str,
        run: Callable[..., int | None],
        summary: str,
        example: str = "",
        parent: argparse._SubParsersAction[argparse.ArgumentParser] = subparsers,
    ) -> argparse.ArgumentParser:
        command = parent.add_parser(
            name,
            help=summary,
            description=summary[0].upper() + summary[1:] + ".",
            epilog=f"example:\n  {example}" if example else None,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.set_defaults(run_command=run)
        return command

    demo = add(
        "demo",
        commands.demo,
        "all stages, from demonstrations to the report",
        "robofume demo --seed 1 --run one",
    )
    add_run_options(demo)
    add_prior(demo)

    up = add(
        "up",
        commands.up,
        "start the graph and keep it running until Ctrl+C",
        "robofume up --mode practice --run lid",
    )
    add_run_options(up, amounts=("restarts",))
    up.add_argument(
        "--mode", choices=("collect", "practice", "evaluate"), default="practice", help="default: practice"
    )
    up.add_argument(
        "--demonstrator",
        choices=("scripted", "person"),
        default="scripted",
        help="in mode collect with a simulation: the script, or a person with `robofume teleop` (default: scripted)",
    )
    up.add_argument("--namespace", default="", help="ROS namespace of the nodes, for a second robot")
    up.add_argument(
        "--idle", action="store_true", help="wait for a goal on the action `practice`; do not start by itself"
    )

    up.add_argument("--secure", action="store_true", help="with the keystore that `robofume security` made")

    security = add(
        "security",
        commands.security,
        "make SROS2 keys and permissions for exactly the topics of a run's graph",
        "robofume security --run lid && robofume up --run lid --secure",
    )
    add_run_options(security, amounts=())
    security.add_argument("--namespace", default="", help="ROS namespace of the nodes, as for `up`")

    demos = add(
        "demos",
        commands.demonstrations,
        "collect demonstrations into bags",
        "robofume demos --demonstrations 10",
    )
    add_run_options(demos, amounts=("demonstrations", "failures", "scenes", "restarts"))

    scenes = add(
        "scenes",
        commands.scenes,
        "photograph scenes arranged near the borders of the goals, for the reward model; a real robot's run must be up",
        "robofume scenes --run lid --scenes 80",
    )
    add_run_options(scenes, amounts=("scenes",))
    scenes.add_argument("--domain", type=int, help="the ROS domain of the graph, instead of the run's")
    scenes.add_argument("--namespace", default="", help="ROS namespace of the nodes, for a second robot")
    scenes.add_argument("--secure", action="store_true", help=JOIN_SECURELY)

    reward = subparsers.add_parser(
        "reward", help="train, evaluate or rescore with the reward model", description="The reward model."
    )
    reward_commands = reward.add_subparsers(title="commands", metavar="COMMAND", required=True)
    train = add(
        "train",
        commands.reward_train,
        "fine-tune the reward model on the demonstrations and failures, and on labelled practice",
        "robofume reward train --run lid",
        reward_commands,
    )
    add_run_options(train, amounts=(), repeat=True)
    train.add_argument(
        "--model", help="directory or hub name of a vision-language model (default: a tiny one, from scratch)"
    )
    train.add_argument(
        "--second-judge",
        metavar="DIR",
        help="another reward model: outcomes of practice that it confirms count as labels",
    )
    train.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help="folder for the model (default: reward/ in the run); with BAGS no run is needed then",
    )
    train.add_argument(
        "bags", nargs="*", type=Path, help="bags or folders (default: demonstrations, and labelled practice)"
    )
    evaluate_reward = add(
        "evaluate",
        commands.reward_evaluate,
        "precision, recall and calibration on held-out or other episodes",
        "robofume reward evaluate runs/lid/bags/practice --run lid",
        reward_commands,
    )
    add_run_options(evaluate_reward, amounts=())
    evaluate_reward.add_argument(
        "--model", help="directory or hub name (default: the run's); with BAGS no run is needed then"
    )
    evaluate_reward.add_argument(
        "bags", nargs="*", type=Path, help="bags or folders (default: the held-out demonstrations)"
    )
    evaluate_reward.add_argument(
        "--baselines",
        action="store_true",
        help="also train and measure a CNN with language, a linear probe and the untrained base model",
    )
    rescore = add(
        "rescore",
        commands.reward_rescore,
        "judge recorded bags again with a reward model, into new bags",
        "robofume reward rescore runs/lid/bags/practice --run lid",
        reward_commands,
    )
    add_run_options(rescore, amounts=())
    rescore.add_argument("bags", nargs="+", type=Path, help="bags or folders")
    rescore.add_argument(
        "--model", help="directory or hub name (default: the run's); with --output no run is needed then"
    )
    rescore.add_argument("--output", type=Path, help="folder for the new bags (default: rescored/ in the run)")

    label = add(
        "label",
        commands.label,
        "say whether a recorded episode was a success, for the next training of the reward model",
        "robofume label practice-000061 failure --run lid",
    )
    add_run_options(label, amounts=(), settings=False)
    label.add_argument("episode", nargs="?", help="id of the episode")
    label.add_argument("verdict", nargs="?", choices=("success", "failure", "unknown"))
    label.add_argument("--index", type=int, default=-1, help="the step that is meant (default: the last one)")
    label.add_argument(
        "--doubtful", type=int, metavar="COUNT", help="show the episodes the judge was least sure of"
    )
    label.add_argument(
        "--called", type=int, metavar="COUNT", help="show episodes drawn at random from called successes"
    )

    pretrain = add(
        "pretrain",
        commands.pretrain,
        "train the policy offline on the demonstrations",
        "robofume pretrain --run lid --prior bridge_bags",
    )
    add_run_options(pretrain, amounts=("pretraining_updates",), repeat=True)
    add_prior(pretrain)

    practice = add(
        "practice",
        commands.practice,
        "practise forward and backward without resets, judged by the reward model",
        "robofume practice --run lid --practice-steps 20000",
    )
    add_run_options(practice, amounts=("practice_steps", "restarts"))

    retrain = add(
        "retrain",
        commands.retrain,
        "train a new policy from scratch, offline, on the demonstrations and what was practised (OOO)",
        "robofume retrain --run lid --first-steps 8000 --upsampling 8",
    )
    add_run_options(retrain, amounts=("retraining_updates",), repeat=True)
    retrain.add_argument(
        "--first-steps", metavar="STEPS", type=int, default=0, help="use so many steps of practice (default: all)"
    )
    retrain.add_argument(
        "--upsampling",
        metavar="TIMES",
        type=int,
        default=1,
        help="draw successful episodes of practice so many times as often (paper: 8 to 32; default: 1)",
    )

    adapt = add(
        "adapt",
        commands.adapt,
        "adapt a trained policy to a new condition, on its own data and the new ones (Never Stop Learning)",
        "robofume adapt --from runs/lid --run other_light",
    )
    add_run_options(adapt, amounts=("adaptation_updates",), repeat=True)
    adapt.add_argument(
        "--from",
        dest="checkpoint",
        metavar="POLICY",
        type=Path,
        help="the trained policy: a run (what practice made of its policy at its best), a folder of checkpoints or one "
        "of them; needed once for a run",
    )
    adapt.add_argument(
        "--base",
        nargs="+",
        type=Path,
        default=[],
        metavar="BAGS",
        help="the data of that policy (default: what its lineage or its run tells)",
    )
    adapt.add_argument(
        "bags", nargs="*", type=Path, help="bags of the new condition (default: this run's demonstrations and practice)"
    )

    evaluate = add(
        "evaluate",
        commands.evaluate,
        "count successes by ground truth, each trial after a scene reset",
        "robofume evaluate --run lid --weights pretrained --trials 10",
    )
    add_run_options(evaluate, amounts=("trials", "restarts"))
    evaluate.add_argument(
        "--weights",
        choices=POLICIES,
        default="practised",
        help="which policy (default: practised, the one of the stretch of practice that the judge found best; newest: "
        "of its end)",
    )

    evaluate.add_argument(
        "--like",
        action="append",
        metavar="RUN",
        help="in the simulation as another run of this task sets it; may be repeated; line: as in every earlier run of "
        "an adapted policy's line",
    )
    evaluate.add_argument(
        "--variation",
        action="append",
        metavar="KIND",
        help="also under this variation of the simulation, alone, and what is kept; may be repeated; all: every kind "
        "(background, light, colours, texture, camera, gripper_length, base_offset, object_shape)",
    )
    evaluate.add_argument(
        "--variation-draws",
        type=int,
        default=1,
        metavar="N",
        help="with --variation: spread the trials over so many draws of each kind (default: 1)",
    )

    report = add("report", commands.report, "write report.html for a run", "robofume report --run lid")
    add_run_options(report, amounts=(), settings=False)

    data = subparsers.add_parser("data", help="look into bags", description="Bags.")
    data_commands = data.add_subparsers(title="commands", metavar="COMMAND", required=True)
    info = add(
        "info",
        commands.data_info,
        "episodes, steps, success and size of bags",
        "robofume data info runs/lid/bags",
        data_commands,
    )
    info.add_argument("bags", nargs="+", type=Path, help="bags or folders")
    check = add(
        "check",
        commands.data_check,
        "say which bags are whole and which are damaged",
        "robofume data check runs/lid/bags",
        data_commands,
    )
    check.add_argument("bags", nargs="+", type=Path, help="bags or folders")

    repair = add(
        "repair",
        commands.data_repair,
        "write whole bags for those that are cut off or damaged; originals stay as they are",
        "robofume data repair runs/lid/bags --output runs/lid/repaired",
        data_commands,
    )
    repair.add_argument("bags", nargs="+", type=Path, help="bags or folders")
    repair.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder for the repaired bags")
    view = add(
        "view",
        commands.data_view,
        "film strip and plots of an episode as PNG, and a Rerun recording where rerun-sdk is installed",
        "robofume data view practice-000012 runs/lid/bags",
        data_commands,
    )
    view.add_argument("episode", help="id of the episode, or how it ends")
    view.add_argument("bags", nargs="+", type=Path, help="bags or folders")
    view.add_argument("--output", type=Path, default=Path("."), metavar="DIR", help="folder (default: this one)")

    teleop = add(
        "teleop",
        commands.teleop,
        "drive the arm of a running graph by keyboard or joystick: demonstrations, interventions, emergency stop",
        "robofume teleop --run lid",
    )
    add_graph_options(teleop)

    helped = add(
        "helped",
        commands.helped,
        "tell a graph that asked for help that the objects are where it wants them",
        "robofume helped --run lid",
    )
    add_graph_options(helped)

    workspace = subparsers.add_parser("workspace", help="the workspace box", description="The workspace box.")
    workspace_commands = workspace.add_subparsers(title="commands", metavar="COMMAND", required=True)
    record = add(
        "record",
        commands.workspace_record,
        "watch the arm while it is guided by hand, and write the box in which it may work; moves nothing",
        "robofume workspace record --output workspace.yaml",
        workspace_commands,
    )
    add_graph_options(record)
    record.add_argument(
        "--output", type=Path, default=Path("workspace.yaml"), help="file to write (default: workspace.yaml)"
    )
    record.add_argument(
        "--margin", type=float, default=0.01, help="the box is smaller than what is shown by this [m] (default: 0.01)"
    )
    record.add_argument("--overwrite", action="store_true", help="replace an existing file")

    camera = subparsers.add_parser("camera", help="set up the camera", description="The camera.")
    camera_commands = camera.add_subparsers(title="commands", metavar="COMMAND", required=True)
    crop = add(
        "crop",
        commands.camera_crop,
        "choose the part of the picture that the policy sees; with a window, or with a grid and numbers",
        'robofume camera crop --source 0 --crop "80 0 480 480" --task-file my_task.yaml',
        camera_commands,
    )
    crop.add_argument("--source", default="0", help="device number, picture, video file or URL (default: 0)")
    crop.add_argument("--topic", default="", help="image topic of a running driver, in place of --source")
    crop.add_argument("--crop", default="", help="x y width height in pixels (default: drawn, typed, or the middle)")
    crop.add_argument("--task-file", type=Path, help="task file that the crop is written to")
    crop.add_argument("--output", type=Path, default=Path(), help="folder for the pictures (default: this one)")
    crop.add_argument("--image-size", type=int, default=64, help="of the policy's picture in pixels (default: 64)")
    crop.add_argument("--no-window", dest="window", action="store_false", help="grid and numbers, display or not")

    tasks = add("tasks", commands.tasks, "list the tasks", "robofume tasks --robot widowx")
    tasks.add_argument("--robot", choices=ROBOTS, default="mujoco", help="default: mujoco")
    importing.add_parser(add)
    prior.add_parser(add)
    importing.add_export_parser(add)
    add(
        "doctor",
        commands.doctor,
        "say what is installed, which robots can be used here, and what is missing for the others",
    )
    return parser


def add_graph_options(parser: argparse.ArgumentParser) -> None:
    """The options that say which running graph is meant."""
    parser.add_argument("--run", metavar="NAME", help="a run that is up (default: the ROS domain of the environment)")
    parser.add_argument(
        "--runs", metavar="DIR", type=Path, default=Path("runs"), help="where the runs are (default: runs)"
    )
    parser.add_argument("--domain", type=int, help="the ROS domain, instead of a run's that is up")
    parser.add_argument("--namespace", default="", help="ROS namespace of the nodes, for a second robot")
    parser.add_argument("--secure", action="store_true", help=JOIN_SECURELY)


def add_prior(parser: argparse.ArgumentParser) -> None:
    """The option that names prior data."""
    (field,) = (field for field in dataclasses.fields(RunConfig) if field.name == "prior")
    parser.add_argument(
        "--prior", nargs="*", type=Path, metavar="BAG", help=f"{field.metadata['meaning']} (default: none)"
    )


def add_run_options(
    parser: argparse.ArgumentParser,
    amounts: tuple[str, ...] = (
        "demonstrations",
        "failures",
        "scenes",
        "pretraining_updates",
        "practice_steps",
        "trials",
        "restarts",
    ),
    settings: bool = True,
    repeat: bool = False,
) -> None:
    """The options that name a run and set what it shall do; None stands for an option that was not given."""
    kept = "What is said here stays with it, and is its default from then on." if settings else None
    run = parser.add_argument_group("the run", kept)
    run.add_argument("--run", metavar="NAME", help="name of the run directory (default: the task's name)")
    run.add_argument(
        "--runs", metavar="DIR", type=Path, default=Path("runs"), help="where the runs are (default: runs)"
    )
    if repeat:
        run.add_argument("--again", action="store_true", help="repeat the stage although it is finished")
    if not settings:
        return
    fields = {field.name: field for field in dataclasses.fields(RunConfig)}
    for name in ("task", "robot", "seed", "image_size", *amounts):
        field = fields[name]
        own = ("demonstrations", "failures", "scenes", "image_size")  # of some tasks
        other = ", or what `robofume tasks` says" if name in own else ""
        run.add_argument(
            f"--{name.replace('_', '-')}",
            metavar=name.split("_")[-1].upper(),
            type=int if field.type == "int" else str,
            help=f"{field.metadata['meaning']} (default: {field.default}{other})",
        )
    for name in ("in_process", "lockstep"):
        field = fields[name]
        run.add_argument(
            f"--{name.replace('_', '-')}",
            action=argparse.BooleanOptionalAction,
            default=None,
            help=f"{field.metadata['meaning']} (default: {'yes' if field.default else 'no'})",
        )
    run.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="COMPONENT.SETTING=VALUE",
        help="a setting of one node or training, such as agent.batch_size=64; may be repeated; `robofume reward` "
        "takes those of reward_training, reward_data and reward for one call",
    )
