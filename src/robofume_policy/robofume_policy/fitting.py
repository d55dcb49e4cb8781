"""Whether what is given to an agent fits its networks, told in one sentence before torch stumbles over it."""

from collections.abc import Mapping

import numpy as np
from robofume_common.errors import RobofumeError
from torch import Tensor, nn

from robofume_policy.config import NetworkConfig
from robofume_policy.replay import Array, Batch, EpisodeTransitions

OBSERVED = ("images", "proprioception", "instructions")
"""What a policy acts on, by name."""
LEARNT = "the data that are learnt from"
SEEN = "what the policy is shown"


def check_batch(batch: Batch, network: NetworkConfig, encoded: int) -> None:
    """Look at every array of a batch; it costs some tens of microseconds.

    `encoded` is the encoder's number of features, which the batch of a frozen encoder holds in the place of pictures.
    Raises RobofumeError that names the first array of another shape or type than the networks', or with a number that
    is not finite, features of a frozen encoder among them.
    """
    count = len(batch.actions)
    state = (count, network.proprioception_dimension)
    expected: dict[str, tuple[int, ...]] = {
        "proprioception": state,
        "next_proprioception": state,
        "instructions": (count, network.instruction_dimension),
        "actions": (count, network.action_dimension),
        "rewards": (count,),
        "discounts": (count,),
        "returns": (count,),
        "imitation": (count,),
    }
    for name, shape in expected.items():
        _check_numbers(getattr(batch, name), shape, f"batch's {name}", LEARNT)
    for name in ("images", "next_images"):
        _check_images(getattr(batch, name), count, network, encoded, f"batch's {name}", LEARNT)


def check_observations(observations: Mapping[str, Array], network: NetworkConfig, encoded: int) -> None:
    """Look at the `OBSERVED` arrays that a policy acts on, (B, ...) each; it costs some microseconds.

    `encoded` as in `check_batch`. Raises RobofumeError that names the first array that is missing, is of another shape
    or type than the networks', or has a number that is not finite.
    """
    for name in OBSERVED:
        if name not in observations:
            raise RobofumeError(f"The observations have no {name}: give {', '.join(OBSERVED)}.")
    state, sentences = observations["proprioception"], observations["instructions"]
    count = len(state)
    _check_numbers(state, (count, network.proprioception_dimension), "observations' proprioception", SEEN)
    _check_numbers(sentences, (count, network.instruction_dimension), "observations' instructions", SEEN)
    _check_images(observations["images"], count, network, encoded, "observations' images", SEEN)


def check_transitions(episode: EpisodeTransitions, network: NetworkConfig, discount: float, n_step: int) -> None:
    """Raises RobofumeError where an episode of plain arrays does not fit the networks, or the agent's targets."""
    sizes = {
        "proprioception_dimension": episode.proprioception.shape[1],
        "action_dimension": episode.actions.shape[1],
        "instruction_dimension": len(episode.instruction_embedding),
    }
    for name, size in sizes.items():
        if size != getattr(network, name):
            raise RobofumeError(
                f"Episode {episode.episode_id} has {size} values where the network's {name} is "
                f"{getattr(network, name)}: set it to {size}."
            )
    shape, wanted = episode.images.shape[1:], network.image_shape
    if network.encoder == "convolution" and shape != wanted:
        raise RobofumeError(
            f"Episode {episode.episode_id} has images of {shape}, but the network looks at {wanted}: give such images, "
            "or take NetworkConfig(encoder='none')."
        )
    if network.encoder == "frozen" and len(shape) == 3 and (0 in shape or shape[-1] != wanted[-1]):
        raise RobofumeError(
            f"Episode {episode.episode_id} has images of {shape}, but the network's cameras make (H, W, {wanted[-1]}): "
            "give such images."
        )
    offset, held = episode.next_offset, episode.discounts
    fits = (held == 0.0) | np.isclose(held, discount**offset)
    if not fits.all() or offset.max(initial=0) > n_step:
        raise RobofumeError(
            f"Episode {episode.episode_id} was made with other numbers than the agent's discount {discount:g} and "
            f"n_step {n_step}: give from_arrays the agent's."
        )


def check_tensors(network: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Raises ValueError that names the first difference in names or shapes to the network's own tensors."""
    own = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    given = {name: tuple(value.shape) for name, value in tensors.items()}
    other = [name for name in {**own, **given} if own.get(name) != given.get(name)]
    if not other:
        return
    first = other[0]
    if first not in given:
        said = f"it has no {first}"
    elif first not in own:
        said = f"its {first} has no place here"
    else:
        said = f"its {first} is {given[first]}, expected {own[first]}"
    more = f", and {len(other) - 1} more of its tensors differ" if len(other) > 1 else ""
    raise ValueError(f"{said}{more}; take the network settings and the algorithm that it was trained with")


def _check_numbers(array: Array, shape: tuple[int, ...], what: str, where: str) -> None:
    if array.shape != shape or array.dtype != np.float32:
        raise _unfit(what, array, f"{shape} float32")
    if not np.isfinite(array).all():
        raise _not_finite(what, where)


def _check_images(array: Array, count: int, network: NetworkConfig, encoded: int, what: str, where: str) -> None:
    if network.encoder == "convolution":
        shape = (count, *network.image_shape)
        if array.shape != shape or array.dtype != np.uint8:
            raise _unfit(what, array, f"{shape} uint8")
    elif network.encoder == "frozen":
        if array.shape != (count, encoded):
            raise _unfit(what, array, f"({count}, {encoded}), features of the frozen encoder")
        if not _finite(array):
            raise _not_finite(what, where)
    elif len(array) != count:
        raise _unfit(what, array, f"({count}, ...)")


def _finite(features: Array) -> bool:
    """Whether all are finite. Of half floats the exponent tells it in a fifteenth of the time of `isfinite`."""
    if features.dtype == np.float16 and features.size:
        return bool((features.view(np.uint16) & 0x7FFF).max() < 0x7C00)
    return bool(np.isfinite(features).all())


def _not_finite(what: str, where: str) -> RobofumeError:
    return RobofumeError(f"The {what} hold numbers that are not finite: look for them in {where}.")


def _unfit(what: str, array: Array, expected: str) -> RobofumeError:
    return RobofumeError(
        f"The {what} are {array.shape} {array.dtype}, expected {expected}: correct the data, or the network's settings."
    )
