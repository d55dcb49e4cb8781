"""Learning while the arm practises. The learner node is a shell around this."""

import math
import threading
from collections import deque
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import torch
from robofume_common.enums import Outcome
from robofume_common.errors import RobofumeError

from robofume_policy.best_stretch import BestStretch
from robofume_policy.checkpoint import CheckpointStore
from robofume_policy.config import AgentConfig, NoveltyConfig, OnlineConfig, ProgressConfig, ReplayConfig
from robofume_policy.dataset import Episode, EpisodeConverter
from robofume_policy.entry_journal import EntryJournal
from robofume_policy.language import InstructionEncoder
from robofume_policy.novelty import NoveltyBonus
from robofume_policy.pretraining import fill_memory, mean_metrics
from robofume_policy.progress import PROGRESS, ProgressPotential
from robofume_policy.replay import EpisodeTransitions, ReplayMemory, sample_mixed
from robofume_policy.replay_cache import ReplayCache
from robofume_policy.team import training_device
from robofume_policy.trained_agent import TrainedAgent

NOVELTY = "novelty."
"""Before the names of the bonus's tensors in a checkpoint."""
MOST_HELD = 100
"""Episodes that wait, while practice is read back, for one that entered before them and is not there yet: then it is
in no bag, as one that was heard while the recorder was killed. Otherwise all of practice would be in memory at once."""


class OnlineLearner:
    """Continues a pre-trained agent on recorded and new episodes, so many updates per control step.

    With a `novelty` of some weight, rewards and returns have a bonus for what was seldom seen (OOO's first half); with
    `progress`, a dense signal that leaves the best policy what it is.
    `add_episode`, `note_steps` and the counters may be used from one thread while another runs `train`; `train`,
    `weights`, `save`, `restore` and `read_back` belong to one thread.

    A learner that was killed, restored from its newest checkpoint and given its recorded practice (`read_back`) makes
    the updates since then again with the same batches, bit for bit: `entry_journal.py` says when each episode entered.
    """

    def __init__(
        self,
        trained: TrainedAgent,
        offline: ReplayMemory,
        config: OnlineConfig,
        replay: ReplayConfig,
        novelty: NoveltyConfig | None = None,
        progress: ProgressPotential | None = None,
    ) -> None:
        self.trained = trained
        self.config = config
        self.replay = replay
        self.offline = offline
        self.online = ReplayMemory(replay.online_capacity, replay.online_folder)
        agent = trained.agent
        self._converter = EpisodeConverter(
            agent.network_config, trained.action_space, InstructionEncoder(trained.language),
            agent.config.discount, agent.config.n_step,
        )  # fmt: skip
        self._novelty: NoveltyBonus | None = None
        if novelty is not None and novelty.novelty_weight > 0.0:
            device = str(agent.device)
            self._novelty = NoveltyBonus(agent.network_config, novelty, agent.config.discount, config.seed, device)
            self._novelty.fit(offline)
        self._progress = progress
        if progress is not None:
            progress.fit(offline)
        self._offline_updates = agent.updates
        self._steps = 0
        self.newest_episode: tuple[str, int] | None = None
        """The episode of the newest step, and how many of its actions are among the steps: it may be under way."""
        self._lock = threading.Lock()
        self._drawn = 0  # batches of practice, that of the update under way included
        self._entering = threading.Lock()  # of an episode into the memory, or of a batch being drawn
        self._waiting: deque[tuple[int, EpisodeTransitions]] = deque()  # to enter once so many batches were drawn
        self._journal: EntryJournal | None = None
        self._stretch = BestStretch()
        agent.use_phase(online=True)

    @classmethod
    def from_pretrained(
        cls,
        directory: Path | str,
        offline_episodes: Iterable[Episode],
        config: OnlineConfig | None = None,
        replay: ReplayConfig | None = None,
        agent: AgentConfig | None = None,
        novelty: NoveltyConfig | None = None,
        cache: ReplayCache | None = None,
        progress: ProgressConfig | None = None,
        own: Collection[str] = (),
    ) -> "OnlineLearner":
        """Load what `pretraining.pretrain` left in `directory`; `agent` replaces its learning settings.

        `cache`, `own`: see `pretraining.fill_memory`.

        Raises RobofumeError if there is no whole checkpoint, nothing to learn from in `offline_episodes`, or a bonus or
        a dense signal for an agent that looks at no reward.
        """
        config, replay = config or OnlineConfig(), replay or ReplayConfig()
        checkpoint = CheckpointStore(directory).load()
        if checkpoint is None:
            raise RobofumeError(f"There is no pre-trained policy in {directory}: run `robofume pretrain` first.")
        _, tensors, state = checkpoint
        trained = TrainedAgent.from_state_dict(tensors, state, agent, device=training_device(config.device))
        settings = trained.agent.config
        language = InstructionEncoder(trained.language)
        network = trained.agent.network_config
        converter = EpisodeConverter(network, trained.action_space, language, settings.discount, settings.n_step)
        potential = None
        wanted = {
            "novelty_weight": novelty.novelty_weight if novelty is not None else 0.0,
            "progress_weight": progress.progress_weight if progress is not None else 0.0,
        }
        for name, weight in wanted.items():
            if settings.algorithm == "bc" and weight > 0.0:
                raise RobofumeError(f"Filtered behaviour cloning looks at no reward: set {name} to 0.")
        if progress is not None and progress.progress_weight > 0.0:
            potential = ProgressPotential(network, progress, language, config.seed, str(trained.agent.device))
            offline_episodes = potential.noting(offline_episodes)
            cache = None  # it is the episodes themselves that the potential learns from
        memory = fill_memory(
            offline_episodes, converter, replay.offline_capacity, cache=cache, own=own, prior_share=replay.prior_share
        )
        return cls(trained, memory, config, replay, novelty, potential)

    @property
    def updates(self) -> int:
        """Gradient updates of the online phase, restarts included."""
        return self.trained.agent.updates - self._offline_updates

    @property
    def steps(self) -> int:
        """Online control steps noted so far, restarts included."""
        return self._steps

    @property
    def target_updates(self) -> int:
        """Updates that the steps seen so far allow."""
        return self.config.target_updates(self._steps)

    @property
    def metric_names(self) -> tuple[str, ...]:
        """Names of what `train` returns."""
        parts = (self.trained.agent, self._novelty, self._progress)
        return tuple(name for part in parts if part is not None for name in part.metric_names)

    def updates_due(self) -> int:
        """Updates that are allowed and not yet made, at least 0."""
        return max(0, self.target_updates - self.updates)

    def next_block(self, most: int, due_every: Iterable[int]) -> int:
        """How many updates to make now, at most so many, 0 where none is due.

        Blocks end at the multiples of each of `due_every`, so that a restart does the same at the same numbers.
        """
        return min(self.updates_due(), most, *(number - self.updates % number for number in due_every))

    def add_episode(self, episode: Episode) -> int:
        """Take in an ended episode; returns its number of transitions (0: not used, or held already)."""
        transitions = self._converter(episode)
        taken = 0 if transitions is None else self._take(transitions)
        if taken:
            self._note_outcome(episode)
        return taken

    def _note_outcome(self, episode: Episode) -> None:
        """Count a decided episode that a robot recorded; one of plain arrays tells no outcome."""
        if not isinstance(episode, EpisodeTransitions) and episode.outcome in (Outcome.SUCCESS, Outcome.TIMEOUT):
            self._stretch.note(episode.instruction, episode.outcome == Outcome.SUCCESS)

    @property
    def episodes(self) -> int:
        """Of practice: in the memory, and those that wait to enter it while updates are repeated."""
        return self.online.episodes + len(self._waiting)

    def read_back(self, episodes: Iterable[Episode]) -> None:
        """Take in what was practised before `restore`, in the order and at the updates in which it entered then.

        An episode that the journal does not know (its line was lost with the power) enters after all that it knows;
        without a journal all enter now.
        """
        known = self._journal.entries if self._journal else {}
        order, held = deque(known), {}
        for episode in episodes:
            transitions = self._converter(episode)
            if transitions is None:
                continue
            self._note_outcome(episode)
            if not known:
                self._take(transitions)
                continue
            held[transitions.episode_id] = transitions
            while order and (order[0] in held or len(held) > MOST_HELD):  # bags are mostly in this order
                episode_id = order.popleft()
                if episode_id in held:  # else it is in no bag
                    self._take(held.pop(episode_id), known[episode_id])
        last = max(known.values(), default=0)
        for episode_id in sorted(held, key=lambda name: known.get(name, last)):
            self._take(held[episode_id], known.get(episode_id, last))

    def _take(self, transitions: EpisodeTransitions, drawn: int | None = None) -> int:
        """Let an episode in once `drawn` batches were drawn (None: at once), behind all that wait; its number of
        transitions, 0 where it is held already.
        """
        with self._entering:
            names = {waiting.episode_id for _, waiting in self._waiting}
            if transitions.episode_id in self.online or transitions.episode_id in names:
                return 0
            self._waiting.append((self._drawn if drawn is None else drawn, transitions))
            self._let_in()
        return transitions.transitions

    def _let_in(self) -> None:
        """Move what waits no longer into the memory; `_entering` is held."""
        while self._waiting and self._waiting[0][0] <= self._drawn:
            _, transitions = self._waiting[0]
            self.online.add(transitions)  # it still waits where the disk does not take it
            self._waiting.popleft()
            if self._journal is not None:
                self._journal.note(transitions.episode_id, self._drawn)

    def note_steps(self, count: int = 1, newest: tuple[str, int] | None = None) -> None:
        """Count `count` online control steps; `newest`: see `newest_episode`, where it is known."""
        with self._lock:
            self._steps += count
            self.newest_episode = newest or self.newest_episode

    def train(self, updates: int) -> dict[str, float]:
        """Make `updates` gradient updates; returns the mean of their metrics by name."""
        agent, novelty, rows = self.trained.agent, self._novelty, []
        for _ in range(updates):
            with self._entering:
                self._let_in()
                weight = self._prepare_bonus() if novelty else 0.0
                batch = sample_mixed(
                    self.offline, self.online, self.replay.offline_fraction, agent.config.batch_size, agent.random,
                    weight,
                )  # fmt: skip
                self._drawn = self.updates + 1
            shaped, about_progress = self._progress.shape(batch) if self._progress else (batch, {})
            metrics = agent.update(shaped)
            if novelty:
                metrics |= novelty.update(batch) | {"novelty/weight": torch.tensor(weight)}
            metrics |= about_progress
            rows.append(metrics)
        return mean_metrics(rows)

    def _prepare_bonus(self) -> float:
        """See that every episode held has its bonus, on the schedule anew; returns the bonus's weight now."""
        assert self._novelty is not None
        weight = self._novelty.weight(self.updates)
        if weight > 0.0:
            anew = self.updates % self._novelty.config.novelty_recompute_every == 0
            self._novelty.refresh((self.offline, self.online), everything=anew)
        return weight

    def weights(self) -> tuple[bytes, str]:
        """Safetensors of the policy that acts, and the hash of its architecture."""
        return self.trained.weights()

    def save(self, directory: Path | str, best: Path | str = "") -> Path:
        """Write a checkpoint into `directory`. The episodes are not in it: they are in their bags, and when they
        entered is in the journal beside the checkpoints (from `restore` on).

        Into the folder `best` too, in the place of the one there, unless practice of late has become worse than it was
        (`best_stretch.py`).
        """
        is_best = bool(best) and self._stretch.is_best()
        tensors, state = self.trained.state_dict()
        if self._novelty:
            bonus, state["novelty"] = self._novelty.state_dict()
            tensors |= {NOVELTY + name: value for name, value in bonus.items()}
        if self._progress:
            tensors |= {PROGRESS + name: value for name, value in self._progress.state_dict().items()}
            state["progress_weight"] = self._progress.config.progress_weight
        with self._lock:
            online: dict[str, Any] = {"steps": self._steps, "offline_updates": self._offline_updates}
            if self.newest_episode is not None:
                online["newest_episode"] = list(self.newest_episode)
        if not math.isnan(self._stretch.highest):
            online["highest_share"] = self._stretch.highest
        state["online"] = online
        newest = CheckpointStore(directory).save(self.updates, tensors, state)  # first: practice goes on from it
        if is_best:
            CheckpointStore(best, keep=1).save(self.updates, tensors, state)
        return newest

    def restore(self, directory: Path | str) -> bool:
        """Continue from the newest whole checkpoint in `directory`; False if there is none.

        From now on a journal in `directory` keeps when episodes enter. Those of practice must be given again with
        `read_back` (their steps are counted already). Raises RobofumeError if all checkpoints are damaged or belong to
        another policy.
        """
        checkpoint = CheckpointStore(directory).load()
        self._journal = EntryJournal(directory)
        if checkpoint is None:
            return False
        _, tensors, state = checkpoint
        try:
            agent = self.trained.agent
            agent.load_state_dict(tensors, state["agent_state"])
            self._offline_updates = int(state["online"]["offline_updates"])
            with self._lock:
                self._steps = int(state["online"]["steps"])
                episode_id, actions = state["online"].get("newest_episode", ("", 0))
                self.newest_episode = (str(episode_id), int(actions)) if episode_id else None
            self._stretch = BestStretch(float(state["online"].get("highest_share", math.nan)))
            if self._novelty:
                if "novelty" not in state:
                    raise RobofumeError(
                        f"The checkpoints in {directory} were written without a novelty bonus: set novelty_weight to 0 "
                        "to continue them, or practise in another run."
                    )
                bonus = {n.removeprefix(NOVELTY): t for n, t in tensors.items() if n.startswith(NOVELTY)}
                self._novelty.load_state_dict(bonus, state["novelty"])
            if self._progress:
                potential = {n.removeprefix(PROGRESS): t for n, t in tensors.items() if n.startswith(PROGRESS)}
                if not potential:
                    raise RobofumeError(
                        f"The checkpoints in {directory} were written without a dense signal: set progress_weight to 0 "
                        "to continue them, or practise in another run."
                    )
                self._progress.load_state_dict(potential)
            self._drawn = self.updates
        except (KeyError, RuntimeError, TypeError, ValueError, OverflowError) as error:
            raise RobofumeError(f"The checkpoints in {directory} belong to another policy: {error}") from error
        return True
