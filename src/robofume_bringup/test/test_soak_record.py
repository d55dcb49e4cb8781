"""What a soak says, from made-up rows: it must find a leak, a loss of rate and a lost episode, and no others."""

import math

import numpy as np
import pytest
from random_episodes import random_episode
from robofume_bringup.soak_record import (
    FLAT,
    Journal,
    append_row,
    check_columns,
    columns,
    compare_episodes,
    drift,
    growth,
    growth_verdict,
    read_table,
    settled_hours,
    student,
)
from robofume_common.errors import RobofumeError
from robofume_data.check import check_bags
from robofume_data.episode_writer import write_episodes

HOURS = 24.0


def soak(rows=2400, starts=1, slope=0.0, per_load=-5.0, leak=0.0, noise=1.0, hours=HOURS, load=None):
    """A soak at 50 steps a second less what load takes; the load rises towards the end, as drift would look."""
    dice = np.random.default_rng(0)
    time = np.linspace(0, hours, rows)
    start = np.repeat(np.arange(1, starts + 1), rows // starts).astype(float)
    if load is None:
        load = 2 + 3 * (time > 0.6 * hours) + 0.5 * np.sin(40 * time)
    age = time - np.array([time[start == number].min() for number in start])
    filling = 300 * np.minimum(1, age / (0.2 * hours / starts))  # a buffer, full after a fifth of each start
    return {
        "learner_mib": 100 + 20 * start + filling + leak * age + dice.normal(0, 1, rows),
        "sim_mib": 80 + dice.normal(0, 1, rows),
        "disk_mib": 10 * time,
        "start": start,
        "seconds": 700 * time,
        "robot_hours": time,
        "rate": 50 + slope * time + per_load * load + dice.normal(0, noise, rows),
        "load": load,
    }


# Memory


def test_a_buffer_that_fills_is_no_growth():
    found = growth(soak())
    assert set(found) == {"learner", "sim"}, "the disk is no node"
    assert found["learner"] == pytest.approx(0, abs=0.05) and growth_verdict(found["learner"], 18) == "flat"


@pytest.mark.parametrize("starts", [1, 6])
def test_a_leak_is_found_within_each_start_and_levels_between_starts_are_none(starts):
    leaks = growth(soak(starts=starts, leak=FLAT + 1))
    assert leaks["learner"] == pytest.approx(FLAT + 1, abs=0.1)
    assert growth_verdict(leaks["learner"], 18) == "NOT FLAT"
    assert growth(soak(starts=starts))["learner"] == pytest.approx(0, abs=0.1)


def test_a_few_minutes_tell_no_growth():
    table = soak(rows=40, hours=0.4)
    assert settled_hours(table) == pytest.approx(0.3, abs=0.02)
    assert growth_verdict(growth(table)["learner"], settled_hours(table)) == "too short to tell"
    assert math.isnan(growth({name: values[:1] for name, values in table.items()})["learner"])


def test_growth_is_per_wall_hour_where_robot_time_is_not_known():
    table = soak(leak=7.0)
    del table["robot_hours"], table["start"]
    assert growth(table)["learner"] == pytest.approx(7.0 * 3600 / 700, rel=0.02)


# Rate


def test_load_is_not_taken_for_drift():
    table = soak()
    line = drift(table)
    chosen = table["robot_hours"] >= HOURS / 4
    alone = np.polyfit(table["robot_hours"][chosen], table["rate"][chosen], 1)[0]
    assert alone < -0.5, "without the load it looks like a loss"
    assert line.low < 0 < line.high and line.verdict.startswith("no drift")
    assert line.per_load == pytest.approx(-5.0, abs=0.3)


@pytest.mark.parametrize(("slope", "verdict"), [(-0.3, "DRIFT: slower, by 2"), (0.3, "no loss: faster, by ")])
def test_a_drift_is_found_beside_the_load(slope, verdict):
    line = drift(soak(slope=slope))
    assert line.low < slope < line.high and line.verdict.startswith(verdict)


def test_what_is_lost_within_starts_is_found_although_each_start_begins_anew():
    table = soak(starts=4)
    age = table["robot_hours"] % (HOURS / 4)
    table["rate"] = table["rate"] - 1.0 * age
    assert drift(table, within_starts=True).slope == pytest.approx(-1.0, abs=0.2)
    assert drift(table, within_starts=True).verdict.startswith("DRIFT")
    assert abs(drift(table).slope) < 0.3


def test_the_interval_holds_the_truth_nineteen_times_in_twenty():
    dice, missed = np.random.default_rng(1), 0
    for _ in range(200):
        table = soak(rows=600)
        slow = np.zeros(600)  # noise that stays for half an hour, as another's work does
        for row in range(1, 600):
            slow[row] = 0.92 * slow[row - 1] + dice.normal()
        table["rate"] = table["rate"] + slow
        line = drift(table)
        missed += not line.low < 0 < line.high
    assert missed <= 20


def test_nothing_is_said_of_drift_where_it_cannot_be_told():
    time = np.linspace(0, HOURS, 2400)
    assert drift(soak(load=time)).verdict == "too short to tell", "load that rises with the hours explains all of it"
    assert drift(soak(rows=40, hours=0.4)).verdict == "too short to tell"
    assert drift(soak(rows=8)).verdict == "too short to tell"
    assert drift(soak(noise=300)).verdict.startswith("cannot be told")


def test_students_quantile_against_known_values():
    assert student(8) == pytest.approx(2.306, abs=0.01) and student(57) == pytest.approx(2.002, abs=0.001)


# Episodes


def test_a_lost_episode_is_named_and_its_steps_do_not_add_up():
    kept = compare_episodes({"a": 10, "b": 20, "c": 5}, {"a": 10, "c": 5, "before": 40})
    assert kept.lost == ("b",) and not kept.differing
    assert (kept.closed, kept.whole, kept.closed_steps, kept.whole_steps) == (3, 2, 35, 15)
    assert kept.verdict(1) == "1 LOST, 0 WITH OTHER STEPS"


def test_an_episode_with_other_steps_is_named_although_the_sums_agree():
    kept = compare_episodes({"a": 10, "b": 20}, {"a": 11, "b": 19})
    assert kept.closed_steps == kept.whole_steps and kept.differing == ("a", "b")
    assert kept.verdict(1) == "0 LOST, 2 WITH OTHER STEPS"


def test_an_episode_in_progress_at_the_end_of_a_start_is_not_lost():
    kept = compare_episodes({"a": 10}, {"a": 10, "b": 3}, ["a", "b", "c", "d"])
    assert kept.unclosed == ("c", "d") and kept.verdict(2) == "none lost"
    assert "NEVER CLOSED" in kept.verdict(1)
    assert compare_episodes({}, {}).verdict(1) == "none was closed"


def test_the_steps_of_each_episode_are_told_by_the_check_of_the_bags(tmp_path):
    write_episodes(tmp_path / "bag.mcap", [random_episode(number, "practice", 4 + number) for number in (1, 2)])
    (report,) = check_bags(tmp_path)
    assert report.lengths == {"practice-1": 5, "practice-2": 6}


# Files


def test_the_journal_keeps_episodes_and_starts_over_a_kill(tmp_path):
    journal = Journal(tmp_path / "soak_journal.jsonl")
    assert journal.endings() == [] and journal.closed_steps() == {}
    assert journal.begin() == 1
    journal.closed("a", 10, True)
    with journal.path.open("a") as file:
        file.write('{"episode": "b", "st')
    assert journal.begin() == 2
    journal.closed("c", 5, False)
    journal.end(2, "the goal was reached")
    assert journal.closed_steps() == {"a": 10, "c": 5} and journal.assisted_resets() == 1
    assert journal.endings() == ["killed", "the goal was reached"]


def test_rows_are_read_as_they_were_written_also_after_a_million_steps(tmp_path):
    names = columns(["sim", "arm"])
    assert "sim_mib" in names and "arm_files" in names and "robot_hours" in names
    for steps in (1_234_567, 1_234_572):
        append_row(tmp_path / "soak.csv", names, dict.fromkeys(names, 1.0) | {"steps": steps})
    table = read_table(tmp_path / "soak.csv")
    assert list(table) == names and table["steps"].tolist() == [1_234_567, 1_234_572]
    with pytest.raises(KeyError):
        append_row(tmp_path / "soak.csv", names, {"steps": 1.0})


def test_a_table_with_other_columns_is_not_continued(tmp_path):
    path, names = tmp_path / "soak.csv", columns(["sim", "arm"])
    check_columns(path, names)
    append_row(path, names, dict.fromkeys(names, 1.0))
    check_columns(path, names)
    without = [name for name in names if name != "robot_hours"]
    path.write_text(",".join([*without, "older"]) + "\n")
    with pytest.raises(RobofumeError, match=r"without robot_hours and with older.*move it away"):
        check_columns(path, names)
    path.write_text(",".join(reversed(names)) + "\n")
    with pytest.raises(RobofumeError, match="in another order"):
        check_columns(path, names)
