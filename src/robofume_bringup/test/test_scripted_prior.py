"""`robofume prior`: bags of other tasks, each whole or not there."""

import pytest
from robofume_bringup.cli import main
from robofume_bringup.cli import prior as prior_command
from robofume_bringup.run_config import RunConfig
from robofume_bringup.stages.prior import PriorData
from robofume_common.enums import Direction
from robofume_data.bag_reader import read_episodes


def test_bags_of_two_tasks_are_prior_data_of_a_run(tmp_path, capsys):
    words = ["prior", "--output", str(tmp_path), "--tasks", "blue_block_left", "red_ball_corner", "--episodes", "4"]
    assert main(words) == 0
    assert "blue_block_left.mcap: 4 episodes" in capsys.readouterr().out
    episodes = list(read_episodes([tmp_path]))
    assert len({episode.episode_id for episode in episodes}) == 8
    assert {episode.instruction for episode in episodes} >= {
        "put the blue block on the green plate", "take the blue block off the green plate",
    }  # fmt: skip
    assert {episode.direction for episode in episodes} == {Direction.FORWARD, Direction.BACKWARD}
    assert sum(episode.is_success for episode in episodes) >= 4
    data = PriorData(RunConfig(task="pot_lid", prior=(str(tmp_path),)))
    assert len(list(data.before([]))) == 8 and "8 episodes" in data.sentence()
    before = (tmp_path / "blue_block_left.mcap").read_bytes()
    assert main(words) == 0
    assert "is there already" in capsys.readouterr().out
    assert (tmp_path / "blue_block_left.mcap").read_bytes() == before


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--tasks", "no_such"], "There is no prior task no_such; choose from: blue_block_left"),
        (["--episodes", "0"], "--episodes is between 1 and"),
        (["--failure-share", "nan"], "--failure-share is between 0 and 1"),
        (["--seed", "-1"], "--seed is 0 or more"),
    ],
)
def test_what_cannot_be_is_one_sentence(tmp_path, capsys, words, sentence):
    assert main(["prior", "--output", str(tmp_path / "out"), *words]) == 1
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_what_was_stopped_leaves_no_part_of_a_bag(tmp_path, capsys, monkeypatch):
    whole = prior_command._demonstrate

    def stopped(variant, options, keep):
        def keep_and_stop(episode):
            keep(episode)
            raise KeyboardInterrupt

        whole(variant, options, keep_and_stop)

    monkeypatch.setattr(prior_command, "_demonstrate", stopped)
    with pytest.raises(KeyboardInterrupt):
        main(["prior", "--output", str(tmp_path), "--tasks", "blue_block_left", "--episodes", "2"])
    assert list(tmp_path.iterdir()) == []
