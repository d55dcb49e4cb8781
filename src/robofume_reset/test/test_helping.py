"""The episode loop where the scene needs help: nudges, and a person who is asked and waited for."""

import pytest
from loop_bench import TASK, Bench
from robofume_common.enums import Actor, Direction, Outcome, Phase, Verdict
from robofume_reset.events import (
    AskPerson,
    Finished,
    Note,
    PublishEpisode,
    PublishPermit,
    PublishTask,
    ResetScene,
    StopAsking,
)
from robofume_reset.loop_config import ERROR_CANCELED, ERROR_RESET_FAILED
from robofume_reset.pacing import LearnerState

NUDGE = (0.01, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0) * 3


class HelpedBench(Bench):
    """A bench whose scene needs help after every failure."""

    def __init__(self, nudge=NUDGE, loop=None, pacing=None, **switching):
        settings = {"failures_before_reset": 1, "failures_after_nudge": 1, "ask_person": True, **switching}
        person = {name: settings[name] for name in ("ask_person", "person_deadline") if name in settings}
        super().__init__(pacing=pacing, switching=settings, loop={**person, **(loop or {})}, nudge=nudge)
        self.alternation.can_nudge = self.alternation.ladder.can_nudge = True

    def person(self):
        return self.take(self.loop.on_helped(self.now))


def test_a_nudge_is_an_episode_of_its_own_that_nobody_judges():
    bench = HelpedBench()
    bench.practice(paced=True, episodes=2)
    bench.loop.pace.begin(bench.now)
    events = bench.timeout()
    task = bench.task
    assert [type(event) for event in events][-2:] == [Note, PublishTask]
    assert (task.phase, task.direction, task.step_limit) == (Phase.INTERVENTION, Direction.NONE, 3)
    assert task.home and task.script == NUDGE
    for index in range(3):
        events = bench.step(index, actor=Actor.SCRIPT)
        assert index == 2 or events == [PublishPermit(task.episode_id, index + 1)], "no verdict is waited for"
    before = bench.plan.tally.nudges
    events = bench.step(3, last=True)
    closed, following = [event for event in events if isinstance(event, PublishEpisode | PublishTask)]
    assert (closed.outcome, closed.num_steps, closed.phase) == (Outcome.INTERVENTION, 3, Phase.INTERVENTION)
    assert (following.phase, following.home) == (Phase.FORWARD, True)
    tally = bench.plan.tally
    assert (before, tally.nudges, tally.episodes, tally.assisted_resets, tally.steps) == (0, 1, 1, 0, 7)


def test_a_success_verdict_does_not_end_a_nudge():
    bench = HelpedBench()
    bench.practice(episodes=2)
    bench.timeout()
    name = bench.task.episode_id
    bench.step(0)
    bench.take(bench.loop.on_verdict(name, 0, Verdict.SUCCESS, bench.now))
    bench.step(1)
    bench.take(bench.loop.on_verdict(name, 1, Verdict.SUCCESS, bench.now))
    assert bench.task.episode_id == name


def test_a_nudge_that_is_broken_off_is_made_again():
    bench = HelpedBench()
    bench.practice(episodes=2)
    bench.timeout()
    first = bench.task.episode_id
    bench.step(0)
    bench.step(1, last=True)
    assert bench.of(PublishEpisode)[-1].outcome == Outcome.ABORTED
    assert bench.task.phase == Phase.INTERVENTION and bench.task.episode_id != first
    assert bench.plan.tally.nudges == 0


def test_without_a_script_a_nudge_brings_the_arm_home():
    bench = HelpedBench(nudge=(), loop={"home": False})
    bench.practice(episodes=3)
    assert not bench.task.home
    bench.timeout()
    assert bench.task.home and bench.task.phase == Phase.FORWARD and bench.plan.tally.nudges == 1
    bench.alternation.ladder.resets = 0
    bench.success()
    assert not bench.task.home


def asked(**settings):
    """A bench in which a person has just been asked, since the scene cannot be reset."""
    bench = HelpedBench(max_nudges=0, **settings)
    bench.practice(episodes=2)
    bench.timeout()
    reset = bench.of(ResetScene)[-1]
    bench.take(bench.loop.on_reset(reset.ticket, False, "nobody serves scene/reset.", 0, bench.now))
    return bench


def test_a_person_is_asked_where_the_scene_cannot_be_reset_and_the_arm_gets_nothing_to_do():
    bench = asked()
    (ask,) = bench.of(AskPerson)
    assert (ask.direction, ask.instruction) == (Direction.FORWARD, TASK.forward_instruction)
    assert "nobody serves scene/reset" in ask.sentence and "the last episode failed" in ask.sentence
    assert f"“{TASK.forward_instruction}” starts" in ask.sentence
    assert bench.task.phase == Phase.IDLE and bench.loop.busy and bench.loop.waiting_for == ask.sentence
    bench.tick(3000)  # no deadline of steps, verdicts or resets runs meanwhile
    assert bench.of(Finished) == [] and bench.plan.tally.person_seconds == 3000
    bench.now += 600
    assert bench.alternation.failures_in_row == 1
    over, task = bench.person()
    assert over == StopAsking(helped=True) and bench.loop.waiting_for == ""
    assert bench.alternation.failures_in_row == 0
    assert (task.phase, task.home) == (Phase.FORWARD, True)
    tally = bench.plan.tally
    assert (tally.person_requests, tally.person_seconds, tally.assisted_resets) == (1, 3600, 0)
    bench.success()
    assert bench.of(PublishEpisode)[-1].assisted_reset_before
    bench.tick(1000)
    assert tally.person_seconds == 3600


def test_a_learner_that_fell_behind_while_a_person_was_waited_for_has_its_time():
    pacing = {"lockstep": True, "expect_learner": True, "warm_up_steps": 0, "learner_deadline": 30.0}
    bench = HelpedBench(max_nudges=0, pacing=pacing)

    def status(target):
        bench.loop.pace.on_status(LearnerState.TRAINING, 0, target, 0, "", bench.now)
        bench.take(bench.loop.on_learner_status(bench.now))

    status(0)
    bench.practice(paced=True, episodes=2)
    bench.timeout()
    bench.take(bench.loop.on_reset(bench.of(ResetScene)[-1].ticket, False, "", 0, bench.now))
    for _ in range(100):
        bench.tick(10.0)
        status(5000)
    bench.person()
    assert bench.both(0) == bench.tick(1.0) == []


def test_a_reset_without_an_answer_asks_too():
    bench = HelpedBench(max_nudges=0)
    bench.practice(episodes=3)
    bench.timeout()
    bench.tick(61)
    assert "was not reset within 60 s" in bench.of(AskPerson)[-1].sentence
    assert bench.tick(61) == []
    late = bench.of(ResetScene)[-1].ticket
    bench.person()
    bench.timeout()
    assert bench.of(ResetScene)[-1].ticket != late
    assert bench.take(bench.loop.on_reset(late, True, "", bench.stamp, bench.now)) == [], "the answer to another one"


def test_resets_that_do_not_help_ask():
    bench = HelpedBench(max_nudges=0, resets_before_person=1)
    bench.practice(episodes=4)
    bench.timeout()
    reset = bench.of(ResetScene)[-1]
    bench.take(bench.loop.on_reset(reset.ticket, True, "", bench.stamp, bench.now))
    bench.timeout()
    assert bench.of(AskPerson)[-1].sentence.startswith("The last episode failed.")
    assert len(bench.of(ResetScene)) == 1


def test_a_person_who_comes_unasked_changes_nothing():
    bench = HelpedBench()
    assert bench.person() == []
    bench.practice(episodes=2)
    assert bench.person() == []


def test_nobody_comes():
    bench = asked(person_deadline=100.0)
    assert bench.tick(99) == []
    events = bench.tick(2)
    assert StopAsking(helped=False) in events
    finished = bench.of(Finished)[-1]
    assert finished.error == ERROR_RESET_FAILED and "Nobody came" in finished.message
    assert bench.plan.tally.person_seconds == 101
    assert not bench.loop.busy and bench.person() == []
    assert asked(person_deadline=0.0).tick(1e7) == []


def test_a_goal_can_be_cancelled_while_a_person_is_waited_for():
    bench = asked()
    bench.now += 7
    events = bench.take(bench.loop.cancel(bench.now))
    assert StopAsking(helped=False) in events and bench.of(Finished)[-1].error == ERROR_CANCELED
    assert bench.plan.tally.person_seconds == 7


def test_a_trial_of_an_evaluation_can_be_prepared_by_a_person():
    bench = HelpedBench()
    bench.evaluate(trials=1)
    for direction in (Direction.FORWARD, Direction.BACKWARD):
        reset = bench.of(ResetScene)[-1]
        bench.take(bench.loop.on_reset(reset.ticket, False, "nobody serves scene/reset.", 0, bench.now))
        assert bench.of(AskPerson)[-1].direction == direction
        bench.person()
        bench.timeout()
    assert bench.of(Finished)[-1].error == 0 and bench.plan.trials_done == 2


@pytest.mark.parametrize("changed", [False, True])
def test_an_episode_in_which_nothing_changed_says_so(changed):
    bench = HelpedBench(failures_before_reset=0, still_episodes=1)
    bench.practice(episodes=2)
    name = bench.task.episode_id
    for index in range(5):
        bench.stamp += 1
        moved = changed and index == 2
        bench.take(bench.loop.on_step(name, index, index < 4, Actor.POLICY, bench.stamp, bench.now, True, moved))
        bench.verdict(index, Verdict.FAILURE, name)
    assert bench.plan.tally.still_episodes == (not changed)
    assert bench.task.direction == (Direction.FORWARD if changed else Direction.BACKWARD)
