"""Fine-tunes the reward model on recorded episodes, measures it on those it has not seen, and judges bags again.

Each of them may work without a run, on bags and folders that are named; then nothing is noted.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robofume_common.errors import RobofumeError

from robofume_bringup.graph import PRACTICE_JUDGE
from robofume_bringup.stages.context import StageContext

if TYPE_CHECKING:
    from robofume_reward.reward_config import RewardNodeConfig
    from robofume_reward.training import TrainingConfig

STAGE = "reward"


def train_reward(
    context: StageContext,
    base: str | None = None,
    bags: Sequence[Path] = (),
    second_judge: str | None = None,
    output: Path | None = None,
) -> None:
    """Train into `reward/` of the run, or into `output`, and print precision and recall on held-out episodes.

    `base` is a model directory or hub name; None trains the default tiny model. `bags`: what to train on; by default
    the demonstrations, the scenes arranged by hand and the practice, of which only what a person (on the topic `label`,
    by `label_step` or `robofume label`) or a second judge (the directory of another model) has labelled is learnt from.
    """
    from robofume_common.parameters import from_dict
    from robofume_reward.dataset import DatasetConfig
    from robofume_reward.evaluation import table
    from robofume_reward.fitness import unfitness
    from robofume_reward.loading import load_judge, model_config
    from robofume_reward.training import train

    options = training_options(context, base)
    data = from_dict(DatasetConfig, context.config.of("reward_data"))
    more = [bag for kind in ("scenes", "practice") for bag in context.directory.bag_files(kind)]
    used = list(bags) or [*_demonstrations(context), *more]
    if not bags and data.prior_share > 0:
        used += map(Path, context.config.prior)
    judge = load_judge(second_judge, model_config(judging(context))) if second_judge else None
    with (
        context.timed(STAGE) if output is None else contextlib.nullcontext(),
        context.interruption.immediately(),
        context.bar("Training the reward model", options.updates, "update") as bar,
    ):
        summary = train(
            used,
            output or context.directory.reward,
            options,
            context.training_progress(bar, ("loss", "held_out_loss")),
            data=data,
            second_judge=judge,
        )
    if summary["left_out_without_direction"]:
        context.say(
            f"{summary['left_out_without_direction']} episodes follow no direction of a task (prior data): they were "
            "left out (reward_data.prior_share asks about those of other tasks)."
        )
    if summary["left_out_as_copies"]:
        context.say(f"{summary['left_out_as_copies']} episodes are in the bags more than once: they count once.")
    if summary["unknown_outcomes"]:
        context.say(
            f"Of {summary['unknown_outcomes']} episodes nobody knows how they ended: they answer no question about it."
        )
    context.say(
        f"Reward model: trained on {summary['training_episodes']} episodes; on "
        f"{len(summary['held_out_episodes'])} "
        f"held-out episodes:\n{table(summary['held_out'])}"
    )
    if summary["held_out_seen_by_base"]:
        context.say(
            f"Warning: the model that it began with had learnt from {summary['held_out_seen_by_base']} of these, so "
            "that figures and thresholds are too good; `robofume reward evaluate` on bags that neither has seen tells "
            "more."
        )
    if len(summary["attempts"]) > 1:
        failed = "; ".join(attempt["unfit"] for attempt in summary["attempts"] if attempt["unfit"])
        context.say(f"It was trained {len(summary['attempts'])} times, each time from other weights, since: {failed}.")
    if sentence := unfitness(output or context.directory.reward):
        context.say(f"Warning: practice will refuse this model: {sentence}.")
    if output is not None:
        context.say(f"It is in {output}.")
        return
    context.directory.note(
        STAGE, finished=True, held_out=summary["held_out"], options=dataclasses.asdict(options), baselines={}
    )


def evaluate_reward(
    context: StageContext, bags: Sequence[Path], baselines: bool = False, model: str | None = None
) -> dict[str, Any]:
    """Measure the run's reward model, or `model`, on bags (default: the held-out demonstrations), by the rule of its
    practice, and print the table.

    `baselines`: train and measure those too, on the same episodes; key `baselines` of the result.
    """
    from robofume_reward.evaluation import evaluate, table
    from robofume_reward.loading import model_config

    if model is None:
        _need_reward(context)
    measured = model or context.directory.reward
    used = list(bags) or _demonstrations(context)
    rule = judging(context)
    with context.interruption.immediately():
        result = evaluate(measured, used, model_config(rule), rule.rule, verdicts=rule)
        context.say(table(result))
        if baselines:
            result["baselines"] = _evaluate_baselines(context, Path(measured), used, rule)
    if model is None:
        context.directory.note(STAGE, evaluated=result)
    return result


def rescore(context: StageContext, bags: Sequence[Path], model: str | None, output: Path | None) -> None:
    """Write `bags` again with the verdicts of the run's reward model, or of `model`, by the rule of its practice."""
    from robofume_reward.loading import load_judge, model_config
    from robofume_reward.rescoring import rescore as rescore_bags

    if model is None:
        _need_reward(context)
    rule = judging(context)
    reward = load_judge(model or context.directory.reward, model_config(rule))
    target = output or context.directory.path / "rescored" / reward.version.replace("/", "_")
    with context.interruption.immediately(), context.bar("Judging again", None, "episode") as bar:
        result = rescore_bags(reward, bags, target, rule.rule, lambda done: bar.update(done - bar.n), rule)
    context.say(
        f"{result['episodes']} episodes with {result['steps']} steps are in {target}, judged by "
        f"{result['model_version']}: {result['changed']} verdicts differ; {result['unknown_after']} are unknown "
        f"({result['unknown_before']} before)."
    )


def training_options(context: StageContext, base: str | None) -> TrainingConfig:
    """The settings of the training: the run's seed, what was --set, and the base model."""
    from robofume_common.parameters import from_dict
    from robofume_reward.training import TrainingConfig

    values = {"seed": context.config.seed, **context.config.of("reward_training")}
    return from_dict(TrainingConfig, {**values, "base": base} if base else values)


def judging(context: StageContext) -> RewardNodeConfig:
    """The settings of the reward node in this run's practice, with what was --set."""
    from robofume_common.parameters import from_dict
    from robofume_reward.reward_config import RewardNodeConfig

    return from_dict(RewardNodeConfig, {**PRACTICE_JUDGE, **context.config.of("reward")})


def _evaluate_baselines(
    context: StageContext, model: Path, bags: list[Path], rule: RewardNodeConfig
) -> dict[str, Any]:
    from robofume_common.parameters import from_dict
    from robofume_data.labels import read_labelled
    from robofume_reward.dataset import DatasetConfig, distinct
    from robofume_reward.evaluation import chosen_by, evaluate_episodes, table, unseen
    from robofume_reward.training_summary import read_summary

    from robofume_reward import baselines

    summary = read_summary(model)
    options = _options_of(summary, context, rule)
    # Models of earlier versions do not say which bags they were trained on; the demonstrations were among them.
    sources = [Path(bag) for bag in summary.get("bags", [])] or _demonstrations(context)
    recorded = distinct(read_labelled(sources))
    training = list(filter(chosen_by(summary, "trained_on"), recorded))
    held = list(filter(chosen_by(summary, "held_out"), recorded))
    episodes = unseen(model, bags)
    results = {}
    for name in baselines.NAMES:
        judge = baselines.train(
            name, training, held, options,
            data=from_dict(DatasetConfig, summary["dataset"]), agreed=summary.get("agreed_keys", ()),
        )  # fmt: skip
        results[name] = evaluate_episodes(judge, episodes, rule.rule, verdicts=rule)
        context.say(f"\n{name}:\n{table(results[name])}")
    return results


def _options_of(summary: dict[str, Any], context: StageContext, rule: RewardNodeConfig) -> TrainingConfig:
    """The settings that a model was trained with, and what was --set besides; computed where and as the judge is."""
    from robofume_common.parameters import from_dict
    from robofume_reward.training import TrainingConfig

    known = {field.name for field in dataclasses.fields(TrainingConfig)}
    trained = {name: value for name, value in summary["options"].items() if name in known}
    here = {name: getattr(rule, name) for name in ("device", "dtype", "threads", "allow_download")}
    values = {**trained, **context.config.of("reward_training"), "base": trained.get("base", ""), **here}
    return from_dict(TrainingConfig, values)


def _need_reward(context: StageContext) -> None:
    if not context.directory.reward.is_dir():
        raise RobofumeError(
            f"The run {context.directory.name} has no reward model yet: "
            f"run `robofume reward train --run {context.directory.name}` first."
        )


def _demonstrations(context: StageContext) -> list[Path]:
    bags = context.directory.bag_files("demos")
    if not bags:
        raise RobofumeError(
            f"The run {context.directory.name} has no demonstrations yet: "
            f"run `robofume demos --run {context.directory.name}` first."
        )
    return bags
