"""`robofume adapt`, from a policy of one run and the bags of others to a chain of adapted policies."""

import json
import shutil
from dataclasses import replace

import pytest
from random_episodes import random_episode
from robofume_bringup.cli import main
from robofume_bringup.graph import GraphSettings, build_graph
from robofume_bringup.run_directory import RunDirectory
from robofume_bringup.stages.adaptation import policy_named
from robofume_common.enums import Outcome
from robofume_common.files import write_atomically
from robofume_data.bag_reader import read_episodes
from robofume_data.episode_writer import write_episodes
from robofume_policy.adaptation import adapt as adapt_agent
from robofume_policy.checkpoint import CheckpointStore, checkpoint_hash
from robofume_policy.lineage import read_lineage


def robofume(capsys, *words) -> tuple[int, str, str]:
    code = main([str(word) for word in words])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def bag(folder, kind: str, count: int = 2):
    folder.mkdir(parents=True, exist_ok=True)
    write_episodes(folder / f"{kind}_000.mcap", [random_episode(n, kind, 6) for n in range(count)])
    return folder / f"{kind}_000.mcap"


@pytest.fixture
def runs(tmp_path, capsys):
    """The run `lab` with a pre-trained policy, and the folder that it lies in."""
    bag(tmp_path / "runs" / "lab" / "bags" / "demos", "demos")
    (tmp_path / "runs" / "lab" / "config.yaml").write_text(
        "task: pot_lid\nsettings: {network: {hidden_size: 16, image_features: 8}, agent: {batch_size: 4}}\n"
    )
    code, _, err = robofume(capsys, "pretrain", "--run", "lab", "--runs", tmp_path / "runs", "--pretraining-updates", 2)
    assert code == 0, err
    return tmp_path / "runs"


def adapt(capsys, runs, name, *words):
    """The new run takes task and network of the run `lab`."""
    return robofume(capsys, "adapt", *words, "--run", name, "--runs", runs, "--adaptation-updates", 3)


def test_a_chain_of_adaptations_keeps_its_lineage(capsys, runs, tmp_path):
    dark, shiny = bag(tmp_path / "dark", "dark"), bag(tmp_path / "shiny", "shiny")
    code, out, err = adapt(capsys, runs, "dark", dark, "--from", runs / "lab" / "pretrained")
    assert code == 0, err
    assert "new condition's" in out and "generation 1" in out
    assert RunDirectory(runs / "dark").read_config()["task"] == "pot_lid"
    demos = runs / "lab" / "bags" / "demos" / "demos_000.mcap"
    first = read_lineage(runs / "dark" / "adapted")
    assert [entry.run for entry in first] == ["lab", "dark"]
    assert first[0].sha256 == checkpoint_hash(runs / "lab" / "pretrained" / "000000002")
    assert first[1].sha256 == checkpoint_hash(runs / "dark" / "adapted" / "000000003")
    assert (first[1].base, first[1].target) == ((str(demos),), (str(dark),))
    assert len(first[1].scores["action_error"]["target"]) == 2

    code, _, err = adapt(capsys, runs, "shiny", shiny, "--from", runs / "dark" / "adapted")
    assert code == 0, err
    second = read_lineage(runs / "shiny" / "adapted")
    assert second[:2] == first and second[2].base == (str(demos), str(dark)) and second[2].target == (str(shiny),)
    assert set(second[2].scores["action_error"]) == {"base", "earlier_0", "target"}, "dark is rehearsed for itself"

    for weights in ("adapted", "source"):
        settings = GraphSettings("pot_lid", "evaluate", run_directory=runs / "dark", weights=weights)
        nodes = {node.name: node for node in build_graph(settings)}
        assert nodes["policy"].parameters["checkpoint"] == runs / "dark" / weights


def test_a_condition_without_a_success_is_no_number(capsys, runs, tmp_path):
    failed = replace(random_episode(0, "dark", 6), outcome=Outcome.TIMEOUT, success_index=-1)
    write_episodes(tmp_path / "dark_000.mcap", [failed])
    code, out, err = adapt(capsys, runs, "dark", tmp_path / "dark_000.mcap", "--from", runs / "lab" / "pretrained")
    assert code == 0, err
    assert "No success is recorded in the new condition's" in out and "nan" not in out


def test_a_run_stands_for_what_it_made_last_of_its_policy(capsys, runs, tmp_path):
    dark, shiny = bag(tmp_path / "dark", "dark"), bag(tmp_path / "shiny", "shiny")
    assert adapt(capsys, runs, "dark", dark, "--from", runs / "lab")[0] == 0
    assert read_lineage(runs / "dark" / "adapted")[0].checkpoint == str(runs / "lab" / "pretrained" / "000000002")
    assert RunDirectory(runs / "dark").read_config()["task"] == "pot_lid"
    assert adapt(capsys, runs, "dark", dark, "--from", runs / "lab")[0] == 0, "the same command goes on"
    assert adapt(capsys, runs, "shiny", shiny, "--from", runs / "dark")[0] == 0
    assert [entry.run for entry in read_lineage(runs / "shiny" / "adapted")] == ["lab", "dark", "shiny"]
    pretrained = runs / "lab" / "pretrained" / "000000002"
    for weights, number in (("checkpoints", 9), ("best", 7)):
        shutil.copytree(pretrained, runs / "lab" / weights / f"{number:09d}")
        assert policy_named(runs / "lab") == runs / "lab" / weights
    assert policy_named(pretrained) == pretrained
    shutil.copytree(runs / "lab", runs / "new", ignore=shutil.ignore_patterns("0000*"))
    code, _, err = adapt(capsys, runs, "third", dark, "--from", runs / "new")
    assert code == 1 and "The run new has no policy yet: run `robofume pretrain --run new` first." in err


def test_prior_data_are_among_the_data_of_the_policy(capsys, runs, tmp_path):
    dark, bridge = bag(tmp_path / "dark", "dark"), bag(tmp_path / "bridge", "bridge")
    words = ("--run", "lab", "--runs", runs, "--pretraining-updates", 2, "--prior", bridge.parent, "--again")
    assert robofume(capsys, "pretrain", *words)[0] == 0
    code, _, err = adapt(capsys, runs, "dark", dark, "--from", runs / "lab" / "pretrained")
    assert code == 0, err
    data = (str(bridge), str(runs / "lab" / "bags" / "demos" / "demos_000.mcap"))
    first, second = read_lineage(runs / "dark" / "adapted")
    assert first.target == second.base == data
    assert first.prior == second.prior == (str(bridge),)
    _, _, state = CheckpointStore(runs / "dark" / "adapted").load()
    told = state["adaptation"]["data"]
    assert (told["prior"], told["prior_share"]) == ([str(bridge)], 0.5)
    bridge.unlink()
    code, _, err = adapt(capsys, runs, "darker", dark, "--from", runs / "dark" / "adapted")
    assert code == 1 and f"gone, such as {bridge}" in err
    shutil.rmtree(bridge.parent)
    code, _, err = adapt(capsys, runs, "dim", dark, "--from", runs / "lab" / "pretrained")
    assert code == 1 and f"gone, such as {bridge.parent}" in err


def test_prior_data_of_another_run_are_told_from_the_runs_own_of_the_same_ids(capsys, runs, tmp_path, monkeypatch):
    dark, other = bag(tmp_path / "dark", "dark"), tmp_path / "other" / "demos_000.mcap"
    other.parent.mkdir()
    write_episodes(other, [replace(random_episode(n + 5, "demos", 6), episode_id=f"demos-{n}") for n in range(2)])
    words = ("--run", "lab", "--runs", runs, "--pretraining-updates", 2, "--prior", other, "--again")
    assert robofume(capsys, "pretrain", *words)[0] == 0
    seen = {}

    def spied(source, base, *arguments, own, **named):
        kept = list(base)
        seen.update(ids=[episode.episode_id for episode in kept], own=own)
        return adapt_agent(source, kept, *arguments, own=own, **named)

    monkeypatch.setattr("robofume_policy.adaptation.adapt", spied)
    code, _, err = adapt(capsys, runs, "dark", dark, "--from", runs / "lab" / "pretrained")
    assert code == 0, err
    assert seen["ids"][2:] == ["demos-0", "demos-1"] and seen["own"] == {"demos-0", "demos-1"}
    assert [name.split()[0] for name in seen["ids"][:2]] == ["demos-0", "demos-1"]
    assert not seen["own"] & set(seen["ids"][:2])


def test_labels_that_were_given_since_are_other_data(capsys, runs, tmp_path):
    """Of the policy's data and of the new condition's: the rest would be learnt from other outcomes."""
    for name in ("dark", "lab"):
        bag(runs / name / "bags" / "practice", "practice")
    shutil.copytree(runs / "lab" / "pretrained", runs / "lab" / "checkpoints")
    words = (runs / "dark" / "bags", "--from", runs / "lab" / "checkpoints")
    for label in (None, "dark", "lab"):
        if label:
            labelling = ("label", "practice-0", "failure", "--run", label, "--runs", runs)
            assert robofume(capsys, *labelling)[0] == 0
            code, _, err = adapt(capsys, runs, "dark", *words)
            assert code == 1 and "other settings or data (data.labels)" in err and "--again" in err, label
        code, _, err = adapt(capsys, runs, "dark", *words, "--again")
        assert code == 0, err
        assert adapt(capsys, runs, "dark", *words)[0] == 0, "nothing has changed since"


def test_it_continues_and_says_what_evaluations_found(capsys, runs, tmp_path):
    dark = bag(tmp_path / "dark", "dark")
    words = (dark, "--from", runs / "lab" / "pretrained")
    assert adapt(capsys, runs, "dark", *words)[0] == 0
    weights = checkpoint_hash(runs / "dark" / "adapted" / "000000003")
    for name, won in (("source", [True, False]), ("adapted", [True, True])):
        record = {"forward_success": won, "backward_success": won, "forward_steps": [1, 1], "backward_steps": [1, 1]}
        write_atomically(runs / "dark" / "evaluations" / f"{name}.json", json.dumps(record).encode())
    write_atomically(runs / "dark" / "evaluations" / "adapted_like_lab.json", json.dumps(record).encode())
    shutil.rmtree(runs / "lab" / "pretrained")  # the run keeps its own copy
    code, out, err = adapt(capsys, runs, "dark", dark)
    assert code == 0, err
    assert "Before adaptation: forward 1 of 2" in out and "After adaptation: forward 2 of 2" in out
    newest = read_lineage(runs / "dark" / "adapted")[-1]
    assert newest.sha256 == weights, "what was finished is not trained on"
    assert newest.scores["success"] == {
        "before": {"forward": 0.5, "backward": 0.5}, "after": {"forward": 1.0, "backward": 1.0}
    }  # fmt: skip
    assert newest.scores["earlier_conditions"] == {"lab": {"forward": 1.0, "backward": 1.0}}
    code, _, err = adapt(capsys, runs, "dark", dark, "--again", "--from", tmp_path / "nothing")
    assert code == 1 and "There is no policy in" in err
    assert CheckpointStore(runs / "dark" / "adapted").numbers() == [3], "a refusal loses nothing"
    assert adapt(capsys, runs, "dark", dark, "--again")[0] == 0
    assert CheckpointStore(runs / "dark" / "adapted").numbers() == [3]


def test_an_adapted_policy_is_evaluated_in_the_conditions_of_its_line(capsys, runs, tmp_path, monkeypatch):
    dark = bag(tmp_path / "dark", "dark")
    condition = ("--set", "sim.variation=1.0", "--set", "sim.variations=[light]", "--seed", 3)
    assert adapt(capsys, runs, "dark", dark, "--from", runs / "lab" / "pretrained", *condition)[0] == 0
    seen = []

    def evaluate_policy(context, weights, name, like):
        seen.append((weights, name, like, context.config.of("sim"), context.config.of("network")))

    monkeypatch.setattr("robofume_bringup.stages.conditions.evaluate_policy", evaluate_policy)
    words = ("evaluate", "--run", "dark", "--runs", runs, "--weights", "adapted")
    code, _, err = robofume(capsys, *words, "--like", "line", "--like", "dark", "--like", "lab")
    assert code == 0, err
    network = {"hidden_size": 16, "image_features": 8}
    varied = {"variation_seed": 3, "variation": 1.0, "variations": ["light"]}
    assert seen == [
        ("adapted", "adapted", "lab", {"variation_seed": 0}, network),
        ("adapted", "adapted", "dark", varied, network),
    ]

    code, _, err = robofume(capsys, *words, "--like", "nobody")
    assert code == 1 and "There is no run nobody in" in err
    (runs / "other").mkdir()
    (runs / "other" / "config.yaml").write_text("task: pot_pick_and_place\n")
    code, _, err = robofume(capsys, *words, "--like", "other")
    assert code == 1 and "has the task pot_pick_and_place, this one pot_lid" in err
    code, _, err = robofume(capsys, "evaluate", "--run", "lab", "--runs", runs, "--like", "line")
    assert code == 1 and "no line of adaptations yet" in err


def test_a_trial_in_the_condition_of_the_line_is_recorded_under_its_name(capsys, runs, tmp_path):
    dark = bag(tmp_path / "dark", "dark")
    condition = ("--set", "sim.variation=1.0", "--set", "sim.variations=[light]", "--seed", 3, "--in-process")
    assert adapt(capsys, runs, "dark", dark, "--from", runs / "lab" / "pretrained", *condition)[0] == 0
    words = ("evaluate", "--run", "dark", "--runs", runs, "--weights", "adapted", "--trials", 1)
    code, out, err = robofume(capsys, *words, "--like", "line")
    assert code == 0, err
    assert "Evaluation of the adapted policy as in the run lab: forward" in out
    (path,) = (runs / "dark" / "evaluations").iterdir()
    record = json.loads(path.read_text())
    assert path.name == "adapted_like_lab.json" and record["name"] == "adapted_like_lab"
    assert (record["weights"], record["like"], record["trials_per_direction"]) == ("adapted", "lab", 1)
    told = {direction: sum(record[f"{direction}_success"]) for direction in ("forward", "backward")}
    assert all(len(record[f"{direction}_{what}"]) == 1 for direction in told for what in ("success", "steps", "score"))
    assert read_lineage(runs / "dark" / "adapted")[-1].scores["earlier_conditions"] == {"lab": told}

    def first_picture(run: str):
        newest = RunDirectory(runs / run).bag_files("evaluate")[-1]
        return next(iter(read_episodes(newest))).images[0]

    there = first_picture("dark")
    assert robofume(capsys, *words)[0] == 0
    assert (first_picture("dark") != there).any(), "its own light is another"
    own = ("evaluate", "--run", "lab", "--runs", runs, "--weights", "pretrained", "--trials", 1, "--in-process")
    assert robofume(capsys, *own)[0] == 0
    assert (first_picture("lab") == there).all()


def test_what_is_missing_is_named(capsys, runs, tmp_path):
    def refused(word: str, *words, name: str = "new") -> None:
        code, _, err = adapt(capsys, runs, name, *words)
        sentence = err.strip().splitlines()[-1]  # below a progress bar, if it came so far
        assert code == 1 and sentence.startswith("robofume: ") and word in sentence and "Traceback" not in err, err

    dark, source = bag(tmp_path / "dark", "dark"), runs / "lab" / "pretrained"
    refused("--from names the policy", dark)
    refused("There is no policy in", dark, "--from", tmp_path / "nothing")
    refused("no data of the new condition yet", "--from", source)
    refused("another architecture: hidden_size 16 (not 32)", dark, "--from", source, "--set", "network.hidden_size=32",
            name="wide")  # fmt: skip
    assert not RunDirectory(runs / "wide").source.exists()
    demos = runs / "lab" / "bags" / "demos"
    refused("the new condition's data alone", demos, "--from", source)
    assert not RunDirectory(runs / "new").source.exists()
    shutil.move(demos, tmp_path / "elsewhere")
    refused("which data the policy was trained on", dark, "--from", source)
    code, _, err = adapt(capsys, runs, "new", dark, "--from", source, "--base", tmp_path / "elsewhere")
    assert code == 0, err
    shutil.move(tmp_path / "elsewhere", demos)
    refused("Data that the policy learnt from are gone", dark, "--from", runs / "new" / "adapted", name="third")
    refused("adapts from", dark, "--from", runs / "new" / "adapted", name="new")
