"""The enumerations equal the constants of the messages, both ways."""

import pytest

from robofume_common import enums
from robofume_interfaces.msg import ArmCommand, ArmStatus, BackendStatus, Episode, Reward, Step


@pytest.mark.parametrize(
    ("enumeration", "message", "prefix"),
    [
        (enums.Phase, Step, "PHASE_"),
        (enums.Direction, Step, "DIRECTION_"),
        (enums.Actor, Step, "ACTOR_"),
        (enums.Verdict, Reward, "VERDICT_"),
        (enums.RewardSource, Reward, "SOURCE_"),
        (enums.Outcome, Episode, "OUTCOME_"),
        (enums.ArmMode, ArmCommand, "MODE_"),
        (enums.ArmState, ArmStatus, "STATE_"),
        (enums.BackendState, BackendStatus, "STATE_"),
    ],
)
def test_enumerations_equal_the_messages(enumeration, message, prefix):
    # The constants live on the metaclass of the generated message.
    constants = {
        name.removeprefix(prefix): getattr(message, name) for name in dir(type(message)) if name.startswith(prefix)
    }
    assert constants, "no constants found: the generated code has changed"
    assert {item.name: item.value for item in enumeration} == constants


def test_opposite_direction():
    assert enums.Direction.FORWARD.opposite == enums.Direction.BACKWARD
    assert enums.Direction.BACKWARD.opposite == enums.Direction.FORWARD
    assert enums.Direction.NONE.opposite == enums.Direction.NONE
