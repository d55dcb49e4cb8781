"""The graph: for every mode, nodes that exist, with parameters that they have."""

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest
from robofume_bringup.graph import (
    LAUNCH_ARGUMENTS,
    MODES,
    NODES,
    GraphSettings,
    build_graph,
    settings_from_arguments,
)
from robofume_bringup.run_directory import RunDirectory
from robofume_common.errors import RobofumeError

TASK = "pot_pick_and_place"


def graph(mode, **settings):
    return build_graph(GraphSettings(TASK, mode, run_directory=Path("/run"), **settings))


@pytest.mark.parametrize("name", sorted(NODES))
def test_every_node_can_be_started(name):
    node = NODES[name]
    assert callable(import_module(node.module).main)
    scripts = import_module("importlib.metadata").entry_points(group="console_scripts")
    assert any(script.value == f"{node.module}:main" and script.name == node.executable for script in scripts)


@pytest.mark.parametrize("name", sorted(NODES))
def test_settings_class_is_what_the_node_declares(name):
    module, _, class_name = NODES[name].config.partition(":")
    config_class = getattr(import_module(module), class_name)
    node_module = import_module(NODES[name].module)
    assert getattr(node_module, class_name) is config_class
    assert f"declare(self, {class_name})" in Path(node_module.__file__).read_text()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("lockstep", [True, False])
def test_parameters_fit_the_nodes(mode, lockstep):
    for node in graph(mode, lockstep=lockstep):
        node.check_parameters()


def test_nodes_of_each_mode():
    names = {mode: {node.name for node in graph(mode)} for mode in MODES}
    robot = {"sim", "camera", "arm", "policy", "reward", "switcher", "recorder"}
    assert names == {"collect": robot | {"demonstrator"}, "practice": robot | {"learner"}, "evaluate": robot}


def test_only_collection_and_evaluation_judge_by_ground_truth():
    judges = {mode: {n.name: n for n in graph(mode)}["reward"].parameters["judge"] for mode in MODES}
    assert judges == {"collect": "ground_truth", "practice": "vlm", "evaluate": "ground_truth"}


def test_recorder_stops_last_and_switcher_first():
    nodes = sorted(graph("practice"), key=lambda node: node.stop_order)
    assert nodes[0].name == "switcher" and nodes[-1].name == "recorder"
    order = {node.name: node.stop_order for node in nodes}
    assert order["policy"] < order["arm"] < order["learner"] < order["recorder"]


def test_bags_go_where_the_run_directory_says():
    run = RunDirectory(Path("/run"))
    for mode, kind in (("collect", "demos"), ("practice", "practice"), ("evaluate", "evaluate")):
        recorder = {node.name: node for node in graph(mode)}["recorder"]
        assert str(run.bags(kind)) in map(str, recorder.parameters.values())


def test_overrides_reach_the_node_and_wrong_ones_are_named():
    policy = {n.name: n for n in graph("evaluate", overrides={"policy": {"seed": 7}})}["policy"]
    assert policy.parameters["seed"] == 7
    with pytest.raises(RobofumeError, match="no node leg"):
        graph("evaluate", overrides={"leg": {}})
    wrong = {n.name: n for n in graph("evaluate", overrides={"policy": {"sed": 7}})}["policy"]
    with pytest.raises(RobofumeError, match=r"policy node.*sed"):
        wrong.check_parameters()


def test_restarts_are_for_nodes_whose_restart_continues_the_run():
    restarts = {node.name: node.restarts for node in graph("practice", restarts=2)}
    assert {name for name, count in restarts.items() if count == 0} == {"sim", "switcher"}
    assert set(restarts.values()) == {0, 2}


@pytest.mark.parametrize("wrong", [{"robot": "walker"}, {"task": "juggling"}, {"mode": "dance"}])
def test_unknown_names_are_answered_with_the_known_ones(wrong):
    with pytest.raises(RobofumeError, match=r"choose one of: .*[a-z]"):
        build_graph(GraphSettings(**{"task": TASK, "mode": "collect", **wrong}))


def test_launch_arguments_all_have_default_and_description():
    defaults = {argument.name: argument.default for argument in LAUNCH_ARGUMENTS}
    assert all(argument.description for argument in LAUNCH_ARGUMENTS)
    settings = settings_from_arguments(defaults)
    assert settings == GraphSettings(
        TASK, "practice", run_directory=Path("runs/pot_pick_and_place").resolve()
    )
    with pytest.raises(RobofumeError, match="seed must be"):
        settings_from_arguments({**defaults, "seed": "-1"})
    with pytest.raises(RobofumeError, match="cannot be read"):
        settings_from_arguments({**defaults, "parameters": "/nowhere.yaml"})


@pytest.mark.skipif(
    find_spec("launch_ros") is None, reason="launch_ros comes with a ROS installation, not from PyPI"
)
def test_launch_file_starts_the_same_graph():
    from importlib.machinery import SourceFileLoader

    path = Path(__file__).parents[1] / "launch" / "bringup.launch.py"
    description = SourceFileLoader("bringup_launch", str(path)).load_module().generate_launch_description()
    assert {argument.name for argument in description.get_launch_arguments()} == {
        a.name for a in LAUNCH_ARGUMENTS
    }


def test_a_demonstrator_has_more_time_than_the_policy():
    limits = {mode: {n.name: n for n in graph(mode)}["switcher"].parameters["step_limit"] for mode in MODES[:3]}
    assert limits["collect"] > limits["practice"] == limits["evaluate"]
