"""The questions that the reward model is asked about an image.

The loop asks one question, `canonical(instruction)`. Fine-tuning also asks it in other words, and in negative
form (is the task still to be done?), so that the answer depends on the meaning of the question.
"""

from __future__ import annotations

import random

CANONICAL = "Has the robot completed the task: {instruction}?"

TRAINING_FREE = "The robot was told to: {instruction}. The picture shows that this is done. True or false?"

POSITIVE = (
    CANONICAL,
    "Is the task done: {instruction}?",
    "Did the robot finish: {instruction}?",
)
NEGATIVE = (
    "Is the task not done yet: {instruction}?",
    "Does the robot still have to finish: {instruction}?",
)


def clean(instruction: str) -> str:
    """The instruction as one line without surrounding blanks and final punctuation."""
    return " ".join(instruction.split()).rstrip(" .?!")


def canonical(instruction: str) -> str:
    """The question that the loop asks; "yes" means success."""
    return CANONICAL.format(instruction=clean(instruction))


def training_free(instruction: str) -> str:
    """A statement to be called true or false, for models that were not fine-tuned."""
    return TRAINING_FREE.format(instruction=clean(instruction))


def sample(
    instruction: str, generator: random.Random, paraphrase_share: float, negative_share: float
) -> tuple[str, bool]:
    """A question for fine-tuning and whether "yes" means success in it.

    With probability `negative_share` a negative question, else with probability `paraphrase_share` the
    positive question in other words, else the canonical one.
    """
    draw = generator.random()
    if draw < negative_share:
        return generator.choice(NEGATIVE).format(instruction=clean(instruction)), False
    if generator.random() < paraphrase_share:
        return generator.choice(POSITIVE[1:]).format(instruction=clean(instruction)), True
    return canonical(instruction), True
