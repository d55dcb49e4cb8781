"""Our agents and d3rlpy's behind one small interface, for `peers.py`.

All get the same networks (two layers of 256, two critics), batch size and discount. Beyond these ours have the
defaults of `robofume_policy.config`, theirs the settings of d3rlpy's own scripts for fine-tuning with sparse rewards
(Cal-QL, IQL) or its defaults. A step costs 1 until the success for all of them: a shift of the sparse reward.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from peer_worlds import Array, Recording

if TYPE_CHECKING:
    from robofume_policy.replay import Batch

BATCH, DISCOUNT, HIDDEN = 256, 0.99, 256
ONLINE_SHARE = 0.5


class Learner(Protocol):
    """What is compared."""

    def add(self, recording: Recording, offline: bool) -> None:
        """Take an episode in."""

    def begin_online(self) -> None:
        """Practice starts."""

    def update(self) -> None:
        """One gradient update on a batch; online half of it is offline data."""

    def act(self, observation: Array, explore: bool) -> Array:
        """An action (A,) in [-1, 1]."""


class Ours:
    """An agent of robofume_policy on states alone."""

    def __init__(
        self, algorithm: str, observations: int, actions: int, seed: int, capacity: int, learnt_deviation: bool = False,
        **settings: Any,
    ) -> None:  # fmt: skip
        """`settings` replace those of `AgentConfig` that are the same for all learners."""
        from robofume_policy.agents import create_agent
        from robofume_policy.config import AgentConfig, NetworkConfig
        from robofume_policy.replay import ReplayMemory

        self.network = NetworkConfig(
            encoder="none", action_dimension=actions, proprioception_dimension=observations, instruction_dimension=1,
            instruction_features=1, hidden_size=HIDDEN, learnt_deviation=learnt_deviation,
        )  # fmt: skip
        common = {"batch_size": BATCH, "discount": DISCOUNT, "sampled_actions": 10}
        self.config = AgentConfig(algorithm=algorithm, **(common | settings))
        self.agent = create_agent(self.network, self.config, seed=seed)
        self.memories = ReplayMemory(capacity), ReplayMemory(capacity)
        self.online = False
        self.count = 0

    def add(self, recording: Recording, offline: bool) -> None:
        """Takes an episode in."""
        from robofume_policy.replay import EpisodeTransitions

        self.count += 1
        self.memories[not offline].add(
            EpisodeTransitions.from_arrays(
                recording.observations, recording.actions, success=recording.success, discount=self.config.discount,
                n_step=self.config.n_step, episode_id=str(self.count),
            )
        )  # fmt: skip

    def begin_online(self) -> None:
        """Loss weights and step size of the online phase."""
        self.agent.use_phase(online=True)
        self.online = True

    def update(self) -> None:
        """One update, half of it online data where there is some."""
        self.agent.update(self.sample())

    def sample(self, bonus_weight: float = 0.0) -> Batch:
        """The batch of an update."""
        from robofume_policy.replay import sample_mixed

        offline, online = self.memories
        if self.agent.updates == 0:
            self.agent.fit_inputs(*offline.statistics())
        share = 1.0 - ONLINE_SHARE if self.online else 1.0
        return sample_mixed(offline, online, share, self.config.batch_size, self.agent.random, bonus_weight)

    def act(self, observation: Array, explore: bool) -> Array:
        """The averaged policy's mean; with noise where it explores."""
        observations = {
            "images": np.zeros((1, 0, 0, 3), np.uint8),
            "proprioception": observation[None],
            "instructions": np.ones((1, 1), np.float32),
        }
        return np.asarray(self.agent.act(observations, deterministic=not explore)[0], np.float32)


class Theirs:
    """An algorithm of d3rlpy."""

    def __init__(self, algorithm: str, observations: int, actions: int, seed: int, capacity: int) -> None:
        import d3rlpy

        d3rlpy.seed(seed)
        encoder = d3rlpy.models.VectorEncoderFactory([HIDDEN, HIDDEN])
        settings: dict[str, Any] = {"batch_size": BATCH, "gamma": DISCOUNT}
        if algorithm == "BC":
            settings["encoder_factory"] = encoder
        else:
            settings |= {"actor_encoder_factory": encoder, "critic_encoder_factory": encoder}
        if algorithm in ("CalQL", "CQL"):
            settings |= {
                "actor_learning_rate": 1e-4, "critic_learning_rate": 3e-4, "temp_learning_rate": 1e-4,
                "n_action_samples": 10, "conservative_weight": 5.0,
            }  # fmt: skip
        if algorithm == "CalQL":
            settings |= {
                "alpha_learning_rate": 3e-4, "initial_alpha": 2.72, "alpha_threshold": 0.8, "max_q_backup": True,
            }  # fmt: skip
        if algorithm == "IQL":
            settings |= {
                "value_encoder_factory": encoder, "actor_learning_rate": 3e-4, "critic_learning_rate": 3e-4,
                "weight_temp": 10.0, "max_weight": 100.0, "expectile": 0.9,
            }  # fmt: skip
        self.learner = getattr(d3rlpy.algos, f"{algorithm}Config")(**settings).create(device="cpu:0")
        self.learner.create_impl((observations,), actions)
        self._picker = d3rlpy.dataset.SparseRewardTransitionPicker(
            failure_return=-1.0 / (1.0 - DISCOUNT), step_reward=-1.0
        )
        self._data = d3rlpy.dataset
        self._capacity = capacity
        self._buffers: list[Any] = [None, None]  # offline, online; made of their first episode
        self.online = False

    def add(self, recording: Recording, offline: bool) -> None:
        """Takes an episode in. One that was cut off loses its last transition, as d3rlpy has it."""
        rewards = np.full((len(recording.actions), 1), -1.0, np.float32)
        rewards[-1] += recording.success
        episode = self._data.Episode(recording.observations[:-1], recording.actions, rewards, recording.success)
        which = int(not offline)
        if self._buffers[which] is None:
            self._buffers[which] = self._data.create_fifo_replay_buffer(
                self._capacity, episodes=[episode], transition_picker=self._picker
            )
        else:
            self._buffers[which].append_episode(episode)

    def begin_online(self) -> None:
        """From now on half of a batch is online data."""
        self.online = True

    def update(self) -> None:
        """One update."""
        offline, online = self._buffers
        source = offline
        if self.online and online is not None:
            source = self._data.MixedReplayBuffer(online, offline, secondary_mix_ratio=1.0 - ONLINE_SHARE)
        self.learner.update(source.sample_transition_batch(BATCH))

    def act(self, observation: Array, explore: bool) -> Array:
        """Its best action, or one sampled from its policy."""
        choose = self.learner.sample_action if explore else self.learner.predict
        return np.clip(np.asarray(choose(observation[None])[0], np.float32), -1.0, 1.0)


LEARNERS: dict[str, tuple[Callable[..., Ours | Theirs], str]] = {
    "ours cal_ql": (Ours, "cal_ql"),
    "ours cql": (Ours, "cql"),
    "ours iql": (Ours, "iql"),
    "ours bc": (Ours, "bc"),
    "ours soft cal_ql": (partial(Ours, learnt_deviation=True), "cal_ql"),
    "d3rlpy CalQL": (Theirs, "CalQL"),
    "d3rlpy CQL": (Theirs, "CQL"),
    "d3rlpy IQL": (Theirs, "IQL"),
    "d3rlpy BC": (Theirs, "BC"),
}
