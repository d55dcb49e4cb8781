"""The graph of the embedded simulation in one process: the cores of its nodes, called in turn, without DDS and clocks.

What a node decides it decides here too, with the same settings, since both call the same core: world and arm, policy
(`Actor`), judge, switcher (`EpisodeLoop`) and demonstrator. Nothing waits, so that one processor is enough and the same
seed gives the same course. What the graph has besides, to be told of lost messages and silent nodes, has no part here.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from robofume_common.action import ActionSpace
from robofume_common.enums import Actor as Who
from robofume_common.enums import ArmMode, ArmState, Outcome, Phase, RewardSource, Verdict
from robofume_common.errors import RobofumeError
from robofume_common.task import TaskDescription
from robofume_data.episode import EpisodeData
from robofume_policy.actor import Actor, Command, Output, StepRecord, Task, stacked
from robofume_reset.episode_loop import EpisodeLoop
from robofume_reset.events import (
    Event,
    FindSilent,
    Finished,
    Note,
    PublishEpisode,
    PublishPermit,
    PublishTask,
    ResetScene,
)
from robofume_reset.grip import hand_position, lets_go
from robofume_reset.loop_config import ERROR_CANCELED
from robofume_reset.state import SwitcherState, load_state, save_state
from robofume_reset.stillness import StillnessWatch
from robofume_reset.switching import Plan
from robofume_reward.asking import ask, says, truth_answer
from robofume_reward.frame_history import FrameHistory
from robofume_reward.judge import EpisodeJudge
from robofume_reward.picture_check import PictureCheck
from robofume_robot.image_pipeline import crop_and_resize
from robofume_sim.arm_driver import ArmDriver
from robofume_sim.demonstrator import Demonstrator
from robofume_sim.sim_config import make_world
from robofume_sim.tasks.base import Truth
from robofume_sim.world import World

from robofume_bringup.graph import camera_node

STANDSTILL = 0.001
"""s between two looks at the deadlines where the loop waits for something, which it should not."""


@dataclass
class _Judged:
    verdict: Verdict
    probability: float
    source: RewardSource
    score: float = math.nan


@dataclass
class _Recorded:
    """Of an episode that goes on, or is not closed yet: what its bag will hold."""

    steps: list[StepRecord] = field(default_factory=list)
    judged: list[_Judged] = field(default_factory=list)
    truths: list[Truth] = field(default_factory=list)


class InProcessJudge:
    """The reward node's answers, one step at a time.

    `model`: a RewardModel, or None, where the truth judges.
    """

    def __init__(self, config: Any, model: Any) -> None:
        self.config, self.model = config, model
        self._judge = EpisodeJudge(config.rule)
        self._history = FrameHistory(model.view) if model is not None else None
        self._check = PictureCheck()

    def __call__(self, step: StepRecord, truth: Truth) -> _Judged:
        """The verdict on a step; only a judge without a model looks at the truth."""
        is_last = step.action is None
        from_home = self.config.is_from_home(step.index, is_last)
        # Steps that are not judged are seen all the same by a model that looks at several pictures.
        images = self._history.add(step.episode_id, step.index, step.image) if self._history is not None else ()
        if self.model is None:
            answer = truth_answer(truth, step.direction)
        elif step.phase == Phase.INTERVENTION or not self.config.asks(step.index, is_last):
            return _Judged(Verdict.UNKNOWN, math.nan, RewardSource.NONE)
        else:
            answer = None
            if not self._check.problem(step.image, step.proprioception):
                clip = np.stack(images) if len(images) > 1 else images[0]
                answer = ask(self.model, [clip], [step.instruction], [from_home])[0]
        alone = says(self.model, self.config, answer, from_home)
        verdict = self._judge.verdict(step.episode_id, step.index, alone)
        if answer is None or not math.isfinite(answer.probability):
            return _Judged(verdict, math.nan, RewardSource.NONE)
        source = RewardSource.GROUND_TRUTH if self.model is None else RewardSource.VLM
        return _Judged(verdict, answer.probability, source, answer.score)


def refuse_asking(switcher: Any) -> None:
    """Raise RobofumeError where the switcher's settings ask a person: here nobody could answer."""
    if switcher.ask_person:
        raise RobofumeError(
            "In one process nobody can be waited for, as switcher.ask_person wants: go on with --no-in-process, or "
            "begin a run without that setting."
        )


def read_state(switcher: Any, task: TaskDescription) -> SwitcherState:
    """What the switcher of these settings remembers."""
    can_nudge = len(switcher.nudge) > 0 or not switcher.home
    return load_state(switcher.state_file, switcher, can_nudge, task.pairs)


class InProcessGraph:
    """Runs the episodes of one plan after the other.

    Arguments:
        configs: settings by node name, of sim, camera, arm, policy, reward and switcher; with a demonstrator it acts.
        task: what the scene's pairs of instructions and the arm's limits are.
        judge: see InProcessJudge.
        note: takes a sentence for the log.
        world: where it is another than that of the sim node's settings.

    Set `on_step` (a step was taken, with its record) and `on_episode` (one was closed) to listen.
    Raises RobofumeError for settings that the simulation does not know, and where a person is to be asked.
    """

    def __init__(
        self,
        configs: Mapping[str, Any],
        task: TaskDescription,
        judge: InProcessJudge,
        note: Callable[[str], None] = lambda _sentence: None,
        world: World | None = None,
    ) -> None:
        self.configs, self.task, self.note, self._judge = configs, task, note, judge
        policy, switcher = configs["policy"], configs["switcher"]
        refuse_asking(switcher)
        self.world = world or make_world(configs["sim"])
        self.arm = ArmDriver(self.world, configs["arm"])
        self.action_space = ActionSpace(policy.translation_limit, policy.rotation_limit, policy.action_mask)
        self.actor = Actor(
            policy, self.action_space, clock=lambda: self.world.stamp, monotonic=time.monotonic, warn=note
        )
        self.state = read_state(switcher, task)
        self._stillness = StillnessWatch(switcher)
        self.loop = EpisodeLoop(
            switcher, switcher, switcher, replace(task, step_limit=switcher.step_limit), switcher.session,
            self.state.episodes_started,
            tuple(self.state.open_episodes), time.monotonic(), switcher.nudge,
            switcher,
        )  # fmt: skip
        self._scripts = (
            {pair.name: Demonstrator(self.world.task.pair(pair.name), configs["demonstrator"]) for pair in task.pairs}
            if "demonstrator" in configs
            else {}
        )
        self._script: Demonstrator | None = None
        self._demonstrated = -1
        self._task_of: dict[str, str] = {}
        self._random = np.random.default_rng(policy.seed)
        self._outputs: deque[Output] = deque()
        self._command: Command | None = None
        self._recorded: dict[str, _Recorded] = {}
        self._finished: Finished | None = None
        self._truths: dict[str, Truth] = {}
        self._policy: Any = None
        self._language: Any = None
        self.on_step: Callable[[StepRecord], None] = lambda _step: None
        self.on_episode: Callable[[EpisodeData], None] = lambda _episode: None
        self._take(self.actor.on_arm_status(ArmState.HOLDING, 0, self.world.stamp))
        self._handle(self.loop.start())
        self._observe()

    def use(self, policy: Any, version: int) -> None:
        """Act with an `ActingPolicy` from the next step on."""
        from robofume_policy.language import InstructionEncoder

        policy.succeed(self._policy, self.configs["policy"].exploration_std)
        if self._language is None or self._language.model_name != policy.language:
            self._language = InstructionEncoder(policy.language)
        self._policy = policy
        self._take(self.actor.set_policy(self._act, version))

    def _act(
        self, pictures: Sequence[NDArray[np.uint8]], proprioception: np.ndarray, instruction: str, deterministic: bool
    ) -> np.ndarray:
        embedding = self._language(instruction)
        return np.asarray(self._policy.act(stacked(pictures), proprioception, embedding, deterministic, self._random))

    def run(self, plan: Plan, between: Callable[[], None] = lambda: None) -> None:
        """Run the episodes of `plan` to its end; `between` is called after each observation, and may call `cancel`.

        Raises RobofumeError where the loop ends the plan with an error.
        """
        self._finished = None
        self._handle(self.loop.begin(plan, time.monotonic()))
        while self._finished is None:
            self._settle()
            between()
            command, self._command = self._command, None
            if self._finished is not None:
                break
            if command is None:
                self._demonstrate()
                if self._command is None:
                    time.sleep(STANDSTILL)
                    self._handle(self.loop.tick(time.monotonic()))
                continue
            self._carry_out(command)
            self._observe()
        self._save()
        if self._finished.error not in (0, ERROR_CANCELED):
            raise RobofumeError(self._finished.message)

    def cancel(self) -> None:
        """End the plan calmly; the episode in progress is aborted."""
        self._handle(self.loop.cancel(time.monotonic()))

    def close(self) -> None:
        """Free the renderer."""
        self.world.close()

    # The robot.

    def _carry_out(self, command: Command) -> None:
        if command.mode == ArmMode.HOME:
            self.arm.home()
            self._take(self.actor.on_arm_status(ArmState.HOLDING, command.stamp, self.world.stamp))
        else:
            self.arm.step(command.action)

    def _observe(self) -> None:
        """Show the world as it is now: truth first, since what is judged or demonstrated needs it."""
        stamp = self.world.stamp
        scene = self.world.scene_state()
        self._truths = {pair.name: self.world.task.pair(pair.name).truth(scene) for pair in self.task.pairs}
        image = crop_and_resize(self.world.render(), self.configs["camera"], None)
        self._take(self.actor.on_proprioception(stamp, self.arm.proprioception()))
        for name in self.configs["policy"].further_cameras:
            view = crop_and_resize(self.world.render(name), self.configs[camera_node(name)], None)
            self._take(self.actor.on_view(name, stamp, view))
        self._take(self.actor.on_image(stamp, image))
        self._settle()
        self._demonstrate()

    def _demonstrate(self) -> None:
        """What the script does about the newest observation, once, where an episode asks for it."""
        if self._script is not None and self._command is None and self._demonstrated != self.world.stamp:
            self._demonstrated = self.world.stamp
            action = self._script.act(self.world.scene_state())
            override = Command(self.world.stamp, ArmMode.DELTA, action, Who.SCRIPT)
            self._take(self.actor.on_override(override))
            self._settle()

    # The loop.

    def _take(self, outputs: list[Output]) -> None:
        self._outputs.extend(outputs)

    def _settle(self) -> None:
        """Deliver what the policy published, in order, and what follows from it."""
        while self._outputs:
            output = self._outputs.popleft()
            if isinstance(output, Command):
                self._command = output
            else:
                self._on_step(output)

    def _on_step(self, step: StepRecord) -> None:
        switcher, now = self.configs["switcher"], time.monotonic()
        has_action = step.action is not None
        task = self._task_of.get(step.episode_id, "")
        truth = self._truths.get(task) or next(iter(self._truths.values()))
        judged = self._judge(step, truth)
        recorded = self._recorded.setdefault(step.episode_id, _Recorded())
        recorded.steps.append(step)
        recorded.judged.append(judged)
        recorded.truths.append(truth)
        changed = self._stillness.changed(step.episode_id, step.index, step.proprioception, lambda: step.image)
        let_go = step.action is None or lets_go(
            step.action.tolist(), step.proprioception.tolist(), switcher.open_gripper
        )
        self.on_step(step)
        self._handle(
            self.loop.on_step(
                step.episode_id, step.index, has_action, step.actor, step.stamp, now, let_go, changed,
                hand_position(step.proprioception.tolist()),
            )
        )
        self._handle(self.loop.on_verdict(step.episode_id, step.index, judged.verdict, now, score=judged.score))

    def _handle(self, events: list[Event]) -> None:
        if any(isinstance(event, PublishTask | PublishEpisode | Finished) for event in events):
            self._save()
        for event in events:
            if isinstance(event, PublishTask):
                self._on_task(event)
            elif isinstance(event, PublishPermit):
                self._take(self.actor.on_permit(event.episode_id, event.index))
            elif isinstance(event, PublishEpisode):
                self._close_episode(event)
            elif isinstance(event, ResetScene):
                self._reset(event)
            elif isinstance(event, FindSilent):
                self._handle(self.loop.on_silence("The loop in one process stands still.", time.monotonic()))
            elif isinstance(event, Finished):
                self._finished = event
            elif isinstance(event, Note):
                self.note(event.sentence)

    def _on_task(self, event: PublishTask) -> None:
        name = event.task or self.task.name
        self._task_of = {**dict(list(self._task_of.items())[-3:]), event.episode_id: name}
        count = len(event.script) // 7
        script = tuple(tuple(event.script[7 * i : 7 * i + 7]) for i in range(count))
        self._script = None
        if self._scripts and event.phase != Phase.IDLE and event.phase != Phase.INTERVENTION:
            self._script = self._scripts[name]
            self._script.begin(event.direction)
        task = Task(event.stamp, event.phase, event.direction, event.instruction, event.episode_id, event.step_limit,
                    event.home, script)  # fmt: skip
        self._take(self.actor.on_task(task))

    def _reset(self, event: ResetScene) -> None:
        self.world.reset(event.direction, event.seed or None, task=event.task)
        self.arm.forget()
        self._command = None
        self._handle(self.loop.on_reset(event.ticket, True, "", self.world.stamp, time.monotonic()))
        self._observe()

    def _save(self) -> None:
        self.state.episodes_started = self.loop.episodes_started
        self.state.open_episodes = self.loop.open_episodes
        if self.configs["switcher"].state_file:
            save_state(self.configs["switcher"].state_file, self.state)

    def _close_episode(self, event: PublishEpisode) -> None:
        recorded = self._recorded.pop(event.episode_id, None)
        if recorded is None or len(recorded.steps) <= event.num_steps:
            return
        count = event.num_steps
        steps, judged = recorded.steps[: count + 1], recorded.judged[: count + 1]
        truths, cameras = recorded.truths[: count + 1], self.configs["policy"].further_cameras
        episode = EpisodeData(
            episode_id=event.episode_id,
            task=event.task or self.task.name,
            instruction=event.instruction,
            phase=event.phase,
            direction=event.direction,
            outcome=Outcome(event.outcome),
            success_index=event.success_index,
            assisted_reset_before=event.assisted_reset_before,
            images=np.stack([step.image for step in steps]),
            further_images={
                name: np.stack([step.views[number] for step in steps]) for number, name in enumerate(cameras)
            },
            proprioception=np.array([step.proprioception for step in steps], dtype=np.float32),
            actions=np.array([step.action for step in steps[:count]], dtype=np.float32).reshape(count, 7),
            actors=np.array([step.actor for step in steps[:count]], dtype=np.uint8),
            policy_versions=np.array([step.policy_version for step in steps], dtype=np.uint64),
            stamps=np.array([step.stamp for step in steps], dtype=np.int64),
            verdicts=np.array([item.verdict for item in judged], dtype=np.uint8),
            probabilities=np.array([item.probability for item in judged], dtype=np.float32),
            sources=np.array([item.source for item in judged], dtype=np.uint8),
            forward_success=np.array([truth.forward_success for truth in truths], dtype=np.bool_),
            backward_success=np.array([truth.backward_success for truth in truths], dtype=np.bool_),
        )
        self.on_episode(episode)
