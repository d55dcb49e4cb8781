"""The workspace box from an arm that is guided by hand."""

import numpy as np
import pytest
import yaml
from robofume_common.errors import RobofumeError
from robofume_robot.kinematics import inverse_kinematics, pose_from_vector
from robofume_robot.workspace import WorkspaceRecorder

from robofume_robot import kinematics

READY = np.array([0.0, -0.3, 0.45, 0.0, 1.43, 0.0])
LOW, HIGH = np.array([0.20, -0.12, 0.03]), np.array([0.32, 0.12, 0.16])


def guided(low=LOW, high=HIGH, count=60):
    """An arm that a person leads through the corners of a box."""
    recorder = WorkspaceRecorder()
    rng = np.random.default_rng(0)
    joints = READY
    corners = [np.where(rng.random(3) < 0.5, low, high) for _ in range(count)] + [low, high]
    for corner in corners:
        solution = inverse_kinematics(pose_from_vector((*corner, 0, 0, 0)), joints, any_configuration=True)
        assert solution.converged
        joints = solution.joint_positions
        recorder.add(joints)
    return recorder


def test_the_box_is_what_was_shown_less_the_margin():
    box = guided().box(0.01)
    np.testing.assert_allclose(box.minimum, LOW + 0.01, atol=1e-3)
    np.testing.assert_allclose(box.maximum, HIGH - 0.01, atol=1e-3)


def test_the_file_is_two_settings_of_a_task():
    values = yaml.safe_load(guided().box(0.0).to_yaml())
    assert sorted(values) == ["workspace_maximum", "workspace_minimum"]
    np.testing.assert_allclose(values["workspace_minimum"], LOW, atol=1e-3)


@pytest.mark.parametrize(
    ("recorder", "margin", "word"),
    [
        (WorkspaceRecorder, 0.01, "No joint states"),
        (lambda: guided(LOW, LOW + (0.0005, 0, 0)), 0.01, "hardly moved"),
        (lambda: guided(LOW, HIGH - (0, 0, 0.11)), 0.01, "Along z"),
        (guided, 0.05, "Along x"),
        (guided, -0.01, "margin must be"),
        (guided, float("nan"), "margin must be"),
        (guided, float("inf"), "margin must be"),
    ],
)
def test_nonsense_is_refused_with_a_sentence(recorder, margin, word):
    with pytest.raises(RobofumeError, match=word):
        recorder().box(margin)


def test_a_person_is_shown_the_box_so_far():
    assert "no joint state" in WorkspaceRecorder().shown()
    assert guided().shown() == "x +0.200 .. +0.320 m  y -0.120 .. +0.120 m  z +0.030 .. +0.160 m"


def test_broken_readings_are_left_out():
    recorder = guided()
    before = recorder.box(0.0)
    for bad in ([np.nan] * 6, [0.0] * 3, [np.inf, 0, 0, 0, 0, 0], [9.0, 0, 0, 0, 0, 0]):
        recorder.add(bad)
    assert recorder.ignored == 4 and recorder.box(0.0) == before


@pytest.mark.parametrize("x", [-2.0, 2.0])
def test_another_robot_is_noticed(monkeypatch, x):
    recorder = guided()
    monkeypatch.setattr(kinematics, "forward_kinematics", lambda _q: pose_from_vector((x, 0, 0.1, 0, 0, 0)))
    recorder.add(READY)
    with pytest.raises(RobofumeError, match="WidowX 250s"):
        recorder.box(0.0)
