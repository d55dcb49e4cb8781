"""`robofume reward train`, `evaluate` and `rescore` on recorded bags."""

import json

import pytest
from drawn_episodes import demonstrations, drawn
from robofume_bringup.cli import main
from robofume_bringup.run_directory import RunDirectory
from robofume_common.enums import RewardSource, Verdict
from robofume_data.episode_writer import write_episodes
from robofume_data.labels import write_labels
from robofume_reward.film_cnn import FilmCnnConfig
from robofume_reward.model import RewardModel

from robofume_reward import baselines, mining, tiny_model, training

QUICK = ("--set", "reward_training.updates=2", "--set", "reward_training.batch_size=8")
CNN = ("--set", "reward_training.method=film_cnn", *QUICK)


def make_run(folder, practice=(), number=0, settings=""):
    """A run with demonstrations, and what it practised."""
    directory = RunDirectory(folder)
    for kind, episodes in (("demos", demonstrations(10, number)), ("practice", practice)):
        directory.bags(kind).mkdir(parents=True)
        if episodes:
            write_episodes(directory.bags(kind) / f"{kind}_0000.mcap", episodes)
    directory.config_file.write_text(f"task: pot_pick_and_place\n{settings}")
    return directory


def robofume(capsys, *words) -> tuple[int, str, str]:
    code = main([str(word) for word in words])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def on(run) -> list:
    return ["--run", run.name, "--runs", run.path.parent]


def training_of(folder) -> dict:
    return json.loads((folder / "training.json").read_text())


@pytest.fixture
def judged_by_the_model():
    return [drawn(number, "practice", number % 2 == 0, RewardSource.VLM) for number in range(4)]


def test_labels_that_were_given_while_it_practised_are_learnt_from(capsys, tmp_path, judged_by_the_model):
    """By the topic `label`, so that they are in the bag and not in labels.json."""
    known = judged_by_the_model[1]
    known.sources[-1], known.verdicts[-1] = RewardSource.HUMAN, Verdict.FAILURE
    run = make_run(tmp_path / "lid", judged_by_the_model)
    code, out, err = robofume(capsys, "reward", "train", *on(run), *CNN)
    assert code == 0, err
    assert not run.labels.exists() and "held-out episodes" in out
    summary = training_of(run.reward)
    learnt = {*summary["trained_on"], *summary["held_out_episodes"]}
    assert {name for name in learnt if name.startswith("practice")} == {known.episode_id}
    assert len(learnt) == 11 and known.episode_id == "practice-000001"


def evaluation_of(folder) -> dict:
    return json.loads((folder / "evaluation.json").read_text())


def test_settings_of_one_call_are_not_kept(capsys, tmp_path):
    own = "settings: {reward_training: {updates: 77}, reward: {hold: 2, window: 3}}\n"
    run = make_run(tmp_path / "lid", settings=own)
    assert robofume(capsys, "reward", "train", *on(run), *CNN)[0] == 0
    before = run.read_config()
    options = training_of(run.reward)["options"]
    assert (options["method"], options["updates"]) == ("film_cnn", 2)
    assert before["settings"] == {"reward_training": {"updates": 77}, "reward": {"hold": 2, "window": 3}}
    for given, enough in (((), 0.8), (("--set", "reward.enough=0.6", "--set", "reward.needed=2"), 0.6)):
        calibration = json.loads((run.reward / "calibration.json").read_text())
        (run.reward / "calibration.json").write_text(json.dumps({**calibration, "threshold": 0.9}))
        code, _, err = robofume(capsys, "reward", "evaluate", *on(run), *given)
        assert code == 0, err
        rule = evaluation_of(run.reward)["rule"]
        assert rule == {"threshold": enough, "needed": 2 if given else 1, "window": 3, "hold": 2, "minimum_index": 0}
    assert run.read_config() == before
    code, _, err = robofume(capsys, "reward", "train", "--again", *on(run), "--set", "learner.batch_size=9")
    assert code == 1 and "was started with settings" in err
    code, _, err = robofume(capsys, "reward", "evaluate", *on(run), "--set", "reward.colour=red")
    assert code == 1 and "colour" in err


def test_bags_alone_are_enough(capsys, tmp_path):
    one, other = make_run(tmp_path / "one"), make_run(tmp_path / "other", number=1)
    bag, (unseen,) = one.bag_files("demos")[0], other.bag_files("demos")
    model = tmp_path / "model"
    nowhere = ("--runs", tmp_path / "runs")
    code, out, err = robofume(capsys, "reward", "train", bag, "--output", model, "--seed", 3, *nowhere, *CNN)
    assert code == 0 and f"It is in {model}" in out, err
    assert training_of(model)["options"]["seed"] == 3 and training_of(model)["bags"] == [str(bag.resolve())]
    code, out, err = robofume(capsys, "reward", "evaluate", unseen, "--model", model, *nowhere)
    assert code == 0 and "forward from home" in out, err
    assert sum(evaluation_of(model)[way]["episodes"]["episodes"] for way in ("forward", "backward")) == 10
    words = ("reward", "rescore", unseen, "--model", model, "--output", tmp_path / "again", *nowhere)
    code, out, err = robofume(capsys, *words, "--set", "reward.enough=0.7")
    assert code == 0 and "10 episodes" in out, err
    assert not (tmp_path / "runs").exists()
    code, out, _ = robofume(capsys, "reward", "train", bag, "--output", model, *nowhere, *CNN)
    assert code == 0 and "--again" in out


def test_without_run_and_folder_the_error_says_what_is_missing(capsys, tmp_path):
    bag = make_run(tmp_path / "one").bag_files("demos")[0]
    nowhere = ("--runs", tmp_path / "runs")
    for words, missing in (
        (("train", bag), "--output"), (("evaluate", bag), "--model"), (("rescore", bag, "--model", "x"), "--output"),
    ):  # fmt: skip
        code, _, err = robofume(capsys, "reward", *words, *nowhere)
        assert code == 1 and "There is no run" in err and missing in err
    words = ("reward", "train", bag, *nowhere, "--output")
    assert robofume(capsys, *words, tmp_path / "m", "--set", "learner.batch_size=9")[0] == 1
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("all of it")
    for taken in (tmp_path / "mine", tmp_path / "mine" / "thesis.txt"):
        code, _, err = robofume(capsys, *words, taken, "--again")
        assert code == 1 and "holds no reward model" in err
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "all of it"


@pytest.mark.parametrize("command", ["evaluate", "rescore", "train"])
def test_judges_are_run_as_the_node_runs_them(capsys, tmp_path, command, monkeypatch):
    run = make_run(tmp_path / "lid", settings="settings: {reward: {dtype: bfloat16}}\n")
    tiny_model.save(run.reward, tiny_model.TinyModelConfig(image_size=32, vision_width=8, text_width=32), seed=0)
    loaded = []
    plain = RewardModel.load.__func__

    def load(cls, source, config=None):
        loaded.append((str(source), config))
        return plain(cls, source, config)

    monkeypatch.setattr(RewardModel, "load", classmethod(load))
    bags = run.bag_files("demos") if command == "rescore" else []
    more = ("--second-judge", run.reward, "--again", *CNN) if command == "train" else ()
    code, _, err = robofume(capsys, "reward", command, *bags, *on(run), "--set", "reward.threads=2", *more)
    assert code == 0, err
    ((source, config),) = loaded
    assert source == str(run.reward) and (config.dtype, config.threads, config.device) == ("bfloat16", 2, "cpu")


def test_baselines_learn_what_the_model_learnt_and_are_measured_beside_it(capsys, tmp_path, monkeypatch):
    practised = [drawn(number, "practice", number % 2 == 0, RewardSource.VLM, run=1) for number in range(4)]
    one, other = make_run(tmp_path / "one"), make_run(tmp_path / "other", practised, number=1)
    write_labels(other.labels, {practised[1].episode_id: {-1: Verdict.FAILURE}})
    bags = [*one.bag_files("demos"), *other.bag_files("practice")]
    code, _, err = robofume(capsys, "reward", "train", *bags, *on(other), *CNN,
                            "--set", "reward_training.target_precision=0.9")  # fmt: skip
    assert code == 0, err
    learnt, plain = {}, baselines.train

    def spied(name, training, held, options, **named):
        learnt[name] = [episode.key for episode in training], [episode.key for episode in held]
        assert (options.seed, options.threads, options.target_precision) == (0, 2, 0.9)
        return plain(name, training, held, options, FilmCnnConfig(updates=2), **named)

    monkeypatch.setattr(baselines, "train", spied)
    code, out, err = robofume(capsys, "reward", "evaluate", *bags, *other.bag_files("practice"),
                              *other.bag_files("demos"), *on(other), "--baselines",
                              "--set", "reward.threads=2")  # fmt: skip
    assert code == 0, err
    summary = training_of(other.reward)
    assert len(summary["trained_on_keys"]) + len(summary["held_out_keys"]) == 11
    assert learnt == dict.fromkeys(baselines.NAMES, (summary["trained_on_keys"], summary["held_out_keys"]))
    assert all(f"\n{name}:\n" in out for name in baselines.NAMES)
    evaluated = other.stage_record("reward")["evaluated"]
    assert set(evaluated["baselines"]) == set(baselines.NAMES)
    for ways in (evaluated, *evaluated["baselines"].values()):  # the same episodes for all
        assert sum(ways[way]["frames"] for way in ("forward", "backward")) == evaluated["forward"]["frames"] + (
            evaluated["backward"]["frames"]
        )
        assert ways["rule"]["threshold"] <= 0.8


def test_a_second_judge_makes_labels_of_what_it_confirms(capsys, tmp_path, judged_by_the_model):
    run = make_run(tmp_path / "lid", judged_by_the_model)
    second = tmp_path / "second"
    tiny_model.save(second, tiny_model.TinyModelConfig(image_size=32, vision_width=8, text_width=32), seed=0)
    confirmed = mining.agreed(judged_by_the_model, RewardModel.load(second), 0.5)
    assert confirmed
    code, _, err = robofume(capsys, "reward", "train", *on(run), "--second-judge", second, *CNN,
                            "--set", "reward_training.agreement=0.5")  # fmt: skip
    assert code == 0, err
    summary = training_of(run.reward)
    learnt = {*summary["trained_on_keys"], *summary["held_out_keys"]}
    assert set(summary["agreed_keys"]) == confirmed
    assert learnt & {episode.key for episode in judged_by_the_model} == confirmed


def test_the_tiny_model_is_trained_measured_and_rescores(capsys, tmp_path):
    """The commands one after the other, with the vision-language model itself."""
    run = make_run(tmp_path / "lid", demonstrations(4, run=1, kind="practice"))
    code, out, err = robofume(capsys, "reward", "train", *run.bag_files("demos"), *on(run), *QUICK)
    assert code == 0 and "held-out episodes" in out and "AUC (95%)" in out, err
    assert run.stage_record("reward")["finished"] and (run.reward / "config.json").is_file()
    code, out, err = robofume(capsys, "reward", "evaluate", *run.bag_files("practice"), *on(run))
    assert code == 0, err
    assert run.stage_record("reward")["evaluated"]["model_version"].startswith("reward@")
    code, out, err = robofume(capsys, "reward", "rescore", *run.bag_files("practice"), *on(run))
    assert code == 0 and "4 episodes with 28 steps" in out, err


def test_practice_refuses_a_model_that_has_learnt_nothing_and_changes_nothing(capsys, tmp_path):
    settings = "in_process: true\npractice_steps: 100\nsettings: {reward: {%s}}\n"
    run = make_run(tmp_path / "lid", settings=settings % "threads: 1")
    for part in (run.reward, run.pretrained):
        part.mkdir()
    home = {"true_positives": 63, "false_positives": 36, "precision_interval": [0.54, 0.72]}
    (run.reward / "training.json").write_text(json.dumps({"held_out": {"forward": {"from_home": home}}}))
    before = sorted(run.path.rglob("*"))
    code, out, err = robofume(capsys, "practice", *on(run))
    assert code == 1 and "36 of the 99 scenes that it called a success from home were none" in err
    assert "accept_unfit" in err and not out
    assert [path for path in sorted(run.path.rglob("*")) if path not in before and path.is_file()] == []
    run.config_file.write_text(f"task: pot_pick_and_place\n{settings % 'accept_unfit: true'}")
    code, _, err = robofume(capsys, "practice", *on(run))
    assert code == 1 and "36 of the 99" not in err, "what is refused then is that there is no model"
    run.config_file.write_text(f"task: pot_pick_and_place\n{settings % 'judge: ground_truth'}")
    code, _, err = robofume(capsys, "practice", *on(run))
    assert code == 1 and "36 of the 99" not in err, "nobody asks the model"


def test_the_whole_loop_ends_before_pre_training_where_the_model_has_learnt_nothing(capsys, tmp_path):
    run = make_run(tmp_path / "lid", settings="in_process: true\ndemonstrations: 1\nfailures: 0\nscenes: 0\n")
    run.reward.mkdir()
    home = {"true_positives": 63, "false_positives": 36, "precision_interval": [0.54, 0.72]}
    (run.reward / "training.json").write_text(json.dumps({"held_out": {"forward": {"from_home": home}}}))
    run.note("reward", finished=True)
    code, _, err = robofume(capsys, "demo", *on(run))
    assert code == 1 and "36 of the 99" in err and "accept_unfit" in err
    assert not run.pretrained.exists()


def test_what_was_tried_is_told(capsys, tmp_path, monkeypatch):
    found = ["forward, it called 0 of 30 successes from home one"]
    monkeypatch.setattr(training, "shortcomings", lambda _measured: found.pop() if found else "")
    run = make_run(tmp_path / "lid")
    code, out, err = robofume(capsys, "reward", "train", *on(run), *CNN)
    assert code == 0, err
    assert "trained 2 times, each time from other weights, since: forward, it called 0 of 30" in out
    assert [attempt["seed"] for attempt in training_of(run.reward)["attempts"]] == [0, 1000]
