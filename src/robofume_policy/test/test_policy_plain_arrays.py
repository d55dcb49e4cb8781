"""Learning from plain arrays, without a robot, and what is said of arrays that nothing can be learnt from."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from robofume_common.action import ActionSpace
from robofume_common.enums import Outcome
from robofume_common.errors import RobofumeError
from robofume_policy.adaptation import adapt
from robofume_policy.config import (
    AdaptationConfig,
    AgentConfig,
    NetworkConfig,
    OnlineConfig,
    PretrainingConfig,
    ProgressConfig,
)
from robofume_policy.dataset import EpisodeConverter
from robofume_policy.evaluation import evaluate
from robofume_policy.language import InstructionEncoder
from robofume_policy.online_learner import OnlineLearner
from robofume_policy.policy_network import load_policy
from robofume_policy.pretraining import fill_memory, pretrain
from robofume_policy.replay import EpisodeTransitions
from robofume_policy.weight_intake import policy_from_checkpoint
from test_policy_learning_pipeline import SPACE, make_episode

AGENT = AgentConfig(batch_size=8, discount=0.9, n_step=3, sampled_actions=2)
NETWORK = NetworkConfig(
    encoder="none", proprioception_dimension=5, action_dimension=9, instruction_dimension=1, hidden_size=16
)
TARGETS = {"discount": AGENT.discount, "n_step": AGENT.n_step}
ONE = {"observations": np.zeros((4, 5)), "actions": np.zeros((3, 9)), "success": True, **TARGETS}


def made(number: int, success: bool = True, steps: int = 6, **more) -> EpisodeTransitions:
    random = np.random.default_rng(number)
    told = {"success": success, **TARGETS, **more}
    return EpisodeTransitions.from_arrays(random.normal(size=(steps + 1, 5)), random.uniform(-1, 1, (steps, 9)), **told)


def trained_on(episodes, directory, network=NETWORK, **more):
    return pretrain(episodes, directory, network=network, agent=AGENT, config=PretrainingConfig(updates=2), **more)


@pytest.mark.parametrize("outcome", [Outcome.SUCCESS, Outcome.TIMEOUT])
def test_arrays_are_what_a_robot_would_have_recorded(outcome: Outcome) -> None:
    network = NetworkConfig(image_size=40)
    recorded = make_episode(outcome=outcome, success_index=8 if outcome == Outcome.SUCCESS else -1)
    language = InstructionEncoder("codes")
    converter = EpisodeConverter(network, SPACE, language, AGENT.discount, AGENT.n_step)
    theirs = EpisodeTransitions.from_arrays(
        recorded.proprioception, SPACE.to_normalised(recorded.actions), images=recorded.images,
        success=outcome == Outcome.SUCCESS, instruction_embedding=language(recorded.instruction),
        episode_id=recorded.episode_id, **TARGETS,
    )  # fmt: skip
    ours, passed = converter(recorded), converter(theirs)
    for name, value in vars(ours).items():
        np.testing.assert_array_equal(getattr(theirs, name), value, name)
        np.testing.assert_array_equal(getattr(passed, name), value, name)


def test_rewards_of_ones_own() -> None:
    episode = made(0, steps=4, rewards=[1.0, 0.0, 2.0, 4.0], terminated=True)
    assert episode.rewards[:4] == pytest.approx([1 + 0.81 * 2, 0.9 * 2 + 0.81 * 4, 2 + 0.9 * 4, 4])
    assert episode.discounts[:4] == pytest.approx([0.9**3, 0, 0, 0])
    assert episode.returns[:4] == pytest.approx([5.536, 5.04, 5.6, 4.0])
    cut_off = made(0, steps=4, rewards=[1.0, 0.0, 2.0, 4.0], terminated=False)
    assert cut_off.discounts[:4] == pytest.approx([0.9**3, 0.9**3, 0.81, 0.9])
    assert cut_off.returns[:4] == pytest.approx([5.536, 5.04, 5.6, 4.0]), "nothing is the least that was seen"
    costly = made(0, steps=4, success=None, rewards=[-1.0] * 4, terminated=False)
    failed = made(0, steps=4, success=False)
    for name in ("rewards", "discounts", "returns", "next_offset", "imitation"):
        assert getattr(costly, name)[:4] == pytest.approx(getattr(failed, name)[:4]), name
    assert (episode.imitation == 1).all() and (costly.imitation == 0).all()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"success": None}, "needs rewards to learn from: give `success`.* or `rewards`"),
        ({"rewards": np.zeros(3)}, "Give `rewards` and `terminated` together"),
        ({"terminated": True}, "Give `rewards` and `terminated` together"),
        ({"rewards": np.zeros((3, 1)), "terminated": True}, r"rewards are \(3, 1\), expected \(3,\), one an action"),
        ({"rewards": [0.0, np.nan, 0.0], "terminated": True}, "rewards hold numbers that are not finite"),
        ({"observations": np.zeros((3, 5))}, r"observations are \(3, 5\), expected \(4, P\), one more than actions"),
        ({"observations": np.full((4, 5), np.inf)}, "observations hold numbers that are not finite"),
        ({"actions": np.zeros(3)}, r"actions are \(3,\), expected \(N, A\)"),
        ({"actions": np.zeros((0, 9))}, "which is none: leave the episode out"),
        ({"actions": np.full((3, 9), 2.5)}, r"actions reach 2.5: scale each component to -1 .. 1"),
        ({"images": np.zeros((3, 40, 40, 3), np.uint8)}, r"images are \(3, 40, 40, 3\) uint8, expected \(4, H, W, 3\)"),
        ({"images": np.zeros((4, 40, 40, 3))}, r"images are \(4, 40, 40, 3\) float64, expected .* uint8"),
        ({"instruction_embedding": np.ones((1, 2))}, r"instruction_embedding are \(1, 2\), expected \(D,\)"),
        ({"discount": 1.0}, "A discount of 1 and n_step 3 cannot be"),
    ],
)
def test_what_cannot_be_learnt_from_is_told(changed: dict, said: str) -> None:
    EpisodeTransitions.from_arrays(**ONE)
    with pytest.raises(RobofumeError, match=said):
        EpisodeTransitions.from_arrays(**{**ONE, **changed})


@pytest.mark.parametrize(
    ("network", "more", "said"),
    [
        (replace(NETWORK, proprioception_dimension=7), {}, "has 5 values where .* is 7: set it to 5"),
        (replace(NETWORK, action_dimension=4), {}, "has 9 values where .* action_dimension is 4: set it to 9"),
        (replace(NETWORK, instruction_dimension=384), {}, "has 1 values where .* is 384: set it to 1"),
        (replace(NETWORK, encoder="convolution"), {}, r"images of \(0, 0, 3\), but the network looks at \(64, 64, 3\)"),
        (NETWORK, {"discount": 0.99}, "other numbers than the agent's discount 0.9 and n_step 3"),
        (NETWORK, {"n_step": 5}, "other numbers than the agent's discount 0.9 and n_step 3"),
    ],
)
def test_arrays_that_do_not_fit_the_agent_are_told(tmp_path, network, more: dict, said: str) -> None:
    with pytest.raises(RobofumeError, match=said):
        trained_on([made(0, **more)], tmp_path, network)


def test_no_episode_and_a_robots_episode_without_its_action_space_are_told(tmp_path) -> None:
    with pytest.raises(RobofumeError, match="hold no episode to learn from"):
        trained_on([], tmp_path)
    with pytest.raises(RobofumeError, match="holds a robot's physical actions: give their action_space"):
        trained_on([make_episode()], tmp_path, NetworkConfig(image_size=40))


def test_an_episode_is_named_after_its_content() -> None:
    converter = EpisodeConverter(NETWORK, None, InstructionEncoder(), **TARGETS)
    assert made(0).episode_id == made(0).episode_id != made(1).episode_id
    assert fill_memory([made(0), made(1), made(0)], converter, 100).episodes == 2


class Point:
    """An environment of arrays, in which nothing succeeds."""

    instruction = np.ones(1, np.float32)

    def reset(self, *, seed=None):
        return {"proprioception": np.full(5, seed, np.float32)}, {}

    def step(self, action):
        assert action.shape == (9,)
        return {"proprioception": np.zeros(5, np.float32)}, 0.0, False, True, {}


def test_from_arrays_to_a_policy_that_practises_is_evaluated_and_adapted(tmp_path) -> None:
    data = [made(number, success=number % 2 == 0) for number in range(6)]
    trained = trained_on(data, tmp_path / "one")
    assert trained.action_space is None and trained.exploration.gripper == -1
    assert evaluate(trained, Point(), trials=2) == [False, False]
    noisy = load_policy(*trained.weights()).act(None, np.zeros(5), np.ones(1), False, np.random.default_rng(0))
    assert noisy.shape == (9,)

    resumed = pretrain(data, tmp_path / "one", network=NETWORK, agent=AGENT, config=PretrainingConfig(updates=4))
    whole = pretrain(data, tmp_path / "two", network=NETWORK, agent=AGENT, config=PretrainingConfig(updates=4))
    for name, tensor in whole.state_dict()[0].items():
        assert torch.equal(tensor, resumed.state_dict()[0][name]), name

    learner = OnlineLearner.from_pretrained(tmp_path / "one", data, OnlineConfig(warm_up_steps=0))
    assert learner.add_episode(made(100)) == 6 and learner.add_episode(made(100)) == 0
    learner.note_steps(6)
    assert learner.updates_due() == 6 and all(np.isfinite(list(learner.train(2).values())))

    adapted, errors = adapt(
        tmp_path / "one", data, [made(200)], tmp_path / "adapted", network=NETWORK, config=AdaptationConfig(updates=2)
    )
    assert adapted.agent.updates == 2 and np.isfinite(errors["target"]).all()
    with pytest.raises(RobofumeError, match="learnt from plain arrays and not from a robot"):
        policy_from_checkpoint(tmp_path / "one", ActionSpace(), 64)
    with pytest.raises(RobofumeError, match="not from plain arrays: set progress_weight to 0"):
        OnlineLearner.from_pretrained(tmp_path / "one", data, progress=ProgressConfig(progress_weight=1.0))


def test_arrays_with_pictures(tmp_path) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (7, 40, 40, 3), dtype=np.uint8)
    network = replace(NETWORK, encoder="convolution", image_size=40)
    trained = trained_on([made(0, images=pictures)], tmp_path / "seeing", network)
    assert np.isfinite(load_policy(*trained.weights()).act(pictures[0], np.zeros(5), np.ones(1))).all()
    blind = trained_on([made(0, images=pictures)], tmp_path / "blind")
    assert (blind.weights()[0] == trained_on([made(0)], tmp_path / "without").weights()[0])
