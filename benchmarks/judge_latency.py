"""Time and memory of judges: the tiny model, and larger ones of random weights in the shape of published ones."""

import gc
import resource
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from judge_tables import Table
from robofume_reward.model import ModelConfig, RewardModel
from robofume_reward.saved import Calibration

from robofume_reward import tiny_model


def latency(devices: Sequence[str]) -> None:
    """Median seconds of a batch, processor included, and the memory it takes."""
    table = Table("reward_latency", ("model", "device", "dtype", "batch"))
    models = (("tiny", 64, None), ("smolvlm_256m", 512, _smolvlm_256m), ("qwen2_5_vl_2b", 224, _qwen_2b))
    for model, image, builder in models:
        for device in devices:
            dtypes = ("float32",) if model == "tiny" else ("bfloat16",)
            for dtype in dtypes:
                wanted = [b for b in (1, 16) if not table.has(model=model, device=device, dtype=dtype, batch=b)]
                if not wanted:
                    continue
                reward, parameters = _random_model(builder, device, dtype)
                for batch in wanted:
                    row = _time(reward, image, batch, device)
                    table.add({"model": model, "parameters_million": round(parameters / 1e6, 1), "device": device,
                               "dtype": dtype, "batch": batch, "image": image, **row})  # fmt: skip
                del reward
                gc.collect()


def _random_model(builder: Any, device: str, dtype: str) -> tuple[RewardModel, int]:
    config = ModelConfig(device=device, dtype=dtype, threads=1)
    if builder is None:
        folder = Path(tempfile.mkdtemp())
        tiny_model.save(folder, tiny_model.TinyModelConfig(), seed=0)
        reward = RewardModel.load(folder, config)
        shutil.rmtree(folder)
    else:
        torch.set_num_threads(1)
        before = torch.get_default_dtype()
        torch.set_default_dtype(getattr(torch, dtype))
        try:
            model, processor = builder()
        finally:
            torch.set_default_dtype(before)
        reward = RewardModel(model.to(device), processor, config, Calibration(), "random")
    return reward, sum(parameter.numel() for parameter in reward.model.parameters())


def _time(reward: RewardModel, size: int, batch: int, device: str) -> dict[str, Any]:
    images = np.random.default_rng(0).integers(0, 256, (batch, size, size, 3), dtype=np.uint8)
    asked = ["put the pot into the tray"] * batch
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats()
    reward.log_odds(images, asked)
    times: list[float] = []
    end = time.monotonic() + 20
    while len(times) < 3 or (len(times) < 50 and time.monotonic() < end):
        start = time.monotonic()
        reward.log_odds(images, asked)
        times.append(time.monotonic() - start)
    memory = torch.cuda.max_memory_allocated() if device.startswith("cuda") else (
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    )  # fmt: skip
    return {"median_seconds": round(float(np.median(times)), 5), "slowest_seconds": round(max(times), 5),
            "repeats": len(times), "peak_memory_mib": round(memory / 2**20)}  # fmt: skip


def _words(*special: str) -> Any:
    """A tokenizer in the size of these benchmarks' needs: the tiny model's, with the family's special tokens."""
    tokenizer = tiny_model.build_tokenizer(tiny_model.TinyModelConfig())
    tokenizer.add_special_tokens({"additional_special_tokens": list(special)})
    return tokenizer


def _smolvlm_256m() -> tuple[Any, Any]:
    """The shape of SmolVLM-256M: a SigLIP base tower at 512 pixels and a 30-layer text model of width 576."""
    from transformers import Idefics3Processor, LlamaConfig, SmolVLMConfig, SmolVLMForConditionalGeneration
    from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil

    words = _words("<fake_token_around_image>", "<end_of_utterance>", "<global-img>", "<|im_start|>")
    image_processor = SmolVLMImageProcessorPil(size={"longest_edge": 512}, max_image_size={"longest_edge": 512})
    text = LlamaConfig(
        vocab_size=49280, hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9,
        num_key_value_heads=3, max_position_embeddings=8192, tie_word_embeddings=True,
    )  # fmt: skip
    config = SmolVLMConfig(
        vision_config={
            "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12,
            "patch_size": 16, "image_size": 512,
        },
        text_config=text, scale_factor=4, image_token_id=words.convert_tokens_to_ids("<image>"),
        pad_token_id=words.pad_token_id, tie_word_embeddings=True,
    )  # fmt: skip
    return SmolVLMForConditionalGeneration(config), Idefics3Processor(image_processor, words, image_seq_len=64)


def _qwen_2b() -> tuple[Any, Any]:
    """Qwen2.5-VL's architecture at two thousand million parameters."""
    from robofume_reward.families import image_only_qwen
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    names = ("im_start", "im_end", "vision_start", "vision_end", "image_pad", "video_pad")
    words = _words(*(f"<|{name}|>" for name in names))
    tokens = {
        f"{key}_token_id": words.convert_tokens_to_ids(f"<|{name}|>")
        for key, name in (("image", "image_pad"), ("video", "video_pad"), ("vision_start", "vision_start"),
                          ("vision_end", "vision_end"))
    }  # fmt: skip
    config = Qwen2_5_VLConfig(
        vision_config={"depth": 24, "hidden_size": 1024, "intermediate_size": 2736, "num_heads": 16,
                       "out_hidden_size": 1536},
        text_config={
            "vocab_size": 151936, "hidden_size": 1536, "intermediate_size": 8960, "num_hidden_layers": 28,
            "num_attention_heads": 12, "num_key_value_heads": 2, "tie_word_embeddings": True,
            "rope_parameters": {"mrope_section": [16, 24, 24], "rope_type": "default", "rope_theta": 1000000.0},
        },
        tie_word_embeddings=True, **tokens,
    )  # fmt: skip
    return Qwen2_5_VLForConditionalGeneration(config), image_only_qwen(Qwen2VLImageProcessorPil(), words, None)
