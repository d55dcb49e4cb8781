"""Faults of servos: restart, go on, or ask a person."""

import pytest
from robofume_common.enums import BackendState
from robofume_robot.recovery import SETTLE, Recovery

FAULT = "elbow: overload"


@pytest.fixture
def recovery():
    return Recovery(attempts=2, window=100.0, deadline=15.0)


def test_a_fault_stops_then_restarts_once_then_goes_on(recovery):
    assert not recovery.on_errors("", 0.0)
    assert recovery.on_errors(FAULT, 1.0) and recovery.state is BackendState.RECOVERING and FAULT in recovery.message
    assert not recovery.on_errors(FAULT, 1.1), "it is stopped already"
    assert not recovery.should_restart(1.0 + 0.5 * SETTLE)
    assert recovery.should_restart(1.0 + SETTLE)
    assert not recovery.should_restart(1.0 + 2 * SETTLE), "it is under way"
    recovery.on_restarted("", 3.0)
    assert recovery.state is BackendState.READY and (recovery.faults, recovery.restarts) == (1, 1)


def test_a_fault_that_stays_is_for_a_person_and_a_release_tries_again(recovery):
    recovery.on_errors(FAULT, 0.0)
    now = 0.0
    for _ in range(2):
        now += SETTLE
        assert recovery.should_restart(now)
        recovery.on_restarted(FAULT, now)
    assert not recovery.should_restart(now + SETTLE)
    assert recovery.state is BackendState.NEEDS_PERSON and "support the arm" in recovery.message
    recovery.on_release(50.0)
    assert recovery.state is BackendState.RECOVERING and recovery.should_restart(50.0 + SETTLE)
    recovery.on_restarted("", 52.0)
    assert recovery.state is BackendState.READY


def test_old_restarts_are_forgotten(recovery):
    for number in range(10):
        now = 60.0 * number
        assert recovery.on_errors(FAULT, now) and recovery.should_restart(now + SETTLE)
        recovery.on_restarted("", now + 1.0)
    assert recovery.state is BackendState.READY and recovery.restarts == 10


def test_a_restart_without_an_end_is_for_a_person(recovery):
    recovery.on_errors(FAULT, 0.0)
    assert recovery.should_restart(1.0)
    recovery.tick(15.0)
    assert recovery.state is BackendState.RECOVERING
    recovery.tick(16.5)
    assert recovery.state is BackendState.NEEDS_PERSON
    recovery.on_restarted("", 17.0)
    assert recovery.state is BackendState.NEEDS_PERSON, "a late end does not set the arm free"


def test_a_release_without_a_fault_changes_nothing(recovery):
    recovery.on_release(1.0)
    assert recovery.state is BackendState.READY
