"""Tiny models with random weights in the architectures of well-known families, saved with their processors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from robofume_reward.families import image_only_qwen

TEXT = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 2, "max_position_embeddings": 2048,
}  # fmt: skip
VISION = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "patch_size": 16,
    "initializer_range": 0.2,
}  # fmt: skip


_TURNS = (
    "{% for turn in messages %}{{ turn.role.capitalize() }}:{% for part in turn.content %}"
    "{% if part.type == 'image' %}<image>{% else %}{{ part.text }}{% endif %}{% endfor %}<end_of_utterance>\n"
    "{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}"
)
_QWEN_TURNS = (
    "{% for turn in messages %}<|im_start|>{{ turn.role }}\n{% for part in turn.content %}"
    "{% if part.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part.text }}{% endif %}"
    "{% endfor %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TEMPLATES = {
    "LLaVA": "{% for turn in messages %}{{ turn.role.upper() }}: {% for part in turn.content %}"
    "{% if part.type == 'image' %}<image>\n{% else %}{{ part.text }} {% endif %}{% endfor %}{% endfor %}"
    "{% if add_generation_prompt %}ASSISTANT:{% endif %}",
    "Idefics3": "<|begin_of_text|>" + _TURNS,
    "SmolVLM": "<|im_start|>" + _TURNS,
    "Qwen2.5-VL": "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n" + _QWEN_TURNS,
    "Qwen3-VL": _QWEN_TURNS,
}
"""Chat templates that write what those of the published models write. PaliGemma has none."""


def tokenizer(*special: str, begin: str = "<s>", begins: bool = False) -> Any:
    """A byte-level tokenizer with the family's special tokens, and yes and no as single tokens; `begins`: it puts the
    token `begin` before every text.
    """
    import tokenizers
    from transformers import PreTrainedTokenizerFast

    backend = tokenizers.Tokenizer(tokenizers.models.BPE())
    backend.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<pad>", begin, "</s>", *special],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    words = ["yes", "no", "true", "false", " yes", " no", "Yes", "No", "True", "False"]
    backend.train_from_iterator(words * 20, trainer)
    if begins:
        backend.post_processor = tokenizers.processors.TemplateProcessing(
            single=f"{begin} $A", special_tokens=[(begin, backend.token_to_id(begin))]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", bos_token=begin, eos_token="</s>",
        additional_special_tokens=list(special), padding_side="left",
    )  # fmt: skip


def llava() -> tuple[Any, Any]:
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration, LlavaProcessor
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    words = tokenizer("<image>", begins=True)
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(**VISION, image_size=32, projection_dim=32),
        text_config=LlamaConfig(**TEXT, vocab_size=len(words)),
        image_token_index=words.convert_tokens_to_ids("<image>"),
    )
    image_processor = CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    processor = LlavaProcessor(
        image_processor, words, patch_size=16, vision_feature_select_strategy="default", num_additional_image_tokens=1
    )
    return LlavaForConditionalGeneration(config), processor


def _idefics_words(begin: str, begins: bool) -> Any:
    special = ("<image>", "<fake_token_around_image>", "<end_of_utterance>", "<global-img>")
    return tokenizer(*special, begin=begin, begins=begins)


def idefics3() -> tuple[Any, Any]:
    from transformers import Idefics3Config, Idefics3ForConditionalGeneration, Idefics3Processor, LlamaConfig
    from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil

    words = _idefics_words("<|begin_of_text|>", begins=True)
    image_processor = Idefics3ImageProcessorPil(size={"longest_edge": 32}, max_image_size={"longest_edge": 32})
    processor = Idefics3Processor(image_processor, words, image_seq_len=1)
    config = Idefics3Config(
        vision_config={**VISION, "image_size": 32},
        text_config=LlamaConfig(**TEXT, vocab_size=len(words)),
        scale_factor=2,
        image_token_id=words.convert_tokens_to_ids("<image>"),
        pad_token_id=words.pad_token_id,
    )
    return Idefics3ForConditionalGeneration(config), processor


def smolvlm() -> tuple[Any, Any]:
    from transformers import Idefics3Processor, LlamaConfig, SmolVLMConfig, SmolVLMForConditionalGeneration
    from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil

    words = _idefics_words("<|im_start|>", begins=False)
    image_processor = SmolVLMImageProcessorPil(size={"longest_edge": 32}, max_image_size={"longest_edge": 32})
    processor = Idefics3Processor(image_processor, words, image_seq_len=16)
    config = SmolVLMConfig(
        # 16 tokens of a picture: transformers 5.20 takes their number for a multiple of the patch size.
        vision_config={**VISION, "image_size": 32, "patch_size": 4},
        text_config=LlamaConfig(**TEXT, vocab_size=len(words)),
        scale_factor=2,
        image_token_id=words.convert_tokens_to_ids("<image>"),
        pad_token_id=words.pad_token_id,
    )
    return SmolVLMForConditionalGeneration(config), processor


def paligemma() -> tuple[Any, Any]:
    from transformers import PaliGemmaConfig, PaliGemmaForConditionalGeneration, PaliGemmaProcessor
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

    words = tokenizer("<image>")
    image_processor = SiglipImageProcessorPil(size={"height": 32, "width": 32})
    image_processor.image_seq_length = 4
    processor = PaliGemmaProcessor(image_processor, words)
    text = {**TEXT, "vocab_size": len(words), "head_dim": 16, "model_type": "gemma"}
    config = PaliGemmaConfig(
        vision_config={**VISION, "image_size": 32, "model_type": "siglip_vision_model"},
        text_config=text,
        projection_dim=32,
        hidden_size=32,
        image_token_index=words.convert_tokens_to_ids("<image>"),
    )
    return PaliGemmaForConditionalGeneration(config), processor


def _qwen(version: str) -> tuple[Any, Any]:
    import transformers
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    names = ("im_start", "im_end", "vision_start", "vision_end", "image_pad", "video_pad")
    words = tokenizer(*(f"<|{name}|>" for name in names))
    tokens = {
        "image_token_id": words.convert_tokens_to_ids("<|image_pad|>"),
        "video_token_id": words.convert_tokens_to_ids("<|video_pad|>"),
        "vision_start_token_id": words.convert_tokens_to_ids("<|vision_start|>"),
        "vision_end_token_id": words.convert_tokens_to_ids("<|vision_end|>"),
    }
    patch = 14 if version == "Qwen2_5_VL" else 16
    vision: dict[str, Any] = {
        "depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2, "patch_size": patch,
        "out_hidden_size": 32, "initializer_range": 0.2,
    }  # fmt: skip
    vision |= (
        {"fullatt_block_indexes": [1], "window_size": 56}
        if version == "Qwen2_5_VL"
        else {"deepstack_visual_indexes": [0], "num_position_embeddings": 64}
    )
    sections = {"mrope_section": [2, 3, 3], "rope_type": "default", "rope_theta": 10000.0}
    text = {**TEXT, "vocab_size": len(words), "head_dim": 16, "rope_parameters": sections, "tie_word_embeddings": True}
    config = getattr(transformers, f"{version}Config")(vision_config=vision, text_config=text, **tokens)
    image_processor = Qwen2VLImageProcessorPil(
        size={"shortest_edge": 56 * 56, "longest_edge": 112 * 112}, patch_size=patch
    )
    return getattr(transformers, f"{version}ForConditionalGeneration")(config), image_only_qwen(
        image_processor, words, None
    )


def qwen2_5_vl() -> tuple[Any, Any]:
    return _qwen("Qwen2_5_VL")


def qwen3_vl() -> tuple[Any, Any]:
    return _qwen("Qwen3VL")


FAMILIES = {
    "LLaVA": llava,
    "Idefics3": idefics3,
    "SmolVLM": smolvlm,
    "PaliGemma": paligemma,
    "Qwen2.5-VL": qwen2_5_vl,
    "Qwen3-VL": qwen3_vl,
}


def save(name: str, directory: Path, template: bool = True) -> None:
    """Writes the tiny model of a family to `directory`, with its chat template where it has one and `template` says
    so.
    """
    torch.manual_seed(5)
    model, processor = FAMILIES[name]()
    processor.chat_template = TEMPLATES.get(name) if template else None
    with torch.no_grad():  # the usual spread would make all answers nearly alike
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(5)
    model.save_pretrained(directory)
    processor.save_pretrained(directory)
