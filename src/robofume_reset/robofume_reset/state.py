"""The switcher's memory across restarts: a small JSON file in the run directory, replaced atomically."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from robofume_common.enums import Direction, Outcome, Phase
from robofume_common.errors import RobofumeError
from robofume_common.files import write_atomically
from robofume_common.task import TaskPair

from robofume_reset.events import Episode, PublishEpisode
from robofume_reset.switching import Alternation, SwitchingConfig

VERSION = 1


@dataclass
class SwitcherState:
    """What is kept: ids used up, the alternation with its totals, and the episodes that were not over."""

    alternation: Alternation
    episodes_started: int = 0
    open_episodes: list[Episode] = field(default_factory=list)
    """Not decided yet."""
    unheard: list[PublishEpisode] = field(default_factory=list)
    """Decided, and in the totals, but perhaps nobody has heard of their end yet: after a restart it is said again."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "version": VERSION,
            "episodes_started": self.episodes_started,
            "alternation": self.alternation.to_dict(),
            "open_episodes": [
                {
                    "episode_id": episode.episode_id,
                    "phase": int(episode.phase),
                    "direction": int(episode.direction),
                    "task": episode.task,
                    "instruction": episode.instruction,
                    "assisted_reset_before": episode.assisted_reset_before,
                }
                for episode in self.open_episodes
            ],
            "unheard": [vars(end) for end in self.unheard],
        }


def load_state(
    path: str | Path, config: SwitchingConfig, can_nudge: bool = False, pairs: tuple[TaskPair, ...] = ()
) -> SwitcherState:
    """Read the state; a fresh one where the path is empty or the file does not exist yet.

    `pairs`: those of the scene; without them, the ones in the file.

    Raises RobofumeError when the file cannot be read or is no state of this suite.
    """
    if not path or not Path(path).exists():
        return SwitcherState(Alternation(config, pairs or (TaskPair(),), can_nudge=can_nudge))
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8"))
        if values["version"] != VERSION:
            raise ValueError(f"its version is {values['version']}, this is {VERSION}")
        episodes = [
            Episode(
                episode_id=str(entry["episode_id"]),
                phase=Phase(entry["phase"]),
                direction=Direction(entry["direction"]),
                instruction=str(entry["instruction"]),
                assisted_reset_before=bool(entry["assisted_reset_before"]),
                waiting_since=0.0,
                task=str(entry.get("task", "")),  # older files have none
            )
            for entry in values["open_episodes"]
        ]
        alternation = Alternation.from_dict(config, values["alternation"], can_nudge, pairs)
        unheard = [_end(entry) for entry in values.get("unheard", [])]  # older files have none
        return SwitcherState(alternation, int(values["episodes_started"]), episodes, unheard)
    except OSError as error:
        raise RobofumeError(f"The switcher's state {path} cannot be read: {error.strerror}.") from error
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise RobofumeError(
            f"The switcher's state {path} is damaged ({error}): delete it, and give the parameter session a new name."
        ) from error


def _end(entry: dict[str, Any]) -> PublishEpisode:
    if not -1 <= int(entry["success_index"]) <= int(entry["num_steps"]) < 2**31 or int(entry["num_steps"]) < 0:
        raise ValueError("an episode of no such length")
    return PublishEpisode(
        episode_id=str(entry["episode_id"]),
        phase=Phase(entry["phase"]),
        direction=Direction(entry["direction"]),
        instruction=str(entry["instruction"]),
        num_steps=int(entry["num_steps"]),
        outcome=Outcome(entry["outcome"]),
        success_index=int(entry["success_index"]),
        assisted_reset_before=bool(entry["assisted_reset_before"]),
        task=str(entry["task"]),
    )


def save_state(path: str | Path, state: SwitcherState) -> None:
    """Replace the file at once. Raises RobofumeError where that is not possible."""
    try:
        write_atomically(path, json.dumps(state.to_dict(), indent=1).encode())
    except OSError as error:
        raise RobofumeError(f"The switcher's state {path} cannot be written: {error.strerror}.") from error
