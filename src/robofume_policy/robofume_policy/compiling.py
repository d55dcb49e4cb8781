"""torch.compile for an agent's loss, with the plain function to fall back on."""

import logging
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

logger = logging.getLogger(__name__)
Result = TypeVar("Result")


def compiled(
    function: Callable[[dict[str, Tensor]], Result], backend: str = "inductor"
) -> Callable[[dict[str, Tensor]], Result]:
    """`function`, which draws no random numbers, compiled at its first call by `backend`.

    Where that fails, as without a C++ compiler, one warning says so and the function itself is called from then on.
    """
    called: list[Callable[[dict[str, Tensor]], Result]] = [torch.compile(function, backend=backend)]

    def call(batch: dict[str, Tensor]) -> Result:
        if called[0] is function:
            return function(batch)
        try:
            return called[0](batch)
        except torch._dynamo.exc.TorchDynamoException as error:
            reason = str(error).strip().split("\n")[0]
            logger.warning("The agent's loss cannot be compiled and is computed without: %s", reason)
            called[0] = function
            return function(batch)

    return call
