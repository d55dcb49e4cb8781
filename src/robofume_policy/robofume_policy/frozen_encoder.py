"""Features of a frozen pre-trained vision model, computed once for every picture.

They lie in the replay memory in the place of the pictures, so that an update costs a few small layers and no vision
model. Random shifts, which need pictures, are left out.
"""

from functools import lru_cache
from math import isqrt
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from robofume_common.errors import RobofumeError

CHUNK = 32
"""Pictures that go through the model together."""
PICTURE_PARTS = ("vision_model", "vision_tower")
"""What the picture side of a model of pictures and text is called in transformers."""


class FrozenEncoder:
    """A vision model of transformers, by directory or hub name: ViT, DINOv2, SigLIP, ResNet, FocalNet, or the picture
    side of CLIP, LLaVA, SmolVLM and their like, a reward model of this suite among them.

    `cells` x `cells` means over the picture are kept of its last layer, since where something is matters as much as
    what it is.
    """

    def __init__(self, name: str, cells: int) -> None:
        self.name = name
        self.cells = cells
        self._vision, self._model, shown = _load(name)
        self._size = _side(getattr(self._vision, "image_size", None) or shown.get("size") or 224)
        self._mean = torch.tensor(shown.get("image_mean") or [0.5, 0.5, 0.5]).view(1, 3, 1, 1)
        self._std = torch.tensor(shown.get("image_std") or [0.5, 0.5, 0.5]).view(1, 3, 1, 1)

    @property
    def dimension(self) -> int:
        """Numbers kept of a picture."""
        return self.cells**2 * _width(self._vision)

    @torch.inference_mode()
    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float16]:
        """Features (B, dimension) of `images` (B, H, W, 3)."""
        parts = [self._features(images[start : start + CHUNK]) for start in range(0, len(images), CHUNK)]
        return np.concatenate(parts) if parts else np.zeros((0, self.dimension), np.float16)

    def _features(self, images: NDArray[np.uint8]) -> NDArray[np.float16]:
        pixels = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 255.0
        pixels = F.interpolate(pixels, size=(self._size, self._size), mode="bilinear", antialias=True)
        states = self._model(pixel_values=(pixels - self._mean) / self._std).last_hidden_state
        if states.ndim == 3:  # tokens: those of the patches are the last ones, in rows; a hierarchical model has fewer
            side = min(self._size // int(self._vision.patch_size), isqrt(states.shape[1]))
            states = states[:, -side * side :].transpose(1, 2).unflatten(2, (side, side))
        pooled = F.adaptive_avg_pool2d(states.float(), self.cells)
        return pooled.flatten(1).clamp(-6e4, 6e4).to(torch.float16).numpy()


@lru_cache(maxsize=4)
def frozen_encoder(name: str, cells: int) -> FrozenEncoder:
    """The encoder of this name, loaded once in a process. Raises RobofumeError where it cannot be."""
    return FrozenEncoder(name, cells)


@lru_cache(maxsize=16)
def feature_dimension(name: str, cells: int) -> int:
    """As `FrozenEncoder.dimension`, without loading the weights. Raises RobofumeError where there is no such model."""
    return cells**2 * _width(_configuration(name))


def _configuration(name: str) -> Any:
    from transformers import AutoConfig

    if not name:
        raise RobofumeError("The encoder `frozen` needs frozen_model: the directory or hub name of a vision model.")
    try:
        found = AutoConfig.from_pretrained(name, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise _cannot_load(name, error) from error
    return getattr(found, "vision_config", found)


def _load(name: str) -> tuple[Any, Any, dict[str, Any]]:
    """The vision part's configuration, the vision part, and how pictures are shown to it."""
    from transformers import AutoModel
    from transformers.image_processing_base import ImageProcessingMixin
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    vision = _configuration(name)
    try:
        model = AutoModel.from_pretrained(name, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise _cannot_load(name, error) from error
    parts = [part for name in PICTURE_PARTS if (part := getattr(model, name, None)) is not None]
    if not parts and hasattr(model.config, "vision_config"):
        raise RobofumeError(
            f"A {model.config.model_type} model keeps its picture side to itself: name a vision model such as a ViT."
        )
    model = (parts[0] if parts else model).eval().requires_grad_(False)
    try:
        shown, _ = ImageProcessingMixin.get_image_processor_dict(name)
    except (OSError, ValueError):  # saved without its processor
        shown = {}
    return vision, model, dict(shown)


def _width(vision: Any) -> int:
    """Numbers per place of the last layer."""
    if hasattr(vision, "patch_size") and hasattr(vision, "hidden_size"):
        return int(vision.hidden_size)
    if getattr(vision, "hidden_sizes", None):
        return int(vision.hidden_sizes[-1])
    raise RobofumeError(f"A {vision.model_type} model gives no features of pictures: name a vision model.")


def _side(size: Any) -> int:
    if isinstance(size, dict):
        size = size.get("height") or size.get("shortest_edge")
    return int(size[0] if isinstance(size, list | tuple) else size)


def _cannot_load(name: str, error: Exception) -> RobofumeError:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return RobofumeError(
        f"The vision model '{name}' cannot be loaded ({reason}): give the directory of a saved one, or a hub name "
        "where there is a network."
    )
