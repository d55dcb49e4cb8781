"""Hostile input, guided by coverage: atheris (libFuzzer) chooses what is spoiled, and how, by the code that it reaches.

    pip install -r requirements/fuzz.txt       # wheels for Python 3.11 to 3.13
    nice python benchmarks/fuzz_guided.py --seconds 60 [--corpus DIR] [--only weights arm ...]

The boundaries and what counts as a refusal are those of fuzz.py; there a case follows from a seed, here every throw of
the dice is taken from the bytes that libFuzzer mutates. Each boundary has a process of its own; with `--corpus` the
inputs that reached something new are kept, and the next run goes on from them. Writes
benchmarks/results/fuzz_guided.md; ends with exit code 1 where something else than one sentence came back.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import re
import subprocess
import sys
import tempfile
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("MUJOCO_GL", "egl")
os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.append(str(Path(__file__).resolve().parents[1] / "src" / "robofume_bringup" / "test"))

from fuzz_kit.tally import make_case, table

RESULTS = Path(__file__).parent / "results"
REMARK = "Edges: branches of this suite's code that the first inputs reached, and all of them."
COLUMNS = {"edges, first": "first", "edges, in the end": "reached"}
OURS = tuple(f"robofume_{part}" for part in ("bringup", "common", "data", "policy", "reset", "reward", "robot", "sim"))
LONGEST = 2048
"""Bytes of one input: some five hundred throws; then a generator seeded with them goes on."""
NOTE_EVERY = 100
"""Cases between two notes of the progress."""


class ByteDice(random.Random):
    """Dice whose throws are read from `data`, so that a changed byte is a changed throw."""

    def __init__(self, data: bytes) -> None:
        super().__init__(zlib.crc32(data))
        self._data = data
        self._at = 0

    def getrandbits(self, k: int, /) -> int:
        """`k` bits of the data, and random ones behind its end."""
        size = (k + 7) // 8
        taken = self._data[self._at : self._at + size]
        self._at += size
        if len(taken) < size:
            return super().getrandbits(k)
        return int.from_bytes(taken, "little") >> (8 * size - k)

    def random(self) -> float:
        """A number in [0, 1) of four bytes."""
        return self.getrandbits(32) / 2.0**32


def main() -> int:
    """A process for each boundary, one after the other, and the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=60, help="for each boundary")
    parser.add_argument("--corpus", type=Path, help="a folder that keeps the inputs, to go on with")
    parser.add_argument("--only", nargs="*", default=())
    parser.add_argument("--output", type=Path, default=RESULTS / "fuzz_guided.md")
    parser.add_argument("--boundary", help=argparse.SUPPRESS)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        corpus = given.corpus or Path(scratch)
        if given.boundary:
            explore(given.boundary, corpus, given.seconds)
        names = [name for name in _listed() if not given.only or name in given.only]
        found = {}
        for name in names:
            found[name] = _explored(name, corpus, given.seconds)
            print(name, found[name]["cases"], "cases", len(found[name]["broken"]), "broken", flush=True)
    command = f"python benchmarks/fuzz_guided.py --seconds {given.seconds}"
    text = table("Hostile input, guided by coverage", command, REMARK, found, COLUMNS)
    given.output.write_text(text, encoding="utf-8")
    print(text)
    return 1 if any(state["broken"] for state in found.values()) else 0


def _listed() -> list[str]:
    """Names of all boundaries: files and words, then nodes."""
    from fuzz_kit.boundaries import Boundaries
    from fuzz_kit.nodes import node_descriptions

    files = [name.removeprefix("_on_") for name in dir(Boundaries) if name.startswith("_on_")]
    return [*files, *(node.name for node in node_descriptions(Path("run")))]


def _explored(name: str, corpus: Path, seconds: int) -> dict[str, Any]:
    """Run the process of one boundary; its cases, refusals, what broke, and how much code it reached."""
    folder = corpus / name
    folder.mkdir(parents=True, exist_ok=True)
    notes = folder / "notes.json"
    notes.unlink(missing_ok=True)
    command = [sys.executable, __file__, "--boundary", name, "--corpus", str(corpus), "--seconds", str(seconds)]
    with tempfile.TemporaryDirectory() as scratch:  # libFuzzer ends a process without cleaning up
        ended = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            env={**os.environ, "TMPDIR": scratch},
        )
    if not notes.exists():
        raise SystemExit(f"The process of {name} ended with {ended.returncode}: {ended.stderr[-2000:]}")
    state: dict[str, Any] = json.loads(notes.read_text())
    if ended.returncode:
        state["broken"][f"the process ended with {ended.returncode}: {ended.stderr[-300:]!r}"] = ""
    reached = re.findall(r"cov: (\d+)", ended.stderr)
    return {**state, "first": int(reached[0]) if reached else 0, "reached": int(reached[-1]) if reached else 0}


def explore(name: str, corpus: Path, seconds: int) -> None:
    """Mutate the inputs of one boundary for so long; ends the process."""
    import atheris

    with atheris.instrument_imports(include=list(OURS)):
        from fault_kit.rig import prepare
        from fuzz_kit.boundaries import Boundaries
        from fuzz_kit.nodes import NodeBoundary, node_descriptions, use_domain
        from random_episodes import random_episode
        from robofume_bringup.run_directory import RunDirectory
        from robofume_common.domain import claim_domain

    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    scratch = Path(tempfile.mkdtemp(prefix="fuzz_guided_"))
    run = RunDirectory(scratch / "run")
    prepare(run, [random_episode(number, "demo", 5) for number in range(3)])
    nodes = {node.name: node for node in node_descriptions(run.path)}
    case: Callable[[random.Random], bool]
    if name in nodes:
        domain, _lock = claim_domain("fuzz")
        use_domain(domain)
        case = NodeBoundary(nodes[name], scratch).__enter__().case
    else:
        files = Boundaries(scratch / "boundaries", run)

        def case(dice: random.Random) -> bool:
            return files.case(name, dice)

    state: dict[str, Any] = {"cases": 0, "refused": 0, "broken": {}}
    notes = corpus / name / "notes.json"

    def once(data: bytes) -> None:
        make_case(state, case, ByteDice(data), data.hex()[:200])
        if state["cases"] % NOTE_EVERY == 0 or state["cases"] == 1:
            notes.write_text(json.dumps(state))

    inputs = corpus / name / "inputs"
    inputs.mkdir(exist_ok=True)
    options = [
        f"-max_total_time={seconds}",
        f"-max_len={LONGEST}",
        "-timeout=60",
        "-rss_limit_mb=6000",
        "-detect_leaks=0",
    ]
    atheris.Setup([sys.argv[0], *options, f"-artifact_prefix={corpus / name}/", str(inputs)], once)
    atheris.Fuzz()


if __name__ == "__main__":
    raise SystemExit(main())
