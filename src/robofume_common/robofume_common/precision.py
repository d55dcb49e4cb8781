"""Which number formats a device computes fast."""

from __future__ import annotations


def has_bfloat16(device: str = "cpu") -> bool:
    """Whether computing in bfloat16 gains time on a torch device of this kind.

    A processor with neither AVX512-BF16 nor AMX emulates it, a GEMM of 512 then takes eighty times as long as in
    float32.
    """
    import torch

    if device.startswith("cuda"):
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.startswith("cpu"):
        return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    return False
