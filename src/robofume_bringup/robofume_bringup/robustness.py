"""Robustness: what a policy keeps of its success where the simulation is not the one that it was trained in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from robofume_common.errors import RobofumeError

from robofume_bringup.statistics import grouped_interval, mean_told

PLAIN = "plain"
"""No variation."""
ALL = "all"
"""Every variation that there is."""


def record_name(evaluation: str, variation: str, draws: int = 1) -> str:
    """Name of an evaluation's record: `after`, `after_camera` under the variation camera, and `after_camera_5_draws`
    over several draws of it.
    """
    if variation == PLAIN:
        return evaluation
    return f"{evaluation}_{variation}" + (f"_{draws}_draws" if draws > 1 else "")


def variations_to_run(robot: str, wanted: Sequence[str]) -> tuple[str, ...]:
    """The kinds of variations that are `wanted`, each once; `all` stands for all of them.

    Raises RobofumeError for a robot whose world cannot vary, or an unknown kind.
    """
    from robofume_sim.variations import KINDS, varied

    if robot != "mujoco":
        raise RobofumeError(f"Variations are those of the embedded simulation; the run is on the robot {robot}.")
    chosen = tuple(dict.fromkeys(KINDS if ALL in wanted else wanted))
    varied(chosen, 0)
    return chosen


def robustness(evaluations: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One row per evaluation under a variation, where the plain one of the same policy is there too: successes, share,
    95% interval, and `kept`, the share of the plain one's success (None where that had none); `score`, the mean share
    of the goal that was reached, and `score_kept` alike (None where the judge told none); `by_draw` has the share of
    successes in each draw of the variation, over which the interval is too.

    Arguments:
        evaluations: records by their names.
    """
    rows = []
    for name, record in sorted(evaluations.items()):
        variation = record.get("variation", PLAIN)
        evaluation = name.removesuffix(record_name("", variation, len(record.get("trials_per_draw", (0,)))))
        plain = evaluations.get(evaluation)
        if variation == PLAIN or plain is None or record.get("sha256") != plain.get("sha256"):
            continue
        outcomes = _outcomes(record)
        draws = [[*forward, *backward] for forward, backward in
                 zip(by_draw(record, "forward"), by_draw(record, "backward"), strict=True)]  # fmt: skip
        low, high = grouped_interval(draws)
        share, score = float(np.mean(outcomes)), _score(record)
        rows.append(
            {
                "evaluation": evaluation,
                "variation": variation,
                "successes": sum(outcomes),
                "trials": len(outcomes),
                "share": share,
                "low": low,
                "high": high,
                "kept": _kept(share, float(np.mean(_outcomes(plain)))),
                "score": score,
                "score_kept": _kept(score, _score(plain)),
                "by_draw": [float(np.mean(draw)) for draw in draws],
            }
        )
    return rows


def by_draw(record: Mapping[str, Any], direction: str) -> list[list[bool]]:
    """Successes of the trials of one direction, for each draw of the variation; all in one where there was no other."""
    outcomes = record[f"{direction}_success"]
    counts = record.get("trials_per_draw", (len(outcomes),))
    pairs = len(outcomes) // max(1, sum(counts))  # of a chain each pair has as many
    ends = np.cumsum([pairs * count for count in counts])
    return [list(part) for part in np.split(np.asarray(outcomes, dtype=bool), ends[:-1])]


def _outcomes(record: Mapping[str, Any]) -> list[bool]:
    return [*record["forward_success"], *record["backward_success"]]


def _score(record: Mapping[str, Any]) -> float | None:
    """Mean over the trials of both directions; records of earlier versions have none."""
    return mean_told([*record.get("forward_score", ()), *record.get("backward_score", ())])


def _kept(there: float | None, plain: float | None) -> float | None:
    return there / plain if there is not None and plain else None
