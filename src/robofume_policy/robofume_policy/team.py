"""One training shared by several processes, each with a GPU or a host of its own (`torchrun`).

Every process draws the same batch and the same noise from the same random state, takes its own rows of it, and the
gradients are averaged, as DistributedDataParallel does it for the `forward` of one module. All weights stay the same in
all processes, and the losses are those of one process with the whole batch.
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as distributed
from robofume_common.errors import RobofumeError
from torch import Tensor


@dataclass(frozen=True)
class Team:
    """This process among those that train together; alone by default."""

    rank: int = 0
    size: int = 1

    def rows(self, count: int) -> slice:
        """This process's rows of `count`. Raises RobofumeError where they cannot be shared equally."""
        if count % self.size:
            raise RobofumeError(
                f"A batch of {count} cannot be shared equally by {self.size} processes: choose a batch_size that is a "
                "multiple of their number."
            )
        share = count // self.size
        return slice(self.rank * share, (self.rank + 1) * share)

    def total(self, value: Tensor) -> Tensor:
        """The sum of a detached `value` over all processes."""
        if self.size == 1:
            return value
        value = value.detach().clone()
        distributed.all_reduce(value)
        return value

    def mean(self, value: Tensor) -> Tensor:
        """The mean of a detached `value` over all processes."""
        return value if self.size == 1 else self.total(value) / self.size

    def agree(self, numbers: Sequence[int], device: torch.device) -> bool:
        """Whether all processes have the same `numbers`, of at most 63 bits; the answer is the same in all of them."""
        if self.size == 1:
            return True
        own = torch.tensor(numbers, dtype=torch.int64, device=device)
        everyone = [torch.empty_like(own) for _ in range(self.size)]
        distributed.all_gather(everyone, own)
        return all(torch.equal(everyone[0], other) for other in everyone)

    def average_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Replace every gradient by its mean over all processes, in one message."""
        if self.size == 1:
            return
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        joined = self.mean(torch.cat([gradient.flatten() for gradient in gradients]))
        for gradient, part in zip(gradients, joined.split([item.numel() for item in gradients]), strict=True):
            gradient.copy_(part.view_as(gradient))

    def average_metrics(self, metrics: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The mean of each metric (0-d) over all processes."""
        if self.size == 1:
            return dict(metrics)
        values = self.mean(torch.stack([value.float() for value in metrics.values()]))
        return dict(zip(metrics, values.unbind(), strict=True))


def current_team() -> Team:
    """The processes that were joined, or this one alone."""
    if distributed.is_available() and distributed.is_initialized():
        return Team(distributed.get_rank(), distributed.get_world_size())
    return Team()


@contextmanager
def joined(device: str = "cpu") -> Iterator[Team]:
    """Within: a team with the processes that `torchrun` started beside this one; alone without it.

    `device` chooses the transport: nccl for GPUs, gloo for processors.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or distributed.is_initialized():
        yield current_team()
        return
    distributed.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    try:
        yield current_team()
        distributed.barrier()  # nobody leaves before the last checkpoint is written
    finally:
        distributed.destroy_process_group()


def training_device(name: str) -> str:
    """`name`, checked; `cuda` is the GPU that `torchrun` gave us. Raises RobofumeError where there is none."""
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise RobofumeError(f"There is no device {name!r}: cpu, cuda, or cuda:1 for the second GPU.") from error
    if device.type == "cuda" and device.index is None:
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise RobofumeError(
            f"torch sees {torch.cuda.device_count()} CUDA GPUs here, so {name} cannot be used: take cpu, or install a "
            "CUDA build of torch and its driver (`robofume doctor`)."
        )
    return str(device)
