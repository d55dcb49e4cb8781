"""How long learning goes on while the disk takes nothing: long enough for a person to make room, and not for ever."""

from robofume_common.errors import RobofumeError


class WritePatience:
    """Counts, for each thing that is kept, since when it cannot be written. One thread alone uses it.

    limit: updates after its first failure at which a thing that still fails ends learning; 0: the first one does.
    newest: updates of the newest whole checkpoint.
    """

    def __init__(self, limit: int, newest: int = 0) -> None:
        self.limit = limit
        self.newest = newest
        self._since: dict[str, int] = {}
        self._sentences: dict[str, str] = {}

    @property
    def trouble(self) -> str:
        """The newest sentence of each thing that cannot be written; empty where all can."""
        return " ".join(self._sentences.values())

    def failed(self, thing: str, error: RobofumeError, updates: int, meanwhile: str, ends: bool = True) -> str:
        """`thing` could not be written at this number of updates; returns the sentence of warning, empty where it
        is the same as the last one.

        meanwhile: what holds while it is not written. Raises RobofumeError when that has gone on for too long, unless
        `ends` is false: what can be missed never ends learning.
        """
        waited = updates - self._since.setdefault(thing, updates)
        if ends and waited >= self.limit:
            tried = f" It has failed for {waited} updates." if waited else ""
            raise RobofumeError(
                f"{error}{tried} Make room, or see to the disk, and start again: practice continues from the "
                f"checkpoint of {self.newest} updates."
            ) from error
        sentence = f"{error} Practice goes on and it is tried again; {meanwhile}"
        known, self._sentences[thing] = self._sentences.get(thing), sentence
        return sentence if sentence != known else ""

    def written(self, thing: str) -> bool:
        """`thing` was written; returns whether it had failed before."""
        self._sentences.pop(thing, None)
        return self._since.pop(thing, None) is not None
