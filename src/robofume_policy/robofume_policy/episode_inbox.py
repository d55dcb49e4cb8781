"""When an episode that comes as messages may be learnt from, and how many control steps there were."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from robofume_common.enums import Outcome
from robofume_common.errors import RobofumeError
from robofume_data.assembler import EpisodeAssembler
from robofume_data.episode import EpisodeData

REMEMBERED = 16
"""Episodes that are kept while they are not whole; the oldest goes first. One that has ended is given up then; the
others' ends were lost, or they never had one."""


@dataclass
class _Open:
    judged: set[int] = field(default_factory=set)
    num_steps: int = -1
    ended_at: float = 0.0


class EpisodeInbox:
    """Gives each episode once: when its steps and verdicts are there, or `deadline` seconds after its end.

    What is said of one again afterwards is ignored: a switcher that was killed says again how its last episodes ended.
    After the deadline missing verdicts are unknown, and an episode with a missing step is given up; before it where too
    many wait. Aborted episodes are dropped. Takes messages, or anything with their fields. Not thread-safe.

    cameras: further ones, whose views of all steps an episode must have.
    """

    def __init__(self, deadline: float, cameras: Sequence[str] = ()) -> None:
        self.deadline = deadline
        self.given_up: dict[str, str] = {}
        """A sentence about each episode that was not whole, by its id."""
        self._known: set[str] = set()  # given, or from elsewhere
        self._assembler = EpisodeAssembler(cameras=cameras)
        self._open: OrderedDict[str, _Open] = OrderedDict()

    def know(self, episode_id: str) -> None:
        """This episode is there already, from elsewhere. May be called from any thread."""
        self._known.add(episode_id)
        self.given_up.pop(episode_id, None)

    def add_step(self, step: Any) -> None:
        """Take a Step."""
        if step.episode_id in self._known:
            return
        self._of(step.episode_id)
        self._assembler.add_step(step)

    def add_view(self, camera: str, step: Any) -> None:
        """Take a Step as a further camera saw it."""
        if step.episode_id in self._known:
            return
        self._of(step.episode_id)
        self._assembler.add_view(camera, step)

    def add_reward(self, reward: Any) -> None:
        """Take a Reward; one about an episode that never comes is dropped at `REMEMBERED`."""
        if reward.episode_id in self._known:
            return
        self._of(reward.episode_id).judged.add(int(reward.index))
        self._assembler.add_reward(reward)

    def add_end(self, end: Any, now: float) -> None:
        """Take an Episode; `now` monotonic seconds."""
        if end.outcome == Outcome.ABORTED or end.episode_id in self._known:
            self._forget(end.episode_id)
            return
        entry = self._of(end.episode_id)
        entry.num_steps, entry.ended_at = int(end.num_steps), now
        self._assembler.add_end(end)

    def take(self, now: float) -> list[EpisodeData]:
        """The episodes that are ready now."""
        ready = []
        for episode_id, entry in list(self._open.items()):
            if episode_id in self._known:
                self._forget(episode_id)
                continue
            if entry.num_steps < 0:
                continue
            whole = self._assembler.is_whole(episode_id)
            # Counted first: Python 3.10 makes a set of the range, and a message may claim any number of steps.
            judged = len(entry.judged) > entry.num_steps and entry.judged.issuperset(range(entry.num_steps + 1))
            if not (whole and judged) and now - entry.ended_at < self.deadline:
                continue
            try:
                ready.append(self._assembler.take(episode_id))
                del self._open[episode_id]
                self._known.add(episode_id)
            except RobofumeError as error:
                self.given_up[episode_id] = str(error)
                self._forget(episode_id)
        return ready

    def _of(self, episode_id: str) -> _Open:
        entry = self._open.setdefault(episode_id, _Open())
        while len(self._open) > REMEMBERED:
            oldest, waiting = next(iter(self._open.items()))
            if waiting.num_steps >= 0:
                self.given_up[oldest] = f"Episode {oldest!r} was not whole when many others began."
            self._forget(oldest)
        return entry

    def _forget(self, episode_id: str) -> None:
        self._open.pop(episode_id, None)
        self._assembler.forget(episode_id)


class StepCount:
    """Control steps of a run, each once, whether they came as messages, from bags, or from a checkpoint's number."""

    def __init__(self) -> None:
        self._actions: dict[str, int] = {}
        self._total = 0
        self._extra = 0
        self.newest: tuple[str, int] | None = None
        """The episode that was heard of last, and its actions by then."""

    @property
    def total(self) -> int:
        """Steps counted so far."""
        return self._total + self._extra

    def saw(self, episode_id: str, actions: int) -> None:
        """The episode has had at least so many actions."""
        more = actions - self._actions.get(episode_id, 0)
        if more > 0:
            self._actions[episode_id] = actions
            self._total += more

    def heard(self, episode_id: str, actions: int) -> None:
        """The same, of an episode under way."""
        self.newest = episode_id, actions
        self.saw(episode_id, actions)

    def restored(self, steps: int, in_bags: Mapping[str, int], newest: tuple[str, int] | None = None) -> None:
        """A checkpoint counted `steps`, of which the actions of `in_bags` were found again, by episode; the others were
        not closed. `newest`: that of then. It may go on, and what the checkpoint counted of it is not to count again.
        """
        self._extra = max(0, steps - sum(in_bags.values()))
        if newest is not None and newest[0] not in in_bags:
            counted = min(newest[1], self._extra)
            self._extra -= counted
            self.saw(newest[0], counted)
