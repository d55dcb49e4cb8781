"""Recordings of a robot for tests, written by rosbags in any storage."""

import io
from pathlib import Path

import numpy as np
from PIL import Image
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

STORE = get_typestore(Stores.ROS2_JAZZY)
JOINTS = ("waist", "shoulder", "elbow", "forearm_roll", "wrist_angle", "wrist_rotate", "left_finger")
START = 1_700_000_000_000_000_000
SECOND = 1_000_000_000


def pose_of(names, positions):
    """Stands for forward kinematics: the joints are the pose."""
    return np.array(positions) if tuple(names) == JOINTS else None


def pose_at(seconds: float) -> np.ndarray:
    """Where the arm is: it moves 1 cm in a second along x and opens its gripper."""
    return np.array([0.2 + 0.01 * seconds, 0.0, 0.1, 0.0, 0.0, 0.0, min(1.0, 0.1 * seconds)])


def message(kind: str, **fields):
    return STORE.types[kind](**fields)


def header(stamp: int):
    time = message("builtin_interfaces/msg/Time", sec=stamp // SECOND, nanosec=stamp % SECOND)
    return message("std_msgs/msg/Header", stamp=time, frame_id="")


def joint_state(stamp: int, values, names=JOINTS):
    return message(
        "sensor_msgs/msg/JointState", header=header(stamp), name=list(names), position=np.asarray(values, np.float64),
        velocity=np.zeros(0), effort=np.zeros(0),
    )  # fmt: skip


def image(stamp: int, value: int, compressed: bool = False, size: tuple[int, int] = (16, 12)):
    width, height = size
    if compressed:
        buffer = io.BytesIO()
        Image.new("RGB", size, (value, value, value)).save(buffer, format="PNG")
        data = np.frombuffer(buffer.getvalue(), np.uint8)
        return message("sensor_msgs/msg/CompressedImage", header=header(stamp), format="png", data=data)
    pixels = np.full((height, width, 3), value, np.uint8)
    pixels[..., 2] = 0  # first in bgr
    return message(
        "sensor_msgs/msg/Image", header=header(stamp), height=height, width=width, encoding="bgr8", is_bigendian=0,
        step=3 * width, data=pixels.reshape(-1),
    )  # fmt: skip


def text(value: str):
    return message("std_msgs/msg/String", data=value)


def flag(value: bool):
    return message("std_msgs/msg/Bool", data=value)


def target(values):
    duration = message("builtin_interfaces/msg/Duration", sec=0, nanosec=0)
    point = message(
        "trajectory_msgs/msg/JointTrajectoryPoint", positions=np.asarray(values, np.float64), velocities=np.zeros(0),
        accelerations=np.zeros(0), effort=np.zeros(0), time_from_start=duration,
    )  # fmt: skip
    return message("trajectory_msgs/msg/JointTrajectory", header=header(0), joint_names=list(JOINTS), points=[point])


def robot(seconds=6.0, camera=15.0, joints=50.0, compressed=False, pauses=(), extra=()):
    """(time, topic, message) of a recording; `pauses`: (from, to) without pictures."""
    for index in range(round(seconds * camera)):
        time = index / camera
        if not any(begin <= time < end for begin, end in pauses):
            stamp = START + round(time * SECOND)
            yield stamp + 5_000_000, "/camera/image", image(stamp, index % 256, compressed)
    for index in range(round(seconds * joints)):
        stamp = START + round(index / joints * SECOND)
        yield stamp + 1_000_000, "/joint_states", joint_state(stamp, pose_at(index / joints))
    for time, topic, content in extra:
        yield START + round(time * SECOND), topic, content


def write(path: Path, messages, storage="mcap", compression=None) -> Path:
    """Writes a rosbag2 folder. compression: None, `message`, `file` or (MCAP) `storage`."""
    plugin = StoragePlugin.MCAP if storage == "mcap" else StoragePlugin.SQLITE3
    writer = Writer(path, version=9, storage_plugin=plugin)
    if compression:
        writer.set_compression(CompressionMode[compression.upper()], CompressionFormat.ZSTD)
    with writer:
        connections = {}
        for time, topic, content in sorted(messages, key=lambda item: item[0]):
            kind = content.__msgtype__
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=STORE)
            writer.write(connections[topic], time, STORE.serialize_cdr(content, kind))
    return path
