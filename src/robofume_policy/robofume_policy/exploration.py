"""What is added to a policy's action while it practises: noise, and a trial of the gripper wherever it waits."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

FLIP_STEPS = 3
"""Control steps that a flipped gripper stays flipped: long enough to grasp, or to be seen to have let go."""


@dataclass(frozen=True)
class Exploration:
    """What a policy adds to its actions.

    `std`, `correlation`: deviation (normalised actions) and step-to-step correlation of Gaussian noise; a `std` below
    0 is the deviation that the policy has learnt.
    `gripper_flip`: probability per step of opening a closed gripper, or closing an open one, while the policy hardly
    moves the arm: a gripper is open or closed, small noise never tries the other, and a policy that waits over an
    object for a grasp that it never dares would wait for ever. `gripper`: index of the gripper in the action, -1 for
    none; the components before it move the arm.
    `still`: a commanded translation below this share of the largest step, in each component, is hardly a motion.
    """

    std: float = 0.0
    correlation: float = 0.0
    gripper_flip: float = 0.0
    gripper: int = -1
    still: float = 0.3


def tried_on_the_way(actions: np.ndarray, settings: Exploration) -> float:
    """The median demonstrated speed, if it is so slow that the gripper would be tried on the way; else 0.

    `actions` (N, A) in [-1, 1], those that the policy imitates. The speed of one is the largest of the components that
    move the arm, as a share of the largest step.
    """
    if settings.gripper <= 0 or settings.gripper_flip == 0.0 or not len(actions):
        return 0.0
    speed = float(np.median(np.abs(actions[:, : settings.gripper]).max(axis=1)))
    return speed if speed < settings.still else 0.0


class Spread(NamedTuple):
    """Of a policy that has learnt its deviation: tanh(N(centre, deviation^2)), both (A,)."""

    centre: np.ndarray
    deviation: np.ndarray


class Explorer:
    """Adds the noise of one `Exploration`; keeps what is correlated from call to call."""

    def __init__(self, settings: Exploration) -> None:
        self.settings = settings
        self._noise: np.ndarray | None = None
        self._flipped_for = 0
        self._flipped_to = 0.0

    def __call__(self, mean: np.ndarray, random: np.random.Generator, spread: Spread | None = None) -> np.ndarray:
        """The action (A,) float32 in [-1, 1] to take where the policy says `mean` (A,), and `spread` if it has one."""
        settings = self.settings
        own = spread is not None and settings.std < 0.0
        fresh, keep = random.normal(0.0, 1.0 if own else max(0.0, settings.std), mean.shape), settings.correlation
        self._noise = fresh if self._noise is None else keep * self._noise + np.sqrt(1.0 - keep**2) * fresh
        if spread is not None and own:
            action = np.tanh(spread.centre + spread.deviation * self._noise).astype(np.float32)
        else:
            action = np.clip(mean + self._noise, -1.0, 1.0).astype(np.float32)
        gripper = settings.gripper
        if gripper >= 0 and settings.gripper_flip > 0.0:
            still = bool((np.abs(mean[:gripper]) < settings.still).all())
            if self._flipped_for == 0 and still and random.random() < settings.gripper_flip:
                self._flipped_for, self._flipped_to = FLIP_STEPS, -1.0 if mean[gripper] > 0.0 else 1.0
            if self._flipped_for > 0:
                self._flipped_for -= 1
                action[gripper] = self._flipped_to
        return action
