r"""What each part earns: the same demonstrations, judge and pre-trained policy, practised in several ways.

Each seed has one run that is prepared once (demonstrations, reward model, pre-training) and one copy of it for each
arm, which is practised in one process and evaluated. What an arm changes in pre-training is pre-trained anew.

- `practice`: as `robofume demo` does it, judged by the vision-language model alone, unless `--set` says otherwise;
- `ground_truth`: judged by the simulation's truth, the upper reference for the judge; `vlm`: by the model, whatever
  `--set` gives to the others;
- `dense`: with progress as a potential (docs/architecture.md);
- `cql`, `iql`: another offline and online learner in Cal-QL's place;
- `film_cnn`: judged by a small convolutional classifier that learnt from the same demonstrations;
- `forward_only`: forward alone, from a scene that is reset before each episode, which practice is to do without;
- `no_imitation`, `no_filter`, `no_shift`, `half_updates`: without the behaviour-cloning term, without its filter by the
  critics, without the random shift of the pictures, with half as many updates per step;
- `prior`: with prior data beside the demonstrations, in pre-training and practice (`robofume prior` makes the bags
  that `--prior` names);
- `codes`: instructions as codes without meaning (as one-hot ones) in the place of sentence embeddings;
- `ensemble`: five critics, of which two drawn at random are the target (REDQ), in the place of two;
- `free`: practised without the CQL term and without imitation, which hold a policy near what was recorded;
- `soft`: with a policy whose deviation is learnt by its entropy (soft actor-critic), and which explores with it;
- `stay`: what was put down stays where it is: no success is followed by a relocation;
- `little_noise`: with a third of the noise in practice;
- `offline`: no practice, as many more offline updates;
- `bc`: behaviour cloning alone, on the same demonstrations, without practice.

A stopped benchmark continues with the same command, and an arm goes on from where it was with more `--steps`; every
finished one is a row of the CSV at once:

    python benchmarks/practice_arms.py --runs RUNS --seeds 0 1 2 --arms practice ground_truth

Writes benchmarks/results/practice_arms_<task>.csv, or the table that `--table` names: a setting that `--set` gives to
every arm is in no column. `score` is the mean share of the goal that the trials reached, `minutes` those of all stages
from the demonstrations to the last evaluation. `--scale 4` makes updates and steps four times as many. What each part
of learning earns, apart from the judge, for less time:

    python benchmarks/practice_arms.py --table ablations --set reward.judge=ground_truth --steps 4000 \
        --arms practice vlm dense free soft cql iql bc no_imitation no_shift half_updates codes ensemble film_cnn \
        forward_only
"""

import argparse
import json
import shutil
import sys
from pathlib import Path

import numpy as np
from judge_tables import Table, scaled
from main_job import evaluation, practice_figures, robofume
from robofume_bringup.run_config import merged, parse_settings
from robofume_bringup.run_directory import RunDirectory
from robofume_policy.config import OnlineConfig

PREPARED = ("bags/demos", "bags/scenes", "reward")
ARMS: dict[str, tuple[str, ...]] = {
    "practice": (),
    "ground_truth": ("reward.judge=ground_truth",),
    "vlm": ("reward.judge=vlm",),
    "dense": ("learner.progress_weight=10",),
    "cql": ("agent.algorithm=cql",),
    "iql": ("agent.algorithm=iql",),
    "film_cnn": ("reward_training.method=film_cnn", "reward.judge=vlm"),
    "forward_only": ("switcher.forward_only=true",),
    "no_imitation": ("agent.imitation_weight=0.0",),
    "no_filter": ("agent.imitation_filter=false",),
    "no_shift": ("agent.random_shift=0",),
    "half_updates": ("learner.updates_per_step=0.5",),
    "prior": (),
    "codes": ("language.model=codes",),
    "ensemble": ("network.critics=5", "agent.critic_subset=2"),
    "free": ("agent.conservative_weight_online=0.0", "agent.imitation_weight_online=0.0"),
    "soft": ("network.learnt_deviation=true",),
    "stay": ("switcher.relocate_share=0.0",),
    "little_noise": ("policy.exploration_std=0.02",),
    "offline": (),
    "bc": ("agent.algorithm=bc",),
}
WITHOUT_PRACTICE = ("offline", "bc")


def steps_of(arm: str, given: argparse.Namespace) -> int:
    """What a row of the arm is known by: `offline` has as many updates more, `bc` nothing that depends on them."""
    return 0 if arm == "bc" else int(given.steps)


def prepare(given: argparse.Namespace, seed: int) -> RunDirectory:
    """The run that the arms of a seed begin from."""
    directory = RunDirectory(given.runs / f"{given.task}_{seed}")
    common = ("--runs", given.runs, "--run", directory.name)
    amounts = ("--demonstrations", given.demonstrations, "--failures", given.failures)
    settings = [argument for name in given.settings for argument in ("--set", name)]
    robofume("demos", *common, "--task", given.task, "--seed", seed, "--in-process", *amounts, *settings)
    robofume("reward", "train", *common)
    pretrain(directory, given, given.pretraining_updates)
    return directory


def pretrain(directory: RunDirectory, given: argparse.Namespace, updates: int) -> None:
    """Train offline and evaluate; nothing where that is finished."""
    if not (directory.evaluations / "before.json").is_file():
        common = ("--runs", given.runs, "--run", directory.name)
        robofume("pretrain", *common, "--pretraining-updates", updates)
        robofume("evaluate", *common, "--weights", "pretrained", "--trials", given.trials)


def begin(directory: RunDirectory, base: RunDirectory, given: argparse.Namespace, arm: str) -> None:
    """A copy of the prepared run with the arm's settings; whole or not there."""
    if directory.config_file.exists():
        return
    changed, config = parse_settings(ARMS[arm]), base.read_config()
    config |= {"settings": merged(config["settings"], changed), "practice_steps": given.steps}
    if arm == "prior":
        config["prior"] = [str(given.prior.resolve())]
    shutil.rmtree(directory.path, ignore_errors=True)
    directory.prepare()
    anew = arm in ("offline", "prior") or not {"agent", "language", "network"}.isdisjoint(changed)
    kept = PREPARED if anew else (*PREPARED, "pretrained", "evaluations")
    if arm == "offline":
        kept = (*kept, "pretrained")
    for part in kept:
        if (base.path / part).is_dir() and (part != "reward" or "reward_training" not in changed):
            shutil.copytree(base.path / part, directory.path / part, dirs_exist_ok=True)
            if part in ("bags/demos", "reward"):
                stage = part.removeprefix("bags/")
                directory.note(stage, **base.stage_record(stage))
    directory.write_config(config)


def minutes(*runs: RunDirectory) -> float:
    """Wall time of all stages; one that several runs have counts as the last one's."""
    seconds: dict[str, float] = {}
    for directory in runs:
        stages = sorted(path.stem for path in (directory.path / "stages").glob("*.json"))
        seconds |= {name: directory.stage_record(name).get("seconds", 0.0) for name in stages}
    return round(sum(seconds.values()) / 60.0, 1)


def score(directory: RunDirectory, name: str) -> float:
    """Mean share of the goal that the trials of an evaluation reached (of sweets, where these are swept)."""
    record = json.loads((directory.evaluations / f"{name}.json").read_text())
    return round(float(np.mean([record["forward_score"], record["backward_score"]])), 3)


def run(given: argparse.Namespace, base: RunDirectory, seed: int, arm: str, table: Table) -> None:
    """One arm of one seed."""
    directory = RunDirectory(given.runs / f"{given.task}_{seed}_{arm}")
    begin(directory, base, given, arm)
    figures: dict = {}
    if arm in WITHOUT_PRACTICE:
        more = given.steps - OnlineConfig().warm_up_steps if arm == "offline" else 0
        pretrain(directory, given, given.pretraining_updates + more)
        before, after = evaluation(base.path, "before"), evaluation(directory.path, "before")
    else:
        pretrain(directory, given, given.pretraining_updates)
        common = ("--runs", given.runs, "--run", directory.name)
        robofume("reward", "train", *common)  # nothing where the base's is taken
        robofume("practice", *common, "--practice-steps", given.steps)
        robofume("evaluate", *common, "--trials", given.trials)
        before, after = evaluation(directory.path, "before"), evaluation(directory.path, "after")
        figures = practice_figures(directory.path)
    practised = arm not in WITHOUT_PRACTICE
    figures |= {
        "score_before": score(directory if practised else base, "before"),
        "score": score(directory, "after" if practised else "before"),
        "minutes": minutes(base, directory),
    }
    started = {f"{name}_before": before[name] for name in ("forward", "backward", "mean")}
    named = {"task": given.task, "seed": seed, "arm": arm, "practice_steps": steps_of(arm, given)}
    table.add({**named, **started, **after, **figures})


def main() -> None:
    """Every arm of every seed that is not in the table yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="pot_pick_and_place")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--arms", nargs="+", default=["practice", "ground_truth"], choices=ARMS)
    parser.add_argument("--runs", type=Path, default=Path("runs/practice_arms"))
    parser.add_argument("--demonstrations", type=int, default=50)
    parser.add_argument("--failures", type=int, default=60)
    parser.add_argument("--pretraining-updates", type=int, default=6000)
    parser.add_argument("--prior", type=Path, help="bags of prior data, for the arm of that name")
    parser.add_argument("--steps", type=int, default=14_000, help="control steps of practice")
    parser.add_argument("--scale", type=float, default=1.0, help="of updates and steps; the table's name tells it")
    parser.add_argument("--trials", type=int, default=50, help="each way, before and after")
    parser.add_argument(
        "--set", dest="settings", action="append", default=[], metavar="NAME=VALUE", help="a setting of every arm"
    )
    parser.add_argument("--table", default="practice_arms", help="the results are <table>_<task>.csv")
    given = parser.parse_args()
    if shutil.which("robofume") is None:
        sys.exit("The command robofume is not on the PATH: activate the environment first (. .venv/bin/activate).")
    if "prior" in given.arms and not (given.prior and given.prior.exists()):
        parser.error("the arm prior needs --prior with the bags that `robofume prior --output` made")
    given.steps, given.pretraining_updates = (round(n * given.scale) for n in (given.steps, given.pretraining_updates))
    table = Table(scaled(f"{given.table}_{given.task}", given.scale), ("seed", "arm", "practice_steps"))
    for seed in given.seeds:
        missing = [arm for arm in given.arms if not table.has(seed=seed, arm=arm, practice_steps=steps_of(arm, given))]
        base = prepare(given, seed) if missing else None
        for arm in missing:
            assert base is not None
            run(given, base, seed, arm, table)


if __name__ == "__main__":
    main()
