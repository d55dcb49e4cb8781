"""The settings of a run, kept in its config.yaml."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from robofume_common.errors import RobofumeError

from robofume_bringup.run_directory import RunDirectory, first_line
from robofume_bringup.task_files import is_task_file, task_run_settings

COMPONENTS = ("reward_training", "reward_data", "pretraining", "adaptation", "network", "agent", "replay",
              "language")  # fmt: skip
"""Names in --set that are not nodes."""
ELSEWHERE = {
    ("pretraining", "updates"): "--pretraining-updates (or --retraining-updates)",
    ("adaptation", "updates"): "--adaptation-updates",
    ("network", "image_size"): "--image-size",
}
"""Settings of components that are not looked at, since an option of the run says the same."""


def _setting(default: Any, meaning: str, fixed: bool = False, minimum: int = 0) -> Any:
    return field(default=default, metadata={"meaning": meaning, "fixed": fixed, "minimum": minimum})


@dataclass(frozen=True)
class RunConfig:
    """What a run is asked to do. Fixed settings cannot change during the life of a run; amounts may grow."""

    task: str = _setting("pot_pick_and_place", "the task; `robofume tasks` lists them", fixed=True)
    robot: str = _setting("mujoco", "where the arm is: mujoco, gazebo or widowx", fixed=True)
    seed: int = _setting(0, "everything random follows from it", fixed=True)
    image_size: int = _setting(
        64, "height and width of the policy's pictures in pixels", fixed=True, minimum=32
    )
    demonstrations: int = _setting(25, "successful demonstrations per direction", minimum=1)
    failures: int = _setting(
        60, "deliberately bad attempts, for the reward model; the policy learns from no more of them than successes"
    )
    scenes: int = _setting(
        60,
        "pictures of scenes arranged near the borders of the goals, for the reward model: by the simulated tasks that "
        "have some, or by a person with `robofume scenes`",
    )
    pretraining_updates: int = _setting(6000, "gradient updates of the offline training", minimum=1)
    practice_steps: int = _setting(14000, "control steps of practice, over all starts of the run", minimum=1)
    retraining_updates: int = _setting(
        12000, "gradient updates of the policy that is trained anew after practice", minimum=1
    )
    adaptation_updates: int = _setting(
        2000, "gradient updates of a policy that is adapted to this run's condition", minimum=1
    )
    trials: int = _setting(50, "evaluation trials per direction", minimum=1)
    restarts: int = _setting(
        0,
        "times that a node that died is started again, counted for each node and anew at each start of the graph; "
        "never the simulation or the switcher",
    )
    in_process: bool = _setting(
        False, "the whole graph of the embedded simulation in one process: on one processor, and the same each time"
    )
    lockstep: bool = _setting(
        True,
        "the embedded simulation waits for each command; without it, it goes on at the control rate by the wall clock, "
        "as a robot does (sim.speed: how fast)",
    )
    prior: Sequence[str] = field(
        default=(),
        metadata={
            "meaning": "bags of other robots and tasks, as `robofume import` writes them, or of other runs: the policy "
            "is trained on them beside the demonstrations, and keeps them in mind in practice",
            "fixed": False,
            "minimum": 0,
        },
    )
    settings: Mapping[str, Mapping[str, Any]] = field(
        default_factory=dict,
        metadata={
            "meaning": "settings of single components: name -> setting -> value",
            "fixed": True,
            "minimum": 0,
        },
    )

    def __post_init__(self) -> None:
        if not isinstance(self.prior, (list, tuple)) or not all(isinstance(path, str) for path in self.prior):
            raise RobofumeError(f"prior must be a list of bags, not {self.prior!r}.")
        object.__setattr__(self, "prior", tuple(self.prior))  # YAML has lists
        given = self.settings
        if not isinstance(given, Mapping) or not all(isinstance(values, Mapping) for values in given.values()):
            raise RobofumeError(f"settings must hold values by component and setting, not {given!r}.")
        for item in dataclasses.fields(self):
            value = getattr(self, item.name)
            if item.type == "bool" and not isinstance(value, bool):
                raise RobofumeError(f"{item.name} must be true or false, not {value!r}.")
            if item.type == "str" and not isinstance(value, str):
                raise RobofumeError(f"{item.name} must be a text, not {value!r}.")
            if item.type == "int" and (not isinstance(value, int) or value < item.metadata["minimum"]):
                raise RobofumeError(
                    f"{item.name} must be a whole number of {item.metadata['minimum']} or more, not "
                    f"{value!r}."
                )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as they stand in config.yaml."""
        values = {item.name: getattr(self, item.name) for item in dataclasses.fields(self)}
        values["prior"] = [str(path) for path in self.prior]
        values["settings"] = {name: dict(items) for name, items in self.settings.items()}
        return values

    @property
    def node_settings(self) -> dict[str, dict[str, Any]]:
        """The settings given for nodes: node -> parameter -> value."""
        return {name: dict(values) for name, values in self.settings.items() if name not in COMPONENTS}

    def of(self, component: str) -> dict[str, Any]:
        """The settings given for one component."""
        return dict(self.settings.get(component, {}))


def parse_settings(assignments: Sequence[str]) -> dict[str, dict[str, Any]]:
    """`["agent.batch_size=64"]` -> `{"agent": {"batch_size": 64}}`; values are YAML.

    Raises RobofumeError for what is no such assignment, and for a setting that an option of the run says.
    """
    settings: dict[str, dict[str, Any]] = {}
    for text in assignments:
        name, equals, value = text.partition("=")
        component, dot, setting = name.strip().partition(".")
        if not (equals and dot and component and setting):
            raise RobofumeError(
                f"--set takes component.setting=value, such as agent.batch_size=64, not {text!r}."
            )
        option = ELSEWHERE.get((component, setting))
        if option is not None:
            raise RobofumeError(f"{component}.{setting} would change nothing: give {option} in its place.")
        try:
            settings.setdefault(component, {})[setting] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise RobofumeError(f"The value in --set {text} cannot be read: {first_line(error)}") from error
    return settings


def open_run(
    directory: RunDirectory, given: Mapping[str, Any], check: Callable[[RunConfig], None] = lambda _config: None
) -> RunConfig:
    """The configuration of a run: config.yaml where there is one, else the defaults and what the task's file has
    instead of some (`task_run_settings`), with what was `given` on top.

    A new run is created and its config.yaml written, unless `check` raises: it could not be mended by another option
    any more. Changed amounts are written too. Of a run's `settings` those that are given must be its own; others may
    be left out.
    Raises RobofumeError when a fixed setting differs from the run's own, or the directory cannot be written.
    """
    known = {item.name: item for item in dataclasses.fields(RunConfig)}
    if directory.config_file.exists():
        stored = directory.read_config()
        unknown = sorted(set(stored) - set(known))
        if unknown:
            raise RobofumeError(
                f"{directory.config_file} has settings that are not known: {', '.join(unknown)}."
            )
        for name, value in given.items():
            own = stored.get(name)
            if name == "task" and isinstance(own, str) and is_task_file(own):
                own = str(Path(own).resolve())
            if known[name].metadata["fixed"] and name in stored and not _is_part(value, own):
                raise RobofumeError(
                    f"The run {directory.name} was started with {name} {_show(stored[name])}, not "
                    f"{_show(value)}: "
                    "leave the option out to continue it, or give the new run another name with --run."
                )
        config = RunConfig(**{**stored, **given, "settings": stored.get("settings", given.get("settings", {}))})
        if config.to_dict() == stored:
            directory.prepare()
            return config
    else:
        robot, task = given.get("robot", RunConfig.robot), given.get("task", RunConfig.task)
        of_task = task_run_settings(robot, task)
        settings = merged(of_task.get("settings", {}), given.get("settings", {}))
        config = RunConfig(**{**of_task, **given, "settings": settings})
        check(config)
    directory.prepare()
    directory.write_config(config.to_dict())
    return config


Settings = Mapping[str, Mapping[str, Any]]


def merged(below: Settings, above: Settings) -> dict[str, dict[str, Any]]:
    """Settings by component and name, with those `above` in the place of others."""
    return {name: {**below.get(name, {}), **above.get(name, {})} for name in (*below, *above)}


def _is_part(given: Any, stored: Any) -> bool:
    """Whether a value is the stored one; of settings, each that is given."""
    if isinstance(given, Mapping) and isinstance(stored, Mapping):
        return all(name in stored and _is_part(value, stored[name]) for name, value in given.items())
    return bool(given == stored)


def _show(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True).removesuffix("...\n").strip()
