"""Episodes of random numbers, for tests of what trains on bags."""

import numpy as np
from robofume_common.action import ActionSpace
from robofume_common.enums import Direction, Outcome, Phase, Verdict
from robofume_data.episode import EpisodeData

SPACE = ActionSpace()


def random_episode(number: int, kind: str, steps: int) -> EpisodeData:
    """A success of so many steps; `number` seeds it, `kind` begins its id."""
    random = np.random.default_rng(number)
    return EpisodeData(
        episode_id=f"{kind}-{number}", task="pot_pick_and_place", phase=Phase.FORWARD, direction=Direction.FORWARD,
        instruction="put the pot into the tray", assisted_reset_before=False, outcome=Outcome.SUCCESS,
        success_index=steps, images=random.integers(0, 256, (steps + 1, 64, 64, 3), dtype=np.uint8),
        proprioception=random.normal(size=(steps + 1, 7)).astype(np.float32),
        actions=SPACE.to_physical(random.uniform(-1, 1, (steps, 4)).astype(np.float32)),
        actors=np.ones(steps, np.uint8), policy_versions=np.zeros(steps + 1, np.uint64),
        stamps=np.arange(steps + 1, dtype=np.int64) * 200_000_000,
        verdicts=np.full(steps + 1, Verdict.FAILURE, np.uint8),
        probabilities=np.zeros(steps + 1, np.float32), sources=np.ones(steps + 1, np.uint8),
        forward_success=np.zeros(steps + 1, bool), backward_success=np.zeros(steps + 1, bool),
        closed=1_700_000_000_000_000_000 + number,
    )  # fmt: skip
