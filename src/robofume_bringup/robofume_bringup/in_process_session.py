"""What RobotSession is to the graph's processes, for a graph in this one: the same goals, feedback and results."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace, TracebackType
from typing import Any

from robofume_common.enums import Direction, Phase
from robofume_common.errors import RobofumeError
from robofume_common.task import TaskDescription
from robofume_data.bag_writer import BagWriter, next_path, prepare_folder
from robofume_data.episode import EpisodeData
from robofume_data.episode_writer import EpisodeWriter
from robofume_policy.actor import StepRecord
from robofume_reset.state import save_state
from robofume_reset.switching import EvaluationPlan, PracticeGoal, PracticePlan

from robofume_bringup.graph import camera_node
from robofume_bringup.in_process_graph import InProcessGraph, InProcessJudge, read_state, refuse_asking
from robofume_bringup.in_process_learner import InProcessLearner
from robofume_bringup.interruption import Interruption, Stopped
from robofume_bringup.node_table import NodeDescription

KNOWN = ("sim", "camera", "arm", "policy", "reward", "switcher", "demonstrator", "learner", "recorder")
FEEDBACK_EVERY = 0.5  # s


class InProcessSession:
    """A graph in this process that is ready; leaving the block closes what it wrote.

    Arguments:
        nodes: what `build_graph` describes, of the embedded simulation in lockstep.
        task: the scene's task.
        log: file that the switcher's and the learner's sentences are written to.
        interruption: asked after each control step whether to stop.

    Raises RobofumeError for nodes that cannot run so.
    """

    def __init__(
        self,
        nodes: Sequence[NodeDescription],
        task: TaskDescription,
        log: Path,
        interruption: Interruption,
    ) -> None:
        self._configs = {node.name: node.settings() for node in nodes}
        views = map(camera_node, self._configs["policy"].further_cameras) if "policy" in self._configs else ()
        strangers = sorted(set(self._configs) - {*KNOWN, *views})
        if strangers or "sim" not in self._configs or not self._configs["sim"].lockstep:
            raise RobofumeError(
                "Only the embedded simulation can run in one process"
                + (f", and not {', '.join(strangers)}" if strangers else "")
                + ": leave --in-process out."
            )
        refuse_asking(self._configs["switcher"])
        # The learner works between the steps: nobody waits for it.
        self._configs["switcher"] = dataclasses.replace(self._configs["switcher"], expect_learner=False)
        self._task, self._log, self._interruption = task, log, interruption
        self._writer: BagWriter | None = None
        self._learner: InProcessLearner | None = None

    def __enter__(self) -> InProcessSession:
        import torch

        torch.set_num_threads(1)
        configs = self._configs
        model = _reward_model(configs["reward"]) if configs["reward"].judge == "vlm" else None
        self._say_again()
        if "learner" in configs:
            self._learner = InProcessLearner(configs["learner"], self._note)
        self._graph = InProcessGraph(configs, self._task, InProcessJudge(configs["reward"], model), self._note)
        if self._learner is not None:
            self._graph.use(*self._learner.policy())
        elif configs["policy"].source == "policy":
            from robofume_policy.weight_intake import policy_from_checkpoint

            policy = configs["policy"]
            space = self._graph.action_space
            acting = policy_from_checkpoint(policy.checkpoint, space, policy.image_size, policy.further_cameras)
            self._graph.use(acting, 0)
        if "recorder" in configs:
            self._writer = self._bag()
            self._episodes = EpisodeWriter(self._writer)
        self._graph.on_step, self._graph.on_episode = self._on_step, self._on_episode
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exception: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with ExitStack() as ends:  # each of them, whatever becomes of the others
            ends.callback(self._graph.close)
            if self._learner is not None:
                ends.callback(self._learner.close)
            if self._writer is not None:
                ends.callback(self._writer.close)

    def _bag(self) -> BagWriter:
        recorder = self._configs["recorder"]
        folder = prepare_folder(recorder.directory)
        return BagWriter(next_path(folder, recorder.name), int(recorder.disk_floor))

    def _say_again(self) -> None:
        """Record how the episodes ended of which a switcher that was killed had perhaps told nobody yet. Before the
        learner looks, which reads them from the bags like all others; it does no harm where they are there already.
        """
        switcher = self._configs["switcher"]
        state = read_state(switcher, self._task)
        if not state.unheard or "recorder" not in self._configs:
            return
        with self._bag() as writer:
            episodes = EpisodeWriter(writer)
            for end in state.unheard:
                episodes.add_end(**{**vars(end), "task": end.task or self._task.name})
        state.unheard = []
        save_state(switcher.state_file, state)

    def practice(
        self,
        on_feedback: Callable[[Any], None],
        steps: int = 0,
        episodes: int = 0,
        successes_per_direction: int = 0,
    ) -> Any:
        """Practise, or collect, until one of the limits. The result has the fields of Practice.action."""
        alternation = self._graph.state.alternation
        plan = PracticePlan(PracticeGoal(steps, episodes, successes_per_direction), alternation, paced=True)

        def state() -> Any:
            return SimpleNamespace(
                **vars(plan.tally),
                updates=self._learner.updates if self._learner else 0,
                forward_success_rate=alternation.success_rate(Direction.FORWARD),
                backward_success_rate=alternation.success_rate(Direction.BACKWARD),
            )

        self._run(plan, lambda: on_feedback(state()))
        return state()

    def evaluate(self, on_feedback: Callable[[Any], None], trials_per_direction: int, seed: int) -> Any:
        """Count successes from stated starts. The result has the fields of Evaluate.action."""
        plan = EvaluationPlan(trials_per_direction, seed, self._task.pairs)
        began = time.monotonic()

        def state() -> Any:
            forward, backward = plan.successes(Direction.FORWARD), plan.successes(Direction.BACKWARD)
            return SimpleNamespace(
                trials_done=plan.trials_done,
                forward_trials=len(forward), forward_successes=sum(forward), forward_success=forward,
                backward_trials=len(backward), backward_successes=sum(backward), backward_success=backward,
                forward_steps=plan.steps(Direction.FORWARD), backward_steps=plan.steps(Direction.BACKWARD),
                forward_score=plan.scores(Direction.FORWARD), backward_score=plan.scores(Direction.BACKWARD),
                duration=time.monotonic() - began,
            )  # fmt: skip

        self._run(plan, lambda: on_feedback(state()))
        return state()

    def _run(self, plan: PracticePlan | EvaluationPlan, tell: Callable[[], None]) -> None:
        told = 0.0
        stopping = False

        def between() -> None:
            nonlocal told, stopping
            # After a restart thousands of updates may be owed: who asks for an end does not wait for them.
            if self._learner is not None and self._learner.train(until=lambda: self._interruption.requests):
                self._graph.use(*self._learner.policy())
            now = time.monotonic()
            if now - told > FEEDBACK_EVERY:
                told = now
                tell()
            if self._interruption.requests and not stopping:
                stopping = True
                self._graph.cancel()

        self._graph.run(plan, between)
        if self._learner is not None and not stopping:
            self._learner.train(at_least=1)
        tell()
        if stopping:
            raise Stopped

    def _on_step(self, step: StepRecord) -> None:
        if self._learner is not None and step.action is not None and step.phase in (Phase.FORWARD, Phase.BACKWARD):
            self._learner.note_step()

    def _on_episode(self, episode: EpisodeData) -> None:
        if self._writer is not None:
            self._episodes.add(episode)
        if self._learner is not None:
            self._learner.add_episode(episode)

    def _note(self, sentence: str) -> None:
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("a", encoding="utf-8") as file:
            file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} [{os.getpid()}] {sentence}\n")


def _reward_model(config: Any) -> Any:
    from robofume_reward.loading import load_practice_judge

    if not config.model:
        raise RobofumeError("The judge vlm needs a reward model: run `robofume reward train` first.")
    return load_practice_judge(config)
