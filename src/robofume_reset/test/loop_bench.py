"""An episode loop with a hand-driven policy, reward node and clock."""

import math

from robofume_common.enums import Actor, Verdict
from robofume_common.task import TaskDescription
from robofume_reset.episode_loop import EpisodeLoop
from robofume_reset.events import PublishTask
from robofume_reset.loop_config import LoopConfig
from robofume_reset.pacing import PacingConfig
from robofume_reset.success_rule import SuccessRule
from robofume_reset.switching import Alternation, EvaluationPlan, PracticeGoal, PracticePlan, SwitchingConfig

TASK = TaskDescription(name="line", forward_instruction="go right", backward_instruction="go left", step_limit=4)
S, F = Verdict.SUCCESS, Verdict.FAILURE


class Bench:
    """A loop with a hand-driven policy, reward node and clock; keeps every event."""

    def __init__(self, pacing=None, rule=None, switching=None, loop=None, **arguments):
        pacing = pacing or {"lockstep": True}
        self.now = 1000.0
        self.stamp = 0
        self.loop = EpisodeLoop(
            LoopConfig(**(loop or {})), PacingConfig(**pacing), rule or SuccessRule(), TASK, "s", now=self.now,
            **arguments,
        )  # fmt: skip
        self.alternation = Alternation(SwitchingConfig(**(switching or {})))
        self.events = []
        self.take(self.loop.start())

    def take(self, events):
        self.events += events
        return events

    def practice(self, paced=False, **goal):
        self.plan = PracticePlan(PracticeGoal(**goal), self.alternation, paced)
        return self.take(self.loop.begin(self.plan, self.now))

    def evaluate(self, trials=2, seed=3):
        self.plan = EvaluationPlan(trials, seed)
        return self.take(self.loop.begin(self.plan, self.now))

    def of(self, kind):
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def task(self):
        return self.of(PublishTask)[-1]

    def step(self, index, last=False, episode=None, actor=Actor.POLICY, let_go=True):
        self.stamp += 1
        episode = episode or self.task.episode_id
        return self.take(self.loop.on_step(episode, index, not last, actor, self.stamp, self.now, let_go))

    def verdict(self, index, verdict=F, episode=None, by_person=False, score=math.nan):
        episode = episode or self.task.episode_id
        return self.take(self.loop.on_verdict(episode, index, verdict, self.now, by_person, score))

    def both(self, index, verdict=F, last=False):
        name = self.task.episode_id
        return [*self.step(index, last, name), *self.verdict(index, verdict, name)]

    def tick(self, seconds=0.0):
        self.now += seconds
        return self.take(self.loop.tick(self.now))

    def timeout(self):
        for index in range(4):
            self.both(index)
        return self.both(4, last=True)

    def success(self):
        """A success judged on step 1: closes the episode with a last step 2."""
        name = self.task.episode_id
        self.both(0)
        self.both(1, S)
        return [*self.step(2, True, name), *self.verdict(2, S, name)]
