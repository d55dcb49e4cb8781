"""The offline phase: from recorded episodes to a policy that is ready to practise."""

import hashlib
import json
import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from robofume_common.action import ActionSpace
from robofume_common.errors import RobofumeError
from robofume_common.parameters import to_dict
from torch import Tensor

from robofume_policy.agents import Agent, create_agent
from robofume_policy.checkpoint import CheckpointStore
from robofume_policy.config import AgentConfig, LanguageConfig, NetworkConfig, PretrainingConfig, ReplayConfig
from robofume_policy.dataset import Episode, EpisodeConverter, is_undecided, named_apart
from robofume_policy.exploration import tried_on_the_way
from robofume_policy.language import InstructionEncoder
from robofume_policy.metrics import UPDATES_PER_SECOND, MetricsWriter, check_finite, update_rate
from robofume_policy.replay import Batch, ReplayMemory
from robofume_policy.replay_cache import ReplayCache
from robofume_policy.team import training_device
from robofume_policy.trained_agent import TrainedAgent

logger = logging.getLogger(__name__)

Progress = Callable[[int, int, dict[str, float]], None]
"""Called with (updates done, updates in all, newest metrics)."""


def fill_memory(
    episodes: Iterable[Episode],
    converter: EpisodeConverter,
    capacity: int,
    times: Mapping[str, int] | None = None,
    name: str = "recorded data",
    cache: ReplayCache | None = None,
    own: Collection[str] = (),
    prior_share: float = 1.0,
) -> ReplayMemory:
    """Put episodes into a memory, each once; those whose id is in `times` are drawn so many times as often.

    Where `own` names those that are no prior data, the others have about `prior_share` of what is drawn, at most.
    `name` is what the data are called in the error. With a `cache` of their bags the memory is mapped from there, and
    `episodes` are asked for only where it does not have them yet. Raises RobofumeError if there is nothing in them to
    learn from.
    """
    if cache is not None:
        filled = cache.memory(episodes, converter, capacity, times)
        memory, undecided = filled.memory, filled.undecided
    else:
        memory, undecided = ReplayMemory(capacity), 0
        keys: dict[str, str] = {}
        for episode in episodes:
            transitions = converter(episode)
            if transitions is None:
                undecided += is_undecided(episode)
                continue
            transitions = named_apart(transitions, episode, keys)
            if transitions.episode_id not in memory:
                memory.add(transitions, (times or {}).get(transitions.episode_id, 1))
    left_out = f"{undecided} episodes are left out, since nobody knows how they ended or how any of their steps is"
    if not len(memory) and undecided:
        raise RobofumeError(f"The {name} hold no episode to learn from: {left_out}; import them with --labels.")
    if not len(memory):
        raise RobofumeError(f"The {name} hold no episode to learn from: collect demonstrations first.")
    if undecided:
        logger.warning("%s.", left_out)
    if own and prior_share < 1.0:
        memory.favour(own, 1.0 - prior_share)
    return memory


def pretrain(
    episodes: Iterable[Episode],
    directory: Path | str,
    *,
    action_space: ActionSpace | None = None,
    network: NetworkConfig | None = None,
    agent: AgentConfig | None = None,
    replay: ReplayConfig | None = None,
    config: PretrainingConfig | None = None,
    language: LanguageConfig | None = None,
    metrics_directory: Path | str | None = None,
    metrics_name: str = "pretraining",
    progress: Progress | None = None,
    times: Mapping[str, int] | None = None,
    data: Mapping[str, Any] | None = None,
    cache: ReplayCache | None = None,
    own: Collection[str] = (),
) -> TrainedAgent:
    """Train an agent on `episodes` for `config.updates` updates, with checkpoints in `directory`.

    `action_space` is that of the robot that recorded them; episodes of plain arrays need none
    (`EpisodeTransitions.from_arrays`). `times`, `cache`, `own`: see `fill_memory`. `data` says in plain values which
    data these are; like the settings it is kept with the checkpoints. Killed and called again with the same arguments,
    it continues from its newest checkpoint and ends with the same weights, bit for bit on a CPU, with a cache or not.
    Inside `team.joined()`, in processes that `torchrun` started, they share every batch, and the first one writes.
    Raises RobofumeError if `directory` holds a training with other settings, actions, language or data, where
    `config.device` is not there, or where the losses are no longer finite.
    """
    network, agent = network or NetworkConfig(), agent or AgentConfig()
    replay, config = replay or ReplayConfig(), config or PretrainingConfig()
    device = training_device(config.device)
    use_threads(config)
    encoder = InstructionEncoder((language or LanguageConfig()).model)
    store = CheckpointStore(directory)
    converter = EpisodeConverter(network, action_space, encoder, agent.discount, agent.n_step)
    memory = fill_memory(
        episodes, converter, replay.offline_capacity, times, cache=cache, own=own, prior_share=replay.prior_share
    )
    settings = {"network": to_dict(network), "agent": to_dict(agent), "seed": config.seed}
    if data is not None:
        settings["data"] = dict(data)

    checkpoint = store.load()
    if checkpoint is None:
        fresh = create_agent(network, agent, config.seed, device)
        trained = TrainedAgent(fresh, action_space, encoder.model_name)
        trained.agent.fit_inputs(*memory.statistics())
        speed = tried_on_the_way(memory.imitated_actions(), trained.exploration)
        if speed:
            logger.warning(
                "Half of the demonstrated steps are slower than %.2f of the largest one, and below %.2f practice tries "
                "the gripper, as where the arm waits: it may let go on the way. In a new run, set "
                "agent.exploration_still to about %.2f.",
                speed, agent.exploration_still, speed / 2.0,
            )  # fmt: skip
    else:
        _, tensors, state = checkpoint
        held = with_defaults(state.get("pretraining"))
        if held != settings:
            raise RobofumeError(
                f"{directory} holds a training with other settings or data ({what_differs(held, settings)}): choose "
                "another run, or delete that folder, as --again does."
            )
        trained = TrainedAgent.from_state_dict(tensors, state, device=device)
        if (trained.action_space, trained.language) != (action_space, encoder.model_name):
            raise RobofumeError(
                f"{directory} holds a training with other settings, of the actions or the language model: choose "
                "another run, or delete that folder."
            )
        logger.info("Continuing the pre-training after %d updates.", trained.agent.updates)
    learner = trained.agent
    train_offline(
        trained, lambda: memory.sample(agent.batch_size, learner.random), store, config, {"pretraining": settings},
        metrics_directory, metrics_name, progress,
    )  # fmt: skip

    return trained


def use_threads(config: PretrainingConfig) -> None:
    """Before anything is computed: torch sums in another order on another number of threads."""
    if config.threads:
        torch.set_num_threads(config.threads)


def train_offline(
    trained: TrainedAgent,
    draw: Callable[[], Batch],
    store: CheckpointStore,
    config: PretrainingConfig,
    about: Mapping[str, Any],
    metrics_directory: Path | str | None,
    metrics_name: str,
    progress: Progress | None,
    further: Mapping[str, Tensor] | None = None,
) -> None:
    """Update until there are `config.updates`, on batches from `draw`, with metrics and checkpoints on the way.

    `about` is kept with the state of every checkpoint, `further` with its tensors. Raises RobofumeError where the
    losses are no longer finite, or where the processes of a team do not begin alike.
    """
    learner = trained.agent
    check_alike(learner, store.directory)
    leads = learner.team.rank == 0
    writer = None
    if metrics_directory is not None and leads:
        writer = MetricsWriter(metrics_directory, metrics_name, learner.metric_names, learner.updates)
    recent: list[dict[str, Tensor]] = []
    began = time.monotonic()
    while learner.updates < config.updates:
        recent.append(learner.update(draw()))
        done = learner.updates
        if done % config.metrics_every == 0 or done == config.updates:
            metrics = mean_metrics(recent)
            speed = {UPDATES_PER_SECOND: update_rate(len(recent), time.monotonic() - began)}
            recent.clear()
            check_finite(metrics)
            if writer is not None:
                writer.write(done, metrics | speed)
            if progress is not None and leads:
                progress(done, config.updates, metrics)
            began = time.monotonic()
        if leads and (done % config.checkpoint_every == 0 or done == config.updates):
            asked = time.monotonic()
            tensors, state = trained.state_dict()
            store.save(done, {**tensors, **(further or {})}, {**state, **about})
            began += time.monotonic() - asked
    if writer is not None:
        writer.close()


def check_alike(learner: Agent, directory: Path) -> None:
    """Raises RobofumeError where the processes that train together begin with other weights: each would average in what
    the others never had, and the first one's checkpoints would hold none of it.

    They do where only the host of the first one, which writes the checkpoints, has those in `directory`.
    """
    team = learner.team
    if team.size > 1 and not team.agree((learner.updates, weight_hash(learner)), learner.device):
        raise RobofumeError(
            f"The processes that train together do not begin alike; this one, {team.rank + 1} of {team.size}, has made "
            f"{learner.updates} updates by what it reads in {directory}. Put that folder and the data on a disk that "
            "all hosts share, or copy them to every host, and start all processes again."
        )


def weight_hash(learner: Agent) -> int:
    """63 bits that tell its weights, the optimiser's state and the random ones from others."""
    tensors, state = learner.state_dict()
    content = hashlib.sha256(json.dumps(state, sort_keys=True).encode())
    for name, value in sorted(tensors.items()):
        content.update(name.encode() + value.contiguous().numpy().tobytes())
    return int.from_bytes(content.digest()[:8], "big") >> 1


def with_defaults(settings: Any) -> Any:
    """The settings kept with a checkpoint; those that did not exist when it was written have their defaults."""
    if not isinstance(settings, dict):
        return settings
    kinds = {"network": NetworkConfig, "agent": AgentConfig}
    known = {name: to_dict(kind()) for name, kind in kinds.items() if name in settings}
    return {**settings, **{name: {**defaults, **settings[name]} for name, defaults in known.items()}}


def what_differs(held: Any, wanted: Mapping[str, Any]) -> str:
    """The names of the settings, and of what is told of the data, that are not those kept with a checkpoint."""
    held = held if isinstance(held, dict) else {}
    names: list[str] = []
    for name in (*wanted, *(name for name in held if name not in wanted)):
        one, other = held.get(name), wanted.get(name)
        if isinstance(one, dict) and isinstance(other, dict):
            inner = (*other, *(key for key in one if key not in other))
            names += [f"{name}.{key}" for key in inner if one.get(key) != other.get(key)]
        elif one != other:
            names.append(name)
    return ", ".join(names)


def mean_metrics(rows: list[dict[str, Tensor]]) -> dict[str, float]:
    """Mean of each metric over some updates."""
    return {name: float(sum(float(row[name]) for row in rows) / len(rows)) for name in rows[0]} if rows else {}
