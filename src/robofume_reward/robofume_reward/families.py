"""What differs between families of vision-language models: how the processor is put together, and the prompt.

Models of other families are loaded and asked as their own processor says; they need a chat template.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from robofume_common.errors import RobofumeError


@dataclass(frozen=True)
class Family:
    """One family of models."""

    name: str
    model_types: tuple[str, ...]
    image: str = ""  # stands for one image in a prompt
    prompt: str = ""  # with {images} and {question}: for models that bring no chat template
    options: dict[str, Any] = field(default_factory=dict)  # for every call of the processor
    image_processor: str = ""  # the class to use where the saved name needs a package that is not there
    load_processor: Callable[[Family, str | Path, dict[str, Any]], Any] | None = None  # None: AutoProcessor does it

    def text(self, processor: Any, question: str, frames: int) -> str:
        """The prompt for a question about `frames` images."""
        if getattr(processor, "chat_template", None):
            content = [{"type": "image"}] * frames + [{"type": "text", "text": question}]
            message = {"role": "user", "content": content}
            return str(processor.apply_chat_template([message], add_generation_prompt=True))
        if not self.prompt:
            raise RobofumeError(
                "This model brings no chat template and is of no family known here; fine-tuned or instruction-tuned "
                "models have one."
            )
        return self.prompt.format(images=self.image * frames, question=question)


def of(model_type: str) -> Family:
    """The family of a model type, as in the model's configuration."""
    return next((family for family in FAMILIES if model_type in family.model_types), OTHER)


def load(source: str | Path, options: dict[str, Any]) -> tuple[Family, Any]:
    """Family and processor of a saved or cached model; raises what transformers raises."""
    from transformers import AutoConfig, AutoProcessor

    family = of(AutoConfig.from_pretrained(source, **options).model_type)
    if family.load_processor is None:
        return family, AutoProcessor.from_pretrained(source, **options)
    return family, family.load_processor(family, source, options)


def _parts(family: Family, source: str | Path, options: dict[str, Any]) -> tuple[Any, Any, dict[str, Any]]:
    """Image processor, tokenizer, and the rest of the saved processor's settings."""
    import transformers
    from transformers import AutoImageProcessor, AutoTokenizer, ProcessorMixin
    from transformers.utils import is_torchvision_available

    settings, _ = ProcessorMixin.get_processor_dict(source, **options)
    if is_torchvision_available():
        image_processor = AutoImageProcessor.from_pretrained(source, **options)
    else:
        image_processor = getattr(transformers, family.image_processor).from_pretrained(source, **options)
    return image_processor, AutoTokenizer.from_pretrained(source, **options), settings


def _load_smolvlm(family: Family, source: str | Path, options: dict[str, Any]) -> Any:
    """SmolVLM's own processor also reads videos, for which it needs torchvision and num2words; the one of Idefics3
    makes the same prompt for images.
    """
    from transformers import Idefics3Processor

    image_processor, tokenizer, settings = _parts(family, source, options)
    chat_template = settings.get("chat_template") or tokenizer.chat_template
    length = settings.get("image_seq_len", 64)
    return Idefics3Processor(image_processor, tokenizer, image_seq_len=length, chat_template=chat_template)


def _load_qwen(family: Family, source: str | Path, options: dict[str, Any]) -> Any:
    """Qwen-VL's processor without its part for videos, which needs torchvision."""
    image_processor, tokenizer, settings = _parts(family, source, options)
    chat_template = settings.get("chat_template") or tokenizer.chat_template
    return image_only_qwen(image_processor, tokenizer, chat_template)


def image_only_qwen(image_processor: Any, tokenizer: Any, chat_template: str | None) -> Any:
    """A processor for the Qwen-VL models that takes images alone; saved, it names the class that it stands for."""
    from transformers import ProcessorMixin, Qwen3VLProcessor

    class ImageOnlyProcessor(Qwen3VLProcessor):
        def __init__(self, image_processor: Any = None, tokenizer: Any = None, chat_template: Any = None) -> None:
            for name in ("image", "video"):
                token = f"<|{name}_pad|>"
                setattr(self, f"{name}_token", token)
                setattr(self, f"{name}_token_id", tokenizer.convert_tokens_to_ids(token))
            ProcessorMixin.__init__(self, image_processor, tokenizer, chat_template=chat_template)

    ImageOnlyProcessor.__name__ = "Qwen3VLProcessor"
    return ImageOnlyProcessor(image_processor, tokenizer, chat_template)


# One image is one tile: pictures of a robot's camera are smaller than the tiles that splitting would make of them.
_ONE_TILE = {"do_image_splitting": False}
_TURNS = "User:{images}{question}<end_of_utterance>\nAssistant:"

FAMILIES = (
    Family("LLaVA", ("llava",), "<image>", "USER: {images}\n{question} ASSISTANT:"),
    Family("Idefics3", ("idefics3",), "<image>", _TURNS, _ONE_TILE),
    Family(
        "SmolVLM",
        ("smolvlm",),
        "<image>",
        "<|im_start|>" + _TURNS,
        _ONE_TILE,
        "SmolVLMImageProcessorPil",
        _load_smolvlm,
    ),
    Family("PaliGemma", ("paligemma",), "<image>", "{images}answer en {question}"),
    Family(
        "Qwen-VL",
        ("qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_vl_moe"),
        "<|vision_start|><|image_pad|><|vision_end|>",
        "<|im_start|>user\n{images}{question}<|im_end|>\n<|im_start|>assistant\n",
        {},
        "Qwen2VLImageProcessorPil",
        _load_qwen,
    ),
)
OTHER = Family("other", ())
