"""The examples in the README of robofume_policy run as they stand, with fewer updates and trials."""

import re
from pathlib import Path

import numpy as np
import pytest
from robofume_common.enums import Direction, Outcome, Phase, Verdict
from robofume_data.episode import EpisodeData
from robofume_data.episode_writer import write_episodes
from robofume_sim.environment import RobofumeEnv

README = Path(__file__).parents[2] / "robofume_policy" / "README.md"


@pytest.fixture
def demonstrations(tmp_path, monkeypatch):
    environment, images, states, actions = RobofumeEnv(), [], [], []
    observation, _ = environment.reset(seed=0)
    for _ in range(6):
        images.append(observation["image"])
        states.append(observation["proprioception"])
        actions.append(environment.action_space.sample())
        observation, *_ = environment.step(actions[-1])
    images.append(observation["image"])
    states.append(observation["proprioception"])

    episode = EpisodeData(
        episode_id="one", task="pot_pick_and_place", phase=Phase.FORWARD, direction=Direction.FORWARD,
        instruction=environment.instruction, assisted_reset_before=False, outcome=Outcome.SUCCESS, success_index=6,
        images=np.stack(images), proprioception=np.stack(states).astype(np.float32),
        actions=environment.space.to_physical(np.stack(actions)), actors=np.full(6, 3, np.uint8),
        policy_versions=np.zeros(7, np.uint64), stamps=np.arange(7, dtype=np.int64),
        verdicts=np.full(7, Verdict.FAILURE, np.uint8), probabilities=np.zeros(7, np.float32),
        sources=np.zeros(7, np.uint8), forward_success=np.zeros(7, bool), backward_success=np.zeros(7, bool),
    )  # fmt: skip
    environment.close()
    folder = tmp_path / "runs" / "pot_pick_and_place" / "bags" / "demos"
    folder.mkdir(parents=True)
    write_episodes(folder / "demos_000.mcap", [episode])
    monkeypatch.chdir(tmp_path)


def example(first_words: str) -> str:
    """The one that begins with these words."""
    examples = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    (found,) = (code for code in examples if code.startswith(first_words))
    return found


def test_the_example_of_the_policy_package_runs(demonstrations, capsys):
    code = example("import gymnasium")
    assert "updates=6000" in code and "trials=50" in code
    exec(code.replace("updates=6000", "updates=2").replace("trials=50", "trials=2"), {})
    assert "of 2 trials succeeded" in capsys.readouterr().out


def test_the_example_of_plain_arrays_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code = example("import numpy")
    assert "updates=2000" in code
    exec(code.replace("updates=2000", "updates=2"), {})
    action = np.array(capsys.readouterr().out.strip("[]\n").split(), float)
    assert action.shape == (2,) and (np.abs(action) <= 1.0).all()
