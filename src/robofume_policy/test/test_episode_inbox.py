"""Episodes from messages, and the count of steps."""

import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest
from robofume_common.enums import Outcome
from robofume_policy.episode_inbox import REMEMBERED, EpisodeInbox, StepCount


def step(episode_id, index, last=False):
    image = SimpleNamespace(data=bytes(4 * 4 * 3), encoding="rgb8", height=4, width=4)
    return SimpleNamespace(
        episode_id=episode_id, index=index, stamp=SimpleNamespace(sec=index, nanosec=0), image=image,
        proprioception=np.zeros(7, np.float32), action=[] if last else [0.0] * 7, actor=1, policy_version=3,
    )  # fmt: skip


def reward(episode_id, index, verdict=2):
    return SimpleNamespace(episode_id=episode_id, index=index, verdict=verdict, probability=0.1, source=1)


def end(episode_id, steps, outcome=Outcome.TIMEOUT, success_index=-1):
    return SimpleNamespace(
        episode_id=episode_id, num_steps=steps, outcome=outcome, success_index=success_index, task="pot",
        instruction="put it in", phase=1, direction=1, assisted_reset_before=False,
    )  # fmt: skip


def fill(inbox, name="a", steps=3, missing_step=None, missing_verdict=None):
    for index in range(steps + 1):
        if index != missing_step:
            inbox.add_step(step(name, index, index == steps))
        if index != missing_verdict:
            inbox.add_reward(reward(name, index))


def test_an_episode_is_given_once_when_it_is_whole_whatever_comes_last():
    for last in ("step", "reward", "end"):
        inbox = EpisodeInbox(10.0)
        fill(inbox, missing_step=2 if last == "step" else None, missing_verdict=2 if last == "reward" else None)
        if last != "end":
            inbox.add_end(end("a", 3), 0.0)
        assert inbox.take(1.0) == []
        {
            "step": lambda inbox=inbox: inbox.add_step(step("a", 2)),
            "reward": lambda inbox=inbox: inbox.add_reward(reward("a", 2)),
            "end": lambda inbox=inbox: inbox.add_end(end("a", 3), 1.0),
        }[last]()
        (episode,) = inbox.take(1.0)
        assert episode.length == 3 and list(episode.verdicts) == [2] * 4
        assert inbox.take(100.0) == [] and inbox.given_up == {}


def test_what_is_said_again_of_an_episode_that_is_there_is_ignored():
    inbox = EpisodeInbox(10.0)
    fill(inbox)
    inbox.add_end(end("a", 3), 0.0)
    assert len(inbox.take(1.0)) == 1
    inbox.know("b")
    for name in ("a", "b"):
        inbox.add_end(end(name, 3), 2.0)
        inbox.add_reward(reward(name, 3))
        inbox.add_view("wrist", step(name, 3))
        assert inbox.take(100.0) == [] and inbox.given_up == {} and not inbox._open
        fill(inbox, name)
        inbox.add_end(end(name, 3), 200.0)
        assert inbox.take(200.0) == []
    for name in ("c", "d"):  # heard of while it was read back
        inbox.add_end(end(name, 3), 300.0)
    assert inbox.take(310.0) == [] and set(inbox.given_up) == {"c", "d"}
    inbox.add_end(end("e", 3), 310.0)
    for name in ("c", "e"):
        inbox.know(name)
    assert inbox.take(400.0) == [] and set(inbox.given_up) == {"d"} and not inbox._open


def test_several_episodes_may_be_ready_at_once_while_another_goes_on():
    inbox = EpisodeInbox(10.0)
    inbox.add_step(step("open", 0))
    for name, steps in (("a", 3), ("b", 0)):
        fill(inbox, name, steps)
        inbox.add_end(end(name, steps), 1000.0)
    assert [episode.length for episode in inbox.take(1000.0)] == [3, 0]
    assert inbox.take(5000.0) == [] and inbox.given_up == {}


def test_an_episode_waits_for_the_views_of_its_further_cameras():
    inbox = EpisodeInbox(10.0, cameras=["wrist"])
    for index in range(4):
        inbox.add_view("wrist", step("early", index))
    fill(inbox)
    inbox.add_end(end("a", 3), 0.0)
    for index in range(4):
        assert inbox.take(1.0) == []
        inbox.add_view("wrist", step("a", index))
    (episode,) = inbox.take(1.0)
    assert list(episode.further_images) == ["wrist"]
    assert list(inbox._open) == ["early"], "known by its views, so that it is forgotten in time"


def test_verdicts_on_other_steps_are_not_those_that_are_missing():
    inbox = EpisodeInbox(10.0)
    fill(inbox, missing_verdict=3)
    inbox.add_reward(reward("a", 9))
    inbox.add_end(end("a", 3), 0.0)
    assert inbox.take(9.9) == []


def test_a_missing_verdict_is_unknown_after_the_deadline():
    inbox = EpisodeInbox(10.0)
    fill(inbox, missing_verdict=1)
    inbox.add_end(end("a", 3), 1000.0)
    assert inbox.take(1009.9) == []
    (episode,) = inbox.take(1010.0)
    assert list(episode.verdicts) == [2, 0, 2, 2]


def test_an_episode_with_a_missing_step_is_given_up_with_a_sentence():
    inbox = EpisodeInbox(10.0)
    fill(inbox, missing_step=0)
    inbox.add_end(end("a", 3), 0.0)
    assert inbox.take(9.9) == [] and inbox.given_up == {}
    assert inbox.take(10.0) == inbox.take(11.0) == []
    assert "'a'" in inbox.given_up["a"]


def test_aborted_episodes_are_dropped():
    inbox = EpisodeInbox(0.0)
    fill(inbox)
    inbox.add_end(end("a", 3, Outcome.ABORTED), 0.0)
    assert inbox.take(1.0) == [] and inbox.given_up == {} and not inbox._open


def test_episodes_that_never_end_do_not_pile_up():
    inbox = EpisodeInbox(0.0)
    for number in range(10 * REMEMBERED):
        inbox.add_step(step(f"{number}", 0))
    assert len(inbox._open) == REMEMBERED
    assert len(inbox._assembler.open_episodes) == REMEMBERED


def test_ended_episodes_that_make_room_for_others_are_given_up_with_a_sentence():
    inbox = EpisodeInbox(10.0)
    names = [f"{number}" for number in range(3 * REMEMBERED)]  # as many ends as a restarted switcher may say again
    for name in names:
        inbox.add_end(end(name, 3), 0.0)
    assert len(inbox._open) == REMEMBERED
    assert inbox.take(10.0) == [] and list(inbox.given_up) == names
    assert all(f"'{name}'" in inbox.given_up[name] for name in names)


def test_steps_are_counted_once_over_messages_bags_and_checkpoints():
    count = StepCount()
    for index in range(5):
        count.saw("a", index + 1)
    count.saw("a", 3)
    assert count.total == 5
    count.saw("a", 5)  # from the bag
    count.saw("b", 7)
    assert count.total == 12
    count.restored(steps=20, in_bags={"a": 5, "b": 7})  # eight of them were in episodes that never ended
    count.saw("c", 1)
    assert count.total == 21
    count.restored(steps=5, in_bags={"a": 5, "b": 7})
    assert count.total == 13, "what is in the bags was done, whatever a checkpoint says"


@pytest.mark.parametrize("heard", ["before", "after", "never"])
def test_an_episode_that_goes_on_over_a_restart_is_counted_once(heard):
    """Of 20 steps 12 are in bags, 5 in an episode under way, and 3 in one whose end nobody will hear."""
    count = StepCount()
    if heard == "before":  # while the bags are read
        count.heard("open", 7)
    count.saw("a", 12)
    count.restored(steps=20, in_bags={"a": 12}, newest=("open", 5))
    if heard == "after":
        count.heard("open", 7)
    assert count.total == (20 if heard == "never" else 22)
    assert count.newest == (None if heard == "never" else ("open", 7))


def test_an_episode_that_has_ended_over_a_restart_is_counted_as_it_is_in_the_bag():
    count = StepCount()
    for name, steps in (("a", 12), ("open", 9)):
        count.saw(name, steps)
    count.restored(steps=20, in_bags={"a": 12, "open": 9}, newest=("open", 5))
    assert count.total == 21


def test_an_end_that_claims_any_number_of_steps_takes_no_memory():
    inbox = EpisodeInbox(10.0)
    fill(inbox)
    inbox.add_end(end("a", 2**32 - 1), 0.0)
    tracemalloc.start()
    assert inbox.take(1.0) == []
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000, "Python 3.10 made a set of all their numbers"
