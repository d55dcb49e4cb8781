"""A ROS domain for each run and for each test, so that graphs on one machine do not hear each other."""

import contextlib
import fcntl
import hashlib
import os
import tempfile
from pathlib import Path
from typing import IO

from robofume_common.errors import RobofumeError

DOMAINS = range(1, 102)
"""ROS domains whose ports lie below Linux's ephemeral ports."""


def claim_domain(key: str) -> tuple[int, IO[str] | None]:
    """A ROS domain that no other run on this machine uses, whoever started it: ROS_DOMAIN_ID where it is set, else a
    free one.

    The lock file stays open for as long as the domain is held; `key` decides where the search begins, so
    that a run tends to get the same domain again.
    """
    given = os.environ.get("ROS_DOMAIN_ID")
    if given:
        if not given.isdigit():
            raise RobofumeError(f"ROS_DOMAIN_ID must be a whole number of 0 or more, not {given!r}.")
        return int(given), None
    first = int(hashlib.sha256(key.encode()).hexdigest(), 16) % len(DOMAINS)
    for offset in range(len(DOMAINS)):
        domain = DOMAINS[(first + offset) % len(DOMAINS)]
        file = _open_lock(Path(tempfile.gettempdir()) / f"robofume_domain_{domain}.lock")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            continue
        return domain, file
    raise RobofumeError("Every ROS domain is taken by another run on this machine: stop one of them first.")


def _open_lock(path: Path) -> IO[str]:
    """The file for reading, which is enough to lock it; another user's may not be opened in any other way."""
    while True:
        try:
            return path.open()
        except FileNotFoundError:
            with contextlib.suppress(FileExistsError):  # somebody else has just made it
                descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDONLY)
                os.fchmod(descriptor, 0o644)  # whatever the umask: others have to see that it is taken
                os.close(descriptor)
