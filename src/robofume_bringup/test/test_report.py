"""The report, from a synthetic run."""

import io
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from random_episodes import random_episode
from robofume_bringup.episodes import EpisodeSummary, RobotTime, robot_time, summarise
from robofume_bringup.evaluation_record import cycle_time
from robofume_bringup.film_strips import evaluation_strips, film_strips
from robofume_bringup.graph import control_period
from robofume_bringup.report import (
    RunResults,
    collect_results,
    evaluation_table,
    practice_facts,
    reward_in_use,
    write_page,
)
from robofume_bringup.run_config import RunConfig
from robofume_bringup.run_directory import RunDirectory
from robofume_bringup.stages.evaluation import read_evaluation
from robofume_bringup.statistics import moving_share, wilson_interval
from robofume_common.enums import Direction, Outcome
from robofume_common.errors import RobofumeError
from robofume_common.task import TaskPair
from robofume_data.episode_writer import write_episodes
from robofume_reset.state import SwitcherState, save_state
from robofume_reset.switching import Alternation, SwitchingConfig
from robofume_reset.tally import Tally

from robofume_bringup import report_figures


def synthetic_run(directory: RunDirectory, episodes: int = 300) -> RunResults:
    random = np.random.default_rng(0)
    practice = []
    for i in range(episodes):
        truth = bool(random.random() < 0.5 + 0.45 * i / episodes)
        success = truth if random.random() > 0.05 else not truth
        practice.append(
            EpisodeSummary(
                directory.bags("practice") / f"{i // 200}.mcap", f"e{i}", 1 + i % 2, 1 if success else 2,
                20 if success else 40, i in (60, 150), truth, int(success and truth), int(success and not
                truth), int(truth and not success), 18, 0, 1e9 + 2.5 * i + 900 * (i // 200),
            )
        )  # fmt: skip

    def evaluation(share):
        values = {}
        for name in ("forward", "backward"):
            outcomes = random.random(50) < share
            values |= {
                f"{name}_success": outcomes.tolist(),
                f"{name}_steps": random.integers(15, 40, 50).tolist(),
            }
        return values

    stages = {"demos": {"seconds": 60.0}, "pretrain": {"seconds": 240.0}, "practice": {"seconds": 700.0}}
    return RunResults(
        "synthetic", RunConfig().to_dict(), {"forward": "put it <in>", "backward": "take it out"}, practice[:50],
        practice, {"before": evaluation(0.6), "after": evaluation(0.92)}, stages, 4000,
    )  # fmt: skip


def test_the_page_stands_alone_and_says_what_happened(tmp_path):
    from PIL import Image

    directory = RunDirectory(tmp_path / "synthetic")
    results = synthetic_run(directory)
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((64, 512, 3), np.uint8)).save(buffer, "png")
    write_page(results, directory, {"A success: “put it <in>”, 20 steps": buffer.getvalue()})
    page = directory.report.read_text()
    assert not re.search(r'(src|href)="(?!data:)', page)
    assert "put it &lt;in&gt;" in page and "<in>" not in page
    assert "Success went from" in page and "2</b><span>assisted resets in 300 episodes" in page
    for name in ("success", "minutes", "evaluation", "stages", "a_success"):
        with Image.open(directory.figures / f"{name}.png") as picture:
            picture.verify()


def test_a_run_with_nothing_yet_still_gives_a_page(tmp_path):
    directory = RunDirectory(tmp_path / "new")
    results = RunResults("new", RunConfig().to_dict(), {"forward": "a", "backward": "b"})
    write_page(results, directory, {})
    assert "0 episodes of demonstrations" in directory.report.read_text()


def test_reward_in_use_counts_steps_and_episodes():
    def episode(success, truth, *counts):
        return EpisodeSummary(None, "e", 1, 1 if success else 2, 10, False, truth, *counts, 0, 0.0)

    practice = [
        episode(True, True, 1, 0, 0, 9),
        episode(True, False, 0, 1, 0, 9),
        episode(False, False, 0, 0, 3, 8),
    ]
    rows = reward_in_use(RunResults("x", {}, {}, practice=practice))
    assert [(row["unit"], row["precision"], row["recall"]) for row in rows] == [
        ("step", 0.5, 0.25),
        ("episode", 0.5, 0.5),
    ]


def test_the_steps_of_an_episode_are_not_trials_of_their_own():
    def episode(success, truth, *counts):
        return EpisodeSummary(None, "e", 1, 1 if success else 2, 30, False, truth, *counts, 0, 0.0)

    def rows(*practice):
        return {row["unit"]: row for row in reward_in_use(RunResults("x", {}, {}, practice=practice))}

    for count in (1, 20):  # however many steps show it: two episodes were called, and three were successes
        step = rows(episode(True, True, count, 0, 0, 5), episode(True, True, count, 0, 0, 5),
                    episode(False, False, 0, 0, 0, 9))["step"]  # fmt: skip
        assert step["precision_interval"] == pytest.approx(wilson_interval(2, 2))
    mixed = [episode(True, True, 20, 0, 0, 5), episode(False, True, 0, 0, 20, 5), episode(True, True, 10, 0, 10, 5)]
    step = rows(*mixed)["step"]
    assert step["recall"] == 0.5 and step["recall_interval"] == pytest.approx((0.0, 1.0), abs=1e-6)
    assert rows(*mixed)["episode"]["recall_interval"] == pytest.approx(wilson_interval(2, 3))


def test_what_the_judge_left_unknown_is_neither_and_its_successes_were_missed(tmp_path):
    directory = RunDirectory(tmp_path / "run")
    results = synthetic_run(directory)
    before = practice_facts(results)
    ended = replace(results.practice[0], outcome=5, true_success=True, true_positives=0, false_negatives=1, unknown=1)
    results.practice.extend([ended] * 3)
    facts = practice_facts(results)
    assert (facts["undecided"], facts["episodes"], facts["aborted"]) == (3, 303, 0)
    for name in ("recent", "recent_judged", "recent_true"):
        assert facts[name] == before[name]
    write_page(results, directory, {})
    assert "3 whose end the judge could not tell" in directory.report.read_text()
    rows = {row["unit"]: row for row in reward_in_use(RunResults("x", {}, {}, practice=[ended] * 3))}
    assert rows["episode"]["called"] == 0 and rows["episode"]["actual"] == 3 and rows["episode"]["recall"] == 0.0


def test_practice_facts(tmp_path):
    facts = practice_facts(synthetic_run(RunDirectory(tmp_path)))
    assert facts["assisted_resets"] == 2 and facts["episodes_per_reset"] == 150 and facts["recent"] == 50
    assert facts["steps_per_second"] == pytest.approx(facts["steps"] / 700)


def test_nudges_and_relocations_are_steps_and_time_but_no_episodes(tmp_path):
    results = synthetic_run(RunDirectory(tmp_path))
    before = practice_facts(results)
    scripted = replace(results.practice[0], direction=0, outcome=int(Outcome.INTERVENTION), num_steps=9, unknown=10)
    results.practice[:] = [each for episode in results.practice for each in (episode, scripted)]
    results = replace(results, pairs=(TaskPair("", "go there", "come back"),))
    facts = practice_facts(results)
    for name in ("episodes", "episodes_per_reset", "assisted_resets", "unknown", "recent_judged", "aborted"):
        assert facts[name] == before[name], name
    assert facts["steps"] == before["steps"] + 300 * 9 and facts["pairs"][0]["episodes"] == 300


def test_the_robots_own_time_has_the_ways_home_and_no_pauses(tmp_path):
    first, second = Path("practice_0000.mcap"), Path("practice_0001.mcap")
    begun = [(first, 10.0), (first, 20.0), (first, 400.0), (second, 1.0), (second, 0.5)]  # the last: another clock
    episodes = [
        replace(summarise(bag, random_episode(0, "practice", 20)), first_stamp=start, last_stamp=start + 4.0)
        for bag, start in begun
    ]
    assert robot_time(episodes) == RobotTime(acting=20.0, between=6.0)
    whole = summarise(first, random_episode(0, "practice", 20))
    assert robot_time([whole]) == RobotTime(pytest.approx(4.0), 0.0), "20 steps of 0.2 s"
    assert robot_time([]) is None
    directory = RunDirectory(tmp_path / "run")
    results = synthetic_run(directory)
    write_page(results, directory, {})
    assert "of robot time in practice" not in directory.report.read_text(), "it is not known"
    results = replace(results, practice=episodes * 180)
    assert practice_facts(results)["robot_time"].acting == pytest.approx(3600.0)
    write_page(results, directory, {})
    page = directory.report.read_text()
    assert "1.30 hours of robot time in practice: 1.00 hours of acting, 0.30 hours of ways home" in page


def test_what_help_was_needed_and_how_long_a_person_was_waited_for(tmp_path):
    directory = RunDirectory(tmp_path / "run")
    results = synthetic_run(directory)
    results.practice[0] = replace(results.practice[0], person_steps=300)  # at 5 steps a second one minute
    totals = Tally(still_episodes=4, forced_switches=3, nudges=2, person_requests=1, person_seconds=150.0)
    write_page(replace(results, totals=totals), directory, {})
    page = directory.report.read_text()
    assert "4 episodes in which nothing changed, 3 changes of direction without a success, 2 nudges" in page
    assert "a person asked 1 times" in page and "3.5 minutes of a person" in page
    assert "put elsewhere" not in page
    write_page(replace(results, totals=replace(totals, relocations=7)), directory, {})
    assert "7 times the arm put elsewhere what a success had put down" in directory.report.read_text()
    write_page(results, directory, {})  # practised before these were counted
    assert "1.0 minutes of a person" in directory.report.read_text()


def test_a_persons_minutes_are_those_of_the_runs_control_period_and_of_the_demonstrations_too(tmp_path):
    directory = RunDirectory(tmp_path / "run")
    results = synthetic_run(directory)
    write_page(results, directory, {})
    assert "in demonstrations: moving" not in directory.report.read_text(), "a script moved the arm"
    demonstrations = [replace(episode, person_steps=90) for episode in results.demonstrations[:20]]
    results.practice[0] = replace(results.practice[0], person_steps=300)
    at_ten_hertz = RunConfig(settings={"sim": {"control_period": 0.1}}).to_dict()
    write_page(replace(results, config=at_ten_hertz, demonstrations=demonstrations), directory, {})
    page = directory.report.read_text()
    assert "0.5 minutes of a person's time in practice" in page, "300 steps of 0.1 s"
    assert "3.0 minutes of a person's time in demonstrations" in page, "20 times 90 steps"


def test_the_switchers_counts_are_read_from_its_state(tmp_path):
    directory = RunDirectory(tmp_path / "run")
    directory.prepare()
    directory.write_config(RunConfig().to_dict())
    assert collect_results(directory).totals is None
    state = SwitcherState(Alternation(SwitchingConfig(), total=Tally(nudges=2)))
    save_state(directory.switcher_state("practice"), state)
    assert collect_results(directory).totals == Tally(nudges=2)


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "5", "{}", '{"forward_success": [tr', '{"forward_success": [true], "forward_steps": [3]}',
        '{"forward_success": [], "forward_steps": [], "backward_success": [], "backward_steps": []}',
        '{"forward_success": [true], "forward_steps": [], "backward_success": [true], "backward_steps": [3]}',
        '{"started": 1, "forward_success": [true], "forward_steps": [3], "backward_success": [true], '
        '"backward_steps": [3]}',
    ],
)  # fmt: skip
def test_what_is_no_record_of_an_evaluation_is_one_sentence(tmp_path, text):
    directory = RunDirectory(tmp_path / "run")
    directory.prepare()
    directory.write_config(RunConfig().to_dict())
    directory.evaluations.mkdir()
    (directory.evaluations / "after.json").write_text(text)
    for read in (collect_results, lambda run: read_evaluation(run, "after")):
        with pytest.raises(RobofumeError, match=r"after\.json is damaged, or of another version"):
            read(directory)
    assert read_evaluation(directory, "before") is None


def test_evaluation_table_has_a_row_per_direction(tmp_path):
    rows = evaluation_table(synthetic_run(RunDirectory(tmp_path)))
    assert [(row["name"], row["direction"]) for row in rows] == [
        ("before", "forward"), ("before", "backward"), ("after", "forward"), ("after", "backward")
    ]  # fmt: skip
    assert all(row["low"] < row["share"] <= row["high"] for row in rows)


def test_a_chain_has_rows_for_each_of_its_pairs(tmp_path):
    first, second = TaskPair("near", "go near", "come back"), TaskPair("far", "go far", "come near", after="near")
    record = {"forward_task": ["near", "near", "far", "far"], "backward_task": ["near", "near", "far", "far"],
              "forward_success": [True, True, True, False], "backward_success": [True, False, False, False],
              "forward_steps": [10, 20, 30, 40], "backward_steps": [10, 40, 40, 40],
              "forward_score": [1.0, 1.0, 1.0, 0.5], "backward_score": [1.0, 0.0, 0.0, 0.0]}  # fmt: skip
    results = replace(synthetic_run(RunDirectory(tmp_path / "run"), 10), evaluations={"after": record},
                      pairs=(first, second))  # fmt: skip
    results.practice[:] = [replace(episode, task="far" if i < 4 else "near") for i, episode in
                           enumerate(results.practice)]  # fmt: skip
    rows = {(row["pair"], row["direction"]): row for row in evaluation_table(results)}
    assert {key: (row["successes"], row["trials"]) for key, row in rows.items()} == {
        ("", "forward"): (3, 4), ("", "backward"): (1, 4), ("near", "forward"): (2, 2), ("near", "backward"): (1, 2),
        ("far", "forward"): (1, 2), ("far", "backward"): (0, 2),
    }  # fmt: skip
    assert rows["far", "forward"]["steps"] == 30 and rows["far", "forward"]["score"] == 0.75
    write_page(results, RunDirectory(tmp_path / "run"), {})
    page = RunDirectory(tmp_path / "run").report.read_text()
    assert "far: forward “go far”, backward “come near”; it starts where near is done." in page
    assert "<td>forward, far</td><td>50% (1/2)</td>" in page and "far: 4 episodes of practice" in page
    assert page.count("success after practice (") == 2, "the tiles are of the whole"


def test_the_time_of_a_cycle_is_that_of_successful_trials(tmp_path):
    record = {"forward_success": [True, False, True], "forward_steps": [10, 40, 20], "control_period": 0.1,
              "backward_success": [False], "backward_steps": [40]}  # fmt: skip
    assert cycle_time(record, "forward") == pytest.approx(1.5) and cycle_time(record, "backward") is None
    del record["control_period"]  # as it was written before
    assert cycle_time(record, "forward") == pytest.approx(3.0)
    results = replace(synthetic_run(RunDirectory(tmp_path / "run")), evaluations={"after": record})
    assert [row["seconds"] for row in evaluation_table(results)] == [pytest.approx(3.0), None]
    write_page(results, RunDirectory(tmp_path / "run"), {})
    page = RunDirectory(tmp_path / "run").report.read_text()
    assert "<td>15.0</td><td>3.0 s</td>" in page and "<td>–</td><td>–</td>" in page


def test_the_control_period_is_that_of_the_robot_with_the_settings_of_the_run():
    assert control_period("mujoco", {}) == control_period("widowx", {}) == 0.2
    assert control_period("mujoco", {"sim": {"control_period": 0.1}}) == 0.1
    assert control_period("widowx", {"camera": {"rate": 10.0}}) == 0.1


def test_the_policy_trained_anew_stands_beside_the_online_one(tmp_path):
    directory = RunDirectory(tmp_path / "run")
    results = synthetic_run(directory)
    anew = {"forward_success": [True] * 9 + [False], "forward_steps": [12] * 10,
            "backward_success": [True] * 8 + [False] * 2, "backward_steps": [12] * 10}  # fmt: skip
    results.evaluations["retrained"] = anew
    rows = evaluation_table(results)
    assert [(row["policy"], row["direction"]) for row in rows[2:]] == [
        ("after practice", "forward"), ("after practice", "backward"),
        ("trained anew", "forward"), ("trained anew", "backward"),
    ]  # fmt: skip
    write_page(results, directory, {})
    page = directory.report.read_text()
    assert "<td>trained anew</td><td>forward</td><td>90% (9/10)</td>" in page
    assert "<td>trained anew</td><td>backward</td><td>80% (8/10)</td>" in page
    assert page.index("<td>after practice</td>") < page.index("<td>trained anew</td>")


def trial(number, direction, success, closed):
    """An evaluation's episode of `number` + 3 steps, closed at that second."""
    steps = number + 3
    episode = random_episode(number, "evaluate", steps)
    truth = np.arange(steps + 1) == steps if success else np.zeros(steps + 1, bool)
    return replace(
        episode, direction=direction, instruction=f"{direction.name.lower()} it goes", closed=int(closed * 1e9),
        outcome=Outcome.SUCCESS if success else Outcome.TIMEOUT, success_index=steps if success else -1,
        forward_success=truth, backward_success=truth,
    )  # fmt: skip


def test_the_newest_plain_evaluation_is_shown_each_way_with_a_success_and_a_failure(tmp_path):
    from PIL import Image

    directory = RunDirectory(tmp_path / "run")
    directory.bags("evaluate").mkdir(parents=True)
    begun = {"evaluate_0000": 1_000, "evaluate_0001": 2_000, "evaluate_0002": 3_000}  # before, after, varied
    for number, (name, second) in enumerate(begun.items()):
        outcomes = [(Direction.FORWARD, True), (Direction.FORWARD, False), (Direction.BACKWARD, True)]
        if number == 0:
            outcomes.append((Direction.BACKWARD, False))
        episodes = [trial(10 * number + i, *each, second + 2 * i) for i, each in enumerate(outcomes)]
        write_episodes(directory.bags("evaluate") / f"{name}.mcap", episodes)
    records = {"before": {"started": 990.0, "duration": 30.0}, "after": {"started": 1_990.0, "duration": 30.0},
               "after_camera": {"started": 2_990.0, "duration": 30.0, "variation": "camera"}}  # fmt: skip
    strips = film_strips(directory, records)
    assert list(strips) == [
        "A success forward in the evaluation after practice: “forward it goes”, 13 steps",
        "A failure forward in the evaluation after practice: “forward it goes”, 14 steps",
        "A success backward in the evaluation after practice: “backward it goes”, 15 steps",
        "A failure backward in the evaluation before practice: “backward it goes”, 6 steps",
    ]
    assert list(evaluation_strips(directory, {"after_camera": records["after_camera"]})) == [
        "A success forward in the evaluation after_camera: “forward it goes”, 23 steps",
        "A failure forward in the evaluation after_camera: “forward it goes”, 24 steps",
        "A success backward in the evaluation after_camera: “backward it goes”, 25 steps",
    ]
    write_page(RunResults("run", RunConfig().to_dict(), {"forward": "a", "backward": "b"}), directory, strips)
    for caption in strips:
        assert caption in directory.report.read_text()
    with Image.open(directory.figures / "a_failure_backward_in_the_evaluation_before_practice.png") as picture:
        assert picture.width > 6 * 128 and picture.height > 128


def test_wilson_interval_against_known_values():
    low, high = wilson_interval(45, 50)
    assert (low, high) == (pytest.approx(0.7864, abs=1e-4), pytest.approx(0.9565, abs=1e-4))
    assert wilson_interval(0, 0) == (0.0, 1.0)
    assert wilson_interval(0, 10)[0] == 0.0 and wilson_interval(10, 10)[1] == 1.0


def test_moving_share():
    share, low, high = moving_share(np.array([True, False, True, True]), 2)
    assert share.tolist() == [1.0, 0.5, 0.5, 1.0]
    assert (low <= share).all() and (share <= high).all()


def test_interventions_and_their_share_of_the_actions(tmp_path):
    results = synthetic_run(RunDirectory(tmp_path / "run"), 10)
    results.practice[3] = replace(results.practice[3], takeovers=2, person_steps=7)
    facts = practice_facts(results)
    assert facts["interventions"] == 2 and facts["person_share"] == pytest.approx(7 / facts["steps"])


def test_the_curves_of_a_soak_are_shown_and_a_damaged_table_is_named(tmp_path):
    from PIL import Image

    directory = RunDirectory(tmp_path / "new")
    directory.path.mkdir()
    results = RunResults("new", RunConfig().to_dict(), {"forward": "a", "backward": "b"})
    header = "sim_mib,sim_files,disk_mib,latency_median_ms,latency_p99_ms,latency_worst_ms,seconds,robot_hours,rate\n"
    directory.soak.write_text(header + "80,13,120,6,30,90,5,0.01,40\n")
    write_page(results, directory, {})
    assert "<h2>Over time</h2>" not in directory.report.read_text(), "one row is no curve"
    directory.soak.write_text(directory.soak.read_text() + "81,13,121,nan,nan,nan,10,0.02,41\n")
    write_page(results, directory, {})
    assert "<h2>Over time</h2>" in directory.report.read_text()
    with Image.open(directory.figures / "soak.png") as picture:
        picture.verify()
    directory.soak.write_text("sim_mib,seconds\n80,5\n81,10\n")
    with pytest.raises(RobofumeError, match=r"soak\.csv is damaged"):
        write_page(results, directory, {})


@pytest.mark.parametrize(
    ("column", "label", "expected"), [("robot_hours", "robot hours", [0.5, 3.0]), ("other", "wall hours", [1.0, 2.0])]
)
def test_a_soak_is_drawn_over_robot_hours_where_they_are_known(tmp_path, monkeypatch, column, label, expected):
    drawn = []
    monkeypatch.setattr(report_figures, "_png", lambda figure: drawn.append(figure) or b"png")
    header = f"sim_mib,sim_files,latency_median_ms,latency_p99_ms,latency_worst_ms,rate,seconds,{column}\n"
    (tmp_path / "soak.csv").write_text(f"{header}80,13,6,30,90,40,3600,0.5\n81,13,6,30,90,41,7200,3\n")
    assert report_figures.soak_curves(tmp_path / "soak.csv") == b"png"
    (figure,) = drawn
    for axes in figure.axes:
        assert axes.get_xlabel() == label and all(line.get_xdata().tolist() == expected for line in axes.lines)


def test_the_most_wrong_frames_and_the_baselines_are_shown(tmp_path):
    from PIL import Image

    directory = RunDirectory(tmp_path / "new")
    (directory.reward / "most_wrong").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(directory.reward / "most_wrong" / "00.png")
    record = {"episode_id": "practice-7", "index": 3, "direction": "forward", "instruction": "put it in",
              "probability": 0.97, "truth": False, "file": "most_wrong/00.png"}  # fmt: skip
    (directory.reward / "training.json").write_text(json.dumps({"held_out": {"most_wrong": [record]}}))
    shares = {"precision": 0.5, "precision_interval": [0, 1], "recall": None, "recall_interval": [0, 1]}
    measured = {name: {**shares, "from_home": shares, "episodes": shares} for name in ("forward", "backward")}
    stages = {"reward": {"held_out": measured, "evaluated": {**measured, "baselines": {"film_cnn": measured}}}}
    results = RunResults("new", RunConfig().to_dict(), {"forward": "a", "backward": "b"}, stages=stages)
    write_page(results, directory, {})
    page = directory.report.read_text()
    assert "said 97%, is no success" in page and "practice-7, step 3" in page
    assert "film cnn, measured last" in page and "the model, measured last" in page
