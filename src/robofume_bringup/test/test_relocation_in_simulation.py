"""Relocation with the simulated arm: what a success has put down stands where the script says, and is still one."""

import numpy as np
import pytest
from robofume_common.enums import Direction
from robofume_reset.grip import hand_position, lets_go
from robofume_reset.relocation import RelocationConfig, relocation
from robofume_sim.arm_driver import ArmDriver
from robofume_sim.demonstrator import Demonstrator
from robofume_sim.world import World


def place(world, arm, script, direction):
    """Let the script act until it succeeds; where the hand last held something, None where it did not succeed."""
    held_at, gripping = None, False
    for _ in range(40):
        seen = arm.proprioception().tolist()
        held_at = hand_position(seen) if gripping else held_at
        action = script.act(world.scene_state())
        gripping = not lets_go(action.tolist(), seen, 0.8)
        arm.step(action)
        if world.truth().success(direction):
            return held_at
    return None


@pytest.mark.parametrize("direction", [Direction.FORWARD, Direction.BACKWARD])
def test_what_was_put_down_stands_elsewhere_and_is_still_a_success(direction):
    world = World("pot_pick_and_place")
    arm, script, task = ArmDriver(world), Demonstrator(world.task), world.task.description
    config = RelocationConfig(
        relocate_share=1.0, relocate_forward=task.relocate_forward, relocate_backward=task.relocate_backward,
        relocate_step=task.translation_limit,
    )  # fmt: skip
    missed, kept = [], []
    for number in range(12):
        world.reset(direction, seed=number + 1)
        arm.forget()
        script.begin(direction)
        held_at = place(world, arm, script, direction)
        arm.home()
        here = hand_position(arm.proprioception().tolist())
        actions = np.reshape(relocation(config, direction, here, held_at, number), (-1, 7)) if held_at else []
        if not len(actions):
            continue
        accepted = [arm.step(action.astype(np.float32)) for action in actions]
        assert all(accepted), "the envelope refuses nothing"
        arm.home()
        target = np.add(here, actions[:, :3].sum(axis=0))[:2]
        missed.append(float(np.linalg.norm(world.scene_state().objects["pot"].position[:2] - target)))
        kept.append(world.truth().success(direction))
    assert len(missed) >= 7
    assert np.mean(np.array(missed) < 0.025) > 0.6 and np.mean(kept) > 0.8
