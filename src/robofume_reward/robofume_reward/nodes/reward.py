"""The reward node: answers every `step` with a `reward`.

`judge: vlm` asks the reward model, in a thread of its own, about all steps that wait; `judge: ground_truth`
takes the simulation's truth with the step's stamp. What gets no answer in time, or none at all, is unknown, and so
is what the model is not sure of. A person's `label`, by topic or service, comes before either. A newer version of
the model's directory is taken over while judging goes on.
"""

from __future__ import annotations

import math
import sys
import threading
import time
from collections import OrderedDict, deque
from pathlib import Path
from typing import Any

import numpy as np
from rclpy.clock import Clock, ClockType
from robofume_common.action import PHYSICAL_DIMENSION
from robofume_common.conversion import image_to_array, to_nanoseconds
from robofume_common.diagnostics import ERROR, OK, WARN, Diagnostics
from robofume_common.enums import Direction, Phase, RewardSource, Verdict
from robofume_common.errors import RobofumeError
from robofume_common.labels import label_problem
from robofume_common.node import GraphNode, run
from robofume_common.parameters import declare

from robofume_common import qos
from robofume_interfaces.msg import GroundTruth, Label, Reward, Step, Task
from robofume_interfaces.srv import LabelStep

from ..asking import Answer, ask, says, truth_answer
from ..frame_history import FrameHistory
from ..judge import EpisodeJudge
from ..labels import LabelBook
from ..model_watch import ModelWatch
from ..picture_check import PictureCheck
from ..reward_config import RewardNodeConfig
from ..saved import View
from ..waiting import WaitingStep, WaitingSteps

_TRUTHS_KEPT = 512
_EXPIRY_PERIOD = 0.05  # s between two looks for steps that are past their deadline
_TASKS_KEPT = 16
STRANGE = (
    "The scene is unlike those that the reward model was trained on, so its steps are unknown: set light, colours and "
    "camera right, or label some pictures (robofume label) and train again"
)


class RewardNode(GraphNode):
    """Thin shell over the reward model, the judge and the book of labels."""

    def __init__(self) -> None:
        super().__init__("reward")
        self.config = declare(self, RewardNodeConfig)
        self._labels = LabelBook()
        self._judge = EpisodeJudge(self.config.rule)
        self._history = FrameHistory(View())
        self._check = PictureCheck()
        self._blind = False
        self._waiting = WaitingSteps(self.config.queue_limit, self.config.deadline)
        self._truths: OrderedDict[int, dict[str, GroundTruth]] = OrderedDict()  # by stamp and task
        self._truth_tasks: set[str] = set()
        self._tasks: OrderedDict[str, str] = OrderedDict()  # by episode
        self._latencies: deque[float] = deque(maxlen=200)
        self._strange = False
        self._counts = {"judged": 0, "successes": 0, "unknown": 0, "skipped": 0, "blind": 0, "strange": 0,
                        "dropped": 0, "late": 0, "labels": 0}  # fmt: skip
        self._failure = ""
        self._newest: tuple[str, int, int] = ("", -1, -1)
        self._said: Reward | None = None
        self._lock = threading.Lock()  # of judge, labels, counts and publishing: the worker publishes too
        self._model: Any = None
        self._watch: ModelWatch | None = None
        self._next_look = 0.0
        self._worker: threading.Thread | None = None
        self.model_version = ""
        if self.config.judge == "vlm":
            self._load_model()
        self._publisher = self.create_publisher(Reward, "reward", qos.REWARD)
        self._diagnostics = Diagnostics(self, self._counters)
        if self.config.judge == "ground_truth":
            self.create_subscription(GroundTruth, "ground_truth", self._on_truth, qos.GROUND_TRUTH)
            self.create_subscription(Task, "task", self._on_task, qos.LATCHED)
        self.create_subscription(Label, "label", self._on_label, qos.REWARD)
        self._label_publisher = self.create_publisher(Label, "label", qos.REWARD)
        self.create_service(LabelStep, "label_step", self._on_label_request)
        self.create_subscription(Step, "step", self._on_step, qos.STEP)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(min(_EXPIRY_PERIOD, self.config.deadline / 2), self._expire, clock=steady)
        if self._model is not None:
            self._worker = threading.Thread(target=self._work, name="judge", daemon=True)
            self._worker.start()
        self.get_logger().info(f"Judging by {self.config.judge} {self.model_version}".rstrip() + ".")

    def _load_model(self) -> None:
        if not self.config.model:
            raise RobofumeError("The judge vlm needs a reward model; set the parameter model to its directory.")
        self._take_over(self._read_model())
        if self.config.reload_every > 0 and Path(self.config.model).is_dir():
            self._watch = ModelWatch(self.config.model, self._read_model)

    def _read_model(self) -> Any:
        # Importing torch and transformers takes seconds, which the other judge does not need.
        from ..loading import load_practice_judge

        model = load_practice_judge(self.config)
        _ = model.version  # takes a moment, and is kept
        return model

    def _take_over(self, model: Any) -> None:
        self._model, self.model_version = model, model.version
        self._history.view = model.view

    def _on_step(self, message: Step) -> None:
        if self._is_repeated(message):
            return
        is_last = not message.action
        step = WaitingStep(
            episode_id=message.episode_id,
            index=message.index,
            direction=message.direction,
            instruction=message.instruction,
            stamp=to_nanoseconds(message.stamp),
            images=self._history.add(message.episode_id, message.index, message.image),
            arrived=time.monotonic(),
            from_home=self.config.is_from_home(message.index, is_last),
        )
        with self._lock:
            self._labels.saw_step(step.episode_id, step.index, is_last)
            labelled = self._labels.verdict(step.episode_id, step.index)
        if labelled is not None:
            self._publish_label(step.episode_id, step.index, labelled)
            return
        nudge = message.phase == Phase.INTERVENTION
        if nudge or (self._model is not None and not self.config.asks(step.index, is_last)):
            self._counts["skipped"] += 1
            self._publish(step.episode_id, step.index, math.nan, Verdict.UNKNOWN, RewardSource.NONE, "", 0.0)
            return
        if self._model is not None and self._shows_nothing(message):
            self._counts["blind"] += 1
            self._answer(step, None)
            return
        dropped = self._waiting.add(step)
        if dropped is not None:
            self._counts["dropped"] += 1
            self._answer(dropped, None)
        if self.config.judge == "ground_truth":
            self._match_truths()

    def _is_repeated(self, message: Step) -> bool:
        """Whether this is the newest step again. It is judged once; its verdict may have been lost."""
        step = (message.episode_id, message.index, to_nanoseconds(message.stamp))
        repeated, self._newest = step == self._newest, step
        said = self._said
        if repeated and said is not None and (said.episode_id, said.index) == step[:2]:
            self._publisher.publish(said)
        return repeated

    def _shows_nothing(self, message: Step) -> bool:
        """Whether the picture is blank or the camera frozen; a picture that cannot be read is left to the judging."""
        if len(message.proprioception) != PHYSICAL_DIMENSION:
            return False
        try:
            picture = image_to_array(message.image)
        except RobofumeError:
            return False
        problem = self._check.problem(picture, np.asarray(message.proprioception, np.float32))
        if problem and not self._blind:
            self.get_logger().warning(f"The camera's picture is {problem}; its steps are unknown until it is not.")
        self._blind = bool(problem)
        return self._blind

    def _on_task(self, message: Task) -> None:
        self._tasks[message.episode_id] = message.task
        while len(self._tasks) > _TASKS_KEPT:
            self._tasks.popitem(last=False)
        self._match_truths()

    def _on_truth(self, message: GroundTruth) -> None:
        truths = self._truths.setdefault(to_nanoseconds(message.stamp), {})
        self._truth_tasks.add(message.task)
        truths[message.task] = message
        while len(self._truths) > _TRUTHS_KEPT:
            self._truths.popitem(last=False)
        self._match_truths()

    def _match_truths(self) -> None:
        for step in self._waiting.take_where(lambda step: self._truth(step) is not None):
            self._answer(step, truth_answer(self._truth(step), Direction(step.direction)))

    def _truth(self, step: WaitingStep) -> GroundTruth | None:
        """The truth about a step's task; where nobody has named that, of a scene that has one task only."""
        truths, task = self._truths.get(step.stamp, {}), self._tasks.get(step.episode_id)
        if task is None and len(self._truth_tasks) == 1:
            task = next(iter(self._truth_tasks))
        return truths.get(task or "")

    def _on_label(self, message: Label) -> None:
        if problem := label_problem(message):
            self.get_logger().warning(f"Ignored a label: {problem}")
            return
        verdict = Verdict(message.verdict)
        with self._lock:
            self._counts["labels"] += 1
            index = self._labels.add(message.episode_id, message.index, verdict)
        if index is not None:
            self._publish_label(message.episode_id, index, verdict)

    def _on_label_request(self, request: LabelStep.Request, response: LabelStep.Response) -> LabelStep.Response:
        """Passes a label on to everybody, this node and the recorder included."""
        label = request.label
        if problem := label_problem(label):
            response.message = problem
            return response
        with self._lock:
            known = self._labels.knows(label.episode_id)
        self._label_publisher.publish(label)
        response.accepted = True
        response.message = "" if known else f"No step of episode {label.episode_id} has been seen here yet."
        return response

    def _publish_label(self, episode_id: str, index: int, verdict: Verdict) -> None:
        probability = {Verdict.SUCCESS: 1.0, Verdict.FAILURE: 0.0}.get(verdict, math.nan)
        self._publish(episode_id, index, probability, verdict, RewardSource.HUMAN, "", 0.0)

    def _expire(self) -> None:
        well = (WARN, STRANGE) if self._strange else (OK, "judging")
        self._diagnostics.report(*((ERROR, self._failure) if self._failure else well))
        now = time.monotonic()
        if self._watch is not None and now >= self._next_look:
            self._next_look = now + self.config.reload_every
            self._watch.poll()
            if self._watch.failure:
                self.get_logger().warning(f"The newer reward model is not used: {self._watch.failure}")
                self._watch.failure = ""
        for step in self._waiting.expire(now):
            self._counts["late"] += 1
            self._answer(step, None)

    def _work(self) -> None:
        if self.config.threads:
            import torch

            torch.set_num_threads(self.config.threads)  # torch counts threads per calling thread
        while batch := self._waiting.take(self.config.batch_limit):
            try:
                self._swap_model()
                for step, answer in zip(batch, self._ask(batch), strict=True):
                    if self._waiting.finish(step):
                        self._answer(step, answer)
                self._note_failure("")
            except Exception as error:  # noqa: BLE001  whatever the model raises, the loop goes on with unknown
                self._note_failure(f"The reward model fails, steps stay unknown: {error}")
                for step in batch:
                    if self._waiting.finish(step):
                        self._answer(step, None)

    def _swap_model(self) -> None:
        newer = self._watch.take() if self._watch is not None else None
        if newer is not None:
            self._take_over(newer)
            self.get_logger().info(f"Judging by the newer {self.model_version} from now on.")

    def _ask(self, batch: list[WaitingStep]) -> list[Answer]:
        clips = []
        for step in batch:
            images = [image_to_array(image) for image in step.images]
            clips.append(np.stack(images) if len(images) > 1 else images[0])
        return ask(self._model, clips, [step.instruction for step in batch], [step.from_home for step in batch])

    def _answer(self, step: WaitingStep, answer: Answer | None) -> None:
        """Publishes the verdict on a step; None means that there is no answer."""
        if answer is not None and not math.isfinite(answer.probability):
            answer = None
        strange = answer is not None and answer.strange
        with self._lock:
            if self._labels.verdict(step.episode_id, step.index) is not None:
                return
            alone = says(self._model, self.config, answer, step.from_home)
            verdict = self._judge.verdict(step.episode_id, step.index, alone)
            vlm = self.config.judge == "vlm"
            source = RewardSource.VLM if vlm else RewardSource.GROUND_TRUTH
            latency = time.monotonic() - step.arrived
            self._counts["judged"] += 1
            self._counts["successes"] += verdict == Verdict.SUCCESS
            self._counts["unknown"] += verdict == Verdict.UNKNOWN
            self._counts["strange"] += strange
            if strange and not self._strange:
                self.get_logger().warning(f"{STRANGE}.")
            self._strange = strange if answer is not None else self._strange
            self._latencies.append(latency)
        self._publish(
            step.episode_id,
            step.index,
            math.nan if answer is None else answer.probability,
            verdict,
            RewardSource.NONE if answer is None else source,
            self.model_version,
            latency,
            math.nan if answer is None else answer.score,
        )

    def _note_failure(self, failure: str) -> None:
        """Tells of a failure once, until the model answers again; the diagnostics show it meanwhile."""
        if failure and not self._failure:
            self.get_logger().error(failure)
        self._failure = failure

    def _publish(
        self,
        episode_id: str,
        index: int,
        probability: float,
        verdict: Verdict,
        source: RewardSource,
        model_version: str,
        latency: float,
        score: float = math.nan,
    ) -> None:
        message = Reward(
            stamp=self.get_clock().now().to_msg(),
            episode_id=episode_id,
            index=index,
            probability=probability,
            verdict=int(verdict),
            source=int(source),
            score=score,
            model_version=model_version,
            latency=latency,
        )
        self._publisher.publish(message)
        self._said = message

    def _counters(self) -> dict[str, Any]:
        with self._lock:
            latencies = np.array(self._latencies) if self._latencies else np.zeros(1)
            return {
                "judge": self.config.judge,
                "model_version": self.model_version,
                "waiting": len(self._waiting),
                "queue_limit": self.config.queue_limit,
                "latency_median": f"{np.median(latencies):.4f}",
                "latency_99": f"{np.quantile(latencies, 0.99):.4f}",
                **self._counts,
            }

    def close(self) -> None:
        """Ends the worker, before the node goes."""
        self._waiting.close()
        if self._worker is not None:
            self._worker.join(timeout=5.0)
        if self._watch is not None:
            self._watch.close()


def main() -> None:
    """Entry point of the node."""
    sys.exit(run(RewardNode))


if __name__ == "__main__":
    main()
