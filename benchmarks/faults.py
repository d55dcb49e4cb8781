"""Practice under fire: hundreds of faults strike the real graph, and every promise is checked.

    nice python benchmarks/faults.py --faults 220 --seed 0 [--folder DIR]

Kills, restarts, stopped processes; lost, doubled, late and overtaken messages; wrong clocks; failing and short
writes; a black or frozen camera; a slow judge. How they are made is in `src/robofume_bringup/test/fault_kit/`, of
which the test suite runs a small deck. Writes benchmarks/results/faults.md; ends with exit code 1 where a promise was
broken.
"""

from __future__ import annotations

import argparse
import collections
import os
import platform
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("MUJOCO_GL", "egl")
os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.append(str(Path(__file__).resolve().parents[1] / "src" / "robofume_bringup" / "test"))

from demonstrations import demonstrations
from fault_kit.deck import deck
from fault_kit.rig import Log, Rig, prepare
from fault_kit.verdict import Kept, compare
from fault_kit.witness import Witness
from robofume_bringup.run_directory import RunDirectory

RESULTS = Path(__file__).parent / "results"


def main() -> int:
    """Strike, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--faults", type=int, default=220)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--hours", type=float, default=3.0, help="at most")
    parser.add_argument("--kinds", nargs="*", default=(), help="only these kinds of faults")
    parser.add_argument("--folder", type=Path, help="where the run is made (default: a temporary folder)")
    parser.add_argument("--output", type=Path, default=RESULTS / "faults.md")
    given = parser.parse_args()
    folder = given.folder or Path(tempfile.mkdtemp(prefix="faults_"))
    directory = RunDirectory(folder)
    if not directory.pretrained.exists():
        prepare(directory, demonstrations("pot_pick_and_place", seed=given.seed), updates=400)
    faults = deck(given.seed, tuple(given.kinds))
    pauses = random.Random(given.seed + 1)
    begin = time.monotonic()
    rig = Rig(directory, (next(faults) for _ in range(given.faults)), lambda: pauses.uniform(0.1, 1.5), _say)
    witness = rig.run(3600 * given.hours)
    kept = compare(directory, witness, rig.log)
    wrong = [*rig.log.violations, *kept.violations]
    text = report(given, rig.log, witness, kept, wrong, time.monotonic() - begin).replace(str(folder), "RUN")
    given.output.write_text(text, encoding="utf-8")
    print(text)
    print(f"The run is in {folder}.")
    return 1 if wrong else 0


def _say(text: str) -> None:
    print(text, flush=True)


def report(given: argparse.Namespace, log: Log, witness: Witness, kept: Kept, wrong: list[str], seconds: float) -> str:
    """The results as Markdown."""
    strikes = [strike for strike in log.strikes if strike.struck]
    recovered = [strike for strike in strikes if strike.recovered >= 0]
    ended = collections.Counter(strike.ended.splitlines()[0] for strike in strikes if strike.ended)
    lines = [
        "# Faults",
        "",
        f"`python benchmarks/faults.py --faults {given.faults} --seed {given.seed}"
        + (f" --kinds {' '.join(given.kinds)}" if given.kinds else "")
        + f"`: {len(strikes)} faults in {seconds / 60:.0f} min, {log.sessions} sessions, {witness.steps} control "
        f"steps, {os.cpu_count()} cores, Python {platform.python_version()}, {time.strftime('%Y-%m-%d')}.",
        "",
        "| promise | measured |",
        "|---|---|",
        f"| no joint target outside the envelope | {witness.targets} targets, "
        f"{sum('joint target' in text for text in wrong)} outside |",
        f"| the arm holds after its command source is gone | {_holds(log)} |",
        f"| what was announced is in a readable bag | {kept.announced} whole episodes announced, {kept.in_bags} in "
        f"bags ({kept.steps} steps); {kept.excused} lost while the recorder itself was struck |",
        f"| nothing enters the memory twice or with a wrong reward | {kept.learnt} episodes learnt from |",
        f"| counts go on | {kept.updates} updates in the newest checkpoint, learner's count of steps "
        f"{witness.learner.steps if witness.learner else 0} |",
        f"| it goes on, or ends with a sentence | {len(recovered)} went on alone (median "
        f"{statistics.median([s.recovered for s in recovered] or [0]):.1f} s, worst "
        f"{max([s.recovered for s in recovered] or [0]):.1f} s), {len(strikes) - len(recovered)} ended the session, "
        "which the next one continued |",
        f"| no process, shared memory or zombie left, no growing memory | {_growth(log)} |",
        "",
        f"Broken promises: {len(wrong)}.",
        "",
        *(f"- {text}" for text in wrong),
        "",
        "| fault | times | went on | ended |",
        "|---|---|---|---|",
        *_table(log),
        "",
        "| how sessions ended | times |",
        "|---|---|",
        *(f"| {text.replace('|', '/')} | {count} |" for text, count in ended.most_common()),
        "",
    ]
    return "\n".join(lines)


def _holds(log: Log) -> str:
    if not log.hold_delays:
        return "not struck while moving"
    return f"{len(log.hold_delays)} times, {max(log.hold_delays):.2f} s at most (watchdog 0.5 s)"


def _growth(log: Log) -> str:
    """The largest growth of a process that lived for two minutes, over the second half of its life: on a busy machine
    imports alone take half a minute."""
    grown = {
        name: max([sizes[-1] - sizes[len(sizes) // 2] for sizes in processes.values() if len(sizes) > 60] or [0.0])
        for name, processes in log.memory.items()
    }
    return "most growth of a process, MiB: " + ", ".join(f"{name} {size:.0f}" for name, size in sorted(grown.items()))


def _table(log: Log) -> list[str]:
    rows: dict[tuple[str, str], list[int]] = {}
    for strike in filter(lambda strike: strike.struck, log.strikes):
        row = rows.setdefault((strike.fault.kind, strike.fault.node), [0, 0, 0])
        row[0] += 1
        row[1 if strike.recovered >= 0 else 2] += 1
    return [f"| {kind} {node} | {a} | {b} | {c} |" for (kind, node), (a, b, c) in sorted(rows.items())]


if __name__ == "__main__":
    raise SystemExit(main())
