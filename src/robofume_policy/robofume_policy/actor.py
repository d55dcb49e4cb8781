"""What the policy node does at each observation: the acting side of docs/architecture.md, "One control step".

A state machine without clock, threads or ROS: inputs are calls, outputs are what they return, in the order in which
it is to be published. It has no timer: one pending observation is acted upon as soon as everything that it needs is
there, whichever input comes last.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from robofume_common.action import PHYSICAL_DIMENSION, ActionSpace
from robofume_common.enums import Actor as Who
from robofume_common.enums import ArmMode, ArmState, Direction, Phase
from robofume_common.errors import RobofumeError
from robofume_common.parameters import setting
from robofume_common.stamps import RESTART_JUMP

SOURCES = ("policy", "override")
REMEMBERED = 8
"""Proprioceptions, views and overrides kept until the image with their stamp arrives."""
STEP_REPEATS = 3
"""How often a step is published again while the observation after it is shown again and again."""
CANNOT_MOVE = (ArmState.REFUSING, ArmState.STOPPED, ArmState.RECOVERING)


@dataclass(frozen=True)
class ActorConfig:
    """Settings of acting."""

    lockstep: bool = setting(False, "the world waits for each command; permits are needed (simulation)")
    source: str = setting("policy", "who acts: the policy, or only overrides (collection)", choices=SOURCES)
    image_max_age: float = setting(0.3, "oldest image acted upon in real time", unit="s", minimum=0.0)
    proprioception_max_age: float = setting(
        0.15, "oldest proprioception acted upon in real time", unit="s", minimum=0.0
    )
    override_max_age: float = setting(
        0.3, "an override replaces the policy for so long after its arrival", unit="s", minimum=0.0
    )
    home_retry: float = setting(
        1.0, "wall time without an acknowledgement after which the home command is repeated", unit="s", minimum=0.05
    )
    step_listeners: int = setting(1, "the first episode starts only when so many nodes have found `step`", minimum=0)
    further_cameras: tuple[str, ...] = setting(
        (), "cameras whose pictures are acted upon beside the first one's, in the order of the policy's weights"
    )


@dataclass(frozen=True)
class Task:
    """As in Task.msg; `stamp` in ns."""

    stamp: int
    phase: Phase
    direction: Direction
    instruction: str
    episode_id: str
    step_limit: int
    home: bool
    script: tuple[tuple[float, ...], ...] = ()
    """Actions of seven values, in an intervention."""


@dataclass(frozen=True)
class Command:
    """As in ArmCommand.msg; `stamp` [ns] of the observation that it answers, `action` (7,) float32 physical values."""

    stamp: int
    mode: ArmMode
    action: np.ndarray
    actor: Who


@dataclass(frozen=True)
class StepRecord:
    """As in Step.msg; `image` is whatever was given to `Actor.on_image`, `action` None on the last step.

    `views` are what was given to `Actor.on_view`, in the order of `further_cameras`.
    """

    stamp: int
    episode_id: str
    index: int
    phase: Phase
    direction: Direction
    instruction: str
    image: Any
    proprioception: np.ndarray
    action: np.ndarray | None
    actor: Who
    policy_version: int
    views: tuple[Any, ...] = ()


Output = Command | StepRecord
PolicyFunction = Callable[[Sequence[Any], np.ndarray, str, bool], np.ndarray]
"""(pictures, proprioception (7,), instruction, deterministic) -> normalised action (dimension,) in [-1, 1].

The pictures are that of the first camera and those of `further_cameras`, in this order.
"""


@dataclass
class _Image:
    stamp: int
    image: Any
    answered: bool = False
    views: tuple[Any, ...] = ()
    """Of the further cameras, once they are all there."""


@dataclass
class _Episode:
    task: Task
    index: int = 0
    """Of the next step."""
    homed: bool = False
    home_stamp: int | None = None
    """Of the first home command."""
    home_sent: float = 0.0
    """When the newest home command was sent [s, monotonic]."""
    ended: bool = False


class Actor:
    """Decides what to send and to record.

    Arguments:
        config: its settings.
        action_space: limits and mask; overrides are brought inside it, so that what is recorded is what was sent.
        clock: now on the observations' clock [ns]; read in real time only.
        monotonic: now [s]; for the freshness of overrides and the repetition of home commands.
        listening: how many nodes listen to `step` now.
        warn: takes a sentence for the log.
    """

    def __init__(
        self,
        config: ActorConfig,
        action_space: ActionSpace,
        clock: Callable[[], int],
        monotonic: Callable[[], float],
        listening: Callable[[], int] = lambda: 1_000_000,
        warn: Callable[[str], None] = lambda _sentence: None,
    ) -> None:
        self.config = config
        self.action_space = action_space
        self._clock, self._monotonic, self._listening, self._warn = clock, monotonic, listening, warn
        self._policy: PolicyFunction | None = None
        self._policy_version = 0
        self._image: _Image | None = None
        self._last_command: Command | None = None
        self._newest_step: StepRecord | None = None
        self._repeats_left = 0
        self._proprioceptions: OrderedDict[int, np.ndarray] = OrderedDict()
        self._views: dict[str, OrderedDict[int, Any]] = {camera: OrderedDict() for camera in config.further_cameras}
        self._overrides: OrderedDict[int, Command] = OrderedDict()
        self._newest_override: tuple[float, Command] | None = None
        self._episode: _Episode | None = None
        self._closing: list[_Episode] = []
        self._parking: _Episode | None = None
        self._listened = False
        self._permit: tuple[str, int] = ("", -1)
        self._arm_state: ArmState | None = None
        self._arm_home_command = 0
        self._home_stamp = 0

    # Inputs. Each returns what is to be published, in order.

    def set_policy(self, policy: PolicyFunction, version: int) -> list[Output]:
        """Act with `policy` from the next step on; `version` goes into every step."""
        self._policy, self._policy_version = policy, version
        return self._advance()

    def on_task(self, task: Task) -> list[Output]:
        """A new task ends the episode in progress; one with the current episode id changes nothing.

        An idle task that asks for home shows the end of that episode with the arm at home, out of the picture.
        """
        if self._episode is not None:
            if task.episode_id == self._episode.task.episode_id:
                return []
            if not self._episode.ended:
                self._closing.append(self._episode)
        idle = task.phase == Phase.IDLE or not task.episode_id
        self._episode = None if idle else _Episode(task)
        self._parking = _Episode(task) if idle and task.home else None
        return self._advance()

    def on_image(self, stamp: int, image: Any) -> list[Output]:
        """An image of `stamp` [ns]. A newer one replaces the pending one, a repeated one gets the same answer.

        In lockstep a repeated one that still waits, for instance for its permit, may wait because the step before it
        was lost: that step is published again.
        """
        newest = self._image
        if newest is not None and stamp < newest.stamp:
            if newest.stamp - stamp <= RESTART_JUMP:
                return []
            self._forget_source()
        elif newest is not None and stamp == newest.stamp:
            if newest.answered:
                last = self._last_command
                return [last] if self.config.lockstep and last is not None and last.stamp == stamp else []
            self._warn_of_blindness()
            return self._advance() or self._repeat()
        self._image = _Image(stamp, image)
        if not self.config.lockstep:
            self._warn_of_blindness()
        return self._advance()

    def on_view(self, camera: str, stamp: int, image: Any) -> list[Output]:
        """What one of the `further_cameras` saw at `stamp` [ns]; KeyError for another camera.

        In lockstep it belongs to the first camera's image of that stamp, else it is good for `image_max_age`.
        """
        _remember(self._views[camera], stamp, image)
        return self._advance()

    def on_proprioception(self, stamp: int, values: np.ndarray) -> list[Output]:
        """Take proprioception (7,) of time `stamp` [ns]; ignored when it is not finite."""
        values = np.asarray(values, dtype=np.float32)
        if values.shape != (PHYSICAL_DIMENSION,) or not np.isfinite(values).all():
            self._warn("A proprioception message without seven finite values was ignored: look at the arm node.")
            return []
        _remember(self._proprioceptions, stamp, values)
        return self._advance()

    def on_permit(self, episode_id: str, index: int) -> list[Output]:
        """The steps of this episode up to and including `index` may be acted upon."""
        if episode_id == self._permit[0]:
            index = max(index, self._permit[1])
        self._permit = (episode_id, index)
        return self._advance()

    def on_override(self, override: Command) -> list[Output]:
        """Take a person's or the demonstrator's command; only deltas and holds replace the policy."""
        if override.mode == ArmMode.HOME or (
            override.mode == ArmMode.DELTA
            and (np.shape(override.action) != (PHYSICAL_DIMENSION,) or not np.isfinite(override.action).all())
        ):
            self._warn("An override that is neither a hold nor a delta of seven finite values was ignored.")
            return []
        _remember(self._overrides, override.stamp, override)
        self._newest_override = (self._monotonic(), override)
        return self._advance()

    def on_arm_status(self, state: ArmState, home_command: int, stamp: int) -> list[Output]:
        """Take the arm's state, the stamp of the newest home command that it carried out, and that of its newest
        joint state [ns]."""
        if state in CANNOT_MOVE and state != self._arm_state:
            self._warn(f"The arm is {state.name.lower()}: no commands are sent until that ends.")
        if home_command != self._arm_home_command:
            self._arm_home_command, self._home_stamp = home_command, stamp
        self._arm_state = state
        return self._advance()

    # The one decision.

    def _advance(self) -> list[Output]:
        observation = self._observation()
        if observation is None:
            return []
        image, proprioception = observation
        can_move = self._arm_state is not None and self._arm_state not in CANNOT_MOVE
        if self._parking is not None and can_move:
            if not self._at_home(self._parking, image):
                return self._homing(self._parking, image)
            self._parking = None
        outputs: list[Output] = [self._last_step(episode, *observation) for episode in self._closing]
        self._closing.clear()
        episode = self._episode
        if episode is None or episode.ended or image.stamp < episode.task.stamp:
            return outputs
        task = episode.task
        if 0 < task.step_limit <= episode.index:
            episode.ended = True
            return [*outputs, self._last_step(episode, *observation)]
        if not can_move:
            return outputs
        if task.home and not episode.homed and not self._at_home(episode, image):
            return outputs + self._homing(episode, image)
        episode.homed = True
        if not self._listened:
            self._listened = self._listening() >= self.config.step_listeners
            if not self._listened:
                return outputs
        if self.config.lockstep and episode.index > 0 and not self._permitted(episode):
            return outputs
        command = self._command(episode, image, proprioception)
        if command is None:
            return outputs
        self._answer(image, command)
        record = self._record(episode, image, proprioception, command.action, command.actor)
        episode.index += 1
        return [*outputs, command, record]

    def _observation(self) -> tuple[_Image, np.ndarray] | None:
        """The newest image, if no command has answered it, with its proprioception; None when stale or incomplete."""
        image = self._image
        if image is None or image.answered:
            return None
        if self._views:
            views = [self._view(camera, image) for camera in self._views]
            if any(view is None for view in views):
                return None
            image.views = tuple(views)
        if self.config.lockstep:
            proprioception = self._proprioceptions.get(image.stamp)
            return None if proprioception is None else (image, proprioception)
        if not self._proprioceptions:
            return None
        now = self._clock()
        stamp, proprioception = next(reversed(self._proprioceptions.items()))
        fresh = now - image.stamp <= self.config.image_max_age * 1e9
        fresh = fresh and now - stamp <= self.config.proprioception_max_age * 1e9
        return (image, proprioception) if fresh else None

    def _view(self, camera: str, image: _Image) -> Any:
        """What a further camera shows beside `image`; None where that is not there, or stale."""
        views = self._views[camera]
        if self.config.lockstep:
            return views.get(image.stamp)
        if not views:
            return None
        stamp, view = next(reversed(views.items()))
        return view if self._clock() - stamp <= self.config.image_max_age * 1e9 else None

    def _warn_of_blindness(self) -> None:
        image = self._image
        if image is None or image.answered:
            return
        blind = [camera for camera in self._views if self._view(camera, image) is None]
        if blind:
            self._warn(
                f"No picture comes from the camera {', '.join(blind)}, which the policy needs: no command is sent "
                "until one does. See the log of its node."
            )

    def _at_home(self, episode: _Episode, image: _Image) -> bool:
        """Whether the arm acknowledged the home command and `image` was taken afterwards."""
        if episode.home_stamp is None or self._arm_state == ArmState.HOMING:
            return False
        acknowledged = self._arm_home_command >= episode.home_stamp
        return acknowledged and image.stamp > episode.home_stamp and image.stamp >= self._home_stamp

    def _homing(self, episode: _Episode, image: _Image) -> list[Output]:
        """The home command, once, and again where it seems to have been lost."""
        now = self._monotonic()
        acknowledged = episode.home_stamp is not None and self._arm_home_command >= episode.home_stamp
        waiting = acknowledged or self._arm_state == ArmState.HOMING or now - episode.home_sent < self.config.home_retry
        if episode.home_stamp is not None and waiting:
            return []
        if episode.home_stamp is None:
            episode.home_stamp = image.stamp
        episode.home_sent = now
        command = Command(image.stamp, ArmMode.HOME, np.zeros(PHYSICAL_DIMENSION, np.float32), Who.POLICY)
        self._answer(image, command)
        return [command]

    def _permitted(self, episode: _Episode) -> bool:
        return self._permit[0] == episode.task.episode_id and self._permit[1] >= episode.index

    def _command(self, episode: _Episode, image: _Image, proprioception: np.ndarray) -> Command | None:
        """The override where there is one for this observation, else what script or policy say; None: wait."""
        task = episode.task
        override = self._override(image.stamp)
        if override is not None:
            if override.mode == ArmMode.HOLD:
                action = np.zeros(PHYSICAL_DIMENSION, np.float32)
                action[6] = np.clip(proprioception[6], 0.0, 1.0)
            else:
                action = self.action_space.to_physical(self.action_space.to_normalised(override.action))
            who = override.actor if override.actor in (Who.PERSON, Who.SCRIPT) else Who.PERSON
            return Command(image.stamp, override.mode, action, who)
        if task.phase == Phase.INTERVENTION:
            if episode.index >= len(task.script):
                return None
            scripted = self.action_space.to_normalised(np.array(task.script[episode.index], np.float32))
            return Command(image.stamp, ArmMode.DELTA, self.action_space.to_physical(scripted), Who.SCRIPT)
        if self.config.source == "override" or self._policy is None:
            return None
        deterministic = task.phase == Phase.EVALUATION
        pictures = (image.image, *image.views)
        normalised = self._policy(pictures, proprioception, task.instruction, deterministic)
        return Command(image.stamp, ArmMode.DELTA, self.action_space.to_physical(normalised), Who.POLICY)

    def _override(self, stamp: int) -> Command | None:
        if self.config.lockstep and self.config.source == "override":
            return self._overrides.get(stamp)
        if self._newest_override is None:
            return None
        arrival, override = self._newest_override
        fresh = self._monotonic() - arrival <= self.config.override_max_age
        if not self.config.lockstep and override.stamp:
            fresh = fresh and self._clock() - override.stamp <= self.config.override_max_age * 1e9
        return override if fresh else None

    def _answer(self, image: _Image, command: Command) -> None:
        image.answered = True
        self._last_command = command

    def _repeat(self) -> list[Output]:
        """The newest step once more, to those who may have missed it; the others know it by index and stamp."""
        if not self.config.lockstep or self._newest_step is None or self._repeats_left == 0:
            return []
        self._repeats_left -= 1
        return [self._newest_step]

    def _last_step(self, episode: _Episode, image: _Image, proprioception: np.ndarray) -> StepRecord:
        return self._record(episode, image, proprioception, None, Who.NONE)

    def _record(
        self, episode: _Episode, image: _Image, proprioception: np.ndarray, action: np.ndarray | None, actor: Who
    ) -> StepRecord:
        task = episode.task
        self._newest_step = StepRecord(
            image.stamp, task.episode_id, episode.index, task.phase, task.direction, task.instruction,
            image.image, proprioception, action, actor, self._policy_version, image.views,
        )  # fmt: skip
        self._repeats_left = STEP_REPEATS
        return self._newest_step

    def _forget_source(self) -> None:
        """The observations' clock started again: nothing that was seen so far can be compared with what comes.

        The episode goes on, so that the switcher sees its stamps go back, aborts it and starts another.
        """
        self._warn("The stamps of the images went back: their source was restarted; the episode in progress is lost.")
        self._image = None
        self._last_command = None
        self._newest_step = None
        self._proprioceptions.clear()
        for views in self._views.values():
            views.clear()
        self._overrides.clear()
        self._newest_override = None
        for episode in (self._episode, self._parking):
            if episode is not None:
                episode.task = replace(episode.task, stamp=0)
                episode.home_stamp = None


def stacked(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Pictures (H, W, 3) of one moment as a policy sees them, (H, W, 3 cameras); a lone one as it is.

    Raises RobofumeError where their sizes differ.
    """
    if len(pictures) == 1:
        return pictures[0]
    sizes = {picture.shape for picture in pictures}
    if len(sizes) > 1:
        raise RobofumeError(
            f"The cameras' pictures differ in size ({', '.join(map(str, sorted(sizes)))}): set width and height of "
            "their nodes to the image size of the run."
        )
    return np.concatenate(pictures, axis=-1)


def _remember(memory: OrderedDict[int, Any], stamp: int, value: Any) -> None:
    memory[stamp] = value
    memory.move_to_end(stamp)
    while len(memory) > REMEMBERED:
        memory.popitem(last=False)
