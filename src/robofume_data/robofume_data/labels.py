"""A person's verdicts on recorded episodes, given afterwards: `labels.json` of a run.

They stay beside the bags, which are never changed. Whoever learns from a run's practice reads it with them, the reward
model and the policy alike.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from robofume_common.enums import Outcome, Phase, RewardSource, Verdict
from robofume_common.errors import RobofumeError
from robofume_common.files import write_atomically

from robofume_data.bag_reader import Bag, Paths, find_bags
from robofume_data.episode import EpisodeData

Labels = dict[str, dict[int, Verdict]]
"""A person's verdicts: episode id -> index of the step (-1: the last) -> verdict."""
LAST = -1
"""In the place of an index: the last step."""
LABELS_FILE = "labels.json"
_JUDGED = (("bags", "practice"), ("bags", "scenes"))


def read_labelled(
    paths: Paths, phases: Collection[Phase] | None = None, cameras: Sequence[str] = ()
) -> Iterator[EpisodeData]:
    """The episodes of bags as `read_episodes` gives them, with the labels of the runs that they are of."""
    bags = [(Bag(path), labels_of(path)) for path in find_bags(paths)]
    return (
        labelled(episode, labels.get(episode.episode_id, {}))
        for bag, labels in bags
        for episode in bag.episodes(phases, cameras=cameras)
    )


def labels_of(bag: str | Path) -> Labels:
    """The labels that belong to a bag: those of its run, where it is one of practice or of scenes; none for any other.

    RobofumeError where the file cannot be read.
    """
    path = _file_of(bag)
    return {} if path is None else read_labels(path)


def labels_hash(bag: str | Path) -> str:
    """What tells the labels of a bag from what they were; empty where there are none."""
    path = _file_of(bag)
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16] if path is not None and path.is_file() else ""


def labels_hashes(bags: Iterable[str | Path]) -> list[str]:
    """The same of several bags: one for each run of theirs that has labels, in order."""
    found = {_file_of(bag): labels_hash(bag) for bag in bags}
    return sorted(filter(None, found.values()))


def _file_of(bag: str | Path) -> Path | None:
    """RUN/labels.json of a bag below RUN/bags/practice or RUN/bags/scenes."""
    for folder in Path(bag).resolve().parents:
        if folder.parts[-2:] in _JUDGED:
            return folder.parents[1] / LABELS_FILE
    return None


def with_labels(episodes: Sequence[EpisodeData], labels: Mapping[str, Mapping[int, Verdict]]) -> list[EpisodeData]:
    """The same episodes with a person's verdicts in the place of the recorded ones; see `labelled`."""
    return [labelled(episode, labels.get(episode.episode_id, {})) for episode in episodes]


def labelled(episode: EpisodeData, labels: Mapping[int, Verdict]) -> EpisodeData:
    """The same episode with a person's verdicts in the place of the recorded ones; a verdict on the last step decides
    the outcome, also that nobody knows it. RobofumeError where a verdict is on a step that it does not have.
    """
    if not labels:
        return episode
    verdicts, sources = episode.verdicts.copy(), episode.sources.copy()
    probabilities = episode.probabilities.copy()
    count = len(verdicts)
    for index, verdict in labels.items():
        place = index if index >= 0 else count - 1
        if place >= count:
            raise RobofumeError(f"Episode {episode.episode_id} has {count} steps; there is no step {index} to label.")
        verdicts[place], sources[place] = verdict, RewardSource.HUMAN
        probabilities[place] = {Verdict.SUCCESS: 1.0, Verdict.FAILURE: 0.0}.get(verdict, np.nan)
    outcome, success_index = episode.outcome, episode.success_index
    if sources[-1] == RewardSource.HUMAN:
        if verdicts[-1] == Verdict.SUCCESS and outcome != Outcome.SUCCESS:
            outcome, success_index = Outcome.SUCCESS, count - 1
        elif verdicts[-1] == Verdict.FAILURE:
            outcome, success_index = Outcome.TIMEOUT, -1
        elif verdicts[-1] == Verdict.UNKNOWN:
            outcome, success_index = Outcome.UNKNOWN, -1
    return dataclasses.replace(
        episode,
        verdicts=verdicts,
        sources=sources,
        probabilities=probabilities,
        outcome=outcome,
        success_index=success_index,
    )


def read_labels(path: Path) -> Labels:
    """Labels that `write_labels` kept; none where there is no file."""
    if not path.is_file():
        return {}
    try:
        stored = json.loads(path.read_text())
        return {
            episode: {int(index): Verdict[name.upper()] for index, name in steps.items()}
            for episode, steps in stored.items()
        }
    except (ValueError, KeyError, AttributeError) as error:
        raise RobofumeError(f"{path} is not a file of labels ({error}); remove it, or mend it.") from error


def write_labels(path: Path, labels: Labels) -> None:
    """Keeps labels as JSON that a person can read and edit."""
    plain = {
        episode: {str(index): verdict.name.lower() for index, verdict in steps.items()}
        for episode, steps in labels.items()
    }
    write_atomically(path, (json.dumps(plain, indent=2) + "\n").encode())
