"""The reward node with a model that gets into trouble, as a process of its own.

python troubled_reward_node.py FOLDER --ros-args ...

While the file FOLDER/slow is there an answer does not come, and while FOLDER/failing is there the model raises.
"""

import sys
import time
from pathlib import Path

import numpy as np
from robofume_reward.model import RewardModel
from robofume_reward.nodes import reward


def main(folder: Path) -> None:
    answer = RewardModel.log_odds

    def troubled(model: RewardModel, images: np.ndarray, instructions: list[str]) -> np.ndarray:
        while (folder / "slow").exists():
            time.sleep(0.01)
        if (folder / "failing").exists():
            raise RuntimeError("the accelerator is gone")
        return answer(model, images, instructions)

    RewardModel.log_odds = troubled
    reward.main()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
