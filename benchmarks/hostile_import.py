"""Imports thousands of damaged and absurd recordings and checks that nothing is lost without a word.

    nice python benchmarks/hostile_import.py --mutants 10000 [--first 0] [--output FILE]

What is made and what is checked: `src/robofume_data/test/hostile_recordings.py`, of which the test suite runs the
first few hundred seeds. Ends with exit code 1 where a promise was broken, naming the seeds.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "src" / "robofume_data" / "test"))

from hostile_recordings import Hostile


def main() -> int:
    """Run and print what became of the mutants of each kind."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mutants", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0, help="the first seed (default: 0)")
    parser.add_argument("--output", type=Path, help="write the table to this file too")
    given = parser.parse_args()
    broken = []
    with tempfile.TemporaryDirectory() as folder:
        hostile = Hostile(Path(folder) / "hostile")
        begin = time.process_time()
        for seed in range(given.first, given.first + given.mutants):
            try:
                hostile.check(seed)
            except AssertionError as error:
                broken.append(str(error))
                print(error, flush=True)
    spent = time.process_time() - begin
    lines = [
        f"`python benchmarks/hostile_import.py --mutants {given.mutants} --first {given.first}`: {given.mutants} "
        f"files, {len(broken)} broken promises, {spent:.0f} CPU seconds.",
        "",
        "| what went in, and what came out | files |",
        "|---|---|",
        *(f"| {what} | {count} |" for what, count in sorted(hostile.seen.items())),
    ]
    print("\n".join(lines))
    if given.output:
        given.output.write_text("# Hostile recordings\n\n" + "\n".join(lines) + "\n", encoding="utf-8")
    return 1 if broken else 0


if __name__ == "__main__":
    raise SystemExit(main())
