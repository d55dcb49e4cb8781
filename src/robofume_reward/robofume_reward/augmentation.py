"""Random changes of view and light, so that few episodes go further."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from robofume_common.parameters import setting
from torch import Tensor


@dataclass(frozen=True)
class AugmentationConfig:
    """Strength of the random changes to an image, in the model's normalised units (about -1 .. 1)."""

    shift: float = setting(0.06, "Largest shift, as a share of the image's side", minimum=0.0, maximum=0.5)
    brightness: float = setting(0.15, "Largest change of brightness", minimum=0.0, maximum=1.0)
    contrast: float = setting(0.15, "Largest relative change of contrast", minimum=0.0, maximum=1.0)
    colour: float = setting(0.08, "Largest change of one colour channel", minimum=0.0, maximum=1.0)
    noise: float = setting(0.05, "Standard deviation of pixel noise", minimum=0.0, maximum=1.0)


def augment(pixels: Tensor, config: AugmentationConfig, generator: torch.Generator) -> Tensor:
    """Changed copies of the model's view of images (..., 3, H, W); edges are repeated where a shift uncovers
    them.

    Other layouts (patches in rows, as some models have) are returned as they are.
    """
    if pixels.ndim < 4 or pixels.shape[-3] != 3:
        return pixels
    images = pixels.reshape(-1, *pixels.shape[-3:])
    count, _, height, width = images.shape

    def uniform(strength: float, channels: int) -> Tensor:
        return strength * (2 * torch.rand(count, channels, 1, 1, generator=generator) - 1)

    limit = round(config.shift * max(height, width))
    moves = torch.randint(-limit, limit + 1, (2, count, 1), generator=generator)
    rows = (torch.arange(height) + moves[0]).clamp(0, height - 1)
    columns = (torch.arange(width) + moves[1]).clamp(0, width - 1)
    flat = (rows[:, :, None] * width + columns[:, None, :]).reshape(count, 1, -1).expand(-1, 3, -1)
    changed = images.flatten(2).gather(2, flat.to(images.device)).view_as(images)
    scale = (1 + uniform(config.contrast, 1)) * (1 + uniform(config.colour, 3))
    offset = uniform(config.brightness, 1) + uniform(config.colour, 3)
    changed = changed * scale.to(changed) + offset.to(changed)
    if config.noise > 0:
        changed = changed + (config.noise * torch.randn(images.shape, generator=generator)).to(changed)
    return changed.reshape(pixels.shape)


def augment_images(
    images: NDArray[np.uint8], config: AugmentationConfig, generator: torch.Generator
) -> NDArray[np.uint8]:
    """`augment` for pictures (..., H, W, 3), for models whose own view of them has another layout."""
    scaled = torch.from_numpy(np.moveaxis(images, -1, -3).astype(np.float32)) / 127.5 - 1
    changed = augment(scaled, config, generator)
    return np.moveaxis(((changed + 1) * 127.5).round().clamp(0, 255).byte().numpy(), -3, -1)
