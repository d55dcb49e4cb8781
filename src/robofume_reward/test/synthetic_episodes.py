"""Drawn episodes: a block that a dark arm carries from a table into a tray (forward) and back out
(backward).
"""

from __future__ import annotations

import numpy as np
from robofume_common.enums import Direction, Outcome, Phase, RewardSource, Verdict
from robofume_data.episode import EpisodeData

INSTRUCTIONS = {
    Direction.FORWARD: "put the block into the tray",
    Direction.BACKWARD: "take the block out of the tray",
}
SIZE = 48
METRES_PER_PIXEL = 0.01


def draw(block: tuple[float, float], arm: tuple[float, float], generator: np.random.Generator) -> np.ndarray:
    """An image (SIZE, SIZE, 3) uint8; places in pixels (x, y)."""
    image = np.full((SIZE, SIZE, 3), (150, 130, 110), np.float32)
    image[24:44, 2:22] = (60, 110, 60)
    x, y = int(block[0]), int(block[1])
    image[y - 4 : y + 4, x - 4 : x + 4] = (200, 40, 30)
    x, y = int(arm[0]), int(arm[1])
    image[: max(1, y - 2), max(0, x - 2) : x + 3] = (40, 40, 45)
    image[max(0, y - 4) : y + 1, max(0, x - 6) : x + 6] = (40, 40, 45)
    return (image * generator.uniform(0.9, 1.1) + generator.normal(0, 4, image.shape)).clip(0, 255).astype(np.uint8)


def episode(
    number: int,
    direction: Direction,
    succeeds: bool,
    generator: np.random.Generator,
    start: tuple[float, float],
) -> tuple[EpisodeData, tuple[float, float]]:
    """One episode that starts with the block at `start`, and where the block is at its end."""
    low, high = (5, 18) if direction == Direction.FORWARD else (28, 42)
    goal = (generator.uniform(low, high), generator.uniform(29, 39))
    home = (24.0, 4.0)
    count = 16
    block, arm = np.array(start), np.array(home)
    images, truth, actions, proprioception = [], [], [], []
    for i in range(count + 1):
        if i <= 5:
            arm = np.array(home) + (np.array(start) - (0, 6) - home) * i / 5
        elif i <= 11:
            share = (i - 5) / 6
            if succeeds:
                block = np.array(start) + (np.array(goal) - start) * share - (0, 8 * np.sin(np.pi * share))
            arm = np.array(start) + (np.array(goal) - start) * share - (0, 6 + 8 * np.sin(np.pi * share))
        else:
            arm = np.array(goal) - (0, 6 + 5 * (i - 11))
        proprioception.append([*(np.array(arm) + (0, 6)) * METRES_PER_PIXEL, 0, 0, 0, 0, 0 if 5 < i <= 12 else 1])
        images.append(draw(tuple(block), tuple(arm), generator))
        truth.append(succeeds and i >= 13)
        actions.append([0, 0, 0, 0, 0, 0, 0.0 if 5 <= i <= 11 else 1.0])
    success = np.array(truth)
    steps = count + 1
    at_start = np.arange(steps) <= 5
    at_start = at_start if succeeds else np.ones(steps, bool)
    forward = direction == Direction.FORWARD
    data = EpisodeData(
        episode_id=f"drawn-{number:04d}",
        task="drawn_block",
        instruction=INSTRUCTIONS[direction],
        phase=Phase.FORWARD if forward else Phase.BACKWARD,
        direction=direction,
        outcome=Outcome.SUCCESS if succeeds else Outcome.TIMEOUT,
        success_index=13 if succeeds else -1,
        assisted_reset_before=False,
        images=np.stack(images),
        proprioception=np.array(proprioception, np.float32),
        actions=np.array(actions[:-1], np.float32),
        actors=np.ones(count, np.uint8),
        policy_versions=np.zeros(steps, np.uint64),
        stamps=(np.arange(steps) + number * 100).astype(np.int64),
        verdicts=np.where(success, Verdict.SUCCESS, Verdict.FAILURE).astype(np.uint8),
        probabilities=success.astype(np.float32),
        sources=np.full(steps, RewardSource.GROUND_TRUTH, np.uint8),
        forward_success=success if forward else at_start,
        backward_success=at_start if forward else success,
    )
    return data, (float(block[0]), float(block[1]))


def episodes(count: int, seed: int, failure_share: float = 0.2) -> list[EpisodeData]:
    """Episodes one after the other without a reset; a failed one is tried again."""
    generator = np.random.default_rng(seed)
    place = (35.0, 34.0)
    direction = Direction.FORWARD
    result = []
    for number in range(count):
        succeeds = bool(generator.random() >= failure_share)
        data, place = episode(number, direction, succeeds, generator, place)
        result.append(data)
        if succeeds:
            direction = direction.opposite
    return result
