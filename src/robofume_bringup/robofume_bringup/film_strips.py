"""Film strips of a run: a success and a failure in practice, and of each direction in its evaluations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robofume_common.files import write_atomically

from robofume_bringup.episodes import EpisodeSummary, summarise
from robofume_bringup.evaluation_record import DIRECTIONS, EVALUATIONS, is_plain, record_at
from robofume_bringup.run_directory import RunDirectory

if TYPE_CHECKING:
    from robofume_data.episode import EpisodeData

OUTCOMES = {"A success": True, "A failure": False}


def film_strips(directory: RunDirectory, evaluations: Mapping[str, Mapping[str, Any]]) -> dict[str, bytes]:
    """The newest true success and the newest failure as PNGs, by caption: of practice where it has them, and of the
    newest evaluation in the plain scene, of each direction.

    Arguments:
        evaluations: records by name, as in RunResults.
    """
    strips: dict[str, bytes] = {}
    for caption, success in OUTCOMES.items():
        for kind, where in (("practice", "in practice"), ("demos", "in the demonstrations")):
            found = _newest(directory.bag_files(kind), success)
            if found is not None:
                strips |= _strip(f"{caption} {where}", found)
                break
    plain = {name: record for name, record in evaluations.items() if is_plain(record)}
    return strips | evaluation_strips(directory, plain)


def evaluation_strips(directory: RunDirectory, evaluations: Mapping[str, Mapping[str, Any]]) -> dict[str, bytes]:
    """The newest true success and the newest failure of each direction in these evaluations as PNGs, by caption."""
    began = min((record["started"] for record in evaluations.values() if "started" in record), default=0.0)
    bags = [bag for bag in directory.bag_files("evaluate") if bag.stat().st_mtime >= began]
    strips: dict[str, bytes] = {}
    for number, direction in DIRECTIONS.items():
        for caption, success in OUTCOMES.items():

            def fits(summary: EpisodeSummary, number: int = number) -> bool:
                return summary.direction == number and record_at(evaluations, summary.closed) is not None

            found = _newest(bags, success, fits)
            if found is not None:
                name = record_at(evaluations, found.closed / 1e9) or ""
                strips |= _strip(f"{caption} {direction} in the evaluation {EVALUATIONS.get(name, name)}", found)
    return strips


def write_strips(directory: RunDirectory, strips: Mapping[str, bytes]) -> list[Path]:
    """Write PNGs by caption where the report's figures are; returns their paths."""
    paths = []
    for caption, png in strips.items():
        paths.append(directory.figures / f"{caption.split(':')[0].lower().replace(' ', '_')}.png")
        write_atomically(paths[-1], png)
    return paths


def _outcome(summary: EpisodeSummary) -> bool | None:
    """Success or failure as judged; None where the truth is another, or nobody could say."""
    agreed = summary.true_success in (summary.success, None)
    return summary.success if summary.judged and agreed else None


def _newest(
    bags: Sequence[Path], success: bool, fits: Callable[[EpisodeSummary], bool] = lambda _: True
) -> EpisodeData | None:
    """The last success, or failure, of these bags that fits."""
    from robofume_data.bag_reader import read_episodes

    for bag in reversed(bags):
        newest = None
        for episode in read_episodes([bag]):
            summary = summarise(bag, episode)
            if _outcome(summary) == success and fits(summary):
                newest = episode
        if newest is not None:
            return newest
    return None


def _strip(caption: str, episode: EpisodeData) -> dict[str, bytes]:
    from robofume_data.film_strip import film_strip_png

    text = f"{caption}: “{episode.instruction}”, {episode.length} steps"
    return {text: film_strip_png(episode)}
