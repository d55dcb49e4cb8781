"""What every stage works with: the run, its settings, the request to stop, and the screen."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from robofume_common.errors import RobofumeError
from tqdm import tqdm

from robofume_bringup.graph import GraphSettings, build_graph, next_start
from robofume_bringup.interruption import Interruption
from robofume_bringup.node_table import NodeDescription
from robofume_bringup.run_config import RunConfig
from robofume_bringup.run_directory import RunDirectory
from robofume_bringup.runner import GraphRunner
from robofume_bringup.stages.networks import network_of
from robofume_bringup.task_files import task_description

if TYPE_CHECKING:
    from robofume_bringup.in_process_session import InProcessSession
    from robofume_bringup.robot_session import RobotSession

NOTE_EVERY = 10.0
"""s between two notes of how long a stage has taken so far."""


@dataclass(frozen=True)
class StageContext:
    """The run that a stage works on."""

    directory: RunDirectory
    config: RunConfig
    interruption: Interruption

    def say(self, sentence: str) -> None:
        """One line of plain words."""
        tqdm.write(sentence)

    @contextmanager
    def robot(
        self, mode: str, overrides: Mapping[str, Mapping[str, Any]] | None = None, **settings: Any
    ) -> Iterator[RobotSession | InProcessSession]:
        """A robot that practises and evaluates: the running graph, or that in this process where the run says so.

        The arguments are those of `graph`.
        """
        if not self.config.in_process:
            with self.graph(mode, overrides, **settings) as session:
                yield session
            return
        if not self.config.lockstep:
            raise RobofumeError(
                "In one process the simulation waits for each command: go on with --lockstep, or with --no-in-process."
            )
        from robofume_bringup.in_process_session import InProcessSession

        task = task_description(self.config.robot, self.config.task)
        log = self.directory.logs / "in_process.log"
        with InProcessSession(self._nodes(mode, overrides, settings), task, log, self.interruption) as alone:
            yield alone

    @contextmanager
    def graph(
        self,
        mode: str,
        overrides: Mapping[str, Mapping[str, Any]] | None = None,
        secure: bool = False,
        **settings: Any,
    ) -> Iterator[RobotSession]:
        """A running graph that is ready; leaving the block stops it.

        Arguments:
            mode: collect, practice or evaluate.
            overrides: node -> parameter -> value, below what the person set.
            secure: with SROS2 and the run's keystore.
            settings: further fields of GraphSettings.
        """
        nodes = self._nodes(mode, overrides, settings)
        from robofume_bringup.robot_session import RobotSession

        keystore = self.directory.keystore if secure else None
        runner = GraphRunner(
            nodes, self.directory.parameters / mode, self.directory.logs, settings.get("namespace", ""),
            keystore=keystore,
        )  # fmt: skip
        runner.hurried = lambda: self.interruption.requests > 1
        with runner, RobotSession(runner, self.interruption, say=self.say) as session:
            session.wait_until_ready()
            yield session

    def node_configs(self, mode: str) -> dict[str, Any]:
        """The settings of the nodes of a graph, by their names."""
        return {node.name: node.settings() for node in self._nodes(mode, None, {})}

    def _nodes(
        self, mode: str, overrides: Mapping[str, Mapping[str, Any]] | None, settings: Mapping[str, Any]
    ) -> list[NodeDescription]:
        """The nodes of a graph, their settings checked."""
        merged: dict[str, dict[str, Any]] = {name: dict(values) for name, values in (overrides or {}).items()}
        # The memories of practice are `replay`'s too; what is set of the learner itself comes before it.
        for name, values in (("learner", self.config.of("replay")), *self.config.node_settings.items()):
            merged.setdefault(name, {}).update(values)
        nodes = build_graph(
            GraphSettings(
                task=self.config.task,
                mode=mode,
                robot=self.config.robot,
                run_directory=self.directory.path.resolve(),
                seed=self.config.seed,
                image_size=self.config.image_size,
                lockstep=self.config.lockstep,
                further_cameras=network_of(self.config).further_cameras,
                **next_start(self.directory, mode),
                restarts=self.config.restarts,
                prior=tuple(self.config.prior),
                overrides=merged,
                **settings,
            )
        )
        _check_memory({node.name: node.settings() for node in nodes})
        return nodes

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the wall time of the block to the stage's record, also when it is cut short; of one that is killed, all
        but the last `NOTE_EVERY` seconds.

        RobofumeError where another process is at this stage of the run.
        """
        with self.directory.alone(stage):
            start, over = time.monotonic(), threading.Event()
            before = float(self.directory.stage_record(stage).get("seconds", 0.0))

            def note() -> None:
                self.directory.note(stage, seconds=round(before + time.monotonic() - start, 1))

            def keep_noting() -> None:
                while not over.wait(NOTE_EVERY):
                    with contextlib.suppress(OSError, RobofumeError):  # the note at the end tells of it
                        note()

            noting = threading.Thread(target=keep_noting, name="stage time", daemon=True)
            noting.start()
            try:
                yield
            finally:
                over.set()
                noting.join()
                note()

    def bar(self, what: str, total: int | None, unit: str, initial: int = 0) -> tqdm[Any]:
        """A progress bar."""
        return tqdm(total=total, desc=what, unit=unit, initial=initial, dynamic_ncols=True, mininterval=0.5)

    def training_progress(
        self, bar: tqdm[Any], shown: tuple[str, ...]
    ) -> Callable[[int, int, Mapping[str, float]], None]:
        """A callback (update, updates, metrics) for a training loop that moves the bar."""

        def progress(update: int, updates: int, metrics: Mapping[str, float]) -> None:
            bar.total = updates
            bar.update(update - bar.n)
            if update % 20 == 0 or update == updates:
                bar.set_postfix(
                    {name: f"{metrics[name]:.3g}" for name in shown if name in metrics}, refresh=False
                )

        return progress


def _check_memory(configs: Mapping[str, Any]) -> None:
    """Raises RobofumeError where the learner could not hold one episode of practice: found at the start, and not when
    the first long one ends.
    """
    if "learner" not in configs:
        return
    observations, capacity = configs["switcher"].step_limit + 1, configs["learner"].online_capacity
    if capacity < observations:
        raise RobofumeError(
            f"replay.online_capacity is {capacity}, and an episode of practice may have {observations} steps: set it "
            "to that at least, or switcher.step_limit to less."
        )


def percent(share: float) -> str:
    """`0.914` -> `91%`."""
    return f"{100 * share:.0f}%"
