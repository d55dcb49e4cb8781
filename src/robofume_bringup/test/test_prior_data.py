"""Prior data in pre-training: what was imported is learnt from beside the demonstrations, or refused with a reason."""

import dataclasses
import json

import numpy as np
import pytest
from robofume_bringup.cli import main
from robofume_bringup.graph import GraphSettings, build_graph
from robofume_bringup.in_process_learner import InProcessLearner
from robofume_common.action import ActionSpace
from robofume_common.enums import Direction, Outcome, Phase, Verdict
from robofume_data.episode import EpisodeData
from robofume_data.episode_writer import write_episodes
from robofume_data.labels import write_labels
from robofume_policy.checkpoint import CheckpointStore
from robofume_policy.pretraining import pretrain as pretrain_agent

SPACE = ActionSpace()


def episode(name: str, size: int = 64) -> EpisodeData:
    random, steps = np.random.default_rng(len(name)), 8
    return EpisodeData(
        episode_id=name, task="pot_pick_and_place", phase=Phase.FORWARD, direction=Direction.FORWARD,
        instruction="put the pot into the tray", assisted_reset_before=False, outcome=Outcome.SUCCESS,
        success_index=steps, images=random.integers(0, 256, (steps + 1, size, size, 3), dtype=np.uint8),
        proprioception=random.normal(size=(steps + 1, 7)).astype(np.float32),
        actions=SPACE.to_physical(random.uniform(-1, 1, (steps, 4)).astype(np.float32)),
        actors=np.ones(steps, np.uint8), policy_versions=np.zeros(steps + 1, np.uint64),
        stamps=np.arange(steps + 1, dtype=np.int64) * 200_000_000,
        verdicts=np.full(steps + 1, Verdict.FAILURE, np.uint8), probabilities=np.zeros(steps + 1, np.float32),
        sources=np.ones(steps + 1, np.uint8),
    )  # fmt: skip


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "runs" / "pot"
    (folder / "bags" / "demos").mkdir(parents=True)
    write_episodes(folder / "bags" / "demos" / "demos_000.mcap", [episode("demo-1"), episode("demo-02")])
    (folder / "config.yaml").write_text("task: pot_pick_and_place\n")
    return folder


def pretrain(capsys, run, *words) -> tuple[int, str]:
    code = main(["pretrain", "--run", run.name, "--runs", str(run.parent), "--pretraining-updates", "2", *words])
    captured = capsys.readouterr()
    return code, captured.out + captured.err


def prior(folder, *episodes: EpisodeData) -> str:
    folder.mkdir(exist_ok=True)
    write_episodes(folder / "prior.mcap", episodes)
    return str(folder)


def test_prior_data_are_learnt_from_and_kept_in_mind(capsys, run, tmp_path):
    turning = episode("bridge-0")
    turning.actions[2, 4] = 0.2
    nobody, nothing = dataclasses.replace(episode("bridge-002"), outcome=Outcome.UNKNOWN, success_index=-1), np.zeros(9)
    nobody = dataclasses.replace(nobody, verdicts=nothing.astype(np.uint8), sources=nothing.astype(np.uint8))
    folder = prior(tmp_path / "bridge", turning, episode("bridge-01"), nobody)
    code, said = pretrain(capsys, run, "--prior", folder)
    assert code == 0, said
    assert "Prior data: 3 episodes, 24 steps. Of 1 of them nobody knows how they ended: they are left out." in said
    assert "In 1 of them the gripper turns" in said
    updates, _, state = CheckpointStore(run / "pretrained").load()
    assert updates == 2
    assert state["pretraining"]["data"] == {"prior": ["bridge"], "prior_share": 0.5}
    assert json.loads((run / "stages" / "pretrain.json").read_text())["finished"]
    code, said = pretrain(capsys, run)  # the run remembers them
    assert code == 0 and "the replay cache had them" in said
    nodes = build_graph(GraphSettings("pot_pick_and_place", "practice", run_directory=run, prior=(folder,)))
    (learner,) = (node for node in nodes if node.name == "learner")
    assert learner.parameters["demonstrations"] == (run / "bags" / "demos",)
    assert learner.parameters["prior"] == (folder,)


def test_other_prior_data_are_another_training(capsys, run, tmp_path):
    assert pretrain(capsys, run)[0] == 0
    folder = prior(tmp_path / "bridge", episode("bridge-0"))
    code, said = pretrain(capsys, run, "--prior", folder)
    assert code == 1 and "other settings or data" in said
    assert pretrain(capsys, run, "--prior", folder, "--again")[0] == 0


def test_prior_data_that_do_not_fit_are_refused(capsys, run, tmp_path):
    far = episode("bridge-0")
    far.actions[3, 1] = -0.4
    cases = {
        "wide": ([episode("bridge-0", size=48)], "of 48x48, the run's are 64x64: import it with --image-size 64"),
        "far": ([far], "actions up to 8 times the limit in component 1"),
        "same": ([episode("demo-1")], "is there twice"),
    }
    for name, (episodes, sentence) in cases.items():
        code, said = pretrain(capsys, run, "--prior", prior(tmp_path / name, *episodes))
        assert code == 1 and sentence in said, (name, said)
    folder = prior(tmp_path / "many", *(dataclasses.replace(episode("bridge"), episode_id=f"b{n}") for n in range(12)))
    (run / "config.yaml").write_text("task: pot_pick_and_place\nsettings: {replay: {offline_capacity: 100}}\n")
    code, said = pretrain(capsys, run, "--prior", folder)
    assert code == 1 and "more than the 100 steps that the memory holds" in said
    code, said = pretrain(capsys, run, "--prior", str(tmp_path / "nowhere"))
    assert code == 1 and "There is no bag" in said
    assert pretrain(capsys, run, "--prior")[0] == 0  # none any more


def other_run(run, *episodes: EpisodeData) -> str:
    folder = run.parent / "other" / "bags" / "demos"
    folder.mkdir(parents=True)
    write_episodes(folder / "demos_000.mcap", episodes)
    return str(folder)


def another(name: str, seed: int) -> EpisodeData:
    """One of another run, whose ids are the same."""
    made = np.random.default_rng(seed).normal(size=(9, 7)).astype(np.float32)
    return dataclasses.replace(episode(name), proprioception=made)


def test_another_runs_demonstrations_are_prior_data(capsys, run):
    there = [another("demo-1", 1), another("demo-02", 2), *(another(f"demo-{n}", n) for n in range(3, 9))]
    folder = other_run(run, *there)
    code, said = pretrain(capsys, run, "--prior", folder)
    assert code == 0 and "Prior data: 8 episodes, 64 steps." in said, said
    _, _, state = CheckpointStore(run / "pretrained").load()
    assert state["pretraining"]["data"]["prior"] == ["other/bags/demos"]

    settings = GraphSettings("pot_pick_and_place", "practice", run_directory=run, prior=(folder,))
    (learner,) = (node.settings() for node in build_graph(settings) if node.name == "learner")
    own = np.concatenate([made.proprioception[:, 0] for made in (episode("demo-1"), episode("demo-02"))])
    for cache in (learner.replay_cache, ""):
        offline = InProcessLearner(dataclasses.replace(learner, replay_cache=cache), print)._learner.offline
        assert offline.episodes == 10, "none is taken for the run's own of the same id"
        drawn = offline.sample(4000, np.random.default_rng(0)).proprioception[:, 0]
        assert 0.45 < np.isin(drawn, own).mean() < 0.55, "half of what is drawn are the run's own"


def test_practice_of_another_run_may_be_prior_data_of_a_retraining(capsys, run, tmp_path, monkeypatch):
    (run / "bags" / "practice").mkdir()
    write_episodes(run / "bags" / "practice" / "practice_000.mcap", [another("practice-1", 11)])
    folder = prior(tmp_path / "elsewhere", another("practice-1", 12))
    (run / "config.yaml").write_text(f"task: pot_pick_and_place\nprior: [{folder}]\n")
    seen = {}

    def spied(episodes, *arguments, own, times, **named):
        kept = list(episodes)
        seen.update(ids=[read.episode_id for read in kept], own=own, times=times)
        return pretrain_agent(kept, *arguments, own=own, times=times, **named)

    monkeypatch.setattr("robofume_policy.pretraining.pretrain", spied)
    words = ["retrain", "--run", run.name, "--runs", str(run.parent), "--retraining-updates", "1", "--upsampling", "5"]
    assert main(words) == 0, capsys.readouterr()
    prior_id, *others = seen["ids"]
    assert prior_id.startswith("practice-1 ") and others == ["demo-1", "demo-02", "practice-1"]
    assert seen["own"] == set(others) and seen["times"] == {"practice-1": 5}


def test_a_label_on_prior_practice_is_other_data(capsys, run):
    folder = run.parent / "other" / "bags" / "practice"
    folder.mkdir(parents=True)
    write_episodes(folder / "practice_000.mcap", [another("practice-1", 3)])
    assert pretrain(capsys, run, "--prior", str(folder))[0] == 0
    write_labels(run.parent / "other" / "labels.json", {"practice-1": {-1: Verdict.FAILURE}})
    code, said = pretrain(capsys, run)
    assert code == 1 and "other settings or data (data.prior_labels)" in said
    assert pretrain(capsys, run, "--again")[0] == 0


def test_bags_of_two_cameras_are_learnt_from_and_one_without_is_refused(capsys, run, tmp_path):
    def with_wrist(name: str) -> EpisodeData:
        plain = episode(name)
        return dataclasses.replace(plain, further_images={"wrist": plain.images[:, ::-1].copy()})

    (run / "config.yaml").write_text(
        "task: pot_pick_and_place\nsettings: {network: {further_cameras: [wrist], hidden_size: 32}}\n"
    )
    code, said = pretrain(capsys, run)
    assert code == 1 and "Episode demo-1 in" in said and "recorded without the camera wrist" in said
    (demos,) = (run / "bags" / "demos").glob("*.mcap")
    demos.unlink()
    write_episodes(demos, [with_wrist("demo-1"), with_wrist("demo-02")])
    code, said = pretrain(capsys, run, "--prior", prior(tmp_path / "bridge", with_wrist("bridge-0")))
    assert code == 0 and "Prior data: 1 episodes" in said, said
    _, tensors, state = CheckpointStore(run / "pretrained").load()
    assert state["network"]["further_cameras"] == ["wrist"]
    assert tensors["network.encoder.stem.weight"].shape[1] == 6 * 16
