"""The switcher node: steps and verdicts in, tasks, permits and episodes out; serves `practice` and `evaluate`.

The decisions are in `episode_loop.EpisodeLoop` and `switching`; this carries out their events.
"""

import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.clock import Clock, ClockType
from rclpy.duration import Duration
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.task import Future
from robofume_common.action import GRIPPER, PHYSICAL_DIMENSION
from robofume_common.conversion import to_nanoseconds, to_time
from robofume_common.enums import Actor, ArmState, Direction, RewardSource, Verdict
from robofume_common.errors import MalformedMessage
from robofume_common.node import GraphNode, run
from robofume_common.parameters import declare, setting
from robofume_common.task import TaskDescription
from sensor_msgs.msg import Image, JointState

from robofume_common import qos
from robofume_interfaces.action import Evaluate, Practice
from robofume_interfaces.msg import ArmStatus, Episode, LearnerStatus, Reward, Step, StepPermit, Task
from robofume_interfaces.srv import ResetScene as ResetSceneService
from robofume_reset.episode_loop import (
    ERROR_CANCELED,
    ERROR_NONE,
    EpisodeLoop,
    Event,
    FindSilent,
    Finished,
    LoopConfig,
    Note,
    PublishEpisode,
    PublishPermit,
    PublishTask,
    ResetScene,
)
from robofume_reset.pacing import LearnerState, PacingConfig
from robofume_reset.silence import PROBE_TIME, PROBED, Findings, silence_sentence
from robofume_reset.state import load_state, save_state
from robofume_reset.success_rule import SuccessRule
from robofume_reset.switching import EvaluationPlan, PracticeGoal, PracticePlan, SwitchingConfig

TICK = 0.05
"""s between two looks at the deadlines."""
FEEDBACK_PERIOD = 1.0
RATE_WINDOW = 10.0
DISCOVERY_PATIENCE = 30.0
"""s to wait for the listeners of `episode`."""
SERVICE_PATIENCE = 10.0
"""s to wait for `scene/reset` to appear."""
GOODBYE = 2.0
"""s at the end for the last step of the episode in progress."""


@dataclass(frozen=True)
class SwitcherConfig(LoopConfig, PacingConfig, SuccessRule, SwitchingConfig):
    """Settings of the switcher node: those of its parts, and the task."""

    task: str = setting("", "name of the task")
    forward_instruction: str = setting("", "sentence that the policy follows forward")
    backward_instruction: str = setting("", "sentence that undoes it")
    step_limit: int = setting(40, "actions after which an episode ends", minimum=1, maximum=10_000)
    session: str = setting("", "prefix of the episode ids, the same for all starts of a run; empty: the time of start")
    episode_listeners: int = setting(
        0, "a goal begins when so many nodes (recorder, learner) have found `episode`", minimum=0
    )
    state_file: str = setting("", "JSON file that keeps counters and direction over restarts; empty: none")


class SwitcherNode(GraphNode):
    """Thin shell over `EpisodeLoop`."""

    def __init__(self) -> None:
        super().__init__("switcher")
        config = self._config = declare(self, SwitcherConfig)
        task = TaskDescription(
            name=config.task,
            forward_instruction=config.forward_instruction,
            backward_instruction=config.backward_instruction,
            step_limit=config.step_limit,
        )
        self._state = load_state(config.state_file, config)
        self._loop = EpisodeLoop(
            config,
            config,
            config,
            task,
            config.session or time.strftime("%Y%m%dT%H%M%S"),
            self._state.episodes_started,
            tuple(self._state.open_episodes),
            time.monotonic(),
        )
        self._plan: PracticePlan | EvaluationPlan | None = None
        self._goal: ServerGoalHandle | None = None
        self._kind: Any = None
        self._began = 0.0
        self._rate: deque[tuple[float, int]] = deque()
        self._next_feedback = 0.0
        self._reset: tuple[ResetScene, float] | None = None
        self._probe: _Probe | None = None
        self._arm_refuses = ""
        self._waits_for_listeners = False

        self._task_publisher = self.create_publisher(Task, "task", qos.LATCHED)
        self._permit_publisher = self.create_publisher(StepPermit, "step_permit", qos.COMMAND)
        self._episode_publisher = self.create_publisher(Episode, "episode", qos.EPISODE)
        self._reset_client = self.create_client(ResetSceneService, "scene/reset")
        self.create_subscription(Step, "step", self._on_step, qos.STEP)
        self.create_subscription(Reward, "reward", self._on_reward, qos.REWARD)
        self.create_subscription(LearnerStatus, "learner/status", self._on_learner_status, qos.STATUS)
        self.create_subscription(ArmStatus, "arm/status", self._on_arm_status, qos.LATCHED)
        # Wall time: deadlines must also run while a simulated clock stands still.
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(TICK, self._tick, clock=self._steady)
        self._servers = [
            self._serve(Practice, "practice", self._practice_plan),
            self._serve(Evaluate, "evaluate", self._evaluation_plan),
        ]
        self._handle(self._loop.start())

    # Goals.

    def _serve(self, kind: Any, name: str, make_plan: Callable[[Any], PracticePlan | EvaluationPlan]) -> ActionServer:
        return ActionServer(
            self,
            kind,
            name,
            execute_callback=lambda _goal: kind.Result(),  # see `_finish`
            goal_callback=lambda _request: GoalResponse.REJECT if self._goal else GoalResponse.ACCEPT,
            handle_accepted_callback=lambda goal: self._accept(goal, make_plan(goal.request), kind),
            cancel_callback=lambda _goal: CancelResponse.ACCEPT,
        )

    def _accept(self, goal: ServerGoalHandle, plan: PracticePlan | EvaluationPlan, kind: Any) -> None:
        self._goal, self._plan, self._kind = goal, plan, kind  # from here on other goals are refused
        self._began = time.monotonic()
        self._rate.clear()
        self._waits_for_listeners = True

    def _practice_plan(self, goal: Practice.Goal) -> PracticePlan:
        limits = PracticeGoal(goal.steps, goal.episodes, goal.successes_per_direction)
        return PracticePlan(limits, self._state.alternation, paced=True)

    def _evaluation_plan(self, goal: Evaluate.Goal) -> EvaluationPlan:
        return EvaluationPlan(goal.trials_per_direction, goal.seed)

    def _finish(self, finished: Finished) -> None:
        """Answer the goal.

        Only now is it "executed": a coroutine that waits for the end keeps rclpy's executors at full load.
        """
        goal, plan, kind = self._goal, self._plan, self._kind
        self._plan = self._goal = None
        self._waits_for_listeners = False
        if goal is not None and plan is not None:
            goal.execute(lambda handle: self._result(handle, plan, kind, finished))

    def _result(
        self, goal: ServerGoalHandle, plan: PracticePlan | EvaluationPlan, kind: Any, finished: Finished
    ) -> Any:
        if finished.error == ERROR_NONE:
            goal.succeed()
        elif finished.error == ERROR_CANCELED and goal.is_cancel_requested:
            goal.canceled()
        else:
            self.get_logger().error(finished.message)
            goal.abort()
        result = kind.Result(error_code=finished.error, message=finished.message)
        if isinstance(plan, PracticePlan):
            _fill(result, plan.tally)
        else:
            _fill_trials(result, plan)
            result.duration = time.monotonic() - self._began
        return result

    def _begin_when_heard(self, now: float) -> None:
        """Begin the goal once those who must not miss an episode listen."""
        if not self._waits_for_listeners or self._plan is None:
            return
        listeners = self._episode_publisher.get_subscription_count()
        if listeners < self._config.episode_listeners and now - self._began < DISCOVERY_PATIENCE:
            if self._goal is not None and self._goal.is_cancel_requested:
                self._finish(Finished(ERROR_CANCELED, "The goal was cancelled."))
            return
        if listeners < self._config.episode_listeners:
            self.get_logger().error(
                f"Only {listeners} of {self._config.episode_listeners} nodes listen to `episode`: "
                "see the logs of the recorder and the learner."
            )
        self._waits_for_listeners = False
        self._handle(self._loop.begin(self._plan, now))

    # Messages in.

    def _on_step(self, message: Step) -> None:
        actor, stamp = Actor(message.actor), to_nanoseconds(message.stamp)
        has_action = len(message.action) > 0
        if has_action and len(message.action) != PHYSICAL_DIMENSION:
            raise MalformedMessage(f"Its action has {len(message.action)} values, not {PHYSICAL_DIMENSION}.")
        gripper_open = not has_action or message.action[GRIPPER] >= 0.5
        now = time.monotonic()
        self._handle(self._loop.on_step(message.episode_id, message.index, has_action, actor, stamp, now, gripper_open))

    def _on_reward(self, message: Reward) -> None:
        verdict, person, now = Verdict(message.verdict), message.source == RewardSource.HUMAN, time.monotonic()
        self._handle(self._loop.on_verdict(message.episode_id, message.index, verdict, now, person))

    def _on_learner_status(self, message: LearnerStatus) -> None:
        now = time.monotonic()
        self._loop.pace.on_status(
            LearnerState(message.state),
            message.updates,
            message.target_updates,
            message.steps,
            message.message,
            now,
        )
        self._handle(self._loop.on_learner_status(now))

    def _on_arm_status(self, message: ArmStatus) -> None:
        state = ArmState(message.state)
        self._arm_refuses = message.message if state == ArmState.REFUSING else ""
        self._handle(self._loop.on_arm_status(state, message.message, time.monotonic()))

    def _tick(self) -> None:
        now = time.monotonic()
        self._begin_when_heard(now)
        if self._goal is not None and self._goal.is_cancel_requested:
            self._handle(self._loop.cancel(now))
        self._try_reset(now)
        if self._probe is not None and now >= self._probe.ends:
            self._handle(self._loop.on_silence(self._probe.finish(self._arm_refuses), now))
            self._probe = None
        self._handle(self._loop.tick(now))
        if self._goal is not None and self._plan is not None and now >= self._next_feedback:
            self._next_feedback = now + FEEDBACK_PERIOD
            self._goal.publish_feedback(self._feedback(now))

    # Events out.

    def _handle(self, events: list[Event]) -> None:
        if any(isinstance(event, PublishTask | PublishEpisode | Finished) for event in events):
            self._save()
        for event in events:
            if isinstance(event, PublishTask):
                self._task_publisher.publish(self._task_message(event))
            elif isinstance(event, PublishPermit):
                self._permit_publisher.publish(StepPermit(episode_id=event.episode_id, index=event.index))
            elif isinstance(event, PublishEpisode):
                self._episode_publisher.publish(self._episode_message(event))
            elif isinstance(event, ResetScene):
                self._reset = (event, time.monotonic() + SERVICE_PATIENCE)
                self._try_reset(time.monotonic())
            elif isinstance(event, FindSilent):
                self._probe = _Probe(self, event.seconds)
            elif isinstance(event, Finished):
                self._finish(event)
            elif isinstance(event, Note):
                self.get_logger().warning(event.sentence)

    def _save(self) -> None:
        """Before anything is published: an episode id is never used twice, whenever the process is killed."""
        self._state.episodes_started = self._loop.episodes_started
        self._state.open_episodes = self._loop.open_episodes
        if self._config.state_file:
            save_state(self._config.state_file, self._state)

    def _try_reset(self, now: float) -> None:
        """Call `scene/reset` once it is there."""
        if self._reset is None:
            return
        reset, patience = self._reset
        if self._reset_client.service_is_ready():
            self._reset = None
            request = ResetSceneService.Request(direction=int(reset.direction), seed=reset.seed)
            future = self._reset_client.call_async(request)
            future.add_done_callback(lambda done: self._on_reset(reset.ticket, done))
        elif now > patience:
            self._reset = None
            sentence = "nobody serves scene/reset. Is the simulation, or another scene backend, running?"
            self._handle(self._loop.on_reset(reset.ticket, False, sentence, 0, now))

    def _on_reset(self, ticket: int, done: Future) -> None:
        answer, now = done.result(), time.monotonic()
        self._handle(self._loop.on_reset(ticket, answer.success, answer.message, to_nanoseconds(answer.stamp), now))

    def _task_message(self, event: PublishTask) -> Task:
        return Task(
            stamp=to_time(event.stamp),
            phase=int(event.phase),
            direction=int(event.direction),
            task=self._config.task,
            instruction=event.instruction,
            episode_id=event.episode_id,
            step_limit=event.step_limit,
            home=event.home,
        )

    def _episode_message(self, event: PublishEpisode) -> Episode:
        return Episode(
            stamp=self.get_clock().now().to_msg(),
            episode_id=event.episode_id,
            phase=int(event.phase),
            direction=int(event.direction),
            task=self._config.task,
            instruction=event.instruction,
            num_steps=event.num_steps,
            outcome=int(event.outcome),
            success_index=event.success_index,
            assisted_reset_before=event.assisted_reset_before,
        )

    def _feedback(self, now: float) -> Any:
        plan = self._plan
        if isinstance(plan, EvaluationPlan):
            evaluation = Evaluate.Feedback(trials_done=plan.trials_done, trials_total=2 * plan.trials_per_direction)
            evaluation.forward_trials = len(plan.results[Direction.FORWARD])
            evaluation.backward_trials = len(plan.results[Direction.BACKWARD])
            evaluation.forward_successes = sum(plan.successes(Direction.FORWARD))
            evaluation.backward_successes = sum(plan.successes(Direction.BACKWARD))
            return evaluation
        assert plan is not None
        practice = Practice.Feedback(updates=self._loop.pace.updates, instruction=self._loop.instruction)
        _fill(practice, plan.tally)
        practice.forward_success_rate = plan.alternation.success_rate(Direction.FORWARD)
        practice.backward_success_rate = plan.alternation.success_rate(Direction.BACKWARD)
        self._rate.append((now, plan.tally.steps))
        while now - self._rate[0][0] > RATE_WINDOW:
            self._rate.popleft()
        seconds = now - self._rate[0][0]
        practice.steps_per_second = (plan.tally.steps - self._rate[0][1]) / seconds if seconds > 0 else 0.0
        return practice

    def close(self) -> None:
        """Asked to stop: end the episode in progress as aborted, so that what was recorded of it is closed."""
        if not self._loop.busy:
            return
        end = time.monotonic() + GOODBYE
        executor = SingleThreadedExecutor()  # a second events executor gets no events of this node
        executor.add_node(self)
        self._handle(self._loop.cancel(time.monotonic(), "The switcher was stopped."))
        while self._loop.busy and time.monotonic() < end:
            executor.spin_once(timeout_sec=0.05)
        executor.spin_once(timeout_sec=0.05)  # the goal's answer
        executor.remove_node(self)
        executor.shutdown()
        # A publisher that is destroyed takes along what has not been delivered yet.
        for publisher in (self._task_publisher, self._episode_publisher):
            publisher.wait_for_all_acked(Duration(seconds=1.0))


class _Probe:
    """Listens for a while to who still says something."""

    def __init__(self, node: Node, seconds: float) -> None:
        self._node = node
        self._seconds = seconds
        self.ends = time.monotonic() + PROBE_TIME
        self._heard = dict.fromkeys(PROBED, 0)
        self._subscriptions = [
            node.create_subscription(kind, topic, lambda _message, topic=topic: self._hear(topic), profile)
            for topic, kind, profile in zip(PROBED, (Image, JointState), (qos.IMAGE, qos.STATE), strict=True)
        ]

    def _hear(self, topic: str) -> None:
        self._heard[topic] += 1

    def finish(self, arm_refuses: str) -> str:
        """Stop listening; the sentence."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        topics = ("step", "camera/image_raw", "joint_states", *PROBED)
        publishers = {topic: self._node.count_publishers(topic) for topic in topics}
        return silence_sentence(Findings(self._seconds + PROBE_TIME, publishers, self._heard, arm_refuses))


def _fill(message: Any, tally: Any) -> None:
    """A tally's fields into a result or feedback of the same names."""
    for name, value in vars(tally).items():
        setattr(message, name, value)


def _fill_trials(result: Any, plan: EvaluationPlan) -> None:
    result.forward_success = plan.successes(Direction.FORWARD)
    result.backward_success = plan.successes(Direction.BACKWARD)
    result.forward_steps = plan.steps(Direction.FORWARD)
    result.backward_steps = plan.steps(Direction.BACKWARD)


def main() -> None:
    """Entry point of the node."""
    sys.exit(run(SwitcherNode))


if __name__ == "__main__":
    main()
