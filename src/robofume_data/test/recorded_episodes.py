"""Episodes for tests: every value random, so that a mix-up cannot go unseen."""

import numpy as np
from robofume_common.enums import Actor, Direction, Outcome, Phase, RewardSource, Verdict
from robofume_data.episode import EpisodeData

CAMERA_PERIOD = 100_000_000


def make_episode(number: int, actions: int = 6, outcome: Outcome = Outcome.SUCCESS, size: int = 12) -> EpisodeData:
    """A random episode; it succeeds at its last but one step, or nobody knows how its last step is."""
    random = np.random.default_rng(number)
    steps = actions + 1
    success_index = max(0, actions - 1) if outcome == Outcome.SUCCESS else -1
    verdicts = np.full(steps, Verdict.FAILURE, np.uint8)
    if success_index >= 0:
        verdicts[success_index] = Verdict.SUCCESS
    if outcome == Outcome.UNKNOWN:
        verdicts[-1] = Verdict.UNKNOWN
    forward = number % 2 == 0
    physical = random.uniform(-0.05, 0.05, (actions, 7)).astype(np.float32)
    physical[:, 6] = random.uniform(0, 1, actions)
    return EpisodeData(
        episode_id=f"practice-{number:05d}",
        task="pot_pick_and_place",
        instruction="put the pot into the tray" if forward else "take the pot out of the tray",
        phase=Phase.FORWARD if forward else Phase.BACKWARD,
        direction=Direction.FORWARD if forward else Direction.BACKWARD,
        outcome=outcome,
        success_index=success_index,
        assisted_reset_before=number % 3 == 0,
        images=random.integers(0, 256, (steps, size, size + 2, 3), dtype=np.uint8),
        proprioception=random.normal(size=(steps, 7)).astype(np.float32),
        actions=physical,
        actors=random.integers(Actor.POLICY, Actor.SCRIPT + 1, actions).astype(np.uint8),
        policy_versions=np.arange(steps, dtype=np.uint64) + np.uint64(2**40),
        stamps=(np.arange(steps) * CAMERA_PERIOD + number * 10**12).astype(np.int64),
        verdicts=verdicts,
        probabilities=random.random(steps).astype(np.float32),
        sources=np.full(steps, RewardSource.VLM, np.uint8),
        forward_success=random.random(steps) < 0.5,
        backward_success=random.random(steps) < 0.5,
        closed=1_700_000_000_000_000_000 + number,
    )
