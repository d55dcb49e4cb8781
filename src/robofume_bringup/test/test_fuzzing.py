"""Hostile input at every boundary: a small part of benchmarks/fuzz.py."""

import logging
import random

import pytest
from fault_kit.rig import prepare
from fuzz_kit.boundaries import Boundaries
from fuzz_kit.nodes import NodeBoundary, node_descriptions
from hypothesis import given, settings
from hypothesis import strategies as st
from random_episodes import random_episode
from robofume_bringup.run_directory import RunDirectory

CASES = {"checkpoint": 20, "reward_model": 8, "weights": 30}
"""The slow ones; 75 of each of the others."""
MESSAGES = 60
"""Calls of each node."""
SEEDS = st.integers(min_value=0, max_value=2**63)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    directory = RunDirectory(tmp_path_factory.mktemp("fuzz") / "run")
    prepare(directory, [random_episode(number, "demo", 5) for number in range(3)])
    return directory


@pytest.fixture(scope="module")
def boundaries(run):
    logging.disable(logging.CRITICAL)
    yield Boundaries(run.path.parent / "boundaries", run)
    logging.disable(logging.NOTSET)


def hammer(case, count):
    """Call `case` with dice of so many seeds."""

    @settings(max_examples=count, deadline=None, derandomize=True, database=None)
    @given(SEEDS)
    def check(seed):
        case(random.Random(seed))

    check()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [name.removeprefix("_on_") for name in dir(Boundaries) if name.startswith("_on_")])
def test_files_and_words_are_taken_or_refused_in_one_sentence(boundaries, name):
    hammer(lambda dice: boundaries.case(name, dice), CASES.get(name, 75))


@pytest.mark.filterwarnings("ignore")
def test_no_message_ends_a_node_without_a_sentence(run, tmp_path, ros_domain):
    doors = set()
    for description in node_descriptions(run.path):
        with NodeBoundary(description, tmp_path) as boundary:
            hammer(boundary.case, MESSAGES)
            doors |= set(boundary.calls)
    ours = {"/step", "/reward", "/episode", "/task", "/step_permit", "/label", "/ground_truth", "/arm/command",
            "/arm/override", "/arm/status", "/arm/backend_status", "/arm/emergency_stop", "/policy/weights",
            "/learner/status", "label_step", "scene/reset", "arm/stop", "arm/release", "practice",
            "evaluate"}  # fmt: skip
    assert ours <= doors
