"""The reward model: a vision-language model that is asked whether the task is done.

P(success) is P("yes") normalised over "yes" and "no", read from the logits of one forward pass; nothing is
generated. Any model that AutoModelForImageTextToText loads can be used, by directory or by hub name.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from huggingface_hub import try_to_load_from_cache
from huggingface_hub.errors import HFValidationError
from numpy.typing import NDArray
from robofume_common.errors import RobofumeError
from robofume_common.parameters import setting
from torch import Tensor
from transformers.utils import logging as transformers_logging

from . import families, questions
from .familiarity import Familiarity
from .saved import MODEL_FILE, Calibration, View, check_manifest, read_opposites, version_of, write_beside

# Tracing copies the weights, and pays only where the cost of a step is Python rather than arithmetic.
_TRACE_PARAMETERS = 20_000_000

logging.getLogger("transformers").setLevel(logging.ERROR)
transformers_logging.disable_progress_bar()


@dataclass(frozen=True)
class ModelConfig:
    """How a reward model is loaded and run."""

    device: str = setting("cpu", "Torch device: cpu, cuda, cuda:0, ...")
    dtype: str = setting("float32", "Precision of the weights", choices=("float32", "bfloat16"))
    threads: int = setting(1, "Torch threads of this process; 0 leaves torch's own choice", minimum=0)
    allow_download: bool = setting(False, "Fetch a hub name from the network; otherwise only from the local cache")
    trace: bool = setting(True, "Trace a small model on the CPU: the same answers with less time per frame")


class RewardModel:
    """Answers "is the task done?" about images. Not thread-safe."""

    def __init__(
        self,
        model: Any,
        processor: Any,
        config: ModelConfig,
        calibration: Calibration,
        name: str,
        view: View | None = None,
        opposites: Mapping[str, str] | None = None,
        familiarity: Familiarity | None = None,
    ) -> None:
        self.model = model.eval()
        self.processor = processor
        self.config = config
        self.calibration = calibration
        self.view = view or View()
        self.opposites = dict(opposites or {})
        self.familiarity = familiarity or Familiarity()
        self.name = name
        self.family = families.of(model.config.model_type)
        self.question = questions.canonical
        self.device = torch.device(config.device)
        self._yes, self._no = answer_tokens(processor.tokenizer, "yes"), answer_tokens(processor.tokenizer, "no")
        self._prompts: dict[tuple[str, tuple[int, ...]], list[int] | None] = {}
        self._traced: dict[tuple[int, ...], Any] = {}
        self._version = ""

    @classmethod
    def load(cls, source: str | Path, config: ModelConfig | None = None) -> RewardModel:
        """Loads a model with its processor and calibration.

        `source`: a directory, or a hub name that is in the local cache (or may be fetched, see ModelConfig).
        Raises RobofumeError where there is no usable model.
        """
        from transformers import AutoModelForImageTextToText

        config = config or ModelConfig()
        directory = Path(source)
        local = directory.is_dir()
        if local and not (directory / MODEL_FILE).is_file():
            raise RobofumeError(
                f"The directory {directory} holds no reward model (no config.json); train one with "
                "`robofume reward train`."
            )
        if not local and (directory.is_absolute() or str(source).startswith(".") or str(source).count("/") > 1):
            raise RobofumeError(
                f"The reward model directory {directory} does not exist; train it with `robofume reward train`."
            )
        fetching = (
            f"fetch it with `hf download {source}`, set allow_download where there is a network, or give a directory"
        )
        if not local and not config.allow_download and not _is_cached(str(source)):
            raise RobofumeError(
                f"The reward model {source} is neither a directory nor in this machine's cache of the Hugging Face "
                f"hub: {fetching}."
            )
        if local:
            check_manifest(directory)
        check_device(config.device)
        if config.threads:
            torch.set_num_threads(config.threads)
        options: dict[str, Any] = {"local_files_only": local or not config.allow_download, "trust_remote_code": False}
        try:
            _, processor = families.load(source, options)
            _ = processor.tokenizer  # without the processor's own settings transformers gives a bare tokenizer
            model = AutoModelForImageTextToText.from_pretrained(
                source, dtype=getattr(torch, config.dtype), **options
            ).to(config.device)  # type: ignore[arg-type]  # `to`, as wrapped there, loses its self
        except Exception as error:  # transformers raises many kinds; each means: not usable
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            hint = "its files are incomplete or of another kind; train it again or fetch it anew" if local else fetching
            raise RobofumeError(f"The reward model {source} cannot be loaded: {hint}. ({reason})") from error
        if config.device == "cpu":
            # Out of the mapped file: whoever writes over it would end this process in the middle of a judgement.
            for tensor in (*model.parameters(), *model.buffers()):
                tensor.data = tensor.data.clone()
        name = directory.name if local else str(source)
        calibration, view = (Calibration.read(directory), View.read(directory)) if local else (None, None)
        opposites = read_opposites(directory) if local else None
        familiarity = Familiarity.read(directory) if local else None
        return cls(model, processor, config, calibration or Calibration(), name, view, opposites, familiarity)

    @property
    def version(self) -> str:
        """Name and a hash of the weights, the calibration, the view, the opposites and what is familiar."""
        if not self._version:
            self._version = version_of(self, self.model.state_dict())
        return self._version

    def answer_with(self, yes: list[int], no: list[int]) -> None:
        """Other tokens than those of yes and no."""
        self._yes, self._no = yes, no
        self.forget_traces()

    def forget_traces(self) -> None:
        """To be called after the weights were changed from outside."""
        self._traced.clear()
        self._version = ""

    def encode(self, images: NDArray[np.uint8], asked: list[str], pixels: Tensor | None = None) -> dict[str, Tensor]:
        """Model inputs for images (B, H, W, 3), or some of an episode each (B, F, H, W, 3), oldest first, and one
        question each; `pixels` where they are at hand already.
        """
        if images.ndim not in (4, 5) or images.shape[-1] != 3 or images.dtype != np.uint8:
            raise RobofumeError(
                f"Images must be uint8 of shape (B, H, W, 3) or (B, F, H, W, 3); got {images.dtype} {images.shape}."
            )
        if len(images) != len(asked):
            raise RobofumeError(f"{len(images)} images came with {len(asked)} instructions; each needs one.")
        clips = images[:, None] if images.ndim == 4 else images
        tokens = [self._prompt(question, clips[0]) for question in asked]
        if any(row is None for row in tokens):
            return self._process(clips, asked)
        batch = pad_left([row for row in tokens if row is not None], self.processor.tokenizer.pad_token_id or 0)
        batch["pixel_values"] = self.pixels(clips.reshape(-1, *clips.shape[2:])) if pixels is None else pixels
        return {name: value.to(self.device) for name, value in batch.items()}

    def pixels(self, images: NDArray[np.uint8]) -> Tensor:
        """The processor's view of images (N, H, W, 3), in the model's precision."""
        pixels = self.processor.image_processor(images=list(images), return_tensors="pt")["pixel_values"]
        return pixels.to(self.device, self.model.dtype)

    def has_plain_pixels(self, image: NDArray[np.uint8]) -> bool:
        """Whether the model sees pictures as they are, so that its view of them can be kept and augmented."""
        return self._prompt(self.question("look"), image[None]) is not None

    def answer_logit(self, batch: dict[str, Tensor]) -> Tensor:
        """Log-odds (B,) of "yes" against "no", in one forward pass, without calibration."""
        return self.logit_of(self.outputs(batch))

    def outputs(self, batch: dict[str, Tensor]) -> Any:
        """The model's outputs of one forward pass, with the logits of the last token only."""
        return self.model(**batch, logits_to_keep=1, use_cache=False)

    def logit_of(self, outputs: Any) -> Tensor:
        """Log-odds (B,) of "yes" against "no" from the model's outputs."""
        logits = outputs.logits[:, -1].float()
        return logits[:, self._yes].logsumexp(-1) - logits[:, self._no].logsumexp(-1)

    def log_odds(self, images: NDArray[np.uint8], instructions: list[str]) -> NDArray[np.float64]:
        """Uncalibrated log-odds (B,) of success for images (B, H, W, 3) or (B, F, H, W, 3) uint8 and one instruction
        each.
        """
        if len(images) == 0:
            return np.zeros(0)
        batch = self.encode(images, [self.question(instruction) for instruction in instructions])
        with torch.inference_mode():
            odds = self._traced_logit(batch) if len(images) == 1 else self.answer_logit(batch)
        return odds.cpu().numpy().astype(np.float64)

    def probabilities(self, images: NDArray[np.uint8], instructions: list[str]) -> NDArray[np.float64]:
        """Calibrated P(success) (B,) in [0, 1]; the arguments are those of `log_odds`."""
        return self.calibration.probabilities(self.log_odds(images, instructions))

    def save(self, directory: Path) -> None:
        """Writes weights, processor, calibration, view, opposites and what is familiar, so that `load` gives the same
        answers.
        """
        directory.mkdir(parents=True, exist_ok=True)
        self.model.save_pretrained(directory)
        self.processor.save_pretrained(directory)
        write_beside(self, directory)

    def _process(self, clips: NDArray[np.uint8], asked: list[str]) -> dict[str, Tensor]:
        texts = [self.family.text(self.processor, question, clips.shape[1]) for question in asked]
        first = self.processor.tokenizer.bos_token
        batch = self.processor(
            images=[list(clip) for clip in clips],
            text=texts,
            # Some chat templates, as that of Idefics3, begin with the token that the tokenizer would put there too.
            add_special_tokens=not (first and texts[0].startswith(first)),
            padding=True,
            padding_side="left",
            return_tensors="pt",
            **self.family.options,
        )
        batch.pop("labels", None)
        return {
            name: value.to(self.device, self.model.dtype) if value.is_floating_point() else value.to(self.device)
            for name, value in batch.items()
        }

    def _prompt(self, question: str, clip: NDArray[np.uint8]) -> list[int] | None:
        """Tokens of the prompt, kept per question and shape (F, H, W, 3); None where they depend on more."""
        key = (question, clip.shape)
        if key not in self._prompts:
            first = self._process(clip[None], [question])
            second = self._process(255 - clip[None], [question])
            simple = set(first) == {"input_ids", "attention_mask", "pixel_values"}
            same = simple and torch.equal(first["input_ids"], second["input_ids"])
            same = same and torch.equal(first["pixel_values"], self.pixels(clip))
            self._prompts[key] = first["input_ids"][0].tolist() if same else None
        return self._prompts[key]

    def _traced_logit(self, batch: dict[str, Tensor]) -> Tensor:
        """`answer_logit` for one image, traced per prompt length where that gives the same answer."""
        if set(batch) != {"input_ids", "attention_mask", "pixel_values"} or not self._may_trace():
            return self.answer_logit(batch)
        inputs = (batch["input_ids"], batch["pixel_values"])
        key = (*inputs[0].shape, *inputs[1].shape)
        if key not in self._traced:
            self._traced[key] = self._trace(inputs)
        traced = self._traced[key]
        return self.answer_logit(batch) if traced is None else traced(*inputs)

    def _may_trace(self) -> bool:
        small = self.config.trace and self.device.type == "cpu"
        return small and sum(p.numel() for p in self.model.parameters()) <= _TRACE_PARAMETERS

    def _trace(self, inputs: tuple[Tensor, Tensor]) -> Any:
        module = _AnswerModule(self).eval()
        other = (inputs[0], torch.randn_like(inputs[1]))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                traced = torch.jit.freeze(torch.jit.trace(module, inputs, check_trace=False))
                for probe in (inputs, other, inputs):
                    if not torch.allclose(traced(*probe), module(*probe), atol=1e-4):
                        return None
            return traced
        except (RuntimeError, TypeError, ValueError):
            return None  # this architecture cannot be traced; the plain model answers


def check_device(name: str) -> None:
    """Raises RobofumeError where torch cannot compute on a device of this name here."""
    try:
        torch.zeros(1, device=name).sum().item()
    except Exception as error:  # torch raises many kinds: no such name, no such device, no driver
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise RobofumeError(
            f"The device {name!r} cannot be used here: set device to cpu, or to one that this machine has, such as "
            f"cuda or cuda:0. ({reason})"
        ) from error


def _is_cached(name: str) -> bool:
    """Whether the cache of the hub holds anything of a model; true for what is no name of one, which transformers tells
    better."""
    try:
        return isinstance(try_to_load_from_cache(name, MODEL_FILE), str)
    except HFValidationError:
        return True


class _AnswerModule(torch.nn.Module):
    """The forward pass for one unpadded prompt as a module of two tensors."""

    def __init__(self, reward: RewardModel) -> None:
        super().__init__()
        self.model = reward.model
        self.reward = [reward]  # in a list, so that it is not searched for parameters

    def forward(self, input_ids: Tensor, pixel_values: Tensor) -> Tensor:
        return self.reward[0].answer_logit({"input_ids": input_ids, "pixel_values": pixel_values})


def pad_left(rows: list[list[int]], padding: int) -> dict[str, Tensor]:
    """input_ids and attention_mask (B, longest) of prompts of different length."""
    longest = max(len(row) for row in rows)
    return {
        "input_ids": torch.tensor([[padding] * (longest - len(row)) + row for row in rows]),
        "attention_mask": torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows]),
    }


def answer_tokens(tokenizer: Any, word: str) -> list[int]:
    """The single tokens that mean `word`, in the spellings that the tokenizer has; RobofumeError where none does."""
    spellings = (word, word.capitalize(), " " + word, " " + word.capitalize())
    encoded = [tokenizer.encode(spelling, add_special_tokens=False) for spelling in spellings]
    tokens = sorted({row[0] for row in encoded if len(row) == 1 and row[0] != tokenizer.unk_token_id})
    if not tokens:
        raise RobofumeError(f'This model cannot be a reward model: its tokenizer has no single token for "{word}".')
    return tokens
