"""Image encoders and the training-time augmentation."""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.lib.stride_tricks import as_strided
from torch import Tensor, nn

from robofume_policy.config import NetworkConfig
from robofume_policy.frozen_encoder import feature_dimension, frozen_encoder

STEM = 4  # pixels per cell of the first layer
RGB = 3  # channels of one camera's picture


class ConvEncoder(nn.Module):
    """Four convolutions on the RGB pictures of one or more cameras, trained by the critic's loss only.

    The pictures of several cameras are channels of one: each has its own weights in the first layer, and all after it
    is shared.

    The first layer, a kernel of 8 with stride 4, is written as a 2x2 convolution over cells of 4x4 pixels, and the
    scaling of the pixels to [-0.5, 0.5] is put into its weights: the same function, at half the time on a CPU.
    """

    def __init__(self, image_size: int, cameras: int = 1) -> None:
        super().__init__()
        if image_size % STEM:
            raise ValueError(f"image_size must be a multiple of {STEM}, not {image_size}")
        self.stem = nn.Conv2d(RGB * cameras * STEM * STEM, 32, 2)
        self.layers = nn.Sequential(
            nn.ReLU(inplace=True),
            nn.Conv2d(32, 64, 4, stride=2), nn.ReLU(inplace=True),
            nn.Conv2d(64, 64, 3), nn.ReLU(inplace=True),
            nn.Conv2d(64, 64, 3, padding=1), nn.ReLU(inplace=True),
        )  # fmt: skip
        cells = (((image_size // STEM - 1) - 4) // 2 + 1) - 2
        self.output_dimension = 64 * cells * cells

    def forward(self, images: Tensor) -> Tensor:
        """Encode `images` (B, H, W, 3 * cameras) uint8 as (B, output_dimension)."""
        kind = images.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else torch.float32
        weight, bias = self.stem.weight, self.stem.bias
        assert bias is not None
        pixels = _cells(images).to(dtype).permute(0, 3, 1, 2)
        hidden = F.conv2d(pixels, weight / 255.0, bias - weight.sum((1, 2, 3)) / 2.0)
        return self.layers(hidden).permute(0, 2, 3, 1).flatten(1)


class NoEncoder(nn.Module):
    """The encoder of a policy that is given no pictures: no features."""

    output_dimension = 0

    def forward(self, images: Tensor) -> Tensor:
        """(B, 0) for `images` (B, ...), whatever is in them."""
        return torch.zeros(len(images), 0, device=images.device)


class GivenFeatures(nn.Module):
    """The encoder of a policy that is given features (`frozen_encoder.py`) in the place of pictures."""

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.output_dimension = dimension

    def forward(self, features: Tensor) -> Tensor:
        """`features` (B, output_dimension) as float32."""
        return features.float()


def create_encoder(config: NetworkConfig) -> ConvEncoder | GivenFeatures | NoEncoder:
    """The encoder that `config.encoder` names. Raises RobofumeError where its frozen model is not to be had."""
    if config.encoder == "frozen":
        return GivenFeatures(config.cameras * feature_dimension(config.frozen_model, config.frozen_cells))
    return NoEncoder() if config.encoder == "none" else ConvEncoder(config.image_size, config.cameras)


def seen(config: NetworkConfig, images: np.ndarray) -> np.ndarray:
    """What a policy's encoder is given of `images` (B, H, W, 3 * cameras) uint8: themselves, nothing, or features
    (B, F), those of the cameras behind one another."""
    if config.encoder == "frozen":
        encode = frozen_encoder(config.frozen_model, config.frozen_cells)
        return np.concatenate([encode(picture) for picture in np.split(images, config.cameras, axis=-1)], axis=-1)
    return np.zeros((len(images), 0, 0, 3), np.uint8) if config.encoder == "none" else images


def _cells(images: Tensor) -> Tensor:
    """(B, H, W, C) uint8 as (B, H / 4, W / 4, 16 C); four pixels move as C 32-bit words."""
    batch, height, width, channels = images.shape
    words = images.reshape(batch, height // STEM, STEM, width * channels).view(torch.int32)
    words = words.reshape(batch, height // STEM, STEM, width // STEM, channels).transpose(2, 3).contiguous()
    return words.view(batch, height // STEM, width // STEM, -1).view(torch.uint8)


def random_shift(
    images: np.ndarray, largest: int, random: np.random.Generator, rows: slice | None = None
) -> np.ndarray:
    """Shift each image by up to `largest` pixels each way, repeating its edge (DrQ, arXiv 2004.13649).

    `images` is (B, H, W, 3 * cameras) uint8, each camera's picture shifted for itself; the result is a new array of the
    same shape. Features are left as they are. With `rows` only those are shifted and returned, in the way in which they
    would be among all.
    """
    chosen = images if rows is None else images[rows]
    if largest == 0 or images.size == 0 or images.ndim != 4:
        return chosen
    if images.shape[-1] > RGB:
        pictures = np.split(images, images.shape[-1] // RGB, axis=-1)
        return np.concatenate([random_shift(picture, largest, random, rows) for picture in pictures], axis=-1)
    count = 2 * largest + 1
    shift = random.integers(0, count, (2, len(images)))
    if rows is not None:
        shift = shift[:, rows]
    batch, height, width, channels = chosen.shape
    padded = np.pad(chosen, ((0, 0), (largest, largest), (largest, largest), (0, 0)), mode="edge")
    b, y, x, c = padded.strides
    windows = as_strided(padded, (batch, count, count, height, width, channels), (b, y, x, y, x, c), writeable=False)
    return windows[np.arange(batch), shift[0], shift[1]]
