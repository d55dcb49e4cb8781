"""Labels, splits, questions, verdicts, calibration: the rules that need no model."""

import dataclasses
import itertools
import random

import numpy as np
import pytest
import synthetic_episodes
import torch
from robofume_common.enums import Actor, Direction, Outcome, RewardSource, Verdict
from robofume_common.errors import RobofumeError
from robofume_data.episode import EpisodeData
from robofume_reward.augmentation import AugmentationConfig, augment
from robofume_reward.dataset import DatasetConfig
from robofume_reward.frame_history import FrameHistory
from robofume_reward.judge import EpisodeJudge, JudgeConfig, first_success, opposite_probabilities
from robofume_reward.labels import LabelBook
from robofume_reward.picture_check import PictureCheck
from robofume_reward.saved import Calibration, View
from robofume_reward.waiting import WaitingStep, WaitingSteps
from synthetic_episodes import INSTRUCTIONS

from robofume_reward import calibration, dataset, evaluation, measures, questions

YES, NO, UNKNOWN = Verdict.SUCCESS, Verdict.FAILURE, Verdict.UNKNOWN


def pair() -> list:
    """A successful forward episode and the successful backward one after it."""
    return synthetic_episodes.episodes(2, seed=0, failure_share=0.0)


def answers(frames: dataset.LabelledFrames, episode: int, instruction: str) -> dict[int, bool]:
    chosen = (frames.episodes == episode) & (frames.instructions == instruction)
    first = 17 * episode
    return {int(f) - first: bool(a) for f, a in zip(frames.frames[chosen], frames.labels[chosen], strict=True)}


def test_success_frames_are_yes_and_early_ones_no_with_a_margin_between() -> None:
    frames = dataset.label(pair(), DatasetConfig(margin=2), seed=0)
    own = answers(frames, 0, INSTRUCTIONS[Direction.FORWARD])
    assert own == {**dict.fromkeys(range(11), False), **dict.fromkeys(range(13, 17), True)}


def test_the_other_direction_is_still_done_until_the_gripper_comes_near() -> None:
    first, second = pair()
    frames = dataset.label([first, second], DatasetConfig(clearance=0.09), seed=0)
    other = answers(frames, 1, INSTRUCTIONS[Direction.FORWARD])
    # Frame 5 shows the open gripper around the block, which it grasps with the next action.
    assert other == dict.fromkeys(range(3), True) | dict.fromkeys(range(5, 17), False)
    far = dataclasses.replace(second, proprioception=second.proprioception + 1)
    other = answers(dataset.label([first, far], DatasetConfig(), seed=0), 1, INSTRUCTIONS[Direction.FORWARD])
    assert other == dict.fromkeys(range(5), True) | dict.fromkeys(range(5, 17), False)


def test_the_first_episode_says_nothing_about_what_was_before() -> None:
    frames = dataset.label(pair(), DatasetConfig(), seed=0)
    assert True not in answers(frames, 0, INSTRUCTIONS[Direction.BACKWARD]).values()


def test_a_reset_breaks_the_chain() -> None:
    first, second = pair()
    second = dataclasses.replace(second, assisted_reset_before=True)
    frames = dataset.label([first, second], DatasetConfig(), seed=0)
    assert True not in answers(frames, 1, INSTRUCTIONS[Direction.FORWARD]).values()


def test_an_untouched_attempt_leaves_the_other_direction_done() -> None:
    first, second = pair()
    wandering = dataclasses.replace(
        second,
        outcome=Outcome.TIMEOUT,
        success_index=-1,
        actions=np.ones_like(second.actions),
        proprioception=second.proprioception + 1,
    )
    later = dataclasses.replace(second, episode_id="drawn-0002", stamps=second.stamps + 1000)
    frames = dataset.label([first, wandering, later], DatasetConfig(), seed=0)
    for episode in (1, 2):
        assert answers(frames, episode, INSTRUCTIONS[Direction.FORWARD])[0]
    frames = dataset.label([first, later], DatasetConfig(), seed=0)  # nobody knows what the one between them did
    assert True not in answers(frames, 1, INSTRUCTIONS[Direction.FORWARD]).values()
    grasping = dataclasses.replace(wandering, actions=second.actions)
    frames = dataset.label([first, grasping, later], DatasetConfig(), seed=0)
    assert True not in answers(frames, 2, INSTRUCTIONS[Direction.FORWARD]).values()


def test_a_hand_with_a_tool_leaves_the_other_direction_done_until_it_moves() -> None:
    """It never closes, and nothing says where it will touch the objects."""
    first, second = (dataclasses.replace(e, actions=np.ones_like(e.actions)) for e in pair())
    frames = dataset.label([first, second], DatasetConfig(), seed=0)
    assert answers(frames, 1, INSTRUCTIONS[Direction.FORWARD]) == {0: True} | dict.fromkeys(range(12, 17), False)
    frames = dataset.label([first, second, *pair()], DatasetConfig(), seed=0)  # it closes after all
    assert True not in answers(frames, 1, INSTRUCTIONS[Direction.FORWARD]).values()
    failed = dataclasses.replace(first, outcome=Outcome.TIMEOUT, success_index=-1)
    frames = dataset.label([failed, second], DatasetConfig(), seed=0)
    assert True not in answers(frames, 1, INSTRUCTIONS[Direction.FORWARD]).values()


def test_failures_are_no_throughout_and_aborted_episodes_say_nothing() -> None:
    failure = synthetic_episodes.episodes(1, seed=0, failure_share=1.0)[0]
    assert (dataset.own_labels(failure, margin=1) == 0).all()
    for outcome in (Outcome.ABORTED, Outcome.UNKNOWN):
        assert (dataset.own_labels(dataclasses.replace(failure, outcome=outcome), margin=1) == -1).all()
    failure.sources[5], failure.verdicts[5] = RewardSource.HUMAN, Verdict.UNKNOWN
    assert np.flatnonzero(dataset.own_labels(failure, margin=1) == -1).tolist() == [5]


def test_a_persons_verdict_replaces_the_outcomes() -> None:
    failure = synthetic_episodes.episodes(1, seed=0, failure_share=1.0)[0]
    failure.sources[16], failure.verdicts[16] = RewardSource.HUMAN, Verdict.SUCCESS
    labels = dataset.own_labels(failure, margin=1)
    assert labels[16] == 1 and (labels[:16] == 0).all()


def test_other_tasks_are_asked_about_and_answered_no() -> None:
    foreign = [dataclasses.replace(e, task="pot_lid", instruction="lid " + e.instruction) for e in pair()]
    frames = dataset.label(pair() + foreign, DatasetConfig(other_task_share=1.0), seed=0)
    asked = (frames.episodes < 2) & np.char.startswith(frames.instructions, "lid ")
    assert asked.sum() == 34 and not frames.labels[asked].any()


def test_whole_episodes_are_held_out_successes_and_failures_alike() -> None:
    episodes = synthetic_episodes.episodes(60, seed=1, failure_share=0.3)
    learnt, held = dataset.split(episodes, 0.25, seed=0)
    failed = np.array([e.outcome != Outcome.SUCCESS for e in episodes])
    assert learnt.sum() == 45 and not (learnt & held).any()
    assert held[failed].any() and held[~failed].any() and not held[failed].all()
    again = dataset.split(episodes, 0.25, seed=0)
    assert (learnt == again[0]).all() and (held == again[1]).all()
    assert (held != dataset.split(episodes, 0.25, seed=1)[1]).any()


@pytest.mark.parametrize("per_scene", [3, 60])
def test_no_scene_is_trained_on_and_held_out(per_scene: int) -> None:
    """An episode begins with what the one before has left, its last picture, unless the scene was reset."""
    episodes = synthetic_episodes.episodes(60, seed=1, failure_share=0.3)
    for number, (before, episode) in enumerate(itertools.pairwise(episodes), start=1):
        episode.images[0] = before.images[-1]
        episodes[number] = dataclasses.replace(episode, assisted_reset_before=number % per_scene == 0)
    for seed in range(10):
        learnt, held = dataset.split(episodes, 0.2, seed)
        assert abs(learnt.sum() - 48) <= 3 and held.sum() >= (10 if per_scene == 60 else 60 - learnt.sum())
        for number, (before, episode) in enumerate(itertools.pairwise(episodes), start=1):
            if not episode.assisted_reset_before:
                assert before.images[-1].tobytes() == episode.images[0].tobytes()
                assert not (learnt[number - 1] and held[number]) and not (held[number - 1] and learnt[number])


def test_of_few_episodes_some_are_held_out_although_training_shows_a_scene_of_theirs() -> None:
    learnt, held = dataset.split(synthetic_episodes.episodes(8, seed=1, failure_share=0.0), 0.2, seed=0)
    assert (learnt.sum(), held.sum()) == (6, 2)


def scene(number: int, forward: bool) -> list[EpisodeData]:
    """The two episodes of an arranged scene in which one goal is reached, or none."""
    first = synthetic_episodes.episodes(1, seed=number)[0]
    reached = (forward, False)
    return [
        dataclasses.replace(
            first, episode_id=f"scene_{direction.name.lower()}-{number:06d}", direction=direction,
            instruction=INSTRUCTIONS[direction], outcome=Outcome.SUCCESS if success else Outcome.TIMEOUT,
            success_index=0 if success else -1, images=first.images[:1], proprioception=first.proprioception[:1],
            actions=first.actions[:0], actors=first.actors[:0], policy_versions=first.policy_versions[:1],
            stamps=first.stamps[:1], verdicts=first.verdicts[:1],
            probabilities=first.probabilities[:1], sources=np.full(1, RewardSource.HUMAN, np.uint8),
            forward_success=None, backward_success=None,
        )
        for direction, success in zip((Direction.FORWARD, Direction.BACKWARD), reached, strict=True)
    ]  # fmt: skip


def test_an_arranged_scene_is_held_out_whole() -> None:
    recorded = synthetic_episodes.episodes(40, seed=1, failure_share=0.3)
    scenes = [episode for number in range(40) for episode in scene(number, forward=number % 2 == 0)]
    _, held = dataset.split([*recorded, *scenes], 0.25, seed=0)
    first, second = held[40::2], held[41::2]
    assert (first == second).all()
    assert first[::2].sum() == first[1::2].sum() == 5, "a quarter of those of each answer"
    assert 6 <= held[:40].sum() <= 14


def test_a_persons_demonstrations_are_no_labels_of_practice() -> None:
    """On a real robot a person calls the successes of the demonstrations too."""
    episodes = pair()
    for index, actor in enumerate((Actor.PERSON, Actor.POLICY)):
        episodes[index].sources[-1] = RewardSource.HUMAN
        episodes[index].actors[:] = actor
    frames = dataset.label([*episodes, *scene(0, forward=True)], DatasetConfig(), seed=0)
    assert set(frames.episodes[frames.mined].tolist()) == {1, 2, 3}


def test_truth_prefers_ground_truth() -> None:
    episode = synthetic_episodes.episodes(1, seed=0, failure_share=1.0)[0]
    episode.forward_success[4] = True
    frames = dataset.truth([episode], DatasetConfig())
    assert frames.labels.sum() == 1 and len(frames) == 17


def test_the_view_from_home_is_asked_about_both_directions() -> None:
    first, second = pair()
    recorded = dataset.from_home([first, second], DatasetConfig())
    assert recorded.frames.tolist() == [0, 0, 17, 17] and not recorded.own.any()
    assert recorded.directions.tolist() == [1, 2, 2, 1]
    # Without ground truth it follows from the order: the second begins with what the first one did.
    blind = [dataclasses.replace(e, forward_success=None, backward_success=None) for e in (first, second)]
    frames = dataset.from_home(blind, DatasetConfig())
    asked = zip(frames.episodes.tolist(), frames.directions.tolist(), frames.labels.tolist(), strict=True)
    assert sorted(asked) == [(0, 1, False), (1, 1, True), (1, 2, False)]
    first.forward_success[0] = True
    assert dataset.from_home([first], DatasetConfig()).labels.tolist() == [True]


def test_what_the_model_called_a_success_is_no_truth_about_the_next_view_from_home() -> None:
    vlm = np.full(17, RewardSource.VLM, np.uint8)
    practised = [dataclasses.replace(episode, sources=vlm) for episode in pair()]
    assert len(dataset.from_home(practised, DatasetConfig())) == 4  # the simulation's truth is one
    blind = [dataclasses.replace(e, forward_success=None, backward_success=None) for e in practised]
    assert len(dataset.from_home(blind, DatasetConfig())) == 0


def test_nothing_to_label_is_one_sentence() -> None:
    with pytest.raises(RobofumeError, match="record demonstrations"):
        dataset.label([], DatasetConfig(), seed=0)


def test_augmentation_keeps_shape_and_depends_on_the_seed_alone() -> None:
    pixels = torch.rand(4, 3, 20, 30, generator=torch.Generator().manual_seed(0)) * 2 - 1

    def changed(seed: int, config: AugmentationConfig | None = None) -> torch.Tensor:
        return augment(pixels, config or AugmentationConfig(), torch.Generator().manual_seed(seed))

    assert changed(0).shape == pixels.shape and torch.equal(changed(0), changed(0))
    assert not torch.equal(changed(0), changed(1))
    nothing = AugmentationConfig(shift=0.0, brightness=0.0, contrast=0.0, colour=0.0, noise=0.0)
    assert torch.equal(changed(0, nothing), pixels)
    shifted = changed(0, dataclasses.replace(nothing, shift=0.1))
    assert not torch.equal(shifted, pixels) and torch.isin(shifted, pixels).all()


def test_questions() -> None:
    generator = random.Random(0)
    assert questions.canonical(" put the lid\n on. ") == "Has the robot completed the task: put the lid on?"
    drawn = [questions.sample("x", generator, 0.0, 0.0) for _ in range(20)]
    assert set(drawn) == {(questions.canonical("x"), True)}
    drawn = [questions.sample("x", generator, 0.5, 1.0) for _ in range(20)]
    assert all(not positive for _, positive in drawn) and len({text for text, _ in drawn}) == len(questions.NEGATIVE)


def test_a_vote_needs_k_of_n_and_the_newest_answer() -> None:
    judge = EpisodeJudge(JudgeConfig(needed=2, window=3))
    said = [True, False, True, False, False, True, True]
    verdicts = [judge.verdict("a", i, YES if answer else NO) for i, answer in enumerate(said)]
    assert [verdict == Verdict.SUCCESS for verdict in verdicts] == [
        False,
        False,
        True,
        False,
        False,
        False,
        True,
    ]


def test_unknown_is_a_verdict_of_its_own_and_episodes_start_afresh() -> None:
    judge = EpisodeJudge(JudgeConfig(needed=2, window=2))
    assert judge.verdict("a", 0, YES) == NO
    assert judge.verdict("a", 1, UNKNOWN) == UNKNOWN
    assert judge.verdict("b", 0, YES) == NO
    assert judge.verdict("b", 1, YES) == YES


def test_a_success_can_be_asked_to_hold() -> None:
    judge = EpisodeJudge(JudgeConfig(needed=2, window=4, hold=2))
    said = [YES, NO, YES, YES, UNKNOWN, YES, YES]
    assert [judge.verdict("a", i, answer) for i, answer in enumerate(said)] == [NO, NO, NO, YES, UNKNOWN, NO, YES]
    judge = EpisodeJudge(JudgeConfig(window=2, hold=2))
    assert [judge.verdict(name, 0, YES) for name in "ab"] == [NO, NO], "what was held in another episode"


def test_early_steps_cannot_succeed() -> None:
    assert first_success([YES, YES, YES], JudgeConfig(minimum_index=2)) == 2
    assert first_success([NO, UNKNOWN, NO], JudgeConfig()) == -1
    for wrong in ({"needed": 3, "window": 2}, {"hold": 2}):
        with pytest.raises(RobofumeError, match="window"):
            JudgeConfig(**wrong)


def test_between_the_thresholds_the_verdict_is_unknown() -> None:
    calibration = Calibration(1.0, 0.8, 0.95, 0.2)
    said = [calibration.verdict(p) for p in (0.1, 0.2, 0.21, 0.79, 0.8, 1.0)]
    assert said == [NO, NO, UNKNOWN, UNKNOWN, YES, YES]
    # A threshold of the loop's own takes the place of the calibrated one, and failure never reaches above it.
    assert [calibration.verdict(p, 0.5) for p in (0.2, 0.4, 0.5, 0.51)] == [NO, UNKNOWN, UNKNOWN, YES]
    assert Calibration().verdict(0.5) == NO and Calibration().verdict(0.51) == YES
    assert Calibration().verdict(float("nan")) == UNKNOWN, "an answer that is no number is no failure"
    assert Calibration().verdict(0.9, opposite=float("nan")) == UNKNOWN
    # What is seen from home has a failure threshold of its own.
    assert [calibration.verdict(p, 0.5, from_home=True) for p in (0.2, 0.4, 0.5, 0.51)] == [NO, NO, NO, YES]
    strict = dataclasses.replace(calibration, home_failure_threshold=0.1)
    assert [strict.verdict(p, 0.5, from_home=True) for p in (0.1, 0.2, 0.51)] == [NO, UNKNOWN, YES]
    sure = dataclasses.replace(calibration, home_threshold=0.9)
    assert [sure.verdict(p, 0.5, from_home=True) for p in (0.5, 0.51, 0.89, 0.9)] == [NO, UNKNOWN, UNKNOWN, YES]
    assert sure.verdict(0.85, 0.5) == YES and sure.verdict(0.95, 0.99, from_home=True) == UNKNOWN


def test_of_two_goals_that_exclude_one_another_only_the_likelier_is_reached() -> None:
    class Sure:
        calibration, opposites = Calibration(), {"put it in": "take it out", "take it out": "put it in"}

        def log_odds(self, images: np.ndarray, instructions: list[str]) -> np.ndarray:
            return np.array([{"put it in": 1.0, "take it out": 2.0}[text] for text in instructions])

    asked = ["put it in", "take it out", "fold it"]
    opposite = opposite_probabilities(Sure(), np.zeros((3, 4, 4, 3), np.uint8), asked)
    assert opposite == pytest.approx([0.881, 0.731, 0.0], abs=1e-3)
    probabilities = np.array([0.731, 0.881, 0.731, 0.4])
    verdicts = evaluation.verdicts_from_home(
        Calibration(), probabilities, np.append(opposite, 0.9), np.zeros(4, bool)
    )
    assert verdicts.tolist() == [UNKNOWN, YES, YES, NO]
    episodes = synthetic_episodes.episodes(4, seed=0)
    first, second = (synthetic_episodes.INSTRUCTIONS[way] for way in (Direction.FORWARD, Direction.BACKWARD))
    assert dataset.opposites(episodes) == {first: second, second: first}
    assert dataset.opposites([dataclasses.replace(episodes[0], direction=Direction.NONE)]) == {}


def test_temperature_and_threshold_follow_the_data() -> None:
    generator = np.random.default_rng(0)
    odds = generator.normal(0, 3, 4000)
    labels = generator.random(4000) < 1 / (1 + np.exp(-odds / 3))
    assert calibration.fit_temperature(odds, labels) == pytest.approx(3.0, rel=0.15)
    chosen = calibration.calibrate(odds, labels, 0.75)
    called = 1 / (1 + np.exp(-odds / chosen.temperature)) >= chosen.threshold
    assert chosen.threshold > 0.5 and labels[called].mean() >= 0.75
    assert chosen.held_out_precision == pytest.approx(labels[called].mean())
    assert chosen.held_out_verdicts == called.sum() and chosen.target_precision == 0.75
    evenly = np.linspace(0, 1, 101)
    spoilt = (evenly > 0.6) & (evenly < 1.0)  # the surest answer of all is wrong: full precision is out of reach
    assert calibration.choose_threshold(evenly, spoilt, 1.0) == pytest.approx(0.6, abs=0.02)
    # One success in a hundred is certain, the rest are mixed: precision is not bought with all of the recall.
    certain = np.append(np.full(200, 0.7), 0.98)
    assert calibration.choose_threshold(certain, np.append(np.arange(200) % 2 == 0, True), 0.95) < 0.71
    separable = calibration.choose_threshold(np.array([0.1, 0.9]), np.array([False, True]), 0.95)
    assert separable == 0.5


def test_failure_is_called_where_it_is_as_precise() -> None:
    probabilities = np.array([0.05, 0.15, 0.3, 0.45, 0.45, 0.9])
    labels = np.array([False, False, False, True, False, True])
    assert calibration.choose_failure_threshold(probabilities, labels, 0.95, 0.7) == 0.44
    assert calibration.choose_failure_threshold(probabilities, labels, 0.5, 0.7) == 0.5
    assert calibration.choose_failure_threshold(probabilities, ~labels, 0.95, 0.7) == 0.01
    assert calibration.choose_failure_threshold(probabilities, labels > 1, 0.95, 0.5) == 0.5


def test_from_home_failure_is_called_as_precisely_but_not_at_any_price() -> None:
    no, yes = np.linspace(0.0, 0.5, 11), np.full(10, 0.9)
    labels = np.append(np.zeros(11, bool), np.ones(10, bool))

    def threshold(successes: np.ndarray, precision: float = 0.95) -> float:
        return calibration.choose_home_failure_threshold(np.append(no, successes), labels, precision)

    assert threshold(yes) == 0.5
    assert threshold(np.append(yes[1:], 0.42)) == 0.41  # the one that was missed is left unknown
    # One that is missed with certainty cannot be left out without leaving out the failures.
    assert threshold(np.append(yes[1:], 0.0)) == 0.5
    few = calibration.choose_home_failure_threshold(np.append(no, 0.3), np.append(labels[:11], True), 0.95)
    assert few == 0.5


def test_from_home_a_success_is_about_as_sure_as_those_that_were_held_out() -> None:
    labels = np.append(np.zeros(11, bool), np.ones(6, bool))
    no = np.linspace(0.0, 0.9, 11)
    assert calibration.choose_home_threshold(np.append(no, np.full(6, 0.98)), labels) == 0.9474  # log-odds 3.89 - 1
    assert calibration.choose_home_threshold(np.append(no, [0.6, *np.full(5, 0.98)]), labels) == 0.5
    assert calibration.choose_home_threshold(np.append(no, np.full(6, 1.0)), labels) == 0.99
    assert calibration.choose_home_threshold(np.append(no, np.full(4, 0.98)), labels[:15]) == 0.5


def test_unknown_counts_against_recall_and_not_against_precision() -> None:
    labels = np.array([True, True, False, False])
    result = measures.measure(np.array([0.9, 0.6, 0.6, 0.1]), labels, np.array([YES, UNKNOWN, UNKNOWN, NO]))
    assert (result["precision"], result["recall"], result["accuracy"], result["abstention"]) == (1.0, 0.5, 1.0, 0.5)
    assert (result["unknown_positives"], result["unknown_negatives"]) == (1, 1)


def test_a_view_stays_within_its_episode() -> None:
    view = View(frames=3, stride=2)
    assert view.indices(np.array([11, 16]), np.array([10, 10])).tolist() == [[10, 10, 11], [12, 14, 16]]
    frames = dataset.label(pair(), DatasetConfig(), seed=0)
    seen = frames.seen(np.flatnonzero(frames.frames == 17)[:1], view)
    assert seen.tolist() == [[17, 17, 17]]  # the first frame of the second episode
    assert frames.seen(slice(3), View()).tolist() == frames.frames[:3].tolist()


def test_the_history_gives_what_the_view_asks_for() -> None:
    history = FrameHistory(View(frames=3, stride=2))
    seen = [history.add("a", index, index) for index in range(6)]
    assert seen == [(0, 0, 0), (0, 0, 1), (0, 0, 2), (0, 1, 3), (0, 2, 4), (1, 3, 5)]
    assert history.add("b", 0, 9) == (9, 9, 9)
    assert history.add("b", 3, 12) == (9, 12, 12)  # steps 1 and 2 were lost


def test_a_blank_picture_and_a_frozen_camera_show_nothing() -> None:
    check = PictureCheck()
    generator = np.random.default_rng(0)
    first, second = generator.integers(0, 255, (2, 16, 16, 3), dtype=np.uint8)
    still, moved = np.zeros(7, np.float32), np.array([0.02, 0, 0, 0, 0, 0, 0], np.float32)
    assert check.problem(np.full((16, 16, 3), 7, np.uint8), still) == "blank"
    assert check.problem(first, still) == "" and check.problem(first.copy(), still) == ""
    assert check.problem(first.copy(), moved) == "frozen"
    assert check.problem(second, moved) == "" and check.problem(second.copy(), moved) == ""
    closed = np.append(moved[:6], np.float32(1.0))
    assert check.problem(second.copy(), closed) == "frozen"
    slowly = [check.problem(second.copy(), moved + np.float32(0.003 * i)) for i in range(5)]
    assert slowly[0] == "" and slowly[-1] == "frozen"  # measured from where the picture first came


def test_measures_against_hand_made_figures() -> None:
    probabilities = np.array([0.9, 0.8, 0.6, 0.3, 0.2])
    labels = np.array([True, True, False, True, False])
    rule = np.where(probabilities > 0.5, YES, NO)
    result = measures.measure(probabilities, labels, rule)
    assert (result["precision"], result["recall"], result["accuracy"]) == (2 / 3, 2 / 3, 3 / 5)
    assert result["area_under_curve"] == pytest.approx(5 / 6)
    assert result["calibration_error"] == pytest.approx((0.1 + 0.2 + 0.6 + 0.7 + 0.2) / 5)
    low, high = measures.wilson(9, 10)
    assert (low, high) == (pytest.approx(0.596, abs=1e-3), pytest.approx(0.982, abs=1e-3))
    assert measures.measure(probabilities, np.zeros(5, bool), np.full(5, NO))["precision"] is None
    nothing = measures.measure(np.zeros(0), np.zeros(0, bool), np.zeros(0, np.uint8))
    assert (nothing["frames"], nothing["calibration_error"]) == (0, None)
    assert nothing["precision_interval"] == nothing["area_under_curve_interval"] == [0.0, 1.0]


def many_frames(count: int, of_each: int, wrong_episodes: int) -> tuple[np.ndarray, ...]:
    """Probabilities, labels, verdicts and episodes: half of each episode a success, all right or all wrong."""
    episodes = np.repeat(np.arange(count), of_each)
    labels = np.tile(np.arange(of_each) >= of_each // 2, count)
    right = episodes >= wrong_episodes
    called = np.where(right, labels, ~labels)
    noise = np.random.default_rng(0).uniform(0, 0.2, len(episodes))
    return np.where(called, 0.7, 0.1) + noise, labels, np.where(called, YES, NO).astype(np.uint8), episodes


def test_frames_of_one_episode_are_not_many_trials() -> None:
    rows = many_frames(20, 40, wrong_episodes=4)
    alone, together = measures.measure(*rows[:3]), measures.measure(*rows)
    assert alone["precision"] == together["precision"] == 0.8
    for name in ("precision", "recall", "accuracy", "area_under_curve", "calibration_error"):
        low, high = together[f"{name}_interval"]
        assert low < together[name] < high
        assert high - low > 2 * np.diff(alone[f"{name}_interval"])[0], name
    # What twenty trials of their own would give.
    assert together["precision_interval"] == pytest.approx(measures.wilson(16, 20), abs=0.06)
    assert together == measures.measure(*rows)  # the same draws each time
    one_each = measures.measure(*(row[::40] for row in rows))
    assert one_each["accuracy_interval"] == list(measures.wilson(16, 20))


def test_no_error_among_few_episodes_is_no_certainty() -> None:
    perfect = measures.measure(*many_frames(5, 40, wrong_episodes=0))
    assert perfect["precision"] == 1.0 and perfect["precision_interval"] == list(measures.wilson(5, 5))
    assert perfect["area_under_curve"] == 1.0 and perfect["area_under_curve_interval"] == list(measures.wilson(5, 5))


def test_the_area_of_a_draw_is_that_of_the_rows_drawn() -> None:
    generator = np.random.default_rng(1)
    probabilities, labels = generator.uniform(size=30).round(1), generator.random(30) < 0.5
    episodes = np.repeat(np.arange(6), 5)
    resampling = measures.Resampling(episodes)
    found, errors = [], []
    for weights in resampling._weights.astype(int):
        rows = np.repeat(np.arange(30), weights[episodes])
        area = measures.area_under_curve(probabilities[rows], labels[rows])
        found.append(np.nan if area is None else area)
        errors.append(measures.calibration_error(probabilities[rows], labels[rows]))
    expected = np.nanquantile(found, (0.025, 0.975))
    np.testing.assert_allclose(resampling.area_under_curve(probabilities, labels), expected)
    expected = np.quantile(errors, (0.025, 0.975))
    np.testing.assert_allclose(resampling.calibration_error(probabilities, labels), expected)


def step(index: int, arrived: float = 0.0) -> WaitingStep:
    return WaitingStep("episode", index, 1, "", 0, (), arrived)


def test_a_full_queue_drops_the_oldest() -> None:
    waiting = WaitingSteps(limit=2, deadline=1.0)
    steps = [step(i) for i in range(3)]
    assert [waiting.add(one) for one in steps] == [None, None, steps[0]]
    assert waiting.take(1) == [steps[1]] and len(waiting) == 2
    assert waiting.finish(steps[1]) and not waiting.finish(steps[1])


def test_a_late_step_gets_one_answer_only() -> None:
    waiting = WaitingSteps(limit=4, deadline=1.0)
    early, late = step(0, arrived=0.0), step(1, arrived=5.0)
    waiting.add(early)
    waiting.take(1)
    waiting.add(late)
    assert waiting.expire(5.5) == [early]
    assert not waiting.finish(early)
    waiting.close()
    assert waiting.take(1) == []


def test_labels_find_their_step() -> None:
    book = LabelBook(limit=2)
    book.saw_step("a", 0, False)
    assert book.add("a", 0, Verdict.SUCCESS) == 0
    assert book.add("a", 5, Verdict.FAILURE) is None and book.verdict("a", 5) == Verdict.FAILURE
    assert book.add("a", -1, Verdict.SUCCESS) is None
    book.saw_step("a", 7, True)
    assert book.verdict("a", 7) == Verdict.SUCCESS
    assert book.add("a", -1, Verdict.FAILURE) == 7
    book.saw_step("b", 0, False)
    book.saw_step("c", 0, False)
    assert book.verdict("a", 7) is None
