"""A run whose world is varied: the same world at every start, wherever its objects lie."""

import pytest
import torch
from random_episodes import random_episode
from robofume_bringup.cli import main
from robofume_bringup.run_directory import RunDirectory
from robofume_common.errors import RobofumeError
from robofume_data.episode_writer import write_episodes
from robofume_policy.checkpoint import CheckpointStore
from robofume_sim.sim_config import make_world
from robofume_sim.variations import KINDS, varied

SEED = 3


@pytest.fixture
def run(tmp_path) -> RunDirectory:
    directory = RunDirectory(tmp_path / "varied")
    for folder in (directory.reward, directory.bags("practice")):
        folder.mkdir(parents=True)
    CheckpointStore(directory.pretrained).save(1, {"weight": torch.zeros(1)}, {})
    return directory


@pytest.fixture
def start(monkeypatch, run):
    """Give a command; the settings of the simulation that it would have started."""

    def start(command: str, *words: str):
        caught = []

        def refuse(nodes, *_, **__):
            caught.extend(node for node in nodes if node.name == "sim")
            raise RobofumeError("Only the nodes were wanted.")

        monkeypatch.setattr("robofume_bringup.stages.context.GraphRunner", refuse)
        assert main([command, "--runs", str(run.path.parent), "--run", run.name, *words]) == 1
        (sim,) = caught
        return sim.settings()

    return start


def test_demonstrations_practice_and_evaluation_are_in_the_same_varied_world(start, run):
    kinds = f"sim.variations=[{', '.join(KINDS)}]"
    settings = ("--task", "pot_lid", "--seed", str(SEED), "--set", "sim.variation=1.0", "--set", kinds)
    starts = [start("demos", *settings), start("practice")]
    write_episodes(run.bags("practice") / "practice_0000.mcap", [random_episode(0, "practice", 5)])
    starts += [start("practice"), start("evaluate", "--weights", "pretrained")]
    assert len({config.seed for config in starts}) == 3, "the objects lie elsewhere"
    for config in starts:
        world = make_world(config)
        assert (world.config.appearance, world.config.build) == varied(KINDS, SEED)
        world.close()
