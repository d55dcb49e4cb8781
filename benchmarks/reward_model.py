"""Can the judge be trusted? Measured on episodes that it was not trained on, beside baselines, and where it is hard.

Parts, each with a file of its own in benchmarks/results/:

- `practice`: precision and recall of the final verdict, seen from home, on the practice of finished runs of the main
  job, by the simulation's ground truth; with `--baselines` also those of the CNN, the linear probe and the base model;
- `places`: the same question with the object everywhere on a grid, up to the walls and both sides of the border;
- `shift`: the same question in scenes with another light, background, colours and a moved camera, with abstention;
  then again after fine-tuning on 20 labelled pictures of the new scene;
- `familiarity`: which pictures of practice, and of such scenes, are strange to the model, and how wrong it would be;
- `labels`: precision and recall against the number of labelled episodes of practice that were added (2 .. 50), chosen
  by doubt or drawn from the called successes;
- `few`: precision and recall of judges trained from nothing on 2 .. 50 labelled episodes of each direction;
- `adversarial`: what the judge says to pictures that show no success: covered, half-way, empty, black, frozen;
- `blind_spot`: the same, and `practice`, for the judge trained without and with counterexamples made of its own frames;
- `latency`: time and memory of the tiny model and of larger ones with random weights.

    python benchmarks/reward_model.py --part practice --runs RUNS --names pot_pick_and_place_0 ... --baselines

Every finished row is written at once, and rows that are there are not measured again: a stopped benchmark continues
with the same command.
"""

import argparse
import dataclasses
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from judge_latency import latency
from judge_scenes import adversarial_pictures, labelled_scenes, looks, places, scenes
from judge_tables import (
    DIRECTIONS,
    RESULTS,
    Table,
    ask,
    called,
    decided,
    figures,
    final_verdicts,
    knowing_opposites,
    knowing_scenes,
)
from robofume_common.enums import Direction, Outcome, Verdict
from robofume_data.bag_reader import read_episodes
from robofume_data.episode import EpisodeData
from robofume_data.labels import with_labels
from robofume_reward.evaluation import Judge, verdicts_from_home
from robofume_reward.model import RewardModel
from robofume_reward.training import TrainingConfig

from robofume_reward import baselines, mining, training

PARTS = ("practice", "places", "shift", "familiarity", "labels", "few", "adversarial", "blind_spot", "latency")
LABELLED = (2, 5, 10, 20, 50)
REPAIR = TrainingConfig(updates=300, learning_rate=3e-4, check_every=50, mined_share=0.4)
"""How a trained tiny model is fine-tuned on: a fifth of the first training's peak learning rate."""


def practice(runs: Sequence[Path], with_baselines: bool) -> None:
    """Gate: `WANTED_PRECISION` and `WANTED_RECALL` (judge_tables.py) per direction."""
    table = Table("reward_practice", ("run", "judge", "direction", "questions"))
    for run in runs:
        judges = ["vlm", *(baselines.NAMES if with_baselines else ())]
        last = {"run": run.name, "direction": "backward", "questions": "both"}
        judges = [name for name in judges if not table.has(judge=name, **last)]
        if not judges:
            continue
        episodes = decided(run)
        for name in judges:
            for direction, rows in final_verdicts(_judge(run, name), episodes):
                for row in rows.values():
                    key = {"run": run.name, "judge": name, "direction": direction}
                    if not table.has(**key, questions=row["questions"]):
                        table.add({**key, **row})


def everywhere(runs: Sequence[Path], task: str) -> None:
    """What the judge does not know of the places where the object can be."""
    table = Table("reward_places", ("run", "direction"))
    seen = places(task)
    for run in runs:
        judge = knowing_opposites(RewardModel.load(run / "reward"), task)
        for direction, number in DIRECTIONS.items():
            if not table.has(run=run.name, direction=direction):
                own, opposite = ask(judge, seen["images"], seen["description"].instruction(number))
                said = verdicts_from_home(judge.calibration, own, opposite, judge.familiarity.strange(seen["images"]))
                table.add({"run": run.name, "direction": direction, **figures(own, seen[direction], said)})


def _judge(run: Path, name: str) -> Judge:
    if name == "vlm":
        return RewardModel.load(run / "reward")
    summary = training.read_summary(run / "reward")
    bags = [path for kind in ("demos", "scenes") for path in sorted((run / "bags" / kind).glob("*.mcap"))]
    recorded = list(read_episodes(bags))
    learnt = [episode for episode in recorded if episode.episode_id in set(summary["trained_on"])]
    held = [episode for episode in recorded if episode.episode_id in set(summary["held_out_episodes"])]
    options = TrainingConfig(seed=summary["options"]["seed"], updates=summary["options"]["updates"])
    return baselines.train(name, learnt, held, options)


def tuned(run: Path, more: Sequence[EpisodeData], seed: int) -> RewardModel:
    """The run's reward model, fine-tuned on with labelled episodes besides its demonstrations."""
    recorded = list(read_episodes(sorted((run / "bags" / "demos").glob("*.mcap"))))
    with tempfile.TemporaryDirectory() as folder:
        options = dataclasses.replace(REPAIR, base=str(run / "reward"), seed=seed)
        training.train_on_episodes([*recorded, *more], Path(folder) / "reward", options)
        return RewardModel.load(Path(folder) / "reward")


def by_a_person(episode: EpisodeData) -> EpisodeData:
    """The episode with the verdict on its last picture that a person would give."""
    assert episode.truth is not None
    verdict = Verdict.SUCCESS if episode.truth[-1] else Verdict.FAILURE
    return with_labels([episode], {episode.episode_id: {-1: verdict}})[0]


def labels(runs: Sequence[Path], counts: Sequence[int], chosen_by: str) -> None:
    """Labelled are episodes of the first half of practice: those that the judge doubted most, or drawn from those that
    it called a success; measured is the second half.
    """
    table = Table("reward_label_efficiency", ("run", "chosen", "labelled", "direction"))
    for run in runs:
        episodes = decided(run)
        first, second = episodes[: len(episodes) // 2], episodes[len(episodes) // 2 :]
        for count in counts:
            row_key = {"run": run.name, "chosen": chosen_by, "labelled": count}
            if table.has(**row_key, direction="backward"):
                continue
            drawn = (
                mining.called_successes(first, count, seed=0)
                if chosen_by == "called"
                else mining.most_doubtful(first, count)
            )
            wrong = sum(episode.outcome == Outcome.SUCCESS and not episode.truth[-1] for episode in drawn)
            chosen = [by_a_person(episode) for episode in drawn]
            judge = tuned(run, chosen, seed=count) if count else RewardModel.load(run / "reward")
            for direction, rows in final_verdicts(judge, second):
                table.add({**row_key, "direction": direction, **rows["both"], "wrong_among_labelled": wrong})


def few(runs: Sequence[Path], counts: Sequence[int], seeds: Sequence[int]) -> None:
    """Trained from the start on so many of the run's demonstrations each way, half of them failures where there are so
    many; measured is all of practice. The seed draws the episodes and trains.
    """
    table = Table("reward_few_labels", ("run", "labelled", "seed", "direction"))
    for run in runs:
        practised = decided(run)
        recorded = list(read_episodes(sorted((run / "bags" / "demos").glob("*.mcap"))))
        for seed in seeds:
            random = np.random.default_rng(seed)
            shuffled = [recorded[number] for number in random.permutation(len(recorded))]
            for count in counts:
                row_key = {"run": run.name, "labelled": count, "seed": seed}
                if table.has(**row_key, direction="backward"):
                    continue
                chosen = [
                    episode
                    for direction in DIRECTIONS.values()
                    for wanted, share in ((True, (count + 1) // 2), (False, count // 2))
                    for episode in _ended(shuffled, direction, wanted)[:share]
                ]
                with tempfile.TemporaryDirectory() as folder:
                    ordered = [episode for episode in recorded if any(episode is other for other in chosen)]
                    training.train_on_episodes(ordered, Path(folder) / "reward", TrainingConfig(seed=seed))
                    judge = RewardModel.load(Path(folder) / "reward")
                for direction, rows in final_verdicts(judge, practised):
                    table.add({**row_key, "direction": direction, "episodes": len(chosen), **rows["both"]})


def _ended(episodes: Sequence[EpisodeData], direction: Direction, success: bool) -> list[EpisodeData]:
    """Those of a direction that ended so."""
    return [
        episode for episode in episodes
        if episode.direction == direction and (episode.outcome == Outcome.SUCCESS) == success
    ]  # fmt: skip


def shift(runs: Sequence[Path], task: str, count: int, repaired: Sequence[str]) -> None:
    """Gate: precision at least 0.90, or more abstention; then 20 labelled pictures repair it."""
    table = Table("reward_shift", ("run", "look", "labelled", "direction"))
    for labelled in (0, 20):
        for run in runs:
            for look, appearance in looks().items():
                if labelled and look not in repaired:
                    continue
                row_key = {"run": run.name, "look": look, "labelled": labelled}
                if (look == "plain" and labelled) or table.has(**row_key, direction="backward"):
                    continue
                seen = scenes(task, appearance, count, seed=1)
                judge = knowing_scenes(RewardModel.load(run / "reward"), run)
                if labelled:
                    judge = tuned(run, labelled_scenes(scenes(task, appearance, labelled, seed=2)), seed=0)
                judge = knowing_opposites(judge, task)
                for direction, number in DIRECTIONS.items():
                    own, opposite = ask(judge, seen["images"], seen["description"].instruction(number))
                    # The rule of the loop, and what it would be if every scene were familiar.
                    strange = judge.familiarity.strange(seen["images"])
                    row = figures(own, seen[direction], verdicts_from_home(judge.calibration, own, opposite, strange))
                    never = np.zeros_like(strange)
                    bold = figures(own, seen[direction], verdicts_from_home(judge.calibration, own, opposite, never))
                    abstained = row["unknown_positives"] + row["unknown_negatives"]
                    table.add({**row_key, "direction": direction, **row, "abstention": round(abstained / count, 4),
                               "strange": int(strange.sum()),
                               "precision_without_familiarity": bold["precision"],
                               "recall_without_familiarity": bold["recall"]})  # fmt: skip


def familiar(runs: Sequence[Path], count: int) -> None:
    """How far pictures are from those of the training, in units of what is familiar, and how many questions from home
    the judge would answer wrongly, or not at all, if everything were familiar.
    """
    table = Table("reward_familiarity", ("run", "pictures"))
    for run in runs:
        episodes = decided(run)
        task = episodes[0].task
        if table.has(run=run.name, pictures="brightness 1.2"):
            continue
        judge = knowing_opposites(knowing_scenes(RewardModel.load(run / "reward"), run), task)

        def note(kind: str, images: np.ndarray, wrong: Any, run: Path = run, judge: RewardModel = judge) -> None:
            distances = judge.familiarity.distances(images)
            table.add({"run": run.name, "pictures": kind, "count": len(images), "strange": int((distances > 1).sum()),
                       "distance_median": round(float(np.median(distances)), 3),
                       "distance_least": round(float(distances.min()), 3),
                       "distance_most": round(float(distances.max()), 3),
                       "wrong_or_unknown_otherwise": wrong})  # fmt: skip

        note("practice, from home", np.stack([episode.images[-1] for episode in episodes]), "")
        note("practice, in motion", np.concatenate([episode.images[1:-1:4] for episode in episodes]), "")
        shown = {look: scenes(task, appearance, count, seed=1) for look, appearance in looks().items()}
        for share in (0.95, 0.9, 0.8, 0.7, 0.6, 1.1, 1.2):
            dimmed = np.clip(shown["plain"]["images"] * share, 0, 255).round().astype(np.uint8)
            shown[f"brightness {share}"] = {**shown["plain"], "images": dimmed}
        for look, seen in shown.items():
            right = 0
            for direction, number in DIRECTIONS.items():
                own, opposite = ask(judge, seen["images"], seen["description"].instruction(number))
                said = verdicts_from_home(judge.calibration, own, opposite, np.zeros(len(own), bool))
                right += int((said == np.where(seen[direction], Verdict.SUCCESS, Verdict.FAILURE)).sum())
            note(look, seen["images"], f"{2 * count - right} of {2 * count}")


def adversarial(runs: Sequence[Path], task: str, count: int) -> None:
    """What must not be called a success, by kind of picture; the frozen camera shows the episode's first picture."""
    table = Table("reward_adversarial", ("run", "kind", "direction"))
    for run in runs:
        judge = knowing_opposites(RewardModel.load(run / "reward"), task)
        for kind, images, description in adversarial_pictures(task, count):
            for direction, number in DIRECTIONS.items():
                if table.has(run=run.name, kind=kind, direction=direction):
                    continue
                shown = images[direction] if isinstance(images, dict) else images
                own, opposite = ask(judge, shown, description.instruction(number))
                motion = [judge.calibration.verdict(float(p)) for p in own]
                table.add({"run": run.name, "kind": kind, "direction": direction, "pictures": len(shown),
                           **called(judge, own, opposite, shown),
                           "called_success_in_motion": motion.count(Verdict.SUCCESS),
                           "unknown_in_motion": motion.count(Verdict.UNKNOWN),
                           "mean_probability": round(float(own.mean()), 4)})  # fmt: skip


def blind_spot(runs: Sequence[Path], task: str, count: int, models: Path) -> None:
    """What counterexamples change, on demonstrations of the same seed: pictures that show no success, and practice."""
    table = Table("reward_blind_spot", ("run", "counterexamples", "kind", "direction"))
    pictures = list(adversarial_pictures(task, count))
    for run in runs:
        episodes = decided(run)
        for made in ("no", "yes"):
            if table.has(run=run.name, counterexamples=made, kind="practice, both", direction="backward"):
                continue
            judge = knowing_opposites(_trained_as(run, made == "yes", models), task)
            row_key = {"run": run.name, "counterexamples": made}
            for kind, images, description in pictures:
                for direction, number in DIRECTIONS.items():
                    shown = images[direction] if isinstance(images, dict) else images
                    own, opposite = ask(judge, shown, description.instruction(number))
                    table.add({**row_key, "kind": kind, "direction": direction, "pictures": len(shown),
                               **called(judge, own, opposite, shown),
                               "highest_probability": round(float(own.max()), 4)})  # fmt: skip
            for direction, rows in final_verdicts(judge, episodes):
                for asked, row in rows.items():
                    unknown = row["unknown_positives"] + row["unknown_negatives"]
                    table.add({**row_key, "kind": f"practice, {asked}", "direction": direction,
                               "unknown_from_home": unknown,
                               **{name: row[name] for name in ("true_positives", "false_positives", "false_negatives",
                                                               "precision", "precision_95", "recall")}})  # fmt: skip


def _trained_as(run: Path, counterexamples: bool, models: Path) -> RewardModel:
    """The judge of a run's demonstrations and seed: the run's own where that was trained so, else one in `models`."""
    summary = training.read_summary(run / "reward")
    used = summary["options"].get("counterexample_share", 0.0) > 0
    if used == counterexamples:
        return RewardModel.load(run / "reward")
    folder = models / f"{run.name}_{'with' if counterexamples else 'without'}"
    if not folder.is_dir():
        options = TrainingConfig(seed=summary["options"]["seed"])
        if not counterexamples:
            options = dataclasses.replace(options, counterexample_share=0.0)
        models.mkdir(parents=True, exist_ok=True)
        print(training.train(sorted((run / "bags" / "demos").glob("*.mcap")), folder, options)["counterexamples"])
    return RewardModel.load(folder)


def main() -> None:
    """One part, as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", required=True, choices=PARTS)
    parser.add_argument("--task", default="pot_pick_and_place")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where the runs are")
    parser.add_argument("--names", nargs="+", default=["pot_pick_and_place"], help="names of finished runs")
    parser.add_argument("--baselines", action="store_true", help="also train and measure the baselines")
    parser.add_argument("--count", type=int, default=200, help="pictures of shift and adversarial")
    parser.add_argument("--labelled", nargs="+", type=int, default=[0, *LABELLED], help="labelled episodes to add")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], help="of few")
    parser.add_argument("--chosen-by", choices=("doubtful", "called"), default="doubtful", help="how labels are chosen")
    parser.add_argument("--looks", nargs="+", default=list(looks()), help="changed scenes that labels are given for")
    parser.add_argument("--models", type=Path, default=Path("runs/blind_spot"), help="where its models are kept")
    parser.add_argument("--devices", nargs="+", default=["cpu"])
    options = parser.parse_args()
    RESULTS.mkdir(exist_ok=True)
    torch.set_num_threads(1)
    runs = [options.runs / name for name in options.names]
    if options.part == "practice":
        practice(runs, options.baselines)
    elif options.part == "places":
        everywhere(runs, options.task)
    elif options.part == "labels":
        labels(runs, options.labelled, options.chosen_by)
    elif options.part == "few":
        few(runs, [count for count in options.labelled if count], options.seeds)
    elif options.part == "shift":
        shift(runs, options.task, options.count, options.looks)
    elif options.part == "familiarity":
        familiar(runs, options.count)
    elif options.part == "adversarial":
        adversarial(runs, options.task, options.count)
    elif options.part == "blind_spot":
        blind_spot(runs, options.task, options.count, options.models)
    else:
        latency(options.devices)


if __name__ == "__main__":
    main()
