"""Runs on one machine get different ROS domains."""

import os
import tempfile

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


def test_a_lock_of_another_user_counts(monkeypatch, tmp_path):
    """Their file may be read, not written; so may ours, whatever the umask."""
    monkeypatch.delenv("ROS_DOMAIN_ID", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = os.umask(0o077)
    try:
        domain, lock = claim_domain("a")
    finally:
        os.umask(before)
    (path,) = tmp_path.iterdir()
    assert path.stat().st_mode & 0o777 == 0o644
    path.chmod(0o444)
    other, another = claim_domain("a")
    assert other != domain
    lock.close()
    another.close()


def test_every_domain_taken_is_said(monkeypatch, tmp_path):
    monkeypatch.delenv("ROS_DOMAIN_ID", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # takes no domain from runs beside it
    locks = []
    with pytest.raises(RobofumeError, match="stop one of them first"):
        for _ in range(len(DOMAINS) + 1):
            locks.append(claim_domain("a")[1])
    for lock in locks:
        lock.close()
