"""Which help comes when practice does not get on, how often, and in which order."""

import itertools

import pytest
from robofume_common.enums import Direction, Outcome
from robofume_reset.escalation import Ladder, Rung
from robofume_reset.switching import Alternation, EpisodeResult, PracticeGoal, PracticePlan, SwitchingConfig

FORWARD, BACKWARD = Direction.FORWARD, Direction.BACKWARD


def practised(pattern, can_nudge=True, restart=False, **settings):
    """What came before each episode, as letters: . nothing, n nudge, r reset, p person; and the alternation.

    `pattern`: per episode s success, S one that was there from the start, f failure, x failure without any change, u
    unknown.
    """
    config = SwitchingConfig(**settings)
    alternation, helps = Alternation(config, can_nudge=can_nudge), ""
    for letter in pattern:
        plan = alternation.plan()
        asked = [plan.nudge, plan.reset, plan.ask]
        assert sum(asked) <= 1 and alternation.plan() == plan
        if plan.nudge:
            alternation.on_nudge()
        elif plan.reset:
            alternation.on_reset()
        elif plan.ask:
            alternation.on_helped()
        helps += "nrp"[asked.index(True)] if any(asked) else "."
        outcome = {"s": Outcome.SUCCESS, "S": Outcome.SUCCESS, "u": Outcome.UNKNOWN}.get(letter, Outcome.TIMEOUT)
        direction = alternation.plan().direction
        alternation.on_episode(
            EpisodeResult(
                direction, outcome, 10, 9 if outcome == Outcome.SUCCESS else -1,
                began_there=letter == "S", still=letter == "x",
            )
        )
        if restart:
            alternation = Alternation.from_dict(config, alternation.to_dict(), can_nudge)
    return helps, alternation


def test_the_steps_come_in_their_order_and_after_a_person_from_the_first_on():
    helps, alternation = practised(
        "f" * 24, failures_before_reset=4, failures_after_nudge=2, max_nudges=2, ask_person=True, resets_before_person=2
    )
    assert helps == "....n.n.r...r...p...n.n."
    assert (alternation.total.nudges, alternation.total.assisted_resets) == (4, 2)


def test_by_default_a_nudge_comes_between_the_failures_and_the_resets_that_come_without_one():
    helps, alternation = practised("f" * 28)
    assert helps == "........n..r.......r.......r"
    assert (alternation.total.nudges, alternation.total.assisted_resets) == (1, 3)
    assert practised("f" * 28, can_nudge=False)[0] == "........r.......r.......r..."


def test_a_success_that_was_earned_begins_at_the_first_step_again():
    settings = {"failures_before_reset": 2, "failures_after_nudge": 2, "ask_person": True}
    assert practised("ffff" + "s" + "ffff", **settings)[0] == "..n.r..n."
    assert practised("ffff" + "S" + "ff", **settings)[0] == "..n.r.."


@pytest.mark.parametrize(
    ("settings", "helps"),
    [
        ({"can_nudge": False}, "..r.r.r.r."),
        ({"max_nudges": 0}, "..r.r.r.r."),
        ({"can_nudge": False, "ask_person": True, "resets_before_person": 1}, "..r.p.r.p."),
        ({"can_nudge": False, "ask_person": True, "resets_before_person": 0}, "..r.r.r.r."),
        ({"failures_before_reset": 0}, ".........."),
        ({"failures_after_nudge": 1}, "..nr.r.r.r"),
    ],
)
def test_each_step_can_be_left_out(settings, helps):
    given = {"failures_before_reset": 2, "failures_after_nudge": 2, **settings}
    assert practised("f" * 10, **given)[0] == helps


def test_where_nobody_can_tell_what_is_there_nothing_is_pushed():
    helps, _ = practised("u" * 8, unknowns_before_reset=2, ask_person=True, resets_before_person=2)
    assert helps == "..r.r.p."
    helps, _ = practised("uu" + "fffff", unknowns_before_reset=2, failures_before_reset=2)
    assert helps == "..r.r.r", "nothing is pushed after a reset either, until a success"


def test_a_reset_that_was_only_due_is_no_step():
    settings = {"reset_every": 2, "unknowns_before_reset": 0, "ask_person": True, "resets_before_person": 1}
    helps, alternation = practised("uuuuu", **settings)
    assert helps == "..r.r"
    assert alternation.ladder == Ladder(alternation.config, True)


def test_episodes_without_any_change_force_the_other_direction_and_then_climb():
    settings = {"still_episodes": 2, "max_repeats": 9, "failures_before_reset": 0, "ask_person": True}
    alternation = practised("xx", **settings)[1]
    assert alternation.direction == BACKWARD and alternation.total.forced_switches == 1
    helps, alternation = practised("x" * 14, resets_before_person=1, **settings)
    assert helps == "....n...r...p."
    assert alternation.total.still_episodes == 14
    assert "nothing changed in the last 2" in practised("xxxx", **settings)[1].plan().reason
    assert practised("xfxfxfxf" * 3, **settings)[0] == "." * 24
    helps, alternation = practised("x" * 20, still_episodes=0, failures_before_reset=0, max_repeats=99)
    assert (helps, alternation.total.forced_switches) == ("." * 20, 0)


def test_stillness_forces_the_other_direction_again_after_anything_has_moved():
    settings = {"still_episodes": 2, "max_repeats": 9, "failures_before_reset": 0}
    assert practised("xxfxx", **settings)[1].total.forced_switches == 2
    assert practised("xxuxx", unknowns_before_reset=0, **settings)[1].total.forced_switches == 2


def test_a_success_in_which_nothing_changed_is_no_stillness():
    alternation = Alternation(SwitchingConfig(still_episodes=1))
    alternation.on_episode(EpisodeResult(FORWARD, Outcome.SUCCESS, 10, 9, began_there=True, still=True))
    assert (alternation.still_in_row, alternation.total.forced_switches) == (0, 0)


def test_a_scene_that_is_at_the_goal_forces_nothing_where_nothing_changed():
    alternation = Alternation(SwitchingConfig(still_episodes=1, max_repeats=9))
    assert not alternation.on_episode(EpisodeResult(FORWARD, Outcome.TIMEOUT, 10, -1, at_goal=True, still=True))
    assert (alternation.direction, alternation.total.forced_switches) == (BACKWARD, 0)


def test_a_judge_that_sees_success_in_everything_is_noticed():
    """Both directions "succeed" by turns before anything was done, which no scene gives."""
    settings = {"idle_successes": 3, "ask_person": True, "resets_before_person": 2}
    helps, _ = practised("S" * 13, **settings)
    assert helps == "...r..r..p..r"
    assert "before anything was done" in practised("SSS", **settings)[1].plan().reason
    assert practised("SSsSSfSSuSS", **settings)[0] == "." * 11
    assert practised("S" * 20, idle_successes=0)[0] == "." * 20
    assert practised("S" * 13, restart=True, **settings)[0] == helps


def test_an_unknown_end_without_any_change_counts_as_one():
    config = SwitchingConfig(still_episodes=1)
    alternation = Alternation(config)
    alternation.on_episode(EpisodeResult(FORWARD, Outcome.UNKNOWN, 10, -1, still=True))
    assert (alternation.direction, alternation.unknowns_in_row) == (BACKWARD, 1)


def test_the_ladder_survives_a_restart():
    letters = "fxsu"
    for pattern in itertools.islice(itertools.product(letters, repeat=7), 0, None, 41):
        settings = {
            "failures_before_reset": 2, "still_episodes": 1, "unknowns_before_reset": 2, "ask_person": True,
            "resets_before_person": 1, "failures_after_nudge": 1,
        }  # fmt: skip
        whole, broken = practised(pattern, **settings), practised(pattern, restart=True, **settings)
        assert whole[0] == broken[0] and whole[1].to_dict() == broken[1].to_dict()


def test_a_state_from_before_the_ladder_is_read():
    values = practised("ff", failures_before_reset=9)[1].to_dict()
    for name in ("ladder", "still_in_row"):
        del values[name]
    for name in ("still_episodes", "forced_switches", "nudges", "person_requests", "person_seconds"):
        del values["total"][name]
    alternation = Alternation.from_dict(SwitchingConfig(), values, can_nudge=True)
    assert alternation.failures_in_row == 2 and alternation.ladder.rung() is Rung.NUDGE


def test_a_goal_counts_every_step_for_itself_and_for_the_run():
    alternation = Alternation(SwitchingConfig(still_episodes=1, max_repeats=0), can_nudge=True)
    plan = PracticePlan(PracticeGoal(), alternation, paced=True)
    plan.on_episode(EpisodeResult(FORWARD, Outcome.TIMEOUT, 10, -1, still=True))
    plan.on_nudge()
    plan.on_reset()
    plan.on_asked()
    plan.on_waiting(90.0)
    plan.on_helped()
    for tally in (plan.tally, alternation.total):
        assert (tally.still_episodes, tally.forced_switches, tally.nudges, tally.assisted_resets) == (1, 1, 1, 1)
        assert (tally.person_requests, tally.person_seconds) == (1, 90.0)
