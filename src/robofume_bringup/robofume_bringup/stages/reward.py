"""Fine-tunes the reward model on the demonstrations, and measures it on episodes it has not seen."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from robofume_common.errors import RobofumeError

from robofume_bringup.stages.context import StageContext

STAGE = "reward"


def train_reward(context: StageContext, base: str | None = None) -> None:
    """Train into `reward/` and print precision and recall on held-out episodes.

    `base` is a model directory or hub name; None trains the default tiny model.
    """
    from robofume_common.parameters import from_dict
    from robofume_reward.dataset import DatasetConfig
    from robofume_reward.evaluation import table
    from robofume_reward.training import TrainingConfig, train

    bags = _bags(context)
    values = {"seed": context.config.seed, **context.config.of("reward_training")}
    options = from_dict(TrainingConfig, {**values, "base": base} if base else values)
    data = from_dict(DatasetConfig, context.config.of("reward_data"))
    with (
        context.timed(STAGE),
        context.interruption.immediately(),
        context.bar("Training the reward model", options.updates, "update") as bar,
    ):
        summary = train(
            bags,
            context.directory.reward,
            options,
            context.training_progress(bar, ("loss", "held_out_loss")),
            data=data,
        )
    context.say(
        f"Reward model: trained on {summary['training_episodes']} episodes; on "
        f"{len(summary['held_out_episodes'])} "
        f"held-out episodes:\n{table(summary['held_out'])}"
    )
    context.directory.note(
        STAGE, finished=True, held_out=summary["held_out"], options=dataclasses.asdict(options)
    )


def evaluate_reward(context: StageContext, bags: Sequence[Path]) -> dict[str, Any]:
    """Measure the run's reward model on bags (default: the held-out demonstrations) and print the table."""
    from robofume_reward.evaluation import evaluate, table

    if not context.directory.reward.is_dir():
        raise RobofumeError(
            f"The run {context.directory.name} has no reward model yet: "
            f"run `robofume reward train --run {context.directory.name}` first."
        )
    with context.interruption.immediately():
        result = evaluate(context.directory.reward, list(bags) or _bags(context))
    context.say(table(result))
    return result


def _bags(context: StageContext) -> list[Path]:
    bags = context.directory.bag_files("demos")
    if not bags:
        raise RobofumeError(
            f"The run {context.directory.name} has no demonstrations yet: "
            f"run `robofume demos --run {context.directory.name}` first."
        )
    return bags
