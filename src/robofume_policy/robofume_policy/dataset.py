"""From recorded or just-ended episodes to transitions: what is learnt from them, and with which rewards."""

from dataclasses import replace

import numpy as np
from robofume_common.action import ActionSpace
from robofume_common.enums import Outcome, Phase, Verdict
from robofume_common.errors import RobofumeError
from robofume_data.episode import EpisodeData

from robofume_policy.config import NetworkConfig
from robofume_policy.encoder import seen
from robofume_policy.fitting import check_transitions
from robofume_policy.language import InstructionEncoder
from robofume_policy.replay import EpisodeTransitions
from robofume_policy.returns import monte_carlo_returns, n_step_targets, padded

Episode = EpisodeData | EpisodeTransitions
"""What can be learnt from: recorded by a robot, or of plain arrays (`EpisodeTransitions.from_arrays`)."""


class EpisodeConverter:
    """Turns `EpisodeData` into `EpisodeTransitions`; those of plain arrays pass through, with what the policy sees.

    Raises RobofumeError where the actions or an episode's parts (`EpisodeData.validate`) do not fit the networks.
    Without an `action_space` there is no robot: the actions of arrays are normalised already.

    A step costs -1. The transition into `success_index` has reward 0 and ends the episode; what came after it is
    dropped. An episode without success never ends for the critic: its last value is bootstrapped, and its
    Monte-Carlo return is that of failing for ever, -1 / (1 - discount), at every step (Cal-QL, arXiv 2303.05479).

    An episode of unknown outcome is learnt from as far as its verdicts are known, and is never imitated. Its return
    is that of failing for ever as well, which is the least that any return can be: a lower bound, as Cal-QL needs it.
    Values are cut off at it from below only, so that such a step is treated as in CQL, and none is held up by a
    success that nobody saw.
    """

    def __init__(
        self,
        network: NetworkConfig,
        action_space: ActionSpace | None,
        language: InstructionEncoder,
        discount: float,
        n_step: int,
    ) -> None:
        if action_space is not None and action_space.dimension != network.action_dimension:
            raise RobofumeError(
                f"The action space has {action_space.dimension} components, but the network's action_dimension is "
                f"{network.action_dimension}: set the one or the other."
            )
        self.network = network
        self.action_space = action_space
        self.language = language
        self.discount = discount
        self.n_step = n_step

    def __call__(self, episode: Episode) -> EpisodeTransitions | None:
        """Convert one episode; None if there is nothing to learn from (aborted, a nudge, no action, of unknown
        outcome and without a known verdict).

        Raises RobofumeError if its images have another size than the policy's, one of its cameras is missing, or its
        sentence's embedding has another length than the network takes.
        """
        if isinstance(episode, EpisodeTransitions):
            check_transitions(episode, self.network, self.discount, self.n_step)
            features = self.network.encoder == "frozen" and episode.images.ndim == 2
            return episode if features else replace(episode, images=seen(self.network, episode.images))
        if self.action_space is None:
            raise RobofumeError(
                f"Episode {episode.episode_id} holds a robot's physical actions: give their action_space."
            )
        episode.validate()
        self._check(episode)
        success = episode.outcome == Outcome.SUCCESS
        last = int(episode.success_index) if success else len(episode.actions)
        if episode.outcome == Outcome.INTERVENTION:
            last -= 1  # the scene may have been touched before the last picture
        if episode.outcome == Outcome.ABORTED or episode.phase == Phase.INTERVENTION or last < 1:
            return None
        known = np.ones(last, bool) if success else known_transitions(episode)[:last]
        if not known.any():
            return None
        rewards, discounts, next_offset = n_step_targets(last, success, known, self.discount, self.n_step)
        actions = self.action_space.to_normalised(episode.actions[:last]).astype(np.float32)
        return EpisodeTransitions(
            episode_id=episode.episode_id,
            instruction_embedding=self._embedding(episode.instruction),
            images=seen(self.network, self._pictures(episode, last + 1)),
            proprioception=episode.proprioception[: last + 1].astype(np.float32),
            actions=padded(np.clip(actions, -1.0, 1.0)),
            rewards=padded(rewards),
            discounts=padded(discounts),
            returns=padded(monte_carlo_returns(last, success, self.discount)),
            next_offset=padded(next_offset),
            imitation=np.full(last + 1, float(success), np.float32),
        )

    def _embedding(self, instruction: str) -> np.ndarray:
        embedding = np.asarray(self.language(instruction))
        if embedding.shape != (self.network.instruction_dimension,):
            raise RobofumeError(
                f"The language model gives {embedding.size} values a sentence, but the network's instruction_dimension "
                f"is {self.network.instruction_dimension}: set it to {embedding.size}."
            )
        return embedding

    def _check(self, episode: EpisodeData) -> None:
        state = episode.proprioception.shape[1]
        if state != self.network.proprioception_dimension:
            raise RobofumeError(
                f"Episode {episode.episode_id} has {state} values of proprioception a step, but the network's "
                f"proprioception_dimension is {self.network.proprioception_dimension}: set it to {state}."
            )
        size = self.network.image_size
        if self.network.encoder == "none":
            return
        for camera in self.network.further_cameras:
            if camera not in episode.further_images:
                raise RobofumeError(
                    f"Episode {episode.episode_id} has no pictures of the camera {camera}: leave it out, or take the "
                    "camera out of the network's further_cameras."
                )
        for images in self._of_cameras(episode):
            if images.shape[1:] != (size, size, 3):
                raise RobofumeError(
                    f"Episode {episode.episode_id} has images of {images.shape[1:]}, but the policy is set to "
                    f"{size}x{size}x3: record with that policy image size, or set the network's image_size."
                )

    def _of_cameras(self, episode: EpisodeData) -> list[np.ndarray]:
        """(N + 1, H, W, 3) of each camera, in the order of the policy's channels."""
        return [episode.images, *(episode.further_images[camera] for camera in self.network.further_cameras)]

    def _pictures(self, episode: EpisodeData, steps: int) -> np.ndarray:
        """(steps, H, W, 3 * cameras) of the first steps."""
        pictures = [images[:steps] for images in self._of_cameras(episode)]
        return np.concatenate(pictures, axis=-1) if len(pictures) > 1 else pictures[0]


def named_apart(transitions: EpisodeTransitions, episode: Episode, keys: dict[str, str]) -> EpisodeTransitions:
    """The transitions of `episode` under a name that no other episode of a memory has.

    That is its id or, where another episode has that, its key: the episodes of every run have the same ids. The same
    one again, or a copy of it, has the same name again. `keys`: the key of each id so far; it is added to.
    """
    key = episode.key if isinstance(episode, EpisodeData) else episode.episode_id
    known = keys.setdefault(episode.episode_id, key)
    return transitions if key == known else replace(transitions, episode_id=key)


def is_undecided(episode: Episode) -> bool:
    """Whether nobody knows how a recorded episode ended."""
    return isinstance(episode, EpisodeData) and episode.outcome == Outcome.UNKNOWN


def known_transitions(episode: EpisodeData) -> np.ndarray:
    """Which transitions (N,) bool of an episode without success have a known reward.

    The transition into a step whose verdict is unknown may have been a success: it is not learnt from. Where no
    verdict was given at all (a sparse or absent judge), the failure of the episode speaks for every step; an unknown
    outcome speaks for none.
    """
    known = np.asarray(episode.verdicts[1:]) != Verdict.UNKNOWN
    if episode.outcome == Outcome.UNKNOWN or known.any():
        return known
    return np.ones(len(known), bool)
