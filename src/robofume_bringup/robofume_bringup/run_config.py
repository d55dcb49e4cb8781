"""The settings of a run, kept in its config.yaml."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml
from robofume_common.errors import RobofumeError

from robofume_bringup.run_directory import RunDirectory, first_line


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
        20, "deliberately bad attempts, for the reward model; the policy learns from no more of them than successes"
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
        0, "times that a node that died is started again before the run ends; never the simulation or the switcher"
    )
    in_process: bool = _setting(
        False, "the whole graph of the embedded simulation in one process: on one processor, and the same each time"
    )
    prior: Sequence[str] = field(
        default=(),
        metadata={
            "meaning": "bags of other robots and tasks, as `robofume import` writes them: the policy is trained on "
            "them beside the demonstrations, and keeps them in mind in practice",
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

    def of(self, component: str) -> dict[str, Any]:
        """The settings given for one component."""
        return dict(self.settings.get(component, {}))


def parse_settings(assignments: Sequence[str]) -> dict[str, dict[str, Any]]:
    """`["learner.batch_size=64"]` -> `{"learner": {"batch_size": 64}}`; values are YAML."""
    settings: dict[str, dict[str, Any]] = {}
    for text in assignments:
        name, equals, value = text.partition("=")
        component, dot, setting = name.strip().partition(".")
        if not (equals and dot and component and setting):
            raise RobofumeError(
                f"--set takes component.setting=value, such as learner.batch_size=64, not {text!r}."
            )
        try:
            settings.setdefault(component, {})[setting] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise RobofumeError(f"The value in --set {text} cannot be read: {first_line(error)}") from error
    return settings


def open_run(directory: RunDirectory, given: Mapping[str, Any]) -> RunConfig:
    """The configuration of a run: config.yaml where there is one, else the defaults, with what was `given`
    on top.

    A new run is created and its config.yaml written; changed amounts are written too.
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
            if known[name].metadata["fixed"] and name in stored and stored[name] != value:
                raise RobofumeError(
                    f"The run {directory.name} was started with {name} {_show(stored[name])}, not "
                    f"{_show(value)}: "
                    "leave the option out to continue it, or give the new run another name with --run."
                )
        config = RunConfig(**{**stored, **given})
        if config.to_dict() == stored:
            directory.prepare()
            return config
    else:
        config = RunConfig(**given)
    directory.prepare()
    directory.write_config(config.to_dict())
    return config


def _show(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True).removesuffix("...\n").strip()
