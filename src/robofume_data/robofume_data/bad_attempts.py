"""Deliberately bad attempts: bags of their own, from which the judge learns whole and the policy in part.

The judge gains by many of them, near misses above all. Of what the policy learns from they would be most: 400 of them
left one step in seven to the successes that it is to imitate, and practice then lost what these had shown
(docs/trials.md, candy sweeping). So it takes as many as there are successful demonstrations, at most.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

from robofume_common.enums import Outcome

from robofume_data.bag_reader import Bag, Paths, find_bags
from robofume_data.episode import EpisodeData
from robofume_data.labels import read_labelled

CLUMSY = "clumsy"
"""Part of the name of the bags with deliberately bad attempts."""


def is_clumsy(bag: Path) -> bool:
    """Whether a bag holds deliberately bad attempts."""
    return CLUMSY in bag.name


def read_for_policy(paths: Paths, cameras: Sequence[str] = ()) -> Iterator[EpisodeData]:
    """The episodes of bags as `read_labelled` gives them, without surplus bad attempts.

    Of each folder the first so many of them stay as other bags of that folder hold successes; all of them where there
    are no other bags, since nothing then is drowned. Paths are checked at once, bags when they are reached.
    """
    bags = find_bags(paths)
    return itertools.chain.from_iterable(
        _of_folder(list(inside), cameras) for _, inside in itertools.groupby(bags, key=lambda bag: bag.parent)
    )


def read_with_prior(prior: Paths, own: Paths, cameras: Sequence[str] = ()) -> Iterator[EpisodeData]:
    """The episodes of prior data and then a run's own, as `read_for_policy` gives them.

    Prior ones are named by their keys: the ids of another run's are those of this run's, and an id is to say whose it
    is (which are drawn the more often, which are progress of what).
    """
    before = (episode.named_by_key() for episode in read_for_policy(prior, cameras))
    return itertools.chain(before, read_for_policy(own, cameras))


def _of_folder(bags: Sequence[Path], cameras: Sequence[str]) -> Iterator[EpisodeData]:
    shown = [bag for bag in bags if not is_clumsy(bag)]
    bad = [bag for bag in bags if is_clumsy(bag)]
    clumsy = read_labelled(bad, cameras=cameras) if bad else iter(())
    if shown:
        clumsy = itertools.islice(clumsy, sum(map(_successes, shown)))
    # first, as their names have them: what comes last into a memory stays longest
    yield from clumsy
    yield from read_labelled(shown, cameras=cameras)


def _successes(bag: Path) -> int:
    return sum(episode.outcome == Outcome.SUCCESS for episode in Bag(bag).episodes())
