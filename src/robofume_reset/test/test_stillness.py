"""Episodes in which nothing changed."""

import numpy as np
import pytest
from robofume_reset.stillness import StillnessConfig, StillnessWatch

RANDOM = np.random.default_rng(0)
SCENE = RANDOM.integers(40, 200, (64, 64, 3), dtype=np.uint8)
HOME = np.array([0.3, 0.0, 0.2, 0.0, 0.0, 3.1, 1.0], np.float32)


def noisy(image=SCENE, noise=6.0):
    return np.clip(image + RANDOM.normal(0.0, noise, image.shape), 0, 255).astype(np.uint8)


def moved(part, by):
    values = HOME.copy()
    values[part] += by
    return values


def pushed(size):
    """The scene with a square of another colour in it."""
    image = SCENE.copy()
    image[10 : 10 + size, 20 : 20 + size] = (255, 0, 0)
    return image


def ends_changed(*steps, watch=None):
    watch = watch or StillnessWatch(StillnessConfig())
    changed = False
    for index, (values, image) in enumerate([(HOME, SCENE), *steps]):
        changed = watch.changed("a", index, values, lambda image=image: image)
        assert not (index == 0 and changed)
    return changed


def test_noise_of_camera_and_joints_is_no_change():
    assert not ends_changed(*((HOME + RANDOM.normal(0, 0.002, 7).astype(np.float32), noisy()) for _ in range(40)))


@pytest.mark.parametrize(("part", "by"), [(0, 0.03), (2, -0.02), (5, 0.2), (6, -1.0)])
def test_an_arm_that_moved_and_came_back_has_changed_something(part, by):
    assert ends_changed((moved(part, by), noisy()), (HOME, noisy()))


@pytest.mark.parametrize(("part", "by"), [(0, 0.01), (4, 0.05), (6, -0.2)])
def test_an_arm_that_trembles_has_not(part, by):
    assert not ends_changed((moved(part, by), noisy()))


def test_a_turn_over_the_seam_of_an_angle_is_a_small_one():
    assert not ends_changed((moved(5, 0.05 - 2 * np.pi), SCENE))
    assert ends_changed((moved(5, 1.0), SCENE)) and ends_changed((moved(5, -np.pi), SCENE))


def test_an_object_that_moved_is_a_change_and_a_speck_is_not():
    assert ends_changed((HOME, noisy(pushed(8))))
    assert not ends_changed((HOME, noisy(pushed(4))))
    assert ends_changed((HOME, SCENE // 2)), "darker"


def test_another_size_is_a_change():
    assert ends_changed((HOME, SCENE[:32]))


def test_each_episode_is_compared_with_its_own_beginning():
    watch = StillnessWatch(StillnessConfig())
    watch.changed("a", 0, HOME, lambda: SCENE)
    assert watch.changed("a", 1, moved(0, 0.1), lambda: SCENE)
    assert not watch.changed("b", 0, moved(0, 0.1), lambda: SCENE)
    assert not watch.changed("b", 1, moved(0, 0.1), lambda: SCENE)
    assert watch.changed("c", 3, moved(0, 0.1), lambda: SCENE), "an episode whose beginning was not seen"


def test_after_the_first_change_no_picture_is_looked_at():
    watch, looked = StillnessWatch(StillnessConfig()), []

    def picture():
        looked.append(1)
        return SCENE

    for index in range(10):
        watch.changed("a", index, moved(0, 0.1 * index), picture)
    assert len(looked) == 1


@pytest.mark.parametrize("name", ["", "another"])
def test_a_step_before_any_first_one_counts_as_changed(name):
    watch = StillnessWatch(StillnessConfig())
    assert watch.changed(name, 3, HOME, lambda: SCENE)  # an empty name was taken for the episode that never began
