"""The learner node when the disk takes nothing: a limit of the kernel on the size of its files makes writes fail."""

import json
import os
import resource
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from robofume_common.action import ActionSpace
from robofume_common.conversion import array_to_image, to_time
from robofume_common.errors import RobofumeError
from robofume_data.episode_writer import write_episodes
from robofume_policy.checkpoint import CheckpointStore, read_version
from robofume_policy.config import AgentConfig, PretrainingConfig
from robofume_policy.metrics import read_metrics
from robofume_policy.pretraining import pretrain
from robofume_policy.write_patience import WritePatience
from test_policy_learning_pipeline import NETWORK, make_episode

from robofume_common import qos
from robofume_interfaces.msg import LearnerStatus, PolicyWeights, Step

PATIENCE = 300.0
EVERY = 4
"""Updates between two checkpoints."""


class Practice:
    """A learner node in a process of its own, and steps for it."""

    def __init__(self, folder, bench) -> None:
        self.folder, (self.node, self.executor) = folder, bench
        self.statuses, self.versions, self.steps = [], [], 0
        self.publisher = self.node.create_publisher(Step, "step", qos.STEP)
        self.node.create_subscription(LearnerStatus, "learner/status", self.statuses.append, qos.STATUS)
        self.node.create_subscription(
            PolicyWeights, "policy/weights", lambda message: self.versions.append(message.version), qos.LATCHED
        )

    def start(self, **more) -> None:
        self.statuses.clear()
        settings = {
            "pretrained": self.folder / "pretrained", "demonstrations": json.dumps([str(self.folder / "demos")]),
            "checkpoints": self.folder / "checkpoints", "metrics": self.folder / "metrics", "updates_per_step": 1.0,
            "warm_up_steps": 0, "checkpoint_every": EVERY, "publish_every": EVERY, "update_block": 2,
            "metrics_every": 2, **more,
        }  # fmt: skip
        arguments = [word for name, value in settings.items() for word in ("-p", f"{name}:={value}")]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "robofume_policy.nodes.learner", "--ros-args", *arguments,
             "--disable-external-lib-logs"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        self.wait(lambda: self.statuses and self.statuses[-1].state == LearnerStatus.STATE_WAITING)
        self.wait(lambda: self.publisher.get_subscription_count() > 0)

    def step(self, count: int) -> None:
        for _ in range(count):
            step = Step(stamp=to_time(self.steps + 1), episode_id="open", index=self.steps, phase=Step.PHASE_FORWARD)
            step.direction, step.instruction = Step.DIRECTION_FORWARD, "put the pot into the tray"
            step.image = array_to_image(np.zeros((40, 40, 3), np.uint8), step.stamp, "camera")
            step.proprioception, step.action, step.actor = [0.0] * 7, [0.0] * 7, Step.ACTOR_POLICY
            self.publisher.publish(step)
            self.steps += 1

    def wait(self, condition) -> None:
        end, ended = time.monotonic() + PATIENCE, False
        while not condition():
            assert time.monotonic() < end, self.end(signal.SIGKILL)
            if not ended and self.process.poll() is not None:  # what it said last may not have been looked at yet
                end, ended = min(end, time.monotonic() + 10.0), True
            self.executor.spin_once(timeout_sec=0.05)

    def full_disk(self, full: bool) -> None:
        """From here on no file of the learner grows, not by a byte; or they do again."""
        unlimited = resource.RLIM_INFINITY
        resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE, (0 if full else unlimited, unlimited))

    def learn(self, updates: int) -> None:
        self.step(updates - self.steps)
        self.wait(lambda: self.statuses[-1].updates >= updates or self.statuses[-1].state == LearnerStatus.STATE_FAILED)

    def end(self, number=signal.SIGINT) -> str:
        if self.process.poll() is None:
            os.kill(self.process.pid, number)
        return self.process.communicate(timeout=PATIENCE)[0]


@pytest.fixture
def practice(tmp_path, bench):
    demonstrations = [make_episode(number) for number in range(4)]
    (tmp_path / "demos").mkdir()
    write_episodes(tmp_path / "demos" / "demos_0000.mcap", demonstrations)
    pretrain(
        demonstrations, tmp_path / "pretrained", action_space=ActionSpace(), network=NETWORK,
        agent=AgentConfig(batch_size=4, algorithm="bc", n_step=1),
        config=PretrainingConfig(updates=2, checkpoint_every=2),
    )  # fmt: skip
    practice = Practice(tmp_path, bench)
    yield practice
    practice.end(signal.SIGKILL)


def test_a_full_disk_ends_practice_after_a_while_and_not_before(practice) -> None:
    store = CheckpointStore(practice.folder / "checkpoints")
    practice.start()
    practice.learn(EVERY)
    practice.wait(lambda: store.numbers() == [EVERY])
    practice.wait(lambda: practice.versions and practice.versions[-1] == read_version(store.directory))

    practice.full_disk(True)
    practice.learn(3 * EVERY - 1)  # one checkpoint fails
    assert store.load()[0] == EVERY and practice.statuses[-1].updates == 3 * EVERY - 1
    acting = practice.versions[-1]
    assert read_version(store.directory) == acting

    practice.full_disk(False)
    practice.learn(3 * EVERY)
    practice.wait(lambda: store.numbers()[-1] == 3 * EVERY)  # the next one finds room
    practice.wait(lambda: practice.versions[-1] == acting + 1 == read_version(store.directory))

    practice.full_disk(True)
    practice.learn(6 * EVERY)
    practice.wait(lambda: practice.statuses[-1].state == LearnerStatus.STATE_FAILED)
    assert "start again: practice continues from the checkpoint of 12 updates." in practice.statuses[-1].message
    said = practice.process.communicate(timeout=PATIENCE)[0]  # it ends by itself
    assert practice.process.returncode == 1 and "Traceback" not in said, said
    assert said.count("Practice goes on and it is tried again; the newest checkpoint is that of 4 updates.") == 1, said
    assert said.count("the newest checkpoint is that of 12 updates.") == 2, said
    assert "The checkpoint could be written again." in said
    assert [row["updates"] for row in read_metrics(practice.folder / "metrics" / "practice.csv")] == [
        *range(2, 3 * EVERY + 1, 2)
    ]

    practice.start()  # and not from zero
    assert practice.statuses[-1].updates == 3 * EVERY
    assert practice.end() is not None and practice.process.returncode == 0


def test_patience_is_for_each_thing_and_ends() -> None:
    patience, error = WritePatience(20), RobofumeError("X cannot be written.")
    assert patience.failed("a", error, 5, "M.") == "X cannot be written. Practice goes on and it is tried again; M."
    assert patience.failed("a", error, 9, "M.") == "" and patience.failed("a", error, 9, "N.")
    patience.failed("b", error, 20, "M.")
    assert patience.trouble.count("cannot be written") == 2
    assert patience.written("b") and not patience.written("b") and not patience.written("c")
    patience.failed("b", error, 30, "M.")
    assert "waits" in patience.failed("a", error, 60, "it waits.", ends=False)
    with pytest.raises(RobofumeError, match=r"failed for 20 updates. Make room, .* from the checkpoint of 0 updates"):
        patience.failed("a", error, 25, "M.")
    with pytest.raises(RobofumeError, match=r"^X cannot be written\. Make room.* of 7 updates"):
        WritePatience(0, newest=7).failed("a", error, 8, "M.")
