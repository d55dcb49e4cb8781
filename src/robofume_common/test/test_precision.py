"""bfloat16 where it gains time, and nowhere else."""

import pytest
import torch
from robofume_common.precision import has_bfloat16


@pytest.mark.parametrize(
    ("wide", "tiles", "expected"), [(False, False, False), (True, False, True), (False, True, True)]
)
def test_a_processor_needs_instructions_for_it(monkeypatch, wide, tiles, expected):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: wide)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: tiles)
    assert has_bfloat16("cpu") is expected


def test_a_card_is_asked_itself(monkeypatch):
    asked = []
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: asked.append(including_emulation))
    assert has_bfloat16("cuda:1") is False
    assert asked == [False]


def test_of_another_device_nothing_is_known():
    assert has_bfloat16("mps") is False
