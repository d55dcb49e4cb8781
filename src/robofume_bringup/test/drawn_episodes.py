"""Episodes of a red block that is carried to the right (forward) and back to the left (backward), for tests of the
reward model's commands: small, but there is something to see.
"""

from __future__ import annotations

import numpy as np
from robofume_common.enums import Direction, Outcome, Phase, RewardSource, Verdict
from robofume_data.episode import EpisodeData

INSTRUCTIONS = {
    Direction.FORWARD: "put the pot into the tray",
    Direction.BACKWARD: "take the pot out of the tray",
}
ACTIONS = 6
CLOSED = 1_700_000_000_000_000_000


def drawn(
    number: int, kind: str = "demos", succeeds: bool = True, source: RewardSource = RewardSource.GROUND_TRUTH,
    run: int = 0, truth: bool = True,
) -> EpisodeData:  # fmt: skip
    """An episode of ACTIONS actions; even numbers go forward. `run`: another run has the same ids and stamps, as
    simulations that begin at the time 0 give them, and was recorded at another time. `truth`: whether the simulation's
    own is recorded.
    """
    random = np.random.default_rng(100 * run + number)
    forward = number % 2 == 0
    start, goal = (6, 24) if forward else (24, 6)
    steps = ACTIONS + 1
    images = np.full((steps, 32, 32, 3), 110, np.uint8)
    poses = random.normal(0, 0.1, (steps, 7)).astype(np.float32)
    for index in range(steps):
        share = min(1.0, index / (ACTIONS - 1)) if succeeds else 0.0
        x = round(start + (goal - start) * share)
        images[index, 14:20, x - 3 : x + 3] = (200, 40, 30)
    images += random.integers(0, 8, images.shape, dtype=np.uint8)
    done = np.arange(steps) >= ACTIONS - 1 if succeeds else np.zeros(steps, bool)
    before = np.arange(steps) < 1
    closing = np.ones((ACTIONS, 7), np.float32) * np.float32(0.01)
    closing[:, 6] = [1.0, 0.0, 0.0, 0.0, 1.0, 1.0]
    by_model = source == RewardSource.VLM
    return EpisodeData(
        episode_id=f"{kind}-{number:06d}", task="pot_pick_and_place",
        instruction=INSTRUCTIONS[Direction.FORWARD if forward else Direction.BACKWARD],
        phase=Phase.FORWARD if forward else Phase.BACKWARD,
        direction=Direction.FORWARD if forward else Direction.BACKWARD,
        outcome=Outcome.SUCCESS if succeeds else Outcome.TIMEOUT,
        success_index=(ACTIONS if by_model else ACTIONS - 1) if succeeds else -1, assisted_reset_before=False,
        images=images, proprioception=poses, actions=closing,
        actors=np.ones(ACTIONS, np.uint8), policy_versions=np.zeros(steps, np.uint64),
        stamps=(np.arange(steps) + 100 * number).astype(np.int64) * 200_000_000,
        verdicts=np.where(done, Verdict.SUCCESS, Verdict.FAILURE).astype(np.uint8),
        probabilities=done.astype(np.float32), sources=np.full(steps, source, np.uint8),
        forward_success=(done if forward else before) if truth else None,
        backward_success=(before if forward else done) if truth else None,
        closed=CLOSED + 10**15 * run + 10**9 * number + (10**14 if kind == "practice" else 0),
    )  # fmt: skip


def demonstrations(count: int, run: int = 0, kind: str = "demos") -> list[EpisodeData]:
    """Attempts in both directions, every fifth of which fails."""
    return [drawn(number, kind, number % 5 != 4, run=run) for number in range(count)]
