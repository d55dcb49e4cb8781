"""Learning while the arm practises. The learner node is a shell around this."""

import threading
from collections.abc import Iterable
from pathlib import Path

import torch
from robofume_common.errors import RobofumeError
from robofume_data.episode import EpisodeData

from robofume_policy.checkpoint import CheckpointStore
from robofume_policy.config import AgentConfig, NoveltyConfig, OnlineConfig, ProgressConfig, ReplayConfig
from robofume_policy.dataset import EpisodeConverter
from robofume_policy.language import InstructionEncoder
from robofume_policy.novelty import NoveltyBonus
from robofume_policy.pretraining import fill_memory, mean_metrics
from robofume_policy.progress import ProgressPotential
from robofume_policy.replay import ReplayMemory, sample_mixed
from robofume_policy.replay_cache import ReplayCache
from robofume_policy.team import training_device
from robofume_policy.trained_agent import TrainedAgent

NOVELTY = "novelty."
"""Before the names of the bonus's tensors in a checkpoint."""
PROGRESS = "progress."
"""Before those of the dense signal."""


class OnlineLearner:
    """Continues a pre-trained agent on recorded and new episodes, so many updates per control step.

    With a `novelty` of some weight, rewards and returns have a bonus for what was seldom seen (OOO's first half); with
    `progress`, a dense signal that leaves the best policy what it is.
    `add_episode`, `note_steps` and the counters may be used from one thread while another runs `train`; `train`,
    `weights`, `save` and `restore` belong to one thread.
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
        self.online = ReplayMemory(replay.online_capacity)
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
        self._lock = threading.Lock()
        agent.use_phase(online=True)

    @classmethod
    def from_pretrained(
        cls,
        directory: Path | str,
        offline_episodes: Iterable[EpisodeData],
        config: OnlineConfig | None = None,
        replay: ReplayConfig | None = None,
        agent: AgentConfig | None = None,
        novelty: NoveltyConfig | None = None,
        cache: ReplayCache | None = None,
        progress: ProgressConfig | None = None,
    ) -> "OnlineLearner":
        """Load what `pretraining.pretrain` left in `directory`; `agent` replaces its learning settings.

        `cache`: see `pretraining.fill_memory`.

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
        memory = fill_memory(offline_episodes, converter, replay.offline_capacity, cache=cache)
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

    def add_episode(self, episode: EpisodeData) -> int:
        """Take in an ended episode; returns its number of transitions (0: not used, or held already)."""
        transitions = self._converter(episode)
        if transitions is None or transitions.episode_id in self.online:
            return 0
        self.online.add(transitions)
        return transitions.transitions

    def note_steps(self, count: int = 1) -> None:
        """Count `count` online control steps."""
        with self._lock:
            self._steps += count

    def train(self, updates: int) -> dict[str, float]:
        """Make `updates` gradient updates; returns the mean of their metrics by name."""
        agent, novelty, rows = self.trained.agent, self._novelty, []
        for _ in range(updates):
            weight = self._prepare_bonus() if novelty else 0.0
            batch = sample_mixed(
                self.offline, self.online, self.replay.offline_fraction, agent.config.batch_size, agent.random, weight
            )
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

    def save(self, directory: Path | str) -> Path:
        """Write a checkpoint into `directory`. The episodes are not in it: their bags are."""
        tensors, state = self.trained.state_dict()
        if self._novelty:
            bonus, state["novelty"] = self._novelty.state_dict()
            tensors |= {NOVELTY + name: value for name, value in bonus.items()}
        if self._progress:
            tensors |= {PROGRESS + name: value for name, value in self._progress.state_dict().items()}
        online = {"steps": self._steps, "offline_updates": self._offline_updates}
        return CheckpointStore(directory).save(self.updates, tensors, {**state, "online": online})

    def restore(self, directory: Path | str) -> bool:
        """Continue from the newest whole checkpoint in `directory`; False if there is none.

        Practice episodes must be given again with `add_episode` (their steps are counted already). Raises
        RobofumeError if all checkpoints are damaged or belong to another policy.
        """
        checkpoint = CheckpointStore(directory).load()
        if checkpoint is None:
            return False
        _, tensors, state = checkpoint
        try:
            agent = self.trained.agent
            agent.load_state_dict(tensors, state["agent_state"])
            self._offline_updates = int(state["online"]["offline_updates"])
            with self._lock:
                self._steps = int(state["online"]["steps"])
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
        except (KeyError, RuntimeError, TypeError, ValueError, OverflowError) as error:
            raise RobofumeError(f"The checkpoints in {directory} belong to another policy: {error}") from error
        return True
