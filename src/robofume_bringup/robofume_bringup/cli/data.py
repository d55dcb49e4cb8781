"""`robofume data`: what is in bags, and whether they are whole."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from robofume_data import check as checking
from robofume_data import repair as repairing
from robofume_data import summary


def info(bags: Sequence[Path]) -> int:
    """Print what the bags hold. Raises RobofumeError where one is missing or damaged."""
    print(summary.report(summary.summarise(bags)))
    return 0


def check(bags: Sequence[Path]) -> int:
    """Print a report on each bag. Exit code 1 where one is damaged."""
    reports = checking.check_bags(bags)
    print(checking.report(reports))
    return 0 if all(report.is_sound for report in reports) else 1


def repair(bags: Sequence[Path], output: Path) -> int:
    """Write whole bags for damaged ones. Exit code 1 where nothing of one could be saved."""
    repairs = repairing.repair_bags(bags, output)
    print(repairing.report(repairs))
    return 0 if all(item.action != "lost" for item in repairs) else 1


def view(episode_id: str, bags: Sequence[Path], output: Path) -> int:
    """Write pictures of an episode."""
    from robofume_data.view import describe, find_episode, write_view

    episode = find_episode(bags, episode_id)
    print(describe(episode))
    for path in write_view(episode, output):
        print(f"  {path}")
    return 0
