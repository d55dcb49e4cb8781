"""The recorder node over real DDS: what was published is in the bag, for every reader, whatever ends the node."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from mcap_ros2.reader import read_ros2_messages
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.serialization import deserialize_message
from recorded_episodes import make_episode
from robofume_common.conversion import array_to_image, floats, to_time
from robofume_data.bag_reader import Bag, read_episodes
from robofume_data.episode import EpisodeData
from rosbags.highlevel import AnyReader
from rosbags.typesys import Stores, get_typestore

from robofume_common import qos
from robofume_interfaces.msg import Episode, GroundTruth, Reward, Step, Task

DEADLINE = 120.0


class Publisher:
    """Publishes episodes as the graph would."""

    def __init__(self, domain: int) -> None:
        self.context = Context()
        rclpy.init(context=self.context, domain_id=domain)
        self.node = Node("publisher", context=self.context, namespace="left")
        self.publishers = {
            "task": self.node.create_publisher(Task, "task", qos.LATCHED),
            "step": self.node.create_publisher(Step, "step", qos.STEP),
            "reward": self.node.create_publisher(Reward, "reward", qos.REWARD),
            "episode": self.node.create_publisher(Episode, "episode", qos.EPISODE),
            "ground_truth": self.node.create_publisher(GroundTruth, "ground_truth", qos.GROUND_TRUTH),
        }
        self.steps: list[Step] = []
        self.heard: dict[str, dict[str, int]] = {}
        self.node.create_subscription(DiagnosticArray, "diagnostics", self._on_diagnostics, qos.DIAGNOSTICS)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        values = {item.key: item.value for item in message.status[0].values}
        self.heard[values["bag"]] = {
            topic: int(count) for topic, _, count in (word.partition("=") for word in values["publishers"].split())
        }

    def wait(self, bag: Path, publishers: int = 1) -> None:
        """Until the recorder of `bag` knows so many publishers of everything, and these know it.

        A writer knows its reader before the reader knows it, and what it sends meanwhile is lost.
        """

        def matched() -> bool:
            self.executor.spin_once(timeout_sec=0.05)
            heard = self.heard.get(str(bag), {})
            known = all(item.get_subscription_count() for item in self.publishers.values())
            return known and all(heard.get(topic, 0) >= publishers for topic in self.publishers)

        wait_for(matched)

    def publish(self, episode: EpisodeData, close: bool = True) -> None:
        self.publishers["task"].publish(Task(episode_id=episode.episode_id, instruction=episode.instruction))
        for index in range(episode.length + 1):
            stamp = to_time(episode.stamps[index])
            self.publishers["ground_truth"].publish(
                GroundTruth(
                    stamp=stamp,
                    forward_success=bool(episode.forward_success[index]),
                    backward_success=bool(episode.backward_success[index]),
                    object_names=["pot"],
                )
            )
            self.steps.append(
                Step(
                    stamp=stamp,
                    episode_id=episode.episode_id,
                    index=index,
                    phase=int(episode.phase),
                    direction=int(episode.direction),
                    instruction=episode.instruction,
                    image=array_to_image(episode.images[index], stamp, "camera"),
                    proprioception=floats(episode.proprioception[index]),
                    action=floats(episode.actions[index]) if index < episode.length else [],
                    actor=int(episode.actors[index]) if index < episode.length else 0,
                    policy_version=int(episode.policy_versions[index]),
                )
            )
            self.publishers["step"].publish(self.steps[-1])
            self.publishers["reward"].publish(
                Reward(
                    episode_id=episode.episode_id,
                    index=index,
                    probability=float(episode.probabilities[index]),
                    verdict=int(episode.verdicts[index]),
                    source=int(episode.sources[index]),
                )
            )
        if close:
            self.publishers["episode"].publish(
                Episode(
                    episode_id=episode.episode_id,
                    phase=int(episode.phase),
                    direction=int(episode.direction),
                    task=episode.task,
                    instruction=episode.instruction,
                    num_steps=episode.length,
                    outcome=int(episode.outcome),
                    success_index=episode.success_index,
                    assisted_reset_before=episode.assisted_reset_before,
                )
            )

    def close(self) -> None:
        self.executor.shutdown()
        self.node.destroy_node()
        self.context.try_shutdown()


def wait_for(condition) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


@pytest.fixture
def publisher(ros_domain):
    item = Publisher(ros_domain)
    yield item
    item.close()


@pytest.fixture
def start_recorder(ros_domain):
    processes = []

    def start(folder: Path, *parameters: str) -> subprocess.Popen:
        arguments = [f"directory:={folder}", "name:=practice", "disk_floor:=0.0", *parameters]
        processes.append(
            subprocess.Popen(
                [
                    sys.executable, "-m", "robofume_data.nodes.recorder", "--ros-args", "-r", "__ns:=/left",
                    *(word for text in arguments for word in ("-p", text)),
                ],
                stderr=subprocess.PIPE,
                text=True,
            )
        )  # fmt: skip
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.wait()
        process.stderr.close()


def stored_episodes(path: Path) -> int:
    """Episodes that are in the bag with their verdicts and ground truth."""
    return sum(episode.sources.all() and episode.forward_success is not None for episode in Bag(path).episodes())


def assert_recorded(path: Path, written: list[EpisodeData]) -> None:
    read = list(read_episodes(path))
    assert [episode.episode_id for episode in read] == [episode.episode_id for episode in written]
    for one, other in zip(read, written, strict=True):
        for name in (
            "images", "proprioception", "actions", "actors", "policy_versions", "stamps", "verdicts",
            "probabilities", "sources", "forward_success", "backward_success",
        ):  # fmt: skip
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
        for name in ("task", "instruction", "phase", "direction", "outcome", "success_index"):
            assert getattr(one, name) == getattr(other, name)
        assert one.assisted_reset_before == other.assisted_reset_before
        assert one.closed > 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_every_step_is_recorded_and_read_back_by_three_readers(tmp_path, publisher, start_recorder, number):
    recorder = start_recorder(tmp_path / "bags")
    publisher.wait(tmp_path / "bags" / "practice_0000.mcap")
    episodes = [make_episode(index, actions=12, size=100) for index in range(4)]
    for episode in episodes:
        publisher.publish(episode)
    path = tmp_path / "bags" / "practice_0000.mcap"
    wait_for(lambda: stored_episodes(path) == 4)
    recorder.send_signal(number)
    assert recorder.wait(timeout=DEADLINE) == 0
    assert "Traceback" not in recorder.stderr.read()
    assert_recorded(path, episodes)

    expected = publisher.steps
    assert len(expected) == 52
    decoded = [item.ros_msg for item in read_ros2_messages(str(path), topics=["/left/step"])]
    assert len(decoded) == len(expected)
    for one, other in zip(decoded, expected, strict=True):
        assert bytes(one.image.data) == other.image.data.tobytes()
        assert (one.episode_id, one.index, one.actor) == (other.episode_id, other.index, other.actor)
        assert list(one.action) == list(other.action)
        assert list(one.proprioception) == list(other.proprioception)
        assert (one.stamp.sec, one.stamp.nanosec) == (other.stamp.sec, other.stamp.nanosec)
        assert one.policy_version == other.policy_version

    with AnyReader([path], default_typestore=get_typestore(Stores.ROS2_JAZZY)) as reader:
        steps = [item for item in reader.connections if item.topic == "/left/step"]
        raw = [(data, reader.deserialize(data, item.msgtype)) for item, _, data in reader.messages(steps)]
    assert len(raw) == len(expected)
    for (data, one), other in zip(raw, expected, strict=True):
        assert deserialize_message(bytes(data), Step) == other
        assert one.image.data.tobytes() == other.image.data.tobytes()
        np.testing.assert_array_equal(one.action, other.action)


def test_a_killed_recorder_leaves_every_closed_episode(tmp_path, publisher, start_recorder, ros_domain):
    recorder = start_recorder(tmp_path)
    publisher.wait(tmp_path / "practice_0000.mcap")
    episodes = [make_episode(index, actions=8, size=60) for index in range(3)]
    for episode in episodes:
        publisher.publish(episode)
    publisher.publish(make_episode(3, actions=8, size=60), close=False)
    path = tmp_path / "practice_0000.mcap"
    wait_for(lambda: stored_episodes(path) == 3)
    recorder.kill()
    recorder.wait(timeout=DEADLINE)
    bag = Bag(path)
    assert [episode.episode_id for episode in bag.episodes()] == [episode.episode_id for episode in episodes]
    assert bag.truncated
    assert_recorded(path, episodes)

    again = start_recorder(tmp_path)
    wait_for(lambda: (tmp_path / "practice_0001.mcap").exists())
    second = Publisher(ros_domain)  # the first one still counts on the recorder that was killed
    second.wait(tmp_path / "practice_0001.mcap", publishers=2)
    second.publish(make_episode(4))
    wait_for(lambda: stored_episodes(tmp_path / "practice_0001.mcap") == 1)
    second.close()  # not before: what a writer has sent and its reader has not taken goes with the writer
    again.terminate()
    assert again.wait(timeout=DEADLINE) == 0
    assert [episode.episode_id for episode in read_episodes(tmp_path)] == [
        make_episode(index).episode_id for index in (0, 1, 2, 4)
    ]


def test_a_recorder_that_is_behind_takes_what_has_arrived_before_it_ends(tmp_path, publisher, start_recorder):
    path = tmp_path / "practice_0000.mcap"
    recorder = start_recorder(tmp_path)
    publisher.wait(path)
    recorder.send_signal(signal.SIGSTOP)
    episodes = [make_episode(index, actions=4, size=16) for index in range(2)]
    for episode in episodes:
        publisher.publish(episode)
    recorder.send_signal(signal.SIGINT)
    recorder.send_signal(signal.SIGCONT)
    assert recorder.wait(timeout=DEADLINE) == 0
    assert_recorded(path, episodes)


def test_an_unwritable_folder_is_refused_with_one_sentence(tmp_path, start_recorder):
    (tmp_path / "file").touch()
    recorder = start_recorder(tmp_path / "file" / "bags")
    assert recorder.wait(timeout=DEADLINE) == 1
    error = recorder.stderr.read()
    assert error == (
        f"Cannot write bags to {tmp_path}/file/bags: Not a directory; choose another folder or make it writable.\n"
    )


def test_a_full_disk_is_refused_with_one_sentence(tmp_path, start_recorder):
    recorder = start_recorder(tmp_path, "disk_floor:=1.0e15")
    assert recorder.wait(timeout=DEADLINE) == 1
    error = recorder.stderr.read()
    assert error.startswith("Only ")
    assert error.count("\n") == 1
    assert not list(tmp_path.glob("*.mcap*"))
