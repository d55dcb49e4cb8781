"""An auxiliary loss for fine-tuning: where is the arm?"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from .dataset import LabelledFrames


class PoseHead(torch.nn.Module):
    """Reads the arm's proprioception off the image features while training, and is thrown away after it.

    Every frame comes with it for free, and to tell a held object from a released one the vision tower must see where
    the gripper is: this teaches it much sooner than the few answers alone.
    """

    def __init__(self, frames: LabelledFrames, features: int) -> None:
        super().__init__()
        values = torch.from_numpy(frames.proprioception[frames.frames])
        self.mean, self.spread = values.mean(0), values.std(0)
        self.used = torch.nonzero(self.spread > 0.02).flatten()  # m, rad or opening: what can be seen
        self.linear = torch.nn.Linear(features, len(self.used))

    def loss(self, features: torch.Tensor, proprioception: NDArray[np.float32]) -> torch.Tensor:
        """Mean squared error in units of the spread of each value that varies."""
        wanted = ((torch.from_numpy(proprioception) - self.mean) / self.spread.clamp_min(1e-3))[:, self.used]
        seen = self.linear(features.float().reshape(len(wanted), -1))
        return torch.nn.functional.mse_loss(seen, wanted.to(seen))
