"""What policies keep of their success under variations of the simulation, one at a time (`robofume evaluate`).

The runs have practised; each is evaluated before and after that, and beside it behaviour cloning on the same
demonstrations where `practice_arms.py` made it (the run of that name that ends with `bc`):

    python benchmarks/robustness.py --runs RUNS --names pot_lid_0_practice pot_lid_0_bc --trials 10

Every evaluation that is finished stays with its run, so a stopped benchmark continues with the same command. `kept` is
the share of the plain success, 0 for a policy that had none; `score` the mean share of the goal that was reached and
`score_kept` what of it is kept, empty where the task tells none. Writes benchmarks/results/robustness.csv.
"""

import argparse
import json
import shutil
import sys
from pathlib import Path

from judge_tables import Table
from main_job import robofume
from robofume_bringup.robustness import ALL, PLAIN, robustness
from robofume_bringup.run_directory import RunDirectory
from robofume_bringup.statistics import mean_told

NAMES = {"pretrained": "before", "practised": "after"}
"""Of the evaluations of each weights."""


def evaluated(run: RunDirectory, weights: str, trials: int) -> list[dict]:
    """The rows of one policy under all variations, after what is missing of them is run."""
    robofume("evaluate", "--runs", run.path.parent, "--run", run.name, "--weights", weights, "--variation", ALL,
             "--trials", trials)  # fmt: skip
    records = {path.stem: json.loads(path.read_text()) for path in run.evaluations.glob(f"{NAMES[weights]}*.json")}
    record = records[NAMES[weights]]
    plain = [*record["forward_success"], *record["backward_success"]]
    score = mean_told([*record["forward_score"], *record["backward_score"]])
    first = {"variation": PLAIN, "successes": sum(plain), "trials": len(plain), "share": sum(plain) / len(plain),
             "score": score, "score_kept": None if score is None else 1.0}  # fmt: skip
    return [first, *robustness(records)]


def main() -> None:
    """Every policy that is not in the table yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=Path("runs/practice_arms"))
    parser.add_argument("--names", nargs="+", required=True, help="of runs; of one that ends with bc the pretrained")
    parser.add_argument("--trials", type=int, default=10, help="each way and variation")
    given = parser.parse_args()
    if shutil.which("robofume") is None:
        sys.exit("The command robofume is not on the PATH: activate the environment first (. .venv/bin/activate).")
    table = Table("robustness", ("run", "weights", "variation"))
    for name in given.names:
        run = RunDirectory(given.runs / name)
        for weights in ("pretrained",) if name.endswith("_bc") else NAMES:
            if table.has(run=name, weights=weights, variation="base_offset"):
                continue
            for row in evaluated(run, weights, given.trials):
                kept = 1.0 if row["variation"] == PLAIN else row.get("kept") or 0.0
                figures = {"share": round(row["share"], 3), "kept": round(kept, 3)}
                figures |= {n: "" if row[n] is None else round(row[n], 3) for n in ("score", "score_kept")}
                shown = {key: row[key] for key in ("variation", "successes", "trials")}
                table.add({"run": name, "weights": weights, **shown, **figures})


if __name__ == "__main__":
    main()
