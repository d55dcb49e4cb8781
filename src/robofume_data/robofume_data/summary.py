"""What is in bags, in numbers: `robofume data info`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from robofume_common.enums import Actor, Direction, Outcome, Verdict

from robofume_data.bag_reader import Bag, Paths, find_bags
from robofume_data.check import gaps
from robofume_data.episode import EpisodeData


@dataclass
class InstructionSummary:
    """Episodes under one instruction."""

    direction: Direction
    instruction: str
    episodes: int = 0
    steps: int = 0
    """Actions."""
    outcomes: dict[Outcome, int] = field(default_factory=lambda: dict.fromkeys(Outcome, 0))
    success_steps: list[int] = field(default_factory=list)
    """Actions until success, one per success."""
    true_successes: int = 0
    true_known: int = 0
    """Episodes with ground truth."""

    @property
    def success_rate(self) -> float:
        """Share of successes among those that ended in success or failure, unknown ones left out; NaN where there
        are none.
        """
        judged = self.outcomes[Outcome.SUCCESS] + self.outcomes[Outcome.TIMEOUT]
        return self.outcomes[Outcome.SUCCESS] / judged if judged else float("nan")


@dataclass
class DataSummary:
    """Episodes of several bags, by direction and instruction."""

    bags: int = 0
    bytes: int = 0
    instructions: dict[tuple[Direction, str], InstructionSummary] = field(default_factory=dict)
    incomplete: int = 0
    truncated: list[Path] = field(default_factory=list)
    actors: dict[Actor, int] = field(default_factory=lambda: dict.fromkeys(Actor, 0))
    """Actions by who chose them."""
    verdicts: dict[Verdict, int] = field(default_factory=lambda: dict.fromkeys(Verdict, 0))
    """Steps by verdict."""
    takeovers: int = 0
    """How often a person began to act."""
    assisted_resets: int = 0
    image_sizes: set[tuple[int, int]] = field(default_factory=set)
    step_periods: list[float] = field(default_factory=list)
    """Median time between steps, seconds, one per episode."""
    gaps: int = 0
    """Steps that took much longer than the others of their episode, the way home before the last one left out."""

    @property
    def episodes(self) -> int:
        """Whole episodes."""
        return sum(part.episodes for part in self.instructions.values())

    @property
    def steps(self) -> int:
        """Actions in whole episodes."""
        return sum(part.steps for part in self.instructions.values())

    def add(self, episode: EpisodeData) -> None:
        """Counts one episode."""
        key = (episode.direction, episode.instruction)
        part = self.instructions.setdefault(key, InstructionSummary(*key))
        part.episodes += 1
        part.steps += episode.length
        part.outcomes[episode.outcome] += 1
        if episode.is_success:
            part.success_steps.append(episode.success_index)
        if episode.truth is not None:
            part.true_known += 1
            part.true_successes += bool(episode.truth[episode.success_index])  # -1: the last step
        _count(self.actors, episode.actors)
        self.takeovers += episode.takeovers
        _count(self.verdicts, episode.verdicts)
        self.assisted_resets += episode.assisted_reset_before
        self.image_sizes.add((episode.images.shape[1], episode.images.shape[2]))
        if episode.length:
            periods = np.diff(episode.stamps)
            self.step_periods.append(float(np.median(periods)) * 1e-9)
            self.gaps += len(gaps(periods))


def summarise(paths: Paths) -> DataSummary:
    """Reads bags and counts. RobofumeError where one is missing or damaged."""
    summary = DataSummary()
    for path in find_bags(paths):
        bag = Bag(path)
        for episode in bag.episodes():
            summary.add(episode)
        summary.bags += 1
        summary.bytes += path.stat().st_size
        summary.incomplete += len(bag.incomplete)
        if bag.truncated:
            summary.truncated.append(path)
    return summary


def report(summary: DataSummary) -> str:
    """The summary as text for a terminal."""
    lines = [
        f"{summary.bags} bags, {summary.bytes / 1e6:.1f} MB: "
        f"{summary.episodes} episodes, {summary.steps} steps, {summary.assisted_resets} assisted resets"
    ]
    for part in sorted(summary.instructions.values(), key=lambda item: item.direction):
        outcomes = ", ".join(f"{count} {_NAMES.get(name, name.name.lower())}" for name, count in part.outcomes.items()
                             if count)  # fmt: skip
        line = (
            f"  {part.direction.name.lower():8} “{part.instruction}”: "
            f"{part.episodes} episodes, {part.steps} steps; {outcomes}"
        )
        if part.success_steps:
            line += f"; success rate {part.success_rate:.0%}"
            line += f", {np.median(part.success_steps):.0f} steps to success"
        if part.true_known:
            line += f"; ground truth {part.true_successes}/{part.true_known}"
        lines.append(line)
    if summary.episodes:
        periods = summary.step_periods
        beat = f"{np.median(periods):.3f} s between steps by the camera's clock, " if periods else ""
        sizes = ", ".join(f"{width}x{height}" for height, width in sorted(summary.image_sizes))
        lines += [
            f"  images {sizes}; {beat}{summary.gaps} gaps",
            f"  actions by {_parts(summary.actors)}; verdicts {_parts(summary.verdicts)}",
        ]
    by_person = summary.actors[Actor.PERSON]
    if by_person and summary.actors[Actor.POLICY]:
        lines.append(
            f"  a person intervened {summary.takeovers} times, in {by_person / summary.steps:.1%} of the actions: "
            f"once in {summary.steps / max(summary.takeovers, 1):.0f}"
        )
    if summary.incomplete:
        lines.append(f"  {summary.incomplete} episodes are not whole and were not counted")
    lines += [f"  cut off: {path}" for path in summary.truncated]
    return "\n".join(lines)


_NAMES = {Outcome.UNKNOWN: "of unknown outcome"}


def _count(counts: dict, values: Iterable[int]) -> None:
    for value, number in zip(*np.unique(np.asarray(values), return_counts=True), strict=True):
        counts[type(next(iter(counts)))(int(value))] += int(number)


def _parts(counts: dict) -> str:
    return ", ".join(f"{key.name.lower()} {count}" for key, count in counts.items() if count) or "none"
