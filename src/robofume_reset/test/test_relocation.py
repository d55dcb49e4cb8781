"""Relocation: the script, and when the episode loop follows it."""

import numpy as np
import pytest
from loop_bench import Bench
from robofume_common.enums import Actor, Direction, Outcome, Phase, Verdict
from robofume_common.errors import RobofumeError
from robofume_reset.events import PublishEpisode, PublishTask
from robofume_reset.grip import hand_position
from robofume_reset.relocation import BESIDE, RELOCATE, RelocationConfig, relocation

ZONE = (0.2, 0.05, 0.35, 0.11)
HOME, HELD = (0.22, 0.0, 0.17), (0.25, 0.06, 0.03)
ALWAYS = RelocationConfig(relocate_share=1.0, relocate_forward=ZONE, relocate_backward=(0.2, -0.11, 0.35, -0.05))


def script(config=ALWAYS, direction=Direction.FORWARD, here=HOME, held_at=HELD, number=1):
    return np.reshape(relocation(config, direction, here, held_at, number), (-1, 7))


def test_it_goes_back_to_where_the_hand_let_go_and_carries_what_is_there_into_the_zone():
    ends = set()
    for number in range(30):
        actions = script(number=number)
        places = np.array(HOME) + np.cumsum(actions[:, :3], axis=0)
        openings = actions[:, 6]
        assert set(openings) == {0.0, 1.0} and not actions[:, 3:6].any()
        closed = np.flatnonzero(openings == 0.0)
        assert (np.diff(closed) == 1).all(), "it closes once and opens once"
        np.testing.assert_allclose(places[closed[0] - 1], HELD, atol=1e-9)
        np.testing.assert_allclose(places[closed[:2]], [HELD, HELD], atol=1e-9, err_msg="it holds before it lifts")
        x, y, z = places[closed[-1]]
        assert ZONE[0] <= x <= ZONE[2] and ZONE[1] <= y <= ZONE[3] and z == pytest.approx(HELD[2])
        np.testing.assert_allclose(places[closed[-1] + 1], (x, y, z), atol=1e-9, err_msg="it opens where it stands")
        np.testing.assert_allclose(places[-1], (x, y, HELD[2] + ALWAYS.relocate_lift), atol=1e-9)
        moving = np.abs(np.diff(places[closed, :2], axis=0)).max(axis=1) > 1e-9
        assert places[closed[1:]][moving, 2] == pytest.approx(HELD[2] + ALWAYS.relocate_lift), "it carries, lifted"
        assert np.abs(actions[:, :3]).max() <= ALWAYS.relocate_step + 1e-9
        ends.add((round(x, 3), round(y, 3)))
    assert len(ends) == 30
    spread = np.ptp(np.array(list(ends)), axis=0)
    assert (spread > 0.7 * np.subtract(ZONE[2:], ZONE[:2])).all(), "anywhere in the zone"


def test_each_direction_has_a_zone_of_its_own_and_none_without():
    backward = script(direction=Direction.BACKWARD, held_at=(0.25, -0.06, 0.03))
    assert (np.array(HOME) + backward[:, :3].sum(axis=0))[1] < -0.04
    assert not script(RelocationConfig(relocate_share=1.0, relocate_forward=ZONE), Direction.BACKWARD).size
    assert not script(direction=Direction.NONE).size


def test_the_share_of_the_successes_is_as_said_and_the_draw_follows_from_the_number():
    half = RelocationConfig(relocate_share=0.5, relocate_forward=ZONE)
    due = [script(half, number=number).size > 0 for number in range(400)]
    assert 160 < sum(due) < 240
    assert due == [script(half, number=number).size > 0 for number in range(400)]
    never = RelocationConfig(relocate_share=0.0, relocate_forward=ZONE)
    assert not any(script(never, number=number).size for number in range(50))


@pytest.mark.parametrize(("axis", "edge", "out"), [(0, 0, -1), (0, 2, 1), (1, 1, -1), (1, 3, 1)])
def test_what_was_let_go_far_from_the_zone_stays(axis, edge, out):
    near, far = list(HELD), list(HELD)
    near[axis], far[axis] = ZONE[edge] + out * (BESIDE - 1e-6), ZONE[edge] + out * (BESIDE + 1e-6)
    assert script(held_at=tuple(near)).size and not script(held_at=tuple(far)).size


@pytest.mark.parametrize(
    "zone", [(0.1, 0.2, 0.3), (0.3, 0.0, 0.2, 0.1), (0.2, 0.1, 0.3, 0.1), (0.2, 0.0, float("nan"), 1.0)]
)
def test_a_zone_that_is_none_is_refused(zone):
    with pytest.raises(RobofumeError, match="relocate_backward is least x, least y"):
        RelocationConfig(relocate_backward=zone)


def test_the_position_of_the_hand_is_told_where_there_is_one():
    assert hand_position([0.25, 0.5, 0.75, 0, 0, 0, 1]) == (0.25, 0.5, 0.75)
    assert hand_position([0.25, 0.5]) is None and hand_position([0.25, float("nan"), 0.1, 0, 0, 0, 1]) is None


class RelocatingBench(Bench):
    """A bench that relocates after every success, seen from home as in practice."""

    def __init__(self, config=ALWAYS, loop=None, **arguments):
        super().__init__(loop={"confirm": True, **(loop or {})}, relocating=config, **arguments)

    def at(self, index, position, let_go=True, last=False, verdict=None, actor=Actor.POLICY):
        name = self.task.episode_id if not last else self.episode
        self.episode = name
        self.stamp += 1
        events = self.loop.on_step(name, index, not last, actor, self.stamp, self.now, let_go, True, position)
        if verdict is not None:
            events += self.loop.on_verdict(name, index, verdict, self.now)
        return self.take(events)

    def place(self, held_at=HELD, verdict=Verdict.SUCCESS, grips=True):
        """An episode that lets go above `held_at`, and is judged from home."""
        self.at(0, HOME, let_go=not grips, verdict=Verdict.FAILURE)
        self.at(1, held_at, verdict=Verdict.FAILURE)
        self.at(2, (0.3, 0.1, 0.1), verdict=Verdict.FAILURE)
        self.at(3, (0.3, 0.1, 0.15), verdict=Verdict.SUCCESS)
        return self.at(4, HOME, last=True, verdict=verdict)

    def follow(self):
        """Carry out the script of the present task."""
        count = len(self.task.script) // 7
        for index in range(count):
            self.at(index, HOME, actor=Actor.SCRIPT)
        return self.at(count, HOME, last=True)


def test_a_confirmed_success_is_followed_by_a_relocation_that_nobody_judges():
    bench = RelocatingBench()
    bench.practice(episodes=2)
    bench.place()
    task = bench.task
    assert (task.phase, task.direction, task.instruction) == (Phase.INTERVENTION, Direction.NONE, RELOCATE)
    assert task.home, "it begins where the last step saw the hand, whatever was waited for in between"
    assert task.script == relocation(ALWAYS, Direction.FORWARD, HOME, HELD, 1)
    before = bench.plan.tally.relocations
    events = bench.follow()
    closed, following = [event for event in events if isinstance(event, PublishEpisode | PublishTask)]
    assert (closed.outcome, closed.phase) == (Outcome.INTERVENTION, Phase.INTERVENTION)
    assert (following.phase, following.home) == (Phase.BACKWARD, True)
    tally, total = bench.plan.tally, bench.alternation.total
    assert (before, tally.relocations, total.relocations, tally.nudges, tally.episodes) == (0, 1, 1, 0, 1)
    assert tally.steps == 4 + len(task.script) // 7, "its steps count"
    bench.place((0.25, -0.06, 0.03))
    assert bench.plan.tally.episodes == 2 and bench.task.phase == Phase.IDLE, "the goal ends with its last episode"


@pytest.mark.parametrize(
    ("what", "arguments", "episode"),
    [
        ("a failure", {}, {"verdict": Verdict.FAILURE}),
        ("an unknown end", {}, {"verdict": Verdict.UNKNOWN}),
        ("a hand that held nothing", {}, {"grips": False}),
        ("a place that is unknown", {}, {"held_at": None}),
        ("a place elsewhere", {}, {"held_at": (0.25, -0.06, 0.03)}),
        ("no zone", {"config": RelocationConfig(relocate_share=1.0)}, {}),
        ("a share of none", {"config": RelocationConfig(relocate_share=0.0, relocate_forward=ZONE)}, {}),
        ("a reset that is due", {"switching": {"reset_every": 1}}, {}),
    ],
)
def test_nothing_is_relocated_after(what, arguments, episode):
    bench = RelocatingBench(**arguments)
    bench.practice(episodes=2)
    bench.place(**episode)
    assert not any(task.script for task in bench.of(PublishTask)), what


def test_what_was_due_when_a_goal_ended_is_not_made_up_for_in_the_next():
    bench = RelocatingBench()
    bench.practice(episodes=1)
    bench.place()
    assert bench.task.phase == Phase.IDLE
    bench.practice(episodes=1)
    assert bench.task.phase == Phase.BACKWARD and not bench.task.script


def test_an_evaluation_relocates_nothing():
    bench = RelocatingBench()
    bench.evaluate(trials=1)
    bench.take(bench.loop.on_reset(1, True, "", bench.stamp, bench.now))
    bench.place()
    assert not any(task.script for task in bench.of(PublishTask))


def test_a_relocation_that_is_broken_off_is_left_and_practice_goes_on():
    bench = RelocatingBench()
    bench.practice(episodes=3)
    bench.place()
    bench.at(0, HOME, actor=Actor.SCRIPT)
    bench.at(1, HOME, last=True)
    assert bench.of(PublishEpisode)[-1].outcome == Outcome.ABORTED
    assert bench.task.phase == Phase.BACKWARD and bench.task.home and bench.plan.tally.relocations == 0
