"""Keys and joystick as commands."""

import numpy as np
import pytest
from robofume_common.enums import ArmMode
from robofume_robot.teleop_config import TeleopConfig
from robofume_robot.teleoperation import DIRECTIONS, Keyboard, Request, Teleoperator

AXES = [0.0] * 8
NO_BUTTONS = [0] * 11


def buttons(*pressed):
    return [int(index in pressed) for index in range(11)]


@pytest.fixture
def person():
    return Teleoperator(TeleopConfig())


def test_without_a_person_the_policy_acts(person):
    assert person.command(1.0, 0.0) is None
    person.joystick([1.0] * 8, NO_BUTTONS, 0.0)
    assert person.command(1.0, 0.1) is None, "the enabling button is not held"


@pytest.mark.parametrize("key", DIRECTIONS)
def test_a_key_moves_for_as_long_as_it_is_held(person, key):
    component, sign = DIRECTIONS[key]
    person.key(key, 10.0)
    mode, action = person.command(0.9, 10.3)
    expected = np.append(np.zeros(6), 1.0)
    expected[component] = sign * (0.02 if component < 3 else 0.1)
    assert mode is ArmMode.DELTA
    np.testing.assert_allclose(action, expected)
    assert person.command(0.9, 10.5) is None


ARROWS_AND_SO_ON = ["\x1b[A", "\x1b[D", "\x1b[H", "\x1b[F", "\x1bOP", "\x1bOH", "\x1b[1;5C", "\x1b[3~", "\x1b[[A"]


@pytest.mark.parametrize("sequence", ARROWS_AND_SO_ON)
def test_arrows_and_function_keys_are_no_letters(sequence):
    assert Keyboard().keys(f"w{sequence}S") == "ws"
    for cut in range(1, len(sequence)):
        parts = Keyboard()
        assert parts.keys(sequence[:cut]) + parts.keys(sequence[cut:] + "d") == "d"


@pytest.mark.parametrize("begun", ["", "\x1b", "\x1b[", "\x1bO", "\x1b[1;"])
def test_the_space_bar_is_heard_whatever_was_typed_before_it(begun):
    keyboard = Keyboard()
    assert " " in keyboard.keys(begun) + keyboard.keys(" ") and " " in Keyboard().keys(begun + " ")


def test_two_keys_add_and_opposite_ones_cancel(person):
    for key in "wrs":
        person.key(key, 1.0)
    np.testing.assert_allclose(person.command(0.0, 1.1)[1], [0, 0, 0.02, 0, 0, 0, 0])


def test_the_gripper_stays_as_it_was_until_it_is_turned(person):
    person.key("w", 0.0)
    assert person.command(0.1, 0.0)[1][6] == 0.0
    person.key("g", 0.1)
    assert person.command(0.1, 0.2)[1][6] == 1.0
    assert person.command(0.1, 0.9)[1][6] == 1.0, "for as long as the fingers move"
    assert person.command(1.0, 5.0) is None
    person.key("w", 6.0)
    assert person.command(0.0, 6.1)[1][6] == 0.0, "the policy closed it meanwhile"


def test_speed_is_bounded(person):
    for _ in range(100):
        person.key("+", 0.0)
    person.key("w", 0.0)
    assert person.command(1.0, 0.0)[1][0] == pytest.approx(0.08)
    for _ in range(100):
        person.key("-", 0.0)
    assert person.command(1.0, 0.0)[1][0] == pytest.approx(0.002)


def test_the_arm_is_held_until_the_person_lets_the_policy_act_again(person):
    person.key("p", 0.0)
    assert person.command(1.0, 50.0)[0] is ArmMode.HOLD
    person.key("w", 50.0)
    assert person.command(1.0, 50.1)[0] is ArmMode.DELTA
    assert person.command(1.0, 51.0)[0] is ArmMode.HOLD
    person.key("p", 52.0)
    assert person.command(1.0, 52.0) is None


@pytest.mark.parametrize(("key", "request_"), [(" ", Request.STOP), ("x", Request.RELEASE), ("h", Request.HOME)])
def test_requests_end_the_movement(person, key, request_):
    person.key("w", 0.0)
    assert person.key(key, 0.1) is request_
    assert person.command(1.0, 0.1) is None


def test_other_keys_do_nothing(person):
    for key in "z1\n\x1bö":
        assert person.key(key, 0.0) is None
    assert person.command(1.0, 0.0) is None


def test_the_joystick_moves_while_it_is_enabled(person):
    axes = list(AXES)
    axes[1], axes[0], axes[4], axes[3] = 1.0, -0.55, 0.05, np.nan
    person.joystick(axes, buttons(5), 0.0)
    mode, action = person.command(1.0, 0.1)
    assert mode is ArmMode.DELTA
    np.testing.assert_allclose(action, [0.02, -0.01, 0, 0, 0, 0, 1], atol=1e-12)
    assert person.command(1.0, 0.7) is None, "a joystick that falls silent is let go"
    person.joystick(axes, buttons(5), 1.0)
    person.joystick(axes, buttons(), 1.1)
    assert person.command(1.0, 1.1) is None


def test_buttons_count_once_for_each_press_and_the_stop_always(person):
    assert person.joystick(AXES, buttons(1), 0.0) is Request.STOP
    assert person.joystick(AXES, buttons(1), 0.1) is None
    assert person.joystick(AXES, buttons(), 0.2) is None
    assert person.joystick(AXES, buttons(1), 0.3) is Request.STOP
    assert person.joystick(AXES, buttons(7), 0.4) is Request.RELEASE
    assert person.joystick(AXES, buttons(6), 0.5) is Request.HOME
    person.joystick(AXES, buttons(5, 0), 0.6)
    assert person.command(1.0, 0.6)[1][6] == 0.0


def test_a_joystick_with_few_axes_and_buttons_is_fine(person):
    assert person.joystick([0.5], [0, 0], 0.0) is None
    assert person.command(1.0, 0.0) is None
