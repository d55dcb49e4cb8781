"""A vision-language model small enough to be trained in place on a CPU, built from a configuration alone.

It has the LLaVA architecture: a FocalNet vision tower, a projector and a two-layer Llama. Nothing is
downloaded: the byte-level BPE tokenizer is made from the sentences below, and any other text falls back to
bytes. The saved directory loads like any other model, through AutoProcessor and AutoModelForImageTextToText.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robofume_common.parameters import setting

from . import questions

IMAGE_TOKEN = "<image>"  # noqa: S105  a word of the vocabulary
PAD_TOKEN = "<pad>"  # noqa: S105  a word of the vocabulary
END_TOKEN = "</s>"  # noqa: S105  a word of the vocabulary
CHAT_TEMPLATE = (
    "{% for message in messages %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}" + IMAGE_TOKEN + "{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endfor %}{% if add_generation_prompt %} Answer:{% endif %}"
)

# Words of table-top manipulation. They only make prompts short: a missing word costs a few more tokens.
_VERBS = (
    "put", "place", "take", "move", "bring", "pick up", "lift", "push", "pull", "slide", "sweep", "fold",
    "unfold", "cover", "uncover", "open", "close", "turn", "remove", "drop", "set", "return", "lay",
)  # fmt: skip
_OBJECTS = (
    "the pot", "the lid", "the block", "the cube", "the candy", "the candies", "the cloth", "the towel",
    "the cup", "the bowl", "the spoon", "the drawer", "the tray", "the bin", "the box", "the plate", "the table",
    "the pan", "the ball", "the can", "the brush", "the object", "the red block", "the blue pot", "the green tray",
    "the yellow cloth", "the white bowl", "the black pan", "the sink", "the stove", "the shelf",
    "the metal pot",
)  # fmt: skip
_PLACES = (
    "into", "in", "out of", "on", "onto", "off", "from", "back to", "to", "over", "under", "next to",
    "on the left side of", "on the right side of", "in the middle of", "in front of", "behind",
)  # fmt: skip


@dataclass(frozen=True)
class TinyModelConfig:
    """Shape of the tiny vision-language model."""

    image_size: int = setting(64, "Side of the square image the vision tower sees", unit="px", minimum=32)
    vision_width: int = setting(32, "Channels of the vision tower's first stage", minimum=8)
    vision_depth: int = setting(1, "Layers per stage of the vision tower", minimum=1)
    text_width: int = setting(128, "Width of the language model", minimum=32)
    text_layers: int = setting(2, "Layers of the language model", minimum=1)
    text_heads: int = setting(4, "Attention heads of the language model", minimum=1)
    vocabulary: int = setting(640, "Size of the tokenizer's vocabulary", minimum=320)
    # At this width the usual 0.02 leaves the signal too weak: training then stalls at chance.
    initializer_range: float = setting(0.08, "Standard deviation of the initial weights", minimum=0.001)


def corpus() -> list[str]:
    """The sentences from which the tokenizer is made."""
    tasks = [f"{verb} {thing} {place} {_OBJECTS[(i * 7 + j * 3 + k) % len(_OBJECTS)]}"
             for i, verb in enumerate(_VERBS)
             for j, thing in enumerate(_OBJECTS)
             for k, place in enumerate(_PLACES)
             if (i + j + k) % 5 == 0]  # fmt: skip
    asked = questions.POSITIVE + questions.NEGATIVE
    lines = [asked[i % len(asked)].format(instruction=task) + " Answer:" for i, task in enumerate(tasks)]
    return lines + [" yes", " no"] * len(lines)


def build_tokenizer(config: TinyModelConfig) -> Any:
    """The byte-level BPE tokenizer (a transformers PreTrainedTokenizerFast); " yes" and " no" are one token
    each.
    """
    import tokenizers
    from transformers import PreTrainedTokenizerFast

    backend = tokenizers.Tokenizer(tokenizers.models.BPE())
    backend.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=config.vocabulary,
        special_tokens=[PAD_TOKEN, END_TOKEN, IMAGE_TOKEN],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(corpus(), trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token=PAD_TOKEN, eos_token=END_TOKEN, padding_side="left"
    )
    for answer in (" yes", " no"):
        tokens = tokenizer.encode(answer, add_special_tokens=False)
        if len(tokens) != 1:
            raise AssertionError(f"the answer {answer!r} must be one token, it is {tokens}")
    return tokenizer


def build(config: TinyModelConfig, seed: int) -> tuple[Any, Any]:
    """A model with random weights drawn from `seed`, and its processor. Global random state is left as it
    was.
    """
    import torch
    from transformers import (
        FocalNetConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
    )
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

    tokenizer = build_tokenizer(config)
    width = config.vision_width
    vision = FocalNetConfig(  # type: ignore[call-arg]  # hidden_size is not FocalNet's own: LLaVA reads it there
        image_size=config.image_size,
        patch_size=4,
        embed_dim=width,
        use_conv_embed=True,
        hidden_sizes=[width, 2 * width, 4 * width],
        depths=[config.vision_depth] * 3,
        focal_levels=[2, 2, 2],
        focal_windows=[3, 3, 3],
        mlp_ratio=2.0,
        drop_path_rate=0.0,
        hidden_size=4 * width,
        initializer_range=config.initializer_range,
    )
    text = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=config.text_width,
        intermediate_size=2 * config.text_width,
        num_hidden_layers=config.text_layers,
        num_attention_heads=config.text_heads,
        num_key_value_heads=config.text_heads,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        initializer_range=config.initializer_range,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
    )
    llava = LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=tokenizer.convert_tokens_to_ids(IMAGE_TOKEN),
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
        tie_word_embeddings=True,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlavaForConditionalGeneration(llava)
        # One spread for all layers, as the library draws them, all but silences the depthwise convolutions and the
        # narrow early stages, whose outputs are multiplied with each other; with it the tower learns far slower.
        for module in model.model.vision_tower.modules():
            if isinstance(module, (torch.nn.Conv2d, torch.nn.Linear)):
                torch.nn.init.normal_(module.weight, std=module.weight[0].numel() ** -0.5)
    processor = LlavaProcessor(
        image_processor=SiglipImageProcessorPil(size={"height": config.image_size, "width": config.image_size}),
        tokenizer=tokenizer,
        patch_size=16,  # stem and two reductions: one image token for 16 x 16 pixels
        vision_feature_select_strategy="full",
        image_token=IMAGE_TOKEN,
        chat_template=CHAT_TEMPLATE,
    )
    return model.eval(), processor


def save(directory: Path, config: TinyModelConfig, seed: int) -> None:
    """Writes a new model with its processor to `directory`."""
    model, processor = build(config, seed)
    model.save_pretrained(directory)
    processor.save_pretrained(directory)
