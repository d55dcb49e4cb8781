"""Dataclasses become ROS parameters; wrong values become one sentence."""

from dataclasses import dataclass

import pytest
import rclpy
from rclpy.context import Context
from rclpy.node import Node
from robofume_common.errors import RobofumeError
from robofume_common.parameters import check_overrides, declare, from_dict, setting, to_dict, validate


@dataclass(frozen=True)
class Inner:
    gain: float = setting(1.0, "Gain", minimum=0.0)


@dataclass(frozen=True)
class Config:
    size: int = setting(3, "Size of it", unit="px", minimum=1, maximum=10)
    rate: float = setting(2.5, "Rate", unit="Hz", minimum=0.1)
    name: str = setting("a", "Name", choices=("a", "b"))
    fast: bool = setting(False, "Whether it is fast")
    limits: tuple[float, ...] = setting((1.0, 2.0), "Limits", maximum=9.0)
    empty: tuple[float, ...] = setting((), "Nothing yet")
    words: tuple[str, ...] = setting((), "Words")
    mask: tuple[bool, ...] = setting((True, False), "Mask")
    inner: Inner = Inner()


@pytest.fixture
def make_node(ros_domain):
    context = Context()
    rclpy.init(context=context, domain_id=ros_domain)
    nodes = []

    def make(*parameters: str) -> Node:
        arguments = ["--ros-args", *(word for text in parameters for word in ("-p", text))]
        nodes.append(
            Node("tested", context=context, cli_args=arguments, use_global_arguments=False, enable_rosout=False)
        )
        return nodes[-1]

    yield make
    for node in nodes:
        node.destroy_node()
    context.try_shutdown()


def test_defaults_are_declared_with_their_description(make_node):
    node = make_node()
    assert declare(node, Config) == Config()
    descriptor = node.describe_parameter("size")
    assert descriptor.description == "Size of it [px]"
    assert descriptor.read_only
    assert (descriptor.integer_range[0].from_value, descriptor.integer_range[0].to_value) == (1, 10)
    assert node.describe_parameter("name").additional_constraints == "one of a, b"
    assert list(node.get_parameter("limits").value) == [1.0, 2.0]
    assert node.get_parameter("inner.gain").value == 1.0


def test_given_values_are_taken(make_node):
    node = make_node(
        "size:=7",
        "rate:=4",
        "limits:=[3, 4]",
        "empty:=[0.5]",
        "words:=[left, right]",
        "fast:=true",
        "inner.gain:=2",
    )
    config = declare(node, Config)
    assert config == Config(7, 4.0, "a", True, (3.0, 4.0), (0.5,), ("left", "right"), (True, False), Inner(2.0))
    assert node.get_parameter("rate").value == 4.0
    check_overrides(node)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("size:=11", "size must be at most 10, got 11"),
        ("size:=2.5", "size must be of type int"),
        ("rate:=.nan", "rate must be a number"),
        ("rate:=0.0", "rate must be at least 0.1"),
        ("name:=c", "name must be one of a, b; got c"),
        ("fast:=1", "fast must be of type bool"),
        ("limits:=3.0", "limits must be a list"),
        ("limits:=[1.0, 10.0]", "limits must be at most 9"),
        ("inner.gain:=-1.0", "gain must be at least 0"),
    ],
)
def test_wrong_values_are_refused_with_a_sentence(make_node, given, sentence):
    with pytest.raises(RobofumeError, match=sentence):
        declare(make_node(given), Config)


def test_unknown_parameters_are_refused(make_node):
    node = make_node("szie:=3", "use_sim_time:=true")
    declare(node, Config)
    with pytest.raises(RobofumeError, match=r"no parameter szie; it has .*size"):
        check_overrides(node)


def test_a_declared_parameter_cannot_be_changed_later(make_node):
    node = make_node()
    declare(node, Config)
    result = node.set_parameters([rclpy.parameter.Parameter("size", value=5)])[0]
    assert not result.successful


def test_dictionaries():
    config = Config(size=5, limits=(1.5,), inner=Inner(3.0))
    values = to_dict(config)
    assert values["limits"] == [1.5]
    assert values["inner"] == {"gain": 3.0}
    assert from_dict(Config, values) == config
    assert from_dict(Config, {}) == Config()
    with pytest.raises(RobofumeError, match="no setting siz;"):
        from_dict(Config, {"siz": 3})
    with pytest.raises(RobofumeError, match="gain must be at least 0"):
        from_dict(Config, {"inner": {"gain": -1.0}})
    with pytest.raises(RobofumeError, match="size must be at most 10"):
        validate(Config(size=50))
