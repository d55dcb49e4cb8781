"""What the stamps of observations mean for everybody who follows them."""

RESTART_JUMP = 1_000_000_000
"""ns; stamps that go back by more than this come from a source that was started again, not from messages that overtook
each other."""
