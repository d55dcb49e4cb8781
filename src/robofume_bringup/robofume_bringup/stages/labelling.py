"""A person's verdicts on recorded episodes: kept in the run, and used by whoever learns from its practice next."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from robofume_common.enums import Outcome, Verdict
from robofume_common.errors import RobofumeError

from robofume_bringup.stages.context import StageContext

if TYPE_CHECKING:
    from robofume_data.episode import EpisodeData


def add_label(context: StageContext, episode_id: str, verdict: str, index: int) -> None:
    """Keep a verdict on a step (-1: the last one) of a recorded episode. RobofumeError where there is none."""
    from robofume_data.labels import LAST, labelled, read_labels, write_labels

    if index < LAST:  # counting from the end would say something about the outcome
        raise RobofumeError(f"--index counts the steps from 0, and {LAST} is the last one; there is no step {index}.")
    recorded = _recorded(context, ("practice", "scenes"))
    episode = next((episode for episode in recorded if episode.episode_id == episode_id), None)
    if episode is None:
        raise RobofumeError(
            f"The run {context.directory.name} has no recorded episode {episode_id}; "
            f"`robofume label --doubtful 20 --run {context.directory.name}` names some."
        )
    given = {LAST if index == episode.length else index: Verdict[verdict.upper()]}
    labelled(episode, given)
    labels = read_labels(context.directory.labels)
    before = labels.get(episode_id, {})
    if LAST in given:
        before.pop(episode.length, None)  # the same step by its number, of which the newest verdict is to count
    labels[episode_id] = before | given
    write_labels(context.directory.labels, labels)
    acted = episode.length > 0
    context.say(
        f"Noted: {episode_id} is a {verdict} ({len(labels)} labelled episodes). "
        f"`robofume reward train --again --run {context.directory.name}` learns from it"
        + ("; the policy does when practice or `robofume retrain` is started the next time." if acted else ".")
    )


def show_doubtful(context: StageContext, count: int) -> None:
    """Write the last images of the episodes that the judge was least sure of, and name them."""
    from robofume_reward.mining import most_doubtful

    _show(context, "doubtful", most_doubtful(_unlabelled(context), count))


def show_called(context: StageContext, count: int) -> None:
    """Write the last images of episodes drawn at random from those that the judge called a success, and name them."""
    from robofume_reward.mining import called_successes

    episodes = _unlabelled(context)
    # Other ones each time that labels were given.
    seed = context.config.seed + len(episodes)
    _show(context, "called", called_successes(episodes, count, seed))


def _show(context: StageContext, name: str, episodes: list[EpisodeData]) -> None:
    """Write the last images into the folder `name` of the run, in the place of earlier ones, and name them."""
    from robofume_reward.worst_frames import save_picture

    folder = context.directory.path / name
    folder.mkdir(exist_ok=True)
    for old in folder.glob("*.png"):
        old.unlink()
    if not episodes:
        calls = "called a success " if name == "called" else ""
        context.say(f"Practice has no episode {calls}that a person has not judged yet.")
    for episode in episodes:
        picture = folder / f"{episode.episode_id}.png"
        save_picture(episode.images[-1], picture, enlarged=6)
        said = {Outcome.SUCCESS: "success", Outcome.TIMEOUT: "failure"}.get(episode.outcome, "unknown")
        probability = float(episode.probabilities[-1])
        context.say(f"{episode.episode_id}  P {probability:.2f}, {said}: {episode.instruction}  {picture}")


def _unlabelled(context: StageContext) -> list[EpisodeData]:
    """The episodes of practice that have no label, with their last picture alone."""
    from robofume_data.labels import read_labels

    known = read_labels(context.directory.labels)
    # A long practice does not fit the memory; of each episode only the last picture is shown.
    return [
        dataclasses.replace(episode, images=episode.images[-1:].copy())
        for episode in _recorded(context)
        if episode.episode_id not in known
    ]


def _recorded(context: StageContext, kinds: Sequence[str] = ("practice",)) -> Iterator[EpisodeData]:
    from robofume_data.bag_reader import read_episodes

    bags = [bag for kind in kinds for bag in context.directory.bag_files(kind)]
    if not bags:
        raise RobofumeError(f"The run {context.directory.name} has not practised yet; there is nothing to label.")
    return read_episodes(bags)
