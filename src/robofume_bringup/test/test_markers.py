"""What rviz shows: the numbers, the markers over DDS, and a configuration whose topics exist."""

import math
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from robofume_bringup.graph import GraphSettings, build_graph
from robofume_bringup.marker_config import MarkerConfig, Scoreboard
from robofume_bringup.views import shared_file
from robofume_common.enums import Direction, Outcome, Phase, Verdict
from robofume_common.errors import RobofumeError


def test_success_rates_count_what_was_not_cut_short():
    board = Scoreboard(window=4)
    assert board.rate_text() == "forward -, backward -"
    for outcome in (Outcome.SUCCESS, Outcome.TIMEOUT, Outcome.ABORTED, Outcome.INTERVENTION):
        for _ in range(2):  # it may be said again
            board.episode(outcome.name, Direction.FORWARD, outcome)
    assert board.rate_text() == "forward 50% of 2, backward -"
    for number in range(10):
        board.episode(f"{number}", Direction.FORWARD, Outcome.SUCCESS)
    assert board.rate_text() == "forward 100% of 4, backward -"
    board.episode("last", Direction.BACKWARD, Outcome.UNKNOWN)
    assert board.rate_text() == "forward 100% of 4, backward -, 1 unknown"


def test_old_verdicts_are_not_shown():
    board = Scoreboard(window=4, verdict=Verdict.SUCCESS, probability=0.912, judged=10.0)
    assert board.reward_text(12.0, 5.0) == "reward success 0.91"
    assert board.reward_text(16.0, 5.0) == "reward -"
    board.probability = math.nan
    assert board.reward_text(12.0, 5.0) == "reward success"
    assert board.phase == Phase.IDLE


def test_half_a_box_is_refused():
    with pytest.raises(RobofumeError, match="three numbers each"):
        MarkerConfig(workspace_minimum=(0.1, 0.1, 0.1))


def test_rviz_shows_topics_and_a_frame_that_exist():
    configuration = yaml.safe_load(shared_file("rviz/robofume.rviz").read_text())["Visualization Manager"]
    topics = {
        display[key]["Value"]
        for display in configuration["Displays"]
        for key in ("Topic", "Description Topic")
        if key in display
    }
    assert topics == {"robot_description", "markers", "observation/image", "camera/image_raw"}
    nodes = {n.name: n for n in build_graph(GraphSettings("pot_lid", "collect", use_rviz=True, namespace="/left/"))}
    assert configuration["Global Options"]["Fixed Frame"] == "base_link"
    assert nodes["markers"].parameters["frame"] == "left/base_link"
    assert nodes["rviz"].arguments[-1] == "left/base_link"
    assert nodes["robot_state_publisher"].parameters["frame_prefix"] == "left/"


def test_markers_over_dds(bench):
    from sensor_msgs.msg import JointState
    from visualization_msgs.msg import Marker, MarkerArray

    from robofume_common import qos
    from robofume_interfaces.msg import Reward, Task

    node, executor = bench
    shown: list[dict[str, Marker]] = []
    node.create_subscription(
        MarkerArray, "markers", lambda message: shown.append({m.ns: m for m in message.markers}), qos.STATE
    )
    tasks = node.create_publisher(Task, "task", qos.LATCHED)
    rewards = node.create_publisher(Reward, "reward", qos.REWARD)
    states = node.create_publisher(JointState, "observation/proprioception", qos.STATE)
    tasks.publish(Task(phase=1, instruction="put the pot into the tray"))
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "robofume_bringup.nodes.markers", "--ros-args"),
            *("-p", "workspace_minimum:=[0.1, -0.1, 0.0]", "-p", "workspace_maximum:=[0.3, 0.1, 0.2]"),
        ]
    )
    try:
        end = time.monotonic() + 60.0
        while time.monotonic() < end:
            rewards.publish(Reward(verdict=1, probability=0.75))
            states.publish(JointState(position=[0.2, 0.01 * len(shown), 0.1, 0.0, 0.0, 0.0, 1.0]))
            executor.spin_once(timeout_sec=0.1)
            # Everything: topics do not wait for one another.
            texts = "".join(marker.text for marker in shown[-1].values()) if shown else ""
            if "0.75" in texts and "pot" in texts and len(shown[-1]["trail"].points) > 3:
                break
        assert set(shown[-1]) == {"workspace", "trail", "instruction", "reward", "success_rate"}
        assert shown[-1]["instruction"].text == "forward: put the pot into the tray"
        assert shown[-1]["reward"].text == "reward success 0.75"
        assert len(shown[-1]["workspace"].points) == 24
        corners = {(point.x, point.y, point.z) for point in shown[-1]["workspace"].points}
        assert len(corners) == 8 and (0.3, -0.1, 0.2) in corners
        assert Path(shown[-1]["trail"].header.frame_id).name == "base_link"
    finally:
        process.terminate()
        code = process.wait(60)
    assert code == 0
