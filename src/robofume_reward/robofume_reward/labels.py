"""A person's verdicts on steps, which come before the model's."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from robofume_common.enums import Verdict

_LAST = -1


@dataclass
class _EpisodeLabels:
    verdicts: dict[int, Verdict] = field(default_factory=dict)
    newest_index: int = -1
    last_index: int | None = None


class LabelBook:
    """Labels of the newest `limit` episodes."""

    def __init__(self, limit: int = 64) -> None:
        self._limit = limit
        self._episodes: OrderedDict[str, _EpisodeLabels] = OrderedDict()

    def saw_step(self, episode_id: str, index: int, is_last: bool) -> None:
        """Notes a step, so that a label for "the last step" finds its index."""
        entry = self._entry(episode_id)
        entry.newest_index = max(entry.newest_index, index)
        if is_last:
            entry.last_index = index
            if _LAST in entry.verdicts:
                entry.verdicts[index] = entry.verdicts.pop(_LAST)

    def add(self, episode_id: str, index: int, verdict: Verdict) -> int | None:
        """Keeps a label; the index of the step it is for, or None where that is not known yet.

        Index -1 means the last step of the episode, seen or still to come.
        """
        entry = self._entry(episode_id)
        if index == _LAST and entry.last_index is not None:
            index = entry.last_index
        entry.verdicts[index] = verdict
        return index if 0 <= index <= entry.newest_index else None

    def verdict(self, episode_id: str, index: int) -> Verdict | None:
        """The label for a step, if there is one."""
        entry = self._episodes.get(episode_id)
        return None if entry is None else entry.verdicts.get(index)

    def knows(self, episode_id: str) -> bool:
        """Whether a step of the episode was seen, among the newest ones."""
        return episode_id in self._episodes and self._episodes[episode_id].newest_index >= 0

    def _entry(self, episode_id: str) -> _EpisodeLabels:
        entry = self._episodes.setdefault(episode_id, _EpisodeLabels())
        self._episodes.move_to_end(episode_id)
        while len(self._episodes) > self._limit:
            self._episodes.popitem(last=False)
        return entry
