"""Run by test_policy_team.py in two processes, and in one: pre-trains on made-up episodes and writes the losses.

    python -m torch.distributed.run --standalone --nproc-per-node 2 team_training.py FOLDER ALGORITHM...
"""

import sys
from pathlib import Path

import torch
from robofume_common.action import ActionSpace
from robofume_policy.config import AgentConfig, NetworkConfig, PretrainingConfig
from robofume_policy.pretraining import pretrain
from robofume_policy.team import joined
from test_policy_learning_pipeline import episodes


def train(folder: Path, algorithms: list[str]) -> None:
    """Six updates by each, in float32, with metrics of each update."""
    torch.set_num_threads(1)
    with joined():
        for algorithm in algorithms:
            pretrain(
                episodes(),
                folder / algorithm,
                action_space=ActionSpace(),
                network=NetworkConfig(image_size=40, hidden_size=32, image_features=16),
                agent=AgentConfig(algorithm=algorithm, batch_size=8, discount=0.9, mixed_precision=False),
                config=PretrainingConfig(updates=6, checkpoint_every=3, metrics_every=1),
                metrics_directory=folder,
                metrics_name=algorithm,
            )


if __name__ == "__main__":
    train(Path(sys.argv[1]), sys.argv[2:])
