"""The learner node misses an episode that is in the bag only later, as when the recorder is behind."""

import json
import time

import pytest
from robofume_common.conversion import array_to_image, floats, to_time
from robofume_common.enums import Outcome
from robofume_data.episode_writer import write_episodes
from test_learner_full_disk import Practice
from test_learner_full_disk import practice as practice
from test_policy_learning_pipeline import make_episode

from robofume_common import qos
from robofume_interfaces.msg import Episode, Step

MISSED, KNOWN = make_episode(7), make_episode(9)


@pytest.fixture
def ends(practice):
    return practice.node.create_publisher(Episode, "episode", qos.EPISODE)


def say_the_last_step_and_the_end(practice: Practice, ends, episode) -> None:
    """As one hears it who began to listen in the middle of it."""
    step = Step(stamp=to_time(episode.length), episode_id=episode.episode_id, index=episode.length)
    step.phase, step.direction, step.instruction = int(episode.phase), int(episode.direction), episode.instruction
    step.image = array_to_image(episode.images[-1], step.stamp, "camera")
    step.proprioception = floats(episode.proprioception[-1])
    practice.publisher.publish(step)
    end = Episode(episode_id=episode.episode_id, phase=step.phase, direction=step.direction, task=episode.task)
    end.instruction, end.num_steps, end.outcome = episode.instruction, episode.length, int(Outcome.SUCCESS)
    end.success_index = episode.success_index
    ends.publish(end)


def test_an_episode_that_it_missed_is_looked_for_until_it_is_in_the_bag(practice, ends) -> None:
    folder = practice.folder / "practice"
    folder.mkdir()
    write_episodes(folder / "practice_0000.mcap", [KNOWN])
    practice.start(practice=json.dumps([str(folder)]), episode_deadline=0.5)
    practice.wait(lambda: ends.get_subscription_count() > 0)
    assert practice.statuses[-1].episodes == 1

    say_the_last_step_and_the_end(practice, ends, MISSED)
    say_the_last_step_and_the_end(practice, ends, KNOWN)  # by a switcher that was started again
    began = time.monotonic()
    practice.wait(lambda: time.monotonic() > began + 3.0)
    updates = practice.statuses[-1].updates
    practice.step(4)
    practice.wait(lambda: practice.statuses[-1].updates == updates + 4)  # meanwhile it learns
    assert practice.statuses[-1].episodes == 1

    write_episodes(folder / "practice_0001.mcap", [MISSED])
    practice.wait(lambda: practice.statuses[-1].episodes == 2)
    said = practice.end()
    assert said.count("It is looked for in the bags.") == 1 and "Traceback" not in said, said
    assert practice.process.returncode == 0
