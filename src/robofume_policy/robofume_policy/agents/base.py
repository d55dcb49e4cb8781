"""What every agent is: networks, their running average, one optimiser, random generators, one `update`."""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from typing import Any, ClassVar

import numpy as np
import torch
from robofume_common.precision import has_bfloat16
from torch import Tensor

from robofume_policy.compiling import compiled
from robofume_policy.config import AgentConfig, NetworkConfig
from robofume_policy.encoder import random_shift
from robofume_policy.fitting import OBSERVED, check_batch, check_observations, check_tensors
from robofume_policy.networks import ActorCritic, Policy
from robofume_policy.replay import Array, Batch
from robofume_policy.team import current_team

ACTING_SHARE = 0.1
"""Of the phase's updates so far, over how many the policy that acts is averaged."""


class Agent(ABC):
    """Base of the learning rules.

    `network` learns; `average` is its exponential running average and gives the targets; `acting` is a longer average
    of the policy's part and is what acts, since the newest weights, and those of the last few hundred updates, swing by
    tens of points in success between evaluations. Its span grows with the phase, to `acting_updates` (averages over a
    share of the training, as in arXiv 2312.02696, section 3.1, so that the first weights are soon forgotten).

    Every agent has the metrics `values/return`, the mean Monte-Carlo return of the batch with any bonus in it, and
    `clipped/data_actions`, how many components of its actions are at a limit. No gradient is clipped.
    """

    metric_names: ClassVar[tuple[str, ...]] = ("values/return", "clipped/data_actions")
    network_class: ClassVar[type[ActorCritic]] = ActorCritic

    def __init__(self, network: NetworkConfig, config: AgentConfig, seed: int, device: str = "cpu") -> None:
        self.network_config = network
        self.config = config
        self.device = torch.device(device)
        self._halved = config.mixed_precision and has_bfloat16(device)
        self.team = current_team()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network = self.make_network(network).to(self.device)
            self.acting = Policy(network).to(self.device).requires_grad_(False)
        self.average = deepcopy(self.network).requires_grad_(False)
        self._act_as(self.average)
        self.optimiser = torch.optim.Adam(self.network.parameters(), lr=config.learning_rate_offline, fused=True)
        self.noise = torch.Generator(self.device).manual_seed(seed)
        self.random = np.random.default_rng(seed)
        self._computed_loss = compiled(self.loss) if config.compile else self.loss
        self.updates = 0
        self.use_phase(online=False)
        learnt = dict(self.network.named_parameters())
        self._pairs: tuple[list[Tensor], list[Tensor]] = (list(self.average.parameters()), list(learnt.values()))
        self._acting_pairs: tuple[list[Tensor], list[Tensor]] = (
            list(self.acting.parameters()), [learnt[name] for name, _ in self.acting.named_parameters()]
        )  # fmt: skip

    def make_network(self, shape: NetworkConfig) -> ActorCritic:
        """A network with random weights."""
        return self.network_class(shape)

    def draws(self, count: int) -> dict[str, Tensor]:  # noqa: ARG002  this one draws none
        """Random numbers of one update for `count` rows, which the loss finds in its batch: none here.

        They are drawn outside the loss, since torch.compile cannot follow a generator.
        """
        return {}

    @abstractmethod
    def loss(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss whose gradient trains the network, and named metrics (0-d tensors)."""

    def use_phase(self, online: bool) -> None:
        """Begin the offline or the online phase: take its step size and its loss weights."""
        config = self.config
        self.phase_began = self.updates
        self.conservative_weight = config.conservative_weight_online if online else config.conservative_weight_offline
        self.value_weight = config.value_weight_online if online else config.value_weight_offline
        self.imitation_filtered = online and config.imitation_filter
        kept = not online or config.imitation_weight_online < 0.0
        self.imitation_weight = config.imitation_weight if kept else config.imitation_weight_online
        for group in self.optimiser.param_groups:
            group["lr"] = config.learning_rate_online if online else config.learning_rate_offline

    def fit_inputs(self, proprioception: Array, instructions: Array) -> None:
        """Set the input statistics from recorded data: `proprioception` (N, P), distinct embeddings (K, D)."""
        for network in (self.network, self.average, self.acting):
            seen = torch.from_numpy(proprioception).to(self.device), torch.from_numpy(instructions).to(self.device)
            network.normaliser.fit(*seen)

    def update(self, batch: Batch) -> dict[str, Tensor]:
        """Take one gradient step on `batch`; the metrics stay tensors, so that nothing waits for them.

        Of several processes that train together each is given the whole batch and takes its own rows. Raises
        RobofumeError that names the part of the batch that does not fit the networks or is not finite.
        """
        check_batch(batch, self.network_config, self.network.encoder.output_dimension)
        arrays = self._own_rows(batch)
        tensors = {name: torch.from_numpy(value).to(self.device, non_blocking=True) for name, value in arrays.items()}
        tensors |= self.draws(len(tensors["actions"]))
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._halved):
            loss, metrics = self._computed_loss(tensors)
        metrics |= {
            "values/return": tensors["returns"].mean(), "clipped/data_actions": self._at_limits(tensors["actions"])
        }  # fmt: skip
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        if (self.updates + 1 - self.phase_began) % self.config.actor_every:
            self._leave_actor()
        self.team.average_gradients(self.network.parameters())
        self.optimiser.step()
        with torch.no_grad():
            torch._foreach_lerp_(*self._pairs, self.config.averaging_rate)
            torch._foreach_lerp_(*self._acting_pairs, self._acting_rate())
        self.updates += 1
        return self.team.average_metrics({name: value.detach() for name, value in metrics.items()})

    @torch.inference_mode()
    def act(self, observations: Mapping[str, Array], deterministic: bool = True) -> Array:
        """Actions (B, A) float32 of the acting policy for `images`, `proprioception` and `instructions`.

        Raises RobofumeError that names what of the observations does not fit the networks or is not finite.
        """
        check_observations(observations, self.network_config, self.acting.encoder.output_dimension)
        seen = (torch.from_numpy(observations[name]).to(self.device) for name in OBSERVED)
        outputs = self.acting.outputs(*seen)
        actions = self.acting.actor.mean(outputs)
        if not deterministic:
            noise = torch.randn(actions.shape, generator=self.noise, device=self.device)
            if self.network_config.learnt_deviation:
                actions = self.acting.actor.sample(outputs, noise.unsqueeze(1))[0][:, 0]
            else:
                actions = (actions + self.config.exploration_std * noise).clamp(-1.0, 1.0)
        return actions.cpu().numpy()

    def policy_tensors(self) -> dict[str, Tensor]:
        """Tensors of the policy that acts."""
        return self.acting.state_dict()

    def state_dict(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Everything that learning depends on, as tensors and as JSON values."""
        tensors = {f"network.{name}": value for name, value in self.network.state_dict().items()}
        tensors |= {f"average.{name}": value for name, value in self.average.state_dict().items()}
        tensors |= {f"acting.{name}": value for name, value in self.acting.state_dict().items()}
        for index, state in self.optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{index}.{name}": value for name, value in state.items()}
        tensors["noise"] = self.noise.get_state()
        state = {
            "updates": self.updates,
            "phase_began": self.phase_began,
            "random": self.random.bit_generator.state,
        }
        return {name: value.detach().cpu().clone() for name, value in tensors.items()}, json.loads(json.dumps(state))

    def load_state_dict(self, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Continue exactly where `state_dict` was taken, in the phase now set.

        Raises KeyError, RuntimeError or ValueError if it does not fit.
        """

        def part(prefix: str) -> dict[str, Tensor]:
            return {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}

        for network, prefix in ((self.network, "network."), (self.average, "average.")):
            check_tensors(network, part(prefix))
            network.load_state_dict(part(prefix))
        if acting := part("acting."):
            self.acting.load_state_dict(acting)
        else:  # written when the average of the targets acted
            self._act_as(self.average)
        optimiser = self.optimiser.state_dict()
        optimiser["state"] = {}
        for name, value in part("optimiser.").items():
            index, key = name.split(".", 1)
            optimiser["state"].setdefault(int(index), {})[key] = value.clone()
        self.optimiser.load_state_dict(optimiser)
        if tensors["noise"].shape == self.noise.get_state().shape:
            self.noise.set_state(tensors["noise"])
        else:  # a GPU's state means nothing to a processor, nor the other way round
            self.noise.manual_seed(int(state["updates"]))
        self.random.bit_generator.state = state["random"]
        self.updates = int(state["updates"])
        self.phase_began = int(state.get("phase_began", 0))

    def begin_anew(self, seed: int) -> None:
        """Keep all weights, and Adam's moments; count updates from zero and draw from `seed`, as a training of its own
        does."""
        self.updates = self.phase_began = 0
        self.noise.manual_seed(seed)
        self.random = np.random.default_rng(seed)

    def actor_parameters(self) -> Iterable[Tensor]:
        """What `actor_every` updates more rarely than the rest."""
        return self.network.actor.parameters()

    def _leave_actor(self) -> None:
        """Without gradients Adam leaves the actor and its moments as they are."""
        for parameter in self.actor_parameters():
            parameter.grad = None

    def _acting_rate(self) -> float:
        """Share of the new weights in the policy that acts: its span is a tenth of the phase, within its bounds."""
        longest, fastest = self.config.acting_updates, self.config.averaging_rate
        if longest == 0:
            return fastest
        span = min(float(longest), ACTING_SHARE * max(1, self.updates - self.phase_began))
        return min(fastest, 1.0 / span)

    def _act_as(self, network: Policy) -> None:
        weights = network.state_dict()
        self.acting.load_state_dict({name: weights[name] for name in self.acting.state_dict()})

    def _drawn(self, kind: Callable[..., Tensor], shape: tuple[int, ...]) -> Tensor:
        """This process's rows of random numbers (`torch.randn`, `torch.rand`) for the whole batch."""
        everything = kind((shape[0] * self.team.size, *shape[1:]), generator=self.noise, device=self.device)
        return everything[self.team.rows(len(everything))]

    def _at_limits(self, actions: Tensor) -> Tensor:
        """How many components of the whole batch's normalised actions (B, ..., A) are -1 or 1."""
        return self._count(actions.detach().abs() >= 1.0)

    def _count(self, chosen: Tensor) -> Tensor:
        """How many of `chosen` (bool) are true in the whole batch, as a metric whose mean over processes is right."""
        return chosen.sum().float() * self.team.size

    def _weighted_mean(self, values: Tensor, weights: Tensor, least: float) -> Tensor:
        """The mean of `values` (B,) by `weights` (B,) over the whole batch, as this process's part of a mean loss.

        A sum of weights below `least` counts as `least`.
        """
        return (weights * values).sum() * self.team.size / self.team.total(weights.sum()).clamp_min(least)

    def _own_rows(self, batch: Batch) -> dict[str, Array]:
        """This process's rows of the batch, pictures shifted as one process would shift them among all."""
        rows = self.team.rows(len(batch.actions))
        arrays = {name: value[rows] for name, value in vars(batch).items()}
        for name in ("images", "next_images"):
            arrays[name] = random_shift(getattr(batch, name), self.config.random_shift, self.random, rows)
        return arrays
