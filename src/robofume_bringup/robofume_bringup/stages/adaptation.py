"""Adapts a trained policy to the condition of this run, and keeps where it comes from."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robofume_common.errors import RobofumeError

from robofume_bringup.run_directory import RunDirectory
from robofume_bringup.stages.capacity import fitting
from robofume_bringup.stages.context import StageContext
from robofume_bringup.stages.evaluation import LIKE, describe, read_evaluation
from robofume_bringup.stages.networks import network_of
from robofume_bringup.task_files import task_description

if TYPE_CHECKING:
    from robofume_policy.lineage import Generation

STAGE = "adapt"
LATEST = ("practised", "adapted", "pretrained")
"""Policies of a run, the one that was made last first; a retrained one is another policy, and is to be named."""
LARGER = "start the run with --set replay.offline_capacity=STEPS"


def adapt_policy(
    context: StageContext,
    checkpoint: Path | None,
    bags: Sequence[Path] = (),
    base: Sequence[Path] = (),
    again: bool = False,
) -> None:
    """Adapt the policy of `checkpoint` into `adapted/`, on its own data and this run's; continues unless `again`.

    `checkpoint`: a folder of checkpoints or one of them; None: the one that this run adapts from already. `bags`: the
    new condition's data (default: this run's demonstrations and practice). `base`: the data of the policy (default:
    what its lineage or its run directory tells).
    """
    from robofume_common.parameters import from_dict
    from robofume_data.bad_attempts import read_for_policy, read_with_prior
    from robofume_data.bag_reader import episode_ids, find_bags
    from robofume_data.labels import labels_hashes
    from robofume_policy.adaptation import adapt, check_shape
    from robofume_policy.checkpoint import CheckpointStore, checkpoint_hash, read_checkpoint
    from robofume_policy.config import AdaptationConfig, ReplayConfig
    from robofume_policy.lineage import Generation, data_by_condition, read_lineage, write_lineage
    from robofume_policy.replay_cache import ReplayCache
    from robofume_policy.trained_agent import TrainedAgent

    directory, config = context.directory, context.config
    chosen = checkpoint_to_take(directory, checkpoint, again)
    ancestors = _ancestors(chosen, base) if chosen else read_lineage(directory.source)
    target = [str(bag.resolve()) for bag in (find_bags(bags) if bags else _own_bags(directory))]
    if not target:
        raise RobofumeError(
            f"The run {directory.name} has no data of the new condition yet: run `robofume demos --run "
            f"{directory.name}` or practise first, or name bags after --from."
        )
    named = [str(Path(bag).resolve()) for bag in base]
    parts = [named] if named else data_by_condition(ancestors)
    missing = [bag for part in parts for bag in part if not Path(bag).exists()]
    if missing:
        raise RobofumeError(
            f"Data that the policy learnt from are gone, such as {missing[0]}: put them back, or name others with "
            "--base."
        )
    parts = [[str(bag) for bag in find_bags(part) if str(bag.resolve()) not in target] for part in parts if part]
    own_data, *earlier = [part for part in parts if part] or [[]]
    if not own_data:
        raise RobofumeError(
            "Nothing tells which data the policy was trained on, or it is the new condition's data alone: name the "
            "data with --base, or give other bags of the new condition."
        )
    action_space = task_description(config.robot, config.task).action_space
    options = from_dict(
        AdaptationConfig,
        {"seed": config.seed, **config.of("adaptation"), "updates": config.adaptation_updates},
    )
    network, replay = network_of(config), from_dict(ReplayConfig, config.of("replay"))
    if chosen:
        stored = TrainedAgent.from_state_dict(*read_checkpoint(chosen))
        check_shape(stored, network, action_space, chosen)
    with directory.alone(STAGE):
        if again:  # only now: what is refused above loses nothing
            shutil.rmtree(directory.adapted, ignore_errors=True)
        if chosen:
            _keep_source(directory, chosen, ancestors)
    source = read_lineage(directory.source)[-1]
    known = {bag for generation in ancestors for bag in generation.prior}
    labels = labels_hashes(bag for part in (own_data, *earlier, target) for bag in part)
    prior, recorded = ([bag for bag in own_data if (bag in known) is told] for told in (True, False))
    own_data = [*prior, *recorded]
    with (
        context.timed(STAGE),
        context.interruption.immediately(),
        context.bar("Adapting the policy", options.updates, "update") as bar,
    ):
        trained, errors = adapt(
            directory.source,
            fitting(
                read_with_prior(prior, recorded, network.further_cameras), replay.offline_capacity,
                "The data that the policy learnt from", f"name fewer of them with --base, or {LARGER}",
            ),
            fitting(
                read_for_policy(target, network.further_cameras), replay.offline_capacity,
                "The data of the new condition", f"name fewer bags, or {LARGER}",
            ),
            directory.adapted,
            action_space=action_space,
            network=network,
            agent=config.of("agent"),
            replay=replay,
            config=options,
            metrics_directory=directory.metrics,
            progress=context.training_progress(bar, ("losses/bellman", "losses/imitation")),
            data={"source": source.sha256, "base": own_data, "target": target}
            | ({"earlier": earlier} if earlier else {})
            | ({"labels": labels} if labels else {})
            | ({"prior": prior, "prior_share": replay.prior_share} if prior else {}),
            caches={
                "base": ReplayCache(directory.replay, own_data),
                "target": ReplayCache(directory.replay, target),
                **{f"earlier_{n}": ReplayCache(directory.replay, part) for n, part in enumerate(earlier)},
            },
            earlier=[
                fitting(
                    read_for_policy(part, network.further_cameras), replay.offline_capacity,
                    "The data of an earlier condition", f"name what is to be rehearsed with --base, or {LARGER}",
                )
                for part in earlier
            ],
            own=episode_ids(recorded) if prior else (),
        )
    newest = directory.adapted / f"{CheckpointStore(directory.adapted).numbers()[-1]:09d}"
    adapted = Generation(
        run=directory.name,
        checkpoint=str(newest.resolve()),
        sha256=checkpoint_hash(newest),
        base=(*own_data, *(bag for part in earlier for bag in part)),
        target=tuple(target),
        prior=tuple(prior),
        settings={
            "updates": options.updates, "learning_rate": options.learning_rate,
            "base_fraction": options.base_fraction, "seed": options.seed,
        },
        scores={"action_error": {name: list(pair) for name, pair in errors.items()}},
    )  # fmt: skip
    write_lineage(directory.adapted, [*read_lineage(directory.source), adapted])
    directory.note(STAGE, finished=True, updates=trained.agent.updates, source=source.checkpoint)
    for name, data in (("base", "its own data"), ("target", "the new condition's data")):
        before, after = errors[name]
        if math.isnan(after):
            context.say(f"No success is recorded in {data}: there are no actions to measure the policy by.")
        else:
            context.say(f"Squared error to the recorded actions on {data}: {before:.4f} before, {after:.4f} after.")
    context.say(
        f"Adaptation: {trained.agent.updates} updates from {source.checkpoint} are done, generation "
        f"{len(read_lineage(directory.source))} of its line. `robofume evaluate --run {directory.name} --weights "
        "source` and `--weights adapted` measure both."
    )
    note_scores(context)


def policy_named(path: Path) -> Path:
    """Of a run the folder of what it made last of its policy: by practice, which comes after adaptation, at its best;
    any other path as it is."""
    run = RunDirectory(path)
    if not run.config_file.is_file():
        return path
    for weights in LATEST:
        if any(run.policy(weights).glob("[0-9]*")):
            return run.policy(weights)
    raise RobofumeError(f"The run {run.name} has no policy yet: run `robofume pretrain --run {run.name}` first.")


def settings_of_source(checkpoint: Path | None) -> tuple[str | None, str | None, int | None, list[str]]:
    """Task, robot, image size and `network.NAME=VALUE` of the run that a checkpoint lies in; a new run takes them."""
    if checkpoint is None:
        return None, None, None, []
    folder = checkpoint.resolve()
    run = RunDirectory(folder.parent.parent if folder.name.isdigit() else folder.parent)
    config = run.read_config() if run.config_file.is_file() else {}
    network = (config.get("settings") or {}).get("network", {})
    return (
        config.get("task"), config.get("robot"), config.get("image_size"),
        [f"network.{name}={json.dumps(value)}" for name, value in network.items() if name != "image_size"],
    )  # fmt: skip


def note_scores(context: StageContext) -> None:
    """Add what this run's evaluations say of the policy before and after to its lineage, and say it."""
    from robofume_policy.lineage import read_lineage, write_lineage

    directory = context.directory
    generations = read_lineage(directory.adapted)
    named = {"before": "source", "after": "adapted"}
    found = {name: record for name, file in named.items() if (record := read_evaluation(directory, file)) is not None}
    earlier = {
        path.stem.removeprefix(f"adapted{LIKE}"): read_evaluation(directory, path.stem) or {}
        for path in sorted(directory.evaluations.glob(f"adapted{LIKE}*.json"))
    }
    if not generations or not (found or earlier):
        return
    scores = {**generations[-1].scores, "success": {name: _success(record) for name, record in found.items()}}
    if earlier:
        scores["earlier_conditions"] = {run: _success(record) for run, record in earlier.items()}
    write_lineage(directory.adapted, [*generations[:-1], replace(generations[-1], scores=scores)])
    for name, record in found.items():
        context.say(f"{name.capitalize()} adaptation: {describe(record)}")


def checkpoint_to_take(directory: RunDirectory, checkpoint: Path | None, anew: bool = False) -> Path | None:
    """The checkpoint that is to be taken over; None if this run has it already. RobofumeError if there is none.

    `anew`: a checkpoint that is named replaces the one that this run has.
    """
    from robofume_policy.checkpoint import STATE, CheckpointStore, checkpoint_hash
    from robofume_policy.lineage import read_lineage

    held = [] if anew and checkpoint is not None else read_lineage(directory.source)
    if checkpoint is None:
        if not held:
            raise RobofumeError(
                "--from names the policy that is adapted: a run, a folder of checkpoints, or one of them."
            )
        return None
    if not (checkpoint / STATE).is_file():
        numbers = CheckpointStore(checkpoint).numbers()
        if not numbers:
            raise RobofumeError(
                f"There is no policy in {checkpoint}: --from takes a run, a folder of checkpoints, such as its "
                "pretrained/, best/, checkpoints/ or adapted/, or one of them."
            )
        checkpoint = checkpoint / f"{numbers[-1]:09d}"
    if held and checkpoint_hash(checkpoint) != held[-1].sha256:
        raise RobofumeError(
            f"The run {directory.name} adapts from {held[-1].checkpoint}, not from {checkpoint}: take another run, or "
            "--again to adapt this one anew."
        )
    return None if held else checkpoint.resolve()


def _ancestors(checkpoint: Path, base: Sequence[Path]) -> list[Generation]:
    """The lineage of a checkpoint; of one that was trained and not adapted, from its run directory and `base`."""
    from robofume_policy.checkpoint import checkpoint_hash
    from robofume_policy.lineage import Generation, read_lineage

    digest = checkpoint_hash(checkpoint)
    told = read_lineage(checkpoint.parent)
    if told:
        return [*told[:-1], replace(told[-1], checkpoint=str(checkpoint), sha256=digest)]
    run = RunDirectory(checkpoint.parent.parent)
    pretrained = checkpoint.parent == run.pretrained
    kinds = ("demos",) if pretrained else ("demos", "practice")
    recorded = [bag for kind in kinds for bag in run.bag_files(kind)]
    prior = () if base else tuple(str(bag.resolve()) for bag in _prior_bags(run))
    data = [str(bag.resolve()) for bag in base] or [*prior, *(str(bag) for bag in recorded)]
    names = {
        run.pretrained: ("before",), run.checkpoints: ("newest", "after"), run.best: ("after",),
        run.retrained: ("retrained",),
    }  # fmt: skip
    records = [read_evaluation(run, name) for name in names.get(checkpoint.parent, ())]
    record = next((record for record in records if record and record.get("sha256", digest) == digest), None)
    scores = {"success": {"after": _success(record)}} if record else {}
    return [Generation(run.name, str(checkpoint), digest, target=tuple(data), prior=prior, scores=scores)]


def _prior_bags(run: RunDirectory) -> list[Path]:
    """The prior data that a run learnt from; what is gone stays as it was named, to be told of by name."""
    from robofume_data.bag_reader import find_bags

    named = run.read_config().get("prior", ()) if run.config_file.is_file() else ()
    return [bag for path in map(Path, named) for bag in (find_bags(path) if path.exists() else [path])]


def _keep_source(directory: RunDirectory, checkpoint: Path, ancestors: Sequence[Generation]) -> None:
    """Copy the policy into this run, which then needs its run no more, only its data."""
    from robofume_policy.lineage import write_lineage

    copy = directory.source / checkpoint.name
    temporary = directory.source / f".{checkpoint.name}"
    shutil.rmtree(directory.source, ignore_errors=True)
    shutil.copytree(checkpoint, temporary)
    temporary.rename(copy)
    write_lineage(directory.source, ancestors)  # last: only then the copy counts


def _own_bags(directory: RunDirectory) -> list[Path]:
    return [*directory.bag_files("demos"), *directory.bag_files("practice")]


def _success(record: dict[str, Any]) -> dict[str, float]:
    return {
        direction: sum(record[f"{direction}_success"]) / max(1, len(record[f"{direction}_success"]))
        for direction in ("forward", "backward")
    }
