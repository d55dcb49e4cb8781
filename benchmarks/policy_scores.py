"""How far the policies of runs bring a task, beside how often they finish it: the mean score at the step limit.

The score is the simulation's truth, the share of the goal that is reached (of candy sweeping: of the sweets). A trial
starts from a scene that is reset, acts without noise, and ends with the first success or at the step limit, without
the way home that `robofume evaluate` has. Each policy is tried within each of the step limits, from the same starts:

    python benchmarks/policy_scores.py RUN [RUN ...] --weights pretrained practised --step-limits 45 80

Writes benchmarks/results/policy_scores.csv.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from judge_tables import Table
from robofume_bringup.run_directory import RunDirectory
from robofume_common.enums import Direction
from robofume_policy.checkpoint import CheckpointStore
from robofume_policy.language import InstructionEncoder
from robofume_policy.policy_network import ActingPolicy, load_policy
from robofume_policy.trained_agent import TrainedAgent
from robofume_sim.environment import RobofumeEnv

FIRST_SEED = 5000
"""Of the starts: none that practice or `evaluate` draws for the seeds in docs/results.md."""


def newest_policy(folder: Path) -> tuple[ActingPolicy, InstructionEncoder]:
    """The policy of a folder's newest checkpoint, and what embeds its sentences."""
    stored = CheckpointStore(folder).load()
    if stored is None:
        sys.exit(f"There is no checkpoint in {folder}: name a run that has one, or other --weights.")
    trained = TrainedAgent.from_state_dict(*stored[1:])
    return load_policy(*trained.weights()), InstructionEncoder(trained.language)


def trial(environment: RobofumeEnv, policy: ActingPolicy, sentence: np.ndarray, start: dict) -> tuple[bool, float]:
    """(success, score at the end) of one trial."""
    observation, _ = environment.reset(**start)
    while True:
        action = policy.act(observation["image"], observation["proprioception"], sentence)
        observation, _, success, late, info = environment.step(action)
        if success or late:
            return success, float(info["score"])


def main() -> None:
    """Every policy at every step limit that is not in the table yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", help="directories of runs")
    parser.add_argument("--weights", nargs="+", default=["practised"], choices=("pretrained", "practised"))
    parser.add_argument("--step-limits", type=int, nargs="+", default=[0], help="0: the task's own")
    parser.add_argument("--trials", type=int, default=50, help="each way")
    given = parser.parse_args()
    table = Table("policy_scores", ("run", "weights", "step_limit"))
    for path in given.runs:
        run = RunDirectory(path)
        config = run.read_config()
        for weights in given.weights:
            policy, encoder = newest_policy(run.policy(weights))
            for limit in given.step_limits:
                environment = RobofumeEnv(config["task"], image_size=config["image_size"], step_limit=limit or None)
                allowed = limit or environment.world.task.description.step_limit
                if table.has(run=run.name, weights=weights, step_limit=allowed):
                    continue
                row = {"run": run.name, "weights": weights, "step_limit": allowed, "trials": given.trials}
                for direction in (Direction.FORWARD, Direction.BACKWARD):
                    sentence = encoder(environment.world.task.description.instruction(direction))
                    starts = [
                        {"seed": FIRST_SEED + i, "options": {"direction": direction}} for i in range(given.trials)
                    ]
                    ends = np.array([trial(environment, policy, sentence, start) for start in starts])
                    name = direction.name.lower()
                    row |= {f"{name}_success": round(float(ends[:, 0].mean()), 3)}
                    row |= {f"{name}_score": round(float(ends[:, 1].mean()), 3)}
                environment.close()
                table.add(row)


if __name__ == "__main__":
    main()
