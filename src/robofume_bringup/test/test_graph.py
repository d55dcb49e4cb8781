"""The graph: for every mode, nodes that exist, with parameters that they have."""

from importlib import import_module
from pathlib import Path

import pytest
from robofume_bringup.graph import MODES, GraphSettings, build_graph, camera_node
from robofume_bringup.node_table import NODES, PARTS
from robofume_bringup.run_directory import RunDirectory
from robofume_bringup.task_files import ROBOTS, task_description, task_names
from robofume_common.errors import RobofumeError

TASK = "pot_pick_and_place"


OURS = sorted(name for name, node in NODES.items() if node.module)


def graph(mode, **settings):
    return build_graph(GraphSettings(TASK, mode, run_directory=Path("/run"), **{"bag": "/old.mcap", **settings}))


@pytest.mark.parametrize("name", OURS)
def test_every_node_can_be_started(name):
    node = NODES[name]
    assert callable(import_module(node.module).main)
    scripts = import_module("importlib.metadata").entry_points(group="console_scripts")
    assert any(script.value == f"{node.module}:main" and script.name == node.executable for script in scripts)


@pytest.mark.parametrize("name", OURS)
def test_settings_class_is_what_the_node_declares(name):
    module, _, class_name = NODES[name].config.partition(":")
    config_class = getattr(import_module(module), class_name)
    node_module = import_module(NODES[name].module)
    assert getattr(node_module, class_name) is config_class
    assert f"declare(self, {class_name})" in Path(node_module.__file__).read_text()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("robot", ROBOTS)
def test_parameters_fit_the_nodes(mode, robot):
    for lockstep in (True, False):
        for node in graph(mode, robot=robot, lockstep=lockstep, use_rviz=True, extra_cameras=("wrist",)):
            node.settings()
            assert node.part in PARTS


COMMON = {"camera", "arm", "policy", "reward", "switcher", "recorder"}


@pytest.mark.parametrize(
    ("robot", "own", "demonstrator"),
    [
        ("mujoco", {"sim"}, {"demonstrator"}),
        ("gazebo", {"gazebo_scene", "gazebo_arm"}, {"demonstrator"}),
        ("widowx", {"interbotix"}, set()),
    ],
)
def test_nodes_of_each_mode(robot, own, demonstrator):
    names = {mode: {node.name for node in graph(mode, robot=robot)} for mode in MODES}
    nodes = COMMON | own
    assert names == {
        "collect": nodes | demonstrator,
        "practice": nodes | {"learner"},
        "evaluate": nodes,
        "replay": {"camera", "replay", "recorder"},
    }


@pytest.mark.parametrize("robot", ["mujoco", "gazebo"])
def test_a_person_demonstrates_instead_of_the_script_and_in_real_time(robot):
    nodes = {node.name: node for node in graph("collect", robot=robot, demonstrator="person")}
    assert "demonstrator" not in nodes and nodes["policy"].parameters["source"] == "override"
    assert not any(node.parameters.get("lockstep") for node in nodes.values())
    assert nodes["reward"].parameters["judge"] == "ground_truth"
    assert graph("practice", demonstrator="person") == graph("practice")
    with pytest.raises(RobofumeError, match="scripted, person"):
        graph("collect", demonstrator="nobody")


def test_only_the_embedded_simulation_waits():
    for robot in ROBOTS:
        for mode in ("collect", "practice", "evaluate"):
            nodes = {node.name: node for node in graph(mode, robot=robot)}
            for name in ("camera", "arm", "policy", "switcher"):
                assert nodes[name].parameters["lockstep"] is (robot == "mujoco")


def test_a_real_arm_moves_inside_its_task_file_and_slower():
    nodes = {node.name: node for node in graph("collect", robot="widowx")}
    task, arm = task_description("widowx", TASK), nodes["arm"].parameters
    assert arm["workspace_minimum"] == task.workspace_minimum and arm["translation_limit"] == task.translation_limit
    assert arm["velocity_scale"] <= 0.5 and arm["home_velocity_scale"] <= 0.2
    assert arm["velocity_scale"] < nodes["interbotix"].parameters["velocity_scale"] <= 1.4 * arm["velocity_scale"]
    slow = graph("collect", robot="widowx", overrides={"arm": {"velocity_scale": 0.1}})
    driver = next(node for node in slow if node.name == "interbotix")
    assert 0.1 < driver.parameters["velocity_scale"] < 0.15, "whoever makes the arm slow makes its driver slow"
    assert nodes["arm"].remappings == {}, "the interbotix node relays the driver's joint states"
    assert nodes["interbotix"].restarts == 0 and nodes["interbotix"].parameters["robot_name"] == "wx250s"


def test_only_demonstrations_begin_half_done():
    half_done = {mode: {node.name: node for node in graph(mode)}["sim"].parameters["half_done"] for mode in MODES[:3]}
    assert half_done == {"collect": True, "practice": False, "evaluate": False}


def test_one_setting_sets_the_control_rate_of_the_arm_too():
    def period(robot, overrides):
        nodes = {node.name: node for node in graph("practice", robot=robot, lockstep=False, overrides=overrides)}
        return nodes["arm"].settings().control_period

    assert {period(robot, {}) for robot in ROBOTS} == {0.2}
    assert period("mujoco", {"sim": {"control_period": 0.1}}) == 0.1
    assert period("widowx", {"camera": {"rate": 10.0}}) == period("gazebo", {"camera": {"rate": 10.0}}) == 0.1
    assert period("mujoco", {"sim": {"control_period": 0.1}, "arm": {"control_period": 0.3}}) == 0.3


@pytest.mark.parametrize("robot", ROBOTS)
def test_packaged_tasks_can_be_read_and_home_is_safe(robot):
    from robofume_robot.arm_config import ArmConfig

    for name in task_names(robot):
        task = task_description(robot, name)
        assert task.name == name
        limits = ArmConfig(
            workspace_minimum=task.workspace_minimum,
            workspace_maximum=task.workspace_maximum,
            home_joint_positions=task.home_joint_positions,
        ).limits()
        assert limits is not None


def test_a_task_file_of_ones_own(tmp_path):
    file = tmp_path / "socks.yaml"
    file.write_text(
        "name: socks\nforward_instruction: put the sock into the drawer\nbackward_instruction: take it out\n"
        "workspace_minimum: [0.2, -0.1, 0.05]\nworkspace_maximum: [0.3, 0.1, 0.2]\ncrop: [80, 0, 480, 480]\n"
    )
    nodes = build_graph(GraphSettings(str(file), "collect", robot="widowx", run_directory=Path("/run")))
    values = {node.name: node.parameter_values() for node in nodes}
    assert values["camera"]["crop"] == [80, 0, 480, 480] and values["camera"]["rate"] == 5.0
    assert values["switcher"]["forward_instruction"] == "put the sock into the drawer"
    with pytest.raises(RobofumeError, match="Cannot read the task file"):
        build_graph(GraphSettings("nowhere.yaml", "collect", robot="widowx"))


def test_further_cameras_have_topics_of_their_own():
    nodes = {n.name: n for n in graph("collect", extra_cameras=("wrist",), image_topic="/usb_cam/image_raw")}
    assert nodes["camera"].remappings["camera/image_raw"] == "/usb_cam/image_raw"
    assert nodes["camera_wrist"].remappings["observation/image"] == "observation/wrist/image"
    assert nodes["camera_wrist"].executable == "camera"
    with pytest.raises(RobofumeError, match="letters, digits"):
        graph("collect", extra_cameras=("/wrist",))


def test_the_cameras_that_the_policy_sees_are_given_to_all_who_need_them():
    settings = {"further_cameras": ("side", "wrist"), "extra_cameras": ("door", "side")}
    nodes = {node.name: node for node in graph("practice", **settings)}
    further = {camera_node(name) for name in ("side", "wrist", "door")}
    assert {name for name in nodes if name.startswith("camera")} == {"camera", *further}
    for name in ("sim", "policy", "learner", "recorder"):
        assert nodes[name].settings().further_cameras == ("side", "wrist"), name
    assert nodes["camera_side"].remappings["camera/image_raw"] == "side/image_raw"
    assert nodes["policy"].settings().view_listeners == 2, "the learner and the recorder"
    assert "sim" not in {node.name for node in graph("practice", robot="widowx", **settings)}
    with pytest.raises(RobofumeError, match="through one camera"):
        graph("replay", **settings)


def test_replay_cannot_move_anything_and_records_demonstrations():
    nodes = {node.name: node for node in graph("replay", robot="widowx")}
    assert nodes["recorder"].parameters["directory"] == RunDirectory(Path("/run")).bags("demos")
    assert nodes["replay"].parameters["session"] == "old"
    assert nodes["replay"].remappings == {"joint_states": "/wx250s/joint_states"}
    with pytest.raises(RobofumeError, match="needs a bag"):
        graph("replay", bag="")


def test_a_person_calls_the_successes_only_where_nothing_else_judges():
    def uncalled(mode, robot):
        switcher = {n.name: n for n in graph(mode, robot=robot)}["switcher"]
        return switcher.parameters.get("uncalled_is_failure", False)

    assert uncalled("collect", "widowx") and not uncalled("practice", "widowx")
    assert not uncalled("collect", "mujoco") and not uncalled("evaluate", "mujoco")


def test_what_was_put_down_is_put_elsewhere_in_practice_alone_where_the_task_has_zones():
    def zones(task, mode):
        nodes = build_graph(GraphSettings(task, mode, run_directory=Path("/run")))
        given = {node.name: node for node in nodes}["switcher"].parameters
        return given["relocate_forward"], given["relocate_backward"], given["relocate_step"]

    description = task_description("mujoco", "pot_pick_and_place")
    forward, backward, step = zones("pot_pick_and_place", "practice")
    assert (forward, backward) == (description.relocate_forward, description.relocate_backward)
    assert len(forward) == len(backward) == 4 and forward[1] > 0.0 > backward[3], "on either side of the divider"
    assert step == description.translation_limit
    assert zones("pot_pick_and_place", "collect")[:2] == zones("pot_pick_and_place", "evaluate")[:2] == ((), ())
    assert zones("pot_plates", "practice")[:2] == ((), ())


def test_the_scene_is_nudged_in_practice_alone_where_the_task_has_a_nudge():
    def nudge(task, mode):
        nodes = build_graph(GraphSettings(task, mode, run_directory=Path("/run")))
        return {node.name: node for node in nodes}["switcher"].parameters["nudge"]

    assert nudge("pot_lid", "practice") == task_description("mujoco", "pot_lid").nudge_actions != ()
    assert nudge("pot_lid", "collect") == nudge("pot_lid", "evaluate") == nudge("cloth_folding", "practice") == ()


def test_objects_are_put_down_anew_only_between_demonstrations():
    def every(task, mode):
        nodes = build_graph(GraphSettings(task, mode, run_directory=Path("/run")))
        return {node.name: node for node in nodes}["switcher"].parameters["reset_every"]

    wanted = task_description("mujoco", "candy_sweeping").demonstrations_per_scene
    assert every("candy_sweeping", "collect") == wanted > 0
    assert every("candy_sweeping", "practice") == every("candy_sweeping", "evaluate") == 0
    assert every("pot_lid", "collect") == 0


def test_only_collection_and_evaluation_judge_by_ground_truth():
    judges = {
        mode: {n.name: n for n in graph(mode)}["reward"].parameters["judge"]
        for mode in ("collect", "practice", "evaluate")
    }
    assert judges == {"collect": "ground_truth", "practice": "vlm", "evaluate": "ground_truth"}


def test_recorder_stops_last_and_switcher_first():
    nodes = sorted(graph("practice"), key=lambda node: node.stop_order)
    assert nodes[0].name == "switcher" and nodes[-1].name == "recorder"
    order = {node.name: node.stop_order for node in nodes}
    assert order["policy"] < order["arm"] < order["learner"] < order["recorder"]


def test_nodes_live_by_the_clock_of_a_simulation_that_does_not_wait():
    def simulated(mode, **settings):
        return {node.use_sim_time for node in graph(mode, **settings)}

    assert simulated(mode="practice") == {False}, "in lockstep nobody asks for the time"
    assert simulated(mode="practice", lockstep=False) == {True}, "its stamps begin at zero: all would seem old"
    assert simulated(mode="collect", demonstrator="person") == {True}
    assert simulated(mode="practice", robot="gazebo") == {True}
    assert simulated(mode="practice", robot="widowx") == {False}


def test_nodes_are_batch_work_only_where_the_world_waits_and_nobody_learns():
    def batch(mode, **settings):
        return {node.batch for node in graph(mode, **settings)}

    assert batch(mode="evaluate") == {True}
    assert batch(mode="practice") == {False}
    assert batch(mode="evaluate", robot="widowx") == {False}


def test_nodes_keep_to_a_processor_only_where_the_world_waits_and_nobody_learns():
    def lanes(mode, **settings):
        return {node.name: node.lane for node in graph(mode, **settings) if node.lane is not None}

    assert lanes(mode="evaluate") == {"sim": 0, "reward": 0, "switcher": 0, "camera": 1, "policy": 1, "arm": 1}
    assert lanes(mode="practice") == {}, "the learner takes what is left, wherever that is"
    assert lanes(mode="evaluate", robot="widowx") == {}


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
        wrong.settings()


def test_who_is_set_to_judge_judges_practice_and_where_no_simulation_tells_the_truth():
    def reward(mode, robot, judge):
        overrides = {"reward": {"judge": judge, "timeout": 9.0}}
        return {n.name: n for n in graph(mode, robot=robot, overrides=overrides)}["reward"].parameters

    for judge in ("vlm", "ground_truth"):
        for robot in ROBOTS:
            assert reward("practice", robot, judge)["judge"] == judge
        for mode in ("collect", "evaluate"):
            assert reward(mode, "mujoco", judge)["judge"] == reward(mode, "gazebo", judge)["judge"] == "ground_truth"
        assert reward("evaluate", "mujoco", judge)["timeout"] == 9.0
    on_the_arm = reward("evaluate", "widowx", "vlm")
    assert (on_the_arm["judge"], on_the_arm["model"]) == ("vlm", RunDirectory(Path("/run")).reward)


def test_restarts_are_for_nodes_whose_restart_continues_the_run():
    restarts = {node.name: node.restarts for node in graph("practice", restarts=2)}
    assert {name for name, count in restarts.items() if count == 0} == {"sim", "switcher"}
    assert set(restarts.values()) == {0, 2}


@pytest.mark.parametrize("wrong", [{"robot": "walker"}, {"task": "juggling"}, {"mode": "dance"}])
def test_unknown_names_are_answered_with_the_known_ones(wrong):
    with pytest.raises(RobofumeError, match=r"choose one of: .*[a-z]"):
        build_graph(GraphSettings(**{"task": TASK, "mode": "collect", **wrong}))


def test_a_demonstrator_has_more_time_than_the_policy():
    limits = {mode: {n.name: n for n in graph(mode)}["switcher"].parameters["step_limit"] for mode in MODES[:3]}
    assert limits["collect"] > limits["practice"] == limits["evaluate"]
