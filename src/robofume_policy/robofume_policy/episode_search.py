"""Episodes that were not heard whole are looked for where they are recorded, until they are there."""

import threading
import time
from collections.abc import Callable, Iterable

from robofume_common.errors import RobofumeError
from robofume_data.episode import EpisodeData

PATIENCE = 120.0
"""s for one episode."""
FIRST_PAUSE = 1.0
"""s between the first two looks; each further pause is twice as long, since a bag may be long to read."""


class EpisodeSearch:
    """Looks in a thread of its own, at once and again and again: the recorder may be behind.

    Arguments:
        find: gives those of the episodes with these ids that are whole by now; RobofumeError where it cannot tell.
        found: takes one that was looked for.
        give_up: takes a sentence about one that was not found in time.

    All three are called in the thread.
    """

    def __init__(
        self,
        find: Callable[[set[str]], Iterable[EpisodeData]],
        found: Callable[[EpisodeData], None],
        give_up: Callable[[str], object],
        patience: float = PATIENCE,
        first_pause: float = FIRST_PAUSE,
    ) -> None:
        self._find, self._found, self._give_up = find, found, give_up
        self._patience, self._first_pause = patience, first_pause
        self._missing: dict[str, float] = {}  # since when, by id
        self._changed = threading.Condition()
        self._more = self._ended = False
        self._thread = threading.Thread(target=self._work, name="search", daemon=True)
        self._thread.start()

    def add(self, episode_id: str) -> None:
        """Look for this one too, at once."""
        with self._changed:
            self._missing.setdefault(episode_id, time.monotonic())
            self._more = True
            self._changed.notify()

    def close(self) -> None:
        """Look no longer."""
        with self._changed:
            self._ended = True
            self._changed.notify()
        self._thread.join(timeout=5.0)

    def _work(self) -> None:
        pause = self._first_pause
        while True:
            with self._changed:
                timeout = pause if self._missing else None
                self._changed.wait_for(lambda: self._ended or self._more, timeout)
                if self._ended:
                    return
                pause = self._first_pause if self._more else 2.0 * pause
                self._more = False
                wanted = set(self._missing)
            self._drop_overdue(self._look(wanted))

    def _look(self, wanted: set[str]) -> str:
        """Give what is there; what keeps it from being found, where that is known."""
        try:
            for episode in self._find(wanted):
                with self._changed:
                    first = self._missing.pop(episode.episode_id, None) is not None
                if first:
                    self._found(episode)
        except (RobofumeError, OSError) as error:
            return f" ({error})"
        return ""

    def _drop_overdue(self, trouble: str) -> None:
        now = time.monotonic()
        with self._changed:
            overdue = [name for name, since in self._missing.items() if now - since >= self._patience]
            for name in overdue:
                del self._missing[name]
            if self._ended:
                return
        for name in overdue:
            self._give_up(
                f"Episode {name!r} was not found whole in the bags within {self._patience:.0f} s{trouble}. Nothing is "
                "learnt from it, unless it is there at the next start."
            )
