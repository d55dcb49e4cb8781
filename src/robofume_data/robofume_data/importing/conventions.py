"""What the numbers of a data set mean: which field is what, in which units and against which reference."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml
from robofume_common.action import PHYSICAL_DIMENSION
from robofume_common.errors import RobofumeError
from robofume_common.parameters import from_dict, setting

from robofume_data.importing.cameras import by_camera

_FOLDER = Path(__file__).parent / "conventions"
ROTATIONS = {"rpy": 3, "rotation_vector": 3, "quaternion": 4, "none": 0}
"""Ways to write a rotation, and how many numbers each takes; a quaternion is x, y, z, w."""
ACTION_KINDS = ("delta", "absolute", "states")
LABELS = ("last", "given", "none")


@dataclass(frozen=True)
class Conventions:
    """Conventions of one data set. The numbers of a pose are taken in the order x, y, z, rotation, gripper."""

    name: str = setting("", "Name of the data set; episode ids begin with it")
    rate: float = setting(5.0, "Control rate, where the data carry no time", unit="Hz", minimum=0.1, maximum=1000.0)
    image: str = setting("", "Field of the picture")
    further_images: tuple[str, ...] = setting(
        (), "What further cameras saw, as CAMERA=FIELD each: [wrist=observation/image_1]"
    )
    state: tuple[str, ...] = setting((), "Fields of the state, put after one another")
    action: tuple[str, ...] = setting((), "Fields of the action, put after one another; none: actions from states")
    instruction: str = setting("", "Field of the sentence; empty: where the format keeps it")
    state_indices: tuple[int, ...] = setting((), "Which numbers of the state are the pose; empty: as they come")
    action_indices: tuple[int, ...] = setting((), "Which numbers of the action are its parts; empty: as they come")
    state_rotation: str = setting("rpy", "How the state's rotation is written", choices=tuple(ROTATIONS))
    action_rotation: str = setting("rpy", "How the action's rotation is written", choices=tuple(ROTATIONS))
    down: tuple[float, ...] = setting(
        (0.0, 0.0, 0.0), "Roll, pitch, yaw that the data give to a gripper that points straight down", unit="rad"
    )
    action_kind: str = setting(
        "delta",
        "delta: the commanded change of the pose in the frame of the base; absolute: the commanded pose; "
        "states: no command, the change until the next state",
        choices=ACTION_KINDS,
    )
    translation_scale: float = setting(1.0, "Metres in a unit of the state's translation")
    action_translation_scale: float = setting(1.0, "Metres in a unit of the action's translation")
    action_rotation_scale: float = setting(1.0, "Radians in a unit of the action's rotation")
    state_gripper: tuple[float, ...] = setting((0.0, 1.0), "State's gripper value when closed, when open")
    action_gripper: tuple[float, ...] = setting((0.0, 1.0), "Action's gripper value when closed, when open")
    dropped_first_steps: int = setting(0, "Steps at the start in which nothing happens", minimum=0, maximum=1000)
    labels: str = setting(
        "last",
        "Success of an episode: last: the last `success_frames` pictures of every one show it; given: where the "
        "data's reward is positive, or their own verdicts; none: nobody knows",
        choices=LABELS,
    )
    success_frames: int = setting(3, "Pictures at the end that show success under `last`", minimum=1, maximum=1000)
    translation_limit: float = setting(0.05, "Larger translations of a step are cut", unit="m", minimum=0.001)
    rotation_limit: float = setting(0.25, "Larger rotations of a step are cut", unit="rad", minimum=0.01, maximum=3.2)

    def __post_init__(self) -> None:
        """Raise RobofumeError where the numbers do not make a pose."""
        for side in ("state", "action"):
            needed = 4 + ROTATIONS.get(getattr(self, f"{side}_rotation"), 0)
            if len(getattr(self, f"{side}_indices")) not in (0, needed):
                raise RobofumeError(f"Conventions {self.name}: {side}_indices needs {needed} numbers.")
            gripper = getattr(self, f"{side}_gripper")
            if len(gripper) != 2 or gripper[0] == gripper[1]:
                raise RobofumeError(f"Conventions {self.name}: {side}_gripper needs two different numbers.")
        if self.action_rotation == "quaternion" and self.action_rotation_scale != 1.0:
            raise RobofumeError(f"Conventions {self.name}: a quaternion has no unit; leave out action_rotation_scale.")
        if len(self.down) != 3:
            raise RobofumeError(f"Conventions {self.name}: down needs three angles.")
        try:
            _ = self.image_fields  # each of them is looked at
        except RobofumeError as error:
            raise RobofumeError(f"Conventions {self.name}: {error}") from error

    @property
    def image_fields(self) -> dict[str, str]:
        """Field of the pictures of each further camera, by the camera's name."""
        return by_camera(self.further_images, "CAMERA=FIELD, such as wrist=observation/image_1")

    @property
    def state_dimension(self) -> int:
        """Numbers of a state after `state_indices`."""
        return PHYSICAL_DIMENSION - 3 + ROTATIONS[self.state_rotation]

    @property
    def action_dimension(self) -> int:
        """Numbers of an action after `action_indices`."""
        return PHYSICAL_DIMENSION - 3 + ROTATIONS[self.action_rotation]


def known_conventions() -> list[str]:
    """Names of the conventions that come with the suite."""
    return sorted(path.stem for path in _FOLDER.glob("*.yaml"))


def load_conventions(name_or_path: str | Path) -> Conventions:
    """Conventions by name, or from a YAML file; RobofumeError where there are none or a setting is wrong."""
    path = Path(name_or_path)
    if not path.suffix:
        path = _FOLDER / f"{name_or_path}.yaml"
        if not path.is_file():
            raise RobofumeError(
                f"There are no conventions {str(name_or_path)!r}; name a YAML file or one of: "
                f"{', '.join(known_conventions())}."
            )
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RobofumeError(f"Cannot read the conventions {path}: {error.strerror}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RobofumeError(f"The conventions {path} are not valid YAML: {error}") from error
    return from_dict(Conventions, values)
