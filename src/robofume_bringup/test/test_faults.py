"""Practice under a small deck of faults, and that the judges of it can find fault. benchmarks/faults.py runs it all."""

import random
from types import SimpleNamespace

import pytest
from fault_kit.deck import NODES, PUBLISHED, Fault, all_faults
from fault_kit.rig import Rig, prepare
from fault_kit.verdict import check_memory, compare
from fault_kit.witness import Heard
from random_episodes import random_episode
from robofume_bringup.run_directory import RunDirectory
from robofume_common.enums import Outcome, Verdict

SMALL = (
    Fault("kill", "policy"),
    Fault("double", "policy", "step"),
    Fault("stop", "camera", seconds=0.5),
    Fault("drop", "reward", "reward"),
    Fault("EIO", "recorder", size=1000, seconds=0.5),
    Fault("delay", "sim", "joint_states", seconds=0.3),
    Fault("clock", "learner", seconds=-3600.0),
    Fault("black", "camera", "observation/image", count=5),
    Fault("kill", "learner"),
)


def test_practice_goes_on_and_nothing_is_lost_or_learnt_twice(tmp_path, ros_domain):
    directory = RunDirectory(tmp_path / "run")
    prepare(directory, [random_episode(number, "demo", 5) for number in range(3)])
    said = []
    rig = Rig(directory, SMALL, lambda: 0.1, said.append)
    witness = rig.run(400.0)
    kept = compare(directory, witness, rig.log)
    assert [*rig.log.violations, *kept.violations] == [], said
    assert [strike.fault for strike in rig.log.strikes] == list(SMALL), said
    assert [strike.fault for strike in rig.log.strikes if not strike.struck] == [], said
    assert all(strike.recovered > 0 for strike in rig.log.strikes), said
    assert witness.targets > 50 and kept.in_bags > 0 and kept.learnt > 0
    assert {path.stem for path in rig.folder.glob("*.sock")} == set(NODES)


def test_every_node_and_every_topic_is_struck():
    faults = all_faults(random.Random(0))
    assert len(faults) > 100
    for kind in ("kill", "stop", "restart", "clock"):
        assert {fault.node for fault in faults if fault.kind == kind} == set(NODES)
    for kind in ("drop", "double", "delay", "reorder"):
        topics = {topic for topics in PUBLISHED.values() for topic in topics}
        assert {fault.topic for fault in faults if fault.kind == kind} == topics


def heard(outcome, success_index=-1, steps=3, verdicts=(2, 2, 2, 2)):
    episode = Heard(verdicts=dict(enumerate(map(Verdict, verdicts))))
    episode.end = SimpleNamespace(outcome=outcome, success_index=success_index, num_steps=steps)
    return episode


def entry(rewards, discounts, offset, pid=1):
    return {"episode_id": "a", "pid": pid, "rewards": [*rewards, 0], "discounts": [*discounts, 0],
            "next_offset": [*offset, 0]}  # fmt: skip


GOOD = entry([-1, -1, 0], [0.9, 0.9, 0.0], [1, 1, 1])


@pytest.mark.parametrize(
    ("entries", "episode", "said"),
    [
        ([GOOD], heard(Outcome.SUCCESS, 3), ""),
        ([GOOD, {**GOOD, "pid": 2}], heard(Outcome.SUCCESS, 3), ""),
        ([GOOD, GOOD], heard(Outcome.SUCCESS, 3), "twice"),
        ([GOOD], heard(Outcome.TIMEOUT), "other rewards"),
        ([GOOD], heard(Outcome.SUCCESS, 2), "beyond its end"),
        ([GOOD], heard(Outcome.ABORTED), "aborted"),
        ([entry([-1, -1, -1], [0.9] * 3, [1, 1, 1])], heard(Outcome.TIMEOUT), ""),
        ([entry([-1, -1, -1], [0.9] * 3, [1, 1, 1])], heard(Outcome.TIMEOUT, verdicts=(2, 2, 0, 2)), "unknown verdict"),
        ([entry([-1, 0, -1], [0.9] * 3, [1, 0, 1])], heard(Outcome.TIMEOUT, verdicts=(2, 2, 0, 2)), ""),
    ],
)
def test_wrong_transitions_are_found(entries, episode, said):
    learnt, wrong = check_memory(entries, {"a": episode})
    assert learnt == 1 and (said in wrong[0] if said else wrong == [])
