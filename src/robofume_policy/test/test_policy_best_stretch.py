"""The best stretch of practice: kept by the judge's outcomes, left when practice becomes worse, after a kill too."""

import math

import pytest
from robofume_common.enums import Outcome
from robofume_policy.best_stretch import LEAST, MARGIN, WINDOW, BestStretch
from robofume_policy.checkpoint import CheckpointStore
from test_policy_learning_pipeline import make_episode, new_learner, run


def note(stretch: BestStretch, instruction: str, successes: int, failures: int) -> None:
    for success in [True] * successes + [False] * failures:
        stretch.note(instruction, success)


def test_nobody_can_tell_before_each_direction_has_some_episodes() -> None:
    stretch = BestStretch()
    assert math.isnan(stretch.share()) and not stretch.is_best() and math.isnan(stretch.highest)
    note(stretch, "in", LEAST, 0)
    note(stretch, "out", LEAST - 1, 0)
    assert not stretch.is_best()
    note(stretch, "out", 0, 1)
    assert stretch.share() == pytest.approx(1.0 - 0.5 / LEAST) and stretch.is_best()


def test_the_directions_count_alike_and_of_each_the_newest_episodes() -> None:
    stretch = BestStretch()
    note(stretch, "in", 3 * WINDOW, 0)
    note(stretch, "out", WINDOW, WINDOW // 2)
    assert stretch.share() == pytest.approx((1.0 + (WINDOW - WINDOW // 2) / WINDOW) / 2)


@pytest.mark.parametrize(("less", "best"), [(0.0, True), (MARGIN - 0.02, True), (MARGIN + 0.02, False)])
def test_a_little_less_is_chance_and_much_less_is_worse(less: float, best: bool) -> None:
    stretch = BestStretch(highest=0.8 + less)
    note(stretch, "in", 20, 5)
    assert stretch.is_best() == best
    assert stretch.highest == 0.8 + less, "a little worse, again and again, is worse"


def practise(learner, start: int, successes: int, failures: int) -> None:
    """Episodes numbered from `start`; `make_episode` gives all of them one instruction in turn of two."""
    for number in range(start, start + 2 * (successes + failures)):
        outcome = Outcome.SUCCESS if (number - start) // 2 < successes else Outcome.TIMEOUT
        assert learner.add_episode(make_episode(number, steps=3, outcome=outcome)) > 0


@pytest.fixture
def folder(tmp_path):
    run(tmp_path / "pretrained")
    return tmp_path


def kept(folder) -> list[int]:
    return CheckpointStore(folder / "best").numbers()


def test_a_collapse_leaves_the_best_and_a_recovery_takes_its_place(folder) -> None:
    learner = new_learner(folder)
    places = folder / "checkpoints", folder / "best"
    learner.restore(places[0])
    learner.train(1)
    learner.save(*places)
    assert kept(folder) == [], "too few episodes"
    practise(learner, 100, successes=WINDOW, failures=0)
    learner.train(1)
    learner.save(*places)
    assert kept(folder) == [2]
    practise(learner, 300, successes=0, failures=WINDOW // 2)
    learner.train(1)
    learner.save(*places)
    assert kept(folder) == [2] and CheckpointStore(places[0]).numbers() == [1, 2, 3]

    again = new_learner(folder)  # killed
    assert again.restore(places[0]) and again.updates == 3
    again.read_back([])
    practise(again, 500, successes=WINDOW // 2, failures=WINDOW // 2)
    again.train(1)
    again.save(*places)
    assert kept(folder) == [2], "it remembers how good it was"
    practise(again, 700, successes=WINDOW, failures=0)
    again.train(1)
    again.save(*places)
    assert kept(folder) == [5]
    again.train(1)
    again.save(places[0])
    assert kept(folder) == [5], "without a folder none is kept"
