"""What a gripper holds, by its opening."""

import math

import numpy as np
import pytest
from robofume_reset.grip import lets_go


def seven(opening):
    return np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, opening], np.float32)


@pytest.mark.parametrize(
    ("asked", "was", "expected"),
    [
        (1.0, 0.53, True),  # it opens
        (0.54, 0.53, False),  # as wide as what it holds
        (0.0, 0.53, False),
        (0.0, 1.0, True),  # it had let go before it closed
        (0.0, 0.0, False),  # it may hold something thin
        (math.nan, math.nan, False),
    ],
)
def test_only_a_gripper_that_is_wide_open_lets_go(asked, was, expected):
    assert lets_go(seven(asked), seven(was), 0.8) is expected


def test_proprioception_of_another_kind_is_left_out():
    assert lets_go(seven(1.0), [], 0.8) and not lets_go(seven(0.0), [1.0] * 8, 0.8)
