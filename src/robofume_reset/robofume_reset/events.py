"""What the episode loop wants done, in the order in which it is to be done, and the record of an episode."""

from dataclasses import dataclass, field

from robofume_common.enums import Actor, Direction, Outcome, Phase, Verdict


@dataclass(frozen=True)
class PublishTask:
    """Publish `task`; `stamp` in ns on the observations' clock."""

    phase: Phase
    direction: Direction
    instruction: str
    episode_id: str
    step_limit: int
    home: bool
    stamp: int
    task: str = ""
    """Name of the pair; empty: the task's own. So in the other events."""
    script: tuple[float, ...] = ()
    """Actions that the policy node carries out in place of its own, seven values each."""


@dataclass(frozen=True)
class PublishPermit:
    """Publish `step_permit`."""

    episode_id: str
    index: int


@dataclass(frozen=True)
class PublishEpisode:
    """Publish `episode`."""

    episode_id: str
    phase: Phase
    direction: Direction
    instruction: str
    num_steps: int
    outcome: Outcome
    success_index: int
    assisted_reset_before: bool
    task: str = ""


@dataclass(frozen=True)
class ResetScene:
    """Call `scene/reset`, then `EpisodeLoop.on_reset` with `ticket`."""

    direction: Direction
    seed: int
    ticket: int
    task: str = ""


@dataclass(frozen=True)
class AskPerson:
    """Tell a person that help is needed, then `EpisodeLoop.on_helped` once it was given."""

    direction: Direction
    instruction: str
    sentence: str
    """What to do, and why."""


@dataclass(frozen=True)
class StopAsking:
    """Nobody is waited for any longer."""

    helped: bool


@dataclass(frozen=True)
class FindSilent:
    """No step came: find out who is silent, then call `EpisodeLoop.on_silence`."""

    seconds: float


@dataclass(frozen=True)
class Finished:
    """The goal has ended; one of ERROR_* and a sentence."""

    error: int
    message: str


@dataclass(frozen=True)
class Note:
    """A sentence for the log."""

    sentence: str


Event = (
    PublishTask | PublishPermit | PublishEpisode | ResetScene | AskPerson | StopAsking | FindSilent | Finished | Note
)


@dataclass
class Episode:
    """An episode from its task to its closing."""

    episode_id: str
    phase: Phase
    direction: Direction
    instruction: str
    assisted_reset_before: bool
    waiting_since: float
    """When the policy was last given something to do."""
    step_limit: int = 0
    task: str = ""
    stamp: int = 0
    """Of the newest step [ns]."""
    steps: int = 0
    """Actions seen, which is the index of the next step."""
    step_time: float = 0.0
    """When the newest step arrived."""
    last_seen: bool = False
    """Whether the last step, the one without an action, has arrived."""
    permitted: int = 0
    last_actor: Actor = Actor.NONE
    verdicts: dict[int, Verdict] = field(default_factory=dict)
    scores: dict[int, float] = field(default_factory=dict)
    """Share of the goal that is reached, of the steps where the judge tells it."""
    called: set[int] = field(default_factory=set)
    """Steps that a person has judged."""
    gripping: set[int] = field(default_factory=set)
    """Steps that an action with the gripper closed led to."""
    position: tuple[float, float, float] | None = None
    """Of the hand [m] at the newest step; None: unknown."""
    held_at: tuple[float, float, float] | None = None
    """Of the hand at the newest step that an action with the gripper closed led to."""
    relocates: bool = False
    """The script of an episode of the phase INTERVENTION is that of a relocation, and not a nudge."""
    changed: bool = False
    """Whether the picture or the arm is, or was, another than at step 0."""
    going_home: bool = False
    """Judged a success or at the step limit; decided at the last step, with the arm at home."""
    only_from_home: bool = False
    """No verdict in motion ends it: one was denied from home in the attempt before, and the scene is still the same."""
    outcome: Outcome | None = None
    success_index: int = -1
    ended_at: float = 0.0

    @property
    def num_steps(self) -> int:
        """Its number of actions, were nothing more to come: without a last step, the newest one shows where it ended
        and its action is left out; -1 where there is none."""
        return self.steps if self.last_seen else self.steps - 1

    def is_newest(self, index: int, has_action: bool) -> bool:
        """Whether this is the step that arrived last."""
        if has_action:
            return not self.last_seen and 0 < self.steps == index + 1
        return self.last_seen and index == self.steps
