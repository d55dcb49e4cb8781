"""`robofume prior`: scripted episodes of other tasks than the run's, as if another laboratory had recorded them."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from robofume_common.errors import RobofumeError

from robofume_bringup.interruption import Interruption

if TYPE_CHECKING:
    from robofume_data.episode import EpisodeData
    from robofume_sim.prior_tasks import Variant

def add_parser(add: Callable[..., argparse.ArgumentParser]) -> None:
    """The command and its options."""
    parser = add(
        "prior",
        run_prior,
        "record scripted episodes of a dozen other tasks, in another scene, as prior data",
        "robofume prior --output prior && robofume demo --run lid --task pot_lid --prior prior",
    )
    parser.add_argument("--output", metavar="DIR", type=Path, required=True, help="folder for the bags, one per task")
    parser.add_argument("--tasks", metavar="NAME", nargs="+", default=[], help="some of the tasks (default: all)")
    parser.add_argument("--episodes", type=int, default=50, help="of each task, both directions (default: 50)")
    parser.add_argument("--failure-share", type=float, default=0.1, help="share that fails on purpose (default: 0.1)")
    parser.add_argument("--image-size", type=int, default=64, metavar="PIXELS", help="side of the pictures")
    parser.add_argument("--seed", type=int, default=0, help="of places, noise, camera and light (default: 0)")


def run_prior(options: argparse.Namespace, interruption: Interruption) -> int:
    """Record what is not there yet. RobofumeError for an unknown task, numbers out of range, or a bad folder."""
    from robofume_data.bag_writer import prepare_folder
    from robofume_sim.prior_tasks import VARIANTS

    known = {variant.name: variant for variant in VARIANTS}
    unknown = [name for name in options.tasks if name not in known]
    if unknown:
        raise RobofumeError(f"There is no prior task {', '.join(unknown)}; choose from: {', '.join(known)}.")
    for name, lowest, highest in (("episodes", 1, 10_000), ("failure_share", 0, 1), ("image_size", 16, 1080)):
        if not lowest <= getattr(options, name) <= highest:
            raise RobofumeError(f"--{name.replace('_', '-')} is between {lowest} and {highest}.")
    if options.seed < 0:
        raise RobofumeError("--seed is 0 or more.")
    folder = prepare_folder(options.output)
    with interruption.immediately():
        for name in options.tasks or known:
            _record(known[name], folder, options)
    return 0


def _record(variant: Variant, folder: Path, options: argparse.Namespace) -> None:
    """One bag, whole or not there."""
    from robofume_data.bag_writer import BagWriter
    from robofume_data.episode_writer import EpisodeWriter
    from robofume_data.importing.run import DISK_FLOOR
    from tqdm import tqdm

    bag = folder / f"{variant.name}.mcap"
    if bag.exists():
        print(f"{bag} is there already; delete it to record it again.")
        return
    unfinished = bag.with_suffix(".mcap.unfinished")
    unfinished.unlink(missing_ok=True)
    successes = steps = 0
    try:
        with (
            BagWriter(unfinished, DISK_FLOOR) as writer,
            tqdm(total=options.episodes, desc=variant.name, unit="episode", dynamic_ncols=True, mininterval=0.5) as bar,
        ):
            episodes = EpisodeWriter(writer)

            def keep(episode: EpisodeData) -> None:
                nonlocal successes, steps
                episodes.add(episode, commit=False)
                successes, steps = successes + episode.is_success, steps + episode.length
                bar.update()

            _demonstrate(variant, options, keep)
        unfinished.rename(bag)
    finally:
        unfinished.unlink(missing_ok=True)
    print(f"{bag}: {options.episodes} episodes, {successes} successful, {steps} steps.")


def _demonstrate(variant: Variant, options: argparse.Namespace, keep: Callable[[EpisodeData], None]) -> None:
    """Collect as `robofume demos` does, reset-free; `keep` is given each episode."""
    from robofume_reset.switching import PracticeGoal, PracticePlan
    from robofume_sim.prior_tasks import make_world

    from robofume_bringup.graph import GraphSettings, build_graph
    from robofume_bringup.in_process_graph import InProcessGraph, InProcessJudge

    world = make_world(variant, options.seed)
    task = world.task.description
    settings = GraphSettings(
        task.name, "collect", seed=options.seed, image_size=options.image_size, record=False,
        overrides={
            "demonstrator": {"failure_share": options.failure_share},
            "switcher": {"session": f"prior-{variant.name}-{options.seed}"},
        },
    )  # fmt: skip
    configs = {node.name: node.settings() for node in build_graph(settings, task)}
    graph = InProcessGraph(configs, task, InProcessJudge(configs["reward"], None), world=world)
    graph.on_episode = keep
    try:
        plan = PracticePlan(PracticeGoal(episodes=options.episodes), graph.state.alternation, paced=False)
        graph.run(plan)
    finally:
        graph.close()
