"""What is saved about the training of a model: options, split, calibration, answers about held-out episodes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from robofume_common.errors import RobofumeError

TRAINING_FILE = "training.json"


def read_summary(directory: Path) -> dict[str, Any]:
    """The summary of the model in `directory`. RobofumeError where there is none, or it is damaged."""
    if summary := find_summary(directory):
        return summary
    raise RobofumeError(f"{directory} does not say how its model was trained ({TRAINING_FILE}); train it again.")


def keys_learnt(summary: Mapping[str, Any]) -> set[str]:
    """Keys (`EpisodeData.key`) of the episodes that a model was trained on, those that its base had learnt included: by
    going on with a model on other episodes nothing is unlearnt."""
    return {*summary.get("trained_on_keys", ()), *summary.get("base_trained_on_keys", ())}


def find_summary(directory: Path) -> dict[str, Any]:
    """The summary; empty for a model that was not trained here. RobofumeError where it is damaged."""
    path = directory / TRAINING_FILE
    if not path.is_file():
        return {}
    try:
        return dict(json.loads(path.read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise RobofumeError(f"{path} is damaged ({error}); train the reward model again.") from error
