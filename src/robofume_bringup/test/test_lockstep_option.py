"""Whether the simulation waits for each command: one setting of the run, which every command's nodes get."""

import pytest
from robofume_bringup.cli import main
from robofume_bringup.run_directory import RunDirectory
from robofume_common.errors import RobofumeError

WAITING = ("sim", "camera", "arm", "policy", "switcher")
"""Nodes that have to know."""


@pytest.fixture
def started(monkeypatch, tmp_path):
    """Give a command; the nodes that it would have started, by name."""
    directory = RunDirectory(tmp_path / "lid")
    for folder in (directory.reward, directory.pretrained):
        folder.mkdir(parents=True)

    def start(*words: str) -> dict:
        caught = []

        def refuse(nodes, *_, **__):
            caught.extend(nodes)
            raise RobofumeError("Only the nodes were wanted.")

        monkeypatch.setattr("robofume_bringup.stages.context.GraphRunner", refuse)
        assert main([*words, "--runs", str(tmp_path), "--run", "lid", "--task", "pot_lid"]) == 1
        return {node.name: node for node in caught}

    return start


def test_a_graph_is_not_kept_up_at_a_stage_of_another_process_or_with_options_of_other_modes(started, capsys, tmp_path):
    directory = RunDirectory(tmp_path / "lid")
    assert started("up") and started("up", "--mode", "collect", "--demonstrator", "person")
    with directory.alone("practice"), directory.alone("demos"):
        for words in (("up",), ("up", "--idle"), ("up", "--mode", "collect")):
            assert not started(*words) and "Another process" in capsys.readouterr().err
        assert started("up", "--mode", "evaluate")
    for word, words in {"--mode collect": ("--demonstrator", "person"), "processes": ("--in-process",)}.items():
        assert not started("up", *words) and word in capsys.readouterr().err
    assert directory.read_config()["in_process"] is False


@pytest.mark.parametrize("command", [("practice",), ("up",), ("up", "--mode", "collect"), ("demos",)])
def test_the_option_reaches_the_nodes_and_stays_with_the_run(started, command, tmp_path):
    assert started("up")["sim"].parameters["lockstep"] is True, "so it is unless somebody asks"
    for words, waits in (((), True), (("--no-lockstep",), False), ((), False), (("--lockstep",), True)):
        nodes = started(*command, *words)
        assert {name: nodes[name].parameters["lockstep"] for name in WAITING} == dict.fromkeys(WAITING, waits)
        assert {node.use_sim_time for node in nodes.values()} == {not waits}
        assert RunDirectory(tmp_path / "lid").read_config()["lockstep"] is waits
