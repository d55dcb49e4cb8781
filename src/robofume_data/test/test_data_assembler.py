"""Episodes come together from messages in any order; a person's word counts most."""

import random
from types import SimpleNamespace as Message

import numpy as np
import pytest
from robofume_common.enums import Outcome, RewardSource, Verdict
from robofume_common.errors import RobofumeError
from robofume_data.assembler import EpisodeAssembler

STEPS = 5


def time(index: int) -> Message:
    return Message(sec=1, nanosec=index)


def step(index: int, episode_id: str = "e", red: int | None = None) -> Message:
    pixels = np.full(2 * 3 * 3, index if red is None else red, np.uint8)
    return Message(
        stamp=time(index), episode_id=episode_id, index=index, phase=1, direction=1, instruction="go",
        image=Message(height=2, width=3, encoding="rgb8", data=pixels.tobytes()),
        proprioception=[float(index)] * 7, action=[] if index == STEPS else [0.5] * 7, actor=1, policy_version=index,
    )  # fmt: skip


def reward(index: int, verdict: Verdict, source: RewardSource = RewardSource.VLM) -> Message:
    return Message(episode_id="e", index=index, verdict=verdict, source=source, probability=0.25)


def label(index: int, verdict: Verdict) -> Message:
    return Message(episode_id="e", index=index, verdict=verdict, author="ann")


def end(outcome: Outcome = Outcome.TIMEOUT, success_index: int = -1) -> Message:
    return Message(
        episode_id="e", phase=1, direction=1, task="pot", instruction="go", num_steps=STEPS, outcome=outcome,
        success_index=success_index, assisted_reset_before=False,
    )  # fmt: skip


def truth(index: int, forward: bool) -> Message:
    return Message(stamp=time(index), task="pot", forward_success=forward, backward_success=not forward)


def assemble(*others: Message, outcome: Outcome = Outcome.TIMEOUT, success_index: int = -1):
    assembler = EpisodeAssembler()
    for index in range(STEPS + 1):
        assembler.add_step(step(index))
        assembler.add_reward(reward(index, Verdict.FAILURE))
    if success_index >= 0:
        assembler.add_reward(reward(success_index, Verdict.SUCCESS))
    for message in others:
        assembler.add_label(message)
    assembler.add_end(end(outcome, success_index))
    return assembler.take("e")


def test_any_order_gives_the_same_episode():
    for seed in range(20):
        assembler = EpisodeAssembler()
        calls = [(assembler.add_step, step(index)) for index in range(1, STEPS + 1)]
        calls += [(assembler.add_reward, reward(index, Verdict.FAILURE)) for index in range(STEPS)]
        calls += [(assembler.add_ground_truth, truth(index, index == 4)) for index in range(STEPS + 1)]
        calls += [(assembler.add_end, end()), (assembler.add_step, step(0))]
        random.Random(seed).shuffle(calls)
        for add, message in calls:
            add(message)
        episode = assembler.take("e")
        assert episode.images[:, 0, 0, 0].tolist() == list(range(STEPS + 1))
        assert episode.verdicts.tolist() == [Verdict.FAILURE] * STEPS + [Verdict.UNKNOWN]
        assert np.isnan(episode.probabilities[-1])
        assert episode.forward_success.tolist() == [False] * 4 + [True, False]


def test_an_episode_is_whole_only_with_all_its_steps_and_its_end():
    assembler = EpisodeAssembler()
    for index in (0, 1, 3, 4, 5):
        assembler.add_step(step(index))
    assert not assembler.is_whole("e")
    assembler.add_end(end())
    assert not assembler.is_whole("e")
    assert assembler.open_episodes == ["e"]
    with pytest.raises(RobofumeError, match="not whole"):
        assembler.take("e")
    assembler.add_step(step(2))
    assert assembler.is_whole("e")
    assembler.take("e")
    assert not assembler.is_whole("e")


def test_what_is_not_whole_blames_no_camera():
    assembler = EpisodeAssembler(cameras=["wrist"])
    assembler.add_end(end())
    for name in ("e", "unknown"):
        assert assembler.blind_camera(name) == ""
        with pytest.raises(RobofumeError, match="not whole yet"):
            assembler.take(name)


def test_steps_from_before_a_restart_of_the_policy_do_not_mix_in():
    assembler = EpisodeAssembler()
    for index in range(STEPS + 1):
        assembler.add_step(step(index, red=200))
    for index in range(3):
        assembler.add_step(step(index))
    assembler.add_end(end())
    assert not assembler.is_whole("e")
    for index in range(3, STEPS + 1):
        assembler.add_step(step(index))
    assert assembler.take("e").images.max() == STEPS


def test_missing_ground_truth_leaves_none():
    assembler = EpisodeAssembler()
    for index in range(STEPS + 1):
        assembler.add_step(step(index))
        if index != 3:
            assembler.add_ground_truth(truth(index, True))
    assembler.add_end(end())
    assert assembler.take("e").forward_success is None


def test_the_same_stamp_of_two_simulations_is_told_apart_by_arrival():
    assembler = EpisodeAssembler()
    for index in range(STEPS + 1):
        assembler.add_ground_truth(truth(index, True), arrival=1_000)
        assembler.add_step(step(index), arrival=9_010)
        assembler.add_ground_truth(truth(index, False), arrival=9_000)
    assembler.add_end(end())
    assert not assembler.take("e").forward_success.any()


def test_a_label_replaces_a_verdict_whichever_comes_later():
    assembler = EpisodeAssembler()
    for index in range(STEPS + 1):
        assembler.add_step(step(index))
    assembler.add_label(label(1, Verdict.UNKNOWN))
    for index in range(STEPS + 1):
        assembler.add_reward(reward(index, Verdict.FAILURE))
    assembler.add_reward(reward(2, Verdict.FAILURE, RewardSource.HUMAN))
    assembler.add_end(end())
    episode = assembler.take("e")
    assert episode.verdicts[1] == Verdict.UNKNOWN
    assert episode.sources.tolist() == [1, 2, 2, 1, 1, 1]


@pytest.mark.parametrize("source", [RewardSource.VLM, RewardSource.HUMAN])
def test_of_two_verdicts_of_one_judge_the_later_one_counts(source):
    assembler = EpisodeAssembler()
    for index in range(STEPS + 1):
        assembler.add_step(step(index))
    for verdict in (Verdict.SUCCESS, Verdict.FAILURE):
        assembler.add_reward(reward(2, verdict, source))
    assembler.add_end(end())
    assert assembler.take("e").verdicts[2] == Verdict.FAILURE


def test_labels_change_the_outcome():
    denied = assemble(label(3, Verdict.FAILURE), outcome=Outcome.SUCCESS, success_index=3)
    assert (denied.outcome, denied.success_index) == (Outcome.TIMEOUT, -1)
    granted = assemble(label(-1, Verdict.SUCCESS))
    assert (granted.outcome, granted.success_index) == (Outcome.SUCCESS, STEPS)
    assert granted.verdicts[STEPS] == Verdict.SUCCESS
    moved = assemble(label(3, Verdict.FAILURE), label(4, Verdict.SUCCESS), outcome=Outcome.SUCCESS, success_index=3)
    assert (moved.outcome, moved.success_index) == (Outcome.SUCCESS, 4)
    earlier = assemble(label(2, Verdict.SUCCESS), outcome=Outcome.SUCCESS, success_index=3)
    assert (earlier.outcome, earlier.success_index) == (Outcome.SUCCESS, 2)
    later = assemble(label(4, Verdict.SUCCESS), outcome=Outcome.SUCCESS, success_index=3)
    assert (later.outcome, later.success_index) == (Outcome.SUCCESS, 3)
    aborted = assemble(label(2, Verdict.SUCCESS), outcome=Outcome.ABORTED)
    assert (aborted.outcome, aborted.success_index) == (Outcome.ABORTED, -1)


def test_a_label_that_says_nothing_is_left_out_and_counted():
    assembler = EpisodeAssembler()
    for index in range(STEPS + 1):
        assembler.add_step(step(index))
        assembler.add_reward(reward(index, Verdict.FAILURE))
    for wrong in (label(1, 9), label(-2, Verdict.SUCCESS), Message(episode_id="", index=1, verdict=1, author="ann")):
        assembler.add_label(wrong)
    assembler.add_label(label(2, Verdict.UNKNOWN))
    assembler.add_end(end())
    episode = assembler.take("e")
    assert np.flatnonzero(episode.sources == RewardSource.HUMAN).tolist() == [2]
    assert (episode.outcome, assembler.malformed_labels) == (Outcome.TIMEOUT, 3)


def test_labels_decide_an_unknown_outcome():
    unknown = assemble(outcome=Outcome.UNKNOWN)
    assert (unknown.outcome, unknown.success_index) == (Outcome.UNKNOWN, -1)
    for index in (-1, STEPS):
        failed = assemble(label(index, Verdict.FAILURE), outcome=Outcome.UNKNOWN)
        assert (failed.outcome, failed.success_index) == (Outcome.TIMEOUT, -1)
        granted = assemble(label(index, Verdict.SUCCESS), outcome=Outcome.UNKNOWN)
        assert (granted.outcome, granted.success_index) == (Outcome.SUCCESS, STEPS)
    assert assemble(label(1, Verdict.FAILURE), outcome=Outcome.UNKNOWN).outcome == Outcome.UNKNOWN
    for outcome, index in ((Outcome.TIMEOUT, -1), (Outcome.SUCCESS, STEPS)):
        unsure = assemble(label(-1, Verdict.UNKNOWN), outcome=outcome, success_index=index)
        assert (unsure.outcome, unsure.success_index) == (Outcome.UNKNOWN, -1)


@pytest.mark.parametrize(("name", "own"), [("pot", True), ("", False)])
def test_of_several_tasks_in_a_scene_the_episodes_own_truth_is_taken(name, own):
    assembler = EpisodeAssembler()
    for index in range(STEPS + 1):
        assembler.add_step(step(index), arrival=10)
        for task, forward, arrival in (("lid", False, 10), (name, True, 99)):
            message = truth(index, forward)
            message.task = task
            assembler.add_ground_truth(message, arrival)
    assembler.add_end(end())
    episode = assembler.take("e")
    assert (episode.forward_success == own).all(), "where none has its name, the nearest"
    assert (episode.backward_success != own).all()


def test_what_is_known_of_an_episode_is_told_until_it_is_taken_or_forgotten():
    assembler = EpisodeAssembler()
    assembler.add_reward(reward(0, Verdict.FAILURE))
    assert assembler.open_episodes == [] and assembler.ends == {}
    assembler.add_step(step(0))
    assert assembler.open_episodes == ["e"] and assembler.ends == {}
    assembler.forget("e")
    assert assembler.open_episodes == []
    ended = end()
    assembler.add_end(ended, closed=7)
    assert assembler.open_episodes == ["e"] and assembler.ends == {"e": ended}
    for index in range(STEPS + 1):
        assembler.add_step(step(index))
    assert assembler.open_episodes == [] and assembler.ends == {"e": ended}
    assert assembler.take("e").closed == 7 and assembler.ends == {}


def test_an_image_of_another_encoding_is_named():
    assembler = EpisodeAssembler()
    for index in range(STEPS + 1):
        message = step(index)
        message.image.encoding = "bgr8"
        assembler.add_step(message)
    assembler.add_end(end())
    with pytest.raises(RobofumeError, match="bgr8"):
        assembler.take("e")


def test_a_broken_image_is_named():
    assembler = EpisodeAssembler()
    for index in range(STEPS + 1):
        message = step(index)
        if index == 2:
            message.image.data = message.image.data[:-1]
        assembler.add_step(message)
    assembler.add_end(end())
    with pytest.raises(RobofumeError, match="17 bytes"):
        assembler.take("e")


def test_pictures_that_nobody_wants_are_checked_all_the_same():
    for width, sentence in ((3, ""), (2, "change their size")):
        assembler = EpisodeAssembler(pictures=False)
        for index in range(STEPS + 1):
            message = step(index)
            if index == 2:
                message.image.width, message.image.data = width, message.image.data[: 6 * width]
            assembler.add_step(message)
        assembler.add_end(end())
        if sentence:
            with pytest.raises(RobofumeError, match=sentence):
                assembler.take("e")
        else:
            images = assembler.take("e").images
            assert (images.shape, images.any()) == ((STEPS + 1, 2, 3, 3), False)
