"""Task descriptions load from YAML and refuse what does not fit."""

import pytest
from robofume_common.enums import Direction
from robofume_common.errors import RobofumeError
from robofume_common.parameters import from_dict, to_dict
from robofume_common.task import TaskDescription

GOOD = """
name: pot
forward_instruction: put the pot into the tray
backward_instruction: take the pot out of the tray
workspace_minimum: [0.2, -0.2, 0]
workspace_maximum: [0.4, 0.2, 0.3]
"""


def test_load(tmp_path):
    path = tmp_path / "pot.yaml"
    path.write_text(GOOD)
    task = TaskDescription.load(path)
    assert task.workspace_minimum == (0.2, -0.2, 0.0)
    assert task.instruction(Direction.BACKWARD) == "take the pot out of the tray"
    assert task.action_space.dimension == 4
    assert from_dict(TaskDescription, to_dict(task)) == task


def test_demonstrations_may_take_longer():
    words = {"name": "pot", "forward_instruction": "in", "backward_instruction": "out", "step_limit": 25}
    task = from_dict(TaskDescription, words)
    assert (task.steps_allowed(demonstrating=True), task.steps_allowed(demonstrating=False)) == (25, 25)
    task = from_dict(TaskDescription, {**words, "demonstration_step_limit": 40})
    assert (task.steps_allowed(demonstrating=True), task.steps_allowed(demonstrating=False)) == (40, 25)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("name: ''", "needs a name"),
        ("workspace_maximum: [0.4, -0.3, 0.3]", "below workspace_maximum"),
        ("workspace_minimum: [0.2, 0.1]", "three numbers"),
        ("workspace_minimum: [.nan, 0, 0]", "below workspace_maximum"),
        ("home_joint_positions: [1, 2]", "six angles"),
        ("step_limit: many", "of type int"),
        ("step_limit: 0", "at least 1"),
        ("speed: 3", "no setting speed"),
        ("action_mask: [true, 1, true, true, true, true, true]", "of type bool"),
    ],
)
def test_wrong_tasks_are_refused_with_a_sentence(tmp_path, change, sentence):
    path = tmp_path / "pot.yaml"
    key = change.split(":")[0]
    kept = [line for line in GOOD.splitlines() if not line.startswith(f"{key}:")]
    path.write_text("\n".join([*kept, change]))
    with pytest.raises(RobofumeError, match=sentence):
        TaskDescription.load(path)


def test_missing_and_broken_files(tmp_path):
    with pytest.raises(RobofumeError, match="Cannot read the task file"):
        TaskDescription.load(tmp_path / "none.yaml")
    broken = tmp_path / "broken.yaml"
    broken.write_text("{")
    with pytest.raises(RobofumeError, match="not valid YAML"):
        TaskDescription.load(broken)
    broken.write_bytes(b"name: \xff\xfe")
    with pytest.raises(RobofumeError, match="not valid YAML"):
        TaskDescription.load(broken)
    broken.write_text("- a list")
    with pytest.raises(RobofumeError, match="mapping"):
        TaskDescription.load(broken)


def scene(**changes):
    values = {
        "name": "a", "forward_instruction": "do a", "backward_instruction": "undo a", "further_tasks": ("b",),
        "further_forward": ("do b",), "further_backward": ("undo b",), "further_after": ("a",), **changes,
    }  # fmt: skip
    return TaskDescription(**values)


def test_several_pairs_in_one_scene():
    task = scene()
    assert [(pair.name, pair.after) for pair in task.pairs] == [("a", ""), ("b", "a")]
    assert task.pair("b").instruction(Direction.BACKWARD) == "undo b"
    assert task.pair().instruction(Direction.FORWARD) == task.instruction(Direction.FORWARD) == "do a"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"further_after": ()}, "as many entries"),
        ({"further_after": ("c",)}, "b starts after c, which is not"),
        ({"further_after": ("b",)}, "b starts after b, which is not"),
        ({"further_tasks": ("a",)}, "two tasks a"),
        ({"further_forward": ("",)}, "needs a name"),
        ({"further_backward": ("do a",)}, "the same sentence"),
    ],
)
def test_a_chain_in_which_something_is_wrong_is_refused(changes, sentence):
    with pytest.raises(RobofumeError, match=sentence):
        scene(**changes)


def test_a_nudge_is_a_list_of_small_steps(tmp_path):
    path = tmp_path / "pot.yaml"
    path.write_text(GOOD + "\nnudge: [[0.02, 0, -0.02, 1], [0, 0.01, 0, 0]]\n")
    actions = TaskDescription.load(path).nudge_actions
    assert actions == (0.02, 0, -0.02, 0, 0, 0, 1, 0, 0.01, 0, 0, 0, 0, 0)
    for nudge, sentence in (
        ("[[0.02, 0, 0]]", "dx, dy, dz and opening"),
        ("[[0.9, 0, 0, 1]]", "at most"),
        ("[[0.0, 0, 0, 2]]", "opening of 0 to 1"),
        ("[[.nan, 0, 0, 1]]", "must be a number|at most"),
        (str([[0.0, 0.0, 0.0, 1.0]] * 61), "at most 60 steps"),
        ("[0.02, 0, 0, 1]", "must be a list"),
    ):
        path.write_text(f"{GOOD}\nnudge: {nudge}\n")
        with pytest.raises(RobofumeError, match=sentence):
            TaskDescription.load(path)


def test_the_zones_of_a_relocation_lie_within_the_workspace():
    box = {"workspace_minimum": (0.1, -0.2, 0.0), "workspace_maximum": (0.4, 0.2, 0.3)}
    assert scene(**box, relocate_forward=(0.1, -0.2, 0.4, 0.2)).relocate_backward == ()
    for zone, sentence in (
        ((0.2, 0.0, 0.3), "relocate_backward is least x, least y"),
        ((0.3, 0.0, 0.2, 0.1), "relocate_backward is least x, least y"),
        ((0.09, 0.0, 0.2, 0.1), "relocate_backward must lie within"),
        ((0.2, -0.21, 0.3, 0.1), "relocate_backward must lie within"),
        ((0.2, 0.0, 0.41, 0.1), "relocate_backward must lie within"),
        ((0.2, 0.0, 0.3, 0.21), "relocate_backward must lie within"),
    ):
        with pytest.raises(RobofumeError, match=sentence):
            scene(**box, relocate_backward=zone)
    whole = scene(workspace_minimum=(0, -1, 0), workspace_maximum=(1, 1, 1), relocate_forward=(0, 0, 1, 1))
    assert whole.relocate_forward == (0, 0, 1, 1), "whole numbers do too"
    with pytest.raises(RobofumeError, match="must lie within the workspace box"):
        scene(relocate_forward=(0.2, 0.0, 0.3, 0.1))
