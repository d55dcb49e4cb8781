"""Demonstrations for benchmarks that measure something else."""

import tempfile
from pathlib import Path

from robofume_bringup.interruption import Interruption
from robofume_bringup.run_config import RunConfig
from robofume_bringup.run_directory import RunDirectory
from robofume_bringup.stages.context import StageContext
from robofume_bringup.stages.demonstrations import collect_demonstrations
from robofume_data.bag_reader import read_episodes
from robofume_data.episode import EpisodeData


def demonstrations(task: str, successes: int = 8, seed: int = 0) -> list[EpisodeData]:
    """As `robofume demos` records them, until each direction has so many successes."""
    with tempfile.TemporaryDirectory() as folder:
        directory = RunDirectory(Path(folder))
        directory.prepare()
        config = RunConfig(task=task, seed=seed, demonstrations=successes, failures=0, in_process=True)
        collect_demonstrations(StageContext(directory, config, Interruption()))
        return list(read_episodes(directory.bag_files("demos")))
