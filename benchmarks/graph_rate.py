"""Control steps per second of the running graph, without a learner, beside the same loop in one process.

    python benchmarks/graph_rate.py

The same work in both: simulate a control period, draw the picture, bring it to the policy's size, run the
policy's network (random weights), limit the command and solve inverse kinematics, read ground truth. The graph
does it in one process per node, over DDS, in lockstep. Loop and graph are measured in turn, several times, since
the machine may be busy with other things. Writes graph_rate.csv and graph_rate.md into benchmarks/results/.
"""

from __future__ import annotations

import argparse
import csv
import os
import platform
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("MUJOCO_GL", "egl")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import psutil
import torch
from robofume_bringup.graph import GraphSettings, build_graph
from robofume_bringup.interruption import Interruption
from robofume_bringup.robot_session import RobotSession
from robofume_bringup.runner import GraphRunner
from robofume_bringup.task_files import task_description
from robofume_common.enums import Direction
from robofume_policy.agents import create_agent
from robofume_policy.checkpoint import CheckpointStore
from robofume_policy.config import AgentConfig, NetworkConfig
from robofume_policy.language import InstructionEncoder
from robofume_policy.policy_network import load_policy
from robofume_policy.trained_agent import TrainedAgent
from robofume_sim.environment import RobofumeEnv

RESULTS = Path(__file__).parent / "results"


def random_agent(task: str, image_size: int) -> TrainedAgent:
    """An agent that has learnt nothing."""
    space = task_description("mujoco", task).action_space
    network = NetworkConfig(image_size=image_size, action_dimension=space.dimension)
    return TrainedAgent(create_agent(network, AgentConfig(), seed=0), space, "minilm")


def loop_rate(agent: TrainedAgent, task: str, image_size: int, steps: int) -> float:
    """Control steps per second of the loop in this process; homing between episodes counts as in the
    graph."""
    torch.set_num_threads(1)
    policy = load_policy(agent.weights()[0])
    environment = RobofumeEnv(task, image_size=image_size, reset_free=True)
    embeddings = InstructionEncoder(agent.language)
    embeddings(environment.instruction)  # loads the model, which is not part of the rate
    random = np.random.default_rng(0)
    direction, done = Direction.FORWARD, 0
    observation, _ = environment.reset(seed=0, options={"direction": direction})
    start = time.perf_counter()
    while done < steps:
        embedding = embeddings(environment.instruction)
        finished = False
        while not finished:
            action = policy.act(observation["image"], observation["proprioception"], embedding, False, random)
            observation, _, success, over, _ = environment.step(action)
            finished = success or over
            done += 1
        direction = direction.opposite if success else direction
        observation, _ = environment.reset(options={"direction": direction})
    rate = done / (time.perf_counter() - start)
    environment.close()
    return rate


def graph_rate(agent: TrainedAgent, task: str, image_size: int, steps: int) -> tuple[float, dict[str, float]]:
    """Control steps per second of the graph, and the CPU share of each node (1: one core)."""
    with tempfile.TemporaryDirectory() as folder, Interruption() as interruption:
        directory = Path(folder)
        CheckpointStore(directory / "pretrained").save(0, *agent.state_dict())
        settings = GraphSettings(
            task=task,
            mode="evaluate",
            run_directory=directory,
            image_size=image_size,
            weights="pretrained",
            record=False,
        )
        marks: list[tuple[int, float, dict[str, float]]] = []
        with (
            GraphRunner(build_graph(settings), directory / "parameters", directory / "logs") as runner,
            RobotSession(runner, interruption) as session,
        ):
            session.wait_until_ready()
            processes = {name: psutil.Process(runner.pid(name)) for name in runner.names}

            def mark(feedback: Any) -> None:
                used = {name: sum(process.cpu_times()[:2]) for name, process in processes.items()}
                marks.append((int(feedback.steps), time.perf_counter(), used))

            session.practice(mark, steps=steps)
        # The first second is start-up: discovery, the first task, caches.
        first = next(m for m in marks if m[1] > marks[0][1] + 1.0)
        last = marks[-1]
        seconds = last[1] - first[1]
        shares = {name: (last[2][name] - first[2][name]) / seconds for name in first[2]}
        return (last[0] - first[0]) / seconds, shares


def main() -> None:
    """Measure in turn and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="pot_pick_and_place")
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--steps", type=int, default=3000, help="control steps of each measurement")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    agent = random_agent(options.task, options.image_size)
    rows = []
    for repeat in range(options.repeats):
        load = os.getloadavg()[0]
        loop = loop_rate(agent, options.task, options.image_size, options.steps)
        graph, shares = graph_rate(agent, options.task, options.image_size, options.steps)
        rows.append(
            {
                "repeat": repeat,
                "load_before": load,
                "loop": loop,
                "graph": graph,
                "ratio": graph / loop,
                **shares,
            }
        )
        print(
            f"loop {loop:.0f} steps/s, graph {graph:.0f} steps/s, ratio {graph / loop:.2f}; " + text(shares),
            flush=True,
        )
    write(rows, options)


def text(shares: dict[str, float]) -> str:
    """`sim 41%, policy 30%`, largest first."""
    return ", ".join(f"{name} {share:.0%}" for name, share in sorted(shares.items(), key=lambda item: -item[1]))


def write(rows: list[dict[str, float]], options: argparse.Namespace) -> None:
    """The CSV with every repeat, and a table with the medians."""
    RESULTS.mkdir(exist_ok=True)
    with (RESULTS / "graph_rate.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows({name: f"{value:.4g}" for name, value in row.items()} for row in rows)
    median = {name: statistics.median(row[name] for row in rows) for name in rows[0]}
    nodes = [name for name in rows[0] if name not in ("repeat", "load_before", "loop", "graph", "ratio")]
    made = (
        f"`python benchmarks/graph_rate.py --steps {options.steps} --repeats {options.repeats}`, "
        f"{options.task}, pictures of "
        f"{options.image_size}x{options.image_size}, {os.cpu_count()} cores, Python "
        f"{platform.python_version()}, "
        f"{time.strftime('%Y-%m-%d')}. Medians; load average before each repeat: "
        f"{', '.join(format(row['load_before'], '.1f') for row in rows)}."
    )
    lines = [
        "# Control steps per second",
        "",
        made,
        "",
        "| | control steps/s |",
        "|---|---|",
        f"| the loop in one process | {median['loop']:.0f} |",
        f"| the graph, one process per node | {median['graph']:.0f} |",
        f"| ratio | {median['ratio']:.2f} |",
        "",
        "| node | share of one core |",
        "|---|---|",
        *(f"| {name} | {median[name]:.0%} |" for name in sorted(nodes, key=lambda name: -median[name])),
        "",
    ]
    (RESULTS / "graph_rate.md").write_text("\n".join(lines))


if __name__ == "__main__":
    main()
