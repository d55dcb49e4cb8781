"""Hostile input at every boundary, many times over; goes on where it was stopped.

    nice python benchmarks/fuzz.py --cases 100000 [--progress FILE] [--only checkpoint arm ...]

What is made, and what counts as a refusal: `src/robofume_bringup/test/fuzz_kit/`, of which the test suite runs a small
part. Bags and recordings have a benchmark of their own, hostile_import.py. Writes benchmarks/results/fuzz.md; ends with
exit code 1 where something else than one sentence came back.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("MUJOCO_GL", "egl")
os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.append(str(Path(__file__).resolve().parents[1] / "src" / "robofume_bringup" / "test"))

from fault_kit.rig import prepare
from fuzz_kit.boundaries import Boundaries
from fuzz_kit.nodes import NodeBoundary, node_descriptions, use_domain
from fuzz_kit.tally import make_case, table
from random_episodes import random_episode
from robofume_bringup.run_directory import RunDirectory
from robofume_common.domain import claim_domain
from robofume_common.files import write_atomically

RESULTS = Path(__file__).parent / "results"
SHARES = {"reward_model": 0.1, "checkpoint": 0.3, "weights": 0.5, "switcher": 0.5, "camera": 0.5, "sim": 0.5}
"""Of the cases that the others get: these cost more than ten milliseconds each."""
REMARK = (
    "A message counts as refused where it ends the node with a sentence; one that is ignored with a warning counts as "
    "taken."
)
COLUMNS = {"CPU seconds": "seconds"}
CHUNK = 500
"""Cases between two notes of the progress."""


def main() -> int:
    """Run the cases that are still to be made, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=100_000, help="of all boundaries together")
    parser.add_argument("--progress", type=Path, help="a file that keeps what was done, to go on with")
    parser.add_argument("--only", nargs="*", default=())
    parser.add_argument("--output", type=Path, default=RESULTS / "fuzz.md")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    domain, _lock = claim_domain("fuzz")
    use_domain(domain)
    progress: dict[str, Any] = {}
    if given.progress and given.progress.exists():
        progress = json.loads(given.progress.read_text())
    with tempfile.TemporaryDirectory() as folder:
        run = RunDirectory(Path(folder) / "run")
        prepare(run, [random_episode(number, "demo", 5) for number in range(3)])
        files = Boundaries(Path(folder) / "boundaries", run)
        nodes = {node.name: node for node in node_descriptions(run.path)}
        names = [name for name in (*files.cases, *nodes) if not given.only or name in given.only]
        whole = given.cases / sum(SHARES.get(name, 1.0) for name in names)
        for name in names:
            count = int(whole * SHARES.get(name, 1.0)) + 1
            state = progress.setdefault(name, {"cases": 0, "refused": 0, "seconds": 0.0, "broken": {}})
            if name in nodes:
                with NodeBoundary(nodes[name], Path(folder)) as node:
                    hammer(state, count, node.case, lambda: _save(given, progress))
            else:
                hammer(state, count, lambda dice, name=name: files.case(name, dice), lambda: _save(given, progress))
            print(name, state["cases"], "cases", len(state["broken"]), "broken", flush=True)
    text = table("Hostile input", f"python benchmarks/fuzz.py --cases {given.cases}", REMARK, progress, COLUMNS)
    given.output.write_text(text, encoding="utf-8")
    print(text)
    return 1 if any(state["broken"] for state in progress.values()) else 0


def hammer(
    state: dict[str, Any], count: int, case: Callable[[random.Random], bool], save: Callable[[], None]
) -> None:
    """The cases of one boundary from where it stands up to `count`; the seed of a case is its number."""
    begin = time.process_time()
    for seed in range(state["cases"], count):
        make_case(state, case, random.Random(seed), seed)
        if state["cases"] % CHUNK == 0:
            state["seconds"] += time.process_time() - begin
            begin = time.process_time()
            save()
    state["seconds"] += time.process_time() - begin
    save()


def _save(given: argparse.Namespace, progress: dict[str, Any]) -> None:
    if given.progress:
        write_atomically(given.progress, json.dumps(progress, indent=1).encode())


if __name__ == "__main__":
    raise SystemExit(main())
