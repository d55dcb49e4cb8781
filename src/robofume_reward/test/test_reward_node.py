"""The reward node as a process of its own, over DDS."""

import json
import math
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import Log
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from robofume_common.conversion import array_to_image, to_time
from robofume_reward.augmentation import AugmentationConfig
from robofume_reward.familiarity import fit
from robofume_reward.film_cnn import FilmCnn, FilmCnnConfig
from robofume_reward.model import ModelConfig, RewardModel
from robofume_reward.saved import Calibration, View, write_opposites
from robofume_reward.tiny_model import TinyModelConfig
from robofume_reward.training_summary import TRAINING_FILE

from robofume_common import qos
from robofume_interfaces.msg import GroundTruth, Label, Reward, Step
from robofume_interfaces.srv import LabelStep
from robofume_reward import tiny_model

PATIENCE = 300.0  # s: on a machine that does much else, the imports of a node alone take minutes
DEADLINE = 200.0
INSTRUCTION = "put the pot into the tray"
OPPOSITE = "take the pot out of the tray"
NODE = ("-m", "robofume_reward.nodes.reward")
UNFIT = {"true_positives": 63, "false_positives": 36, "precision_interval": [0.54, 0.72]}
"""Answers about held-out pictures from home of a model that has learnt nothing of one direction."""
TROUBLED_NODE = Path(__file__).parent / "troubled_reward_node.py"


class Loop(Node):
    """Stands for the rest of the graph."""

    def __init__(self, context: Context) -> None:
        super().__init__("loop", context=context)
        self.rewards: list[Reward] = []
        self.steps = self.create_publisher(Step, "step", qos.STEP)
        self.truths = self.create_publisher(GroundTruth, "ground_truth", qos.GROUND_TRUTH)
        self.labels = self.create_publisher(Label, "label", qos.REWARD)
        self.create_subscription(Reward, "reward", self.rewards.append, qos.REWARD)
        self.told: dict[str, str] = {}  # in the newest diagnostics
        self.state = ""
        self.logged: list[str] = []
        self.create_subscription(Log, "/rosout", lambda message: self.logged.append(message.msg), 100)
        self.create_subscription(DiagnosticArray, "diagnostics", self._on_diagnostics, qos.DIAGNOSTICS)
        self.executor_ = SingleThreadedExecutor(context=context)
        self.executor_.add_node(self)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        self.told = {value.key: value.value for status in message.status for value in status.values}
        self.state = " ".join(status.message for status in message.status)

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end, f"{what} did not happen"
            self.executor_.spin_once(timeout_sec=0.05)

    def step(
        self,
        index: int,
        stamp: int,
        direction: int = 1,
        last: bool = False,
        image: np.ndarray | None = None,
        instruction: str = INSTRUCTION,
    ) -> None:
        picture = np.full((64, 64, 3), 7 * index, np.uint8) if image is None else image
        self.steps.publish(
            Step(
                stamp=to_time(stamp),
                episode_id="episode-1",
                index=index,
                direction=direction,
                instruction=instruction,
                image=array_to_image(picture),
                action=[] if last else [0.0] * 7,
            )
        )

    def truth(self, stamp: int, forward: bool, backward: bool) -> None:
        self.truths.publish(
            GroundTruth(
                stamp=to_time(stamp), forward_success=forward, backward_success=backward,
                forward_score=1.0 if forward else 0.25, backward_score=1.0 if backward else 0.25,
            )
        )  # fmt: skip


@pytest.fixture
def loop(ros_domain: int) -> Iterator[Loop]:
    context = Context()
    rclpy.init(context=context, domain_id=ros_domain)
    node = Loop(context)
    yield node
    node.destroy_node()
    rclpy.shutdown(context=context)


@pytest.fixture
def start(loop: Loop) -> Iterator[Callable[..., subprocess.Popen]]:
    started: list[subprocess.Popen] = []

    def begin(program: Sequence[object] = NODE, **parameters: object) -> subprocess.Popen:
        arguments = [part for name, value in parameters.items() for part in ("-p", f"{name}:={value}")]
        process = subprocess.Popen(
            [sys.executable, *map(str, program), "--ros-args", *arguments],
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        started.append(process)
        loop.wait(
            # Whose diagnostics are heard has found the loop's earlier subscriptions too, that to `reward` among them.
            lambda: process.poll() is not None or (loop.steps.get_subscription_count() > 0 and bool(loop.told)),
            "discovery",
        )
        return process

    yield begin
    for process in started:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE)


def test_ground_truth_is_matched_by_stamp_whichever_comes_first(loop: Loop, start: Callable) -> None:
    process = start(judge="ground_truth", deadline=DEADLINE)
    loop.wait(lambda: loop.truths.get_subscription_count() > 0, "discovery")
    loop.truth(100, True, False)
    loop.step(0, 100)
    loop.step(1, 200, direction=2)
    loop.truth(200, True, False)
    loop.wait(lambda: len(loop.rewards) == 2, "two rewards")
    first, second = sorted(loop.rewards, key=lambda reward: reward.index)
    assert (first.verdict, first.source, first.probability, first.score) == (
        Reward.VERDICT_SUCCESS,
        Reward.SOURCE_GROUND_TRUTH,
        1.0,
        1.0,
    )
    assert (second.verdict, second.probability, second.score) == (Reward.VERDICT_FAILURE, 0.0, 0.25)
    loop.step(1, 200, direction=2)  # the policy repeats what may have been lost
    loop.wait(lambda: len(loop.rewards) == 3, "the same reward again")
    assert loop.rewards[2] == second
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0 and "Traceback" not in errors


def test_no_truth_in_time_is_unknown_and_a_label_comes_first(loop: Loop, start: Callable) -> None:
    start(judge="ground_truth", deadline=0.3)
    loop.wait(lambda: loop.labels.get_subscription_count() > 0, "discovery")
    loop.step(0, 100)
    loop.wait(lambda: len(loop.rewards) == 1, "a reward")
    unknown = loop.rewards[0]
    assert (unknown.verdict, unknown.source) == (Reward.VERDICT_UNKNOWN, Reward.SOURCE_NONE)
    assert math.isnan(unknown.probability) and unknown.latency >= 0.3
    loop.labels.publish(Label(episode_id="episode-1", index=0, verdict=Reward.VERDICT_SUCCESS, author="test"))
    loop.wait(lambda: len(loop.rewards) == 2, "the person's reward")
    assert (loop.rewards[1].verdict, loop.rewards[1].source) == (Reward.VERDICT_SUCCESS, Reward.SOURCE_HUMAN)
    loop.labels.publish(Label(episode_id="episode-1", index=-1, verdict=Reward.VERDICT_FAILURE, author="test"))
    loop.wait(lambda: loop.told["labels"] == "2", "the label's arrival")  # topics do not wait for one another
    loop.step(1, 200, last=True)
    loop.wait(lambda: len(loop.rewards) == 3, "the reward of the last step")
    assert (loop.rewards[2].index, loop.rewards[2].source) == (1, Reward.SOURCE_HUMAN)


def test_the_vote_over_the_steps_is_that_of_the_parameters(loop: Loop, start: Callable) -> None:
    start(judge="ground_truth", needed=3, window=4, hold=2, deadline=DEADLINE)
    loop.wait(lambda: loop.truths.get_subscription_count() > 0, "discovery")
    for index, reached in enumerate([True, True, False, True, True]):
        loop.truth(100 * (index + 1), reached, False)
        loop.step(index, 100 * (index + 1))
        loop.wait(lambda: len(loop.rewards) == index + 1, "a reward")  # noqa: B023  called in this turn alone
    # At step 1 two of two are too few, at step 3 three of four are enough and only one is held.
    failure, success = Reward.VERDICT_FAILURE, Reward.VERDICT_SUCCESS
    assert [reward.verdict for reward in loop.rewards] == [failure] * 4 + [success]
    assert [reward.probability for reward in loop.rewards] == [1.0, 1.0, 0.0, 1.0, 1.0]


def test_a_full_queue_answers_the_oldest_steps_with_unknown(loop: Loop, start: Callable) -> None:
    start(judge="ground_truth", queue_limit=2, deadline=DEADLINE)
    loop.wait(lambda: loop.truths.get_subscription_count() > 0, "discovery")
    for index in range(5):
        loop.step(index, 100 * (index + 1))
    loop.wait(lambda: len(loop.rewards) == 3, "three rewards")
    assert [reward.index for reward in loop.rewards] == [0, 1, 2]
    for reward in loop.rewards:
        assert (reward.verdict, reward.source) == (Reward.VERDICT_UNKNOWN, Reward.SOURCE_NONE)
    loop.wait(lambda: loop.told.get("dropped") == "3", "diagnostics")
    assert (loop.told["waiting"], loop.told["queue_limit"], loop.told["late"]) == ("2", "2", "0")
    for index in (3, 4):
        loop.truth(100 * (index + 1), True, False)
    loop.wait(lambda: len(loop.rewards) == 5, "the rewards of those that waited")
    assert [reward.verdict for reward in loop.rewards[3:]] == [Reward.VERDICT_SUCCESS] * 2


def test_the_model_answers_every_step_as_it_does_in_process(loop: Loop, start: Callable, tmp_path: Path) -> None:
    tiny_model.save(tmp_path / "tiny", TinyModelConfig(), seed=0)
    start(judge="vlm", model=tmp_path / "tiny", deadline=DEADLINE)
    images = np.random.default_rng(0).integers(0, 255, (12, 64, 64, 3), dtype=np.uint8)
    for index, image in enumerate(images):
        loop.step(index, 100 * (index + 1), image=image)
    loop.wait(lambda: len(loop.rewards) == 12, "twelve rewards")
    model = RewardModel.load(tmp_path / "tiny")
    expected = model.probabilities(images, [INSTRUCTION] * 12)
    for reward in loop.rewards:
        assert reward.probability == pytest.approx(expected[reward.index], abs=1e-5)
        assert reward.verdict == model.calibration.verdict(reward.probability)
        assert (reward.source, reward.model_version) == (Reward.SOURCE_VLM, model.version)
    loop.wait(lambda: loop.told.get("judged") == "12", "diagnostics")
    assert (loop.told["waiting"], loop.told["model_version"]) == ("0", model.version)
    assert 0.0 < float(loop.told["latency_median"]) <= float(loop.told["latency_99"]) < DEADLINE


def test_in_half_precision_the_answers_are_nearly_the_same(loop: Loop, start: Callable, tmp_path: Path) -> None:
    tiny_model.save(tmp_path / "tiny", TinyModelConfig(), seed=0)
    start(judge="vlm", model=tmp_path / "tiny", dtype="bfloat16", deadline=DEADLINE)
    images = np.random.default_rng(0).integers(0, 255, (4, 64, 64, 3), dtype=np.uint8)
    for index, image in enumerate(images):
        loop.step(index, 100 * (index + 1), image=image)
    loop.wait(lambda: len(loop.rewards) == 4, "four rewards")
    halved = RewardModel.load(tmp_path / "tiny", ModelConfig(dtype="bfloat16"))
    expected = RewardModel.load(tmp_path / "tiny").probabilities(images, [INSTRUCTION] * 4)
    for reward in loop.rewards:
        assert reward.model_version == halved.version
        assert reward.source == Reward.SOURCE_VLM
        assert reward.probability == pytest.approx(expected[reward.index], abs=0.02)


def test_a_classifier_answers_in_the_place_of_the_model(loop: Loop, start: Callable, tmp_path: Path) -> None:
    FilmCnn(FilmCnnConfig(), seed=0).save(tmp_path / "reward")
    start(judge="vlm", model=tmp_path / "reward", deadline=DEADLINE)
    images = np.random.default_rng(0).integers(0, 255, (4, 64, 64, 3), dtype=np.uint8)
    for index, image in enumerate(images):
        loop.step(index, 100 * (index + 1), image=image, last=index == 3)
    loop.wait(lambda: len(loop.rewards) == 4, "four rewards")
    judge = FilmCnn.load(tmp_path / "reward")
    expected = judge.probabilities(images, [INSTRUCTION] * 4)
    for reward in loop.rewards:
        assert reward.probability == pytest.approx(expected[reward.index], abs=1e-5)
        assert reward.model_version == judge.version


def test_what_is_seen_from_home_has_a_threshold_of_its_own_and_a_second_question(
    loop: Loop, start: Callable, tmp_path: Path
) -> None:
    picture = np.full((64, 64, 3), 90, np.uint8)
    for seed in range(60):  # until chance gives a model that says yes to both, and more so to the first
        tiny_model.save(tmp_path / str(seed), TinyModelConfig(), seed=seed)
        write_opposites(tmp_path / str(seed), {INSTRUCTION: OPPOSITE, OPPOSITE: INSTRUCTION})
        model = RewardModel.load(tmp_path / str(seed))
        own, other = model.probabilities(picture[None].repeat(2, 0), [INSTRUCTION, OPPOSITE])
        if own > other + 1e-3 > 0.502:
            break
    start(judge="vlm", model=tmp_path / str(seed), threshold=0.999, home_threshold=0.5, deadline=DEADLINE)
    loop.step(0, 100, image=picture)
    loop.step(1, 200, image=picture)
    loop.step(2, 300, image=picture, last=True)
    loop.step(3, 400, image=picture, last=True, instruction=OPPOSITE)
    loop.wait(lambda: len(loop.rewards) == 4, "four rewards")
    first, moving, last, opposite = sorted(loop.rewards, key=lambda reward: reward.index)
    assert first.verdict == last.verdict == Reward.VERDICT_SUCCESS
    # Not sure enough for a success, and no failure either.
    assert moving.verdict == Reward.VERDICT_UNKNOWN
    # Both goals cannot be reached at once.
    assert opposite.verdict == Reward.VERDICT_UNKNOWN and opposite.probability > 0.5


def test_a_strange_scene_is_unknown_and_the_node_says_so(loop: Loop, start: Callable, tmp_path: Path) -> None:
    tiny_model.save(tmp_path / "tiny", TinyModelConfig(), seed=0)
    known = np.random.default_rng(0).integers(60, 120, (30, 64, 64, 3), dtype=np.uint8)
    fit(known, known, known[:0], AugmentationConfig(), seed=0).write(tmp_path / "tiny")
    # Where the model is unsure, this node says failure; of a strange scene it says nothing.
    start(judge="vlm", model=tmp_path / "tiny", abstain=False, home_threshold=0.5, deadline=DEADLINE)
    loop.step(0, 100, image=known[0])
    loop.step(1, 200, image=known[1] + 100)
    loop.step(2, 300, image=known[2] + 100, last=True)
    loop.wait(lambda: len(loop.rewards) == 3, "three rewards")
    verdicts = {reward.index: reward.verdict for reward in loop.rewards}
    assert verdicts[0] != Reward.VERDICT_UNKNOWN
    assert verdicts[1] == verdicts[2] == Reward.VERDICT_UNKNOWN
    assert all(math.isfinite(reward.probability) for reward in loop.rewards)
    loop.wait(lambda: loop.told.get("strange") == "2", "diagnostics")
    loop.wait(lambda: "unlike those" in loop.state, "the diagnostics' state")


def test_only_some_steps_are_judged_and_the_last_one_always(loop: Loop, start: Callable, tmp_path: Path) -> None:
    tiny_model.save(tmp_path / "tiny", TinyModelConfig(), seed=0)
    reward = RewardModel.load(tmp_path / "tiny")
    reward.view = View(frames=2, stride=2)
    reward.save(tmp_path / "tiny")
    start(judge="vlm", model=tmp_path / "tiny", every=3, deadline=DEADLINE)
    images = np.random.default_rng(0).integers(0, 255, (6, 64, 64, 3), dtype=np.uint8)
    for index, image in enumerate(images):
        loop.step(index, 100 * (index + 1), image=image, last=index == 5)
    loop.wait(lambda: len(loop.rewards) == 6, "six rewards")
    rewards = {reward.index: reward for reward in loop.rewards}
    assert [rewards[i].source == Reward.SOURCE_VLM for i in range(6)] == [True, False, False, True, False, True]
    assert rewards[1].verdict == Reward.VERDICT_UNKNOWN and math.isnan(rewards[1].probability)
    # The images between are looked at all the same.
    expected = reward.probabilities(images[None, [3, 5]], [INSTRUCTION])[0]
    assert rewards[5].probability == pytest.approx(expected, abs=1e-5)


def test_a_newer_model_takes_over_and_a_broken_one_does_not(loop: Loop, start: Callable, tmp_path: Path) -> None:
    for seed in (0, 1):
        tiny_model.save(tmp_path / str(seed), TinyModelConfig(), seed=seed)
        Calibration().write(tmp_path / str(seed))
    shutil.copytree(tmp_path / "0", tmp_path / "model")
    start(judge="vlm", model=tmp_path / "model", reload_every=0.1, deadline=DEADLINE)
    old, new = (RewardModel.load(tmp_path / str(seed)).version.split("@")[1] for seed in (0, 1))

    def version_of(index: int) -> str:
        loop.step(index, 100 * (index + 1))
        loop.wait(lambda: any(reward.index == index for reward in loop.rewards), "a reward")
        return next(reward for reward in loop.rewards if reward.index == index).model_version.split("@")[1]

    assert version_of(0) == old
    weights = tmp_path / "model" / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:1000])
    loop.wait(lambda: any("newer reward model is not used" in line for line in loop.logged), "the warning")
    assert version_of(1) == old
    record = tmp_path / "model" / TRAINING_FILE
    record.write_text(json.dumps({"held_out": {"forward": {"from_home": UNFIT}}}))
    weights.write_bytes((tmp_path / "1" / "model.safetensors").read_bytes())
    loop.wait(lambda: any("36 of the 99" in line for line in loop.logged), "the refusal of one that has learnt nothing")
    assert version_of(2) == old
    record.unlink()
    weights.touch()
    end, index = time.monotonic() + PATIENCE, 3
    while version_of(index) != new:
        assert time.monotonic() < end, "the newer model was not taken"
        time.sleep(0.2)
        index += 1


def test_a_label_by_service_reaches_the_recorder_and_the_loop(loop: Loop, start: Callable) -> None:
    start(judge="ground_truth", deadline=0.3)
    labels: list[Label] = []
    loop.create_subscription(Label, "label", labels.append, qos.REWARD)
    client = loop.create_client(LabelStep, "label_step")
    loop.wait(client.service_is_ready, "discovery")
    loop.wait(lambda: loop.count_publishers("label") == 2, "discovery")
    loop.step(0, 100)
    loop.wait(lambda: len(loop.rewards) == 1, "a reward")
    # The wrong ones first: who has their answers was found by the node, and so was its subscription to `label`.
    for wrong, sentence in (
        (Label(episode_id="", verdict=1), "id of an episode"),
        (Label(episode_id="episode-1", verdict=9), "verdict"),
        (Label(episode_id="episode-1", index=-2, verdict=1), "index"),
    ):
        answer = client.call_async(LabelStep.Request(label=wrong))
        loop.wait(answer.done, "an answer")
        assert not answer.result().accepted and sentence in answer.result().message
    wanted = Label(episode_id="episode-1", index=0, verdict=Reward.VERDICT_FAILURE, author="test")
    answer = client.call_async(LabelStep.Request(label=wanted))
    loop.wait(answer.done, "an answer")
    assert answer.result().accepted and not answer.result().message
    loop.wait(lambda: len(loop.rewards) == 2 and bool(labels), "the label and its reward")
    assert (loop.rewards[1].verdict, loop.rewards[1].source) == (Reward.VERDICT_FAILURE, Reward.SOURCE_HUMAN)
    assert len(labels) == 1, "a label that was refused was passed on"
    assert labels[0].author == "test"


def test_a_broken_picture_is_unknown_and_the_next_one_is_judged(loop: Loop, start: Callable, tmp_path: Path) -> None:
    tiny_model.save(tmp_path / "tiny", TinyModelConfig(), seed=0)
    start(judge="vlm", model=tmp_path / "tiny", deadline=DEADLINE)
    broken = Step(stamp=to_time(1), episode_id="episode-1", index=0, direction=1, instruction=INSTRUCTION)
    loop.steps.publish(broken)
    loop.wait(lambda: len(loop.rewards) == 1, "a reward")
    assert loop.rewards[0].verdict == Reward.VERDICT_UNKNOWN
    loop.step(1, 200)
    loop.wait(lambda: len(loop.rewards) == 2, "the next reward")
    assert loop.rewards[1].source == Reward.SOURCE_VLM
    black = array_to_image(np.zeros((64, 64, 3), np.uint8))
    loop.steps.publish(
        Step(
            stamp=to_time(300), episode_id="episode-1", index=2, direction=1, instruction=INSTRUCTION, image=black,
            proprioception=[0.0] * 7,
        )
    )  # fmt: skip
    loop.wait(lambda: len(loop.rewards) == 3, "the reward of the black picture")
    assert (loop.rewards[2].verdict, loop.rewards[2].source) == (Reward.VERDICT_UNKNOWN, Reward.SOURCE_NONE)


def test_a_model_that_raises_leaves_the_steps_unknown_and_the_node_judges_on(
    loop: Loop, start: Callable, tmp_path: Path
) -> None:
    tiny_model.save(tmp_path / "tiny", TinyModelConfig(), seed=0)
    (tmp_path / "failing").touch()
    process = start((TROUBLED_NODE, tmp_path), judge="vlm", model=tmp_path / "tiny", deadline=DEADLINE)
    for index in range(3):
        loop.step(index, 100 * (index + 1))
    loop.wait(lambda: len(loop.rewards) == 3, "three rewards")
    assert [reward.index for reward in loop.rewards] == [0, 1, 2]
    for reward in loop.rewards:
        assert (reward.verdict, reward.source) == (Reward.VERDICT_UNKNOWN, Reward.SOURCE_NONE)
        assert math.isnan(reward.probability)
    loop.wait(lambda: "the accelerator is gone" in loop.state, "the diagnostics' state")
    loop.wait(lambda: loop.told["unknown"] == "3", "the diagnostics' count")
    assert loop.told["late"] == loop.told["waiting"] == "0"
    (tmp_path / "failing").unlink()
    loop.step(3, 400)
    loop.wait(lambda: len(loop.rewards) == 4, "the next reward")
    assert loop.rewards[3].source == Reward.SOURCE_VLM and process.poll() is None
    loop.wait(lambda: loop.state == "judging", "the diagnostics' state")


def test_an_answer_that_comes_too_late_is_unknown_and_not_said_again(
    loop: Loop, start: Callable, tmp_path: Path
) -> None:
    tiny_model.save(tmp_path / "tiny", TinyModelConfig(), seed=0)
    (tmp_path / "slow").touch()
    start((TROUBLED_NODE, tmp_path), judge="vlm", model=tmp_path / "tiny", deadline=0.5)
    for index in range(4):
        loop.step(index, 100 * (index + 1))
    loop.wait(lambda: len(loop.rewards) == 4, "four rewards")
    for reward in loop.rewards:
        assert (reward.verdict, reward.source) == (Reward.VERDICT_UNKNOWN, Reward.SOURCE_NONE)
        assert math.isnan(reward.probability) and reward.latency >= 0.5
    loop.wait(lambda: loop.told.get("late") == "4", "diagnostics")
    (tmp_path / "slow").unlink()
    end, index = time.monotonic() + PATIENCE, 3
    while loop.rewards[-1].source != Reward.SOURCE_VLM:  # on a slow machine the next answers may be late too
        assert time.monotonic() < end, "no answer came in time again"
        index += 1
        loop.step(index, 100 * (index + 1))
        loop.wait(lambda: len(loop.rewards) > index, "a reward")  # noqa: B023  called in this turn alone
    assert sorted(reward.index for reward in loop.rewards) == list(range(index + 1))


def test_an_unfit_model_ends_the_node_with_what_to_do(loop: Loop, start: Callable, tmp_path: Path) -> None:
    tiny_model.save(tmp_path / "tiny", TinyModelConfig(), seed=0)
    (tmp_path / "tiny" / TRAINING_FILE).write_text(json.dumps({"held_out": {"forward": {"from_home": UNFIT}}}))
    process = start(judge="vlm", model=tmp_path / "tiny")
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert "does not tell success from failure" in errors and "--again" in errors and "Traceback" not in errors


def test_a_missing_model_ends_the_node_with_one_sentence(loop: Loop, start: Callable, tmp_path: Path) -> None:
    process = start(judge="vlm", model=tmp_path / "nothing")
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert "does not exist" in errors.strip().splitlines()[-1] and "Traceback" not in errors
