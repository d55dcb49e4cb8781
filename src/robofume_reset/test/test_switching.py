"""Which episode comes next."""

import math

import pytest
from robofume_common.enums import Direction, Outcome, Phase, Verdict
from robofume_common.errors import RobofumeError
from robofume_reset.success_rule import SuccessRule
from robofume_reset.switching import (
    Alternation,
    EpisodeResult,
    EvaluationPlan,
    PracticeGoal,
    PracticePlan,
    SwitchingConfig,
    Tally,
    trial_seed,
)

FORWARD, BACKWARD = Direction.FORWARD, Direction.BACKWARD
S, F, U = Verdict.SUCCESS, Verdict.FAILURE, Verdict.UNKNOWN


def result(direction, success, steps=10):
    outcome = Outcome.SUCCESS if success else Outcome.TIMEOUT
    return EpisodeResult(direction, outcome, steps, steps - 1 if success else -1)


def unknown(direction, steps=10):
    return EpisodeResult(direction, Outcome.UNKNOWN, steps, -1)


def play(alternation, successes):
    """Run episodes with the given successes; returns directions taken and where a reset was asked for."""
    directions, resets = [], []
    for number, success in enumerate(successes):
        plan = alternation.plan()
        if plan.reset:
            alternation.on_reset()
            resets.append(number)
        directions.append(plan.direction)
        alternation.on_episode(result(plan.direction, success))
    return directions, resets


def test_successes_alternate():
    directions, resets = play(Alternation(SwitchingConfig()), [True] * 6)
    assert directions == [FORWARD, BACKWARD] * 3 and resets == []


@pytest.mark.parametrize("max_repeats", [0, 1, 3])
def test_a_failed_direction_is_repeated_so_often_and_then_the_other_is_forced(max_repeats):
    config = SwitchingConfig(max_repeats=max_repeats, failures_before_reset=0)
    directions, resets = play(Alternation(config), [False] * 3 * (max_repeats + 1))
    block = max_repeats + 1
    assert directions == [FORWARD] * block + [BACKWARD] * block + [FORWARD] * block and resets == []


def test_a_success_after_failures_alternates_and_starts_the_repeats_anew():
    config = SwitchingConfig(max_repeats=2)
    directions, _ = play(Alternation(config), [False, False, True, False, False, False, True])
    assert directions == [FORWARD] * 3 + [BACKWARD] * 3 + [FORWARD]


def test_failures_in_a_row_ask_for_a_reset_and_a_success_breaks_the_row():
    config = SwitchingConfig(max_repeats=1, failures_before_reset=4)
    assert play(Alternation(config), [False] * 3 + [True] + [False] * 9)[1] == [8, 12]
    assert play(Alternation(SwitchingConfig(failures_before_reset=0)), [False] * 50)[1] == []


def test_forward_alone_with_a_reset_before_each_episode():
    config = SwitchingConfig(forward_only=True, failures_before_reset=2, max_repeats=0)
    successes = [True, False, False, False, True, True]
    directions, resets = play(Alternation(config), successes)
    assert directions == [FORWARD] * 6 and resets == [1, 2, 3, 4, 5]
    nudging = Alternation(config, can_nudge=True)
    for success in successes:
        assert not nudging.plan().nudge
        nudging.on_episode(result(FORWARD, success))
    plan = PracticePlan(PracticeGoal(successes_per_direction=3), Alternation(config), paced=False)
    for success in successes:
        assert not plan.done()
        plan.on_episode(result(plan.next().direction, success))
    assert plan.done() and plan.tally.forced_switches == 0


def test_forward_alone_goes_forward_whatever_was_due_before_it_was_set():
    before = Alternation(SwitchingConfig())
    before.on_reset()
    before.on_episode(result(FORWARD, True))
    before.on_reset()
    alternation = Alternation.from_dict(SwitchingConfig(forward_only=True), before.to_dict())
    assert before.direction == BACKWARD
    assert play(alternation, [True, False, True]) == ([FORWARD] * 3, [0, 1, 2])


def test_a_success_after_all_repeats_forces_nothing():
    alternation = Alternation(SwitchingConfig(max_repeats=1))
    directions, _ = play(alternation, [False, True, True])
    assert directions == [FORWARD, FORWARD, BACKWARD] and alternation.total.forced_switches == 0


def test_an_unknown_end_is_neither_for_any_counter():
    config = SwitchingConfig(max_repeats=1, failures_before_reset=3, unknowns_before_reset=0)
    certain, unsure = Alternation(config), Alternation(config)
    for success in (True, False, False, True, False, False, False):
        for _ in range(3):
            unsure.on_episode(unknown(unsure.direction))
        assert unsure.plan() == certain.plan()
        for alternation in (certain, unsure):
            alternation.on_episode(result(alternation.direction, success))
    assert unsure.plan() == certain.plan() and certain.plan().reset
    assert unsure.graph.recent == certain.graph.recent
    assert (unsure.total.episodes, unsure.total.unknown_episodes) == (28, 21)
    for name in ("forward_episodes", "backward_episodes", "forward_successes", "backward_successes"):
        assert getattr(unsure.total, name) == getattr(certain.total, name)


def test_unknown_ends_in_a_row_ask_for_a_reset_of_their_own():
    alternation = Alternation(SwitchingConfig(unknowns_before_reset=2))
    for episode in (unknown(FORWARD), result(FORWARD, False), unknown(FORWARD)):
        alternation.on_episode(episode)
    assert not alternation.plan().reset
    alternation.on_episode(unknown(FORWARD))
    assert alternation.plan().reset and "last 2 episodes" in alternation.plan().reason
    assert Alternation.from_dict(alternation.config, alternation.to_dict()).plan() == alternation.plan()
    alternation.on_reset()
    assert not alternation.plan().reset and alternation.plan().reason == ""


def test_a_reset_every_k_episodes():
    assert play(Alternation(SwitchingConfig(reset_every=3)), [True] * 10)[1] == [3, 6, 9]


def test_asking_for_a_plan_changes_nothing():
    alternation = Alternation(SwitchingConfig(failures_before_reset=1))
    alternation.on_episode(result(FORWARD, False))
    assert alternation.plan() == alternation.plan() and alternation.plan().reset


def test_success_in_practice_is_over_the_last_25_of_each_direction():
    alternation = Alternation(SwitchingConfig())
    assert math.isnan(alternation.success_rate(FORWARD))
    for number in range(40):
        alternation.on_episode(result(FORWARD, number >= 20))
    assert alternation.success_rate(FORWARD) == 20 / 25
    assert math.isnan(alternation.success_rate(BACKWARD))


def test_the_memory_survives_a_restart():
    config = SwitchingConfig(max_repeats=2, failures_before_reset=5)
    pattern = [bool((n * 7919) % 3) for n in range(60)] + [False] * 9
    whole = Alternation(config)
    expected = play(whole, pattern)
    broken, directions = Alternation(config), []
    for success in pattern:
        broken = Alternation.from_dict(config, broken.to_dict())
        directions += play(broken, [success])[0]
    assert directions == expected[0]
    assert broken.to_dict() == whole.to_dict()


def test_what_is_kept_does_not_change_with_what_comes_after():
    alternation = Alternation(SwitchingConfig())
    kept = alternation.to_dict()
    alternation.on_episode(result(FORWARD, True))
    assert kept == Alternation(SwitchingConfig()).to_dict() != alternation.to_dict()


def test_goals_end_at_any_of_their_limits():
    tally = Tally(steps=100, episodes=5, forward_successes=2, backward_successes=3)
    assert not PracticeGoal().reached(tally)
    assert PracticeGoal(steps=100).reached(tally) and not PracticeGoal(steps=101).reached(tally)
    assert PracticeGoal(episodes=5).reached(tally) and not PracticeGoal(episodes=6).reached(tally)
    assert PracticeGoal(successes_per_direction=2).reached(tally)
    assert not PracticeGoal(successes_per_direction=3).reached(tally)
    assert not PracticeGoal(successes_per_direction=3).reached(Tally(forward_successes=3, backward_successes=2))
    assert PracticeGoal(steps=1000, episodes=5).reached(tally)


def test_a_goal_counts_for_itself_and_for_the_run():
    alternation = Alternation(SwitchingConfig())
    for _ in range(2):
        plan = PracticePlan(PracticeGoal(episodes=2), alternation, paced=True)
        while not plan.done():
            plan.on_step(intervention=False)
            plan.on_step(intervention=True)
            plan.on_episode(result(plan.next().direction, success=True))
        assert (plan.tally.steps, plan.tally.episodes, plan.tally.interventions) == (4, 2, 2)
    assert (alternation.total.steps, alternation.total.episodes, alternation.total.forward_successes) == (8, 4, 2)


def test_trials_take_turns_and_their_seeds_follow_from_seed_direction_and_number():
    plans = []
    evaluation = EvaluationPlan(3, seed=5)
    while not evaluation.done():
        plan = evaluation.next()
        plans.append(plan)
        evaluation.on_episode(result(plan.direction, plan.direction == FORWARD, steps=12))
    assert [plan.direction for plan in plans] == [FORWARD, BACKWARD] * 3
    assert all(plan.reset and plan.phase == Phase.EVALUATION for plan in plans)
    assert [plan.seed for plan in plans] == [trial_seed(5, plan.direction, n // 2) for n, plan in enumerate(plans)]
    assert len({trial_seed(s, d, n) for s in range(5) for d in (FORWARD, BACKWARD) for n in range(50)}) == 500
    assert min(trial_seed(0, FORWARD, n) for n in range(1000)) > 0
    assert evaluation.successes(FORWARD) == [True] * 3 and evaluation.successes(BACKWARD) == [False] * 3
    assert evaluation.steps(FORWARD) == [11] * 3 and evaluation.steps(BACKWARD) == [12] * 3
    assert trial_seed(0, FORWARD, 0) == trial_seed(0, Direction(1), 0) == 1191863216134001129


@pytest.mark.parametrize(
    ("rule", "verdicts", "last", "expected"),
    [
        (SuccessRule(), {0: S}, 5, -1),
        (SuccessRule(), {0: F, 1: S}, 5, 1),
        (SuccessRule(), {1: U, 2: F, 3: S, 4: S}, 5, 3),
        (SuccessRule(), {3: S}, 2, -1),
        (SuccessRule(min_episode_steps=4), {1: S, 3: S, 4: S}, 5, 4),
        (SuccessRule(2, 3), {1: S, 2: F, 3: S}, 5, 1),
        (SuccessRule(2, 3), {1: S, 2: F, 3: F, 4: S}, 5, -1),
        (SuccessRule(2, 2), {1: S, 2: U, 3: S}, 5, -1),
        (SuccessRule(), {4: S, 2: S}, 5, 2),
        (SuccessRule(2, 2), {4: S, 3: S}, 5, 3),
        (SuccessRule(2, 2), {4: S, 3: S}, 3, -1),
        (SuccessRule(2, 3), {0: S, 1: S}, 5, -1),
    ],
)
def test_success_is_k_of_n(rule, verdicts, last, expected):
    assert rule.success_index(verdicts, last) == expected


def test_an_impossible_rule_is_refused():
    with pytest.raises(RobofumeError, match="successes_needed"):
        SuccessRule(successes_needed=3, verdict_window=2)
