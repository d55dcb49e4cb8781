"""Policies as bytes, and policies that act: what the learner publishes and the policy node loads."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from robofume_common.errors import RobofumeError
from robofume_common.parameters import from_dict, to_dict
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from robofume_policy.config import NetworkConfig
from robofume_policy.encoder import seen
from robofume_policy.exploration import Exploration, Explorer, Spread
from robofume_policy.fitting import OBSERVED, check_observations, check_tensors
from robofume_policy.networks import Policy


def architecture_hash(config: NetworkConfig) -> str:
    """Sixteen hexadecimal digits that name the shape of a policy."""
    return hashlib.sha256(json.dumps(to_dict(config), sort_keys=True).encode()).hexdigest()[:16]


def serialise_policy(
    tensors: Mapping[str, Tensor],
    config: NetworkConfig,
    exploration: Exploration | None = None,
    language: str = "minilm",
) -> bytes:
    """Pack the policy's part of a network's `tensors` as safetensors with all that is needed to run it."""
    names = Policy(config).state_dict().keys()
    about = {
        "network": to_dict(config),
        "exploration": to_dict(exploration or Exploration()),
        "language": language,
    }
    metadata = {"policy": json.dumps(about, sort_keys=True)}  # one key: safetensors keeps no order between keys
    return save_tensors({name: tensors[name].detach().cpu().contiguous() for name in names}, metadata)


class ActingPolicy:
    """A loaded policy. Not thread-safe; set `torch.set_num_threads(1)` in the process for the best latency."""

    def __init__(
        self,
        network: Policy,
        config: NetworkConfig,
        exploration: Exploration,
        language: str,
    ) -> None:
        self.network = network.eval()
        self.config = config
        self.architecture = architecture_hash(config)
        self.explorer = Explorer(exploration)
        self.language = language

    def succeed(self, before: "ActingPolicy | None", std: float = -1.0) -> None:
        """Act in the place of an earlier policy: new weights do not interrupt a noise that lasts several steps.

        `std`: deviation of the noise, below 0 as the weights say.
        """
        if std >= 0.0:
            self.explorer = Explorer(replace(self.explorer.settings, std=std))
        if before is not None and before.explorer.settings == self.explorer.settings:
            self.explorer = before.explorer

    def act(
        self,
        image: np.ndarray | None,
        proprioception: np.ndarray,
        instruction_embedding: np.ndarray,
        deterministic: bool = True,
        random: np.random.Generator | None = None,
    ) -> np.ndarray:
        """Return the normalised action (A,) float32 in [-1, 1] for one observation.

        `image` (H, W, 3 * cameras) uint8 as `NetworkConfig.image_shape` says, `proprioception` (P,),
        `instruction_embedding` (D,) as given by `language.InstructionEncoder`. A policy without an encoder looks at no
        image; None will do. With `deterministic=False` the policy explores, by numbers from `random`.

        Raises RobofumeError on an image of another size or of another number of cameras, and on numbers of another
        shape or that are not finite.
        """
        given = {
            "images": np.ascontiguousarray(self._seen(image)),
            "proprioception": np.asarray(proprioception, np.float32)[None],
            "instructions": np.asarray(instruction_embedding, np.float32)[None],
        }
        check_observations(given, self.config, self.network.encoder.output_dimension)
        actor = self.network.actor
        with torch.inference_mode():
            outputs = self.network.outputs(*(torch.from_numpy(given[name]) for name in OBSERVED))
            mean = actor.mean(outputs)[0].numpy()
            if deterministic:
                return mean
            spread = None
            if self.config.learnt_deviation:
                deviation = actor.log_deviation(outputs).exp()
                spread = Spread(outputs[0, : actor.dimension].numpy(), deviation[0].numpy())
        if random is None:
            raise ValueError("act(deterministic=False) needs a random generator")
        return self.explorer(mean, random, spread)

    def _seen(self, image: np.ndarray | None) -> np.ndarray:
        """What the encoder is given of an image, (1, ...). Raises RobofumeError where it does not fit."""
        if self.config.encoder == "none":
            return np.zeros((1, 0, 0, 3), np.uint8)
        size, *_, channels = shape = self.config.image_shape
        if image is None or image.shape != shape or image.dtype != np.uint8:
            shown = "none" if image is None else f"{image.shape} {image.dtype}"
            raise RobofumeError(
                f"The policy needs images of {size}x{size}x{channels} uint8 and was given {shown}: "
                f"{self._advice(image)}."
            )
        return seen(self.config, image[None])

    def _advice(self, image: np.ndarray | None) -> str:
        """What to do about an image that does not fit."""
        if image is None:
            return "give it the camera's picture"
        if image.ndim == 3 and image.shape[:2] == self.config.image_shape[:2] and self.config.further_cameras:
            return f"it sees the first camera's picture and then those of {', '.join(self.config.further_cameras)}"
        return "set the camera's policy image size to the one the policy was trained with"


def load_policy(data: bytes, architecture: str = "") -> ActingPolicy:
    """Make a policy from the bytes of `policy/weights`.

    `architecture` is the hash that came with them; empty accepts any. Raises RobofumeError when the bytes are
    damaged, are no policy of this suite, or belong to another architecture.
    """
    metadata, tensors = _read(data)
    try:
        about = json.loads(metadata["policy"])
        config = from_dict(NetworkConfig, about["network"])
        network = Policy(config)
        check_tensors(network, tensors)
        network.load_state_dict(tensors)
        exploration, language = from_dict(Exploration, about["exploration"]), str(about["language"])
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        raise RobofumeError(f"These policy weights were made by another version of the policy: {error}") from error
    if architecture and architecture != architecture_hash(config):
        raise RobofumeError(
            f"The weights are for architecture {architecture_hash(config)}, but {architecture} was announced: "
            "learner and policy node must run the same version."
        )
    return ActingPolicy(network, config, exploration, language)


def _read(data: bytes) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Metadata and tensors of safetensors bytes."""
    try:
        tensors = load_tensors(data)
        length = int.from_bytes(data[:8], "little")
        return json.loads(data[8 : 8 + length]).get("__metadata__") or {}, tensors
    except (SafetensorError, ValueError) as error:
        raise RobofumeError(f"The policy weights are damaged: {error}") from error
