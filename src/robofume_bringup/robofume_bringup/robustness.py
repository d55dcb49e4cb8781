"""Robustness: what a policy keeps of its success where the simulation is not the one that it was trained in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from robofume_common.errors import RobofumeError

from robofume_bringup.statistics import mean_told, wilson_interval

PLAIN = "plain"
"""No variation."""
ALL = "all"
"""Every variation that there is."""


def record_name(evaluation: str, variation: str) -> str:
    """Name of an evaluation's record: `after`, and `after_camera` under the variation camera."""
    return evaluation if variation == PLAIN else f"{evaluation}_{variation}"


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
    of the goal that was reached, and `score_kept` alike (None where the judge told none).

    Arguments:
        evaluations: records by their names.
    """
    rows = []
    for name, record in sorted(evaluations.items()):
        variation = record.get("variation", PLAIN)
        evaluation = name.removesuffix(f"_{variation}")
        plain = evaluations.get(evaluation)
        if variation == PLAIN or plain is None or record.get("sha256") != plain.get("sha256"):
            continue
        outcomes = _outcomes(record)
        low, high = wilson_interval(sum(outcomes), len(outcomes))
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
            }
        )
    return rows


def _outcomes(record: Mapping[str, Any]) -> list[bool]:
    return [*record["forward_success"], *record["backward_success"]]


def _score(record: Mapping[str, Any]) -> float | None:
    """Mean over the trials of both directions; records of earlier versions have none."""
    return mean_told([*record.get("forward_score", ()), *record.get("backward_score", ())])


def _kept(there: float | None, plain: float | None) -> float | None:
    return there / plain if there is not None and plain else None
