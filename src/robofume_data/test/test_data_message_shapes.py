"""Messages decoded by the shape of one before: the same as rosbags gives, whatever the bytes."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from robofume_data.message_definitions import definition
from robofume_data.message_shapes import ShapedDecoder
from robofume_data.topics import TOPICS
from rosbags.interfaces import Nodetype
from rosbags.serde import SerdeError
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

TYPES = (
    *TOPICS.values(), "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage", "sensor_msgs/msg/JointState",
    "sensor_msgs/msg/CameraInfo", "trajectory_msgs/msg/JointTrajectory", "std_msgs/msg/Bool", "std_msgs/msg/Empty",
)  # fmt: skip
STORE = get_typestore(Stores.EMPTY)
for name in TYPES:
    STORE.register(get_types_from_msg(definition(name), name))


def random_message(name, shape, values):
    """A message whose lengths come from one generator and whose values come from another."""

    def one(kind, inner):
        if kind == Nodetype.NAME:
            return random_message(inner, shape, values)
        if inner[0] == "string":
            return "".join(values.choice(list("aü锅"), 1))[: int(shape.integers(2))]
        if inner[0] == "bool":
            return bool(values.integers(2))
        if inner[0].startswith("float"):
            return float(np.dtype(inner[0]).type(values.normal()))
        return int(values.integers(np.iinfo(inner[0]).max, dtype=inner[0]))

    def many(of, count):
        items = [one(*of) for _ in range(count)]
        return items if of[0] == Nodetype.NAME or of[1][0] == "string" else np.array(items, of[1][0])

    fields = {}
    for field, (kind, inner) in STORE.fielddefs[name][1]:
        if kind in (Nodetype.ARRAY, Nodetype.SEQUENCE):
            fields[field] = many(inner[0], inner[1] if kind == Nodetype.ARRAY else int(shape.integers(4)))
        else:
            fields[field] = one(kind, inner)
    return STORE.types[name](**fields)


def plain(message):
    """Something that can be compared, with the kinds of what is in it."""
    if dataclasses.is_dataclass(message):
        return type(message), [plain(getattr(message, field.name)) for field in dataclasses.fields(message)]
    if isinstance(message, list):
        return [plain(item) for item in message]
    return (type(message), message.dtype, message.tobytes()) if isinstance(message, np.ndarray) else repr(message)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(name=st.sampled_from(TYPES), seed=st.integers(0, 2**32), damage=st.integers(0, 3))
def test_the_same_as_rosbags_gives(name, seed, damage):
    decode, random = ShapedDecoder(STORE, name), np.random.default_rng(seed)
    for number in range(6):
        message = random_message(name, np.random.default_rng(seed + number // 5), random)
        data = bytearray(STORE.serialize_cdr(message, name))
        for place in random.integers(0, len(data), damage if number > 2 else 0):
            data[place] ^= 1 << int(random.integers(8))
        data = memoryview(bytes(data))
        try:
            expected = plain(STORE.deserialize_cdr(data, name))
        except SerdeError:
            with pytest.raises(SerdeError):
                decode(data)
            continue
        assert plain(decode(data)) == expected


def test_the_third_message_of_a_shape_needs_no_rosbags(monkeypatch):
    name = TOPICS["step"]
    decode = ShapedDecoder(STORE, name)
    message = random_message(name, np.random.default_rng(5), np.random.default_rng(0))
    first, second, third = (
        bytes(STORE.serialize_cdr(dataclasses.replace(message, index=number, instruction=text), name))
        for number, text in enumerate(("lift", "drop", "push"))
    )
    decode(first)
    decode(second)
    monkeypatch.setattr(decode, "_typestore", None)
    assert (decode(third).index, decode(third).instruction) == (2, "push")


def test_a_text_that_ends_without_its_zero_is_refused_as_rosbags_does():
    name = TOPICS["episode"]
    message = random_message(name, np.random.default_rng(0), np.random.default_rng(0))
    data = bytes(STORE.serialize_cdr(dataclasses.replace(message, episode_id="abc"), name))
    decode = ShapedDecoder(STORE, name)
    for _ in range(3):
        decode(data)
    with pytest.raises(SerdeError, match="terminator"):
        decode(data.replace(b"abc\0", b"abcd"))
