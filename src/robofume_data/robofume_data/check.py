"""Whether bags are whole and their episodes make sense: `robofume data check`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from robofume_common.errors import RobofumeError

from robofume_data.bag_reader import Bag, Paths, find_bags
from robofume_data.episode import EpisodeData

GAP_FACTOR = 3.0
"""A step that takes this many times the median period of its episode is a gap."""


def gaps(periods: NDArray[np.int64]) -> NDArray[np.intp]:
    """Indices of the steps that took much longer than the others, from the times between the steps of an episode.

    The last step does not count: in practice the arm goes home before it.
    """
    return np.flatnonzero(periods[:-1] > GAP_FACTOR * np.median(periods)) if len(periods) else np.empty(0, np.intp)


@dataclass
class BagReport:
    """Findings about one bag."""

    path: Path
    episodes: int = 0
    steps: int = 0
    errors: list[str] = field(default_factory=list)
    """What makes data unusable."""
    warnings: list[str] = field(default_factory=list)
    """What the reader copes with."""
    lengths: dict[str, int] = field(default_factory=dict)
    """Steps of each whole episode, by its id."""

    @property
    def is_sound(self) -> bool:
        """No errors; warnings are allowed."""
        return not self.errors


def check_bags(paths: Paths) -> list[BagReport]:
    """One report per bag; RobofumeError only where a path does not exist."""
    reports = []
    seen: dict[str, Path] = {}
    for path in find_bags(paths):
        bag, findings = Bag(path), BagReport(path)
        reports.append(findings)
        try:
            for episode in bag.episodes():
                findings.episodes += 1
                findings.steps += episode.length
                findings.lengths[episode.episode_id] = episode.length
                _check_episode(episode, findings)
                if episode.episode_id in seen:
                    findings.errors.append(f"episode {episode.episode_id} is also in {seen[episode.episode_id]}")
                seen[episode.episode_id] = path
        except RobofumeError as error:
            findings.errors.append(str(error))
        if bag.truncated:
            findings.warnings.append("the file was cut off; what is whole in it is read")
        if bag.malformed_labels:
            findings.warnings.append(f"{bag.malformed_labels} labels name no step or no verdict and are left out")
        findings.warnings += [f"episode {key} is skipped: {reason}" for key, reason in bag.incomplete.items()]
    return reports


def report(reports: list[BagReport]) -> str:
    """The reports as text for a terminal."""
    lines = []
    for item in reports:
        lines.append(f"{'ok ' if item.is_sound else 'BAD'} {item.path}: {item.episodes} episodes, {item.steps} steps")
        lines += [f"      error: {text}" for text in item.errors]
        lines += [f"      note: {text}" for text in item.warnings]
    return "\n".join(lines)


def _check_episode(episode: EpisodeData, findings: BagReport) -> None:
    periods = np.diff(episode.stamps)
    if len(periods) and (periods == 0).any():
        findings.warnings.append(f"episode {episode.episode_id} has steps with the same stamp")
    elif len(periods) > 1:
        found = gaps(periods)
        if len(found):
            longest = int(found[periods[found].argmax()])
            findings.warnings.append(
                f"episode {episode.episode_id} has {len(found)} gap{'s' if len(found) > 1 else ''}, the longest of "
                f"{periods[longest] * 1e-9:.2f} s after step {longest}"
            )
    gripper = episode.actions[:, 6]
    if ((gripper < -1e-6) | (gripper > 1 + 1e-6)).any():
        findings.errors.append(f"episode {episode.episode_id} has gripper targets outside 0 .. 1")
