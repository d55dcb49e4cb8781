r"""Offline-to-online learning beside d3rlpy's, on environments that are not ours.

    python benchmarks/peers.py [--worlds maze fetch] [--seeds 0 1 2] [--learners "ours cal_ql" ...] [--scale 1]

Every learner gets the same recorded data (`peer_worlds.py`), the same number of offline updates, then the same number
of steps with one update each, episodes entering when they have ended, and the same evaluations, from starts that
training never saw. What differs is in `peer_learners.py`. Each run is a process of its own, with one torch thread;
its result is written when it ends, and a run whose result is there is not made again, so the script can be stopped
and continued. `--scale 4` makes updates and steps four times as many.

Beside the suite it needs d3rlpy and gymnasium-robotics, whose pins are not the suite's:

    python -m pip install --no-deps --target peers d3rlpy==2.8.1 h5py gym gym-notices structlog colorama \
        dataclasses-json marshmallow typing-inspect mypy-extensions gymnasium-robotics==1.4.2 mujoco==3.3.2 pettingzoo \
        imageio jinja2 markupsafe
    PYTHONPATH=peers:$PYTHONPATH python benchmarks/peers.py
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

RESULTS = Path(__file__).parent / "results"
OFFLINE_UPDATES, ONLINE_STEPS, EVALUATIONS, TRIALS = 3000, 3000, 6, 20
RECORDINGS = {"maze": 100, "fetch": 200}
COLUMNS = ("world", "learner", "seed", "scale", "offline_updates", "online_steps", "data_success", "before", "after",
           "regret", "curve", "seconds", "processor_seconds")  # fmt: skip


def run(world_name: str, learner_name: str, seed: int, scale: float) -> dict[str, Any]:
    """One run: success before practice, at each evaluation while practising, and the mean regret of these."""
    import torch
    from peer_learners import LEARNERS
    from peer_worlds import WORLDS

    torch.set_num_threads(1)
    torch.manual_seed(seed)
    world = WORLDS[world_name]()
    data = world.record(RECORDINGS[world_name], seed)
    kind, algorithm = LEARNERS[learner_name]
    updates, steps = int(OFFLINE_UPDATES * scale), int(ONLINE_STEPS * scale)
    learner = kind(algorithm, world.observations, world.actions, seed, capacity=500_000)
    start, start_processor = time.perf_counter(), time.process_time()
    for recording in data:
        learner.add(recording, offline=True)
    for _ in range(updates):
        learner.update()

    def evaluate() -> float:
        return world.evaluate(lambda observation: learner.act(observation, explore=False), TRIALS, seed)

    curve = [evaluate()]
    learner.begin_online()
    done = episode = 0
    every = max(1, steps // EVALUATIONS)
    while done < steps:
        done += len(world.practise(episode, learner, seed).actions)
        episode += 1
        while len(curve) <= min(done, steps) // every and len(curve) <= EVALUATIONS:
            curve.append(evaluate())
    return {
        "world": world_name, "learner": learner_name, "seed": seed, "scale": scale, "offline_updates": updates,
        "online_steps": done, "data_success": float(np.mean([recording.success for recording in data])),
        "before": curve[0], "after": curve[-1], "regret": 1.0 - statistics.fmean(curve[1:]),
        "curve": " ".join(f"{value:.2f}" for value in curve), "seconds": round(time.perf_counter() - start, 1),
        "processor_seconds": round(time.process_time() - start_processor, 1),
    }  # fmt: skip


def main() -> None:
    """Make the runs that are missing, and write what there is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", nargs="+", default=["maze", "fetch"], choices=["maze", "fetch"])
    parser.add_argument("--learners", nargs="+", help="default: all")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--results", type=Path, default=RESULTS / "peers.csv")
    parser.add_argument("--one", nargs=3, metavar=("WORLD", "LEARNER", "SEED"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        world, learner, seed = options.one
        answers = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)  # what a library prints does not mix with the answer
        print(json.dumps(run(world, learner, int(seed), options.scale)), file=answers, flush=True)
        return

    from peer_learners import LEARNERS

    rows = read(options.results)
    for seed in options.seeds:
        for world in options.worlds:
            for learner in options.learners or LEARNERS:
                key = {"world": world, "learner": learner, "seed": str(seed), "scale": str(options.scale)}
                if any(key.items() <= row.items() for row in rows):
                    continue
                command = [sys.executable, __file__, "--scale", str(options.scale), "--one", world, learner, str(seed)]
                environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
                ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment, check=False)
                if ended.returncode:
                    sys.exit(f"{learner} on {world}, seed {seed}, ended with exit code {ended.returncode}: see above.")
                row = json.loads(ended.stdout)
                rows.append({name: str(row[name]) for name in COLUMNS})
                write(rows, options.results)
                print(*(f"{name}={row[name]}" for name in COLUMNS), flush=True)
    table(rows)


def read(path: Path) -> list[dict[str, str]]:
    """The finished runs."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def write(rows: list[dict[str, str]], path: Path) -> None:
    """All finished runs, at once in the place of what was there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    with part.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    part.replace(path)


def table(rows: list[dict[str, str]]) -> None:
    """Means over the seeds, as Markdown."""
    print("\n| world | learner | seeds | before | after | mean regret | processor s |\n|---|---|---|---|---|---|---|")
    for key in sorted({(row["world"], row["scale"], row["learner"]) for row in rows}):
        own = [row for row in rows if (row["world"], row["scale"], row["learner"]) == key]

        def mean(name: str, own: list[dict[str, str]] = own) -> float:
            return statistics.fmean(float(row[name]) for row in own)

        each = ", ".join(f"{float(row['after']):.0%}" for row in own)
        print(
            f"| {key[0]} x{float(key[1]):g} | {key[2]} | {len(own)} | {mean('before'):.0%} "
            f"| {mean('after'):.0%} ({each}) | {mean('regret'):.2f} | {mean('processor_seconds'):.0f} |"
        )


if __name__ == "__main__":
    main()
