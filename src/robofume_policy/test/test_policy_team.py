"""Two processes that train together, over gloo, learn what one learns alone."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from robofume_common.errors import RobofumeError
from robofume_policy.agents import create_agent
from robofume_policy.checkpoint import CheckpointStore
from robofume_policy.metrics import read_metrics
from robofume_policy.pretraining import weight_hash
from robofume_policy.team import Team, current_team, training_device
from team_training import train
from test_policy_agents import AGENT, NETWORK, random_batch

SCRIPT = Path(__file__).with_name("team_training.py")
ALGORITHMS = ["cal_ql", "cql", "iql", "bc"]


def train_in_two(folder: Path, *words: str) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(SCRIPT)]
    path = os.pathsep.join([str(SCRIPT.parent), os.environ.get("PYTHONPATH", "")])
    ended = subprocess.run(
        [*command, str(folder), *words], capture_output=True, text=True, timeout=600, check=False,
        env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> tuple[Path, Path]:
    """Trained by two processes, and by this one."""
    folder = tmp_path_factory.mktemp("team")
    train_in_two(folder / "two", *ALGORITHMS)
    train(folder / "one", ALGORITHMS)
    return folder / "two", folder / "one"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_two_processes_have_the_losses_and_the_weights_of_one(folders, algorithm: str) -> None:
    two, one = (read_metrics(folder / f"{algorithm}.csv") for folder in folders)
    assert len(one) == len(two) == 6
    for ours, theirs in zip(two, one, strict=True):
        chosen = [name for name in theirs if name.startswith(("losses/", "values/"))]
        assert chosen
        for name in chosen:
            assert float(ours[name]) == pytest.approx(float(theirs[name]), rel=1e-3, abs=1e-4), name
    (_, two_tensors, two_state), (_, one_tensors, one_state) = (
        CheckpointStore(folder / algorithm).load() for folder in folders
    )
    assert two_state["agent_state"] == one_state["agent_state"]
    for name in one_tensors:
        if name.startswith(("network.", "average.")):
            torch.testing.assert_close(two_tensors[name], one_tensors[name], rtol=1e-2, atol=1e-4)


def test_hosts_that_do_not_read_the_same_checkpoints_are_told_before_they_part(tmp_path) -> None:
    train_in_two(tmp_path, "apart")
    assert CheckpointStore(tmp_path / "0" / "bc").numbers() == [3] and not (tmp_path / "1").exists()
    for rank, updates in enumerate((3, 0)):
        said, folder = (tmp_path / f"{rank}.txt").read_text(), tmp_path / str(rank)
        assert f"this one, {rank + 1} of 2, has made {updates} updates by what it reads in {folder}" in said
        assert "Put that folder and the data on a disk that all hosts share" in said


def test_weights_and_random_states_are_told_apart() -> None:
    agents = [create_agent(NETWORK, AGENT, seed=0) for _ in range(3)]
    agents[1].random.random()
    next(agents[2].network.parameters()).data += 1e-6
    assert weight_hash(agents[0]) == weight_hash(create_agent(NETWORK, AGENT, seed=0))
    assert len({weight_hash(agent) for agent in agents}) == 3 and weight_hash(agents[0]) < 2**63


def test_a_batch_that_cannot_be_shared_equally_is_refused() -> None:
    with pytest.raises(RobofumeError, match="A batch of 7 cannot be shared equally by 2 processes"):
        Team(1, 2).rows(7)


def test_each_process_shifts_its_own_pictures_as_one_would_shift_all(monkeypatch) -> None:
    network = replace(NETWORK, further_cameras=("wrist",))
    pictures = np.random.default_rng(0).integers(0, 256, (2, 8, 40, 40, 6), dtype=np.uint8)
    batch = replace(random_batch(), images=pictures[0], next_images=pictures[1])
    padded, pad = [], np.pad
    monkeypatch.setattr(np, "pad", lambda images, *rest, **how: padded.append(len(images)) or pad(images, *rest, **how))
    agents = [create_agent(network, replace(AGENT, random_shift=4), seed=0) for _ in range(3)]
    for agent, team in zip(agents, (Team(), Team(0, 2), Team(1, 2)), strict=True):
        agent.team = team
    whole, *halves = (agent._own_rows(batch) for agent in agents)
    assert padded == [8] * 4 + [4] * 8
    for name, value in whole.items():
        np.testing.assert_array_equal(value, np.concatenate([half[name] for half in halves]), name)
    assert (whole["images"] != batch.images).any()
    assert len({str(agent.random.bit_generator.state) for agent in agents}) == 1, "the next batch is the same too"


def test_a_process_alone_is_its_own_team() -> None:
    assert current_team() == Team(0, 1)
    assert Team(1, 4).rows(8) == slice(2, 4)


@pytest.mark.parametrize("name", ["toaster", f"cuda:{torch.cuda.device_count()}"])
def test_a_device_that_is_not_there_is_named(name: str) -> None:
    with pytest.raises(RobofumeError, match=r"device|GPUs"):
        training_device(name)
