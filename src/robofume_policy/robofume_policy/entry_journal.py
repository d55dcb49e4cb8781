"""At which update each episode of practice entered the memory: the memory's position, beside the checkpoints."""

from pathlib import Path

from robofume_common.files import write_atomically

FILE = "entries.txt"


class EntryJournal:
    """A file in the folder of the checkpoints with a line `updates episode_id` for each episode, in order of entry.

    A checkpoint says which updates were made, the journal which episodes each of them could draw from; so a learner
    that was killed repeats the updates since its checkpoint with the same batches. Lines are appended as episodes
    enter. One that cannot be written (a full disk) ends nothing: the file is written whole with the next one, and
    until then a restart would let these episodes in a little later.
    """

    def __init__(self, directory: Path | str) -> None:
        """Read what is there; a last line that was cut off by a kill is left out."""
        self._file = Path(directory) / FILE
        self.entries: dict[str, int] = {}
        """Updates of practice that had been drawn when an episode entered, by its id, in order."""
        text = self._file.read_text(encoding="utf-8", errors="replace") if self._file.exists() else ""
        *whole, cut = text.split("\n")
        for line in whole:
            updates, _, episode_id = line.partition(" ")
            if updates.isdecimal() and episode_id:
                self.entries[episode_id] = int(updates)
        self._is_whole = not cut and len(self.entries) == len(whole)

    def note(self, episode_id: str, updates: int) -> None:
        """An episode has entered; nothing where that is known."""
        if episode_id in self.entries:
            return
        self.entries[episode_id] = updates
        try:
            if self._is_whole:
                self._file.parent.mkdir(parents=True, exist_ok=True)
                with self._file.open("a", encoding="utf-8") as file:
                    file.write(_line(episode_id, updates))
            else:
                write_atomically(self._file, "".join(_line(*entry) for entry in self.entries.items()).encode())
                self._is_whole = True
        except OSError:
            self._is_whole = False


def _line(episode_id: str, updates: int) -> str:
    return f"{updates} {episode_id}\n"
