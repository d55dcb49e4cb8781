"""Can the judge be trusted? Measured on episodes that it was not trained on, beside baselines, and where it is hard.

Parts, each with a file of its own in benchmarks/results/:

- `practice`: precision and recall of the final verdict, seen from home, on the practice of finished runs of the main
  job, by the simulation's ground truth; with `--baselines` also those of the CNN, the linear probe and the base model;
- `shift`: the same question in scenes with another light, background, colours and a moved camera, with abstention;
  then again after fine-tuning on 20 labelled pictures of the new scene;
- `familiarity`: which pictures of practice, and of such scenes, are strange to the model, and how wrong it would be;
- `labels`: precision and recall against the number of labelled episodes of practice that were added (2 .. 50), chosen
  by doubt or drawn from the called successes;
- `adversarial`: what the judge says to pictures that show no success: covered, half-way, empty, black, frozen;
- `blind_spot`: the same, and `practice`, for the judge trained without and with counterexamples made of its own frames;
- `latency`: time and memory of the tiny model and of larger ones with random weights.

    python benchmarks/reward_model.py --part practice --runs RUNS --names pot_pick_and_place_0 ... --baselines

Every finished row is written at once, and rows that are there are not measured again: a stopped benchmark continues
with the same command.
"""

import argparse
import csv
import dataclasses
import gc
import resource
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from robofume_common.enums import Direction, Outcome, Phase, RewardSource, Verdict
from robofume_data.bag_reader import read_episodes
from robofume_data.episode import EpisodeData
from robofume_reward.augmentation import AugmentationConfig
from robofume_reward.evaluation import Judge, verdicts_from_home
from robofume_reward.judge import opposite_probabilities
from robofume_reward.measures import measure
from robofume_reward.model import ModelConfig, RewardModel
from robofume_reward.saved import Calibration
from robofume_reward.training import TrainingConfig
from robofume_sim.arm_driver import ArmDriver
from robofume_sim.scene import Appearance
from robofume_sim.tasks import TASKS
from robofume_sim.world import World, WorldConfig

from robofume_reward import baselines, familiarity, mining, tiny_model, training

RESULTS = Path(__file__).parent / "results"
PARTS = ("practice", "shift", "familiarity", "labels", "adversarial", "blind_spot", "latency")
DIRECTIONS = {"forward": Direction.FORWARD, "backward": Direction.BACKWARD}
LABELLED = (2, 5, 10, 20, 50)
REPAIR = TrainingConfig(updates=300, learning_rate=3e-4, check_every=50, mined_share=0.4)
"""How a trained tiny model is fine-tuned on: a fifth of the first training's peak learning rate."""


class Table:
    """A CSV file of rows, each written when it is measured; `keys` name a row."""

    def __init__(self, name: str, keys: tuple[str, ...]) -> None:
        self.path = RESULTS / f"{name}.csv"
        self.keys = keys
        self.rows = list(csv.DictReader(self.path.open())) if self.path.is_file() else []

    def has(self, **values: Any) -> bool:
        """Whether the row with these keys is measured."""
        return any(all(row[key] == str(values[key]) for key in self.keys) for row in self.rows)

    def add(self, row: dict[str, Any]) -> None:
        """Keeps a row and shows it."""
        print("  ".join(f"{key} {value}" for key, value in row.items()), flush=True)
        self.rows.append({key: str(value) for key, value in row.items()})
        names = list(dict.fromkeys(name for known in self.rows for name in known))
        partial = self.path.with_suffix(".partial")
        with partial.open("w", newline="") as file:
            writer = csv.DictWriter(file, names)
            writer.writeheader()
            writer.writerows(self.rows)
        partial.replace(self.path)


def figures(probabilities: np.ndarray, truths: np.ndarray, verdicts: np.ndarray) -> dict[str, Any]:
    """The measures that the tables show."""
    values = measure(probabilities, truths, verdicts)
    chosen = ("true_positives", "false_positives", "false_negatives", "true_negatives", "unknown_positives",
              "unknown_negatives", "precision", "recall", "area_under_curve", "calibration_error")  # fmt: skip
    rounded = {name: round(values[name], 4) if isinstance(values[name], float) else values[name] for name in chosen}
    low, high = values["precision_interval"]
    return {**rounded, "precision_95": f"{low:.3f}-{high:.3f}"}


def ask(judge: Judge, images: np.ndarray, instruction: str) -> tuple[np.ndarray, np.ndarray]:
    """P(success) (B,) of images from home, and that of the opposite instruction; a model that looks at several gets
    the same one in each place.
    """
    if judge.view.frames > 1:
        images = images[:, None].repeat(judge.view.frames, 1)
    own, opposite = [], []
    for start in range(0, len(images), 64):
        chunk = images[start : start + 64]
        asked = [instruction] * len(chunk)
        own.append(judge.calibration.probabilities(judge.log_odds(chunk, asked)))
        opposite.append(opposite_probabilities(judge, chunk, asked))
    return np.concatenate(own), np.concatenate(opposite)


def knowing_opposites(judge: Judge, task: str) -> Judge:
    """The judge with the pair of instructions, which models of earlier runs were saved without."""
    if not judge.opposites:
        description = TASKS[task].description
        first, second = (description.instruction(number) for number in DIRECTIONS.values())
        judge.opposites = {first: second, second: first}
    return judge


def knowing_scenes(judge: RewardModel, run: Path) -> RewardModel:
    """The judge with what is familiar to it, which models of earlier runs were saved without: that takes the pictures
    that it was trained on, and no training.
    """
    if not len(judge.familiarity.centres):
        summary = training.read_summary(run / "reward")
        recorded = list(read_episodes(sorted((run / "bags" / "demos").glob("*.mcap"))))
        learnt, held = (
            np.concatenate([episode.images for episode in recorded if episode.episode_id in set(summary[part])])
            for part in ("trained_on", "held_out_episodes")
        )
        judge.familiarity = familiarity.fit(learnt, held, learnt[:0], AugmentationConfig(), summary["options"]["seed"])
    return judge


def decided(run: Path) -> list[EpisodeData]:
    """The episodes of a run's practice on whose end the judge was asked, whatever it said."""
    asked = (Outcome.SUCCESS, Outcome.TIMEOUT, Outcome.UNKNOWN)
    return [episode for episode in read_episodes([run / "bags" / "practice"]) if episode.outcome in asked]


def final_verdicts(judge: Judge, episodes: Sequence[EpisodeData]) -> Iterator[tuple[str, dict[str, dict[str, Any]]]]:
    """The figures of each direction for the last pictures of episodes: by the own question alone, and by the rule of
    the loop, which asks both.
    """
    judge = knowing_opposites(judge, episodes[0].task)
    for name, direction in DIRECTIONS.items():
        chosen = [episode for episode in episodes if episode.direction == direction]
        if chosen:
            images = np.stack([episode.images[-1] for episode in chosen])
            truths = np.array([bool(episode.truth[-1]) for episode in chosen])
            own, opposite = ask(judge, images, chosen[0].instruction)
            rows = {}
            for asked, other in (("own", np.zeros_like(own)), ("both", opposite)):
                verdicts = verdicts_from_home(judge.calibration, own, other, judge.familiarity.strange(images))
                rows[asked] = {"questions": asked, **figures(own, truths, verdicts)}
            yield name, rows


def practice(runs: Sequence[Path], with_baselines: bool) -> None:
    """Gate: precision at least 0.97 and recall at least 0.85 per direction."""
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


def _judge(run: Path, name: str) -> Judge:
    if name == "vlm":
        return RewardModel.load(run / "reward")
    summary = training.read_summary(run / "reward")
    recorded = list(read_episodes(sorted((run / "bags" / "demos").glob("*.mcap"))))
    learnt = [episode for episode in recorded if episode.episode_id in set(summary["trained_on"])]
    held = [episode for episode in recorded if episode.episode_id in set(summary["held_out_episodes"])]
    return baselines.train(name, learnt, held, TrainingConfig(seed=summary["options"]["seed"]))


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
    return mining.with_labels([episode], {episode.episode_id: {-1: verdict}})[0]


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


# Scenes


def looks() -> dict[str, Appearance]:
    """The shifts that are asked for, one at a time."""
    plain = Appearance()
    camera, target = np.array(plain.camera_position), np.array(plain.camera_target)
    angle = np.radians(5)
    sight = target - camera
    cosine, sine = np.cos(angle), np.sin(angle)
    turned = camera + (cosine * sight[0] - sine * sight[1], sine * sight[0] + cosine * sight[1], sight[2])

    def point(values: np.ndarray) -> tuple[float, float, float]:
        x, y, z = (float(value) for value in values)
        return x, y, z

    return {
        "plain": plain,
        "light": dataclasses.replace(plain, light=0.6, light_position=(0.1, -0.6, 1.2)),
        "background": dataclasses.replace(plain, background=(0.35, 0.3, 0.25), table=(0.66, 0.72, 0.62)),
        "colours": dataclasses.replace(plain, object=(0.95, 0.7, 0.1), tray=(0.25, 0.6, 0.35)),
        "camera": dataclasses.replace(
            plain, camera_position=point(camera + (0.0, 0.03, 0.0)), camera_target=point(turned + (0.0, 0.03, 0.0))
        ),
    }


def scenes(task: str, look: Appearance, count: int, seed: int, size: int = 64) -> dict[str, Any]:
    """Pictures from home (count, size, size, 3) with the object in the places of both starts, and the truth (count,)
    for each direction.
    """
    world = World(task, WorldConfig(appearance=look))
    images, truths = [], []
    for number in range(count):
        world.reset(Direction.FORWARD if number % 2 else Direction.BACKWARD, seed=seed * 10_000 + number)
        image = cv2.resize(world.render(), (size, size), interpolation=cv2.INTER_AREA)
        truth = world.truth()
        images.append(image)
        truths.append((truth.forward_success, truth.backward_success))
    description, home = world.task.description, ArmDriver(world).proprioception()
    world.close()
    forward, backward = np.array(truths).T
    return {"images": np.stack(images), "forward": forward, "backward": backward, "description": description,
            "home": home}  # fmt: skip


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
                    judge = tuned(run, _labelled_scenes(scenes(task, appearance, labelled, seed=2), task), seed=0)
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


def _labelled_scenes(seen: dict[str, Any], task: str) -> list[EpisodeData]:
    """Single pictures with a person's answer to both questions, as episodes without an action."""
    episodes = []
    for place, image in enumerate(seen["images"]):
        for direction, number in DIRECTIONS.items():
            good = bool(seen[direction][place])
            episodes.append(
                EpisodeData(
                    episode_id=f"labelled-{place}-{direction}", task=task,
                    instruction=seen["description"].instruction(number), phase=Phase(number), direction=number,
                    outcome=Outcome.SUCCESS if good else Outcome.TIMEOUT, success_index=0 if good else -1,
                    assisted_reset_before=True, images=image[None], proprioception=seen["home"][None],
                    actions=np.zeros((0, 7), np.float32), actors=np.zeros(0, np.uint8),
                    policy_versions=np.zeros(1, np.uint64), stamps=np.zeros(1, np.int64),
                    verdicts=np.array([Verdict.SUCCESS if good else Verdict.FAILURE], np.uint8),
                    probabilities=np.array([float(good)], np.float32),
                    sources=np.array([RewardSource.HUMAN], np.uint8),
                )
            )  # fmt: skip
    return episodes


def adversarial(runs: Sequence[Path], task: str, count: int) -> None:
    """What must not be called a success, by kind of picture; the frozen camera shows the episode's first picture."""
    table = Table("reward_adversarial", ("run", "kind", "direction"))
    for run in runs:
        judge = knowing_opposites(RewardModel.load(run / "reward"), task)
        for kind, images, description in _adversarial_pictures(task, count):
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


def called(judge: Judge, own: np.ndarray, opposite: np.ndarray, images: np.ndarray) -> dict[str, int]:
    """How many pictures are called a success from home, and how many unknown, by the own question and by both."""
    strange = judge.familiarity.strange(images)
    alone = verdicts_from_home(judge.calibration, own, np.zeros_like(own), strange).tolist()
    loop = verdicts_from_home(judge.calibration, own, opposite, strange).tolist()
    return {"called_success_own_question": alone.count(Verdict.SUCCESS),
            "called_success_from_home": loop.count(Verdict.SUCCESS),
            "unknown_from_home": loop.count(Verdict.UNKNOWN)}  # fmt: skip


def blind_spot(runs: Sequence[Path], task: str, count: int, models: Path) -> None:
    """What counterexamples change, on demonstrations of the same seed: pictures that show no success, and practice."""
    table = Table("reward_blind_spot", ("run", "counterexamples", "kind", "direction"))
    pictures = list(_adversarial_pictures(task, count))
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


def _adversarial_pictures(task: str, count: int, size: int = 64) -> Iterator[tuple[str, Any, Any]]:
    world = World(task)
    arm = ArmDriver(world)
    description = world.task.description
    generator = np.random.default_rng(0)

    def picture() -> np.ndarray:
        return cv2.resize(world.render(), (size, size), interpolation=cv2.INTER_AREA)

    def place(position: np.ndarray) -> None:
        world.reset(Direction.FORWARD, seed=0, start={world.task.object_names[0]: position})
        arm.forget()

    objects = np.isin(world.model.geom_bodyid, [world.model.body(name).id for name in world.task.object_names])
    objects &= world.model.geom_rgba[:, 3] == 1.0
    half, covered, empty = [], [], []
    starts = {name: [] for name in DIRECTIONS}
    for number in range(count):
        world.reset(Direction.FORWARD, seed=number)
        start = next(iter(world.scene_state().objects.values())).position.copy()
        middle = np.array([start[0], generator.uniform(-0.014, 0.014), start[2]])
        place(middle)
        truth = world.truth()
        if not (truth.forward_success or truth.backward_success):
            half.append(picture())
        place(start)
        arm.step(np.array([*(start[:2] - arm.proprioception()[:2]).clip(-0.05, 0.05), -0.05, 0, 0, 0, 1], np.float32))
        for _ in range(4):
            gap = start[:2] - arm.proprioception()[:2]
            arm.step(np.array([*gap.clip(-0.05, 0.05), -0.02, 0, 0, 0, 1], np.float32))
        if not world.truth().backward_success:
            covered.append(picture())
        world.model.geom_rgba[objects, 3] = 0.0
        place(start)
        empty.append(picture())
        world.model.geom_rgba[objects, 3] = 1.0
        for name, direction in DIRECTIONS.items():
            world.reset(direction, seed=number)
            starts[name].append(picture())
    world.close()
    yield "object half-way", np.stack(half), description
    if covered:
        yield "arm over the object", np.stack(covered), description
    yield "empty table", np.stack(empty), description
    yield "black camera", np.zeros((1, size, size, 3), np.uint8), description
    yield "white camera", np.full((1, size, size, 3), 255, np.uint8), description
    yield "noise", generator.integers(0, 256, (count, size, size, 3), dtype=np.uint8), description
    yield "frozen camera", {name: np.stack(images) for name, images in starts.items()}, description


# Cost


def latency(devices: Sequence[str]) -> None:
    """Median seconds of a batch, processor included, and the memory it takes."""
    table = Table("reward_latency", ("model", "device", "dtype", "batch"))
    models = (("tiny", 64, None), ("smolvlm_256m", 512, _smolvlm_256m), ("qwen2_5_vl_2b", 224, _qwen_2b))
    for model, image, builder in models:
        for device in devices:
            dtypes = ("float32",) if model == "tiny" else ("bfloat16",)
            for dtype in dtypes:
                wanted = [b for b in (1, 16) if not table.has(model=model, device=device, dtype=dtype, batch=b)]
                if not wanted:
                    continue
                reward, parameters = _random_model(builder, device, dtype)
                for batch in wanted:
                    row = _time(reward, image, batch, device)
                    table.add({"model": model, "parameters_million": round(parameters / 1e6, 1), "device": device,
                               "dtype": dtype, "batch": batch, "image": image, **row})  # fmt: skip
                del reward
                gc.collect()


def _random_model(builder: Any, device: str, dtype: str) -> tuple[RewardModel, int]:
    config = ModelConfig(device=device, dtype=dtype, threads=1)
    if builder is None:
        folder = Path(tempfile.mkdtemp())
        tiny_model.save(folder, tiny_model.TinyModelConfig(), seed=0)
        reward = RewardModel.load(folder, config)
        shutil.rmtree(folder)
    else:
        torch.set_num_threads(1)
        before = torch.get_default_dtype()
        torch.set_default_dtype(getattr(torch, dtype))
        try:
            model, processor = builder()
        finally:
            torch.set_default_dtype(before)
        reward = RewardModel(model.to(device), processor, config, Calibration(), "random")
    return reward, sum(parameter.numel() for parameter in reward.model.parameters())


def _time(reward: RewardModel, size: int, batch: int, device: str) -> dict[str, Any]:
    images = np.random.default_rng(0).integers(0, 256, (batch, size, size, 3), dtype=np.uint8)
    asked = ["put the pot into the tray"] * batch
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats()
    reward.log_odds(images, asked)
    times: list[float] = []
    end = time.monotonic() + 20
    while len(times) < 3 or (len(times) < 50 and time.monotonic() < end):
        start = time.monotonic()
        reward.log_odds(images, asked)
        times.append(time.monotonic() - start)
    memory = torch.cuda.max_memory_allocated() if device.startswith("cuda") else (
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    )  # fmt: skip
    return {"median_seconds": round(float(np.median(times)), 5), "slowest_seconds": round(max(times), 5),
            "repeats": len(times), "peak_memory_mib": round(memory / 2**20)}  # fmt: skip


def _words(*special: str) -> Any:
    """A tokenizer in the size of these benchmarks' needs: the tiny model's, with the family's special tokens."""
    tokenizer = tiny_model.build_tokenizer(tiny_model.TinyModelConfig())
    tokenizer.add_special_tokens({"additional_special_tokens": list(special)})
    return tokenizer


def _smolvlm_256m() -> tuple[Any, Any]:
    """The shape of SmolVLM-256M: a SigLIP base tower at 512 pixels and a 30-layer text model of width 576."""
    from transformers import Idefics3Processor, LlamaConfig, SmolVLMConfig, SmolVLMForConditionalGeneration
    from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil

    words = _words("<fake_token_around_image>", "<end_of_utterance>", "<global-img>", "<|im_start|>")
    image_processor = SmolVLMImageProcessorPil(size={"longest_edge": 512}, max_image_size={"longest_edge": 512})
    text = LlamaConfig(
        vocab_size=49280, hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9,
        num_key_value_heads=3, max_position_embeddings=8192, tie_word_embeddings=True,
    )  # fmt: skip
    config = SmolVLMConfig(
        vision_config={
            "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12,
            "patch_size": 16, "image_size": 512,
        },
        text_config=text, scale_factor=4, image_token_id=words.convert_tokens_to_ids("<image>"),
        pad_token_id=words.pad_token_id, tie_word_embeddings=True,
    )  # fmt: skip
    return SmolVLMForConditionalGeneration(config), Idefics3Processor(image_processor, words, image_seq_len=64)


def _qwen_2b() -> tuple[Any, Any]:
    """Qwen2.5-VL's architecture at two thousand million parameters."""
    from robofume_reward.families import image_only_qwen
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    names = ("im_start", "im_end", "vision_start", "vision_end", "image_pad", "video_pad")
    words = _words(*(f"<|{name}|>" for name in names))
    tokens = {
        f"{key}_token_id": words.convert_tokens_to_ids(f"<|{name}|>")
        for key, name in (("image", "image_pad"), ("video", "video_pad"), ("vision_start", "vision_start"),
                          ("vision_end", "vision_end"))
    }  # fmt: skip
    config = Qwen2_5_VLConfig(
        vision_config={"depth": 24, "hidden_size": 1024, "intermediate_size": 2736, "num_heads": 16,
                       "out_hidden_size": 1536},
        text_config={
            "vocab_size": 151936, "hidden_size": 1536, "intermediate_size": 8960, "num_hidden_layers": 28,
            "num_attention_heads": 12, "num_key_value_heads": 2, "tie_word_embeddings": True,
            "rope_parameters": {"mrope_section": [16, 24, 24], "rope_type": "default", "rope_theta": 1000000.0},
        },
        tie_word_embeddings=True, **tokens,
    )  # fmt: skip
    return Qwen2_5_VLForConditionalGeneration(config), image_only_qwen(Qwen2VLImageProcessorPil(), words, None)


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
    elif options.part == "labels":
        labels(runs, options.labelled, options.chosen_by)
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
