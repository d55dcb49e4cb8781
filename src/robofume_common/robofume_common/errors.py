"""The one error that a person is meant to read."""


class RobofumeError(Exception):
    """A failure that is told to the user as one sentence, which says what to do about it."""
