"""Whether a trained judge tells success from failure at all, by its answers about pictures it was not trained on.

Now and then a training does not get going, or one of its two questions is never learnt. Practice with such a judge
learns from wrong verdicts for hours, and nothing in it looks wrong. So it is refused, where there is evidence: the
answers about held-out pictures (`training.json`), from home, which practice ends its episodes by, and, where these are
too few, all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from robofume_common.errors import RobofumeError

from .training_summary import find_summary

LEAST_PRECISION = 0.8
"""Share of the called successes that are ones; refused is what lies below it with its whole 95% interval. Of 128
judgements of either direction that runs here practised with, the least upper end was 0.90."""
LEAST_RECALL = 0.5
"""Share of the successes that are called ones, in the same way."""
FEWEST = 20
"""Called successes, or successes, that such a share needs."""
LEAST_AREA = 0.8
"""Area under the curve of the answers about all pictures, in the same way; one half is chance. Of 54 of either
direction of judges that runs here practised with, the least upper end was 0.98."""
FEWEST_EPISODES = 5
"""Held-out episodes that this needs."""


def unfitness(model: str | Path) -> str:
    """What the held-out pictures of its training hold against a model, as a sentence that ends without a full stop;
    empty where they hold nothing, or none are noted (a hub name, a model from elsewhere).

    Raises RobofumeError where the record of the training is damaged.
    """
    return shortcomings(find_summary(Path(model)).get("held_out", {}))


def shortcomings(held_out: Mapping[str, Any]) -> str:
    """The same of the answers themselves, as `evaluation.evaluate_episodes` has them."""
    return "; ".join(filter(None, (_against(name, held_out.get(name, {})) for name in ("forward", "backward"))))


def check_fitness(model: str | Path) -> None:
    """Raises RobofumeError where practice with the model would learn from wrong verdicts (`unfitness`)."""
    if sentence := unfitness(model):
        raise RobofumeError(
            f"The reward model {model} does not tell success from failure: {sentence}. Practice would learn "
            "from wrong verdicts. Train it for twice as many updates (`robofume reward train --again --set "
            "reward_training.updates=N`), record or label more episodes, or judge by it all the same (parameter "
            "accept_unfit of the reward node; in a run's config.yaml `reward: {accept_unfit: true}` under settings)."
        )


def _against(direction: str, answers: Mapping[str, Any]) -> str:
    home = answers.get("from_home", {})
    right, wrong = home.get("true_positives", 0), home.get("false_positives", 0)
    missed = home.get("false_negatives", 0) + home.get("unknown_positives", 0)
    called, there = right + wrong, right + missed
    if called >= FEWEST and home["precision_interval"][1] < LEAST_PRECISION:
        return f"{direction}, {wrong} of the {called} scenes that it called a success from home were none"
    if there >= FEWEST and home["recall_interval"][1] < LEAST_RECALL:
        return f"{direction}, it called {right} of {there} successes from home one"
    asked, area = answers.get("episodes", {}).get("episodes", 0), answers.get("area_under_curve")
    if asked >= FEWEST_EPISODES and area is not None and answers["area_under_curve_interval"][1] < LEAST_AREA:
        return (
            f"{direction}, its answers about {asked} held-out episodes say little more than chance (area under the "
            f"curve {area:.2f})"
        )
    return ""
