"""Whether what is given to an agent fits its networks, told in one sentence before torch stumbles over it."""

from collections.abc import Mapping

import numpy as np
from robofume_common.errors import RobofumeError
from torch import Tensor, nn

from robofume_policy.config import NetworkConfig
from robofume_policy.replay import Batch


def check_batch(batch: Batch, network: NetworkConfig, encoded: int) -> None:
    """Look at every array of a batch; it costs some tens of microseconds.

    `encoded` is the encoder's number of features, which the batch of a frozen encoder holds in the place of pictures.
    Raises RobofumeError that names the first array of another shape or type than the networks', or with a number that
    is not finite.
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
        array = getattr(batch, name)
        if array.shape != shape or array.dtype != np.float32:
            raise _unfit(name, array, f"{shape} float32")
        if not np.isfinite(array).all():
            raise RobofumeError(
                f"The batch's {name} hold numbers that are not finite: look for them in the data that are learnt from."
            )
    for name in ("images", "next_images"):
        array = getattr(batch, name)
        if network.encoder == "convolution":
            shape = (count, *network.image_shape)
            if array.shape != shape or array.dtype != np.uint8:
                raise _unfit(name, array, f"{shape} uint8")
        elif network.encoder == "frozen":
            if array.shape != (count, encoded):
                raise _unfit(name, array, f"({count}, {encoded}), features of the frozen encoder")
        elif len(array) != count:
            raise _unfit(name, array, f"({count}, ...)")


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


def _unfit(name: str, array: np.ndarray, expected: str) -> RobofumeError:
    return RobofumeError(
        f"The batch's {name} are {array.shape} {array.dtype}, expected {expected}: correct the data, or the network's "
        "settings."
    )
