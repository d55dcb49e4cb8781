"""Pictures of arranged scenes as episodes without an action."""

import numpy as np
import pytest
from robofume_common.enums import Direction, Outcome, RewardSource, Verdict
from robofume_common.errors import RobofumeError
from robofume_common.task import TaskDescription
from robofume_data.arranged_scenes import PER_SCENE, arranged_episodes
from robofume_data.bag_reader import read_episodes
from robofume_data.check import check_bags
from robofume_data.episode_writer import write_episodes
from robofume_data.labels import read_labelled, write_labels
from robofume_data.summary import report, summarise

TASK = TaskDescription(name="lid", forward_instruction="put the lid on", backward_instruction="take the lid off")
IMAGE = np.random.default_rng(0).integers(0, 255, (8, 8, 3), np.uint8)
HOME = np.arange(7, dtype=np.float32)


def test_each_direction_is_answered_and_comes_back_from_a_bag(tmp_path):
    written = arranged_episodes(3, TASK, IMAGE, HOME, forward=True, backward=False)
    assert len(written) == PER_SCENE
    bag = tmp_path / "run" / "bags" / "scenes" / "scenes_0000.mcap"
    bag.parent.mkdir(parents=True)
    write_episodes(bag, written)
    forward, backward = read_episodes([bag])
    assert (forward.episode_id, forward.direction) == ("scene_forward-000003", Direction.FORWARD)
    assert (forward.outcome, forward.success_index, forward.verdicts[0]) == (Outcome.SUCCESS, 0, Verdict.SUCCESS)
    assert (backward.instruction, backward.outcome) == ("take the lid off", Outcome.TIMEOUT)
    for episode in (forward, backward):
        assert episode.length == 0 and episode.sources.tolist() == [RewardSource.HUMAN]
        np.testing.assert_array_equal(episode.images[0], IMAGE)
        np.testing.assert_array_equal(episode.proprioception[0], HOME)
    assert all(found.is_sound for found in check_bags([bag]))
    told = report(summarise([bag]))
    assert "1 success" in told and "1 timeout" in told and "nan" not in told
    write_labels(tmp_path / "run" / "labels.json", {"scene_forward-000003": {-1: Verdict.FAILURE}})
    assert [episode.outcome for episode in read_labelled([bag])] == [Outcome.TIMEOUT, Outcome.TIMEOUT]


def test_a_picture_or_pose_of_another_shape_is_refused():
    with pytest.raises(RobofumeError, match="images"):
        arranged_episodes(0, TASK, IMAGE[0], HOME, forward=True, backward=False)
    with pytest.raises(RobofumeError, match="proprioception"):
        arranged_episodes(0, TASK, IMAGE, HOME[:6], forward=True, backward=False)
    with pytest.raises(RobofumeError, match="finite"):
        arranged_episodes(0, TASK, IMAGE, HOME * np.nan, forward=True, backward=False)
