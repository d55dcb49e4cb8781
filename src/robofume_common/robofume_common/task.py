"""What a task is, for every component: its names, sentences, limits and workspace."""

import math
import operator
from dataclasses import dataclass
from pathlib import Path

import yaml

from robofume_common.action import ActionSpace
from robofume_common.enums import Direction
from robofume_common.errors import RobofumeError
from robofume_common.parameters import from_dict, setting

NUDGE_STEPS = 60
"""Most steps of a nudge."""


@dataclass(frozen=True)
class TaskPair:
    """Two instructions that undo each other: all of a task, or one of several in the same scene."""

    name: str = ""
    forward_instruction: str = ""
    backward_instruction: str = ""
    after: str = ""
    """Name of the pair whose forward goal is where this one starts; empty: it can start at any time."""

    def instruction(self, direction: Direction) -> str:
        """The sentence of a direction."""
        return {
            Direction.FORWARD: self.forward_instruction,
            Direction.BACKWARD: self.backward_instruction,
        }[Direction(direction)]


def check_chain(pairs: tuple[TaskPair, ...]) -> None:
    """Raises RobofumeError where names or sentences are missing or come twice, or nothing could start."""
    known: set[str] = set()
    for pair in pairs:
        if not pair.name or not pair.forward_instruction or not pair.backward_instruction:
            raise RobofumeError("A task needs a name, a forward_instruction and a backward_instruction.")
        if pair.name in known:
            raise RobofumeError(f"There are two tasks {pair.name}: give one of them another name.")
        if pair.after and pair.after not in known:
            raise RobofumeError(f"Task {pair.name} starts after {pair.after}, which is not among those before it.")
        known.add(pair.name)
    sentences = [text for pair in pairs for text in (pair.forward_instruction, pair.backward_instruction)]
    if len(set(sentences)) < len(sentences):
        raise RobofumeError(f"Two directions have the same sentence in: {'; '.join(sentences)}.")


def further_pairs(
    names: tuple[str, ...], forward: tuple[str, ...], backward: tuple[str, ...], after: tuple[str, ...]
) -> tuple[TaskPair, ...]:
    """Pairs of lists of the same length, as parameters hold them; RobofumeError where they are not."""
    if not len(names) == len(forward) == len(backward) == len(after):
        raise RobofumeError("further_tasks, further_forward, further_backward and further_after have as many entries.")
    return tuple(map(TaskPair, names, forward, backward, after))


def check_zone(name: str, zone: tuple[float, ...]) -> None:
    """Raises RobofumeError where `zone` is neither empty nor least x, least y, greatest x, greatest y [m]."""
    if len(zone) == 0:
        return
    if len(zone) != 4 or not all(map(math.isfinite, zone)) or not (zone[0] < zone[2] and zone[1] < zone[3]):
        raise RobofumeError(f"{name} is least x, least y, greatest x and greatest y; got {list(zone)}.")


@dataclass(frozen=True)
class TaskDescription:
    """A pair of instructions that undo each other, and the limits under which the arm may follow them."""

    name: str = setting("", "Name of the task, such as pot_pick_and_place")
    forward_instruction: str = setting("", "Sentence that the policy follows forward")
    backward_instruction: str = setting("", "Sentence that undoes it")
    further_tasks: tuple[str, ...] = setting((), "Names of further pairs in the same scene, practised with this one")
    further_forward: tuple[str, ...] = setting((), "Their forward instructions")
    further_backward: tuple[str, ...] = setting((), "Their backward instructions")
    further_after: tuple[str, ...] = setting(
        (), "For each the name of the pair whose forward goal is where it starts; an empty one: at any time"
    )
    step_limit: int = setting(40, "Actions after which an episode ends", minimum=1, maximum=10_000)
    demonstration_step_limit: int = setting(
        0, "The same for demonstrations, since people are slow; 0: as step_limit", minimum=0, maximum=10_000
    )
    demonstrations_per_scene: int = setting(
        0,
        "Demonstrations after which the objects are put down anew, where practice leads them to places that a row of "
        "demonstrations would not; 0: never",
        minimum=0,
        maximum=10_000,
    )
    action_mask: tuple[bool, ...] = setting(
        (True, True, True, False, False, False, True),
        "Which of dx dy dz droll dpitch dyaw gripper the policy controls",
    )
    translation_limit: float = setting(0.05, "Largest translation per step", unit="m", minimum=0.001, maximum=0.2)
    rotation_limit: float = setting(0.25, "Largest rotation per step", unit="rad", minimum=0.01, maximum=1.0)
    workspace_minimum: tuple[float, ...] = setting((), "Least x, y, z of the gripper; empty: no motion", unit="m")
    workspace_maximum: tuple[float, ...] = setting((), "Greatest x, y, z of the gripper", unit="m")
    home_joint_positions: tuple[float, ...] = setting((), "Six joint angles of the home pose", unit="rad")
    crop: tuple[int, ...] = setting(
        (), "x, y, width, height of the camera's picture that the policy sees; empty: the middle", unit="px"
    )
    nudge: tuple[tuple[float, ...], ...] = setting(
        (),
        "Steps from home that push the objects about where practice does not get on: dx, dy, dz [m] and the gripper's "
        "opening, 0 to 1; empty: none",
    )
    relocate_forward: tuple[float, ...] = setting(
        (),
        "Where practice may put down elsewhere what a success forward has put down, by a script, so that it begins "
        "from more places: least x, least y, greatest x, greatest y of the gripper; empty: it stays",
        unit="m",
    )
    relocate_backward: tuple[float, ...] = setting((), "The same after a success backward", unit="m")
    released_at_success: bool = setting(True, "Whether a success needs an open gripper, as in all putting and placing")

    def __post_init__(self) -> None:
        check_chain(self.pairs)
        low, high = self.workspace_minimum, self.workspace_maximum
        if (len(low), len(high)) not in ((0, 0), (3, 3)):
            raise RobofumeError(f"Task {self.name}: the workspace box needs three numbers on each side.")
        if not all(a < b for a, b in zip(low, high, strict=True)) or not all(map(math.isfinite, (*low, *high))):
            raise RobofumeError(f"Task {self.name}: workspace_minimum must lie below workspace_maximum on each axis.")
        if len(self.home_joint_positions) not in (0, 6):
            raise RobofumeError(f"Task {self.name}: home_joint_positions needs six angles.")
        if len(self.crop) not in (0, 4):
            raise RobofumeError(f"Task {self.name}: crop needs x, y, width and height in pixels.")
        self._check_nudge()
        self._check_zones()
        self.action_space  # noqa: B018  raises where mask or limits are wrong

    def _check_nudge(self) -> None:
        if len(self.nudge) > NUDGE_STEPS:
            raise RobofumeError(f"Task {self.name}: a nudge has at most {NUDGE_STEPS} steps, not {len(self.nudge)}.")
        for step in self.nudge:
            if len(step) != 4:
                raise RobofumeError(f"Task {self.name}: a step of the nudge is dx, dy, dz and opening, not {step}.")
            far = max(map(abs, step[:3])) > self.translation_limit
            if not all(map(math.isfinite, step)) or far or not 0.0 <= step[3] <= 1.0:
                raise RobofumeError(
                    f"Task {self.name}: a step of a nudge goes at most {self.translation_limit} m (translation_limit) "
                    f"along each axis, with an opening of 0 to 1; got {step}."
                )

    def _check_zones(self) -> None:
        for name in ("relocate_forward", "relocate_backward"):
            zone = getattr(self, name)
            check_zone(f"Task {self.name}: {name}", zone)
            low, high = self.workspace_minimum[:2], self.workspace_maximum[:2]
            inside = all(map(operator.le, low, zone[:2])) and all(map(operator.ge, high, zone[2:]))
            if zone and not (low and inside):
                raise RobofumeError(f"Task {self.name}: {name} must lie within the workspace box.")

    @property
    def nudge_actions(self) -> tuple[float, ...]:
        """The nudge as physical actions, seven values each, one after the other."""
        return tuple(value for x, y, z, opening in self.nudge for value in (x, y, z, 0.0, 0.0, 0.0, opening))

    @property
    def action_space(self) -> ActionSpace:
        """The action space of policies for this task."""
        return ActionSpace(self.translation_limit, self.rotation_limit, self.action_mask)

    def steps_allowed(self, demonstrating: bool) -> int:
        """Actions after which an episode ends."""
        return (self.demonstration_step_limit if demonstrating else 0) or self.step_limit

    @property
    def pairs(self) -> tuple[TaskPair, ...]:
        """The pairs of instructions in this scene, the task's own first."""
        own = TaskPair(self.name, self.forward_instruction, self.backward_instruction)
        further = self.further_tasks, self.further_forward, self.further_backward, self.further_after
        return (own, *further_pairs(*further))

    def pair(self, name: str = "") -> TaskPair:
        """The pair of that name; without one the task's own."""
        return next(pair for pair in self.pairs if pair.name == (name or self.name))

    def instruction(self, direction: Direction) -> str:
        """The sentence of a direction of the task's own pair."""
        return self.pair().instruction(direction)

    @staticmethod
    def load(path: str | Path) -> "TaskDescription":
        """Reads a task from a YAML file; a RobofumeError names what is wrong in it."""
        try:
            values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise RobofumeError(f"Cannot read the task file {path}: {error.strerror}.") from error
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise RobofumeError(f"The task file {path} is not valid YAML: {error}") from error
        return from_dict(TaskDescription, values)
