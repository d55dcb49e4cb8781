"""Random changes of view and light, so that few episodes go further."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robofume_common.parameters import setting


@dataclass(frozen=True)
class AugmentationConfig:
    """Strength of the random changes to a frame."""

    shift: float = setting(0.04, "Largest shift, as a share of the image's side", minimum=0.0, maximum=0.5)
    brightness: float = setting(0.15, "Largest relative change of brightness", minimum=0.0, maximum=1.0)
    contrast: float = setting(0.15, "Largest relative change of contrast", minimum=0.0, maximum=1.0)
    colour: float = setting(0.08, "Largest relative change of one colour channel", minimum=0.0, maximum=1.0)
    noise: float = setting(0.015, "Standard deviation of pixel noise, as a share of full scale", minimum=0.0)


def augment(
    images: NDArray[np.uint8], config: AugmentationConfig, generator: np.random.Generator
) -> NDArray[np.uint8]:
    """Changed copies of images (B, H, W, 3) uint8; edges are repeated where a shift uncovers them."""
    count, height, width, _ = images.shape
    limit = round(config.shift * max(height, width))
    rows = np.arange(height) + generator.integers(-limit, limit + 1, (count, 1))
    columns = np.arange(width) + generator.integers(-limit, limit + 1, (count, 1))
    rows, columns = rows.clip(0, height - 1), columns.clip(0, width - 1)
    changed = images[np.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]].astype(np.float32)

    def factor(strength: float, channels: int) -> NDArray[np.float32]:
        return generator.uniform(1 - strength, 1 + strength, (count, 1, 1, channels)).astype(np.float32)

    mean = changed.mean(axis=(1, 2, 3), keepdims=True)
    changed = (changed - mean) * factor(config.contrast, 1) + mean * factor(config.brightness, 1)
    changed *= factor(config.colour, 3)
    if config.noise > 0:
        changed += generator.standard_normal(changed.shape, np.float32) * (255 * config.noise)
    return changed.clip(0, 255).astype(np.uint8)
