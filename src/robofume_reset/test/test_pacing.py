"""When the learner is waited for."""

from dataclasses import replace

from robofume_reset.pacing import STATUS_AGE, LearnerPace, LearnerState, PacingConfig

WAITING, TRAINING, LOADING, FAILED = (
    LearnerState.WAITING,
    LearnerState.TRAINING,
    LearnerState.LOADING,
    LearnerState.FAILED,
)
CONFIG = PacingConfig(lockstep=True, updates_per_step=0.5, warm_up_steps=100, update_slack=10, learner_deadline=30.0)


def status(pace, now, updates=0, target=0, steps=0, state=TRAINING):
    pace.on_status(state, updates, target, steps, "its message", now)


def test_nothing_before_the_first_status_and_while_loading():
    pace = LearnerPace(CONFIG, 0.0)
    assert not pace.ready(1.0)
    status(pace, 2.0, state=LOADING)
    assert not pace.ready(2.0)
    status(pace, 3.0, state=WAITING)
    assert pace.ready(3.0)


def test_steps_in_warm_up_owe_nothing():
    pace = LearnerPace(CONFIG, 0.0)
    status(pace, 0.0, state=WAITING, steps=20)
    for _ in range(80):
        pace.on_step()
    assert pace.behind == 0
    for _ in range(22):
        pace.on_step()
    assert pace.behind == 11 and not pace.ready(0.0)


def test_the_slack_bounds_the_debt_between_two_statuses():
    pace = LearnerPace(CONFIG, 0.0)
    status(pace, 0.0, updates=500, target=500, steps=1100)
    taken = 0
    while pace.ready(0.0):
        pace.on_step()
        taken += 1
    assert taken == 21  # the 21st step makes 10.5
    status(pace, 0.1, updates=510, target=510, steps=1121)
    assert pace.ready(0.1)


def test_in_real_time_a_learner_that_is_behind_is_not_waited_for():
    pace = LearnerPace(replace(CONFIG, lockstep=False), 0.0)
    assert not pace.ready(0.0), "it must be there"
    status(pace, 0.0, updates=5, target=5000, steps=10_100)
    assert pace.ready(0.1)


def test_only_the_learners_own_target_counts_so_a_restored_one_never_blocks():
    pace = LearnerPace(CONFIG, 0.0)
    status(pace, 0.0, updates=5000, target=5000, steps=10_100)
    status(pace, 1.0, updates=100, target=100, steps=300)  # lost most of its past
    assert pace.ready(1.0)


def test_a_silent_learner_is_waited_for_and_then_named():
    pace = LearnerPace(CONFIG, 0.0)
    status(pace, 0.0, state=WAITING)
    assert pace.ready(STATUS_AGE)
    assert not pace.ready(STATUS_AGE + 0.1)
    assert pace.problem(29.0) == ""
    assert "no status" in pace.problem(31.0)
    pace.begin(100.0)
    assert pace.problem(101.0) == ""


def test_a_learner_that_makes_no_updates_while_behind_is_named():
    pace = LearnerPace(CONFIG, 0.0)
    for second in range(32):
        status(pace, float(second), updates=5, target=100, steps=300)
        assert not pace.ready(float(second))
        assert bool(pace.problem(float(second))) == (second > 30)
    assert "95 updates behind" in pace.problem(31.0) and "its message" in pace.problem(31.0)


def test_progress_and_loading_put_the_deadline_off():
    pace = LearnerPace(CONFIG, 0.0)
    for second in range(100):
        state = LOADING if second < 50 else TRAINING
        status(pace, float(second), updates=second, target=1000, steps=2100, state=state)
        assert not pace.ready(float(second)) and not pace.problem(float(second))


def test_a_failed_learner_is_named_at_once():
    pace = LearnerPace(CONFIG, 0.0)
    status(pace, 0.0, state=FAILED)
    assert pace.failed and not pace.ready(0.0)
    assert "its message" in pace.problem(0.0)
