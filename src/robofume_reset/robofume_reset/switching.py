"""Which episode comes next: in practice, forward and backward by turns; in evaluation, trials from stated starts."""

import hashlib
from dataclasses import dataclass, field
from typing import Any, Protocol

from robofume_common.enums import Direction, Outcome, Phase
from robofume_common.parameters import setting
from robofume_common.task import TaskPair

from robofume_reset.escalation import EscalationConfig, Ladder, Rung
from robofume_reset.tally import EpisodeResult, Tally
from robofume_reset.task_graph import DIRECTIONS, TaskGraph


@dataclass(frozen=True)
class SwitchingConfig(EscalationConfig):
    """Settings of practice without resets."""

    reset_every: int = setting(0, "reset the scene after so many episodes without a reset; 0: never", minimum=0)
    forward_only: bool = setting(
        False,
        "practise forward alone, each time from a scene that was reset: what practice without resets is compared with",
    )


@dataclass(frozen=True)
class EpisodePlan:
    """The episode to run next, and what comes before it: a scene reset with a `seed` (0: the scene backend's own next
    place), a person's help, or, in the episode's place, a nudge; `reason`: why, where a person should know.
    """

    phase: Phase
    direction: Direction
    reset: bool = False
    seed: int = 0
    task: str = ""
    """Which pair of the scene; empty: the only one, or the first."""
    reason: str = ""
    nudge: bool = False
    ask: bool = False


class Plan(Protocol):
    """What the episode loop asks of a goal. Asking changes nothing; telling does."""

    paced: bool
    """Whether the loop waits for the learner."""

    def done(self) -> bool:
        """Whether no further episode is to start."""

    def next(self) -> EpisodePlan:
        """The episode to start now."""

    def on_step(self, intervention: bool) -> None:
        """An action was taken; `intervention`: a person took over with it."""

    def on_reset(self) -> None:
        """The scene was reset."""

    def on_nudge(self) -> None:
        """The scene was nudged."""

    def on_relocation(self) -> None:
        """What a success had put down was put elsewhere."""

    def on_asked(self) -> None:
        """A person was asked for help."""

    def on_waiting(self, seconds: float) -> None:
        """A person was waited for, so long since the last call."""

    def on_helped(self) -> None:
        """A person put the scene right."""

    def on_episode(self, result: EpisodeResult) -> None:
        """An episode ended. Aborted ones are not reported: they are run again."""


@dataclass
class Alternation:
    """Memory of reset-free practice; survives a restart (`to_dict`, `from_dict`).

    A success hands over to what can start from there (`graph`): where the scene has one pair of instructions, the
    other direction. A failure leaves the objects, as a rule, where this direction starts, so it is tried again,
    `max_repeats` times; after `failures_before_reset` failures in a row, whatever the direction, the objects are taken
    to be out of reach and the scene is helped, by the next step of the `ladder`. A success that was there from the
    start does not break the row; many of those in a row, which say that both directions are done, ask for a reset too.

    An episode whose end the judge could not tell is neither: it leaves these counters as they are, and the same
    direction is tried again, since the objects may still be where it starts. Such episodes in a row have a counter of
    their own that asks for a reset too: an object may lie where the judge never saw one, or be gone. Episodes in
    which nothing changed have one as well: the other direction first, then the ladder.
    """

    config: SwitchingConfig
    pairs: tuple[TaskPair, ...] = (TaskPair(),)
    repeats: int = 0
    failures_in_row: int = 0
    unknowns_in_row: int = 0
    idle_in_row: int = 0
    still_in_row: int = 0
    episodes_since_reset: int = 0
    can_nudge: bool = False
    total: Tally = field(default_factory=Tally)
    ladder: Ladder = None  # type: ignore[assignment]
    graph: TaskGraph = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        if self.ladder is None:
            self.ladder = Ladder(self.config, self.can_nudge)
        if self.graph is None:
            self.graph = TaskGraph(self.pairs)
        if self.config.forward_only and self.graph.direction != Direction.FORWARD:  # the run practised both before
            self.graph.direction = Direction.FORWARD
            self.episodes_since_reset = max(1, self.episodes_since_reset)  # the scene is where backward starts

    @property
    def direction(self) -> Direction:
        """What is practised next, of `task`."""
        return self.graph.direction

    @property
    def task(self) -> str:
        """Name of the pair that is practised next."""
        return self.graph.task

    def plan(self) -> EpisodePlan:
        """The next episode of practice."""
        phase = Phase.FORWARD if self.direction == Direction.FORWARD else Phase.BACKWARD
        trouble = "" if self.config.forward_only else self._trouble()  # the scene is reset in any case
        every = 1 if self.config.forward_only else self.config.reset_every
        due = 0 < every <= self.episodes_since_reset
        rung = self.ladder.rung(self._unclear) if trouble else Rung.RESET if due else Rung.NONE
        return EpisodePlan(
            phase,
            self.direction,
            task=self.task,
            reset=rung is Rung.RESET,
            reason=trouble,
            nudge=rung is Rung.NUDGE,
            ask=rung is Rung.PERSON,
        )

    @property
    def _unclear(self) -> bool:
        """Whether nobody can tell where the objects are."""
        return 0 < self.config.unknowns_before_reset <= self.unknowns_in_row or self._contradictory

    @property
    def _contradictory(self) -> bool:
        return 0 < self.config.idle_successes <= self.idle_in_row

    def _trouble(self) -> str:
        """Why the scene needs help now; empty: it does not."""
        if self._contradictory:
            return f"{_last(self.idle_in_row)} had succeeded before anything was done: the judge may see it anywhere"
        if self._unclear:
            return f"the judge could not say how {_last(self.unknowns_in_row)} ended"
        if 0 < self.config.still_episodes <= self.still_in_row:
            return f"nothing changed in {_last(self.still_in_row)}"
        if 0 < self.ladder.failures_allowed <= self.failures_in_row:
            return f"{_last(self.failures_in_row)} failed"
        return ""

    def on_episode(self, result: EpisodeResult) -> bool:
        """Decide the next direction from how an episode ended; whether the other one is forced without a success."""
        self.total.count_episode(result)
        self.episodes_since_reset += 1
        success = result.outcome == Outcome.SUCCESS
        moved_on = success or result.at_goal  # the scene is where the next direction begins
        self.idle_in_row = self.idle_in_row + 1 if success and result.began_there else 0
        forced = self._count_still(result.still and not success) and not moved_on
        if result.outcome == Outcome.UNKNOWN:
            self.unknowns_in_row += 1
        else:
            self.unknowns_in_row = 0
            self.graph.recent[result.task or self.task, result.direction].append(success)
            if not moved_on:
                self.failures_in_row += 1
            elif not result.began_there:  # else a forced change of direction would hide that nothing gets done
                self.failures_in_row = 0
                self.ladder.restart()
            forced = forced or (not moved_on and self.repeats >= self.config.max_repeats)
        if self.config.forward_only:
            return False
        if moved_on or forced:
            self.repeats = 0
        elif result.outcome != Outcome.UNKNOWN:
            self.repeats += 1
        if moved_on:
            self.graph.succeeded(result.task or self.task, result.direction, self.total.episodes)
        elif forced:
            self.graph.turn(self.total.episodes)
        self.total.forced_switches += forced
        return forced

    def _count_still(self, still: bool) -> bool:
        """Count an episode in which nothing changed; whether it is time to force the other direction."""
        self.still_in_row = self.still_in_row + 1 if still else 0
        if not still:
            self.ladder.turned = False
        if self.ladder.turned or not 0 < self.config.still_episodes <= self.still_in_row:
            return False
        self.ladder.turned, self.still_in_row = True, 0
        return True

    def on_nudge(self) -> None:
        """The scene was nudged for the next direction."""
        self.total.nudges += 1
        self.ladder.took(Rung.NUDGE)
        self.failures_in_row = self.still_in_row = self.repeats = 0

    def on_reset(self) -> None:
        """The scene was reset for the next direction."""
        self.total.assisted_resets += 1
        if self._trouble():
            self.ladder.took(Rung.RESET)
        self._forget_rows()

    def on_helped(self) -> None:
        """A person put the scene right for the next direction."""
        self.ladder.took(Rung.PERSON)
        self._forget_rows()

    def _forget_rows(self) -> None:
        self.failures_in_row = self.unknowns_in_row = self.idle_in_row = self.still_in_row = 0
        self.episodes_since_reset = self.repeats = 0

    def success_rate(self, direction: Direction) -> float:
        """Share of successes among the last decided episodes of a direction, NaN before the first."""
        return self.graph.success_rate(direction)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "repeats": self.repeats,
            "failures_in_row": self.failures_in_row,
            "unknowns_in_row": self.unknowns_in_row,
            "idle_in_row": self.idle_in_row,
            "still_in_row": self.still_in_row,
            "episodes_since_reset": self.episodes_since_reset,
            "total": vars(self.total).copy(),
            "graph": self.graph.to_dict(),
            "ladder": self.ladder.to_dict(),
        }

    @classmethod
    def from_dict(
        cls,
        config: SwitchingConfig,
        values: dict[str, Any],
        can_nudge: bool = False,
        pairs: tuple[TaskPair, ...] = (),
    ) -> "Alternation":
        """The opposite of `to_dict`; raises KeyError, TypeError or ValueError where it is not one.

        Without `pairs` they are those that it was written with, for who only reads.
        """
        names = ("repeats", "failures_in_row", "episodes_since_reset")
        counters: dict[str, Any] = {name: int(values[name]) for name in names}
        for name in ("unknowns_in_row", "idle_in_row", "still_in_row"):  # older files have none
            counters[name] = int(values.get(name, 0))
        if "ladder" in values:
            counters["ladder"] = Ladder.from_dict(config, can_nudge, values["ladder"])
        graph = values["graph"] if "graph" in values else _older_graph(values, pairs)
        pairs = pairs or tuple(map(TaskPair, graph["done"]))
        total = Tally(**values["total"])
        return cls(
            config, pairs, can_nudge=can_nudge, total=total, graph=TaskGraph.from_dict(pairs, graph), **counters
        )


def _last(episodes: int) -> str:
    return "the last episode" if episodes == 1 else f"the last {episodes} episodes"


def _older_graph(values: dict[str, Any], pairs: tuple[TaskPair, ...]) -> dict[str, Any]:
    """What files from before there were several pairs in a scene say."""
    name, direction = pairs[0].name if pairs else "", Direction(values["direction"])
    return {
        "task": name,
        "direction": int(direction),
        "done": {name: direction == Direction.BACKWARD},
        "recent": [[name, int(way), values["recent"][way.name.lower()]] for way in DIRECTIONS],
    }


@dataclass(frozen=True)
class PracticeGoal:
    """As in Practice.action; 0 means no limit. The goal ends with the episode in which a limit is reached."""

    steps: int = 0
    episodes: int = 0
    successes_per_direction: int = 0

    def reached(self, tally: Tally, forward_only: bool = False) -> bool:
        """Whether any limit is reached; `forward_only`: there is one direction, whose successes count."""
        both = tally.forward_successes, tally.backward_successes
        successes = both[0] if forward_only else min(both)
        return (
            0 < self.steps <= tally.steps
            or 0 < self.episodes <= tally.episodes
            or 0 < self.successes_per_direction <= successes
        )


class PracticePlan:
    """Practice until the goal is reached."""

    def __init__(self, goal: PracticeGoal, alternation: Alternation, paced: bool) -> None:
        self.goal, self.alternation, self.paced = goal, alternation, paced
        self.tally = Tally()

    def done(self) -> bool:
        """Whether a limit of the goal is reached."""
        return self.goal.reached(self.tally, self.alternation.config.forward_only)

    def next(self) -> EpisodePlan:
        """The alternation's next episode."""
        return self.alternation.plan()

    def on_step(self, intervention: bool) -> None:
        """Count a step."""
        for tally in (self.tally, self.alternation.total):
            tally.steps += 1
            tally.interventions += intervention

    def on_reset(self) -> None:
        """Count an assisted reset."""
        self.tally.assisted_resets += 1
        self.alternation.on_reset()

    def on_nudge(self) -> None:
        """Count a nudge."""
        self.tally.nudges += 1
        self.alternation.on_nudge()

    def on_relocation(self) -> None:
        """Count a relocation."""
        for tally in (self.tally, self.alternation.total):
            tally.relocations += 1

    def on_asked(self) -> None:
        """Count a request to a person."""
        for tally in (self.tally, self.alternation.total):
            tally.person_requests += 1

    def on_waiting(self, seconds: float) -> None:
        """Count the time of waiting for a person."""
        for tally in (self.tally, self.alternation.total):
            tally.person_seconds += seconds

    def on_helped(self) -> None:
        """A person put the scene right."""
        self.alternation.on_helped()

    def on_episode(self, result: EpisodeResult) -> None:
        """Count an episode and choose the next direction."""
        self.tally.count_episode(result)
        self.tally.forced_switches += self.alternation.on_episode(result)


def trial_seed(seed: int, direction: Direction, trial: int) -> int:
    """The scene's seed of a trial, from `seed`, direction and number only: 1 .. 2^63-1."""
    digest = hashlib.sha256(f"{seed} {int(direction)} {trial}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % (2**63 - 1) + 1


class EvaluationPlan:
    """Trials of both directions by turns, each after a scene reset; of several pairs in a scene one after the other,
    each with as many trials.
    """

    paced = False

    def __init__(
        self, trials_per_direction: int, seed: int, pairs: tuple[TaskPair, ...] = (TaskPair(),)
    ) -> None:
        self.trials_per_direction, self.seed, self.pairs = trials_per_direction, seed, pairs
        self.results: dict[Direction, list[EpisodeResult]] = {direction: [] for direction in DIRECTIONS}

    @property
    def trials_done(self) -> int:
        """Trials finished, both directions."""
        return sum(map(len, self.results.values()))

    def done(self) -> bool:
        """Whether all trials are finished."""
        return self.trials_done >= self.trials_total

    @property
    def trials_total(self) -> int:
        """Trials of both directions of all pairs."""
        return 2 * self.trials_per_direction * len(self.pairs)

    def next(self) -> EpisodePlan:
        """The next trial."""
        direction = DIRECTIONS[self.trials_done % 2]
        number = len(self.results[direction])
        task = self.pairs[min(number // self.trials_per_direction, len(self.pairs) - 1)].name
        return EpisodePlan(Phase.EVALUATION, direction, True, trial_seed(self.seed, direction, number), task)

    def on_step(self, intervention: bool) -> None:
        """Steps are counted with their episode."""

    def on_reset(self) -> None:
        """Every trial has one."""

    def on_nudge(self) -> None:
        """No trial has one."""

    def on_relocation(self) -> None:
        """No trial has one."""

    def on_asked(self) -> None:
        """Where a person puts the scene where a trial starts, that is no help."""

    def on_waiting(self, seconds: float) -> None:
        """See `on_asked`."""

    def on_helped(self) -> None:
        """See `on_asked`."""

    def on_episode(self, result: EpisodeResult) -> None:
        """Keep a trial's result; one that could not be judged is run again from the same start."""
        if result.outcome != Outcome.UNKNOWN:
            self.results[result.direction].append(result)

    def successes(self, direction: Direction) -> list[bool]:
        """Per trial."""
        return [result.outcome == Outcome.SUCCESS for result in self.results[direction]]

    def steps(self, direction: Direction) -> list[int]:
        """Actions until success or the limit, per trial."""
        return [r.success_index if r.success_index >= 0 else r.steps for r in self.results[direction]]

    def scores(self, direction: Direction) -> list[float]:
        """Share of the goal reached at the end, per trial; NaN where the judge tells none."""
        return [result.score for result in self.results[direction]]
