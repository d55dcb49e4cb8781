"""The main job, several seeds: does practice through the running graph beat more offline training?

For each seed, with the commands that a user has:

- `practice`: `robofume demo` (demonstrations, reward model, pre-training, evaluation, practice judged by the
  vision-language model, evaluation);
- `offline`: the same pre-trained policy, trained offline for as many more updates as practice made;
- `bc`: filtered behaviour cloning on the same demonstrations, for as many updates in all.

Each finished part is kept, so that a stopped benchmark continues with the same command:

    python benchmarks/main_job.py --task pot_pick_and_place --seeds 0 1 2

Writes benchmarks/results/main_job_<task>.csv, a row per seed and arm, and leaves the runs in runs/main_job/.
"""

import argparse
import csv
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import yaml
from robofume_bringup.run_directory import RunDirectory

from robofume_bringup import report

RESULTS = Path(__file__).parent / "results"
COLUMNS = (
    "task", "seed", "arm", "updates", "control_steps", "forward_before", "backward_before", "mean_before",
    "forward", "backward", "mean", "trials_per_direction", "episodes", "assisted_resets",
    "practice_success_last_50", "judge_precision_forward", "judge_recall_forward", "judge_precision_backward",
    "judge_recall_backward", "minutes",
)  # fmt: skip


def robofume(*words: object) -> None:
    """Run one command; the benchmark ends where it fails."""
    subprocess.run(["robofume", *map(str, words)], check=True)


def share(values: list[bool]) -> float:
    """Share of successes."""
    return sum(values) / max(1, len(values))


def evaluation(run: Path, name: str) -> dict[str, float]:
    """Success by ground truth, as `robofume evaluate` wrote it. A command that was interrupted ends calmly, without."""
    if not (run / "evaluations" / f"{name}.json").exists():
        sys.exit(f"The run {run.name} was stopped; the same command goes on with it.")
    record = json.loads((run / "evaluations" / f"{name}.json").read_text())
    forward, backward = share(record["forward_success"]), share(record["backward_success"])
    return {"forward": forward, "backward": backward, "mean": round((forward + backward) / 2, 3),
            "trials_per_direction": record["trials_per_direction"]}  # fmt: skip


def practice_figures(run: Path) -> dict[str, float]:
    """What the report knows about the practice of a run; the judge's precision and recall are per episode."""
    results = report.collect_results(RunDirectory(run))
    facts = report.practice_facts(results)
    figures = {
        "updates": facts["updates"], "control_steps": facts["steps"], "episodes": facts["episodes"],
        "assisted_resets": facts["assisted_resets"], "practice_success_last_50": facts["recent_true"],
    }  # fmt: skip
    for row in report.reward_in_use(results):
        if row["unit"] == "episode":
            for name in ("precision", "recall"):
                figures[f"judge_{name}_{row['direction']}"] = row[name]
    return {name: round(value, 3) if isinstance(value, float) else value for name, value in figures.items()}


def stage(run: Path, name: str) -> dict:
    """A stage's record."""
    return json.loads((run / "stages" / f"{name}.json").read_text())


def run_seed(arguments: argparse.Namespace, seed: int) -> list[dict]:
    """All arms of one seed."""
    task, runs = arguments.task, arguments.runs
    name = f"{task}_{seed}"
    common = ["--runs", runs, "--task", task, "--seed", seed]
    settings = [word for item in arguments.set for word in ("--set", item)]
    settings += ["--in-process"] if arguments.in_process else []
    for amount in ("failures", "demonstrations"):
        if getattr(arguments, amount) is not None:
            settings += [f"--{amount}", getattr(arguments, amount)]
    main = runs / name
    started = time.monotonic()
    if not (main / "report.html").is_file():
        robofume("demo", "--run", name, *common, *settings)
    minutes = sum(stage(main, path.stem).get("seconds", 0.0) for path in (main / "stages").glob("*.json")) / 60
    figures = practice_figures(main)
    before, after = evaluation(main, "before"), evaluation(main, "after")
    pretraining = stage(main, "pretrain")["updates"]
    extra = int(figures.pop("updates"))
    rows = [{
        "task": task, "seed": seed, "arm": "practice", "updates": pretraining + extra, "minutes": round(minutes, 1),
        **{f"{key}_before": before[key] for key in ("forward", "backward", "mean")}, **after, **figures,
    }]  # fmt: skip
    print(f"seed {seed}: before {before['mean']:.2f}, after {after['mean']:.2f}, "
          f"{(time.monotonic() - started) / 60:.1f} minutes", flush=True)  # fmt: skip
    for arm in arguments.baselines:
        run = runs / f"{name}_{arm}"
        if not (run / "evaluations" / "before.json").is_file():
            (run / "bags").mkdir(parents=True, exist_ok=True)
            shutil.copytree(main / "bags" / "demos", run / "bags" / "demos", dirs_exist_ok=True)
            if arm == "offline" and not (run / "pretrained").exists():
                shutil.copytree(main / "pretrained", run / "pretrained")
            config = yaml.safe_load((main / "config.yaml").read_text())
            if arm == "bc":
                config["settings"]["agent"] = {**config["settings"].get("agent", {}), "algorithm": "bc"}
            (run / "config.yaml").write_text(yaml.safe_dump(config))
            robofume("pretrain", "--run", run.name, "--runs", runs, "--pretraining-updates", pretraining + extra)
            robofume("evaluate", "--run", run.name, "--runs", runs, "--weights", "pretrained")
        result = evaluation(run, "before")
        rows.append({"task": task, "seed": seed, "arm": arm, "updates": stage(run, "pretrain")["updates"], **result})
        print(f"seed {seed}: {arm} {rows[-1]['mean']:.2f}", flush=True)
    return rows


def main() -> None:
    """Run all seeds and write the table after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="pot_pick_and_place")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--baselines", nargs="*", default=["offline", "bc"], choices=["offline", "bc"])
    parser.add_argument("--runs", type=Path, default=Path("runs/main_job"))
    parser.add_argument("--set", action="append", default=[], metavar="COMPONENT.SETTING=VALUE")
    parser.add_argument("--in-process", action="store_true", help="each run in one process, on one processor")
    parser.add_argument("--failures", type=int, help="deliberately bad attempts (default: the command's)")
    parser.add_argument("--demonstrations", type=int, help="successful ones per direction (default: the command's)")
    arguments = parser.parse_args()
    if shutil.which("robofume") is None:
        sys.exit("The command robofume is not on the PATH: activate the environment first (. .venv/bin/activate).")
    rows: list[dict] = []
    for seed in arguments.seeds:
        rows += run_seed(arguments, seed)
        RESULTS.mkdir(exist_ok=True)
        with open(RESULTS / f"main_job_{arguments.task}.csv", "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS, restval="", extrasaction="raise")
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
