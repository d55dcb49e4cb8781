"""Which weights may act: checks on what comes over `policy/weights` or from a checkpoint folder. Imports torch."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import torch
from robofume_common.action import ActionSpace
from robofume_common.errors import RobofumeError

from robofume_policy.checkpoint import CheckpointStore
from robofume_policy.policy_network import ActingPolicy, load_policy
from robofume_policy.trained_agent import TrainedAgent


def checked_policy(
    data: bytes,
    sha256: str,
    architecture: str,
    *,
    action_dimension: int,
    image_size: int,
    expected_architecture: str = "",
    further_cameras: Sequence[str] = (),
) -> ActingPolicy:
    """Make an acting policy of published weights.

    Arguments:
        data, sha256, architecture: as in PolicyWeights.msg.
        action_dimension, image_size: what this robot's task and camera give.
        expected_architecture: of the weights in use, '' where there are none.
        further_cameras: whose pictures the policy will be given after the first camera's.

    Raises RobofumeError, a sentence that says why, when they are damaged, not finite, of another architecture or for
    another task, image size or number of cameras. The caller then keeps the ones it has.
    """
    if hashlib.sha256(data).hexdigest() != sha256:
        raise RobofumeError("New weights were refused: their checksum does not fit, they were damaged on the way.")
    if expected_architecture and architecture != expected_architecture:
        raise RobofumeError(
            f"New weights were refused: they are of architecture {architecture}, the policy acts with "
            f"{expected_architecture}. Start the policy node from the checkpoint that the learner started from."
        )
    policy = load_policy(data, architecture)
    if policy.config.further_cameras != tuple(further_cameras):
        needed, given = (", ".join(("the first", *names)) for names in (policy.config.further_cameras, further_cameras))
        raise RobofumeError(
            f"The weights are for the pictures of the cameras {needed}, but {given} is what this graph gives: use a "
            "policy that was trained for it."
        )
    if not all(bool(torch.isfinite(tensor).all()) for tensor in policy.network.state_dict().values()):
        raise RobofumeError("New weights were refused: not all of them are finite; look at the learner's losses.")
    if policy.config.action_dimension != action_dimension:
        raise RobofumeError(
            f"The weights are for {policy.config.action_dimension} action components, but the task's action mask has "
            f"{action_dimension}: pre-train for this task."
        )
    if policy.config.image_size != image_size:
        raise RobofumeError(
            f"The weights are for images of {policy.config.image_size} px, but image_size is {image_size}: "
            "set the camera and the policy node to the size that the policy was trained with."
        )
    return policy


def policy_from_checkpoint(
    directory: str | Path, action_space: ActionSpace, image_size: int, further_cameras: Sequence[str] = ()
) -> ActingPolicy:
    """The policy of the newest whole checkpoint in `directory`.

    Raises RobofumeError when there is none, or when it was trained for another action space or image size, or for
    other cameras.
    """
    checkpoint = CheckpointStore(directory).load()
    if checkpoint is None:
        raise RobofumeError(f"There is no policy checkpoint in {directory}: run `robofume pretrain` first.")
    _, tensors, state = checkpoint
    trained = TrainedAgent.from_state_dict(tensors, state)
    if trained.action_space is None:
        raise RobofumeError(f"The policy in {directory} learnt from plain arrays and not from a robot: pre-train one.")
    if trained.action_space != action_space:
        raise RobofumeError(
            f"The policy in {directory} was trained for {trained.action_space}, but the task has {action_space}: "
            "use the task it was trained for, or pre-train again."
        )
    data, architecture = trained.weights()
    return checked_policy(
        data,
        hashlib.sha256(data).hexdigest(),
        architecture,
        action_dimension=action_space.dimension,
        image_size=image_size,
        further_cameras=further_cameras,
    )
