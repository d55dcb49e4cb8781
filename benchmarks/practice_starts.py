"""Where practice without resets begins its episodes, and what a policy can do from anywhere.

The policy of a run acts without resets, forward and backward, as in practice but for relocations (its noise with it):
where did each episode start? Then it is tried, without noise, from the starts of an evaluation. Both are told by thirds
of the zone, by the distance from the arm's base:

    python benchmarks/practice_starts.py RUN [RUN ...]

Writes benchmarks/results/practice_starts.csv.
"""

import argparse
from pathlib import Path

import numpy as np
from judge_tables import Table
from policy_scores import FIRST_SEED, newest_policy
from robofume_bringup.run_directory import RunDirectory
from robofume_common.enums import Direction
from robofume_policy.policy_network import ActingPolicy
from robofume_sim.environment import RobofumeEnv

DIRECTIONS = (Direction.FORWARD, Direction.BACKWARD)
THIRDS = ("near", "middle", "far")
Start = tuple[Direction, float, bool]
"""Direction, x [m] of the object at its beginning, success."""


def attempt(
    environment: RobofumeEnv, policy: ActingPolicy, sentence: np.ndarray, noise: np.random.Generator | None
) -> tuple[float, bool, bool]:
    """(x of the object at the start, success, whether the next direction is forward)."""
    (name,) = environment.world.task.object_names
    x = float(environment.world.scene_state().objects[name].position[0])
    observation, _ = environment.reset(options={"direction": environment.direction, "reset_scene": False})
    while True:
        action = policy.act(observation["image"], observation["proprioception"], sentence, noise is None, noise)
        observation, _, success, late, info = environment.step(action)
        if success or late:
            return x, bool(success), not info["forward_success"]


def without_resets(
    environment: RobofumeEnv, policy: ActingPolicy, sentences: dict[Direction, np.ndarray], episodes: int
) -> list[Start]:
    """Episodes forward and backward by turns, from one reset."""
    noise, direction, starts = np.random.default_rng(0), Direction.FORWARD, []
    environment.reset(seed=FIRST_SEED, options={"direction": direction})
    for _ in range(episodes):
        environment.direction = direction
        x, success, forward = attempt(environment, policy, sentences[direction], noise)
        starts.append((direction, x, success))
        direction = Direction.FORWARD if forward else Direction.BACKWARD
    return starts


def from_anywhere(
    environment: RobofumeEnv, policy: ActingPolicy, sentences: dict[Direction, np.ndarray], trials: int
) -> list[Start]:
    """Trials from scenes that are reset, without noise."""
    starts = []
    for direction in DIRECTIONS:
        for trial in range(trials):
            environment.reset(seed=FIRST_SEED + trial, options={"direction": direction})
            x, success, _ = attempt(environment, policy, sentences[direction], None)
            starts.append((direction, x, success))
    return starts


def main() -> None:
    """Both parts for every run that is not in the table yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", help="directories of practised runs of a task with one object")
    parser.add_argument("--trials", type=int, default=60, help="each way; as many episodes without resets")
    parser.add_argument("--borders", type=float, nargs=2, default=(0.253, 0.317), help="x [m] between the thirds")
    given = parser.parse_args()
    table = Table("practice_starts", ("run", "kind", "direction", "third"))
    for path in given.runs:
        run = RunDirectory(path)
        config = run.read_config()
        policy, encoder = newest_policy(run.policy("practised"))
        environment = RobofumeEnv(config["task"], image_size=config["image_size"])
        sentences = {way: encoder(environment.world.task.description.instruction(way)) for way in DIRECTIONS}
        parts = (("practice", without_resets, 2 * given.trials), ("reset", from_anywhere, given.trials))
        for kind, collect, count in parts:
            if table.has(run=run.name, kind=kind, direction="backward", third="far"):
                continue
            starts = collect(environment, policy, sentences, count)
            for direction in DIRECTIONS:
                for number, third in enumerate(THIRDS):
                    ends = [s for way, x, s in starts if way == direction and np.digitize(x, given.borders) == number]
                    row = {"run": run.name, "kind": kind, "direction": direction.name.lower(), "third": third}
                    table.add({**row, "starts": len(ends), "successes": sum(ends)})
        environment.close()


if __name__ == "__main__":
    main()
