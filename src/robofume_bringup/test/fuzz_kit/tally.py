"""What came of the cases of each boundary: counted, and told as a table."""

from __future__ import annotations

import platform
import random
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


def make_case(
    state: dict[str, Any], case: Callable[[random.Random], bool], dice: random.Random, origin: int | str
) -> None:
    """One case, counted in `state` (cases, refused, broken); what broke is kept with where it came from first."""
    try:
        state["refused"] += case(dice)
    except Exception as error:  # noqa: BLE001  this is what is looked for
        place = [frame for frame in traceback.extract_tb(error.__traceback__) if "robofume_" in frame.filename][-1]
        what = f"{type(error).__name__} in {Path(place.filename).name}:{place.lineno}: {str(error)[:150]}"
        state["broken"].setdefault(what, origin)
    state["cases"] += 1


def table(
    title: str, command: str, remark: str, found: Mapping[str, Mapping[str, Any]], columns: Mapping[str, str]
) -> str:
    """The results as Markdown. columns: heading -> what of a boundary's state stands below it."""
    total = sum(state["cases"] for state in found.values())
    broken = [(name, what, origin) for name, state in found.items() for what, origin in state["broken"].items()]
    return "\n".join(
        [
            f"# {title}",
            "",
            f"`{command}`: {total} cases, {len(broken)} kinds of answers that were neither taken nor refused in one "
            f"sentence; Python {platform.python_version()}, {time.strftime('%Y-%m-%d')}.",
            "",
            *(f"- {name}, case {origin}: {what}" for name, what, origin in broken),
            "",
            remark,
            "",
            f"| boundary | cases | refused | {' | '.join(columns)} |",
            "|---|---|---|" + "---|" * len(columns),
            *(
                f"| {name} | {state['cases']} | {state['refused']} | "
                f"{' | '.join(f'{state[key]:.0f}' for key in columns.values())} |"
                for name, state in found.items()
            ),
            "",
        ]
    )
