"""A small convolutional classifier, modulated by the words of the instruction (FiLM, Perez et al. 2018,
arXiv 1709.07871): the baseline of the vision-language model, and a judge in its place where that is wanted."""

from __future__ import annotations

import itertools
import json
import zlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from robofume_common.errors import RobofumeError
from robofume_common.parameters import from_dict, setting
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from . import questions
from .augmentation import AugmentationConfig, augment
from .dataset import LabelledFrames
from .familiarity import Familiarity
from .sampling import Sampler
from .saved import CLASSIFIER_FILE, Calibration, View, check_manifest, read_opposites, version_of, write_beside

if TYPE_CHECKING:
    from .training import TrainingConfig

WEIGHTS_FILE = "film_cnn.safetensors"
_WORDS = 512


@dataclass(frozen=True)
class FilmCnnConfig:
    """How the classifier is built and trained."""

    updates: int = setting(800, "Gradient updates", minimum=1)
    batch_size: int = setting(64, "Questions per update", minimum=2)
    learning_rate: float = setting(1e-3, "Peak learning rate", minimum=0.0)
    image_size: int = setting(64, "Side of the images that it sees", unit="px", minimum=16)
    width: int = setting(32, "Channels of its first layer", minimum=4)


class FilmCnn:
    """The classifier as a judge. It looks at one image, on the processor. Not thread-safe."""

    def __init__(self, config: FilmCnnConfig, name: str = "film_cnn", seed: int = 0) -> None:
        self.config, self.name = config, name
        self.calibration = Calibration()
        self.view = View()
        self.opposites: dict[str, str] = {}
        self.familiarity = Familiarity()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self._network = _FilmNetwork(config)
        self._version = ""

    @classmethod
    def load(cls, directory: Path, threads: int = 0) -> FilmCnn:
        """What `save` has written. RobofumeError where it is damaged."""
        check_manifest(directory)
        if threads:
            torch.set_num_threads(threads)
        try:
            config = from_dict(FilmCnnConfig, json.loads((directory / CLASSIFIER_FILE).read_text()))
            judge = cls(config, directory.name)
            judge._network.load_state_dict(load_file(directory / WEIGHTS_FILE))
        except (OSError, ValueError, TypeError, RuntimeError, SafetensorError) as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise RobofumeError(f"The classifier {directory} cannot be loaded ({reason}); train it again.") from error
        judge._network.eval()
        judge.calibration, judge.view = Calibration.read(directory), View.read(directory)
        judge.opposites, judge.familiarity = read_opposites(directory), Familiarity.read(directory)
        return judge

    @property
    def version(self) -> str:
        """Name and a hash of the weights and of what is saved beside them."""
        if not self._version:
            self._version = version_of(self, self._network.state_dict())
        return self._version

    def log_odds(self, images: NDArray[np.uint8], instructions: list[str]) -> NDArray[np.float64]:
        """Uncalibrated log-odds (B,) for images (B, H, W, 3) and one instruction each."""
        if len(images) == 0:
            return np.zeros(0)
        with torch.inference_mode():
            pixels = _pixels(images, self.config.image_size)
            odds = self._network(pixels, [words_of(text) for text in instructions])
        return odds.double().numpy()

    def probabilities(self, images: NDArray[np.uint8], instructions: list[str]) -> NDArray[np.float64]:
        """Calibrated P(success) (B,) in [0, 1]; the arguments are those of `log_odds`."""
        return self.calibration.probabilities(self.log_odds(images, instructions))

    def save(self, directory: Path) -> None:
        """Writes it so that `load` gives the same answers."""
        directory.mkdir(parents=True, exist_ok=True)
        save_file(self._network.state_dict(), directory / WEIGHTS_FILE)
        (directory / CLASSIFIER_FILE).write_text(json.dumps(asdict(self.config), indent=2) + "\n")
        write_beside(self, directory)

    def fit(
        self,
        frames: LabelledFrames,
        options: TrainingConfig,
        augmentation: AugmentationConfig | None = None,
        progress: Callable[[int, int, dict[str, float]], None] | None = None,
    ) -> None:
        """Train on `frames`, with the seed and the shares of `options`; all weights are what the last update left."""
        config, network = self.config, self._network
        generator = np.random.default_rng(options.seed)
        light = torch.Generator().manual_seed(options.seed)
        sampler = Sampler(frames, options)
        prepared = _pixels(frames.images, config.image_size)
        known = {text: words_of(text) for text in np.unique(frames.instructions)}
        optimiser = torch.optim.AdamW(network.parameters(), lr=config.learning_rate, weight_decay=0.05)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, config.learning_rate, config.updates, pct_start=0.1)
        augmentation = augmentation or AugmentationConfig()
        network.train()
        for update in range(1, config.updates + 1):
            rows = sampler.draw(config.batch_size, generator)
            pixels = augment(prepared[frames.frames[rows]], augmentation, light)
            odds = network(pixels, [known[text] for text in frames.instructions[rows]])
            wanted = torch.from_numpy(frames.labels[rows].astype(np.float32))
            losses = nn.functional.binary_cross_entropy_with_logits(odds, wanted, reduction="none")
            sampler.saw(rows, losses.detach().numpy())
            optimiser.zero_grad(set_to_none=True)
            losses.mean().backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            if progress is not None:
                progress(update, config.updates, {"loss": float(losses.detach().mean())})
        network.eval()
        self._version = ""


class _FilmNetwork(nn.Module):
    def __init__(self, config: FilmCnnConfig) -> None:
        super().__init__()
        width = config.width
        channels = (3, width, 2 * width, 2 * width, 2 * width)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(before, after, 5 if place == 0 else 3, stride=2, padding=2 if place == 0 else 1)
            for place, (before, after) in enumerate(itertools.pairwise(channels))
        )
        self.norms = nn.ModuleList(nn.GroupNorm(4, after, affine=False) for after in channels[1:])
        self.words = nn.EmbeddingBag(_WORDS, 64, mode="mean")
        self.films = nn.ModuleList(nn.Linear(64, 2 * after) for after in channels[1:])
        side = config.image_size
        for _ in self.convolutions:
            side = (side + 1) // 2
        self.head = nn.Sequential(nn.Linear(channels[-1] * side * side, 128), nn.ReLU(), nn.Linear(128, 1))

    def forward(self, pixels: Tensor, instructions: list[list[int]]) -> Tensor:
        offsets = np.cumsum([0, *(len(words) for words in instructions[:-1])])
        flat = torch.tensor([word for words in instructions for word in words])
        words = self.words(flat, torch.from_numpy(offsets))
        features = pixels
        for convolution, norm, film in zip(self.convolutions, self.norms, self.films, strict=True):
            scale, offset = film(words)[:, :, None, None].chunk(2, dim=1)
            features = torch.relu(norm(convolution(features)) * (1 + scale) + offset)
        answer: Tensor = self.head(features.flatten(1))
        return answer[:, 0]


def words_of(instruction: str) -> list[int]:
    """Places in a table of words and pairs of words, by their hash."""
    words = questions.clean(instruction).lower().split()
    pairs = [f"{first} {second}" for first, second in itertools.pairwise(words)]
    return [zlib.crc32(text.encode()) % _WORDS for text in words + pairs]


def _pixels(images: NDArray[np.uint8], size: int) -> Tensor:
    """Images (B, H, W, 3) as (B, 3, size, size) in -1 .. 1."""
    scaled = torch.from_numpy(np.moveaxis(images, -1, 1).astype(np.float32)) / 127.5 - 1
    if scaled.shape[-2:] == (size, size):
        return scaled
    return nn.functional.interpolate(scaled, (size, size), mode="bilinear", antialias=True, align_corners=False)
