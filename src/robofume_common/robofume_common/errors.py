"""The errors that a person is meant to read."""


class RobofumeError(Exception):
    """A failure that is told to the user as one sentence, which says what to do about it."""


class MalformedMessage(RobofumeError, ValueError):
    """A message that cannot be right: it is ignored, and told, and the node goes on."""
