"""Fine-tuning of the reward model on recorded episodes.

The loss is the cross-entropy of the answer, normalised over yes and no: what the verdict is read from. With
no base model a tiny one is built and trained from nothing. For that one the order of the questions matters:
facts asked in positive or negative form at random are an exclusive-or and stall at chance, so negative
questions come in only after the first third.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import logging
import random
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from robofume_common.enums import Direction, Outcome
from robofume_common.errors import RobofumeError
from robofume_common.files import replace_folder
from robofume_common.parameters import setting
from robofume_common.precision import has_bfloat16
from robofume_data.bag_reader import find_bags
from robofume_data.labels import read_labelled

from . import (
    counterexamples,
    dataset,
    evaluation,
    familiarity,
    mining,
    prior_frames,
    questions,
    relighting,
    tiny_model,
    worst_frames,
)
from .augmentation import AugmentationConfig, augment, augment_images
from .calibration import calibrate, choose_home_failure_threshold, choose_home_threshold
from .dataset import EARLY_STEPS, DatasetConfig, LabelledFrames
from .film_cnn import FilmCnn, FilmCnnConfig
from .fitness import shortcomings
from .model import ModelConfig, RewardModel, check_device
from .pose_head import PoseHead
from .sampling import Sampler
from .saved import Calibration, View, written_to
from .training_summary import TRAINING_FILE, find_summary, keys_learnt

logger = logging.getLogger(__name__)

_PREPARED_BYTES = 1_000_000_000
_FEWEST_FROM_HOME = 4  # held-out pictures from home of each answer that training is judged by
_OTHER_WEIGHTS = 1000  # added to the seed of first weights and order, not to that of the split
_FIRST_NEGATED = 1 / 3  # of the updates: from here on questions in negative form
_FIRST_KEPT = 1 / 2  # of the updates: before, few of those were asked, and the learning rate is high
_RATE_FROM_NOTHING, _RATE_OF_A_BASE = 1.5e-3, 1e-4
_NEEDS_A_BASE = {"lora": "LoRA", "projector": "Training the projector alone"}
_PROJECTORS = ("projector", "connector", "merger")  # as the families name it
Progress = Callable[[int, int, dict[str, float]], None]


@dataclass(frozen=True)
class TrainingConfig:
    """How the reward model is fine-tuned."""

    base: str = setting("", "Model to start from: directory or hub name; empty builds the tiny model")
    method: str = setting(
        "full",
        "What is trained: all of the model, its projector, adapters; or a small convolutional network in its place",
        choices=("full", "projector", "lora", "film_cnn"),
    )
    updates: int = setting(800, "Gradient updates", minimum=1)
    batch_size: int = setting(32, "Questions per update", minimum=2)
    learning_rate: float = setting(
        0.0,
        "Peak learning rate of AdamW; 0: 1e-4 with a base and 1.5e-3 without. 3e-4 is about right to go on with a tiny "
        "model",
        minimum=0.0,
    )
    weight_decay: float = setting(0.05, "Weight decay of AdamW", minimum=0.0)
    averaging: float = setting(0.99, "Decay per update of the averaged weights that are kept; 0: none",
                               minimum=0.0, maximum=0.9999)  # fmt: skip
    yes_share: float = setting(0.4, "Questions of a batch whose answer is success", minimum=0.05, maximum=0.95)
    other_share: float = setting(0.4, "Questions of a batch about the other direction", minimum=0.0, maximum=0.9)
    mined_share: float = setting(
        0.3, "Questions of a batch with labels mined from practice, where there are some", minimum=0.0, maximum=0.9
    )
    counterexample_share: float = setting(
        0.06,
        "Questions of a batch about pictures made of the training frames that show no success: the scene without its "
        "objects, and what is no picture of it; 0: none are made",
        minimum=0.0,
        maximum=0.5,
    )
    relight: bool = setting(
        True,
        "Ask about the recorded pictures in the light of a new scene too, where a person has labelled pictures of one",
    )
    hard_share: float = setting(0.5, "Questions drawn by how badly they are still answered", minimum=0.0, maximum=1.0)
    pose_weight: float = setting(
        0.3, "Weight of the auxiliary loss that reads the arm's pose off the image; 0: none", minimum=0.0
    )
    paraphrase_share: float = setting(0.2, "Questions in other words", minimum=0.0, maximum=1.0)
    negative_share: float = setting(0.1, "Questions in negative form, after the first third", minimum=0.0, maximum=1.0)
    held_out_share: float = setting(0.2, "Episodes kept for early stopping and calibration", minimum=0.05, maximum=0.8)
    check_every: int = setting(100, "Updates between two looks at the held-out episodes, in the second half", minimum=1)
    patience: int = setting(4, "Looks without improvement after which training stops", minimum=1)
    retries: int = setting(
        2,
        "Times that a training from nothing begins again, from other weights, when its held-out pictures show that it "
        "does not tell success from failure",
        minimum=0,
    )
    target_precision: float = setting(0.95, "Precision on held-out frames for which the threshold is chosen",
                                      minimum=0.5, maximum=1.0)  # fmt: skip
    frames: int = setting(1, "Images of an episode that the model looks at, the newest included", minimum=1, maximum=8)
    frame_stride: int = setting(3, "Distance of two of those images", unit="steps", minimum=1)
    accumulation: int = setting(1, "Parts in which a batch is computed, to save memory", minimum=1)
    agreement: float = setting(
        0.95, "P of a second judge that an outcome of practice needs to count as a label", minimum=0.5, maximum=1.0
    )
    lora_rank: int = setting(8, "Rank of the LoRA adapters", minimum=1)
    threads: int = setting(1, "Torch threads; 0 leaves torch's own choice", minimum=0)
    device: str = setting("cpu", "Torch device")
    dtype: str = setting("float32", "Precision of the weights", choices=("float32", "bfloat16"))
    mixed_precision: bool = setting(True, "Compute the forward pass in bfloat16 where the processor has it")
    allow_download: bool = setting(False, "Fetch the base model from the network")
    seed: int = setting(0, "Seed of weights, split, sampling and augmentation", minimum=0)

    @property
    def rate(self) -> float:
        """The peak learning rate, chosen where none is set."""
        return self.learning_rate or (_RATE_OF_A_BASE if self.base else _RATE_FROM_NOTHING)

    def check(self) -> None:
        """Raises RobofumeError where the settings do not go together, or not with this machine."""
        if self.method == "film_cnn":
            if self.base or self.frames > 1:
                raise RobofumeError(
                    "The classifier is trained from nothing and sees one image: leave base and frames out."
                )
            return
        if self.method in _NEEDS_A_BASE and not self.base:
            # A freshly built model has untrained weights that a part of it cannot make up for.
            raise RobofumeError(
                f"{_NEEDS_A_BASE[self.method]} needs a pre-trained base model: name one as the base, or train in full."
            )
        check_device(self.device)


def train(
    bags: Sequence[str | Path],
    output_directory: str | Path,
    options: TrainingConfig | None = None,
    progress: Progress | None = None,
    data: DatasetConfig | None = None,
    augmentation: AugmentationConfig | None = None,
    second_judge: Any = None,
) -> dict[str, Any]:
    """Fine-tunes on the episodes in `bags`, saves the model to `output_directory`, and returns the summary
    saved beside it. `progress(update, updates, metrics)` is called after each update.

    Bags of a run's practice are read with what a person has said about them afterwards, in the labels of that run.
    `second_judge`: a RewardModel or a baseline whose agreement makes an outcome of practice a label (see `mining`).
    Raises RobofumeError for unusable bags or a base model that cannot be loaded.
    """
    (options or TrainingConfig()).check()
    paths = find_bags(list(bags))
    # Practice can be long, and what teaches nothing need not be kept in memory.
    episodes = [
        episode
        for episode in read_labelled(paths)
        if second_judge is not None or episode.direction == Direction.NONE or mining.gives_labels(episode)
    ]
    if not episodes:
        raise RobofumeError(
            "The bags hold no finished episode that anybody else has judged than the model: record demonstrations, or "
            "label practice."
        )
    return train_on_episodes(episodes, output_directory, options, progress, data, augmentation, second_judge, paths)


def train_on_episodes(
    episodes: Sequence[Any],
    output_directory: str | Path,
    options: TrainingConfig | None = None,
    progress: Progress | None = None,
    data: DatasetConfig | None = None,
    augmentation: AugmentationConfig | None = None,
    second_judge: Any = None,
    bags: Sequence[Path] = (),
) -> dict[str, Any]:
    """`train` for episodes (EpisodeData, in the order of recording) that are in memory; `bags`: where they are from,
    for the record. An episode that is there twice counts once: its copies would lie on both sides of the split.

    Prior data of no direction show other tasks, whose success has nothing to do with this one's: they are left out,
    and the summary counts them, or some of their pictures are asked about this one (`prior_frames`).

    A training from nothing that has learnt nothing (see `fitness`) begins again from other weights, `retries` times;
    the last one is kept, and `attempts` of the summary tells of each.
    """
    started = time.monotonic()
    options = options or TrainingConfig()
    options.check()
    options = dataclasses.replace(options, learning_rate=options.rate)
    data = data or DatasetConfig()
    augmentation = augmentation or AugmentationConfig()
    of_base = keys_learnt(find_summary(Path(options.base))) if options.base else set()
    read = len(episodes)
    episodes = dataset.distinct(episodes)
    recorded = len(episodes)
    prior = [episode for episode in episodes if episode.direction == Direction.NONE]
    episodes = [episode for episode in episodes if episode.direction != Direction.NONE]
    if not episodes:
        raise RobofumeError(
            f"None of the {recorded} recorded episodes follows a direction of a task, so none shows what success is; "
            "import them with --direction, or record demonstrations."
        )
    agreed = mining.agreed(episodes, second_judge, options.agreement) if second_judge is not None else set()
    episodes = [episode for episode in episodes if mining.gives_labels(episode, agreed)]
    labelled = dataset.label(episodes, data, options.seed, agreed)
    if labelled.labels.all() or not labelled.labels.any():
        raise RobofumeError("All recorded frames have the same answer; the reward model needs successes and failures.")
    learnt, held = dataset.split(episodes, options.held_out_share, options.seed)
    training = labelled.select(learnt[labelled.episodes])
    checking = labelled.select(held[labelled.episodes])
    known = _familiarity(training, checking, augmentation, options.seed)
    taken, made, relit = training, counterexamples.Made(), 0
    if options.counterexample_share > 0:
        training, made = counterexamples.add(training, options.seed)
    if options.relight:
        training, relit = relighting.add(training, _new_scenes(taken, known), options.seed)
    others = prior_frames.of_other_tasks(prior, taken) if data.prior_share > 0 else []
    training, asked_of_prior = prior_frames.add(training, others, data.prior_share, options.seed)

    learnt_episodes = list(itertools.compress(episodes, learnt))
    held_episodes = list(itertools.compress(episodes, held))
    # A verdict one or two steps early does little harm, so these frames do not push the threshold up.
    lenient = dataclasses.replace(data, margin=max(data.margin, EARLY_STEPS))
    # Of all episodes, since what an episode begins with follows from the one before, held out or not.
    lenient_questions = dataset.label(episodes, lenient, options.seed, agreed)
    held_questions = lenient_questions.select(held[lenient_questions.episodes])

    output = Path(output_directory)
    partial = output.with_name(output.name + ".partial")
    attempts: list[dict[str, Any]] = []
    while True:
        attempt = dataclasses.replace(options, seed=options.seed + _OTHER_WEIGHTS * len(attempts))
        with written_to(output):
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            judge = _classifier(attempt) if options.method == "film_cnn" else _base(attempt, partial)
        judge.opposites |= dataset.opposites(episodes)
        if isinstance(judge, FilmCnn):
            judge.fit(training, attempt, augmentation, progress)
            best = options.updates
        else:
            best = _fit(judge, training, checking, attempt, augmentation, progress)
        judge.calibration = _calibration(judge, held_questions, options.target_precision)
        judge.familiarity = known
        measured = evaluation.evaluate_episodes(judge, held_episodes)
        unfit = shortcomings(measured)
        attempts.append({"seed": attempt.seed, "best_update": best, "unfit": unfit})
        if not unfit or options.base or len(attempts) > options.retries:
            break
        logger.warning("The training has learnt too little (%s): it begins again from other weights.", unfit)
    summary = {
        "options": asdict(options),
        "dataset": asdict(data),
        "augmentation": asdict(augmentation),
        "training_episodes": len(learnt_episodes),
        "left_out_without_direction": len(prior) - len(others),
        "prior_questions": asked_of_prior,
        "left_out_as_copies": read - recorded,
        "unknown_outcomes": sum(episode.outcome == Outcome.UNKNOWN for episode in episodes),
        "trained_on": [episode.episode_id for episode in learnt_episodes],
        "held_out_episodes": [episode.episode_id for episode in held_episodes],
        "trained_on_keys": [episode.key for episode in learnt_episodes],
        "held_out_keys": [episode.key for episode in held_episodes],
        "half_seen_keys": [episode.key for episode in itertools.compress(episodes, ~learnt & ~held)],
        "base_trained_on_keys": sorted(of_base),
        "held_out_seen_by_base": sum(episode.key in of_base for episode in held_episodes),
        "bags": [str(path.resolve()) for path in bags],
        "training_questions": len(taken),
        "counterexamples": made.as_dict(),
        "relit_questions": relit,
        "held_out_questions": len(checking),
        "mined_questions": int(taken.mined.sum()),
        "agreed_episodes": sorted(episode.episode_id for episode in episodes if episode.key in agreed),
        "agreed_keys": sorted(agreed),
        "best_update": best,
        "attempts": attempts,
        "calibration": dict(judge.calibration.__dict__),
        "familiar_scenes": len(judge.familiarity.centres),
        "seconds": round(time.monotonic() - started, 1),
        "held_out": measured,
    }
    if isinstance(judge, RewardModel) and options.method == "lora":
        judge.model = judge.model.merge_and_unload()
    with written_to(output):
        worst_frames.write(partial, measured["most_wrong"], held_episodes)
    keep(judge, summary, partial, output)
    return summary


def _calibration(judge: RewardModel | FilmCnn, held_out: LabelledFrames, target_precision: float) -> Calibration:
    """Temperature and thresholds from a judge's answers to held-out questions."""
    in_the_loop = held_out.select(held_out.own)
    chosen = calibrate(evaluation.log_odds(judge, in_the_loop), in_the_loop.labels, target_precision)
    at_home = held_out.select(dataset.at_home(held_out))
    from_home = chosen.probabilities(evaluation.log_odds(judge, at_home))
    return dataclasses.replace(
        chosen,
        home_failure_threshold=choose_home_failure_threshold(from_home, at_home.labels, target_precision),
        home_threshold=choose_home_threshold(from_home, at_home.labels),
    )


def keep(judge: RewardModel | FilmCnn, summary: Mapping[str, Any], partial: Path, output: Path) -> None:
    """Write the model and the summary of its training into the folder `partial`, then put that in the place of
    `output`. Raises RobofumeError where the disk does not take it; `output` is as it was then."""
    with written_to(output):
        judge.save(partial)
        (partial / TRAINING_FILE).write_text(json.dumps(summary, indent=2) + "\n")
        replace_folder(partial, output)


def _classifier(options: TrainingConfig) -> FilmCnn:
    if options.threads:
        torch.set_num_threads(options.threads)
    return FilmCnn(FilmCnnConfig(updates=options.updates), seed=options.seed)


def _base(options: TrainingConfig, directory: Path) -> RewardModel:
    config = ModelConfig(
        device=options.device,
        dtype=options.dtype,
        threads=options.threads,
        allow_download=options.allow_download,
        trace=False,  # a trace holds a copy of the weights
    )
    if options.base:
        reward = RewardModel.load(options.base, config)
    else:
        tiny_model.save(directory, tiny_model.TinyModelConfig(), options.seed)
        reward = RewardModel.load(directory, config)
    reward.view = View(options.frames, options.frame_stride)
    if options.method == "lora":
        from peft import LoraConfig, get_peft_model

        reward.model = get_peft_model(
            reward.model,
            LoraConfig(r=options.lora_rank, lora_alpha=2 * options.lora_rank, target_modules="all-linear"),
        )
    elif options.method == "projector":
        found = False
        for name, parameter in reward.model.named_parameters():
            parameter.requires_grad = any(part in name for part in _PROJECTORS)
            found = found or parameter.requires_grad
        if not found:
            raise RobofumeError("This base model has no part named projector, connector or merger; use full or lora.")
    return reward


def _fit(
    reward: RewardModel,
    training: LabelledFrames,
    checking: LabelledFrames,
    options: TrainingConfig,
    augmentation: AugmentationConfig,
    progress: Progress | None,
) -> int:
    """Trains in place; leaves the weights of the second half that did best on `checking`, and returns their update."""
    generator = np.random.default_rng(options.seed)
    words = random.Random(options.seed)
    light = torch.Generator().manual_seed(options.seed)
    plain = reward.has_plain_pixels(training.images[0])
    prepared = _prepare(reward, training) if plain else None
    sampler = Sampler(training, options)
    model = reward.model
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    pose = _pose_head(reward, training.select(~training.made), options)
    optimiser = torch.optim.AdamW(
        [*parameters, *(pose.parameters() if pose is not None else ())],
        lr=options.learning_rate,
        weight_decay=options.weight_decay,
    )
    warm_up = min(100, max(1, options.updates // 10))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser,
        lambda step: min(1.0, (step + 1) / warm_up) * (0.5 + 0.5 * np.cos(np.pi * min(1.0, step / options.updates))),
    )
    averaged = [parameter.detach().clone() for parameter in parameters]
    kept = [value.clone() for value in averaged]
    checks = {update for update in range(1, options.updates) if update % options.check_every == 0}
    checks = {update for update in checks if update > _FIRST_KEPT * options.updates} | {options.updates}
    best_loss, best_update, stale = float("inf"), 0, 0
    metrics: dict[str, float] = {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        kind = reward.device.type
        halved = options.mixed_precision and has_bfloat16(kind)
        for update in range(1, options.updates + 1):
            negative = options.negative_share if update > _FIRST_NEGATED * options.updates else 0.0
            rows = sampler.draw(options.batch_size, generator)
            asked = [
                questions.sample(str(training.instructions[row]), words, options.paraphrase_share, negative)
                for row in rows
            ]
            yes = training.labels[rows] == np.array([positive for _, positive in asked])
            model.train()
            optimiser.zero_grad(set_to_none=True)
            losses = np.zeros(len(rows), np.float32)
            pose_losses = 0.0
            for part in np.array_split(np.arange(len(rows)), options.accumulation):
                seen = training.seen(rows[part], reward.view)
                pixels, images = None, training.images[seen]
                if prepared is not None:
                    pixels = prepared[seen].flatten(0, seen.ndim - 1)
                elif not plain:
                    images = augment_images(images, augmentation, light)
                batch = reward.encode(images, [asked[i][0] for i in part], pixels)
                if plain:
                    batch["pixel_values"] = augment(batch["pixel_values"], augmentation, light)
                with torch.autocast(kind, torch.bfloat16, enabled=halved):
                    outputs = reward.outputs(batch)
                logit = reward.logit_of(outputs)
                part_losses = torch.nn.functional.binary_cross_entropy_with_logits(
                    logit, torch.from_numpy(yes[part].astype(np.float32)).to(logit.device), reduction="none"
                )
                losses[part] = part_losses.detach().cpu().numpy()
                loss = part_losses.sum() / len(rows)
                taken = part[~training.made[rows[part]]]  # a made picture has no pose
                if pose is not None and len(taken):
                    proprioception = training.proprioception[training.frames[rows[taken]]]
                    features = outputs.image_hidden_states.flatten().unflatten(0, (len(part), -1))
                    pose_loss = pose.loss(features[torch.from_numpy(np.isin(part, taken))], proprioception)
                    share = len(taken) / int((~training.made[rows]).sum())
                    pose_losses += share * pose_loss.item()
                    loss = loss + options.pose_weight * share * pose_loss
                loss.backward()
            sampler.saw(rows, losses)
            metrics["loss"] = 0.95 * metrics.get("loss", float(losses.mean())) + 0.05 * float(losses.mean())
            if pose is not None:
                metrics["pose_loss"] = 0.95 * metrics.get("pose_loss", 1.0) + 0.05 * pose_losses
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimiser.step()
            schedule.step()
            decay = min(options.averaging, update / (update + 10))
            with torch.no_grad():
                for average, parameter in zip(averaged, parameters, strict=True):
                    average.lerp_(parameter, 1 - decay)
            if update in checks:
                current = [parameter.detach().clone() for parameter in parameters]
                _assign(parameters, averaged)
                checked = _held_out_loss(reward, checking)
                _assign(parameters, current)
                metrics["held_out_loss"] = checked
                if checked < best_loss:
                    best_loss, best_update, stale = checked, update, 0
                    kept = [value.clone() for value in averaged]
                else:
                    stale += 1
            if progress is not None:
                progress(update, options.updates, dict(metrics))
            if stale >= options.patience:
                break
    _assign(parameters, kept)
    reward.forget_traces()
    return best_update


def _familiarity(
    training: LabelledFrames, checking: LabelledFrames, augmentation: AugmentationConfig, seed: int
) -> familiarity.Familiarity:
    """What is familiar after training; the labelled pictures, held out or not, were all looked at by a person."""
    labelled = np.union1d(training.frames[training.mined], checking.frames[checking.mined])
    recorded, held = (np.unique(frames.frames[~frames.mined]) for frames in (training, checking))
    images = training.images
    return familiarity.fit(images[recorded], images[held], images[labelled], augmentation, seed)


def _new_scenes(frames: LabelledFrames, known: familiarity.Familiarity) -> list[list[int]]:
    """The labelled pictures, as indices, of each scene that is strange to the recorded ones."""
    labelled = np.unique(frames.frames[frames.mined])
    return [labelled[places].tolist() for places in known.new_scenes(frames.images[labelled])]


def _prepare(reward: RewardModel, frames: LabelledFrames) -> torch.Tensor | None:
    """The model's view of all images, where it is small enough to be kept: most of the cost of a batch's
    data.
    """
    used = np.unique(frames.frames)
    first = reward.pixels(frames.images[used[:1]])
    if first.ndim != 4 or len(first) != 1 or first.nbytes * len(frames.images) > _PREPARED_BYTES:
        return None
    prepared = torch.zeros((len(frames.images), *first.shape[1:]), dtype=first.dtype)
    for chunk in np.array_split(used, max(1, len(used) // 64)):
        prepared[chunk] = reward.pixels(frames.images[chunk]).cpu()
    return prepared


def _pose_head(reward: RewardModel, frames: LabelledFrames, options: TrainingConfig) -> PoseHead | None:
    """The auxiliary head, where the model is trained whole and hands out its image features."""
    if options.pose_weight == 0 or options.method != "full":
        return None
    with torch.inference_mode():
        images = frames.images[frames.seen(slice(1), reward.view)]
        outputs = reward.outputs(reward.encode(images, [questions.canonical("look")]))
    features = getattr(outputs, "image_hidden_states", None)
    if not isinstance(features, torch.Tensor):
        return None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        return PoseHead(frames, features.numel()).to(reward.device)


def _assign(parameters: list[torch.nn.Parameter], values: list[torch.Tensor]) -> None:
    with torch.no_grad():
        for parameter, value in zip(parameters, values, strict=True):
            parameter.copy_(value)


def _held_out_loss(reward: RewardModel, checking: LabelledFrames) -> float:
    """Cross-entropy on the held-out questions from home, and on the mined ones: those decide in the loop, and are still
    being learnt when the many in motion, whose labels are rougher, are overfitted. On all where too few are from home.

    Both answers weigh the same, and so do the recorded and the mined ones: a few labels of a changed scene would count
    for nothing among the many of the old one.
    """
    if not len(checking):
        return 0.0
    recorded_at_home = dataset.at_home(checking) & ~checking.mined
    if min(np.bincount(checking.labels[recorded_at_home], minlength=2)) >= _FEWEST_FROM_HOME:
        checking = checking.select(recorded_at_home | checking.mined)
    reward.model.eval()
    odds = evaluation.log_odds(reward, checking)
    losses = np.logaddexp(0.0, np.where(checking.labels, -odds, odds))
    groups = [(checking.labels == answer) & (checking.mined == mined) for answer in (True, False)
              for mined in (True, False)]  # fmt: skip
    return float(np.mean([losses[group].mean() for group in groups if group.any()]))
