"""The learner node: assembles episodes, trains in a thread of its own, publishes weights and its state.

It never runs ahead: updates are limited to `updates_per_step` for each control step. A learner that was killed
continues from its newest checkpoint and reads the episodes since then from the run's bags.
"""

import contextlib
import hashlib
import queue
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rclpy.clock import Clock, ClockType
from robofume_common.conversion import floats
from robofume_common.diagnostics import ERROR, OK, Diagnostics
from robofume_common.enums import Phase
from robofume_common.errors import RobofumeError
from robofume_common.node import GraphNode, run
from robofume_common.parameters import declare, setting
from robofume_data.bad_attempts import read_with_prior
from robofume_data.bag_reader import episode_ids, find_bags
from robofume_data.episode import EpisodeData
from robofume_data.labels import read_labelled
from robofume_data.topics import view_topic

from robofume_common import qos
from robofume_interfaces.msg import Episode, LearnerStatus, PolicyWeights, Reward, Step
from robofume_policy.checkpoint import read_version, write_version
from robofume_policy.config import NoveltyConfig, OnlineConfig, ProgressConfig, ReplayConfig
from robofume_policy.episode_inbox import EpisodeInbox, StepCount
from robofume_policy.episode_search import EpisodeSearch
from robofume_policy.metrics import MetricsMean, MetricsWriter, check_finite, update_rate
from robofume_policy.replay_cache import ReplayCache
from robofume_policy.write_patience import WritePatience

PRACTICE = (Phase.FORWARD, Phase.BACKWARD)
"""Phases that are learnt from."""


@dataclass(frozen=True)
class LearnerNodeConfig(OnlineConfig, ReplayConfig, NoveltyConfig, ProgressConfig):
    """Settings of the learner node: those of learning in practice, exploring and shaping, and where things lie."""

    pretrained: str = setting("", "folder of the pre-trained checkpoint")
    demonstrations: tuple[str, ...] = setting((), "bags, or folders of bags, with the run's own recorded data")
    prior: tuple[str, ...] = setting((), "bags, or folders of bags, with prior data")
    replay_cache: str = setting("", "folder that keeps the recorded data ready to be mapped; empty: none")
    practice: tuple[str, ...] = setting((), "folders with the bags of this run's practice, read again at a restart")
    checkpoints: str = setting("", "folder for this run's checkpoints; empty: none are written")
    best: str = setting(
        "", "folder for the checkpoint of the stretch of practice that the judge found best; empty: none is kept"
    )
    metrics: str = setting("", "folder for metrics; empty: none are written")
    update_block: int = setting(10, "most updates between two looks at new steps", minimum=1)
    publish_every: int = setting(50, "updates between two publications of weights", minimum=1)
    checkpoint_every: int = setting(1000, "updates between two checkpoints", minimum=1)
    checkpoint_failures: int = setting(
        3, "checkpoints in a row that cannot be written until learning ends; what else is kept has as long", minimum=1
    )
    episode_deadline: float = setting(10.0, "wait for late steps and verdicts of a closed episode", unit="s", minimum=0)
    further_cameras: tuple[str, ...] = setting(
        (), "cameras whose views of the steps the policy learns from too, as it was pre-trained"
    )
    threads: int = setting(1, "torch threads", minimum=1, maximum=256)


class _EndedError(Exception):
    """The node ends while episodes are read."""


class LearnerNode(GraphNode):
    """Receives in the node's thread and learns in another; the two meet in a queue and a step count."""

    def __init__(self) -> None:
        super().__init__("learner")
        self._config = declare(self, LearnerNodeConfig)
        if not self._config.pretrained:
            raise RobofumeError("The learner needs a pre-trained policy: set the parameter pretrained to its folder.")
        cameras = self._config.further_cameras
        self._inbox = EpisodeInbox(self._config.episode_deadline, cameras)
        self._count = StepCount()
        self._episodes: queue.SimpleQueue[EpisodeData] = queue.SimpleQueue()
        self._news = threading.Event()
        self._ending = threading.Event()
        self._lock = threading.Lock()  # of the step count and of the status message
        self._failure: BaseException | None = None  # of the training thread
        self._status = LearnerStatus(state=LearnerStatus.STATE_LOADING, message="loading")
        self._learner: Any = None
        self._version = 0
        self._due_every = (self._config.publish_every, self._config.checkpoint_every)
        self._patience = WritePatience((self._config.checkpoint_failures - 1) * self._config.checkpoint_every)
        self._trouble = ""  # what cannot be written, for the node's thread
        self._search = EpisodeSearch(self._find_in_bags, self._take_found, self.get_logger().warning)
        self._diagnostics = Diagnostics(self, self._counters)
        self._weights_publisher = self.create_publisher(PolicyWeights, "policy/weights", qos.LATCHED)
        self._status_publisher = self.create_publisher(LearnerStatus, "learner/status", qos.STATUS)
        self.create_subscription(Step, "step", self._on_step, qos.STEP)
        for camera in cameras:
            self.create_subscription(Step, view_topic(camera), partial(self._on_view, camera), qos.STEP)
        self.create_subscription(Reward, "reward", self._on_reward, qos.REWARD)
        self.create_subscription(Episode, "episode", self._on_episode, qos.EPISODE)
        self.create_timer(0.5, self._look, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self._thread = threading.Thread(target=self._work, name="training", daemon=True)
        self._thread.start()

    # In the node's thread.

    def _on_step(self, message: Step) -> None:
        if message.phase not in PRACTICE:
            return
        self._inbox.add_step(message)
        if len(message.action) > 0:
            with self._lock:
                self._count.heard(message.episode_id, message.index + 1)
            self._news.set()
        else:
            self._hand_over()

    def _on_view(self, camera: str, message: Step) -> None:
        if message.phase in PRACTICE:
            self._inbox.add_view(camera, message)
            if not message.action:
                self._hand_over()

    def _on_reward(self, message: Reward) -> None:
        self._inbox.add_reward(message)
        self._hand_over()

    def _on_episode(self, message: Episode) -> None:
        if message.phase in PRACTICE:
            self._inbox.add_end(message, time.monotonic())
            self._hand_over()

    def _hand_over(self) -> None:
        for episode in self._inbox.take(time.monotonic()):
            self._episodes.put(episode)
            self._news.set()
        if self._learner is None:  # it may be among those that are being read back
            return
        for episode_id, sentence in dict(self._inbox.given_up).items():  # as one that began before this node listened
            self._inbox.given_up.pop(episode_id, None)
            self.get_logger().warning(f"{sentence} It is looked for in the bags.")
            self._search.add(episode_id)

    def _look(self) -> None:
        self._hand_over()
        self._publish_status()
        trouble = self._trouble
        self._diagnostics.report(ERROR if trouble else OK, trouble or self._status.message)
        self.failure = self.failure or self._failure

    def _counters(self) -> dict[str, int]:
        status = self._status
        return {
            "updates": status.updates,
            "target_updates": status.target_updates,
            "newest_checkpoint": self._patience.newest,
            "policy_version": self._version,
        }

    def close(self) -> None:
        """Let the training end its block, and keep what was learnt."""
        self._ending.set()
        self._news.set()
        self._search.close()  # what it did not find is read at the next start
        self._thread.join(timeout=20.0)
        if self._thread.is_alive():
            self.get_logger().warning(
                f"The training did not end within 20 s and saved nothing more: the newest checkpoint is that of "
                f"{self._patience.newest} updates, and the next start goes on from there."
            )
        if self._thread.is_alive() or self._failure is not None:
            return
        if self._learner is not None and self._config.checkpoints:
            self._take_in()
            self._learner.save(self._config.checkpoints, self._config.best)

    # In the training thread.

    def _work(self) -> None:
        try:
            self._load()
            while not self._ending.is_set():
                self._train_or_wait()
        except _EndedError:
            pass
        except Exception as error:  # noqa: BLE001  told to the switcher, then raised in the node's thread
            if not isinstance(error, RobofumeError):
                traceback.print_exc()
            self._set_status(LearnerStatus.STATE_FAILED, str(error) or type(error).__name__)
            self._publish_status()
            self._failure = error

    def _load(self) -> None:
        import torch

        torch.set_num_threads(self._config.threads)
        from robofume_policy.online_learner import OnlineLearner

        config = self._config
        bags = find_bags((*config.prior, *config.demonstrations))
        recorded = self._until_ending(
            read_with_prior(config.prior, config.demonstrations, config.further_cameras)
        )
        learner = OnlineLearner.from_pretrained(
            config.pretrained, recorded, config, config, novelty=config,
            cache=ReplayCache(config.replay_cache, bags) if config.replay_cache else None,
            progress=config, own=episode_ids(config.demonstrations) if config.prior else (),
        )  # fmt: skip
        restored = bool(config.checkpoints) and learner.restore(config.checkpoints)
        self._patience.newest = learner.updates
        found: dict[str, int] = {}
        learner.read_back(self._practised(found))
        with self._lock:
            self._count.restored(learner.steps, found, learner.newest_episode)
        self._version = read_version(config.checkpoints) if config.checkpoints else 0
        self._metrics = (
            MetricsWriter(config.metrics, "practice", learner.metric_names, learner.updates) if config.metrics else None
        )
        self._metrics_mean = MetricsMean(config.metrics_every)
        self._learner = learner
        if restored or found:
            held = f"{learner.updates} updates, {self._count.total} steps, {learner.episodes} episodes"
            self.get_logger().info(f"Continuing with {held}.")
        self._publish_weights()

    def _until_ending(self, episodes: Iterator[EpisodeData]) -> Iterator[EpisodeData]:
        for episode in episodes:
            if self._ending.is_set():
                raise _EndedError
            yield episode

    def _read(self, bags: list[Path]) -> Iterator[EpisodeData]:
        return self._until_ending(read_labelled(bags, phases=PRACTICE, cameras=self._config.further_cameras))

    def _practised(self, steps: dict[str, int]) -> Iterator[EpisodeData]:
        """The episodes that this run has recorded already; each one's number of steps is put into `steps`."""
        for episode in self._read(self._practice_bags()):
            steps[episode.episode_id] = episode.length
            self._inbox.know(episode.episode_id)
            with self._lock:
                self._count.saw(episode.episode_id, episode.length)
            yield episode

    def _practice_bags(self) -> list[Path]:
        """The bags of this run's practice, the newest last."""
        places = [Path(place) for place in self._config.practice if Path(place).exists()]
        bags = [bag for place in places for bag in place.rglob("*.mcap")]
        return sorted(bags, key=lambda bag: (bag.stat().st_mtime, bag.name))

    def _take_in(self) -> None:
        """What has come since the last look."""
        with self._lock:
            total, newest = self._count.total, self._count.newest
        self._learner.note_steps(total - self._learner.steps, newest)
        while not self._episodes.empty():
            self._learner.add_episode(self._episodes.get())

    def _train_or_wait(self) -> None:
        self._news.clear()
        self._take_in()
        learner, config = self._learner, self._config
        block = learner.next_block(config.update_block, self._due_every)
        if block == 0:
            message = "waiting for steps" if learner.target_updates else "warming up"
            self._set_status(LearnerStatus.STATE_WAITING, message)
            self._publish_status()
            # A status now and then is enough: the switcher counts the steps since the last one itself.
            self._news.wait(0.5)
            self._ending.wait(0.02)
            return
        started = time.monotonic()
        metrics = learner.train(block)
        seconds = time.monotonic() - started
        check_finite(metrics)
        self._set_status(LearnerStatus.STATE_TRAINING, "training", metrics, update_rate(block, seconds))
        self._publish_status()
        updates = learner.updates
        self._write_metrics(updates, block, metrics, seconds)
        if updates % config.publish_every == 0:
            self._try_to_keep("weights", self._publish_weights, f"the policy acts with version {self._version}.")
        if config.checkpoints and updates % config.checkpoint_every == 0:
            self._set_status(LearnerStatus.STATE_SAVING, "saving a checkpoint")
            self._publish_status()
            newest = f"the newest checkpoint is that of {self._patience.newest} updates."
            if self._try_to_keep("checkpoint", lambda: learner.save(config.checkpoints, config.best), newest):
                self._patience.newest = updates

    def _try_to_keep(self, thing: str, write: Callable[[], object], meanwhile: str, ends: bool = True) -> bool:
        """Write something; a disk that does not take it is told, and ends learning only after a while."""
        try:
            write()
        except RobofumeError as error:
            sentence = self._patience.failed(thing, error, self._learner.updates, meanwhile, ends)
            if sentence:
                self.get_logger().warning(sentence)
            return False
        else:
            if self._patience.written(thing):
                self.get_logger().info(f"The {thing} could be written again.")
            return True
        finally:
            self._trouble = self._patience.trouble

    def _write_metrics(self, updates: int, block: int, metrics: dict[str, float], seconds: float) -> None:
        """A row every `metrics_every` updates: the mean over them."""
        mean = self._metrics_mean.add(block, metrics, seconds)
        if self._metrics is None or mean is None:
            return
        writer = self._metrics
        self._try_to_keep("metrics", lambda: writer.write(updates, mean), "the rows wait in memory.", ends=False)

    def _publish_weights(self) -> None:
        data, architecture = self._learner.weights()
        if self._config.checkpoints:
            write_version(self._config.checkpoints, self._version + 1)
        self._version += 1
        message = PolicyWeights(
            stamp=self.get_clock().now().to_msg(),
            version=self._version,
            architecture=architecture,
            sha256=hashlib.sha256(data).hexdigest(),
            data=data,
        )
        self._weights_publisher.publish(message)

    # In the thread of the search.

    def _find_in_bags(self, wanted: set[str]) -> Iterator[EpisodeData]:
        """Those of these episodes that are whole in the newest bag, or in the one before, which a recorder that was
        started again, or the graph, has left.
        """
        bags = self._practice_bags()[-2:]
        if wanted.isdisjoint(episode_ids(bags)):  # quickly told
            return
        with contextlib.suppress(_EndedError):
            yield from (episode for episode in self._read(bags) if episode.episode_id in wanted)

    def _take_found(self, episode: EpisodeData) -> None:
        self._inbox.know(episode.episode_id)
        with self._lock:
            self._count.saw(episode.episode_id, episode.length)
        self._episodes.put(episode)
        self._news.set()

    # In all of them.

    def _set_status(self, state: int, message: str, metrics: dict[str, float] | None = None, rate: float = 0.0) -> None:
        with self._lock:
            status = self._status
            status.state, status.message, status.updates_per_second = state, message, rate
            if metrics is not None:
                status.metric_names, status.metric_values = list(metrics), floats(list(metrics.values()))

    def _publish_status(self) -> None:
        learner = self._learner
        with self._lock:
            status = self._status
            status.stamp = self.get_clock().now().to_msg()
            status.steps = self._count.total
            if learner is not None:
                status.updates = learner.updates
                status.target_updates = self._config.target_updates(self._count.total)
                status.online_transitions, status.offline_transitions = len(learner.online), len(learner.offline)
                status.episodes = learner.episodes
                status.policy_version = self._version
            self._status_publisher.publish(status)


def main() -> None:
    """Entry point of the node."""
    sys.exit(run(LearnerNode))


if __name__ == "__main__":
    main()
