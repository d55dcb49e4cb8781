"""Learning between the steps of a graph in one process: what the learner node does beside it."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from robofume_data.bad_attempts import read_with_prior
from robofume_data.bag_reader import episode_ids, find_bags
from robofume_data.episode import EpisodeData, Outcome, Phase
from robofume_data.labels import read_labelled
from robofume_policy.checkpoint import read_version, write_version
from robofume_policy.metrics import MetricsMean, MetricsWriter, check_finite
from robofume_policy.online_learner import OnlineLearner
from robofume_policy.policy_network import ActingPolicy, load_policy
from robofume_policy.replay_cache import ReplayCache
from robofume_policy.threads import threads


class InProcessLearner:
    """Updates in blocks, as the steps allow them; checkpoints and metrics like those of the learner node.

    `config`: that node's settings; its threads are those of learning alone, what acts and judges beside it keeps its
    own. `note` takes a sentence for the log. A checkpoint that cannot be written ends learning with a RobofumeError,
    since nothing else is at stake here: the episodes are in their bags.
    """

    def __init__(self, config: Any, note: Callable[[str], None]) -> None:
        self._config = config
        with threads(config.threads):
            self._learner = self._load(note)
        self._version = read_version(config.checkpoints) if config.checkpoints else 0
        self._metrics = (
            MetricsWriter(config.metrics, "practice", self._learner.metric_names, self._learner.updates)
            if config.metrics
            else None
        )
        self._mean = MetricsMean(config.metrics_every)

    def _load(self, note: Callable[[str], None]) -> OnlineLearner:
        config = self._config
        bags = find_bags((*config.prior, *config.demonstrations))
        learner = OnlineLearner.from_pretrained(
            config.pretrained, read_with_prior(config.prior, config.demonstrations, config.further_cameras),
            config, config, novelty=config,
            cache=ReplayCache(config.replay_cache, bags) if config.replay_cache else None,
            progress=config, own=episode_ids(config.demonstrations) if config.prior else (),
        )  # fmt: skip
        restored = bool(config.checkpoints) and learner.restore(config.checkpoints)
        found: list[int] = []
        learner.read_back(self._practised(found))
        learner.note_steps(max(0, sum(found) - learner.steps))
        if restored or found:
            held = f"{learner.updates} updates, {learner.steps} steps, {learner.episodes} episodes"
            note(f"Continuing with {held}.")
        return learner

    def _practised(self, steps: list[int]) -> Iterator[EpisodeData]:
        """What this run has practised already; each one's number of steps is appended to `steps`."""
        places = [Path(place) for place in self._config.practice if Path(place).exists()]
        bags = sorted(bag for place in places for bag in place.rglob("*.mcap"))
        cameras = self._config.further_cameras
        for episode in read_labelled(bags, phases=(Phase.FORWARD, Phase.BACKWARD), cameras=cameras):
            steps.append(episode.length)
            yield episode

    @property
    def updates(self) -> int:
        """Of practice."""
        return self._learner.updates

    def note_step(self) -> None:
        """A control step was taken."""
        self._learner.note_steps(1)

    def add_episode(self, episode: EpisodeData) -> None:
        """Learn from an ended episode, without the simulation's truth; an aborted one is left out."""
        if episode.phase in (Phase.FORWARD, Phase.BACKWARD) and episode.outcome != Outcome.ABORTED:
            with threads(self._config.threads):
                self._learner.add_episode(dataclasses.replace(episode, forward_success=None, backward_success=None))

    def policy(self) -> tuple[ActingPolicy, int]:
        """The policy that acts from now on, and its version."""
        if self._config.checkpoints:
            write_version(self._config.checkpoints, self._version + 1)
        self._version += 1
        return load_policy(*self._learner.weights()), self._version

    def train(self, at_least: int = 0, until: Callable[[], object] = lambda: False) -> bool:
        """Make the updates that are due, once they are `at_least` so many (0: a block of the settings); whether the
        policy is to be taken anew. `until`: asked before each block whether to leave the rest.
        """
        learner, config = self._learner, self._config
        if learner.updates_due() < (at_least or config.update_block):
            return False
        due_every, renewed = (config.publish_every, config.checkpoint_every), False
        while not until() and (block := learner.next_block(config.update_block, due_every)):
            started = time.monotonic()
            with threads(config.threads):
                metrics = learner.train(block)
            seconds = time.monotonic() - started
            check_finite(metrics)
            mean = self._mean.add(block, metrics, seconds)
            if self._metrics is not None and mean is not None:
                self._metrics.write(learner.updates, mean)
            renewed = renewed or learner.updates % config.publish_every == 0
            if config.checkpoints and learner.updates % config.checkpoint_every == 0:
                learner.save(config.checkpoints, config.best)
        return renewed

    def close(self) -> None:
        """Keep what was learnt."""
        if self._config.checkpoints:
            self._learner.save(self._config.checkpoints, self._config.best)
