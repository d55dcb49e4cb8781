"""An episode of plain arrays, checked: what somebody without a robot gives, as `EpisodeTransitions` has it."""

from typing import Any

import numpy as np
from robofume_common.errors import RobofumeError

from robofume_policy.returns import bootstrapped, monte_carlo_returns, n_step_targets, padded, returns_to_go

Array = np.ndarray[Any, Any]

LARGEST_ACTION = 1.001
"""Of normalised actions, for what is rounded; what is larger is not normalised."""


def fields_of(
    observations: Array,
    actions: Array,
    discount: float,
    n_step: int,
    success: bool | None,
    rewards: Array | None,
    terminated: bool | None,
    images: Array | None,
    instruction_embedding: Array | None,
) -> dict[str, Array]:
    """The arrays of `EpisodeTransitions` by name. Arguments and errors: see `EpisodeTransitions.from_arrays`."""
    action = _normalised(actions)
    steps, rows = len(action), f"({len(action) + 1}, P), one more than actions"
    embedding = np.ones(1) if instruction_embedding is None else instruction_embedding
    return {
        "instruction_embedding": _numbers("instruction_embedding", embedding, "(D,)", 1),
        "images": _pictures(images, steps + 1),
        "proprioception": _numbers("observations", observations, rows, 2, steps + 1),
        "actions": padded(action),
        **_targets(steps, discount, n_step, success, rewards, terminated),
        "imitation": np.full(steps + 1, float(bool(success)), np.float32),
    }


def _targets(
    steps: int, discount: float, n_step: int, success: bool | None, rewards: Array | None, terminated: bool | None
) -> dict[str, Array]:
    """Rewards, discounts, next_offset and returns, (N+1,) each."""
    if not 0.0 <= discount < 1.0 or n_step < 1:
        raise RobofumeError(f"A discount of {discount:g} and n_step {n_step} cannot be: give the agent's.")
    if success is None and rewards is None:
        raise RobofumeError(
            "An episode needs rewards to learn from: give `success`, whether its last observation is one, or `rewards` "
            "(N,) and `terminated`."
        )
    if (rewards is None) != (terminated is None):
        raise RobofumeError(
            "Give `rewards` and `terminated` together: whether the episode ended, or was cut off after its last step. "
            "`success` alone says it already."
        )
    known = np.ones(steps, bool)
    if rewards is None:
        targets = n_step_targets(steps, bool(success), known, discount, n_step)
        returns = monte_carlo_returns(steps, bool(success), discount)
    else:
        each = _numbers("rewards", rewards, f"({steps},), one an action", 1, steps).astype(float)
        targets = bootstrapped(each, bool(terminated), known, discount, n_step)
        returns = returns_to_go(each, bool(terminated), discount)
    names = ("rewards", "discounts", "next_offset", "returns")
    return {name: padded(values) for name, values in zip(names, (*targets, returns), strict=True)}


def _normalised(actions: Array) -> Array:
    """(N, A) float32 in [-1, 1]. Raises RobofumeError where there is none, or where they are other numbers."""
    array = _numbers("actions", actions, "(N, A)", 2)
    if not array.size:
        raise RobofumeError(f"An episode's actions are {array.shape}, which is none: leave the episode out.")
    largest = float(np.abs(array).max())
    if largest > LARGEST_ACTION:
        raise RobofumeError(
            f"An episode's actions reach {largest:.3g}: scale each component to -1 .. 1, between the least and the "
            "largest that the policy may choose."
        )
    return np.clip(array, -1.0, 1.0)


def _pictures(images: Array | None, count: int) -> Array:
    """(count, H, W, 3 * cameras) uint8; (count, 0, 0, 3) where there are none."""
    if images is None:
        return np.zeros((count, 0, 0, 3), np.uint8)
    array = np.asarray(images)
    if array.ndim != 4 or len(array) != count or array.dtype != np.uint8:
        raise RobofumeError(
            f"An episode's images are {array.shape} {array.dtype}, expected ({count}, H, W, 3) uint8, one more than "
            "actions; the pictures of further cameras are more channels."
        )
    return array


def _numbers(name: str, values: Array, expected: str, dimensions: int, count: int | None = None) -> Array:
    """`values` as float32, of so many dimensions and rows. Raises RobofumeError that names them otherwise."""
    array = np.asarray(values, np.float32)
    if array.ndim != dimensions or (count is not None and len(array) != count):
        raise RobofumeError(f"An episode's {name} are {array.shape}, expected {expected}.")
    if not np.isfinite(array).all():
        raise RobofumeError(
            f"An episode's {name} hold numbers that are not finite: correct them, or leave the episode out."
        )
    return array
