"""Adapting a trained policy to a new condition (Never Stop Learning, Julian et al., arXiv 2004.10190).

A policy that meets other light, objects or tools is not trained anew: all its weights are taken over, nothing is
frozen, and it learns on with a small step size from batches that are half its own data and half the new condition's.

A policy that was adapted before also rehearses the conditions that it was adapted to, each as much as its first data:
drawn in proportion to what there is of them, a few hundred demonstrations beside thousands of steps of practice, they
were forgotten (measured, docs/trials.md).

A policy that has practised with a dense signal goes on with it, and so do its heirs (`progress.kept_potential`).

A policy that has practised goes on with the weights of its loss in practice. Those of pre-training mostly imitate: they
would pull it back to the demonstrations that it has left behind (measured, docs/trials.md).
"""

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from robofume_common.action import ActionSpace
from robofume_common.errors import RobofumeError
from robofume_common.parameters import from_dict, to_dict
from torch import Tensor

from robofume_policy.agents import Agent
from robofume_policy.checkpoint import CheckpointStore
from robofume_policy.config import AdaptationConfig, AgentConfig, NetworkConfig, ReplayConfig
from robofume_policy.dataset import Episode, EpisodeConverter
from robofume_policy.language import InstructionEncoder
from robofume_policy.pretraining import Progress, fill_memory, train_offline, use_threads, what_differs, with_defaults
from robofume_policy.progress import PROGRESS, kept_potential
from robofume_policy.replay import Batch, ReplayMemory, sample_shares
from robofume_policy.replay_cache import ReplayCache
from robofume_policy.team import training_device
from robofume_policy.trained_agent import TrainedAgent

logger = logging.getLogger(__name__)

MEASURED = 1024
"""Transitions on which the agreement with recorded actions is measured."""


def adapt(
    source: Path | str,
    base: Iterable[Episode],
    target: Iterable[Episode],
    directory: Path | str,
    *,
    action_space: ActionSpace | None = None,
    network: NetworkConfig | None = None,
    agent: Mapping[str, Any] | None = None,
    replay: ReplayConfig | None = None,
    config: AdaptationConfig | None = None,
    metrics_directory: Path | str | None = None,
    progress: Progress | None = None,
    data: Mapping[str, Any] | None = None,
    caches: Mapping[str, ReplayCache] | None = None,
    earlier: Sequence[Iterable[Episode]] = (),
    own: Collection[str] = (),
) -> tuple[TrainedAgent, dict[str, Any]]:
    """Adapt the newest policy in the folder `source` to the episodes of `target`, with checkpoints in `directory`.

    `base`: episodes that the source was trained on; `earlier`: those of each condition that it was adapted to since.
    Of a batch each of them has `config.base_fraction` to the target's 1 - `config.base_fraction`. `agent` replaces
    single settings of its learning rule, in the phase that it was in last; the step size is `config.learning_rate`.
    `caches`: those of "base", "target" and "earlier_0" onwards. `own`: where there are prior data in `base`, the ids of
    its other episodes; prior data have at most `replay.prior_share` of what is drawn from it. For both see
    `pretraining.fill_memory`. `network` is what the new condition expects of the policy's shape.

    Returns the agent, and how far it agrees with the recorded actions: `base`, `target` and `earlier_0` onwards, each
    (before, after), the mean squared error per normalised action over successful episodes.

    Killed and called again with the same arguments, it continues from its newest checkpoint, bit for bit on a CPU.
    Raises RobofumeError if there is no source, if its architecture, actions or language are not the ones asked for, if
    there is nothing to learn from in `base` or `target`, or if `directory` holds an adaptation of other things.
    """
    config, replay = config or AdaptationConfig(), replay or ReplayConfig()
    found = CheckpointStore(source).load()
    if found is None:
        raise RobofumeError(f"There is no policy in {source}: name a folder of checkpoints of this suite.")
    _, tensors, state = found
    device = training_device(config.device)
    use_threads(config)
    stored = TrainedAgent.from_state_dict(tensors, state, device=device)
    check_shape(stored, network, action_space, source)
    adapted_before = state.get("adaptation")
    practised = adapted_before.get("practised", False) if adapted_before else stored.agent.phase_began > 0
    rate = "learning_rate_online" if practised else "learning_rate_offline"
    settings = from_dict(
        # The critics know nothing of the new condition yet, so that they cannot say what is worth imitating there.
        AgentConfig,
        {**to_dict(stored.agent.config), "imitation_filter": False, **(agent or {}), rate: config.learning_rate},
    )
    if settings.algorithm != stored.agent.config.algorithm:
        raise RobofumeError(
            f"The policy in {source} learnt by {stored.agent.config.algorithm} and cannot go on by "
            f"{settings.algorithm}: its networks are others."
        )
    shape, language = stored.agent.network_config, InstructionEncoder(stored.language)
    converter = EpisodeConverter(shape, action_space, language, settings.discount, settings.n_step)
    potential = kept_potential(tensors, state, shape, language, device)
    parts = [
        ("base", base, "policy that is adapted"),
        *((f"earlier_{n}", part, "condition that it was adapted to before") for n, part in enumerate(earlier)),
        ("target", target, "new condition"),
    ]
    memories = {
        name: fill_memory(
            episodes,
            converter,
            replay.offline_capacity,
            name=f"data of the {said}",
            cache=(caches or {}).get(name),
            own=own if name == "base" else (),
            prior_share=replay.prior_share,
        )
        for name, episodes, said in parts
    }
    drawn = shares(len(earlier), config.base_fraction)
    before = {name: action_error(stored.agent, memory) for name, memory in memories.items()}

    told: dict[str, Any] = {"agent": to_dict(settings), "base_fraction": config.base_fraction, "seed": config.seed}
    if practised:
        told["practised"] = True
    told |= {"source_updates": stored.agent.updates, "data": dict(data or {})}
    store = CheckpointStore(directory)
    checkpoint = store.load()
    if checkpoint is None:
        trained = TrainedAgent.from_state_dict(tensors, state, settings, device=device)
        trained.agent.use_phase(online=practised)
        trained.agent.begin_anew(config.seed)
    else:
        _, tensors, state = checkpoint
        held = with_defaults(state.get("adaptation"))
        if held != told:
            raise RobofumeError(
                f"{directory} holds an adaptation of another policy, or with other settings or data "
                f"({what_differs(held, told)}): choose another run, or delete that folder, as --again does."
            )
        trained = TrainedAgent.from_state_dict(tensors, state, device=device)
        began = trained.agent.phase_began
        trained.agent.use_phase(online=practised)
        trained.agent.phase_began = began
        logger.info("Continuing the adaptation after %d updates.", trained.agent.updates)
    learner = trained.agent

    def draw() -> Batch:
        batch = sample_shares(list(memories.values()), drawn, settings.batch_size, learner.random)
        return potential.shape(batch)[0] if potential else batch

    about: dict[str, Any] = {"adaptation": told}
    further: dict[str, Tensor] = {}
    if potential:
        about["progress_weight"] = potential.config.progress_weight
        further = {PROGRESS + name: value for name, value in potential.state_dict().items()}
    train_offline(trained, draw, store, config, about, metrics_directory, "adaptation", progress, further)
    after = {name: action_error(learner, memory) for name, memory in memories.items()}
    return trained, {name: (before[name], after[name]) for name in memories}


def shares(earlier: int, base_fraction: float) -> list[float]:
    """Of a batch: of the policy's first data, of each of the `earlier` conditions, and of the target."""
    weights = [base_fraction] * (1 + earlier) + [1.0 - base_fraction]
    return [weight / sum(weights) for weight in weights]


def action_error(agent: Agent, memory: ReplayMemory) -> float:
    """Mean squared error per normalised action of the acting policy on successful episodes; NaN without any."""
    batch = memory.sample(MEASURED, np.random.default_rng(0))
    chosen = batch.imitation > 0
    if not chosen.any():
        return float("nan")
    errors = []
    for rows in np.array_split(np.flatnonzero(chosen), max(1, chosen.sum() // 128)):
        seen = {"images": batch.images, "proprioception": batch.proprioception, "instructions": batch.instructions}
        actions = agent.act({name: value[rows] for name, value in seen.items()})
        errors.append(((actions - batch.actions[rows]) ** 2).mean(1))
    return float(np.concatenate(errors).mean())


def check_shape(
    stored: TrainedAgent, network: NetworkConfig | None, action_space: ActionSpace | None, source: Path | str
) -> None:
    """Raises RobofumeError where the policy in `source` cannot be one for this network and these actions."""
    if network is not None:
        held, wanted = to_dict(stored.agent.network_config), to_dict(network)
        other = [f"{name} {held[name]} (not {wanted[name]})" for name in wanted if held[name] != wanted[name]]
        if other:
            raise RobofumeError(
                f"The policy in {source} has another architecture: {', '.join(other)}. Give these settings with "
                "--set network.NAME=VALUE or --image-size, or adapt another policy."
            )
    if stored.action_space != action_space:
        raise RobofumeError(
            f"The policy in {source} was trained for other actions than this task's (limits or mask differ): adapt a "
            "policy of a task with the same ones."
        )
