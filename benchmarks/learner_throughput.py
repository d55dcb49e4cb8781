r"""Gradient updates per second of our agents beside d3rlpy's, and their memory.

    python benchmarks/learner_throughput.py [--observations state image] [--threads 1] [--rounds 3] [--csv FILE]

Every learner is a process of its own, with the same made-up data (30 numbers of state, or a 64x64 picture; actions of 4
numbers), the same networks (two hidden layers of 256, two critics), batch size, number of sampled actions and torch
threads; an update includes drawing its batch. They take turns, a few updates each, so that what else the machine does
meets all of them; the ratio is the median over the turns of ours to theirs. Rates are per second of wall time and of
processor time: with one thread on a machine that is busy with other work the second is the one to look at. Memory is
what a process holds at its largest above what it held after its imports. `--utd 4` says how many updates, each with a
batch of its own as in practice, an environment step is given: the rates of steps are those of updates over it, by
processor time on a CPU and by wall time on a GPU. The share of the peak is what our update does of floating-point
operations (counted by torch, matrix products and convolutions) per second, over what a product of two large matrices
does in the same process and precision. `--profile FILE` writes which operators our agents' updates spend their time in.

d3rlpy is needed for this script alone; without it our agents are measured alone. Its pin of gymnasium is not the
suite's, so it is put beside the suite without its dependencies' versions:

    python -m pip install --no-deps --target d3 d3rlpy==2.8.1 h5py gym gym-notices structlog colorama dataclasses-json \
        marshmallow typing-inspect mypy-extensions
    PYTHONPATH=d3:$PYTHONPATH python benchmarks/learner_throughput.py
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

STATE, ACTION, EPISODES, LENGTH, IMAGE = 30, 4, 40, 100, 64
HIDDEN, DISCOUNT = 256, 0.99
PAIRS = {"cal_ql": "CalQL", "cql": "CQL", "iql": "IQL", "bc": "BC"}
"""Ours, and theirs of the same rule."""
FLOPS = "flops"
"""Asks a process for the operations of an update and the peak, in the place of updates."""
PEAK_SIZE = {"cpu": 2048, "cuda": 8192}
"""Of the matrices whose product is taken for the peak."""
LEARNERS = ("ours cal_ql", "ours iql", "d3rlpy CalQL", "d3rlpy IQL", "d3rlpy SAC")


def made_up_data(image: bool) -> list[dict[str, Any]]:
    """Episodes of random observations, actions and rewards of -1, the last transition terminal."""
    import numpy as np

    random = np.random.default_rng(0)
    shape, kind = ((IMAGE, IMAGE, 3), np.uint8) if image else ((STATE,), np.float32)
    episodes = []
    for _ in range(EPISODES):
        seen = random.integers(0, 256, (LENGTH + 1, *shape)) if image else random.normal(size=(LENGTH + 1, *shape))
        actions = random.uniform(-1, 1, (LENGTH, ACTION)).astype(np.float32)
        episodes.append({"observations": seen.astype(kind), "actions": actions})
    return episodes


def our_update(algorithm: str, image: bool, options: argparse.Namespace) -> Callable[[], object]:
    """One update of one of our agents, batch included."""
    import numpy as np
    from robofume_policy.agents import create_agent
    from robofume_policy.config import AgentConfig, NetworkConfig
    from robofume_policy.dataset import monte_carlo_returns, n_step_targets
    from robofume_policy.replay import EpisodeTransitions, ReplayMemory

    network = NetworkConfig(
        image_size=IMAGE, encoder="convolution" if image else "none", action_dimension=ACTION,
        proprioception_dimension=1 if image else STATE, instruction_dimension=1, instruction_features=1,
        hidden_size=HIDDEN,
    )  # fmt: skip
    config = AgentConfig(
        algorithm=algorithm, discount=DISCOUNT, n_step=1, batch_size=options.batch_size,
        sampled_actions=options.sampled_actions, mixed_precision=not options.full_precision,
        compile=options.compile,
    )  # fmt: skip
    memory = ReplayMemory(EPISODES * (LENGTH + 1))
    targets = (
        *n_step_targets(LENGTH, True, np.ones(LENGTH, bool), DISCOUNT, 1),
        monte_carlo_returns(LENGTH, True, DISCOUNT),
    )
    rewards, discounts, offset, returns = (np.append(values, values[:1] * 0) for values in targets)
    for number, episode in enumerate(made_up_data(image)):
        seen = episode["observations"]
        memory.add(
            EpisodeTransitions(
                episode_id=str(number), instruction_embedding=np.ones(1, np.float32),
                images=seen if image else np.zeros((LENGTH + 1, 0, 0, 3), np.uint8),
                proprioception=np.zeros((LENGTH + 1, 1), np.float32) if image else seen,
                actions=np.concatenate([episode["actions"], episode["actions"][:1] * 0]), rewards=rewards,
                discounts=discounts, returns=returns, next_offset=offset, imitation=np.ones(LENGTH + 1, np.float32),
            )
        )  # fmt: skip
    agent = create_agent(network, config, seed=0, device=options.device)
    agent.fit_inputs(*memory.statistics())
    return lambda: agent.update(memory.sample(config.batch_size, agent.random))


def their_update(algorithm: str, image: bool, options: argparse.Namespace) -> Callable[[], object]:
    """One update of one of d3rlpy's, batch included; its own defaults for all that is not named above."""
    import d3rlpy
    import numpy as np

    episodes = made_up_data(image)
    observations = np.concatenate([episode["observations"][:-1] for episode in episodes])
    if image:
        observations = np.ascontiguousarray(observations.transpose(0, 3, 1, 2))
    rewards, terminals = -np.ones(len(observations), np.float32), np.zeros(len(observations), np.float32)
    rewards[LENGTH - 1 :: LENGTH], terminals[LENGTH - 1 :: LENGTH] = 0.0, 1.0
    dataset = d3rlpy.dataset.MDPDataset(
        observations, np.concatenate([episode["actions"] for episode in episodes]), rewards, terminals
    )
    if image:  # three convolutions as our first three, then one layer of 256: it has no second one
        encoder = d3rlpy.models.PixelEncoderFactory(filters=[[32, 8, 4], [64, 4, 2], [64, 3, 1]], feature_size=HIDDEN)
    else:
        encoder = d3rlpy.models.VectorEncoderFactory([HIDDEN, HIDDEN])
    settings: dict[str, Any] = {"batch_size": options.batch_size, "gamma": DISCOUNT, "actor_encoder_factory": encoder}
    settings["critic_encoder_factory"] = encoder
    if image:
        settings["observation_scaler"] = d3rlpy.preprocessing.PixelObservationScaler()
    if algorithm in ("CalQL", "CQL"):
        settings["n_action_samples"] = options.sampled_actions
    if algorithm == "IQL":
        settings["value_encoder_factory"] = encoder
    learner = getattr(d3rlpy.algos, f"{algorithm}Config")(**settings).create(device=f"{options.device}:0")
    learner.build_with_dataset(dataset)
    return lambda: learner.update(dataset.sample_transition_batch(options.batch_size))


def plain(options: argparse.Namespace) -> argparse.Namespace:
    """The options without compiling."""
    return argparse.Namespace(**{**vars(options), "compile": False})


def peak_flops(options: argparse.Namespace) -> float:
    """Floating-point operations per second of a product of two large matrices, in the precision of our updates."""
    import torch
    from robofume_common.precision import has_bfloat16

    halved = not options.full_precision and has_bfloat16(options.device)
    size = PEAK_SIZE[options.device]
    matrix = torch.randn(size, size, device=options.device).to(torch.bfloat16 if halved else torch.float32)
    clock = time.perf_counter if options.device == "cuda" else time.process_time  # as the rates are
    best = 0.0
    for _ in range(5):
        start = clock()
        product = matrix @ matrix
        float(product[0, 0])  # waits for a GPU
        best = max(best, 2.0 * size**3 / (clock() - start))
    return best


def counted_flops(update: Callable[[], object]) -> float:
    """Floating-point operations of one update, as torch counts them."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        update()
    return float(counter.get_total_flops())


def profile(update: Callable[[], object], file: Path, name: str) -> None:
    """Adds a table of operators, by their own time over ten updates, to `file`."""
    import torch

    kinds = [torch.profiler.ProfilerActivity.CPU]
    if torch.cuda.is_available():
        kinds.append(torch.profiler.ProfilerActivity.CUDA)
    with torch.profiler.profile(activities=kinds) as measured:
        for _ in range(10):
            update()
    order = f"self_{'cuda' if torch.cuda.is_available() else 'cpu'}_time_total"
    with file.open("a") as text:
        text.write(f"{name}\n{measured.key_averages().table(sort_by=order, row_limit=25)}\n")


def work(options: argparse.Namespace) -> None:
    """The process of one learner: reads numbers of updates, answers seconds and memory; FLOPS ends it."""
    import torch

    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints does not mix with the answers
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    whose, algorithm = options.worker.split()
    if whose == "d3rlpy":
        import d3rlpy  # noqa: F401  before the memory is looked at
    else:
        import robofume_policy.agents  # noqa: F401
    process = psutil.Process()
    before = process.memory_info().rss
    make = our_update if whose == "ours" else their_update
    update = make(algorithm, options.observations[0] == "image", options)
    for line in sys.stdin:
        if line.strip() == FLOPS:
            if options.profile:
                profile(update, options.profile, options.worker)
            update = make(algorithm, options.observations[0] == "image", plain(options))  # what is compiled hides them
            print(json.dumps({"flops": counted_flops(update), "peak": peak_flops(options)}), file=answers, flush=True)
            continue
        start, start_processor = time.perf_counter(), time.process_time()
        for _ in range(int(line)):
            update()
        if options.device == "cuda":
            torch.cuda.synchronize()
        seconds, processor = time.perf_counter() - start, time.process_time() - start_processor
        peak = process.memory_info().rss
        with contextlib.suppress(OSError, IndexError):
            peak = 1024 * int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
        answer = {"seconds": seconds, "processor": processor, "mib": (peak - before) / 2**20}
        print(json.dumps(answer), file=answers, flush=True)


class Learner:
    """The other end of a learner's process."""

    def __init__(self, name: str, observations: str, given: list[str]) -> None:
        environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
        command = [sys.executable, __file__, *given, "--observations", observations, "--worker", name]
        self.name = name
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self.rates: list[float] = []
        self.processor_rates: list[float] = []
        self.mib = 0.0
        self.flops = self.peak = 0.0

    def ask(self, what: object) -> dict[str, float]:
        """One line to the process, and its answer."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(what, file=self.process.stdin, flush=True)
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"{self.name} ended with exit code {self.process.wait()}: see its message above.")
        return dict(json.loads(line))

    def count(self) -> None:
        """Ask for the operations of an update and for the peak; ours alone know them."""
        if self.name.startswith("ours"):
            answer = self.ask(FLOPS)
            self.flops, self.peak = answer["flops"], answer["peak"]

    def updates(self, count: int) -> tuple[float, float]:
        """Make so many updates; returns the seconds of wall and of processor time."""
        answer = self.ask(count)
        self.mib = max(self.mib, answer["mib"])
        return max(1e-6, answer["seconds"]), max(1e-6, answer["processor"])

    def turn(self, seconds: float) -> None:
        """As many updates as take about so much processor time, and their rates."""
        last = self.processor_rates[-1] if self.rates else 1.0 / self.updates(1)[1]
        count = max(1, round(last * seconds))
        wall, processor = self.updates(count)
        self.rates.append(count / wall)
        self.processor_rates.append(count / processor)


def measure(observations: str, options: argparse.Namespace, names: list[str]) -> list[dict[str, Any]]:
    """One row per learner."""
    given = [f"--threads={options.threads}", f"--batch-size={options.batch_size}"]
    given += [f"--device={options.device}"]
    given += [f"--sampled-actions={options.sampled_actions}", *(["--full-precision"] * options.full_precision)]
    given += ["--compile"] * options.compile
    given += [f"--profile={options.profile}"] if options.profile else []
    learners = {name: Learner(name, observations, given) for name in names}
    try:
        for learner in learners.values():
            learner.updates(options.warm_up)
        for _ in range(options.rounds):
            for learner in learners.values():
                learner.turn(options.seconds)
        for learner in learners.values():
            learner.count()
    finally:
        for learner in learners.values():
            learner.process.stdin.close()  # type: ignore[union-attr]
            learner.process.wait(timeout=60)
    rows = []
    for name, learner in learners.items():
        whose, algorithm = name.split()
        other = learners.get(f"d3rlpy {PAIRS.get(algorithm)}") if whose == "ours" else None
        row: dict[str, Any] = {
            "observations": observations, "learner": name, "device": options.device, "threads": options.threads,
            "batch_size": options.batch_size, "sampled_actions": options.sampled_actions,
            "memory_mib": f"{learner.mib:.0f}",
        }  # fmt: skip
        for kind in ("rates", "processor_rates"):
            second = "second" if kind == "rates" else "processor_second"
            values = getattr(learner, kind)
            row[f"updates_per_{second}"] = f"{statistics.median(values):.1f}"
            row[f"lowest_per_{second}"], row[f"highest_per_{second}"] = f"{min(values):.1f}", f"{max(values):.1f}"
            ratios = [a / b for a, b in zip(values, getattr(other, kind), strict=True)] if other else []
            row[f"times_theirs_per_{second}"] = f"{statistics.median(ratios):.2f}" if ratios else ""
        row["compiled"] = int(options.compile and whose == "ours")
        row["updates_per_step"] = options.utd
        timed = learner.rates if options.device == "cuda" else learner.processor_rates
        rate = statistics.median(timed)
        row["steps_per_second"] = f"{rate / options.utd:.2f}"
        row["gflop_per_update"] = f"{learner.flops / 1e9:.2f}" if learner.flops else ""
        row["share_of_peak"] = f"{learner.flops * rate / learner.peak:.2f}" if learner.peak else ""
        rows.append(row)
        print(", ".join(f"{key} {value}" for key, value in row.items() if value), flush=True)
    return rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--observations", nargs="+", choices=("state", "image"), default=["state"])
    parser.add_argument("--learners", nargs="+", default=list(LEARNERS), metavar="'ours cal_ql'")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--utd", type=int, default=1, help="updates per environment step, as in 1, 4 and 20")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--sampled-actions", type=int, default=10)
    parser.add_argument("--full-precision", action="store_true", help="our agents in float32, as theirs")
    parser.add_argument("--compile", action="store_true", help="our agents with torch.compile: minutes of warm-up")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each learner")
    parser.add_argument("--seconds", type=float, default=2.0, help="of processor time, of each turn")
    parser.add_argument("--warm-up", type=int, default=2, help="updates before the first turn")
    parser.add_argument("--profile", type=Path, help="write our operators' times to this file")
    parser.add_argument("--csv", type=Path, help="write the rows to this file")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    if options.worker:
        work(options)
        return
    if options.utd < 1:
        parser.error("--utd is at least 1")
    if options.device == "cuda":
        import torch

        if not torch.cuda.is_available():
            parser.error("torch sees no GPU here: leave --device at cpu")
    names = list(options.learners)
    packages = ["torch"]
    if importlib.util.find_spec("d3rlpy"):
        packages.append("d3rlpy")
    else:
        print("d3rlpy is not installed: our agents are measured alone.", file=sys.stderr)
        names = [name for name in names if not name.startswith("d3rlpy")]
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in packages)
    print(f"{versions}, Python {platform.python_version()}, {os.cpu_count()} cores")
    rows = [row for observations in options.observations for row in measure(observations, options, names)]
    if options.csv:
        with open(options.csv, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, rows[0].keys())
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
