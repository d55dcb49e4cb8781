"""What follows from the rewards of an episode: targets of several steps, and Monte-Carlo returns."""

import numpy as np


def n_step_targets(
    steps: int, success: bool, known: np.ndarray, discount: float, n_step: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rewards, bootstrap discounts and next offsets (steps,) of n-step transitions where a step costs 1.

    The step into the success, the last one, costs nothing and ends the episode. See `bootstrapped`.
    """
    rewards = np.full(steps, -1.0)
    rewards[-1:] += success
    return bootstrapped(rewards, success, known, discount, n_step)


def bootstrapped(
    step_rewards: np.ndarray, terminated: bool, known: np.ndarray, discount: float, n_step: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rewards, bootstrap discounts and next offsets (N,) of n-step transitions, from the reward of each step (N,).

    A window is cut short at the end of the episode and before a transition of unknown reward; a transition of
    unknown reward begins none. Where the episode `terminated` nothing is bootstrapped at its end.
    """
    steps = len(step_rewards)
    rewards = np.zeros(steps, np.float32)
    discounts = np.zeros(steps, np.float32)
    offset = np.zeros(steps, np.int32)
    running = known.copy()
    for k in range(n_step):
        index = np.arange(steps) + k
        inside = index < steps
        place = np.minimum(index, steps - 1)
        running = running & inside & known[place]
        rewards += np.where(running, discount**k * step_rewards[place], 0.0).astype(np.float32)
        offset += running
    ends = np.arange(steps) + offset == steps
    discounts[:] = np.where(terminated & ends, 0.0, discount**offset)
    discounts[offset == 0] = 0.0
    return rewards, discounts, offset


def monte_carlo_returns(steps: int, success: bool, discount: float) -> np.ndarray:
    """Return-to-go (steps,) of an episode of cost 1 a step: -(1 - g^m) / (1 - g) with m costs still to come."""
    if not success:
        return np.full(steps, -1.0 / (1.0 - discount), np.float32)
    costs = np.arange(steps - 1, -1, -1)
    return (-(1.0 - discount**costs) / (1.0 - discount)).astype(np.float32)


def returns_to_go(step_rewards: np.ndarray, terminated: bool, discount: float) -> np.ndarray:
    """Return-to-go (N,) of an episode with the rewards (N,) of its steps, V_t = r_t + g V_{t+1}.

    One that was cut off goes on with its least reward for ever, min r / (1 - g): Cal-QL takes these returns for what
    can be reached at least, and must not be held up by a future that nobody saw.
    """
    value = 0.0 if terminated else float(step_rewards.min()) / (1.0 - discount)
    returns = np.zeros(len(step_rewards))
    for step in range(len(step_rewards) - 1, -1, -1):
        value = returns[step] = float(step_rewards[step]) + discount * value
    return returns.astype(np.float32)


def padded(values: np.ndarray) -> np.ndarray:
    """With a row of zeros behind: the last observation begins no transition."""
    return np.concatenate([values, np.zeros_like(values[:1])])
