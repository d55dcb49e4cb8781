"""The simulated tasks. Adding one is one file with a `SimulatedTask`, and one line here."""

from __future__ import annotations

from robofume_common.errors import RobofumeError

from robofume_sim.tasks.base import SimulatedTask
from robofume_sim.tasks.candy_sweeping import CandySweeping
from robofume_sim.tasks.cloth_covering import ClothCovering
from robofume_sim.tasks.cloth_folding import ClothFolding
from robofume_sim.tasks.pot_lid import PotLid
from robofume_sim.tasks.pot_pick_and_place import PotPickAndPlace
from robofume_sim.tasks.pot_plates import PotPlates

TASKS: dict[str, type[SimulatedTask]] = {
    task.description.name: task
    for task in (PotPickAndPlace, PotLid, CandySweeping, ClothFolding, ClothCovering, PotPlates)
}

GAZEBO_TASKS = tuple(sorted(name for name, task in TASKS.items() if task.in_gazebo))
"""Names of those that Gazebo can simulate too."""


def make_task(name: str) -> SimulatedTask:
    """The task called `name`; RobofumeError names the tasks there are."""
    if name not in TASKS:
        raise RobofumeError(f"there is no simulated task '{name}'; choose one of: {', '.join(sorted(TASKS))}")
    return TASKS[name]()
