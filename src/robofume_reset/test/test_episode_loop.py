"""The episode loop without ROS: orders of events, deadlines, and restarts."""

import dataclasses
import math

import numpy as np
import pytest
from loop_bench import TASK, Bench
from robofume_common.enums import Actor, ArmState, Direction, Outcome, Phase, Verdict
from robofume_reset.events import (
    Episode,
    FindSilent,
    Finished,
    Note,
    PublishEpisode,
    PublishPermit,
    PublishTask,
    ResetScene,
)
from robofume_reset.pacing import LearnerState
from robofume_reset.success_rule import SuccessRule
from robofume_reset.switching import EvaluationPlan

from robofume_reset import loop_config as el

S, F, U = Verdict.SUCCESS, Verdict.FAILURE, Verdict.UNKNOWN


def test_the_start_makes_everybody_idle():
    bench = Bench()
    assert bench.events == [PublishTask(Phase.IDLE, Direction.NONE, "", "", 0, False, 0)]
    assert bench.tick(100) == []


def test_a_permit_follows_its_verdict_and_not_before():
    bench = Bench()
    (task,) = bench.practice(episodes=1)
    assert (task.phase, task.direction, task.instruction) == (Phase.FORWARD, Direction.FORWARD, "go right")
    assert (task.step_limit, task.home, task.episode_id) == (4, True, "s-000001")
    assert bench.step(0) == []
    assert bench.verdict(0) == [PublishPermit("s-000001", 1)]
    assert bench.tick(1.0) == []


def test_the_verdict_may_arrive_before_its_step():
    bench = Bench()
    bench.practice(episodes=1)
    assert bench.verdict(0) == []
    assert bench.step(0) == [PublishPermit("s-000001", 1)]
    assert bench.verdict(1, S) == []
    events = bench.step(1)
    assert isinstance(events[0], PublishTask) and bench.of(PublishPermit) == [PublishPermit("s-000001", 1)]


def test_success_publishes_the_next_task_instead_of_the_permit_and_closes_after_the_last_verdict():
    bench = Bench()
    bench.practice(episodes=2)
    bench.both(0)
    first = bench.task.episode_id
    bench.step(1)
    (task,) = bench.verdict(1, S)
    assert (task.phase, task.instruction, task.episode_id) == (Phase.BACKWARD, "go left", "s-000002")
    assert bench.step(2, last=True, episode=first) == []
    (closed,) = bench.verdict(2, F, first)
    assert closed == PublishEpisode(
        first, Phase.FORWARD, Direction.FORWARD, "go right", 2, Outcome.SUCCESS, 1, False
    )


def test_the_next_episode_may_begin_before_the_last_verdict_of_the_old_one():
    bench = Bench()
    bench.practice(episodes=2)
    bench.both(0)
    first = bench.task.episode_id
    bench.both(1, S)
    bench.step(2, last=True, episode=first)
    assert bench.both(0) == [PublishPermit("s-000002", 1)]
    (closed,) = bench.verdict(2, S, first)
    assert closed.episode_id == first and closed.num_steps == 2


def test_success_at_index_zero_does_not_count():
    bench = Bench()
    bench.practice(episodes=1)
    assert bench.both(0, S) == [PublishPermit("s-000001", 1)]


def test_timeout_is_closed_by_its_last_verdict_and_then_the_next_task_comes():
    bench = Bench(switching={"max_repeats": 1})
    bench.practice(episodes=3)
    events = bench.timeout()
    assert [type(event) for event in events] == [PublishEpisode, PublishTask]
    assert (events[0].outcome, events[0].num_steps, events[0].success_index) == (Outcome.TIMEOUT, 4, -1)
    assert events[1].direction == Direction.FORWARD
    assert bench.timeout()[1].direction == Direction.BACKWARD
    assert len(bench.of(PublishPermit)) == 6  # 1, 2, 3 of each: the last step needs none


def test_success_on_the_very_last_step():
    bench = Bench()
    bench.practice(episodes=2)
    for index in range(4):
        bench.both(index)
    events = bench.both(4, S, last=True)
    assert (events[0].num_steps, events[0].outcome, events[0].success_index) == (4, Outcome.SUCCESS, 4)
    assert events[1].direction == Direction.BACKWARD


def test_success_before_the_last_step_whose_last_step_is_here_already():
    bench = Bench()
    bench.practice(episodes=2)
    for index in range(3):
        bench.both(index)
    bench.step(3)
    bench.step(4, last=True)
    assert bench.verdict(3, S) == []  # decided, but the verdict on the last step is awaited
    events = bench.verdict(4, S, "s-000001")
    assert (events[0].outcome, events[0].success_index, events[0].num_steps) == (Outcome.SUCCESS, 3, 4)
    assert events[1].direction == Direction.BACKWARD


def test_a_goal_ends_with_an_idle_task_and_finished():
    bench = Bench()
    bench.practice(episodes=1)
    bench.both(0)
    bench.step(1)
    (idle,) = bench.verdict(1, S)
    assert idle.phase == Phase.IDLE
    first = "s-000001"
    bench.step(2, last=True, episode=first)
    events = bench.verdict(2, S, first)
    assert [type(event) for event in events] == [PublishEpisode, Finished]
    assert events[1] == Finished(el.ERROR_NONE, "") and not bench.loop.busy
    bench.practice(episodes=1)
    assert bench.task.direction == Direction.BACKWARD and bench.task.episode_id == "s-000002"


def test_one_goal_runs_at_a_time_and_the_next_one_knows_nothing_of_its_steps():
    bench = Bench(loop={"start_deadline": 60.0, "step_deadline": 10.0})
    bench.practice(episodes=1)
    with pytest.raises(RuntimeError, match="a goal is running"):
        bench.practice(episodes=1)
    bench.stamp = 10**12
    bench.success()
    bench.practice(episodes=1)
    assert bench.task.stamp == 0, "the source may have been started again in between"
    assert bench.tick(59) == [], "its first step may take longer than the others"


def test_an_episode_is_of_the_task_that_was_planned():
    bench = Bench()
    bench.loop.task = dataclasses.replace(
        TASK, further_tasks=("lid",), further_forward=("lid on",), further_backward=("lid off",), further_after=("",)
    )
    bench.plan = EvaluationPlan(1, 3, bench.loop.task.pairs)
    bench.take(bench.loop.begin(bench.plan, bench.now))
    for _ in range(4):
        bench.take(bench.loop.on_reset(bench.of(ResetScene)[-1].ticket, True, "", bench.stamp, bench.now))
        bench.success()
    closed = [(one.task, one.instruction) for one in bench.of(PublishEpisode)]
    assert closed == [("line", "go right"), ("line", "go left"), ("lid", "lid on"), ("lid", "lid off")]


def test_a_step_goal_ends_with_the_episode_in_which_it_is_reached():
    bench = Bench()
    bench.practice(steps=5)
    bench.timeout()
    assert bench.loop.busy
    bench.timeout()
    assert not bench.loop.busy and bench.plan.tally.steps == 8


def test_no_permits_in_real_time():
    bench = Bench(pacing={"lockstep": False})
    bench.practice(episodes=2)
    bench.timeout()
    assert bench.of(PublishPermit) == [] and len(bench.of(PublishEpisode)) == 1


def test_late_verdicts_in_real_time_leave_room_for_more_steps():
    bench = Bench(pacing={"lockstep": False})
    bench.practice(episodes=2)
    for index in range(3):
        bench.step(index)
    first = "s-000001"
    bench.verdict(0)
    (task,) = bench.verdict(1, S)
    assert task.direction == Direction.BACKWARD
    bench.step(3, episode=first)  # the policy had not heard of the new task yet
    bench.step(4, last=True, episode=first)
    for index in (2, 3):
        assert bench.verdict(index, S, first) == []
    (closed,) = bench.verdict(4, S, first)
    assert (closed.num_steps, closed.success_index, closed.outcome) == (4, 1, Outcome.SUCCESS)
    assert bench.plan.tally.steps == 4


# Deadlines


def test_a_missing_verdict_is_unknown_after_its_deadline():
    bench = Bench(pacing={"lockstep": True, "verdict_deadline": 2.0})
    bench.practice(episodes=1)
    bench.step(0)
    assert bench.tick(1.9) == []
    assert bench.tick(0.2) == [PublishPermit("s-000001", 1)]


def test_several_missing_verdicts_in_a_row_end_the_goal():
    bench = Bench(pacing={"lockstep": True, "verdict_deadline": 2.0}, loop={"max_missing_verdicts": 3})
    bench.practice(episodes=1)
    for index in range(2):
        bench.step(index)
        assert bench.tick(2.1) == [PublishPermit("s-000001", index + 1)]
    bench.step(2)
    (idle,) = bench.tick(2.1)
    assert idle.phase == Phase.IDLE
    events = bench.step(3, last=True, episode="s-000001")
    assert (events[0].outcome, events[0].num_steps) == (Outcome.ABORTED, 3)
    assert events[1].error == el.ERROR_NO_VERDICTS and "reward node" in events[1].message


def test_the_verdict_on_the_last_step_may_be_the_missing_one_that_ends_the_goal():
    bench = Bench(pacing={"lockstep": True, "verdict_deadline": 2.0}, loop={"max_missing_verdicts": 1})
    bench.practice(episodes=5)
    for index in range(4):
        bench.both(index)
    bench.step(4, last=True)
    bench.tick(2.1)
    assert [finished.error for finished in bench.of(Finished)] == [el.ERROR_NO_VERDICTS]
    assert [closed.outcome for closed in bench.of(PublishEpisode)] == [Outcome.ABORTED]


def test_a_verdict_breaks_the_row_of_missing_ones():
    bench = Bench(pacing={"lockstep": True, "verdict_deadline": 2.0}, loop={"max_missing_verdicts": 2})
    bench.practice(steps=8)
    for _ in range(2):
        for index in range(4):
            bench.step(index)
            bench.verdict(index) if index % 2 else bench.tick(2.1)
        bench.both(4, last=True)
    assert bench.of(Finished) == [Finished(el.ERROR_NONE, "")]


def test_no_verdict_on_the_last_step_leaves_the_outcome_unknown_after_its_deadline():
    bench = Bench(pacing={"lockstep": True, "verdict_deadline": 2.0})
    bench.practice(episodes=1)
    for index in range(4):
        bench.both(index)
    bench.step(4, last=True)
    assert bench.tick(1.9) == []
    closed = bench.tick(0.2)[0]
    assert (closed.outcome, closed.num_steps, closed.success_index) == (Outcome.UNKNOWN, 4, -1)


def test_without_a_reward_node_nothing_waits_for_verdicts():
    bench = Bench(pacing={"lockstep": True, "expect_verdicts": False})
    bench.practice(episodes=1)
    assert [bench.step(index) for index in range(3)] == [[PublishPermit("s-000001", n)] for n in (1, 2, 3)]
    bench.step(3)
    assert bench.step(4, last=True)[0].outcome == Outcome.TIMEOUT
    bench.practice(episodes=1)
    for index in range(4):
        bench.both(index, U)
    assert bench.both(4, U, last=True)[0].outcome == Outcome.TIMEOUT


def test_silence_is_looked_into_and_ends_the_goal():
    bench = Bench(loop={"start_deadline": 60.0, "step_deadline": 10.0})
    bench.practice(episodes=5)
    assert bench.tick(59) == []
    assert bench.step(0) == []
    assert bench.tick(9) == [] and bench.loop.busy
    bench.verdict(0)
    assert bench.tick(9.9) == []
    (look,) = bench.tick(0.2)
    assert isinstance(look, FindSilent) and bench.tick(1) == []
    (idle,) = bench.take(bench.loop.on_silence("the camera is silent", bench.now))
    assert idle.phase == Phase.IDLE
    assert bench.tick(4.9) == []
    closed, finished = bench.tick(0.2)
    assert finished == Finished(el.ERROR_NO_OBSERVATIONS, "the camera is silent")
    # The last step never came: the newest one shows where the episode ended, without its action.
    assert (closed.outcome, closed.num_steps) == (Outcome.ABORTED, 0)


def test_a_silent_start_ends_the_goal_without_an_episode():
    bench = Bench()
    bench.practice(episodes=5)
    assert isinstance(bench.tick(60.1)[0], FindSilent)
    bench.take(bench.loop.on_silence("the camera is silent", bench.now))
    assert [type(event) for event in bench.tick(5.1)] == [Finished]
    assert bench.of(PublishEpisode) == []


def test_in_real_time_silence_counts_from_the_newest_step():
    bench = Bench(pacing={"lockstep": False, "verdict_deadline": 1000.0}, loop={"step_deadline": 10.0})
    bench.practice(episodes=5)
    for index in range(3):
        assert bench.step(index) == bench.tick(8.0) == []
    assert isinstance(bench.tick(2.1)[0], FindSilent)


def test_a_step_during_the_search_calls_it_off():
    bench = Bench(loop={"start_deadline": 5.0})
    bench.practice(episodes=5)
    bench.tick(5.1)
    bench.step(0)
    assert bench.loop.on_silence("nobody", bench.now) == [] and bench.loop.busy


def test_waiting_for_a_verdict_or_the_learner_is_not_silence():
    pacing = {"lockstep": True, "expect_learner": True, "warm_up_steps": 0, "update_slack": 0}
    bench = Bench(pacing={**pacing, "verdict_deadline": 1000.0}, loop={"step_deadline": 10.0})
    status(bench)
    bench.practice(paced=True, episodes=5)
    bench.step(0)
    for _ in range(10):
        status(bench)
        assert bench.tick(5.0) == []


def status(bench, updates=0, target=0, steps=0, state=LearnerState.WAITING):
    bench.loop.pace.on_status(state, updates, target, steps, "message", bench.now)
    return bench.take(bench.loop.on_learner_status(bench.now))


# Learner


def test_practice_begins_when_the_learner_is_ready_and_steps_wait_for_its_updates():
    pacing = {"lockstep": True, "expect_learner": True, "warm_up_steps": 0, "update_slack": 0, "updates_per_step": 1.0}
    bench = Bench(pacing=pacing)
    assert bench.practice(paced=True, episodes=5) == []
    status(bench, state=LearnerState.LOADING)
    bench.tick(1)
    assert bench.task.phase == Phase.IDLE
    (task,) = status(bench)
    assert task.phase == Phase.FORWARD
    assert bench.both(0) == []
    assert status(bench, updates=0, target=1, steps=1) == []
    assert status(bench, updates=1, target=1, steps=1) == [PublishPermit("s-000001", 1)]


def test_evaluation_does_not_wait_for_the_learner():
    bench = Bench(pacing={"lockstep": True, "expect_learner": True})
    bench.evaluate()
    (reset,) = bench.of(ResetScene)
    bench.take(bench.loop.on_reset(reset.ticket, True, "", 5, bench.now))
    assert bench.both(0) == [PublishPermit("s-000001", 1)]


@pytest.mark.parametrize("lockstep", [True, False])
def test_a_failed_learner_ends_the_goal(lockstep):
    bench = Bench(pacing={"lockstep": lockstep, "expect_learner": True})
    status(bench)
    bench.practice(paced=True, episodes=5)
    bench.both(0)
    bench.step(1)
    (idle,) = status(bench, state=LearnerState.FAILED)
    assert idle.phase == Phase.IDLE
    finished = bench.step(2, last=True, episode="s-000001")[-1]
    assert finished.error == el.ERROR_NO_LEARNER and "message" in finished.message


def test_a_learner_that_never_comes_ends_the_goal():
    bench = Bench(pacing={"lockstep": True, "expect_learner": True, "learner_deadline": 30.0})
    bench.now += 1000.0  # nobody waited for it before the goal
    bench.practice(paced=True, episodes=5)
    assert bench.tick(29) == []
    assert bench.tick(2)[-1].error == el.ERROR_NO_LEARNER


# Restarts and interruptions


def test_a_restarted_policy_aborts_the_episode_and_it_is_run_again():
    bench = Bench()
    bench.practice(episodes=1)
    bench.both(0)
    bench.both(1)
    note, task = bench.step(0)
    assert isinstance(note, Note) and "restarted" in note.sentence
    assert (task.direction, task.episode_id) == (Direction.FORWARD, "s-000002")
    (closed,) = bench.step(1, last=True, episode="s-000001")
    assert (closed.outcome, closed.num_steps) == (Outcome.ABORTED, 2)
    bench.success()
    assert bench.of(Finished) == [Finished(el.ERROR_NONE, "")]
    assert bench.plan.tally.episodes == 1 and bench.alternation.failures_in_row == 0


def test_the_newest_step_again_changes_nothing_and_brings_a_lost_permit_back():
    bench = Bench()
    bench.practice(episodes=1)
    bench.step(0)
    bench.stamp -= 1
    assert bench.step(0) == []  # its verdict is still to come
    (permit,) = bench.verdict(0)
    bench.stamp -= 1
    assert bench.step(0) == [permit]
    bench.both(1, S)
    bench.step(2, last=True, episode="s-000001")
    assert isinstance(bench.verdict(2, S, "s-000001")[0], PublishEpisode)
    bench.stamp -= 1
    assert bench.step(2, last=True, episode="s-000001") == []
    assert bench.plan.tally.episodes == 1


def test_a_lost_step_aborts_the_episode():
    bench = Bench()
    bench.practice(episodes=1)
    bench.both(0)
    assert isinstance(bench.step(2)[0], Note) and bench.task.episode_id == "s-000002"


def test_a_stamp_that_goes_back_aborts_the_episode():
    bench = Bench()
    bench.practice(episodes=1)
    bench.stamp = 100
    bench.both(0)
    bench.stamp = 3
    assert isinstance(bench.step(1)[0], Note)
    assert bench.task.stamp == 101, "a little back: messages that overtook each other"


def test_a_source_that_starts_again_is_asked_for_its_own_time():
    bench = Bench()
    bench.practice(episodes=1)
    bench.stamp = 60 * 10**9
    bench.both(0)
    bench.stamp = 3
    assert isinstance(bench.step(1)[0], Note)
    assert (bench.task.episode_id, bench.task.stamp) == ("s-000002", 4)
    bench.step(2, last=True, episode="s-000001")
    bench.success()
    assert bench.of(Finished) == [Finished(el.ERROR_NONE, "")]


def test_an_episode_that_the_policy_ends_before_its_time_is_aborted():
    bench = Bench()
    bench.practice(episodes=1)
    bench.both(0)
    note, closed, task = bench.step(1, last=True)
    assert isinstance(note, Note) and "early" in note.sentence
    assert (closed.outcome, closed.num_steps, task.direction) == (Outcome.ABORTED, 1, Direction.FORWARD)
    assert bench.plan.tally.episodes == 0


@pytest.mark.parametrize("between", [Bench.success, Bench.timeout])
def test_episodes_that_are_broken_off_now_and_then_do_not_end_the_goal(between):
    bench = Bench(loop={"max_aborts": 2})
    bench.practice(episodes=9)
    for _ in range(3):
        name = bench.task.episode_id
        bench.both(0)
        bench.step(0)
        bench.step(1, last=True, episode=name)
        between(bench)
    assert bench.loop.busy and bench.plan.tally.episodes == 3


def test_a_step_after_the_last_one_is_of_no_episode():
    bench = Bench()
    bench.practice(episodes=2)
    first = bench.task.episode_id
    bench.both(0)
    bench.both(1, S)
    bench.step(2, last=True, episode=first)
    assert bench.step(2, episode=first) == []
    assert bench.verdict(2, S, first)[0].num_steps == 2 and bench.plan.tally.steps == 2


def test_what_is_followed_and_what_is_open_is_told():
    bench = Bench()
    assert (bench.loop.instruction, bench.loop.open_episodes) == ("", [])
    bench.practice(episodes=2)
    bench.both(0)
    bench.both(1, S)
    assert bench.loop.instruction == "go left"
    assert [episode.episode_id for episode in bench.loop.open_episodes] == ["s-000002"]


def test_the_first_reason_to_end_counts_and_without_a_goal_nothing_ends():
    bench = Bench()
    assert bench.take(bench.loop.cancel(bench.now)) == []
    bench.practice(episodes=1)
    assert bench.task.phase == Phase.FORWARD
    bench.both(0)
    bench.take(bench.loop.on_arm_status(ArmState.STOPPED, "overload", bench.now))
    bench.take(bench.loop.cancel(bench.now))
    bench.step(1, last=True, episode="s-000001")
    assert [finished.error for finished in bench.of(Finished)] == [el.ERROR_ARM_STOPPED]


def test_a_policy_that_breaks_off_again_and_again_ends_the_goal():
    bench = Bench(loop={"max_aborts": 3})
    bench.practice(episodes=1)
    for _ in range(3):
        bench.both(0)
        bench.step(0)
        bench.tick(5.1)
    assert bench.of(Finished)[0].error == el.ERROR_NO_OBSERVATIONS
    assert [closed.outcome for closed in bench.of(PublishEpisode)] == [Outcome.ABORTED] * 3


def test_cancelling_is_calm():
    bench = Bench()
    bench.practice(episodes=5)
    bench.both(0)
    (idle,) = bench.take(bench.loop.cancel(bench.now))
    assert idle.phase == Phase.IDLE
    assert bench.loop.cancel(bench.now) == []
    closed, finished = bench.step(1, last=True, episode="s-000001")
    assert (closed.outcome, closed.num_steps, finished.error) == (Outcome.ABORTED, 1, el.ERROR_CANCELED)
    assert bench.plan.tally.episodes == 0


def test_cancelling_when_a_success_is_being_closed_keeps_the_success():
    bench = Bench()
    bench.practice(episodes=5)
    bench.both(0)
    bench.both(1, S)
    bench.take(bench.loop.cancel(bench.now))
    bench.step(2, last=True, episode="s-000001")
    bench.verdict(2, S, "s-000001")
    bench.step(0, last=True, episode="s-000002")
    outcomes = {closed.episode_id: closed.outcome for closed in bench.of(PublishEpisode)}
    assert outcomes == {"s-000001": Outcome.SUCCESS, "s-000002": Outcome.ABORTED}
    assert bench.of(Finished)[0].error == el.ERROR_CANCELED


def test_cancelling_during_a_reset():
    bench = Bench()
    bench.evaluate()
    (reset,) = bench.of(ResetScene)
    assert [type(event) for event in bench.take(bench.loop.cancel(bench.now))] == [Finished]
    assert bench.loop.on_reset(reset.ticket, True, "", 0, bench.now) == []


def test_cancelling_nothing():
    assert Bench().loop.cancel(1.0) == []


def test_a_stopped_arm_ends_the_goal():
    bench = Bench()
    assert bench.loop.on_arm_status(ArmState.STOPPED, "torque", 0.0) == []
    bench.practice(episodes=5)
    bench.both(0)
    assert bench.take(bench.loop.on_arm_status(ArmState.HOLDING, "", bench.now)) == []
    bench.take(bench.loop.on_arm_status(ArmState.STOPPED, "torque", bench.now))
    bench.step(1, last=True, episode="s-000001")
    assert bench.of(Finished)[0].error == el.ERROR_ARM_STOPPED and "torque" in bench.of(Finished)[0].message


def test_a_success_without_a_last_step_is_closed_after_a_deadline():
    bench = Bench()
    bench.practice(episodes=1)
    bench.both(0)
    bench.both(1, S)
    closed, finished = bench.tick(5.1)
    assert (closed.outcome, closed.success_index, closed.num_steps) == (Outcome.SUCCESS, 1, 1)
    assert finished.error == el.ERROR_NONE


def test_a_restarted_switcher_goes_on_counting_and_closes_what_it_left_open():
    left = Episode("s-000041", Phase.BACKWARD, Direction.BACKWARD, "go left", False, 0.0)
    bench = Bench(episodes_started=41, abandoned=(left,))
    assert bench.task.phase == Phase.IDLE
    assert bench.step(6, episode="s-000041") == []  # the policy had not heard of it yet
    (closed,) = bench.step(7, last=True, episode="s-000041")
    assert (closed.episode_id, closed.outcome, closed.num_steps) == ("s-000041", Outcome.ABORTED, 7)
    assert bench.step(7, last=True, episode="s-000041") == []
    bench.practice(episodes=1)
    assert bench.task.episode_id == "s-000042"


def test_an_episode_is_open_until_it_is_decided_and_what_is_to_be_said_of_it_is_known_from_then_on():
    bench = Bench()
    bench.practice(episodes=2)
    bench.both(0)
    bench.both(1, S)
    assert [episode.episode_id for episode in bench.loop.open_episodes] == ["s-000002"]
    (end,) = bench.loop.unclosed
    assert (end.episode_id, end.outcome, end.success_index, end.num_steps) == ("s-000001", Outcome.SUCCESS, 1, 1)
    bench.step(2, last=True, episode="s-000001")
    (end,) = bench.loop.unclosed
    assert end.num_steps == 2, "its last step is there"
    assert bench.verdict(2, S, "s-000001") == [end]
    assert bench.loop.unclosed == [] and len(bench.loop.open_episodes) == 1


# Resets


def test_failures_in_a_row_reset_the_scene_and_the_next_episode_says_so():
    bench = Bench(switching={"failures_before_reset": 2, "max_repeats": 5})
    bench.practice(episodes=3)
    bench.timeout()
    _closed, note, idle, reset = bench.timeout()
    assert "the last 2 episodes failed" in note.sentence
    assert (idle.phase, reset.direction, reset.seed) == (Phase.IDLE, Direction.FORWARD, 0)
    (task,) = bench.take(bench.loop.on_reset(reset.ticket, True, "", 777, bench.now))
    assert task.stamp == 777
    bench.stamp = 777
    closed = bench.timeout()[0]
    assert closed.assisted_reset_before and bench.plan.tally.assisted_resets == 1
    assert not bench.of(PublishEpisode)[0].assisted_reset_before


def test_a_success_before_a_due_reset_is_closed_in_idle_first():
    bench = Bench(switching={"reset_every": 1})
    bench.practice(episodes=2)
    bench.both(0)
    bench.step(1)
    (idle,) = bench.verdict(1, S)
    assert idle.phase == Phase.IDLE
    bench.step(2, last=True, episode="s-000001")
    closed, reset = bench.verdict(2, S, "s-000001")
    assert isinstance(closed, PublishEpisode) and reset.direction == Direction.BACKWARD


@pytest.mark.parametrize("answered", [True, False])
def test_a_reset_that_fails_ends_the_goal(answered):
    bench = Bench(loop={"reset_deadline": 5.0})
    bench.evaluate()
    (reset,) = bench.of(ResetScene)
    if answered:
        events = bench.take(bench.loop.on_reset(reset.ticket, False, "the drawer is stuck", 0, bench.now))
        assert "drawer" in events[-1].message
    else:
        assert bench.tick(4.9) == []
        events = bench.tick(0.2)
    assert events[-1].error == el.ERROR_RESET_FAILED
    assert bench.loop.on_reset(reset.ticket, True, "", 0, bench.now) == []


def test_a_trial_tells_the_share_of_the_goal_that_was_reached_at_its_end():
    bench = Bench()
    bench.evaluate(trials=1)
    for last, verdict, shares in ((2, S, (0.5, 0.25, 1.0)), (4, F, (0.0, 0.5, 0.75, 0.5, math.nan))):
        bench.take(bench.loop.on_reset(bench.of(ResetScene)[-1].ticket, True, "", bench.stamp, bench.now))
        episode = bench.task.episode_id
        for index, share in enumerate(shares):
            bench.step(index, index == 4, episode)
            bench.verdict(index, verdict if index == last else F, episode, score=share)
        if verdict == S:
            bench.step(3, True, episode)
            bench.verdict(3, F, episode, score=0.1)  # the arm has only shown the scene: that of the success counts
    assert not bench.loop.busy
    assert bench.plan.scores(Direction.FORWARD) == [1.0]
    assert [math.isnan(score) for score in bench.plan.scores(Direction.BACKWARD)] == [True]  # nobody told the last one


def test_evaluation_resets_before_every_trial_and_aborted_trials_are_run_again():
    bench = Bench()
    bench.evaluate(trials=2, seed=3)
    seeds = []
    for trial in range(5):
        reset = bench.of(ResetScene)[-1]
        seeds.append((reset.direction, reset.seed))
        bench.take(bench.loop.on_reset(reset.ticket, True, "", bench.stamp, bench.now))
        assert bench.task.phase == Phase.EVALUATION
        if trial == 1:  # the policy restarts
            bench.both(0)
            bench.step(0)
            bench.step(1, last=True, episode=f"s-{trial + 1:06d}")
        elif trial % 2:
            bench.timeout()
        else:
            bench.success()
    assert not bench.loop.busy and seeds[1] == seeds[2] and len(set(seeds)) == 4
    assert bench.plan.trials_done == 4 and bench.of(Finished) == [Finished(el.ERROR_NONE, "")]


def test_interventions_are_counted_once_per_takeover():
    bench = Bench()
    bench.practice(episodes=1)
    for index, actor in enumerate((Actor.POLICY, Actor.PERSON, Actor.PERSON, Actor.POLICY)):
        bench.step(index, actor=actor)
        bench.verdict(index)
    assert bench.plan.tally.interventions == 1


def test_random_runs_keep_their_promises():
    """A policy and a reward node that answer in any order and at any delay: nothing is lost, doubled or forgotten."""
    for seed in range(40):
        random = np.random.default_rng(seed)
        lockstep = bool(seed % 2)
        bench = Bench(pacing={"lockstep": lockstep}, switching={"max_repeats": 1, "failures_before_reset": 3})
        bench.practice(episodes=25)
        done, queue, steps = 0, [], {}
        episode, index, permit = None, 0, 0
        last_of, waiting = {}, []
        while bench.loop.busy:
            assert len(bench.events) < 5000
            for event in bench.events[done:]:
                done += 1
                if isinstance(event, PublishTask):
                    if episode and episode.episode_id not in last_of:
                        waiting.append((episode, index))
                    episode, index, permit = (event if event.phase else None), 0, 0
                elif isinstance(event, PublishPermit) and episode and event.episode_id == episode.episode_id:
                    permit = event.index
                elif isinstance(event, ResetScene):
                    queue.append((bench.loop.on_reset, event.ticket, True, "", bench.stamp))
            choice = random.integers(0, 3)
            if waiting and choice == 0:
                old, last = waiting.pop(0)
                last_of[old.episode_id] = last
                bench.step(last, True, old.episode_id)
                queue.append((bench.loop.on_verdict, old.episode_id, last, F))
            elif episode and choice == 1 and not waiting and episode.episode_id not in last_of:
                if index == 4:
                    last_of[episode.episode_id] = 4
                    bench.step(4, True)
                elif not lockstep or index <= permit:
                    steps[episode.episode_id] = steps.get(episode.episode_id, 0) + 1
                    bench.step(index)
                else:
                    continue
                verdict = S if random.random() < 0.15 else F
                queue.append((bench.loop.on_verdict, episode.episode_id, index, verdict))
                index += 1
            elif queue and choice == 2:
                call, *arguments = queue.pop(0)
                bench.take(call(*arguments, bench.now))
            bench.tick(0.001)
        closed = bench.of(PublishEpisode)
        assert len(closed) == len({one.episode_id for one in closed}) == 25
        assert all(one.num_steps == steps.get(one.episode_id, 0) == last_of[one.episode_id] for one in closed)
        assert all((one.success_index >= 1) == (one.outcome == Outcome.SUCCESS) for one in closed)
        assert bench.plan.tally.steps == sum(steps.values())
        assert [one.assisted_reset_before for one in closed].count(True) == bench.plan.tally.assisted_resets
        assert bench.of(Finished) == [Finished(el.ERROR_NONE, "")]


PARK = (Phase.IDLE, Direction.NONE, "", "", 0, True)


def candidate(bench):
    """A success judged on step 1, to be confirmed; returns the episode's id."""
    name = bench.task.episode_id
    assert bench.task.step_limit == 0
    bench.both(0)
    assert bench.both(1, S) == [PublishTask(*PARK, bench.stamp)]
    return name


def unnoticed(bench):
    """No success verdict up to the step limit; returns the episode's id."""
    name = bench.task.episode_id
    for index in range(3):
        bench.both(index)
    events = bench.step(3) + bench.verdict(3, F, name)
    assert events == [PublishTask(*PARK, bench.stamp)]
    return name


@pytest.mark.parametrize(("ending", "steps"), [(candidate, 2), (unnoticed, 4)])
def test_a_success_is_what_is_judged_one_from_home(ending, steps):
    bench = Bench(loop={"confirm": True})
    bench.practice(episodes=2)
    name = ending(bench)
    assert bench.step(steps, True, name) == []
    closed, task = bench.verdict(steps, S, name)
    assert (closed.outcome, closed.num_steps, closed.success_index) == (Outcome.SUCCESS, steps, steps)
    assert (task.direction, task.home) == (Direction.BACKWARD, False)


@pytest.mark.parametrize(("ending", "steps"), [(candidate, 2), (unnoticed, 4)])
@pytest.mark.parametrize(("verdict", "outcome"), [(F, Outcome.TIMEOUT), (U, Outcome.UNKNOWN)])
def test_a_success_that_is_not_confirmed_is_a_failure_or_unknown(ending, steps, verdict, outcome):
    bench = Bench(loop={"confirm": True})
    bench.practice(episodes=2)
    name = ending(bench)
    bench.step(steps, True, name)
    closed, task = bench.verdict(steps, verdict, name)
    assert (closed.outcome, closed.num_steps, closed.success_index) == (outcome, steps, -1)
    assert (task.direction, task.home) == (Direction.FORWARD, False)


def test_a_success_before_the_arm_went_home_confirms_nothing():
    bench = Bench(loop={"confirm": True})
    bench.practice(episodes=2)
    bench.both(0)
    bench.verdict(1, S)
    bench.step(1, last=True)
    assert [closed.outcome for closed in bench.of(PublishEpisode)] == [Outcome.ABORTED]


def test_a_confirmation_that_never_comes_ends_the_goal_or_leaves_the_outcome_unknown():
    bench = Bench(loop={"confirm": True, "step_deadline": 20.0})
    bench.practice(episodes=1)
    bench.both(0)
    bench.step(1)
    bench.tick(9.0)
    bench.verdict(1, S)
    assert bench.tick(19.0) == [], "it is on its way since the verdict"
    assert [type(event) for event in bench.tick(2.0)] == [FindSilent]

    bench = Bench(pacing={"lockstep": True, "verdict_deadline": 10.0}, loop={"confirm": True})
    bench.practice(episodes=1)
    bench.step(2, True, candidate(bench))
    bench.tick(11.0)
    (closed,) = bench.of(PublishEpisode)
    assert closed.outcome == Outcome.UNKNOWN


def test_what_the_gripper_holds_is_no_success():
    bench = Bench(loop={"confirm": True, "success_needs_open_gripper": True})
    bench.practice(episodes=2)
    name = bench.task.episode_id
    for index in range(3):
        bench.step(index, let_go=False)
        bench.verdict(index, S, name)  # held in the right place
        assert bench.task.episode_id == name
    bench.step(3, let_go=False)
    assert bench.task == PublishTask(*PARK, bench.stamp)
    bench.step(4, True, name)
    closed = bench.verdict(4, S, name)[0]  # homing has dropped it there
    assert (closed.outcome, closed.success_index) == (Outcome.TIMEOUT, -1)

    name = bench.task.episode_id
    bench.step(0, let_go=False)
    bench.both(1)  # opens
    assert bench.both(2, S) == [PublishTask(*PARK, bench.stamp)]
    bench.step(3, True, name)
    assert bench.verdict(3, S, name)[0].outcome == Outcome.SUCCESS


def test_where_the_gripper_may_be_closed_what_it_holds_is_a_success():
    bench = Bench()
    bench.practice(episodes=2)
    bench.both(0)
    bench.step(1, let_go=False)
    (task,) = bench.verdict(1, S)
    assert task.direction == Direction.BACKWARD


def test_what_homing_drops_in_the_right_place_is_no_success_but_the_other_direction_comes_next():
    bench = Bench(loop={"confirm": True, "success_needs_open_gripper": True}, switching={"failures_before_reset": 2})
    bench.practice(episodes=6)
    directions = []
    for _ in range(4):
        name = bench.task.episode_id
        directions.append(bench.task.direction)
        for index in range(4):
            bench.step(index, let_go=False)
            bench.verdict(index, F, name)
        bench.step(4, True, name)
        bench.verdict(4, S, name)
    assert [closed.outcome for closed in bench.of(PublishEpisode)] == [Outcome.TIMEOUT] * 4
    assert directions == [Direction.FORWARD, Direction.BACKWARD] * 2
    assert not bench.of(ResetScene)  # the scene is never in the way
    assert bench.alternation.total.forward_successes == bench.alternation.total.forced_switches == 0


def test_a_person_may_call_what_is_held_a_success():
    bench = Bench(loop={"success_needs_open_gripper": True})
    bench.practice(episodes=1)
    name = bench.task.episode_id
    for index in range(3):
        bench.step(index, let_go=False)
        bench.verdict(index, S, name)
    assert bench.task.episode_id == name
    bench.verdict(2, S, name, by_person=True)
    bench.step(3, True, name)
    bench.verdict(3, S, name)
    (closed,) = bench.of(PublishEpisode)
    assert (closed.outcome, closed.success_index) == (Outcome.SUCCESS, 2)


@pytest.mark.parametrize("verdict", [F, U])
def test_after_a_call_that_home_denies_the_next_attempt_goes_to_the_step_limit(verdict):
    bench = Bench(loop={"confirm": True})
    bench.practice(episodes=9)
    bench.step(2, True, candidate(bench))
    bench.verdict(2, verdict, bench.of(PublishTask)[-2].episode_id)
    name = bench.task.episode_id
    for index in range(3):  # the same scene deceives the judge again: nobody goes home for it
        assert PublishTask(*PARK, bench.stamp) not in bench.both(index, S)
    assert bench.step(3) + bench.verdict(3, S, name) == [PublishTask(*PARK, bench.stamp)]
    bench.step(4, True, name)
    bench.verdict(4, F, name)
    bench.step(2, True, candidate(bench))  # which was heard again


@pytest.mark.parametrize("ending", ["success", "reset"])
def test_after_a_success_or_a_reset_every_call_is_heard(ending):
    bench = Bench(loop={"confirm": True}, switching={"failures_before_reset": 1 if ending == "reset" else 9})
    bench.practice(episodes=9)
    name = candidate(bench)
    bench.step(2, True, name)
    bench.verdict(2, S if ending == "success" else F, name)
    if ending == "reset":
        bench.take(bench.loop.on_reset(bench.of(ResetScene)[-1].ticket, True, "", bench.stamp, bench.now))
    assert bench.task.direction == (Direction.BACKWARD if ending == "success" else Direction.FORWARD)
    candidate(bench)


def test_a_policy_that_starts_again_on_the_way_home_homes_again():
    bench = Bench(loop={"confirm": True})
    bench.practice(episodes=2)
    name = candidate(bench)
    bench.step(0, episode=name)
    assert bench.task.home and bench.task.episode_id != name


def test_a_policy_that_is_started_again_on_the_way_home_costs_one_episode():
    bench = Bench(loop={"confirm": True, "step_deadline": 20.0, "close_deadline": 5.0})
    bench.practice(episodes=2)
    name = candidate(bench)  # the new policy finds an idle task, and has no episode to end
    assert [type(event) for event in bench.tick(21.0)] == [FindSilent]
    note, task = bench.take(bench.loop.on_silence("the policy node acts on none of them.", bench.now))
    assert isinstance(note, Note) and bench.of(Finished) == []
    assert task.home and task.direction == Direction.FORWARD and task.episode_id != name
    (closed,) = bench.tick(5.1)
    assert (closed.episode_id, closed.outcome, closed.num_steps) == (name, Outcome.ABORTED, 1)
    bench.step(2, True, candidate(bench))
    assert bench.verdict(2, S, "s-000002")[0].outcome == Outcome.SUCCESS


def test_silence_on_the_way_home_that_goes_on_ends_the_goal():
    bench = Bench(loop={"confirm": True, "step_deadline": 20.0})
    bench.practice(episodes=2)
    candidate(bench)
    bench.tick(21.0)
    bench.take(bench.loop.on_silence("the camera is silent", bench.now))
    assert [type(event) for event in bench.tick(6.0)] == [PublishEpisode]
    assert [type(event) for event in bench.tick(15.0)] == [FindSilent]
    bench.take(bench.loop.on_silence("the camera is silent", bench.now))
    bench.tick(6.0)
    assert bench.of(Finished) == [Finished(el.ERROR_NO_OBSERVATIONS, "the camera is silent")]


def test_a_cancelled_goal_homes_again():
    bench = Bench(loop={"confirm": True})
    bench.practice(episodes=5)
    name = candidate(bench)
    bench.take(bench.loop.cancel(bench.now))
    bench.step(2, True, name)
    assert bench.of(PublishEpisode)[-1].outcome == Outcome.ABORTED
    bench.practice(episodes=1)
    assert bench.task.home


def test_a_success_that_was_there_from_the_start_does_not_hide_failures():
    bench = Bench(switching={"max_repeats": 0, "failures_before_reset": 2}, rule=SuccessRule(min_episode_steps=1))
    bench.practice(episodes=9)
    bench.timeout()
    name = bench.task.episode_id
    assert bench.task.direction == Direction.BACKWARD
    bench.both(0, S)  # nothing to do: the objects never left
    bench.both(1, S)
    bench.step(2, True, name)
    bench.verdict(2, S, name)
    assert not bench.of(ResetScene)
    bench.timeout()
    assert len(bench.of(ResetScene)) == 1


def unclear(bench):
    """An episode up to the step limit on whose last step the judge has no answer."""
    for index in range(4):
        bench.both(index)
    return bench.both(4, U, last=True)


def test_unknown_steps_before_a_known_last_one_leave_a_failure():
    bench = Bench()
    bench.practice(episodes=1)
    for index in range(4):
        bench.both(index, U)
    assert bench.both(4, F, last=True)[0].outcome == Outcome.TIMEOUT


def test_a_person_who_knows_before_the_end_decides():
    bench = Bench(pacing={"lockstep": True, "verdict_deadline": 2.0})
    bench.practice(episodes=1)
    for index in range(4):
        bench.both(index)
    bench.step(4, last=True)
    assert bench.verdict(4, F, "s-000001", by_person=True)[0].outcome == Outcome.TIMEOUT


def test_unknown_ends_ask_for_a_reset_with_a_sentence_and_then_end_the_goal():
    bench = Bench(switching={"unknowns_before_reset": 2, "max_repeats": 0}, loop={"max_unknown_episodes": 5})
    bench.practice(episodes=50)
    for number in range(5):
        assert bench.task.direction == Direction.FORWARD  # never turned round
        events = unclear(bench)
        assert events[0].outcome == Outcome.UNKNOWN
        if number in (1, 3):
            note, _, reset = events[1:]
            assert "could not say how the last 2 episodes ended" in note.sentence
            bench.take(bench.loop.on_reset(reset.ticket, True, "", bench.stamp, bench.now))
    finished = bench.of(Finished)[-1]
    assert finished.error == el.ERROR_NO_VERDICTS and "how 5 episodes in a row ended" in finished.message
    assert [closed.outcome for closed in bench.of(PublishEpisode)] == [Outcome.UNKNOWN] * 5
    tally = bench.plan.tally
    assert (tally.episodes, tally.unknown_episodes, tally.forward_episodes, tally.assisted_resets) == (5, 5, 0, 2)
    assert not bench.loop.busy and bench.task.phase == Phase.IDLE
    bench.practice(episodes=1)  # a new goal counts anew
    unclear(bench)
    assert bench.of(Finished)[-1] == Finished(el.ERROR_NONE, "")


def test_a_known_end_breaks_the_row_of_unknown_ones():
    bench = Bench(switching={"unknowns_before_reset": 0}, loop={"max_unknown_episodes": 2})
    bench.practice(episodes=7)
    for number in range(7):
        bench.timeout() if number % 2 else unclear(bench)
    assert bench.of(Finished) == [Finished(el.ERROR_NONE, "")]


def test_where_nobody_resets_the_scene_the_sentence_says_why_it_was_due():
    bench = Bench(switching={"unknowns_before_reset": 1})
    bench.practice(episodes=5)
    reset = unclear(bench)[-1]
    bench.take(bench.loop.on_reset(reset.ticket, False, "nobody serves scene/reset.", 0, bench.now))
    message = bench.of(Finished)[-1].message
    assert "could not say how the last episode ended" in message and "nobody serves" in message


def test_a_trial_that_could_not_be_judged_is_run_again_from_the_same_start():
    bench = Bench()
    bench.evaluate(trials=1, seed=3)
    seeds = []
    for ending in (unclear, Bench.timeout, Bench.timeout):
        reset = bench.of(ResetScene)[-1]
        seeds.append((reset.direction, reset.seed))
        bench.take(bench.loop.on_reset(reset.ticket, True, "", bench.stamp, bench.now))
        ending(bench)
    assert seeds[0] == seeds[1] != seeds[2] and bench.of(Finished) == [Finished(el.ERROR_NONE, "")]
    assert bench.plan.successes(Direction.FORWARD) == bench.plan.successes(Direction.BACKWARD) == [False]


@pytest.mark.parametrize(
    ("verdict", "by_person", "outcome"),
    [(U, False, Outcome.TIMEOUT), (U, True, Outcome.UNKNOWN), (F, True, Outcome.TIMEOUT), (S, True, Outcome.SUCCESS)],
)
def test_where_a_person_calls_the_successes_an_uncalled_end_is_a_failure(verdict, by_person, outcome):
    bench = Bench(pacing={"lockstep": False}, loop={"uncalled_is_failure": True})
    bench.practice(episodes=1)
    for index in range(4):
        bench.both(index, U)
    bench.step(4, last=True)
    assert bench.verdict(4, verdict, "s-000001", by_person=by_person)[0].outcome == outcome
