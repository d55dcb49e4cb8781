"""How many threads torch computes on, for a while."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Within, torch computes on so many threads; afterwards on as many as before.

    It sums in another order on another number: what is to have the same bits in every process says how many.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
