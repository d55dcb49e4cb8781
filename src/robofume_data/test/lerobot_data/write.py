"""Writes the data sets beside this file with the `lerobot` library.

python write.py v2.1_video      with lerobot 0.3.3 (data sets of v2.1)
python write.py v3.0_image      with lerobot 0.4.4 (data sets of v3.0)
"""

import sys

import numpy as np
from lerobot.datasets.lerobot_dataset import CODEBASE_VERSION, LeRobotDataset

SENTENCES = ("put the pot away", "nimm den Topf: 锅")
NUMBERS = ("x", "y", "z", "roll", "pitch", "yaw")


def main(name: str) -> None:
    version, _, kind = name.partition("_")
    assert version == {"v2.1": "v2.1", "v3.0": "v3.0"}[CODEBASE_VERSION], f"this lerobot writes {CODEBASE_VERSION}"
    features = {
        "observation.images.image_0": {"dtype": kind, "shape": (64, 80, 3), "names": ["height", "width", "channels"]},
        "observation.state": {"dtype": "float32", "shape": (8,), "names": [*NUMBERS, "pad", "gripper"]},
        "action": {"dtype": "float32", "shape": (7,), "names": [*NUMBERS, "gripper"]},
    }
    data = LeRobotDataset.create(
        "me/test", fps=5, features=features, root=name, use_videos=kind == "video", robot_type="widowx"
    )
    for episode in range(3):
        random = np.random.default_rng(episode)
        for step in range(8 + episode):
            colour = (20 * step, 200 - 20 * step, 50 * episode)
            frame = {
                "observation.images.image_0": np.full((64, 80, 3), colour, np.uint8),
                "observation.state": np.array([*random.uniform(-0.3, 0.3, 6), 0, 0.5], np.float32),
                "action": np.array([*random.uniform(-0.02, 0.02, 6), 1], np.float32),
            }
            if version == "v2.1":
                data.add_frame(frame, task=SENTENCES[episode % 2])
            else:
                data.add_frame({**frame, "task": SENTENCES[episode % 2]})
        data.save_episode()
    if hasattr(data, "finalize"):
        data.finalize()


if __name__ == "__main__":
    main(sys.argv[1])
