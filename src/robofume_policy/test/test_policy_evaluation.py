"""The names of the package, and trials of a trained policy in an environment."""

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from robofume_common.errors import RobofumeError
from robofume_policy.trained_agent import TrainedAgent
from test_policy_learning_pipeline import AGENT, NETWORK, SPACE, episodes

import robofume_policy
from robofume_policy import PretrainingConfig, evaluate, pretrain


def test_the_names_of_the_package_are_there_and_cost_nothing_until_they_are_asked_for() -> None:
    for name in robofume_policy.__all__:
        assert getattr(robofume_policy, name) is not None and name in dir(robofume_policy)
    for_checkers = re.findall(r"import \w+ as (\w+)$", Path(robofume_policy.__file__).read_text(), re.MULTILINE)
    assert sorted(for_checkers) == robofume_policy.__all__
    with pytest.raises(AttributeError, match="no attribute 'pretrian'"):
        robofume_policy.pretrian  # noqa: B018
    code = "import sys, robofume_policy; assert 'torch' not in sys.modules; from robofume_policy import AgentConfig; "
    code += "assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


class Waiting:
    """Succeeds in trials of an even seed at the third step, and is late in the others at the fifth."""

    instruction = "put the pot into the tray"

    def __init__(self) -> None:
        self.seeds: list[int] = []
        self.actions: list[np.ndarray] = []

    def observation(self) -> dict[str, np.ndarray]:
        return {"image": np.full((40, 40, 3), self.steps, np.uint8), "proprioception": np.zeros(7, np.float32)}

    def reset(self, *, seed=None):
        self.seeds.append(seed)
        self.steps = 0
        return self.observation(), {}

    def step(self, action):
        self.actions.append(action)
        self.steps += 1
        return self.observation(), 0.0, self.seeds[-1] % 2 == 0 and self.steps == 3, self.steps == 5, {}


class Looking(Waiting):
    """Shows what it is told to show, and succeeds in no trial."""

    def __init__(self, **shown: np.ndarray) -> None:
        super().__init__()
        self.shown = shown

    def observation(self) -> dict[str, np.ndarray]:
        return {"proprioception": np.zeros(7, np.float32), **self.shown}

    def first_action(self, trained: TrainedAgent) -> np.ndarray:
        self.actions.clear()
        assert evaluate(trained, self, trials=1, seed=1) == [False]
        return self.actions[0]


def test_a_policy_of_two_cameras_is_shown_both(tmp_path) -> None:
    seen_twice = [replace(episode, further_images={"wrist": episode.images}) for episode in episodes(2)]
    trained = pretrain(
        seen_twice, tmp_path, action_space=SPACE, network=replace(NETWORK, further_cameras=("wrist",)), agent=AGENT,
        config=PretrainingConfig(updates=1),
    )  # fmt: skip
    image, wrist = np.random.default_rng(0).integers(0, 256, (2, 40, 40, 3), dtype=np.uint8)
    action = Looking(image=image, wrist=wrist).first_action(trained)
    assert (action != Looking(image=image, wrist=image).first_action(trained)).any()
    assert (action != Looking(image=wrist, wrist=image).first_action(trained)).any()
    with pytest.raises(RobofumeError, match="has no wrist, which the policy looks at, only proprioception, image"):
        evaluate(trained, Looking(image=image), trials=1)
    with pytest.raises(RobofumeError, match="differ in size"):
        evaluate(trained, Looking(image=image, wrist=wrist[:20]), trials=1)


def test_a_policy_without_an_encoder_needs_no_image(tmp_path) -> None:
    trained = pretrain(
        episodes(2), tmp_path, action_space=SPACE, network=replace(NETWORK, encoder="none"), agent=AGENT,
        config=PretrainingConfig(updates=1),
    )  # fmt: skip
    image = np.zeros((480, 640, 3), np.uint8)
    assert (Looking().first_action(trained) == Looking(image=image).first_action(trained)).all()


def test_an_evaluation_counts_successes_of_seeded_trials(tmp_path) -> None:
    trained = pretrain(
        episodes(2), tmp_path, action_space=SPACE, network=NETWORK, agent=AGENT, config=PretrainingConfig(updates=1)
    )
    environment = Waiting()
    assert evaluate(trained, environment, trials=3, seed=4) == [True, False, True]
    assert environment.seeds == [4, 5, 6] and len(environment.actions) == 3 + 5 + 3
    first, second = environment.actions[:3], environment.actions[3:6]
    assert all((a == b).all() and a.shape == (4,) for a, b in zip(first, second, strict=True))
    with pytest.raises(RobofumeError, match="at least one trial, not 0"):
        evaluate(trained, environment, trials=0)
