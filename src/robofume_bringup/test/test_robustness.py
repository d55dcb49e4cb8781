"""What is kept under variations: which are run, in what worlds, and the table."""

import json
import math
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from robofume_bringup.cli import main
from robofume_bringup.interruption import Interruption
from robofume_bringup.report import RunResults, robustness_table, write_page
from robofume_bringup.robustness import by_draw, record_name, robustness, variations_to_run
from robofume_bringup.run_config import RunConfig
from robofume_bringup.run_directory import RunDirectory
from robofume_bringup.stages.context import StageContext
from robofume_bringup.stages.evaluation import describe
from robofume_bringup.stages.robustness import describe_row, evaluate_robustness
from robofume_bringup.statistics import grouped_interval, wilson_interval
from robofume_common.errors import RobofumeError
from robofume_policy.checkpoint import TENSORS, CheckpointStore
from robofume_sim.variations import KINDS


def record(forward: int, backward: int, variation: str = "plain", trials: int = 10):
    values = {"variation": variation, "trials_per_direction": trials}
    for name, won in (("forward", forward), ("backward", backward)):
        values |= {f"{name}_success": [i < won for i in range(trials)], f"{name}_steps": [20] * trials}
    return values


RECORDS = {
    "after": record(8, 8),
    "after_camera": record(6, 2, "camera"),
    "after_gripper_length": record(8, 10, "gripper_length"),
    "before_camera": record(1, 1, "camera"),  # without a plain one there is nothing to keep
    "retrained": record(0, 0),
    "retrained_light": record(1, 0, "light"),
}


def test_kept_is_the_share_of_the_plain_success():
    rows = {(row["evaluation"], row["variation"]): row for row in robustness(RECORDS)}
    assert set(rows) == {("after", "camera"), ("after", "gripper_length"), ("retrained", "light")}
    camera = rows["after", "camera"]
    assert (camera["successes"], camera["trials"], camera["share"]) == (8, 20, 0.4)
    assert camera["kept"] == pytest.approx(0.5) and camera["low"] < 0.4 < camera["high"]
    assert rows["after", "gripper_length"]["kept"] == pytest.approx(1.125)
    assert rows["retrained", "light"]["kept"] is None


def test_the_report_has_the_table(tmp_path):
    directory = RunDirectory(tmp_path / "run")
    results = RunResults("run", RunConfig().to_dict(), {"forward": "a", "backward": "b"}, evaluations=RECORDS)
    assert robustness_table(results)[0]["policy"] == "after practice"
    write_page(results, directory, {})
    page = directory.report.read_text()
    for text in ("<h2>Robustness</h2>", "gripper length", "40% (8/20)", "<td>50%</td>"):
        assert text in page


def test_of_what_is_swept_by_half_the_half_is_told(tmp_path):
    """No trial succeeds whole under the variation, and yet most of the plain scene's share is reached."""

    def swept(share, variation="plain"):
        won = 10 if share == 1.0 else 0
        return {**record(won, won, variation), "forward_score": [share] * 10, "backward_score": [share] * 10}

    records = {"after": swept(1.0), "after_light": swept(0.75, "light"), "after_camera": record(5, 5, "camera"),
               "before": record(5, 5), "before_light": swept(0.75, "light")}  # fmt: skip
    rows = {(row["evaluation"], row["variation"]): row for row in robustness(records)}
    light = rows["after", "light"]
    assert (light["share"], light["kept"], light["score"], light["score_kept"]) == (0.0, 0.0, 0.75, 0.75)
    assert describe_row(light) == (
        "light: 0% success, 0% of the plain scene's; 75% of the goal reached on average, 75% of the plain scene's."
    )
    assert rows["after", "camera"]["score"] is None and rows["after", "camera"]["score_kept"] is None
    assert rows["before", "light"]["score"] == 0.75 and rows["before", "light"]["score_kept"] is None
    results = RunResults("run", RunConfig().to_dict(), {"forward": "a", "backward": "b"}, evaluations=records)
    directory = RunDirectory(tmp_path / "run")
    write_page(results, directory, {})
    page = directory.report.read_text()
    assert "<td>0%</td><td>75%</td><td>75%</td></tr>" in page and "<td>50%</td><td>–</td><td>–</td></tr>" in page


def test_all_is_every_kind_and_each_comes_once():
    assert variations_to_run("mujoco", ["light", "all"]) == KINDS
    assert variations_to_run("mujoco", ["light", "camera", "light"]) == ("light", "camera")


@pytest.mark.parametrize(
    ("robot", "kind", "says"),
    [
        ("widowx", "light", "the embedded simulation; the run is on the robot widowx"),
        ("mujoco", "weather", "no variation weather; choose from: background"),
    ],
)
def test_what_cannot_vary_is_said(robot, kind, says):
    with pytest.raises(RobofumeError, match=says):
        variations_to_run(robot, [kind])


@dataclass(frozen=True)
class Staged(StageContext):
    """Everything but the graph itself: the settings that it is started with are built and checked."""

    worlds: list[dict[str, Any]] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    """The seeds of the trials' places."""
    said: list[str] = field(default_factory=list)

    def say(self, sentence):
        self.said.append(sentence)

    @contextmanager
    def robot(self, mode, overrides=None, **settings):
        (sim,) = (node for node in self._nodes(mode, overrides, settings) if node.name == "sim")
        sim.settings()
        self.worlds.append(sim.parameters)
        yield SimpleNamespace(evaluate=self.evaluate)

    def evaluate(self, _feedback, trials, seed):
        """All succeed in the plain world, one each way in others."""
        self.starts.append(seed)
        won = trials if len(self.worlds) == 1 else 1
        outcome = [i < won for i in range(trials)]
        return SimpleNamespace(
            duration=1.0, forward_success=outcome, backward_success=outcome,
            forward_steps=[9] * trials, backward_steps=[9] * trials,
            forward_score=[1.0, 0.5, 1.0, 0.5][:trials], backward_score=[1.0, 0.5, 0.5, math.nan][:trials],
        )  # fmt: skip

    def train(self, number: int, weight: float) -> None:
        """Another checkpoint of the pre-trained policy."""
        CheckpointStore(self.directory.pretrained).save(number, {"weight": torch.tensor([weight])}, {})

    def kinds(self) -> list:
        """Of each world that was started; () for the plain one."""
        return [tuple(world["variations"]) if world.get("variation") else () for world in self.worlds]


@pytest.fixture
def staged(tmp_path):
    """Make the context of a run with a policy and these settings of the simulation."""

    def make(**sim) -> Staged:
        directory = RunDirectory(tmp_path / "run")
        directory.prepare()
        directory.evaluations.mkdir(exist_ok=True)
        context = Staged(directory, RunConfig(task="pot_lid", trials=4, settings={"sim": sim}), Interruption())
        context.train(1, 0.5)
        return context

    return make


def test_each_variation_has_its_world_and_what_is_there_is_not_run_again(staged):
    context = staged()
    evaluations = context.directory.evaluations
    evaluate_robustness(context, "pretrained", "before", ["camera", "texture"])
    assert context.kinds() == [(), ("camera",), ("texture",)]
    assert context.said[-1] == "texture: 25% success, 25% of the plain scene's."
    stored = json.loads((evaluations / f"{record_name('before', 'camera')}.json").read_text())
    assert stored["variation"] == "camera" and sum(stored["forward_success"]) == 1
    assert stored["forward_score"] == [1.0, 0.5] * 2 and stored["backward_score"] == [1.0, 0.5, 0.5, None]
    assert describe(stored).startswith(
        "forward 1 of 4 (25%, 95% interval 5% to 70%; 75% of the goal reached on average; 1.8 s of robot time to a "
        "success), backward 1 of 4 (25%, 95% interval 5% to 70%; 1.8 s"
    ), "nine steps of 0.2 s"
    evaluate_robustness(context, "pretrained", "before", ["camera"])
    assert len(context.worlds) == 3


def test_the_trials_are_spread_over_draws_of_a_variation(staged, tmp_path):
    context = staged()
    evaluate_robustness(context, "pretrained", "before", ["camera"], draws=3)
    assert [world.get("variation_seed") for world in context.worlds] == [0, 0, 1, 2]
    assert context.kinds() == [(), *[("camera",)] * 3]
    assert len(set(context.starts[1:])) == 3, "each draw has places of its own"
    assert not (context.directory.evaluations / "before_camera.json").exists(), "one draw is another question"
    stored = json.loads((context.directory.evaluations / "before_camera_3_draws.json").read_text())
    assert stored["variation_seeds"] == [0, 1, 2] and stored["trials_per_draw"] == [2, 1, 1]
    assert stored["forward_success"] == [True, False, True, True] and stored["backward_steps"] == [9] * 4
    assert by_draw(stored, "forward") == [[True, False], [True], [True]]
    assert by_draw({**stored, "forward_success": [True, False] * 4}, "forward")[0] == [True, False] * 2, "two pairs"
    assert context.said[-1].startswith("camera (3 draws, 50% to 100%): 75% success, 75% of the plain scene's")
    evaluate_robustness(context, "pretrained", "before", ["camera"], draws=3)
    assert len(context.worlds) == 4, "finished"
    evaluate_robustness(context, "pretrained", "before", ["camera"])
    assert len(context.worlds) == 5 and context.worlds[-1]["variation_seed"] == 0
    with pytest.raises(RobofumeError, match="from 1 to the 4 trials of a direction, not 5"):
        evaluate_robustness(context, "pretrained", "before", ["camera"], draws=5)
    records = {path.stem: json.loads(path.read_text()) for path in context.directory.evaluations.iterdir()}
    results = RunResults("run", RunConfig().to_dict(), {"forward": "a", "backward": "b"}, evaluations=records)
    directory = RunDirectory(tmp_path / "page")
    write_page(results, directory, {})
    assert "<td>camera (3 draws, 50% – 100%)</td>" in directory.report.read_text()


def test_draws_without_a_variation_are_refused(capsys):
    assert main(["evaluate", "--run", "nobody", "--variation-draws", "3"]) == 1
    assert "--variation-draws is about --variation" in capsys.readouterr().err
    assert main(["evaluate", "--run", "nobody", "--like", "other", "--variation", "all"]) == 1
    assert "one at a time" in capsys.readouterr().err


def test_where_the_draws_differ_the_interval_is_wider():
    def interval(*won):
        return grouped_interval([[i < count for i in range(10)] for count in won])

    assert interval(5, 5, 5, 5) == wilson_interval(20, 40), "no wider than chance"
    assert interval(0, 10, 0, 10) == wilson_interval(2, 4), "each draw is one trial"
    low, high = interval(2, 5, 9, 4)
    assert wilson_interval(2, 4)[0] < low < wilson_interval(20, 40)[0] and high < wilson_interval(2, 4)[1]
    assert interval(10, 10) == wilson_interval(20, 20) and interval(3) == wilson_interval(3, 10)


def test_another_policy_or_another_simulation_is_evaluated_again(staged):
    def worlds(context) -> list:
        context.worlds.clear()
        evaluate_robustness(context, "pretrained", "before", ["camera"])
        return context.kinds()

    both, context = [(), ("camera",)], staged()
    evaluations = context.directory.evaluations
    (evaluations / "before_camera.json").write_text(json.dumps(record(3, 3, "camera", trials=4)))
    assert worlds(context) == both, "of a record that says nothing nobody knows which policy it was of"
    assert worlds(context) == []
    context.train(1, 0.6)
    assert worlds(context) == both, "trained again with as many updates"
    context.train(2, 0.6)
    assert worlds(context) == both
    stored = json.loads((evaluations / "before_camera.json").read_text())
    assert stored["checkpoint"] == "000000002" and stored["sim"]["variations"] == ["camera"]
    context.train(3, 0.7)
    (context.directory.pretrained / "000000003" / TENSORS).write_bytes(b"cut off")
    assert worlds(context) == [], "the newest whole one is the policy still"
    slower = replace(context, config=replace(context.config, settings={"sim": {"control_period": 0.4}}))
    assert worlds(slower) == both


def test_a_row_compares_one_policy_with_itself():
    records = {"after": {**RECORDS["after"], "sha256": "new"}, "after_camera": {**RECORDS["after_camera"]}}
    assert robustness(records) == []
    records["after_camera"]["sha256"] = "new"
    assert len(robustness(records)) == 1


def test_the_variation_that_was_asked_for_wins_over_the_runs_own_kinds(staged):
    context = staged(variations=["texture"], repeat_after=2.0)
    evaluate_robustness(context, "pretrained", "before", ["camera"])
    assert context.kinds() == [(), ("camera",)]
    assert all(world["repeat_after"] == 2.0 for world in context.worlds), "its other settings stay"


def test_a_run_in_a_varied_world_has_no_plain_one_to_compare_with(staged):
    context = staged(variation=1.0)
    with pytest.raises(RobofumeError, match=r"in a varied world itself \(sim.variation 1\)"):
        evaluate_robustness(context, "pretrained", "before", ["camera"])
    assert context.worlds == []
