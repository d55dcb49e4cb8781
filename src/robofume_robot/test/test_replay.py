"""A recorded robot becomes steps: the core, and the node with a camera node and a bag's messages over DDS."""

import dataclasses
import itertools

import numpy as np
import pytest
from robofume_common.conversion import array_to_image, to_nanoseconds, to_time
from robofume_common.enums import Outcome
from robofume_common.errors import RobofumeError
from robofume_robot.kinematics import (
    JOINT_NAMES,
    inverse_kinematics,
    pose_from_vector,
    proprioception,
)
from robofume_robot.replay import Replay, ReplayConfig, ReplayEpisode, ReplayStep

PERIOD = 200_000_000  # ns
HOME = (0.0, -0.3044, 0.4469, 0.0, 1.4283, 0.0)
CONFIG = ReplayConfig(task="pot", forward_instruction="put it in", backward_instruction="take it out")


def joints(x, y, z, yaw=0.0, finger=0.037):
    solution = inverse_kinematics(pose_from_vector((x, y, z, 0.0, 0.0, yaw)), HOME)
    assert solution.converged
    return np.array([*solution.joint_positions, finger, finger])


PATH = [joints(0.22 + 0.01 * i, 0.02 * i, 0.17 - 0.01 * i, 0.05 * i, 0.037 - 0.004 * i) for i in range(5)]


def play(replay, path=PATH, first=0):
    events = []
    for i, positions in enumerate(path):
        stamp = (first + i) * PERIOD
        replay.joint_state(stamp, positions)
        events += replay.picture(stamp, f"picture {i}", 0.2 * i)
    return events


def test_actions_are_what_the_arm_did():
    replay = Replay(CONFIG)
    steps = play(replay)
    assert [step.index for step in steps] == [0, 1, 2, 3] and steps[0].image == "picture 0"
    for step, before, after in zip(steps, PATH, PATH[1:], strict=False):
        np.testing.assert_allclose(step.proprioception, proprioception(before))
        np.testing.assert_allclose(step.action[:3], (0.01, 0.02, -0.01), atol=2e-4)
        np.testing.assert_allclose(step.action[3:6], (0.0, 0.0, 0.05), atol=2e-3)
        assert step.action[6] == pytest.approx(proprioception(after)[6])
    last, episode = replay.end()
    assert isinstance(last, ReplayStep) and last.index == 4 and last.action is None
    assert episode == ReplayEpisode("replay_00000", 4, Outcome.UNKNOWN)  # nobody said how it ended
    assert replay.end() == []


@pytest.mark.parametrize(("said", "outcome"), [("success", Outcome.SUCCESS), ("timeout", Outcome.TIMEOUT)])
def test_a_person_may_say_how_it_ended(said, outcome):
    replay = Replay(dataclasses.replace(CONFIG, outcome=said))
    play(replay)
    assert replay.end()[-1].outcome == outcome


def test_recorded_commands_count_more_than_motion():
    replay = Replay(CONFIG)
    replay.command(PERIOD, np.array([0.03, 0, 0, 0, 0, 0, 0.0]))
    steps = play(replay)
    np.testing.assert_allclose(steps[1].action, [0.03, 0, 0, 0, 0, 0, 0])
    assert steps[2].action[0] == pytest.approx(0.01, abs=2e-4)


def test_large_motions_are_cut_and_counted():
    replay = Replay(ReplayConfig(task="p", forward_instruction="a", backward_instruction="b", translation_limit=0.015))
    steps = play(replay)
    assert all(step.action[1] == 0.015 for step in steps) and replay.counters["cut_actions"] == 4


def test_episodes_end_at_gaps_at_the_limit_in_silence_and_where_time_goes_back():
    replay = Replay(CONFIG)
    events = [*play(replay), *play(replay, first=100), *play(replay, first=0)]
    episodes = [event.episode_id for event in events if isinstance(event, ReplayEpisode)]
    assert episodes == ["replay_00000", "replay_00001"]
    assert replay.tick(1.0) == []
    assert [type(event) for event in replay.tick(10.0)] == [ReplayStep, ReplayEpisode]
    limited = Replay(ReplayConfig(task="p", forward_instruction="a", backward_instruction="b", step_limit=2))
    events = play(limited)
    assert [event.num_steps for event in events if isinstance(event, ReplayEpisode)] == [2]


def test_pictures_without_a_joint_state_make_no_steps():
    replay = Replay(CONFIG)
    assert replay.picture(0, "", 0.0) == [] and replay.end() == []
    replay.joint_state(10 * PERIOD, PATH[0])
    assert replay.picture(20 * PERIOD, "", 0.0) == []
    assert replay.counters["without_joint_state"] == 2


def test_what_the_recording_shows_must_be_said():
    with pytest.raises(RobofumeError, match="forward_instruction and backward_instruction"):
        ReplayConfig(task="pot")


def test_a_recorded_robot_becomes_steps_through_the_graph(graph):
    """Raw pictures and joint states, as `ros2 bag play` sends them, through the camera node into steps."""
    from sensor_msgs.msg import Image, JointState

    from robofume_common import qos
    from robofume_interfaces.msg import Episode, Reward, Step

    steps: list[Step] = []
    episodes: list[Episode] = []
    graph.node.create_subscription(Step, "step", steps.append, qos.STEP)
    graph.node.create_subscription(Episode, "episode", episodes.append, qos.EPISODE)
    rewards: list[Reward] = []
    graph.node.create_subscription(Reward, "reward", rewards.append, qos.REWARD)
    images = graph.node.create_publisher(Image, "camera/image_raw", qos.IMAGE)
    states = graph.node.create_publisher(JointState, "joint_states", qos.STATE)
    graph.start("camera", rate=5.0, exit_when_lost=False)
    process = graph.start(
        "replay",
        task="pot",
        forward_instruction="put it in",
        backward_instruction="take it out",
        direction=2,
        outcome="success",
        session="old",
        silence=600.0,  # where this process is held up, nothing has ended: what ends an episode here is a gap
    )
    assert graph.until(lambda: images.get_subscription_count() and states.get_subscription_count())
    names = ["gripper", *JOINT_NAMES]

    def show(stamp: int, positions, level: int = 50) -> None:
        """A picture of 10 Hz, of which 5 a second are taken, and joint states of 50 Hz."""
        for part in range(5):
            message = JointState(name=names, position=[0.0, *positions.tolist()])
            message.position[-1] *= -1.0  # as Interbotix' driver counts the right finger
            message.header.stamp = to_time(stamp + part * 20_000_000 - 50_000_000)
            states.publish(message)
        images.publish(array_to_image(np.full((90, 120, 3), level, np.uint8), to_time(stamp)))

    # An episode first that is over when all have found one another.
    before = itertools.count(500_000_000_000, 100_000_000)
    assert graph.until(lambda: show(next(before), PATH[0]) or graph.until(lambda: steps, 0.1))

    def of_the_second(messages: list) -> list:
        return [message for message in messages if message.episode_id == "old_00001"]

    for tick in range(50):
        show(1_000_000_000_000 + tick * 100_000_000, PATH[tick // 10], 50 + tick)
        # A step comes with the picture after its own. Whoever is slow is waited for: queues are short.
        assert graph.until(lambda taken=tick // 2: len(of_the_second(steps)) >= taken), f"tick {tick}"
    show(2_000_000_000_000, PATH[-1])
    assert graph.until(lambda: of_the_second(episodes))
    assert graph.until(lambda: len(of_the_second(steps)) == 25 and of_the_second(rewards))
    graph.settle()
    steps, episodes, rewards = of_the_second(steps), of_the_second(episodes), of_the_second(rewards)
    assert len(steps) == 25 and episodes[0].num_steps == len(steps) - 1
    assert [step.index for step in steps] == list(range(len(steps)))
    assert {(step.episode_id, step.direction, step.instruction) for step in steps} == {("old_00001", 2, "take it out")}
    assert steps[0].image.width == 64 and len(steps[0].action) == 7 and len(steps[-1].action) == 0
    stamps = [to_nanoseconds(step.stamp) for step in steps]
    assert (np.diff(stamps) >= PERIOD).all()
    assert episodes[0].outcome == Episode.OUTCOME_SUCCESS and episodes[0].success_index == episodes[0].num_steps
    assert [(r.index, r.verdict, r.source) for r in rewards] == [(len(steps) - 1, 1, Reward.SOURCE_HUMAN)]
    assert graph.stop(process)[0] == 0
