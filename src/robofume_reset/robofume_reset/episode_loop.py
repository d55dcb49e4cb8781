"""Runs one episode after the other: the switcher's side of docs/architecture.md ("Lockstep", "Verdicts and episodes").

A state machine without clock, threads or ROS: inputs are calls with the time (monotonic seconds), outputs are the
events they return, to be carried out in order. Every wait has a deadline, which `tick` looks after.
"""

import math
from dataclasses import dataclass

from robofume_common.action import PHYSICAL_DIMENSION
from robofume_common.enums import Actor, ArmState, Direction, Outcome, Phase, Verdict
from robofume_common.stamps import RESTART_JUMP
from robofume_common.task import TaskDescription

from robofume_reset.episode_end import Due, judge_episode
from robofume_reset.events import (
    AskPerson,
    Episode,
    Event,
    FindSilent,
    Finished,
    Note,
    PublishEpisode,
    PublishPermit,
    PublishTask,
    ResetScene,
    StopAsking,
)
from robofume_reset.loop_config import (
    ERROR_ARM_STOPPED,
    ERROR_CANCELED,
    ERROR_NO_LEARNER,
    ERROR_NO_OBSERVATIONS,
    ERROR_NO_VERDICTS,
    ERROR_NONE,
    ERROR_RESET_FAILED,
    LoopConfig,
)
from robofume_reset.pacing import LearnerPace, PacingConfig
from robofume_reset.relocation import RELOCATE, Place, RelocationConfig, relocation
from robofume_reset.success_rule import SuccessRule
from robofume_reset.switching import EpisodePlan, EpisodeResult, Plan

NUDGE = "push the objects about"
"""Instruction of an episode that carries out the nudge's script."""
NOWHERE = RelocationConfig()


class EpisodeLoop:
    """Runs the episodes of one goal at a time.

    Arguments:
        config, pacing, rule: settings.
        task: gives instructions and step limit.
        session: prefix of the episode ids.
        episodes_started: how many ids were used up before (from the state file).
        abandoned: episodes left undecided by the last process; closed as aborted if their last step still comes.
        nudge: actions of the task's nudge, seven values each; empty: a nudge only brings the arm home.
        relocating: settings of the relocation after a success; without zones there is none.
    """

    def __init__(
        self,
        config: LoopConfig,
        pacing: PacingConfig,
        rule: SuccessRule,
        task: TaskDescription,
        session: str,
        episodes_started: int = 0,
        abandoned: tuple[Episode, ...] = (),
        now: float = 0.0,
        nudge: tuple[float, ...] = (),
        relocating: RelocationConfig = NOWHERE,
    ) -> None:
        self.config, self.pacing, self.rule, self.task, self.session = config, pacing, rule, task, session
        self.nudge, self.relocating = nudge, relocating
        self._relocation: tuple[float, ...] = ()
        self.episodes_started = episodes_started
        self.pace = LearnerPace(pacing, now)
        self._abandoned = {episode.episode_id: episode for episode in abandoned}
        self._plan: Plan | None = None
        self._current: Episode | None = None
        self._closing: list[Episode] = []
        self._ending: Finished | None = None
        self._resetting: tuple[EpisodePlan, float, int] | None = None
        self._person: _Wait | None = None
        self._tickets = 0
        self._stamp = 0
        self._is_idle = False
        self._is_home = self._home_next = False
        self._first_step_seen = False
        self._looking_for_silent = False
        self._missing_verdicts = 0
        self._unknown_episodes = 0
        self._aborts = 0
        self._denied: tuple[Direction, str] | None = None

    @property
    def busy(self) -> bool:
        """Whether a goal runs."""
        return self._plan is not None

    @property
    def instruction(self) -> str:
        """The sentence being followed, '' between episodes."""
        return self._current.instruction if self._current else ""

    @property
    def waiting_for(self) -> str:
        """What a person is asked to do, '' where nobody is."""
        return self._person.sentence if self._person else ""

    @property
    def open_episodes(self) -> list[Episode]:
        """Episodes that were started and are not decided yet."""
        return [self._current] if self._current else []

    @property
    def unclosed(self) -> list[PublishEpisode]:
        """What is to be said of the episodes that are decided, and counted, were nothing more to come of them."""
        return [_closed(episode, episode.num_steps) for episode in self._closing if episode.num_steps >= 0]

    # Inputs.

    def start(self) -> list[Event]:
        """The process has started: whatever a former one asked for is over."""
        return self._idle()

    def begin(self, plan: Plan, now: float) -> list[Event]:
        """Run the episodes of `plan`. Only when not busy."""
        if self.busy:
            raise RuntimeError("a goal is running")
        self._plan, self._ending = plan, None
        self._stamp, self._first_step_seen = 0, False
        self._relocation = ()  # of the last success of the goal before; who knows what was moved since
        self._missing_verdicts = self._unknown_episodes = self._aborts = 0
        self.pace.begin(now)
        return self._continue(now)

    def cancel(self, now: float, reason: str = "The goal was cancelled.") -> list[Event]:
        """End the goal calmly; the episode in progress is aborted."""
        return self._fail(ERROR_CANCELED, reason, now)

    def on_step(
        self,
        episode_id: str,
        index: int,
        has_action: bool,
        actor: Actor,
        stamp: int,
        now: float,
        let_go: bool = True,
        changed: bool = True,
        position: Place | None = None,
    ) -> list[Event]:
        """Take a step of any episode; the newest one may come again.

        `let_go`: whether the gripper surely holds nothing after its action; `changed`: whether anything is, or was,
        another than at step 0; `position`: of the hand [m], None where nobody can tell.
        """
        episode = self._find(episode_id)
        if episode is None:
            return self._close_abandoned(episode_id, index) if not has_action else []
        is_current = episode is self._current
        if stamp == episode.stamp and episode.is_newest(index, has_action):
            return self._on_repeated_step(episode, now)
        if index != episode.steps or episode.last_seen or (index > 0 and stamp < episode.stamp):
            if not is_current:
                episode.last_seen = episode.last_seen or not has_action
                return self._proceed(now)
            note = Note(
                f"Step {index} of episode {episode_id} came where {episode.steps} was due: "
                "the policy node or the source of observations was restarted. The episode is aborted."
            )
            self._follow_stamp(stamp)
            return [note, *self._abort_current(now)]
        self._first_step_seen, self._looking_for_silent = True, False
        episode.stamp, episode.step_time, episode.waiting_since = stamp, now, now
        self._follow_stamp(stamp)
        episode.changed = episode.changed or changed
        episode.position = position
        if index in episode.gripping:
            episode.held_at = position
        if has_action:
            episode.steps += 1
            if not let_go:
                episode.gripping.add(episode.steps)
            if self._plan is not None:
                self._plan.on_step(actor == Actor.PERSON != episode.last_actor)
                if self._plan.paced and episode.phase != Phase.INTERVENTION:
                    self.pace.on_step()
            episode.last_actor = actor
        else:
            episode.last_seen = True
        return self._proceed(now)

    def _on_repeated_step(self, episode: Episode, now: float) -> list[Event]:
        """The policy asks, by its newest step, why nothing comes: the permit for the next one may have been lost."""
        if episode is self._current and self.pacing.lockstep and 0 < episode.steps == episode.permitted:
            return [PublishPermit(episode.episode_id, episode.permitted)]
        return self._proceed(now)

    def on_verdict(
        self,
        episode_id: str,
        index: int,
        verdict: Verdict,
        now: float,
        by_person: bool = False,
        score: float = math.nan,
    ) -> list[Event]:
        """Take a verdict; a later one for the same step replaces it. A person's counts with a closed gripper too.

        score: the share of the goal that is reached; NaN where the judge tells none.
        """
        self._missing_verdicts = 0
        episode = self._find(episode_id)
        if episode is None:
            return []
        episode.verdicts[index] = verdict
        episode.scores[index] = score
        if by_person:
            episode.called.add(index)
            episode.gripping.discard(index)
        return self._proceed(now)

    def on_learner_status(self, now: float) -> list[Event]:
        """Call after `pace.on_status`."""
        return self._proceed(now)

    def on_arm_status(self, state: ArmState, message: str, now: float) -> list[Event]:
        """A stopped arm ends the goal."""
        if state != ArmState.STOPPED:
            return []
        return self._fail(ERROR_ARM_STOPPED, f"The arm stopped and needs a person: {message}", now)

    def on_reset(self, ticket: int, success: bool, message: str, stamp: int, now: float) -> list[Event]:
        """The answer to ResetScene; `stamp` [ns]: older observations show the scene before."""
        if self._resetting is None or self._resetting[2] != ticket:
            return []
        plan, self._resetting = self._resetting[0], None
        if not success:
            due = f" (it was due because {plan.reason})" if plan.reason else ""
            return self._without_reset(plan, f"The scene could not be reset{due}: {message}", now)
        assert self._plan is not None
        self._plan.on_reset()
        return self._start_episode(plan, now, stamp, assisted=True)

    def on_helped(self, now: float) -> list[Event]:
        """A person has put the scene right and stepped back; without effect when nobody was asked."""
        wait, self._person = self._person, None
        if wait is None:
            return []
        assert self._plan is not None
        self._plan.on_waiting(now - wait.counted)
        self._plan.on_helped()
        self.pace.begin(now)
        return [StopAsking(helped=True), *self._start_episode(wait.plan, now, self._stamp, assisted=True)]

    def on_silence(self, sentence: str, now: float) -> list[Event]:
        """The answer to FindSilent; without effect when a step came meanwhile."""
        if not self._looking_for_silent:
            return []
        if self._current is not None and self._current.going_home:
            # A policy that was started again on the way home knows nothing of the episode whose end is awaited. Where
            # somebody else is silent, the next episode ends the goal.
            return [Note(f"{sentence} The episode is aborted."), *self._abort_current(now)]
        return self._fail(ERROR_NO_OBSERVATIONS, sentence, now)

    def tick(self, now: float) -> list[Event]:
        """Look after the deadlines; call it a few times a second."""
        if self._resetting is not None and now > self._resetting[1]:
            plan, self._resetting = self._resetting[0], None
            seconds = self.config.reset_deadline
            return self._without_reset(plan, f"The scene was not reset within {seconds:.0f} s.", now)
        if self._person is not None and self._plan is not None:
            self._plan.on_waiting(now - self._person.counted)
            self._person.counted = now
            hours = (now - self._person.since) / 3600.0
            if 0 < self.config.person_deadline < now - self._person.since:
                return self._fail(ERROR_RESET_FAILED, f"Nobody came in {hours:.1f} h. {self._person.sentence}", now)
        return self._proceed(now)

    # What follows from them.

    def _proceed(self, now: float) -> list[Event]:
        """Whatever can be done now."""
        events = self._judge_current(now)
        events += self._permit(now)
        events += self._watch_current(now)
        events += self._close(now)
        waits = self._resetting is not None or self._person is not None
        if self._plan is not None and self._current is None and not self._closing and not waits:
            events += self._continue(now)
        return events

    def _continue(self, now: float) -> list[Event]:
        """Nothing runs: start the next episode, or end the goal."""
        assert self._plan is not None
        if self._ending is None and self._plan.done():
            self._ending = Finished(ERROR_NONE, "")
        if self._ending is not None:
            finished, self._plan, self._ending = self._ending, None, None
            return [*self._idle(), finished]
        if self._waits_for_learner() and not self._first_step_seen and not self.pace.ready(now):
            problem = self.pace.problem(now)
            return self._fail(ERROR_NO_LEARNER, problem, now) if problem else []
        plan = self._plan.next()
        script, self._relocation = self._relocation, ()
        if plan.reset:
            self._tickets += 1
            self._resetting = (plan, now + self.config.reset_deadline, self._tickets)
            why = [Note(f"The scene is reset: {plan.reason}.")] if plan.reason else []
            return [*why, *self._idle(), ResetScene(plan.direction, plan.seed, self._tickets, plan.task)]
        if plan.ask:
            return self._ask(plan, f"{plan.reason[:1].upper()}{plan.reason[1:]}.", now)
        if plan.nudge:
            return self._nudge(plan, now)
        if script:
            self._home_next = True
            self._is_home = False  # as it was: a person may have moved the arm while the learner was waited for
            return [self._follow(script, RELOCATE, now, relocates=True)]
        return self._start_episode(plan, now, self._stamp)

    def _without_reset(self, plan: EpisodePlan, problem: str, now: float) -> list[Event]:
        """The scene backend could not help: a person may."""
        return self._ask(plan, problem, now) if self.config.ask_person else self._fail(ERROR_RESET_FAILED, problem, now)

    def _ask(self, plan: EpisodePlan, why: str, now: float) -> list[Event]:
        """Ask a person to put the scene right; meanwhile the policy is idle and the arm holds."""
        assert self._plan is not None
        instruction = self.task.pair(plan.task).instruction(plan.direction)
        sentence = f"{why} Please put the objects where “{instruction}” starts."
        self._person = _Wait(plan, sentence, now, now)
        self._plan.on_asked()
        return [*self._idle(), AskPerson(plan.direction, instruction, sentence)]

    def _nudge(self, plan: EpisodePlan, now: float) -> list[Event]:
        """An episode of scripted actions from home, through the same path as all others; nothing is learnt from it."""
        note = Note(f"The scene is nudged: {plan.reason}.")
        self._home_next = True
        if not self.nudge:
            assert self._plan is not None
            self._plan.on_nudge()
            return [note, *self._continue(now)]
        return [note, self._follow(self.nudge, NUDGE, now)]

    def _follow(self, script: tuple[float, ...], instruction: str, now: float, relocates: bool = False) -> PublishTask:
        """An episode of these actions, from home."""
        episode = Episode(self._next_id(), Phase.INTERVENTION, Direction.NONE, instruction, False, now)
        episode.step_limit, episode.relocates = len(script) // PHYSICAL_DIMENSION, relocates
        return self._open(episode, episode.step_limit, not self._is_home, self._stamp, script)

    def _start_episode(self, plan: EpisodePlan, now: float, stamp: int, assisted: bool = False) -> list[Event]:
        instruction = self.task.pair(plan.task).instruction(plan.direction)
        episode = Episode(self._next_id(), plan.phase, plan.direction, instruction, assisted, now)
        episode.step_limit, episode.task = self.task.step_limit, plan.task
        episode.only_from_home = not assisted and self._denied == (plan.direction, plan.task)
        limit = 0 if self.config.confirm else self.task.step_limit  # 0: this side ends the episode
        home = (self.config.home or self._home_next) and (assisted or not self._is_home)
        self._home_next = False
        return [self._open(episode, limit, home, stamp)]

    def _next_id(self) -> str:
        self.episodes_started += 1
        return f"{self.session}-{self.episodes_started:06d}"

    def _open(
        self, episode: Episode, limit: int, home: bool, stamp: int, script: tuple[float, ...] = ()
    ) -> PublishTask:
        self._current = episode
        self._looking_for_silent = self._is_idle = self._is_home = False
        return PublishTask(
            episode.phase, episode.direction, episode.instruction, episode.episode_id, limit, home, stamp,
            episode.task, script,
        )

    def _judge_current(self, now: float) -> list[Event]:
        """End the current episode if the verdicts, or the last step, say so."""
        episode = self._current
        if episode is None:
            return []
        found = judge_episode(episode, self.config, self.pacing, self.rule, now)
        if found.due == Due.VERDICT_MISSED:
            failure = self._miss_verdict(episode, episode.steps, now)
            if failure:
                return failure
            found = judge_episode(episode, self.config, self.pacing, self.rule, now)
        if found.due == Due.LOOK_FROM_HOME:
            return self._look_from_home(episode, now)
        if found.due == Due.BROKEN_OFF:
            return self._ended_early(episode, now)
        if found.due == Due.END:
            return self._end_current(found.outcome, found.success_index, now)
        return []

    def _ended_early(self, episode: Episode, now: float) -> list[Event]:
        return [Note(f"The policy ended episode {episode.episode_id} early."), *self._abort_current(now)]

    def _look_from_home(self, episode: Episode, now: float) -> list[Event]:
        """Send the arm home before the last step: what it holds is let go, and nothing hides the objects."""
        episode.going_home, episode.waiting_since = True, now
        self._is_idle = self._is_home = True
        return [PublishTask(Phase.IDLE, Direction.NONE, "", "", 0, True, self._stamp)]

    def _permit(self, now: float) -> list[Event]:
        """The permit for the next step, where it is due and allowed."""
        episode, index = self._current, self._current.steps if self._current else 0
        if episode is None or self._policy_may_act(episode):
            return []
        judged = self.pacing.expect_verdicts and episode.phase != Phase.INTERVENTION
        if judged and index - 1 not in episode.verdicts:
            if now - episode.step_time < self.pacing.verdict_deadline:
                return []
            failure = self._miss_verdict(episode, index - 1, now)
            if failure:
                return failure
        if self._waits_for_learner() and not self.pace.ready(now):
            problem = self.pace.problem(now)
            return self._fail(ERROR_NO_LEARNER, problem, now) if problem else []
        episode.permitted, episode.waiting_since = index, now
        return [PublishPermit(episode.episode_id, index)]

    def _policy_may_act(self, episode: Episode) -> bool:
        """Whether the next step needs nothing from the switcher (the last step needs no permit)."""
        at_limit = episode.last_seen or episode.going_home or episode.steps >= episode.step_limit
        return not self.pacing.lockstep or at_limit or episode.steps <= episode.permitted

    def _waits_for_learner(self) -> bool:
        return self._plan is not None and self._plan.paced and self.pacing.expect_learner

    def _miss_verdict(self, episode: Episode, index: int, now: float) -> list[Event]:
        """Count a verdict as unknown; ends the goal when too many are missing in a row."""
        episode.verdicts[index] = Verdict.UNKNOWN
        self._missing_verdicts += 1
        if self._missing_verdicts < self.config.max_missing_verdicts:
            return []
        return self._fail(
            ERROR_NO_VERDICTS,
            f"No verdict on {self._missing_verdicts} steps in a row within {self.pacing.verdict_deadline:.0f} s each: "
            "is the reward node running? See its log.",
            now,
        )

    def _watch_current(self, now: float) -> list[Event]:
        """Notice that no step comes, and that the learner failed."""
        episode = self._current
        if episode is None or episode.last_seen:
            return []
        if self._waits_for_learner() and self.pace.failed:
            return self._fail(ERROR_NO_LEARNER, self.pace.problem(now), now)
        deadline = self.config.step_deadline if self._first_step_seen else self.config.start_deadline
        silent = now - episode.waiting_since
        if self._looking_for_silent or not self._policy_may_act(episode) or silent < deadline:
            return []
        self._looking_for_silent = True
        return [FindSilent(silent)]

    def _end_current(self, outcome: Outcome, success_index: int, now: float) -> list[Event]:
        """The current episode is decided; hand over to the next, or to idle where the last step is still to come."""
        episode = self._current
        assert episode is not None and self._plan is not None
        episode.outcome, episode.success_index, episode.ended_at = outcome, success_index, now
        self._current, self._looking_for_silent = None, False
        self._closing.append(episode)
        called = episode.going_home and episode.steps < episode.step_limit
        denied = called and outcome in (Outcome.TIMEOUT, Outcome.UNKNOWN)
        self._denied = (episode.direction, episode.task) if denied else None
        if outcome == Outcome.INTERVENTION:
            self._aborts = 0
            if episode.relocates:
                self._plan.on_relocation()
            else:
                self._plan.on_nudge()
        elif outcome != Outcome.ABORTED:
            self._aborts = 0
            self._count_unknown(outcome)
            self._plan.on_episode(
                EpisodeResult(
                    episode.direction,
                    outcome,
                    episode.steps,
                    success_index,
                    began_there=episode.verdicts.get(0) == Verdict.SUCCESS,
                    at_goal=episode.going_home and episode.verdicts.get(episode.steps) == Verdict.SUCCESS,
                    still=not episode.changed,
                    task=episode.task,
                    score=episode.scores.get(episode.steps if success_index < 0 else success_index, math.nan),
                )
            )
        if outcome == Outcome.SUCCESS:
            self._relocation = self._due_relocation(episode)
        if episode.last_seen:
            return []
        if self._ending is None and not self._plan.done():
            plan = self._plan.next()
            if not (plan.reset or plan.ask or plan.nudge):
                return self._start_episode(plan, now, self._stamp)
        return self._idle()

    def _due_relocation(self, episode: Episode) -> tuple[float, ...]:
        """Actions that put elsewhere what this success has put down; empty: none. They begin at home, where the
        last step shows the hand."""
        practised = episode.phase in (Phase.FORWARD, Phase.BACKWARD) and episode.task in ("", self.task.name)
        if not (practised and self._is_home and episode.last_seen and episode.position and episode.held_at):
            return ()
        return relocation(
            self.relocating, episode.direction, episode.position, episode.held_at, self.episodes_started
        )

    def _count_unknown(self, outcome: Outcome) -> None:
        """Too many episodes in a row of which nobody knows how they ended end the goal, once the last is closed."""
        self._unknown_episodes = self._unknown_episodes + 1 if outcome == Outcome.UNKNOWN else 0
        if self._unknown_episodes >= self.config.max_unknown_episodes and self._ending is None:
            self._ending = Finished(
                ERROR_NO_VERDICTS,
                f"The judge could not say how {self._unknown_episodes} episodes in a row ended. Look at the camera's "
                "picture and at the objects; if both are as they should be, label some of these episodes (`robofume "
                "label`) and train the reward model again.",
            )

    def _abort_current(self, now: float) -> list[Event]:
        """The current episode cannot be completed; it is run again."""
        self._aborts += 1
        self._is_home = False
        if self._aborts < self.config.max_aborts:
            return self._end_current(Outcome.ABORTED, -1, now)
        return self._fail(
            ERROR_NO_OBSERVATIONS,
            f"{self._aborts} episodes in a row were broken off by the policy node: see its log.",
            now,
        )

    def _fail(self, error: int, message: str, now: float) -> list[Event]:
        """End the goal: idle at once, the episode in progress aborted."""
        if self._plan is None or self._ending is not None:
            return []
        self._ending = Finished(error, message)
        self._resetting = None
        self._is_home = False
        asking: list[Event] = [StopAsking(helped=False)] if self._person else []
        if self._person is not None:
            self._plan.on_waiting(now - self._person.counted)
            self._person = None
        events = self._end_current(Outcome.ABORTED, -1, now) if self._current else self._idle()
        return asking + events + self._proceed(now)

    def _close(self, now: float) -> list[Event]:
        """Publish the episodes that are complete, or will not be."""
        events: list[Event] = []
        for episode in list(self._closing):
            if episode.last_seen:
                judged = episode.outcome in (Outcome.ABORTED, Outcome.INTERVENTION) or episode.steps in episode.verdicts
                overdue = now - max(episode.step_time, episode.ended_at) >= self.pacing.verdict_deadline
                if not (judged or overdue or not self.pacing.expect_verdicts):
                    continue
            elif now - episode.ended_at < self.config.close_deadline:
                continue
            self._closing.remove(episode)
            if episode.num_steps >= 0:
                events.append(_closed(episode, episode.num_steps))
        return events

    def _follow_stamp(self, stamp: int) -> None:
        """Observations before this time are not asked for; a source that was restarted counts from its new start."""
        self._stamp = stamp if stamp < self._stamp - RESTART_JUMP else max(self._stamp, stamp)

    def _close_abandoned(self, episode_id: str, index: int) -> list[Event]:
        """The last step of an episode in which the former process was killed."""
        episode = self._abandoned.pop(episode_id, None)
        if episode is None:
            return []
        episode.outcome = Outcome.ABORTED
        return [_closed(episode, index)]

    def _find(self, episode_id: str) -> Episode | None:
        if self._current is not None and self._current.episode_id == episode_id:
            return self._current
        return next((episode for episode in self._closing if episode.episode_id == episode_id), None)

    def _idle(self) -> list[Event]:
        """The idle task, unless it was the last one published."""
        if self._is_idle:
            return []
        self._is_idle = True
        return [PublishTask(Phase.IDLE, Direction.NONE, "", "", 0, False, self._stamp)]


@dataclass
class _Wait:
    """For a person; times are monotonic seconds."""

    plan: EpisodePlan
    sentence: str
    since: float
    counted: float
    """Up to when the waiting is counted."""


def _closed(episode: Episode, num_steps: int) -> PublishEpisode:
    assert episode.outcome is not None
    return PublishEpisode(
        episode.episode_id, episode.phase, episode.direction, episode.instruction, num_steps,
        episode.outcome, episode.success_index, episode.assisted_reset_before, episode.task,
    )  # fmt: skip
