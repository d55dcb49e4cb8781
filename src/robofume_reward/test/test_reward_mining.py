"""What practice teaches, and what it does not."""

import dataclasses

import numpy as np
import synthetic_episodes
from robofume_common.enums import Direction, Outcome, RewardSource, Verdict
from robofume_data.episode import EpisodeData
from robofume_data.labels import with_labels
from robofume_reward.dataset import DatasetConfig
from robofume_reward.familiarity import Familiarity
from robofume_reward.saved import View
from synthetic_episodes import INSTRUCTIONS

from robofume_reward import dataset, mining


def practised(succeeds: bool) -> EpisodeData:
    """An episode that a model judged, and confirmed from home where it succeeded."""
    episode = synthetic_episodes.episodes(1, seed=0, failure_share=0.0 if succeeds else 1.0)[0]
    return dataclasses.replace(
        episode,
        episode_id="practice-1",
        success_index=16 if succeeds else -1,
        sources=np.full(17, RewardSource.VLM, np.uint8),
        probabilities=np.full(17, 0.6, np.float32),
    )


class SecondJudge:
    view, familiarity = View(), Familiarity()

    def __init__(self, probability: float) -> None:
        self.probability = probability

    def probabilities(self, images: np.ndarray, instructions: list[str]) -> np.ndarray:
        assert images.shape == (1, synthetic_episodes.SIZE, synthetic_episodes.SIZE, 3) and len(instructions) == 1
        return np.array([self.probability])


def test_the_models_own_verdicts_are_no_labels() -> None:
    for episode in (practised(True), practised(False)):
        assert (mining.practice_labels(episode) == -1).all() and not mining.gives_labels(episode)
        assert (dataset.own_labels(episode, margin=0) == -1).all()
    assert mining.gives_labels(synthetic_episodes.episodes(1, seed=0)[0])


def test_agreement_makes_them_labels() -> None:
    success, failure = practised(True), dataclasses.replace(practised(False), episode_id="practice-2")
    assert mining.agreed([success, failure], SecondJudge(0.96), 0.95) == {success.key}
    assert mining.agreed([success, failure], SecondJudge(0.04), 0.95) == {failure.key}
    assert mining.agreed([success, failure], SecondJudge(0.5), 0.95) == set()
    labels = mining.practice_labels(success, {success.key})
    # Released with action 12, so frame 11 still shows it held; from there to the look from home nothing is known.
    assert labels.tolist() == [0] * 12 + [-1] * 4 + [1]
    assert mining.practice_labels(failure, {failure.key}).tolist() == [-1] * 16 + [0]


def test_a_persons_verdict_on_the_last_step_decides() -> None:
    (corrected,) = with_labels([practised(True)], {"practice-1": {-1: Verdict.FAILURE}})
    assert (corrected.outcome, corrected.success_index) == (Outcome.TIMEOUT, -1)
    assert mining.practice_labels(corrected).tolist() == [-1] * 16 + [0]
    (corrected,) = with_labels([practised(False)], {"practice-1": {16: Verdict.SUCCESS, 2: Verdict.FAILURE}})
    assert (corrected.outcome, corrected.success_index) == (Outcome.SUCCESS, 16)
    assert mining.practice_labels(corrected)[[0, 2, 16]].tolist() == [0, 0, 1]
    (unsure,) = with_labels([practised(True)], {"practice-1": {-1: Verdict.UNKNOWN}})
    assert (unsure.outcome, unsure.success_index) == (Outcome.UNKNOWN, -1)
    assert (mining.practice_labels(unsure) == -1).all() and not mining.gives_labels(unsure)
    unknown = dataclasses.replace(practised(False), outcome=Outcome.UNKNOWN)
    assert mining.agreed([unknown], SecondJudge(0.99), 0.95) == set()
    (decided,) = with_labels([unknown], {"practice-1": {-1: Verdict.FAILURE}})
    assert decided.outcome == Outcome.TIMEOUT and mining.practice_labels(decided)[-1] == 0


def test_mined_labels_answer_the_other_question_only_where_one_goal_is_reached() -> None:
    pair = synthetic_episodes.episodes(2, seed=0, failure_share=0.0)
    success = dataclasses.replace(practised(True), stamps=pair[1].stamps + 1000)
    frames = dataset.label([*pair, success], DatasetConfig(), seed=0, agreed={success.key})
    assert set(frames.episodes[frames.mined].tolist()) == {2}
    other = frames.mined & (frames.instructions == INSTRUCTIONS[Direction.BACKWARD])
    assert (frames.frames[other] - 34).tolist() == [16] and not frames.labels[other].any()


def test_the_most_doubtful_come_first() -> None:
    episodes = [
        dataclasses.replace(practised(True), episode_id=str(i), probabilities=np.full(17, p, np.float32))
        for i, p in enumerate((0.9, 0.55, 0.1, np.nan))
    ]
    assert [episode.episode_id for episode in mining.most_doubtful(episodes, 2)] == ["1", "0"]
    unknown = dataclasses.replace(episodes[1], episode_id="unknown", outcome=Outcome.UNKNOWN, success_index=-1)
    assert [episode.episode_id for episode in mining.most_doubtful([*episodes[::2], unknown], 1)] == ["unknown"]
    assert mining.most_doubtful(synthetic_episodes.episodes(3, seed=0), 5) == []
    sure = dataclasses.replace(unknown, episode_id="strange", probabilities=np.full(17, 0.99, np.float32))
    assert mining.most_doubtful([*episodes, sure], 1)[0].episode_id == "strange"  # nobody has judged it


def test_called_successes_are_drawn_at_random_and_none_twice() -> None:
    called = [dataclasses.replace(practised(True), episode_id=f"yes-{i}") for i in range(20)]
    others = [dataclasses.replace(practised(False), episode_id=f"no-{i}") for i in range(20)]
    drawn = [[one.episode_id for one in mining.called_successes(called + others, 8, seed)] for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2] and len(set(drawn[0])) == 8
    assert all(name.startswith("yes") for name in drawn[0])
    labelled = with_labels(called, {"yes-3": {-1: Verdict.FAILURE}})
    rest = mining.called_successes([*labelled, *others], 100, seed=0)
    assert len(rest) == 19 and "yes-3" not in {episode.episode_id for episode in rest}
