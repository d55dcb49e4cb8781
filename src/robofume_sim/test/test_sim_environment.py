"""The Gymnasium environments."""

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from robofume_common.enums import Direction
from robofume_common.errors import RobofumeError
from robofume_sim.demonstrator import Demonstrator, DemonstratorConfig
from robofume_sim.environment import RobofumeEnv, environment_id
from robofume_sim.tasks import TASKS


@pytest.mark.parametrize("name", sorted(environment_id(task) for task in TASKS))
@pytest.mark.filterwarnings("ignore:.*Box observation space.*")
def test_the_checker_passes(name):
    environment = gymnasium.make(name)
    check_env(environment.unwrapped)
    environment.close()


def test_every_task_is_registered():
    for task in TASKS:
        assert environment_id(task) in gymnasium.registry


def test_same_seed_same_observations():
    def course(environment, seed):
        observation, _ = environment.reset(seed=seed)
        generator = np.random.default_rng(0)
        seen = [(observation["image"].tobytes(), observation["proprioception"].tobytes())]
        for _ in range(10):
            observation, *_ = environment.step(generator.uniform(-1, 1, 4).astype(np.float32))
            seen.append((observation["image"].tobytes(), observation["proprioception"].tobytes()))
        return seen

    first, second = RobofumeEnv(), RobofumeEnv()
    assert course(first, 7) == course(second, 7) == course(first, 7)
    assert course(first, 8) != course(second, 7)


def test_episodes_end_at_the_goal_or_at_the_limit():
    environment = RobofumeEnv(direction=Direction.BACKWARD, step_limit=3)
    environment.reset(seed=0)
    ends = [environment.step(np.zeros(4, np.float32))[1:4] for _ in range(3)]
    assert ends == [(0.0, False, False), (0.0, False, False), (0.0, False, True)]


def test_the_script_earns_the_reward_without_resets():
    environment = RobofumeEnv(reset_free=True, step_limit=40)  # the script is slow
    world = environment.world
    script = Demonstrator(world.task, DemonstratorConfig(action_noise=0.0, grasp_offset=0.0))
    environment.reset(seed=1)
    for direction in (Direction.FORWARD, Direction.BACKWARD, Direction.FORWARD):
        place = world.scene_state().objects["pot"].position
        observation, info = environment.reset(options={"direction": direction})
        np.testing.assert_allclose(world.scene_state().objects["pot"].position, place, atol=1e-3)
        assert info["instruction"] == world.task.description.instruction(direction)
        assert observation["proprioception"][6] > 0.95, "homing opens the gripper"
        script.begin(direction)
        for _ in range(40):
            action = environment.space.to_normalised(script.act(world.scene_state()))
            _, reward, terminated, truncated, _ = environment.step(action)
            if terminated or truncated:
                break
        assert (reward, terminated) == (1.0, True)


def test_a_varied_look_follows_from_the_seed():
    def picture(seed, variation):
        return RobofumeEnv(variation=variation).reset(seed=seed)[0]["image"].astype(int)

    assert np.array_equal(picture(1, 1.0), picture(1, 1.0))
    assert np.abs(picture(1, 1.0) - picture(1, 0.0)).mean() > 3


def test_the_image_size_is_free():
    environment = RobofumeEnv(image_size=32)
    observation, _ = environment.reset(seed=0)
    assert environment.observation_space.contains(observation)
    assert observation["image"].shape == (32, 32, 3)
    assert environment.render().shape == (100, 100, 3)


def test_unknown_tasks_and_modes_get_a_sentence():
    with pytest.raises(RobofumeError, match="no simulated task"):
        RobofumeEnv("nothing")
    with pytest.raises(RobofumeError, match="render_mode"):
        RobofumeEnv(render_mode="human")


def test_a_scene_reset_frees_an_arm_that_has_stopped():
    environment = RobofumeEnv()
    environment.reset(seed=0)
    environment.arm.arm.emergency_stop()
    environment.step(np.zeros(4, np.float32))  # the stop itself is the answer to the observation
    with pytest.raises(RobofumeError, match="does not move"):
        environment.step(np.zeros(4, np.float32))
    environment.reset(seed=1)
    assert environment.step(np.zeros(4, np.float32))[4]["accepted"]
