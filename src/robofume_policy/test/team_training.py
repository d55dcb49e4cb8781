"""Run by test_policy_team.py in two processes, and in one: pre-trains on made-up episodes and writes the losses.

    python -m torch.distributed.run --standalone --nproc-per-node 2 team_training.py FOLDER ALGORITHM...

With `apart` in the place of algorithms every process has a folder of its own, as hosts without a shared disk have, and
goes on from what it finds there; what it says is written to FOLDER/<rank>.txt.
"""

import os
import sys
from pathlib import Path

import torch
from robofume_common.action import ActionSpace
from robofume_common.errors import RobofumeError
from robofume_policy.config import AgentConfig, NetworkConfig, PretrainingConfig
from robofume_policy.pretraining import pretrain
from robofume_policy.team import joined
from test_policy_learning_pipeline import episodes


def train(folder: Path, algorithms: list[str], updates: int = 6) -> None:
    """So many updates by each, in float32, with metrics of each update."""
    torch.set_num_threads(1)
    for algorithm in algorithms:
        pretrain(
            episodes(),
            folder / algorithm,
            action_space=ActionSpace(),
            network=NetworkConfig(image_size=40, hidden_size=32, image_features=16),
            agent=AgentConfig(algorithm=algorithm, batch_size=8, discount=0.9, mixed_precision=False),
            config=PretrainingConfig(updates=updates, checkpoint_every=3, metrics_every=1),
            metrics_directory=folder,
            metrics_name=algorithm,
        )


def train_apart(folder: Path) -> None:
    """Three updates together, and the attempt to go on from the own folder."""
    rank = os.environ["RANK"]
    train(folder / rank, ["bc"], 3)
    try:
        train(folder / rank, ["bc"], 6)
    except RobofumeError as error:
        (folder / f"{rank}.txt").write_text(str(error))


if __name__ == "__main__":
    with joined():
        if sys.argv[2:] == ["apart"]:
            train_apart(Path(sys.argv[1]))
        else:
            train(Path(sys.argv[1]), sys.argv[2:])
