"""How many control steps per second the simulated arm makes in one process, on one core.

    python benchmarks/sim_throughput.py [--task pot_lid] [--steps 1000] [--json FILE]

Random actions, homing every 40 steps (not counted), the policy's way through safety envelope and kinematics. Prints
the rate of the physics alone, with a picture, and of the whole Gymnasium environment.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from robofume_sim.environment import RobofumeEnv

EPISODE = 40


def rate(environment: RobofumeEnv, step: Callable[[np.ndarray], object], steps: int) -> float:
    """Steps per second of `step` over random actions (dimension,)."""
    generator = np.random.default_rng(0)
    environment.reset(seed=0)
    spent = 0.0
    for i in range(steps):
        if i % EPISODE == 0:
            environment.arm.home()
        action = generator.uniform(-1, 1, environment.space.dimension).astype(np.float32)
        start = time.perf_counter()
        step(action)
        spent += time.perf_counter() - start
    return steps / spent


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--task", default="pot_pick_and_place")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    given = parser.parse_args()
    environment = RobofumeEnv(given.task)
    environment.render()  # the first picture starts the graphics

    def physics(action: np.ndarray) -> None:
        environment.arm.step(environment.space.to_physical(action))

    def picture(action: np.ndarray) -> None:
        physics(action)
        environment.world.render()

    rates = {
        "physics": rate(environment, physics, given.steps),
        "physics and a 100x100 picture": rate(environment, picture, given.steps),
        "Gymnasium environment, 64x64": rate(environment, environment.step, given.steps),
    }
    for name, value in rates.items():
        print(f"{name}: {value:.0f} steps/s")
    if given.json:
        given.json.write_text(
            json.dumps({"task": given.task, "steps": given.steps, "steps_per_second": rates}, indent=1)
        )


if __name__ == "__main__":
    main()
