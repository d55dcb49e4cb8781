"""Chains of tasks, and what of that which can start is practised."""

import itertools
from collections import Counter, deque

import pytest
from robofume_common.enums import Direction, Outcome, Phase
from robofume_common.task import TaskPair
from robofume_reset.switching import Alternation, EpisodeResult, EvaluationPlan, SwitchingConfig
from robofume_reset.task_graph import TaskGraph, learnability

FORWARD, BACKWARD = Direction.FORWARD, Direction.BACKWARD


def pair(name, after=""):
    return TaskPair(name, f"do {name}", f"undo {name}", after)


CHAIN = (pair("a"), pair("b", "a"), pair("c", "b"))
SCENE = {("a", FORWARD): (0, 1), ("b", FORWARD): (1, 2), ("c", FORWARD): (2, 3),
         ("a", BACKWARD): (1, 0), ("b", BACKWARD): (2, 1), ("c", BACKWARD): (3, 2)}  # fmt: skip
"""Where each direction of the chain starts and ends."""


def walk(successes, length, config=None, pairs=CHAIN, restart=False):
    """Practise; `successes(option, number)`. Options taken, and the alternation."""
    config = config or SwitchingConfig(failures_before_reset=0)
    alternation, taken = Alternation(config, pairs), []
    for number in range(length):
        plan = alternation.plan()
        success = successes((plan.task, plan.direction), number)
        taken.append((plan.task, plan.direction))
        outcome = Outcome.SUCCESS if success else Outcome.TIMEOUT
        alternation.on_episode(EpisodeResult(plan.direction, outcome, 10, 9 if success else -1, task=plan.task))
        if restart:
            alternation = Alternation.from_dict(config, alternation.to_dict(), pairs=pairs)
    return taken, alternation


def test_each_success_is_the_start_of_the_next_and_the_chain_is_walked_there_and_back():
    taken, _ = walk(lambda *_: True, 400)
    assert taken[0] == ("a", FORWARD)
    for before, after in itertools.pairwise(taken):
        assert SCENE[before][1] == SCENE[after][0]
    counts = Counter(taken)
    assert set(counts) == set(SCENE) and min(counts.values()) > 20


def test_only_what_can_start_is_practised():
    graph = TaskGraph((pair("a"), pair("b", "a"), pair("x")))
    assert graph.startable == [("a", FORWARD), ("x", FORWARD)]
    graph.succeeded("a", FORWARD, 1)
    assert graph.startable == [("a", BACKWARD), ("b", FORWARD), ("x", FORWARD)]
    graph.succeeded("b", FORWARD, 2)
    assert graph.startable == [("b", BACKWARD), ("x", FORWARD)]


def test_most_is_learnt_where_every_other_attempt_succeeds():
    assert learnability(12, 25) > learnability(20, 25) > learnability(25, 25) > 0
    assert learnability(0, 25) == pytest.approx(learnability(25, 25)) and learnability(0, 0) == 0.25


def test_the_curriculum_prefers_what_is_neither_hopeless_nor_mastered():
    chosen = Counter()
    for number in range(3000):
        graph = TaskGraph(CHAIN[:2], done={"a": False})
        graph.recent["b", FORWARD] = deque([True, False] * 12, maxlen=25)
        graph.recent["a", BACKWARD] = deque([True] * 25, maxlen=25)
        graph.succeeded("a", FORWARD, number)
        chosen[graph.task, graph.direction] += 1
    share = learnability(12, 24) / (learnability(12, 24) + learnability(25, 25))
    assert chosen["b", FORWARD] / 3000 == pytest.approx(share, abs=0.02) and share < 0.9


def test_a_direction_that_fails_is_repeated_and_then_another_that_can_start_is_taken():
    config = SwitchingConfig(max_repeats=2, failures_before_reset=0)
    taken, alternation = walk(lambda option, _number: option == ("a", FORWARD), 30, config, CHAIN[:2])
    # Nothing but a's forward succeeds: after it either of the two others is tried three times, then the other one.
    groups = [(option, len(list(group))) for option, group in itertools.groupby(taken)]
    assert groups[0] == (("a", FORWARD), 1)
    assert [count for _, count in groups[1:-1]] == [3] * (len(groups) - 2)
    assert {option for option, _ in groups[1:]} == {("b", FORWARD), ("a", BACKWARD)}
    assert alternation.total.forced_switches >= 8


def test_where_nothing_else_can_start_the_goal_is_taken_to_be_reached():
    graph = TaskGraph(CHAIN)
    graph.turn(5)
    assert (graph.task, graph.direction, graph.done["a"]) == ("a", BACKWARD, True)
    sole = TaskGraph((pair("a"),))
    for number in range(6):
        sole.turn(number)
        assert sole.direction == (BACKWARD, FORWARD)[number % 2]


def test_the_chain_survives_a_restart_at_any_episode():
    def pattern(option, number):
        return bool((number * 7919 + ord(option[0])) % 3)

    whole, broken = walk(pattern, 120), walk(pattern, 120, restart=True)
    assert whole[0] == broken[0] and whole[1].to_dict() == broken[1].to_dict()


def test_a_state_of_one_pair_from_before_is_read_and_one_of_other_tasks_is_not():
    values = walk(lambda *_: True, 3, pairs=CHAIN[:1])[1].to_dict()
    graph = values.pop("graph")
    older = {**values, "direction": 2, "recent": {"forward": [True, True], "backward": [False]}}
    alternation = Alternation.from_dict(SwitchingConfig(), older, pairs=CHAIN[:1])
    assert (alternation.task, alternation.direction, alternation.graph.done) == ("a", BACKWARD, {"a": True})
    assert alternation.success_rate(FORWARD) == 1.0 and alternation.success_rate(BACKWARD) == 0.0
    assert Alternation.from_dict(SwitchingConfig(), older).direction == BACKWARD
    with pytest.raises(ValueError, match="tasks a"):
        Alternation.from_dict(SwitchingConfig(), {**values, "graph": graph}, pairs=CHAIN)


def test_every_pair_has_its_trials_of_an_evaluation():
    plan, seen = EvaluationPlan(2, 5, CHAIN[:2]), []
    while not plan.done():
        trial = plan.next()
        assert trial.reset and trial.phase == Phase.EVALUATION
        seen.append((trial.task, trial.direction))
        plan.on_episode(EpisodeResult(trial.direction, Outcome.SUCCESS, 10, 9))
    assert seen == [("a", FORWARD), ("a", BACKWARD)] * 2 + [("b", FORWARD), ("b", BACKWARD)] * 2
    assert plan.trials_total == 8 and len(plan.successes(FORWARD)) == 4
