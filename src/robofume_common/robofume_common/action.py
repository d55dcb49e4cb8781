"""The action space: what agents work in, and what messages and bags hold."""

from dataclasses import dataclass

import numpy as np

from robofume_common.errors import RobofumeError

GRIPPER = 6
"""Index of the gripper in actions and in proprioception: 0 closed .. 1 open."""

PHYSICAL_DIMENSION = 7
"""dx, dy, dz [m]; droll, dpitch, dyaw [rad]; gripper target [0 closed .. 1 open]."""


@dataclass(frozen=True)
class ActionSpace:
    """Maps actions in [-1, 1]^dimension to the seven physical values of ArmCommand.action, and back.

    translation_limit: m per control step; rotation_limit: rad per control step; mask: which of the
    seven components the agent controls. A masked translation or rotation is 0, a masked gripper open (1).
    """

    translation_limit: float = 0.05
    rotation_limit: float = 0.25
    mask: tuple[bool, ...] = (True, True, True, False, False, False, True)

    def __post_init__(self) -> None:
        if len(self.mask) != PHYSICAL_DIMENSION or not any(self.mask):
            raise RobofumeError(f"An action mask has {PHYSICAL_DIMENSION} entries, at least one true; got {self.mask}.")
        if not (0 < self.translation_limit < 1 and 0 < self.rotation_limit < 3.2):
            raise RobofumeError(
                f"Action limits must be positive and small (m, rad per step); got "
                f"{self.translation_limit} and {self.rotation_limit}."
            )

    @property
    def dimension(self) -> int:
        """Number of components that the agent controls."""
        return sum(self.mask)

    @property
    def _indices(self) -> np.ndarray:
        return np.flatnonzero(self.mask)

    @property
    def _scale(self) -> np.ndarray:
        return np.array([self.translation_limit] * 3 + [self.rotation_limit] * 3 + [0.5], dtype=np.float32)

    @property
    def _offset(self) -> np.ndarray:
        return np.array([0.0] * 6 + [0.5], dtype=np.float32)

    def to_physical(self, normalised: np.ndarray) -> np.ndarray:
        """(..., dimension) in [-1, 1], clipped to it, to (..., 7) float32."""
        normalised = np.asarray(normalised, dtype=np.float32)
        if normalised.shape[-1:] != (self.dimension,):
            raise RobofumeError(f"Expected actions of shape (..., {self.dimension}), got {normalised.shape}.")
        physical = np.zeros((*normalised.shape[:-1], PHYSICAL_DIMENSION), dtype=np.float32)
        physical[..., 6] = 1.0
        indices = self._indices
        physical[..., indices] = np.clip(normalised, -1.0, 1.0) * self._scale[indices] + self._offset[indices]
        return physical

    def to_normalised(self, physical: np.ndarray) -> np.ndarray:
        """(..., 7) to (..., dimension) float32 in [-1, 1]; masked components are dropped."""
        physical = np.asarray(physical, dtype=np.float32)
        if physical.shape[-1:] != (PHYSICAL_DIMENSION,):
            raise RobofumeError(f"Expected actions of shape (..., {PHYSICAL_DIMENSION}), got {physical.shape}.")
        indices = self._indices
        return np.clip((physical[..., indices] - self._offset[indices]) / self._scale[indices], -1.0, 1.0)
