"""Replay memory: whole episodes in, batches of transitions out.

Images are kept once per step, as uint8; an n-step transition holds only the distance to its next observation.
Episodes enter when they have ended, because Monte-Carlo returns exist only then.
"""

import hashlib
import threading
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from robofume_common.errors import RobofumeError

from robofume_policy.disk_array import DiskArray
from robofume_policy.plain_arrays import Array, fields_of


@dataclass(frozen=True)
class EpisodeTransitions:
    """One episode as the memory takes it: S observations, of which some begin a transition.

    `next_offset[t]` is how many observations later transition t ends (0: no transition begins here); `rewards[t]`
    is the discounted sum of rewards until then and `discounts[t]` the factor of the value there (0 if terminal).
    """

    episode_id: str
    instruction_embedding: Array  # (D,) float32
    images: Array  # (S, H, W, 3 * cameras) uint8, H and W 0 for a policy without pictures; or features (S, F) float16
    proprioception: Array  # (S, P) float32
    actions: Array  # (S, A) float32 in [-1, 1]
    rewards: Array  # (S,) float32
    discounts: Array  # (S,) float32
    returns: Array  # (S,) float32, Monte-Carlo return-to-go
    next_offset: Array  # (S,) int32
    imitation: Array  # (S,) float32, 1 where behaviour cloning may copy the action

    @property
    def transitions(self) -> int:
        """Number of transitions that begin in this episode."""
        return int(np.count_nonzero(self.next_offset))

    @classmethod
    def from_arrays(
        cls,
        observations: Array,
        actions: Array,
        *,
        discount: float,
        n_step: int,
        success: bool | None = None,
        rewards: Array | None = None,
        terminated: bool | None = None,
        images: Array | None = None,
        instruction_embedding: Array | None = None,
        episode_id: str = "",
    ) -> "EpisodeTransitions":
        """An episode of plain arrays, without a robot: `pretrain`, `adapt` and `OnlineLearner` learn from such too.

        `observations` (N+1, P), what the policy is given as its proprioception; `actions` (N, A) in [-1, 1]; `discount`
        and `n_step` of the agent. `images` (N+1, H, W, 3 * cameras) uint8, for a policy with an encoder.
        `instruction_embedding` (D,); without one it is 1, for `NetworkConfig(instruction_dimension=1)`. An episode
        without an id is named after its content, so that the same arrays twice are one episode.

        `success` says whether the last observation is one: a step costs 1, and the one into the success nothing.
        Otherwise `rewards` (N,), and `terminated`, whether nothing comes after the last observation; one that was cut
        off is bootstrapped (see `returns_to_go`). Beside rewards `success` only says whether behaviour cloning may copy
        the actions (not told: no).

        Raises RobofumeError where it is not told how good the steps are, where an array is empty, of another shape or
        holds numbers that are not finite, or where actions are not normalised.
        """
        arrays = fields_of(
            observations, actions, discount, n_step, success, rewards, terminated, images, instruction_embedding
        )
        return cls(episode_id or _name_of(arrays), **arrays)


@dataclass(frozen=True)
class Batch:
    """B transitions; arrays as in `EpisodeTransitions`, with the next observations looked up."""

    images: Array  # (B, H, W, 3 * cameras) uint8
    next_images: Array  # (B, H, W, 3 * cameras) uint8
    proprioception: Array  # (B, P) float32
    next_proprioception: Array  # (B, P) float32
    instructions: Array  # (B, D) float32
    actions: Array  # (B, A) float32
    rewards: Array  # (B,) float32
    discounts: Array  # (B,) float32
    returns: Array  # (B,) float32
    imitation: Array  # (B,) float32

    @staticmethod
    def concatenate(*batches: "Batch") -> "Batch":
        """Put batches after one another."""
        names = [field.name for field in fields(Batch)]
        return Batch(**{name: np.concatenate([getattr(batch, name) for batch in batches]) for name in names})


def _name_of(arrays: Mapping[str, Array]) -> str:
    """An id that follows from the content."""
    content = hashlib.sha256()
    for array in arrays.values():
        content.update(np.ascontiguousarray(array).tobytes())
    return content.hexdigest()[:16]


STORED = ("images", "proprioception", "actions", "rewards", "discounts", "returns", "next_offset", "imitation")


class ReplayMemory:
    """A ring of at most `capacity` steps; the oldest episodes make room for new ones.

    Safe to add to in one thread while another samples. Its memory is taken from the system only as it fills; where a
    `folder` is given, its pictures or features lie there on the disk (`DiskArray`), and the batches are the same.
    """

    def __init__(self, capacity: int, folder: str | Path = "") -> None:
        self.capacity = capacity
        self._folder = folder
        self._on_disk: DiskArray | None = None
        self._mapped = False
        self._storage: dict[str, Array] = {}
        self._instruction = np.zeros(capacity, np.int32)
        self._instructions: Array = np.zeros((0, 0), np.float32)
        self._episodes: deque[tuple[str, int, int, int]] = deque()  # id, first slot, slots, starts
        self._places: dict[str, tuple[int, int]] = {}  # id -> first slot, slots
        self._bonus: Array | None = None  # (capacity, 2): in rewards, in returns; None: no bonus was ever given
        self._without_bonus: dict[str, None] = {}  # in the order in which they came
        self._starts: Array = np.zeros(0, np.int64)  # slots where a transition begins
        self._next_slot = 0
        self._lock = threading.Lock()

    @classmethod
    def of(
        cls,
        storage: dict[str, Array],
        sentences: Array,
        episodes: Sequence[tuple[str, int, int, int]],
        times: Mapping[str, int],
    ) -> "ReplayMemory":
        """A memory on arrays by the names in STORED, which may be read only; it takes in no episode.

        episodes: id, first slot, slots and row of `sentences` (K, D), in the order in which they came. times: how often
        the transitions of an episode count, where not once.
        """
        memory = cls(len(storage["rewards"]) if storage else 0)
        memory._mapped, memory._storage, memory._instructions = True, storage, sentences
        begins: list[Array] = [np.zeros(0, np.int64)]
        for episode_id, first, size, sentence in episodes:
            found = first + np.flatnonzero(storage["next_offset"][first : first + size])
            begins.append(np.tile(found, times.get(episode_id, 1)))
            memory._instruction[first : first + size] = sentence
            memory._episodes.append((episode_id, first, size, len(begins[-1])))
            memory._places[episode_id] = (first, size)
            memory._without_bonus[episode_id] = None
        memory._starts = np.concatenate(begins)
        return memory

    def __len__(self) -> int:
        """Number of transitions that can be sampled; those that are drawn more often count so often."""
        return len(self._starts)

    @property
    def episodes(self) -> int:
        """Number of episodes held."""
        return len(self._episodes)

    def __contains__(self, episode_id: object) -> bool:
        return episode_id in self._places

    def add(self, episode: EpisodeTransitions, times: int = 1) -> None:
        """Take in an ended episode, whose transitions are drawn `times` as often as those of others.

        Raises ValueError if it is of other shapes, or if the memory is one of given arrays; RobofumeError if it is
        longer than the memory, or this lies on a disk that does not take it, which leaves the memory as it was.
        """
        if self._mapped:
            raise ValueError("a memory of given arrays takes in no episode")
        size = len(episode.images)
        if size > self.capacity:
            raise RobofumeError(
                f"Episode {episode.episode_id} has {size} steps and does not fit a memory of {self.capacity}: set "
                f"replay.online_capacity, or replay.offline_capacity for recorded data, to {size} or more."
            )
        with self._lock:
            if not self._storage:
                self._storage = self._empty_storage(episode)
            first = self._next_slot if self._next_slot + size <= self.capacity else 0
            if self._on_disk is not None:
                self._on_disk.reserve(first + size)
            self._make_room(first, size)
            for name, array in self._storage.items():
                array[first : first + size] = getattr(episode, name)
            self._instruction[first : first + size] = self._instruction_index(episode.instruction_embedding)
            self._next_slot = first + size
            self._episodes.append((episode.episode_id, first, size, times * episode.transitions))
            self._places[episode.episode_id] = (first, size)
            self._without_bonus[episode.episode_id] = None
            if self._bonus is not None:
                self._bonus[first : first + size] = 0.0
            begins = first + np.tile(np.flatnonzero(episode.next_offset), times)
            self._starts = np.concatenate([self._starts, begins])

    def favour(self, episode_ids: Collection[str], share: float) -> None:
        """Draw these episodes the more often where they are less than that share, in (0, 1), of what is drawn.

        Each of their transitions counts a whole number of times, the one that brings them nearest to the share.
        """
        with self._lock:
            chosen = [key in episode_ids for key, *_ in self._episodes]
            sizes = [size for *_, size in self._episodes]
            own = sum(size for size, one_of_them in zip(sizes, chosen, strict=True) if one_of_them)
            times = max(1, round(share / (1.0 - share) * (sum(sizes) - own) / own)) if own else 1
            counts = [times if one_of_them else 1 for one_of_them in chosen]
            parts = np.split(self._starts, np.cumsum(sizes)[:-1])
            self._starts = np.concatenate([np.tile(part, n) for part, n in zip(parts, counts, strict=True)])
            counted = zip(self._episodes, counts, strict=True)
            self._episodes = deque((key, first, slots, n * size) for (key, first, slots, size), n in counted)

    def sample(self, batch_size: int, random: np.random.Generator, bonus_weight: float = 0.0) -> Batch:
        """Draw `batch_size` transitions uniformly, with replacement. Raises ValueError from an empty memory.

        Rewards and returns are those of the task, plus `bonus_weight` times what `set_bonus` gave.
        """
        with self._lock:
            if not len(self._starts):
                raise ValueError("the replay memory holds no transition yet")
            slots = self._starts[random.integers(0, len(self._starts), batch_size)]
            store = self._storage
            later = slots + store["next_offset"][slots]
            rewards, returns = store["rewards"][slots], store["returns"][slots]
            if bonus_weight > 0.0 and self._bonus is not None:
                extra = np.float32(bonus_weight) * self._bonus[slots]
                rewards, returns = rewards + extra[:, 0], returns + extra[:, 1]
            return Batch(
                images=store["images"][slots],
                next_images=store["images"][later],
                proprioception=store["proprioception"][slots],
                next_proprioception=store["proprioception"][later],
                instructions=self._instructions[self._instruction[slots]],
                actions=store["actions"][slots],
                rewards=rewards,
                discounts=store["discounts"][slots],
                returns=returns,
                imitation=store["imitation"][slots],
            )

    def episode_ids(self, without_bonus: bool = False) -> list[str]:
        """The episodes held, or those of them that were given no bonus yet, the oldest first."""
        with self._lock:
            return list(self._without_bonus if without_bonus else self._places)

    def contents(self) -> tuple[list[tuple[str, int, int]], Array]:
        """Id, slots and row of its sentence of each episode held, the oldest first, and the sentences (K, D)."""
        with self._lock:
            held = [(key, size, int(self._instruction[first])) for key, first, size, _ in self._episodes]
            return held, self._instructions.copy()

    def observations(self, episode_id: str) -> tuple[Array, Array, Array] | None:
        """Images, proprioception and `next_offset` of an episode, (S, ...) each; None if it is no longer held."""
        with self._lock:
            if episode_id not in self._places:
                return None
            first, size = self._places[episode_id]
            names = ("images", "proprioception", "next_offset")
            images, proprioception, offset = (self._storage[name][first : first + size].copy() for name in names)
            return images, proprioception, offset

    def set_bonus(self, episode_id: str, rewards: Array, returns: Array) -> None:
        """Keep what a weight of 1 would add to an episode's rewards and returns, (S,) each; the task's stay."""
        with self._lock:
            if episode_id not in self._places:
                return
            if self._bonus is None:
                self._bonus = np.zeros((self.capacity, 2), np.float32)
            first, size = self._places[episode_id]
            self._bonus[first : first + size] = np.stack([rewards, returns], 1)
            self._without_bonus.pop(episode_id, None)

    def statistics(self) -> tuple[Array, Array]:
        """Proprioception (N, P) of all transitions and the distinct sentence embeddings (K, D)."""
        with self._lock:
            return self._storage["proprioception"][self._starts], self._instructions.copy()

    def imitated_actions(self) -> Array:
        """Actions (N, A) of the transitions that behaviour cloning may copy, as often as they are drawn."""
        with self._lock:
            copied = self._starts[self._storage["imitation"][self._starts] > 0.0] if self._storage else self._starts
            return self._storage["actions"][copied] if len(copied) else np.zeros((0, 0), np.float32)

    def _empty_storage(self, episode: EpisodeTransitions) -> dict[str, Array]:
        """Arrays of zeros by the names in STORED, for episodes like this one."""
        storage: dict[str, Array] = {}
        for name in STORED:
            value: Array = getattr(episode, name)
            shape = (self.capacity, *value.shape[1:])
            if name == "images" and self._folder:
                self._on_disk = DiskArray(self._folder, shape, value.dtype)
                storage[name] = self._on_disk.array
            else:
                storage[name] = np.zeros(shape, value.dtype)
        return storage

    def _make_room(self, first: int, size: int) -> None:
        """Forget the oldest episodes that lie in slots first .. first + size, or behind them if we wrapped."""
        removed = 0
        while self._episodes:
            episode_id, other, length, transitions = self._episodes[0]
            wrapped_past = first == 0 and other >= self._next_slot > 0
            if not wrapped_past and not (other < first + size and first < other + length):
                break
            self._episodes.popleft()
            self._places.pop(episode_id, None)
            self._without_bonus.pop(episode_id, None)
            removed += transitions
        self._starts = self._starts[removed:]

    def _instruction_index(self, embedding: Array) -> int:
        if len(self._instructions):
            same = np.flatnonzero((self._instructions == embedding).all(1))
            if len(same):
                return int(same[0])
            self._instructions = np.vstack([self._instructions, embedding])
        else:
            self._instructions = embedding[None].astype(np.float32)
        return len(self._instructions) - 1


def sample_mixed(
    offline: ReplayMemory,
    online: ReplayMemory,
    offline_fraction: float,
    batch_size: int,
    random: np.random.Generator,
    bonus_weight: float = 0.0,
) -> Batch:
    """Draw a batch of which `offline_fraction` comes from the recorded data (RLPD, arXiv 2302.02948); below 0 as many
    as chance gives when both memories are one. `bonus_weight`: see `ReplayMemory.sample`."""
    if offline_fraction < 0.0 and len(online) + len(offline):
        from_offline = int(random.binomial(batch_size, len(offline) / (len(online) + len(offline))))
    else:
        from_offline = round(batch_size * offline_fraction) if len(online) else batch_size
    if not len(offline):
        from_offline = 0
    if from_offline in (0, batch_size):
        return (offline if from_offline else online).sample(batch_size, random, bonus_weight)
    return Batch.concatenate(
        offline.sample(from_offline, random, bonus_weight),
        online.sample(batch_size - from_offline, random, bonus_weight),
    )


def sample_shares(
    memories: Sequence[ReplayMemory], shares: Sequence[float], batch_size: int, random: np.random.Generator
) -> Batch:
    """Draw a batch of which each memory gives its share, as nearly as whole transitions can; they sum to 1."""
    ends = np.rint(np.cumsum(shares) * batch_size).astype(int)
    counts = np.diff(ends, prepend=0)
    return Batch.concatenate(
        *(memory.sample(int(count), random) for memory, count in zip(memories, counts, strict=True) if count)
    )
