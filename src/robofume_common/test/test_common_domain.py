"""Runs on one machine get different ROS domains."""

import pytest
from robofume_common.domain import DOMAINS, claim_domain
from robofume_common.errors import RobofumeError


def test_two_runs_get_different_domains(monkeypatch):
    monkeypatch.delenv("ROS_DOMAIN_ID", raising=False)
    (first, lock), (second, other) = claim_domain("a"), claim_domain("a")
    assert first != second
    lock.close()
    again, lock = claim_domain("a")
    assert again == first
    lock.close()
    other.close()


def test_a_domain_that_was_asked_for_is_used(monkeypatch):
    monkeypatch.setenv("ROS_DOMAIN_ID", "7")
    assert claim_domain("a") == (7, None)
    monkeypatch.setenv("ROS_DOMAIN_ID", "-1")
    with pytest.raises(RobofumeError, match="ROS_DOMAIN_ID must be a whole number of 0 or more, not '-1'"):
        claim_domain("a")


def test_every_domain_taken_is_said(monkeypatch):
    monkeypatch.delenv("ROS_DOMAIN_ID", raising=False)
    locks = []
    with pytest.raises(RobofumeError, match="stop one of them first"):
        for _ in range(len(DOMAINS) + 1):
            locks.append(claim_domain("a")[1])
    for lock in locks:
        lock.close()
