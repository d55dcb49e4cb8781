"""The launch files: arguments that read well, and the very nodes of the graph."""

import ast
from importlib.machinery import SourceFileLoader
from importlib.util import find_spec
from pathlib import Path

import pytest
from robofume_bringup.graph import MODES, GraphSettings, build_graph
from robofume_bringup.launch_arguments import LAUNCH_ARGUMENTS, join_run, settings_from_arguments
from robofume_bringup.node_table import PARTS
from robofume_bringup.run_config import open_run, parse_settings
from robofume_bringup.run_directory import RunDirectory
from robofume_bringup.task_files import ROBOTS
from robofume_common.enums import Direction
from robofume_common.errors import RobofumeError
from robofume_reset.state import SwitcherState, save_state
from robofume_reset.switching import Alternation, SwitchingConfig

FOLDER = Path(__file__).parents[1] / "launch"
DEFAULTS = {argument.name: argument.default for argument in LAUNCH_ARGUMENTS}
needs_launch = pytest.mark.skipif(
    find_spec("launch_ros") is None, reason="launch_ros comes with a ROS installation, not from PyPI"
)


def test_arguments_all_have_default_and_description():
    assert all(argument.description for argument in LAUNCH_ARGUMENTS)
    assert all(argument.default in argument.choices for argument in LAUNCH_ARGUMENTS if argument.choices)
    settings = settings_from_arguments(DEFAULTS)
    assert settings == GraphSettings(
        "pot_pick_and_place", "practice", run_directory=Path("runs/pot_pick_and_place").resolve(), restarts=2
    )


def test_arguments_that_do_not_fit_are_one_sentence(tmp_path):
    with pytest.raises(RobofumeError, match="seed must be"):
        settings_from_arguments({**DEFAULTS, "seed": "-1"})
    with pytest.raises(RobofumeError, match="cannot be read"):
        settings_from_arguments({**DEFAULTS, "parameters": "/nowhere.yaml"})
    file = tmp_path / "parameters.yaml"
    for text in ("- learner", "learner: 3", "just words"):
        file.write_text(text)
        with pytest.raises(RobofumeError, match="holds values by node and parameter"):
            settings_from_arguments({**DEFAULTS, "parameters": str(file)})


def test_two_robots_keep_their_runs_apart():
    runs = {
        settings_from_arguments({**DEFAULTS, "namespace": name}).run_directory.name for name in ("", "left", "/right/")
    }
    assert runs == {"pot_pick_and_place", "left", "right"}


def test_a_launch_makes_a_run_that_the_commands_know(tmp_path):
    arguments = {**DEFAULTS, "run_directory": str(tmp_path / "lid"), "task": "pot_lid", "image_size": "96"}
    settings = settings_from_arguments(arguments)
    assert join_run(settings) == settings
    stored = RunDirectory(tmp_path / "lid").read_config()
    assert (stored["task"], stored["robot"], stored["image_size"]) == ("pot_lid", "mujoco", 96)
    again = join_run(settings_from_arguments({**arguments, "image_size": "64"}))
    assert again.image_size == 96, "the run's own size stands where none is asked for"
    for name, value in (("task", "pot_pick_and_place"), ("robot", "gazebo"), ("image_size", "128")):
        with pytest.raises(RobofumeError, match=f"was started with {name}"):
            join_run(settings_from_arguments({**arguments, name: value}))


def test_a_launch_goes_on_with_the_settings_of_its_run(tmp_path):
    path = tmp_path / "cloth"
    asked = parse_settings(["learner.batch_size=8", "policy.temperature=0.5"])
    open_run(RunDirectory(path), {"task": "cloth_folding", "settings": asked, "prior": [str(tmp_path / "other.mcap")]})
    file = tmp_path / "parameters.yaml"
    file.write_text("learner: {batch_size: 16}")
    arguments = {"run_directory": str(path), "task": "cloth_folding", "parameters": str(file)}
    joined = join_run(settings_from_arguments({**DEFAULTS, **arguments}))
    assert joined.overrides == {
        "learner": {"batch_size": 16},
        "policy": {"exploration_std": 0.02, "temperature": 0.5},
    }, "reward_training is no node, and the parameter file comes first"
    assert joined.prior == (str(tmp_path / "other.mcap"),)


def test_a_launch_goes_on_where_the_switcher_stopped_and_with_the_memories_of_its_run(tmp_path):
    """A simulation that starts anew would stand where forward begins, and the switcher go on with backward."""
    directory = RunDirectory(tmp_path / "lid")
    asked = parse_settings(["replay.prior_share=1", "replay.offline_fraction=0.25", "learner.offline_fraction=0.75"])
    open_run(directory, {"task": "pot_lid", "settings": asked})
    stopped = Alternation(SwitchingConfig())
    stopped.graph.direction = Direction.BACKWARD
    save_state(directory.switcher_state("practice"), SwitcherState(stopped))
    arguments = {**DEFAULTS, "run_directory": str(directory.path), "task": "pot_lid"}
    for mode, start in (("practice", 2), ("collect", 1)):
        joined = join_run(settings_from_arguments({**arguments, "mode": mode}))
        nodes = {node.name: node for node in build_graph(joined)}
        assert nodes["sim"].parameters["start_direction"] == start
        if mode == "practice":
            learner = nodes["learner"].settings()
            assert (learner.prior_share, learner.offline_fraction) == (1.0, 0.75)


@pytest.mark.parametrize("wrong", [{"policy_cameras": "moon"}, {"policy_cameras": "a-b"}, {"image_size": "1000"}])
def test_a_launch_begins_no_run_with_what_cannot_be(tmp_path, wrong):
    with pytest.raises(RobofumeError, match=r"moon|a-b|256"):
        join_run(settings_from_arguments({**DEFAULTS, "run_directory": str(tmp_path / "lid"), **wrong}))
    assert not (tmp_path / "lid").exists()


def test_a_launch_goes_on_in_the_time_of_its_run(tmp_path):
    arguments = {**DEFAULTS, "run_directory": str(tmp_path / "lid"), "task": "pot_lid"}
    assert join_run(settings_from_arguments({**arguments, "lockstep": "false"})).lockstep is False
    assert RunDirectory(tmp_path / "lid").read_config()["lockstep"] is False
    joined = join_run(settings_from_arguments(arguments))
    assert joined.lockstep is False and not joined.waits, "the run's own stands where nothing else is asked for"


def test_each_part_has_a_launch_file():
    assert {path.name.removesuffix(".launch.py") for path in FOLDER.glob("*")} == {"bringup", *PARTS}
    for path in FOLDER.glob("*"):
        assert ast.get_docstring(ast.parse(path.read_text())), path.name


@pytest.fixture
def installed(monkeypatch):
    """As if rviz and robot_state_publisher were installed."""
    monkeypatch.setattr("robofume_bringup.launch_parts.get_package_prefix", lambda package: f"/opt/{package}")


def launched(name: str, **arguments: str):
    """The launch actions of a file, with its arguments given, without starting them."""
    from launch import LaunchContext
    from launch.actions import DeclareLaunchArgument, OpaqueFunction

    module = SourceFileLoader(f"{name}_launch", str(FOLDER / f"{name}.launch.py")).load_module()
    context, actions = LaunchContext(), []
    context.launch_configurations.update(arguments)
    for entity in module.generate_launch_description().entities:
        if isinstance(entity, DeclareLaunchArgument):
            entity.execute(context)
        elif isinstance(entity, OpaqueFunction):
            actions += entity.execute(context)
    return context, actions


def nodes_of(context, actions):
    """Node name -> (package, executable, parameters, remappings) as `ros2 launch` would start them."""
    from launch_ros.actions import Node
    from launch_ros.utilities import evaluate_parameters

    found = {}
    for action in actions:
        if type(action) is Node:
            action._perform_substitutions(context)
            name = action.node_name.rpartition("/")[2]
            parameters = {}
            for values in evaluate_parameters(context, action._Node__parameters):
                parameters |= values if isinstance(values, dict) else {}
            remappings = dict(action.expanded_remapping_rules or [])
            found[name] = (action.node_package, action.node_executable, parameters, remappings)
    return found


def plain(value):
    return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value


@needs_launch
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("robot", ROBOTS)
@pytest.mark.usefixtures("installed")
def test_bringup_starts_the_nodes_of_the_graph(robot, mode, tmp_path):
    arguments = {"robot": robot, "mode": mode, "run_directory": str(tmp_path), "bag": "/old.mcap", "use_rviz": "true"}
    settings = settings_from_arguments({**DEFAULTS, **arguments})
    found = nodes_of(*launched("bringup", **arguments))
    graph = {node.name: node for node in build_graph(settings)}
    assert set(found) == set(graph)
    for name, node in graph.items():
        package, executable, parameters, remappings = found[name]
        assert (package, executable) == (node.package, node.executable)
        if name != "robot_state_publisher":  # launch reads the description as YAML text
            assert {key: plain(value) for key, value in parameters.items()} == node.ros_parameters()
        assert remappings == dict(node.remappings)


@needs_launch
@pytest.mark.usefixtures("installed")
def test_the_smaller_files_together_are_the_whole(tmp_path):
    arguments = {"mode": "practice", "run_directory": str(tmp_path), "use_rviz": "true"}
    whole = nodes_of(*launched("bringup", **arguments))
    parts = [nodes_of(*launched(part, **arguments)) for part in PARTS]
    assert sum(map(len, parts)) == len(whole)
    assert {name: node for part in parts for name, node in part.items()} == whole


@needs_launch
def test_a_missing_package_is_named_before_anything_starts(tmp_path, monkeypatch):
    from ament_index_python.packages import PackageNotFoundError

    def find(package):
        if package in ("rviz2", "robot_state_publisher"):
            raise PackageNotFoundError(package)
        return f"/opt/{package}"

    monkeypatch.setattr("robofume_bringup.launch_parts.get_package_prefix", find)
    with pytest.raises(RobofumeError, match=r"ros-\$ROS_DISTRO-robot-state-publisher ros-\$ROS_DISTRO-rviz2"):
        launched("bringup", run_directory=str(tmp_path), use_rviz="true")


@needs_launch
@pytest.mark.usefixtures("installed")
def test_who_is_started_again_and_who_ends_everything(tmp_path):
    from types import SimpleNamespace

    from launch import LaunchContext
    from launch.actions import Shutdown, TimerAction
    from robofume_bringup.launch_parts import launch_actions

    arguments = {**DEFAULTS, "run_directory": str(tmp_path), "restarts": "2", "use_rviz": "true"}
    for node in build_graph(settings_from_arguments(arguments)):

        def kinds(code, left, node=node):
            handler = launch_actions(node, "", left)[1].event_handler
            return {type(action) for action in handler.handle(SimpleNamespace(returncode=code), LaunchContext())}

        assert (TimerAction in kinds(-9, node.restarts)) is (node.restarts > 0), node.name
        assert (Shutdown in kinds(-9, 0)) is node.needed
        assert TimerAction not in kinds(0, 2), "a node that ended when asked is not started again"


def test_a_new_run_keeps_the_cameras_that_its_policy_sees(tmp_path):
    arguments = {**DEFAULTS, "robot": "widowx", "run_directory": str(tmp_path / "run")}
    joined = join_run(settings_from_arguments({**arguments, "policy_cameras": "wrist,side"}))
    assert joined.further_cameras == ("wrist", "side")
    run = RunDirectory(tmp_path / "run").read_config()
    assert run["settings"]["network"]["further_cameras"] == ["wrist", "side"], "where pre-training looks"
    assert join_run(settings_from_arguments(arguments)).further_cameras == ("wrist", "side")
    with pytest.raises(RobofumeError, match="was started with"):
        join_run(settings_from_arguments({**arguments, "policy_cameras": "wrist"}))
