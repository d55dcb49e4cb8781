"""Actions map to physical values and back."""

import numpy as np
import pytest
from robofume_common.action import ActionSpace
from robofume_common.errors import RobofumeError


def test_round_trip():
    space = ActionSpace(0.04, 0.2, (True, True, True, True, False, True, True))
    actions = np.random.default_rng(0).uniform(-1, 1, (50, 3, 6)).astype(np.float32)
    np.testing.assert_allclose(space.to_normalised(space.to_physical(actions)), actions, atol=1e-6)


def test_scale_and_mask():
    space = ActionSpace(0.05, 0.25)
    assert space.dimension == 4
    np.testing.assert_allclose(space.to_physical([1, -1, 0.5, -1]), [0.05, -0.05, 0.025, 0, 0, 0, 0], atol=1e-7)
    np.testing.assert_allclose(space.to_physical([9, 0, 0, 9]), [0.05, 0, 0, 0, 0, 0, 1], atol=1e-7)


def test_a_masked_gripper_stays_open():
    space = ActionSpace(mask=(True,) * 6 + (False,))
    assert space.to_physical(np.zeros(6))[6] == 1.0


def test_wrong_shapes_and_limits_are_refused():
    with pytest.raises(RobofumeError, match="shape"):
        ActionSpace().to_physical(np.zeros(7))
    with pytest.raises(RobofumeError, match="shape"):
        ActionSpace().to_normalised(np.zeros(4))
    with pytest.raises(RobofumeError, match="7 entries"):
        ActionSpace(mask=(True, False))
    with pytest.raises(RobofumeError, match="at least one true"):
        ActionSpace(mask=(False,) * 7)
    with pytest.raises(RobofumeError, match="positive"):
        ActionSpace(translation_limit=0.0)
