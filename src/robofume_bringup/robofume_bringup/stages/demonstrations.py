"""Collects demonstrations, forward and backward in turn without resets, and some bad attempts, into bags; in the
embedded simulation also scenes that are arranged near the borders of the goals."""

from __future__ import annotations

from typing import Any

from robofume_data.bad_attempts import is_clumsy

from robofume_bringup.episodes import EpisodeSummary, read_summaries
from robofume_bringup.stages.context import StageContext, percent
from robofume_bringup.stages.scenes import arrange_scenes

STAGE = "demos"
CLUMSY_SEED = 1000
"""Added to the run's seed for the bad attempts."""


def collect_demonstrations(context: StageContext) -> None:
    """Record until both directions have their successful demonstrations and the bad attempts are there.

    Continues with what earlier starts recorded.
    """
    config, directory = context.config, context.directory
    with context.timed(STAGE):
        demonstrations, attempts = split(read_summaries(directory.bag_files("demos")))
        missing = config.demonstrations - min(successes(demonstrations))
        if missing > 0:
            _record(context, "demonstrations", missing, 0, len(demonstrations))
        missing_attempts = config.failures - len(attempts)
        if missing_attempts > 0:
            _record(context, "bad attempts", 0, missing_attempts, len(attempts))
        demonstrations, attempts = split(read_summaries(directory.bag_files("demos")))
    forward, backward = successes(demonstrations)
    share = (forward + backward) / max(1, len(demonstrations))
    for_policy = min(forward + backward, len(attempts))  # as `read_for_policy` has it
    only = f", from {for_policy} of which the policy learns too" if for_policy < len(attempts) else ""
    context.say(
        f"Demonstrations: {forward} forward and {backward} backward successes in {len(demonstrations)} "
        f"episodes "
        f"({percent(share)} of them successful), and {len(attempts)} deliberately bad attempts{only}."
    )
    directory.note(
        STAGE,
        finished=True,
        forward_successes=forward,
        backward_successes=backward,
        episodes=len(demonstrations),
        bad_attempts=len(attempts),
    )
    if config.robot == "mujoco":
        arrange_scenes(context)


def _record(
    context: StageContext, what: str, successes_per_direction: int, episodes: int, before: int
) -> None:
    clumsy = episodes > 0
    seed = context.config.seed + (CLUMSY_SEED if clumsy else 0) + before
    total = episodes if clumsy else 2 * successes_per_direction
    with (
        context.robot("collect", clumsy=clumsy, scene_seed=seed) as session,
        context.bar(f"Collecting {what}", total, "episode" if clumsy else "success") as bar,
    ):

        def feedback(state: Any) -> None:
            if clumsy:
                done = state.episodes
            else:
                done = sum(
                    min(count, successes_per_direction)
                    for count in (state.forward_successes, state.backward_successes)
                )
            bar.update(done - bar.n)

        feedback(session.practice(feedback, successes_per_direction=successes_per_direction, episodes=episodes))


def split(summaries: list[EpisodeSummary]) -> tuple[list[EpisodeSummary], list[EpisodeSummary]]:
    """(demonstrations, deliberately bad attempts), told apart by the name of their bag."""
    attempts = [summary for summary in summaries if is_clumsy(summary.bag)]
    return [summary for summary in summaries if not is_clumsy(summary.bag)], attempts


def successes(summaries: list[EpisodeSummary]) -> tuple[int, int]:
    """Successful episodes (forward, backward)."""
    forward = sum(summary.success and summary.direction == 1 for summary in summaries)
    backward = sum(summary.success and summary.direction == 2 for summary in summaries)
    return forward, backward
