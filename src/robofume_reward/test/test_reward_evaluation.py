"""A saved judge measured on bags: which episodes count, and what is written beside it."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import synthetic_episodes
from PIL import Image
from robofume_common.enums import Outcome, RewardSource, Verdict
from robofume_common.errors import RobofumeError
from robofume_data.episode import EpisodeData
from robofume_data.episode_writer import write_episodes
from robofume_data.labels import write_labels
from robofume_reward.asking import VerdictConfig
from robofume_reward.familiarity import Familiarity
from robofume_reward.judge import JudgeConfig
from robofume_reward.loading import load_judge
from robofume_reward.saved import Calibration, View
from robofume_reward.training import TrainingConfig
from robofume_reward.training_summary import read_summary

from robofume_reward import evaluation, training, worst_frames

START = 1_700_000_000_000_000_000
OPTIONS = TrainingConfig(method="film_cnn", updates=2)


def recorded(run: int, count: int = 8) -> list[EpisodeData]:
    """Episodes of a run. The ids and the stamps of all runs are the same, as those of simulations are."""
    episodes = synthetic_episodes.episodes(count, seed=run, failure_share=0.3)
    return [dataclasses.replace(item, closed=START + 10**12 * run + i) for i, item in enumerate(episodes)]


@pytest.fixture(scope="module")
def bags(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    folder = tmp_path_factory.mktemp("runs")
    paths = {run: folder / str(run) / "bags" / "practice" / "practice_0000.mcap" for run in (1, 2)}
    for run, path in paths.items():
        path.parent.mkdir(parents=True)
        write_episodes(path, recorded(run))
    return paths


@pytest.fixture(scope="module")
def model(bags: dict[int, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("model") / "reward"
    training.train([bags[1]], directory, OPTIONS)
    return directory


def only_its_end(number: int, succeeds: bool) -> EpisodeData:
    """Practice of which a person has judged the last step, and nobody knows more."""
    episode = synthetic_episodes.episodes(1, seed=number, failure_share=0.0 if succeeds else 1.0)[0]
    sources = np.full_like(episode.sources, RewardSource.VLM)
    sources[-1] = RewardSource.HUMAN
    verdicts = np.full_like(episode.verdicts, Verdict.FAILURE)
    verdicts[-1] = Verdict.SUCCESS if succeeds else Verdict.FAILURE
    return dataclasses.replace(
        episode, episode_id=f"practice-{number}", sources=sources, verdicts=verdicts, forward_success=None,
        backward_success=None, success_index=16 if succeeds else -1, closed=START + number,
    )  # fmt: skip


class Sure:
    """A judge that says so of everything."""

    opposites: ClassVar = {}
    view, familiarity = View(), Familiarity()

    def __init__(self, calibration: Calibration) -> None:
        self.calibration = calibration

    def log_odds(self, images: np.ndarray, instructions: list[str]) -> np.ndarray:
        return np.full(len(images), 3.0)


def test_labels_of_failed_ends_alone_can_be_measured() -> None:
    result = evaluation.evaluate_episodes(Sure(Calibration()), [only_its_end(n, False) for n in range(3)])
    forward = result["forward"]
    assert (forward["false_positives"], forward["episodes"]["episodes"], forward["from_home"]["frames"]) == (3, 3, 0)
    assert forward["from_home"]["precision"] is None
    assert evaluation.table(result).splitlines()[2].split() == [
        "forward", "from", "home", "none", "called", "none", "there", "-", "-", "0/0/0/0", "0"
    ]  # fmt: skip
    with pytest.raises(RobofumeError, match="No recorded episode gives a labelled frame"):
        evaluation.evaluate_episodes(Sure(Calibration()), [])


class Unsure(Sure):
    """A judge that is not sure enough of anything in motion, and sure enough from home."""

    def __init__(self) -> None:
        super().__init__(Calibration(1.0, 0.9, 0.95, 0.2))

    def log_odds(self, images: np.ndarray, instructions: list[str]) -> np.ndarray:
        return np.where([text in self.opposites.values() for text in instructions], 0.8, 0.4)


def counted(judge: Sure, episode: EpisodeData, **rule: float) -> tuple[int, ...]:
    """How many frames of a success forward were called one rightly, wrongly, and left unknown though it was one."""
    result = evaluation.evaluate_episodes(judge, [episode], verdicts=VerdictConfig(**rule))["forward"]
    return tuple(result[name] for name in ("true_positives", "false_positives", "unknown_positives"))


def test_the_first_and_the_last_step_have_the_rule_for_what_is_seen_from_home(monkeypatch: pytest.MonkeyPatch) -> None:
    episode = synthetic_episodes.episodes(1, seed=0, failure_share=0.0)[0]  # a success from step 13 of 16 on
    assert counted(Unsure(), episode, home_threshold=0.5) == (1, 1, 3)
    assert counted(Unsure(), episode) == (0, 0, 4)
    rule = VerdictConfig(home_threshold=0.5)
    steps = evaluation.evaluate_episodes(Unsure(), [episode], JudgeConfig(minimum_index=3), verdicts=rule)["forward"]
    assert (steps["episodes"]["called_success"], steps["episodes"]["precision"]) == (1, 1.0)
    monkeypatch.setattr(Unsure, "opposites", {episode.instruction: "take it out"})
    assert counted(Unsure(), episode, home_threshold=0.5) == (0, 0, 4), "it is even surer of the other direction"


def test_what_the_loop_does_not_ask_about_is_not_measured_and_what_shows_nothing_is_unknown() -> None:
    episode, judge = synthetic_episodes.episodes(1, seed=0, failure_share=0.0)[0], Sure(Calibration())
    assert counted(judge, episode) == (4, 13, 0)
    assert counted(judge, episode, every=5) == (2, 3, 0)  # 0, 5, 10, 15, and the last
    episode.images[14] = 0
    episode.images[2] = episode.images[1]  # the camera is frozen: the arm has moved
    assert counted(judge, episode) == (3, 12, 1)


@pytest.mark.parametrize(
    ("calibration", "said"),
    [
        (Calibration(target_precision=0.95, held_out_precision=0.8, held_out_verdicts=40.0), "of the 40 success"),
        (Calibration(target_precision=0.95), "no success was called"),
        (Calibration(target_precision=0.95, held_out_precision=0.96, held_out_verdicts=40.0), ""),
        (Calibration(), ""),
    ],
)
def test_a_precision_that_was_not_reached_is_told(calibration: Calibration, said: str) -> None:
    result = evaluation.evaluate_episodes(Sure(calibration), recorded(1))
    warnings = [line for line in evaluation.table(result).splitlines() if line.startswith("Warning")]
    assert len(warnings) == bool(said) and said in "".join(warnings)


def test_another_runs_episodes_are_unseen_although_their_ids_are_known(bags: dict[int, Path], model: Path) -> None:
    summary = read_summary(model)
    assert len(summary["trained_on_keys"]) == len(summary["trained_on"]) < 8
    assert summary["bags"] == [str(bags[1].resolve())]
    assert len(evaluation.unseen(model, [bags[2]])) == 8
    own = evaluation.unseen(model, [bags[1]])
    assert [episode.episode_id for episode in own] == summary["held_out_episodes"]
    assert len(evaluation.unseen(model, [bags[1]], only_held_out=False)) == 8
    assert len(evaluation.unseen(model, [bags[1], bags[2], bags[2].parent])) == len(own) + 8  # each once


def test_a_model_that_was_saved_without_keys_goes_by_the_ids(bags: dict[int, Path], model: Path, tmp_path) -> None:
    summary = read_summary(model)
    old = {name: value for name, value in summary.items() if not name.endswith("_keys")}
    (tmp_path / "training.json").write_text(json.dumps(old))
    assert len(evaluation.unseen(tmp_path, [bags[1]])) == len(summary["held_out_episodes"])
    (tmp_path / "training.json").write_text(json.dumps({**old, "trained_on": [e.episode_id for e in recorded(1)]}))
    with pytest.raises(RobofumeError, match="no episode that the reward model was not trained on"):
        evaluation.unseen(tmp_path, [bags[1]])
    (tmp_path / "training.json").write_text("[")
    with pytest.raises(RobofumeError, match="damaged"):
        evaluation.unseen(tmp_path, [bags[1]])


def test_an_episode_of_which_training_has_seen_a_scene_is_not_unseen(bags, model: Path, tmp_path: Path) -> None:
    own = evaluation.unseen(model, [bags[1]])
    (tmp_path / "training.json").write_text(json.dumps({**read_summary(model), "half_seen_keys": [own[0].key]}))
    assert [episode.key for episode in evaluation.unseen(tmp_path, [bags[1]])] == [item.key for item in own[1:]]


def test_an_episode_that_is_there_twice_is_on_one_side_of_the_split(bags: dict[int, Path], tmp_path: Path) -> None:
    judged_again = [dataclasses.replace(episode, verdicts=episode.verdicts[::-1].copy()) for episode in recorded(1)]
    write_episodes(tmp_path / "rescored.mcap", judged_again)
    summary = training.train([bags[1], bags[1].parent, tmp_path / "rescored.mcap"], tmp_path / "reward", OPTIONS)
    assert summary["left_out_as_copies"] == 16
    assert len(summary["trained_on"]) + len(summary["held_out_episodes"]) == 8
    assert not set(summary["trained_on_keys"]) & set(summary["held_out_keys"])


def test_practice_that_nobody_has_judged_teaches_nothing(tmp_path: Path) -> None:
    episodes = [
        dataclasses.replace(episode, sources=np.full_like(episode.sources, RewardSource.VLM))
        for episode in recorded(1)
    ]
    write_episodes(tmp_path / "practice.mcap", episodes)
    with pytest.raises(RobofumeError, match="no finished episode that anybody else has judged"):
        training.train([tmp_path / "practice.mcap"], tmp_path / "reward", OPTIONS)


def test_labels_hold_for_the_run_that_they_belong_to(bags: dict[int, Path], model: Path) -> None:
    name = recorded(1)[0].episode_id
    labels = bags[2].parents[2] / "labels.json"
    write_labels(labels, {name: {-1: Verdict.UNKNOWN}})
    try:
        episodes = evaluation.unseen(model, [bags[1], bags[2]], only_held_out=False)
    finally:
        labels.unlink()
    by_person = [episode for episode in episodes if (episode.sources == RewardSource.HUMAN).any()]
    assert [(episode.episode_id, episode.closed, episode.outcome) for episode in by_person] == [
        (name, recorded(2)[0].closed, Outcome.UNKNOWN)
    ]


@pytest.fixture
def copied(model: Path, tmp_path: Path) -> Path:
    """The model in a folder of its own, where something was measured before."""
    directory = tmp_path / "reward"
    shutil.copytree(model, directory)
    (directory / worst_frames.DIRECTORY).mkdir(exist_ok=True)
    (directory / worst_frames.DIRECTORY / "77.png").touch()
    return directory


def test_what_was_measured_lies_beside_the_model_with_pictures(bags: dict[int, Path], copied: Path) -> None:
    result = evaluation.evaluate(copied, [bags[1], bags[2]])
    assert json.loads((copied / evaluation.EVALUATION_FILE).read_text()) == json.loads(json.dumps(result))
    assert result["model_version"] == load_judge(copied).version
    assert "tasks" not in result  # there is one
    episodes = {episode.key: episode for episode in evaluation.unseen(copied, [bags[1], bags[2]])}
    assert sum(result[way]["episodes"]["episodes"] for way in ("forward", "backward")) == len(episodes) < 16
    worst = result["most_wrong"]
    assert 2 <= len(worst) <= 12 and len({record["key"] for record in worst}) == len(worst)
    errors = [abs(record["probability"] - record["truth"]) for record in worst]
    assert errors == sorted(errors, reverse=True) and errors[-1] > 0.5
    for record in worst:
        episode = episodes[record["key"]]
        assert (record["instruction"], record["episode_id"]) == (episode.instruction, episode.episode_id)
        assert record["truth"] == episode.truth[record["index"]]
        # Two runs have episodes of this id: the picture is that of the right one.
        np.testing.assert_array_equal(np.asarray(Image.open(copied / record["file"])), episode.images[record["index"]])
    assert len(list((copied / worst_frames.DIRECTORY).iterdir())) == len(worst)


def test_several_tasks_are_told_apart(copied: Path, tmp_path: Path) -> None:
    lid = [
        dataclasses.replace(
            episode, task="pot_lid", episode_id=f"lid-{i}", instruction=f"lid: {episode.instruction}",
            outcome=Outcome.TIMEOUT, success_index=-1, forward_success=np.zeros(17, bool),
            backward_success=np.zeros(17, bool),
        )
        for i, episode in enumerate(recorded(3, count=4))
    ]  # fmt: skip
    write_episodes(tmp_path / "both.mcap", [*recorded(2), *lid])
    result = evaluation.evaluate(copied, [tmp_path / "both.mcap"])
    assert set(result["tasks"]) == {"drawn_block", "pot_lid"}
    for way in ("forward", "backward"):
        parts = [result["tasks"][task][way] for task in ("drawn_block", "pot_lid")]
        for count in ("frames", "true_positives", "false_positives", "unknown_positives"):
            assert sum(part[count] for part in parts) == result[way][count]
        assert parts[1]["recall"] is None and parts[0]["recall"] is not None
    lines = evaluation.table(result).splitlines()
    first, second = lines.index("drawn_block:"), lines.index("pot_lid:")
    assert second == first + 7 and lines[second + 1].startswith("  forward frames")
    assert "none there" in lines[second + 1] and "none there" not in lines[first + 1]
