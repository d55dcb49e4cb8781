"""What a policy is retrained on after practice (OOO, Mark et al., arXiv 2310.08558).

The policy that practised was optimistic: it explored, and each of its updates saw only what there was until then. OOO
throws it away and trains a new, pessimistic one from scratch, offline, on the recorded data and the first t steps of
practice, with the reward of the task alone.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from robofume_common.enums import Outcome
from robofume_data.episode import EpisodeData


def without_pictures(episodes: Iterable[EpisodeData]) -> Iterator[EpisodeData]:
    """The same episodes, of which many fit into memory: their pictures are (0, H, W, 3)."""
    for episode in episodes:
        yield replace(episode, images=episode.images[:0].copy(), further_images={})


def first_steps(episodes: Iterable[EpisodeData], steps: int) -> list[EpisodeData]:
    """The episodes that had ended, in the order of their ends, when `steps` actions were made; 0: all of them."""
    chosen, made = [], 0
    for episode in sorted(episodes, key=lambda episode: episode.closed):
        made += len(episode.actions)
        if 0 < steps < made:
            break
        chosen.append(episode)
    return chosen


def repeated_successes(episodes: Iterable[EpisodeData], times: int) -> dict[str, int]:
    """How often each episode counts in the memory: successful ones `times`, all others once (by episode id)."""
    return {e.episode_id: times if e.outcome == Outcome.SUCCESS else 1 for e in episodes}
