"""The faults there are: every node and every kind, shuffled by a seed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

NODES = ("sim", "camera", "arm", "policy", "reward", "switcher", "learner", "recorder")
PUBLISHED = {
    "sim": ("joint_states", "camera/image_raw", "ground_truth"),
    "camera": ("observation/image",),
    "arm": ("observation/proprioception", "arm_controller/joint_trajectory", "arm/status"),
    "policy": ("arm/command", "step"),
    "reward": ("reward",),
    "switcher": ("task", "step_permit", "episode"),
    "learner": ("learner/status", "policy/weights"),
}
WRITERS = ("switcher", "learner", "recorder")


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong: a signal for a process, or an order for the wrapper that it runs in."""

    kind: str
    node: str
    topic: str = ""
    count: int = 1
    """Messages in a row."""
    seconds: float = 0.0
    size: int = 0
    """Bytes that are still written."""

    def __str__(self) -> str:
        return " ".join(filter(None, (self.kind, self.node, self.topic)))


def all_faults(dice: random.Random) -> list[Fault]:
    """One of each, with amounts by chance."""
    faults = [Fault(kind, node) for kind in ("kill", "restart") for node in NODES]
    faults += [Fault("stop", node, seconds=dice.choice((0.3, 1.0, 3.0))) for node in NODES]
    for node, topics in PUBLISHED.items():
        for topic in topics:
            faults += [Fault(kind, node, topic, count=dice.choice((1, 1, 3))) for kind in ("drop", "double", "reorder")]
            faults.append(Fault("delay", node, topic, count=dice.choice((1, 3)), seconds=dice.uniform(0.05, 1.5)))
    faults += [Fault("clock", node, seconds=dice.choice((-3600.0, -5.0, 5.0, 3600.0))) for node in NODES]
    for node in WRITERS:
        faults.append(Fault("short", node, size=dice.randrange(20_000)))
        for kind in ("ENOSPC", "EIO"):
            faults.append(Fault(kind, node, size=dice.randrange(20_000), seconds=dice.uniform(0.2, 2.0)))
    faults += [Fault(kind, "camera", "observation/image", count=dice.randrange(5, 40)) for kind in ("black", "freeze")]
    faults.append(Fault("slow", "reward", "reward", seconds=4.0))
    return faults


def deck(seed: int, kinds: tuple[str, ...] = ()) -> Iterator[Fault]:
    """Faults without end: each once, in an order by chance, then again. `kinds` restricts them."""
    dice = random.Random(seed)
    while True:
        faults = [fault for fault in all_faults(dice) if not kinds or fault.kind in kinds]
        dice.shuffle(faults)
        yield from faults
