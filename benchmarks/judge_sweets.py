"""Where the judge of candy sweeping overlooks a single sweet.

All sweets are swept but one, which lies at each place of a grid in turn, up to the walls; the judge is asked about the
picture from home whether the sweeping is done, with three arrangements of the others. It should say no everywhere:

    python benchmarks/judge_sweets.py RUN [RUN ...]

Writes benchmarks/results/judge_sweets.csv: per run, direction and colour of the sweet, in how many of the places the
judge says yes (in one of the arrangements at least, by its own threshold for pictures from home), those at the walls,
where a sweet touches one or nearly does, and the others.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
from judge_tables import DIRECTIONS, Table, ask
from robofume_bringup.run_directory import RunDirectory
from robofume_reward.model import RewardModel
from robofume_sim.tasks.candy_sweeping import AT_WALL, RADIUS, SWEETS
from robofume_sim.world import World

from robofume_sim import scene

ALONG = np.linspace(0.190, 0.380, 9)
ACROSS = np.array([0.02, 0.04, 0.06, 0.08, 0.10, 0.116, 0.122, 0.126, 0.130, 0.134])
OTHERS = (
    ((0.21, 0.05), (0.23, 0.05), (0.25, 0.05), (0.33, 0.05)),
    ((0.20, 0.10), (0.26, 0.07), (0.30, 0.03), (0.36, 0.11)),
    ((0.20, 0.03), (0.22, 0.03), (0.24, 0.035), (0.20, 0.06)),
)
"""Places of the swept ones, by their distance from the middle across the table [m]."""
COLOURS = {"first": 0, "second": 1}
"""Of two colours by turns; which sweet is left."""


def pictures(world: World, side: float, left: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Pictures (N, size, size, 3) with one sweet left on the `side`, and where it lies (N, 2), x and y [m]."""
    images, places = [], []
    for others in OTHERS:
        for x in ALONG:
            for y in ACROSS:
                lie = [(other[0], -side * other[1]) for other in others]
                lie.insert(left, (x, side * y))
                world.arrange(
                    {name: np.array([*place, 0.0]) for name, place in zip(SWEETS, lie, strict=True)},
                    world.task.arranged_settling,
                )
                images.append(cv2.resize(world.render(), (size, size), interpolation=cv2.INTER_AREA))
                places.append((x, side * y))
    return np.stack(images), np.array(places)


def main() -> None:
    """Every run that is not in the table yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", help="directories of runs of candy sweeping with a judge")
    given = parser.parse_args()
    table = Table("judge_sweets", ("run", "direction", "colour"))
    for path in given.runs:
        run = RunDirectory(path)
        judge, size = RewardModel.load(run.reward), run.read_config()["image_size"]
        world = World("candy_sweeping")
        for (name, direction), side in zip(DIRECTIONS.items(), (-1.0, 1.0), strict=True):
            for colour, left in COLOURS.items():
                if table.has(run=run.name, direction=name, colour=colour):
                    continue
                images, places = pictures(world, side, left, size)
                asked, _ = ask(judge, images, world.task.description.instruction(direction))
                yes = (asked > judge.calibration.home_threshold).reshape(len(OTHERS), -1).any(0)
                here = places[: len(yes)]
                lower, upper = np.add(scene.ARENA_MIN, RADIUS + AT_WALL), np.subtract(scene.ARENA_MAX, RADIUS + AT_WALL)
                at_wall = ((here < lower) | (here > upper)).any(1)
                row = {"run": run.name, "direction": name, "colour": colour, "at_wall": int(at_wall.sum())}
                row |= {"called_at_wall": int(yes[at_wall].sum()), "elsewhere": int((~at_wall).sum())}
                table.add({**row, "called_elsewhere": int(yes[~at_wall].sum())})
        world.close()


if __name__ == "__main__":
    main()
