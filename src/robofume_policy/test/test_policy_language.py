"""Sentence embeddings: offline, frozen, telling tasks apart."""

import numpy as np
import pytest
import torch
from robofume_common.errors import RobofumeError
from robofume_policy.language import InstructionEncoder


@pytest.fixture(scope="module")
def encoder() -> InstructionEncoder:
    return InstructionEncoder()


def test_embeddings_are_unit_vectors_and_cached(encoder: InstructionEncoder) -> None:
    first = encoder("put the pot into the tray")
    assert first.shape == (384,) and first.dtype == np.float32
    assert np.linalg.norm(first) == pytest.approx(1.0, abs=1e-5)
    assert encoder("put the pot into the tray") is first and encoder.dimension == 384


def test_meaning_orders_similarity(encoder: InstructionEncoder) -> None:
    pot = encoder("put the pot into the tray")
    assert pot @ encoder("place the pan in the tray") > pot @ encoder("fold the cloth in half")


def test_codes_know_letters_and_no_meaning() -> None:
    codes = InstructionEncoder("codes")
    pot, pan = codes("put the pot into the tray"), codes("place the pan in the tray")
    assert pot.shape == (384,) and pot.dtype == np.float32 and np.linalg.norm(pot) == pytest.approx(1.0, abs=1e-5)
    assert abs(pot @ pan) < 0.25 < InstructionEncoder()("put the pot into the tray") @ InstructionEncoder()(
        "place the pan in the tray"
    )
    np.testing.assert_array_equal(InstructionEncoder("codes")("put the pot into the tray"), pot)
    assert pot[:2] == pytest.approx([0.04896818, -0.0626248], abs=1e-6), "of the letters alone, in every process"


def test_a_sentence_has_the_same_bits_on_any_number_of_threads() -> None:
    before, found = torch.get_num_threads(), set()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.add(InstructionEncoder()("put the pot into the tray").tobytes())
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert len(found) == 1


def test_what_cannot_be_loaded_is_named() -> None:
    with pytest.raises(RobofumeError, match="no-such-model"):
        InstructionEncoder("/nowhere/no-such-model")("lift the lid")
    with pytest.raises(RobofumeError, match="empty instruction"):
        InstructionEncoder()("  ")


def test_a_clip_text_model_by_directory(tmp_path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection, PreTrainedTokenizerFast

    words = {w: i for i, w in enumerate(["<pad>", "<start>", "<end>", "<unk>", "lift", "the", "lid"])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<end>").save_pretrained(tmp_path)
    config = CLIPTextConfig(
        vocab_size=7, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        projection_dim=12, eos_token_id=2, bos_token_id=1, pad_token_id=0,
    )  # fmt: skip
    CLIPTextModelWithProjection(config).save_pretrained(tmp_path)
    encoder = InstructionEncoder(str(tmp_path))
    assert encoder("lift the lid").shape == (12,)
    assert not np.allclose(encoder("lift the lid"), encoder("the lid lift"))
