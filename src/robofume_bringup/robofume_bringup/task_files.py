"""Tasks by name: those of the simulation, and YAML files for a real robot."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robofume_common.errors import RobofumeError

if TYPE_CHECKING:
    from robofume_common.task import TaskDescription

ROBOTS = ("mujoco", "gazebo", "widowx")
FOLDER = Path(__file__).parent / "tasks"
"""The packaged task files for the real WidowX."""


def is_task_file(task: str) -> bool:
    """Whether a task is named by its file, not by its name."""
    return task.endswith((".yaml", ".yml"))


def task_names(robot: str) -> list[str]:
    """Names of the tasks that a robot has without a file of one's own. Raises RobofumeError for another robot."""
    if robot not in ROBOTS:
        raise RobofumeError(f"There is no robot {robot!r}; choose one of: {', '.join(ROBOTS)}.")
    if robot == "widowx":
        return sorted(path.stem for path in FOLDER.glob("*.yaml"))
    from robofume_sim.tasks import GAZEBO_TASKS, TASKS

    return sorted(TASKS) if robot == "mujoco" else list(GAZEBO_TASKS)


def task_description(robot: str, task: str) -> TaskDescription:
    """The description of a task: a name, or on the real robot also the path of a YAML file.

    Raises RobofumeError, naming the known ones, for another robot or task.
    """
    from robofume_common.task import TaskDescription

    names = task_names(robot)
    if task not in names:
        if robot == "widowx" and is_task_file(task):
            return TaskDescription.load(task)
        file = ", or give the path of a task file that ends in .yaml" if robot == "widowx" else ""
        raise RobofumeError(f"There is no task {task!r}; choose one of: {', '.join(names)}{file}.")
    if robot == "widowx":
        return TaskDescription.load(FOLDER / f"{task}.yaml")
    from robofume_sim.tasks import TASKS

    return TASKS[task].description


def task_run_settings(robot: str, task: str) -> Mapping[str, Any]:
    """What a new run of a task is to have besides the defaults, as in config.yaml (`SimulatedTask.run_settings`);
    nothing for a task that is not known here.
    """
    if robot != "mujoco":
        return {}
    from robofume_sim.tasks import TASKS

    return TASKS[task].run_settings if task in TASKS else {}
