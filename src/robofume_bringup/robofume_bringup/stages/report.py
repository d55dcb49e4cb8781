"""Writes the report of a run."""

from __future__ import annotations

from robofume_bringup.stages.context import StageContext


def write_run_report(context: StageContext) -> None:
    """Write report.html and its PNGs from what the run directory holds."""
    from robofume_bringup.report import write_report

    path = write_report(context.directory)
    context.say(f"The report is {path}.")
