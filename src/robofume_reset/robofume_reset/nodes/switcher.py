"""The switcher node: steps and verdicts in, tasks, permits and episodes out; serves `practice` and `evaluate`.

The decisions are in `episode_loop.EpisodeLoop` and `switching`; this carries out their events.
"""

import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.clock import Clock, ClockType
from rclpy.duration import Duration
from rclpy.executors import SingleThreadedExecutor
from rclpy.task import Future
from robofume_common.action import PHYSICAL_DIMENSION
from robofume_common.conversion import image_to_array, to_nanoseconds
from robofume_common.enums import Actor, ArmState, Direction, RewardSource, Verdict
from robofume_common.errors import MalformedMessage, RobofumeError
from robofume_common.node import GraphNode, run
from robofume_common.parameters import declare, setting
from robofume_common.task import TaskDescription
from std_srvs.srv import Trigger

from robofume_common import qos
from robofume_interfaces.action import Evaluate, Practice
from robofume_interfaces.msg import ArmStatus, Episode, HelpRequest, LearnerStatus, Reward, Step, StepPermit, Task
from robofume_interfaces.srv import ResetScene as ResetSceneService
from robofume_reset.calling import CallingConfig, post, ring
from robofume_reset.episode_loop import EpisodeLoop
from robofume_reset.events import (
    AskPerson,
    Event,
    FindSilent,
    Finished,
    Note,
    PublishEpisode,
    PublishPermit,
    PublishTask,
    ResetScene,
    StopAsking,
)
from robofume_reset.grip import hand_position, lets_go
from robofume_reset.loop_config import ERROR_CANCELED, ERROR_NONE, LoopConfig
from robofume_reset.nodes.probe import Probe
from robofume_reset.nodes.switcher_messages import (
    episode_message,
    evaluation_feedback,
    fill,
    fill_trials,
    task_message,
)
from robofume_reset.pacing import LearnerState, PacingConfig
from robofume_reset.relocation import RelocationConfig
from robofume_reset.state import load_state, save_state
from robofume_reset.stillness import StillnessConfig, StillnessWatch
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
MOST_UNHEARD = 50
"""Ends of episodes that are kept to be said again; a listener that hangs acknowledges none."""
GOODBYE = 2.0
"""s at the end for the last step of the episode in progress."""
HEARD = Duration(seconds=4.0)
"""At the end, for all who listen to acknowledge how the last episodes ended; Fast DDS asks every 3 s."""


@dataclass(frozen=True)
class SwitcherConfig(
    LoopConfig, PacingConfig, SuccessRule, SwitchingConfig, StillnessConfig, CallingConfig, RelocationConfig
):
    """Settings of the switcher node: those of its parts, and the task."""

    task: str = setting("", "name of the task")
    forward_instruction: str = setting("", "sentence that the policy follows forward")
    backward_instruction: str = setting("", "sentence that undoes it")
    further_tasks: tuple[str, ...] = setting((), "names of further pairs in the same scene; see TaskDescription")
    further_forward: tuple[str, ...] = setting((), "their forward instructions")
    further_backward: tuple[str, ...] = setting((), "their backward instructions")
    further_after: tuple[str, ...] = setting((), "for each the pair after which it starts, or an empty text")
    step_limit: int = setting(40, "actions after which an episode ends", minimum=1, maximum=10_000)
    nudge: tuple[float, ...] = setting(
        (), "actions from home that push the objects about, seven values each; empty: a nudge brings the arm home"
    )
    session: str = setting("", "prefix of the episode ids, the same for all starts of a run; empty: the time of start")
    episode_listeners: int = setting(
        0, "a goal begins when so many nodes (recorder, learner) have found `episode`", minimum=0
    )
    state_file: str = setting("", "JSON file that keeps counters and direction over restarts; empty: none")

    def __post_init__(self) -> None:
        SuccessRule.__post_init__(self)
        CallingConfig.__post_init__(self)
        RelocationConfig.__post_init__(self)
        if len(self.nudge) % PHYSICAL_DIMENSION:
            raise RobofumeError(f"nudge has {PHYSICAL_DIMENSION} values per action; got {len(self.nudge)} values.")


class SwitcherNode(GraphNode):
    """Thin shell over `EpisodeLoop`."""

    def __init__(self) -> None:
        super().__init__("switcher")
        config = self._config = declare(self, SwitcherConfig)
        task = TaskDescription(
            name=config.task,
            forward_instruction=config.forward_instruction,
            backward_instruction=config.backward_instruction,
            further_tasks=config.further_tasks,
            further_forward=config.further_forward,
            further_backward=config.further_backward,
            further_after=config.further_after,
            step_limit=config.step_limit,
        )
        can_nudge = len(config.nudge) > 0 or not config.home
        self._state = load_state(config.state_file, config, can_nudge, task.pairs)
        self._pairs = task.pairs
        self._stillness = StillnessWatch(config)
        self._loop = EpisodeLoop(
            config,
            config,
            config,
            task,
            config.session or time.strftime("%Y%m%dT%H%M%S"),
            self._state.episodes_started,
            tuple(self._state.open_episodes),
            time.monotonic(),
            config.nudge,
            config,
        )
        self._plan: PracticePlan | EvaluationPlan | None = None
        self._goal: ServerGoalHandle | None = None
        self._kind: Any = None
        self._began = 0.0
        self._rate: deque[tuple[float, int]] = deque()
        self._next_feedback = 0.0
        self._reset: tuple[ResetScene, float] | None = None
        self._probe: Probe | None = None
        self._arm_refuses = ""
        self._waits_for_listeners = self._nobody_resets = False
        self._unheard = list(self._state.unheard)
        """Ends that were said, or are said again as soon as somebody listens; see `SwitcherState.unheard`."""
        self._started, self._says_again = time.monotonic(), bool(self._unheard)

        self._task_publisher = self.create_publisher(Task, "task", qos.LATCHED)
        self._permit_publisher = self.create_publisher(StepPermit, "step_permit", qos.COMMAND)
        self._episode_publisher = self.create_publisher(Episode, "episode", qos.EPISODE)
        self._help_publisher = self.create_publisher(HelpRequest, "help", qos.LATCHED)
        self._reset_client = self.create_client(ResetSceneService, "scene/reset")
        self.create_subscription(Step, "step", self._on_step, qos.STEP)
        self.create_subscription(Reward, "reward", self._on_reward, qos.REWARD)
        self.create_subscription(LearnerStatus, "learner/status", self._on_learner_status, qos.STATUS)
        self.create_subscription(ArmStatus, "arm/status", self._on_arm_status, qos.LATCHED)
        self.create_service(Trigger, "help/done", self._on_helped)
        # Wall time: deadlines must also run while a simulated clock stands still.
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(TICK, self._tick, clock=self._steady)
        self._servers = [
            self._serve(Practice, "practice", self._practice_plan),
            self._serve(Evaluate, "evaluate", self._evaluation_plan),
        ]
        self._handle(self._loop.start())
        self._publish_help(HelpRequest())  # what a former process asked for is over

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
        return EvaluationPlan(goal.trials_per_direction, goal.seed, self._pairs)

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
            fill(result, plan.tally)
        else:
            fill_trials(result, plan)
            result.duration = time.monotonic() - self._began
        return result

    def _begin_when_heard(self, now: float) -> None:
        """Begin the goal once those who must not miss an episode listen."""
        if not self._waits_for_listeners or self._plan is None:
            return
        listeners = self._listeners()
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

    def _listeners(self) -> int:
        return self._episode_publisher.get_subscription_count()

    # Messages in.

    def _on_step(self, message: Step) -> None:
        actor, stamp = Actor(message.actor), to_nanoseconds(message.stamp)
        has_action = len(message.action) > 0
        if has_action and len(message.action) != PHYSICAL_DIMENSION:
            raise MalformedMessage(f"Its action has {len(message.action)} values, not {PHYSICAL_DIMENSION}.")
        now, changed = time.monotonic(), self._has_changed(message)
        let_go = not has_action or lets_go(message.action, message.proprioception, self._config.open_gripper)
        position = hand_position(message.proprioception)
        self._handle(
            self._loop.on_step(
                message.episode_id, message.index, has_action, actor, stamp, now, let_go, changed, position
            )
        )

    def _has_changed(self, message: Step) -> bool:
        """Whether anything is another than at the episode's beginning; true where nobody can tell."""
        if len(message.proprioception) != PHYSICAL_DIMENSION:
            return True
        proprioception = np.asarray(message.proprioception, np.float32)
        try:
            return self._stillness.changed(
                message.episode_id, message.index, proprioception, lambda: image_to_array(message.image)
            )
        except RobofumeError:  # a picture that is none
            return True

    def _on_reward(self, message: Reward) -> None:
        verdict, person, now = Verdict(message.verdict), message.source == RewardSource.HUMAN, time.monotonic()
        self._handle(self._loop.on_verdict(message.episode_id, message.index, verdict, now, person, message.score))

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
        self._look_who_heard(now)
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
            if self._loop.waiting_for:
                self._save()  # the time of waiting
            self._goal.publish_feedback(self._feedback(now))

    # Events out.

    def _look_who_heard(self, now: float) -> None:
        """Say again what a former process may not have said; forget the ends that all who listen have acknowledged,
        for which Fast DDS asks every 3 s."""
        if self._says_again:
            enough = max(1, self._config.episode_listeners)
            if self._listeners() < enough and now - self._started < DISCOVERY_PATIENCE:
                return
            self._says_again = False
            for event in self._unheard:
                self._publish_episode(event)
        elif self._unheard and self._episode_publisher.wait_for_all_acked(Duration()):
            self._unheard.clear()  # on the disk with the next state: to say it once more does no harm

    def _handle(self, events: list[Event]) -> None:
        self._unheard += [event for event in events if isinstance(event, PublishEpisode)]
        del self._unheard[:-MOST_UNHEARD]
        if any(isinstance(event, PublishTask | PublishEpisode | Finished) for event in events):
            self._save()
        for event in events:
            if isinstance(event, PublishTask):
                self._task_publisher.publish(task_message(event, self._config.task))
            elif isinstance(event, PublishPermit):
                self._permit_publisher.publish(StepPermit(episode_id=event.episode_id, index=event.index))
            elif isinstance(event, PublishEpisode):
                self._publish_episode(event)
            elif isinstance(event, ResetScene):
                self._reset = (event, time.monotonic() + SERVICE_PATIENCE)
                self._try_reset(time.monotonic())
            elif isinstance(event, AskPerson):
                self._ask(event)
            elif isinstance(event, StopAsking):
                self._publish_help(HelpRequest())
            elif isinstance(event, FindSilent):
                self._probe = Probe(self, event.seconds)
            elif isinstance(event, Finished):
                self._finish(event)
            elif isinstance(event, Note):
                self.get_logger().warning(event.sentence)

    def _publish_episode(self, event: PublishEpisode) -> None:
        message = episode_message(event, self._config.task, self.get_clock().now().to_msg())
        self._episode_publisher.publish(message)

    def _save(self) -> None:
        """Before anything is published: an episode id is never used twice, and no end that is counted is left unsaid,
        whenever the process is killed.
        """
        self._state.episodes_started = self._loop.episodes_started
        self._state.open_episodes = self._loop.open_episodes
        self._state.unheard = [*self._unheard, *self._loop.unclosed]
        if self._config.state_file:
            save_state(self._config.state_file, self._state)

    def _try_reset(self, now: float) -> None:
        """Call `scene/reset` once it is there."""
        if self._reset is None:
            return
        reset, patience = self._reset
        if self._reset_client.service_is_ready():
            self._reset, self._nobody_resets = None, False
            request = ResetSceneService.Request(direction=int(reset.direction), task=reset.task, seed=reset.seed)
            future = self._reset_client.call_async(request)
            future.add_done_callback(lambda done: self._on_reset(reset.ticket, done))
        elif now > patience or self._nobody_resets:  # the second time there is no use in waiting for it
            self._reset, self._nobody_resets = None, self._config.ask_person
            sentence = "nobody serves scene/reset. Is the simulation, or another scene backend, running?"
            self._handle(self._loop.on_reset(reset.ticket, False, sentence, 0, now))

    def _on_reset(self, ticket: int, done: Future) -> None:
        answer, now = done.result(), time.monotonic()
        self._handle(self._loop.on_reset(ticket, answer.success, answer.message, to_nanoseconds(answer.stamp), now))

    def _ask(self, event: AskPerson) -> None:
        """Tell everybody that a person is needed."""
        self.get_logger().warning(event.sentence)
        ring()
        content = {"task": self._config.task, "session": self._config.session, "sentence": event.sentence}
        post(self._config, content, self.get_logger().warning)
        self._publish_help(
            HelpRequest(
                wanted=True,
                direction=int(event.direction),
                instruction=event.instruction,
                sentence=event.sentence,
            )
        )

    def _publish_help(self, message: HelpRequest) -> None:
        total = self._state.alternation.total
        message.stamp = self.get_clock().now().to_msg()
        message.requests, message.waited = total.person_requests, total.person_seconds
        self._help_publisher.publish(message)

    def _on_helped(self, _request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.success = bool(self._loop.waiting_for)
        response.message = "Thank you: practice goes on." if response.success else "Nobody is waited for."
        self._handle(self._loop.on_helped(time.monotonic()))
        return response

    def _feedback(self, now: float) -> Any:
        plan = self._plan
        if isinstance(plan, EvaluationPlan):
            return evaluation_feedback(plan)
        assert plan is not None
        practice = Practice.Feedback(updates=self._loop.pace.updates, instruction=self._loop.instruction)
        fill(practice, plan.tally)
        practice.forward_success_rate = plan.alternation.success_rate(Direction.FORWARD)
        practice.backward_success_rate = plan.alternation.success_rate(Direction.BACKWARD)
        self._rate.append((now, plan.tally.steps))
        while now - self._rate[0][0] > RATE_WINDOW:
            self._rate.popleft()
        seconds = now - self._rate[0][0]
        practice.steps_per_second = (plan.tally.steps - self._rate[0][1]) / seconds if seconds > 0 else 0.0
        return practice

    def close(self) -> None:
        """Asked to stop: end the goal, and note that what was to say has been heard; what was not is said again at the
        next start."""
        if self._loop.busy:
            self._end_goal()
        if self._unheard and not self._says_again and self._episode_publisher.wait_for_all_acked(HEARD):
            self._unheard.clear()
            self._save()

    def _end_goal(self) -> None:
        """End the episode in progress as aborted, so that what was recorded of it is closed."""
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
        for publisher in (self._task_publisher, self._episode_publisher, self._help_publisher):
            publisher.wait_for_all_acked(Duration(seconds=1.0))


def main() -> None:
    """Entry point of the node."""
    sys.exit(run(SwitcherNode))


if __name__ == "__main__":
    main()
