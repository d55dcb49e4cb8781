"""Published recipes as settings of the agents of this package: the same code, other numbers.

What such a recipe has and this suite does not is said beside it. None of them has what the suite's own defaults
add: multi-step returns, the imitation of successes, a longer average of the policy that acts, noise that lasts and
trials of the gripper. All are soft actor-critics, with a deviation and a temperature that are learnt; their actor's
loss is divided by E|Q|, which Adam does not notice. A step costs 1, as everywhere in this suite, whatever a paper's
rewards are. Step sizes and batches are Cal-QL's in all three; what is not given here is the default of `config.py`.
"""

from dataclasses import dataclass, replace

from robofume_policy.config import AgentConfig, NetworkConfig, OnlineConfig, PretrainingConfig, ReplayConfig


@dataclass(frozen=True)
class Preset:
    """The settings of a recipe; sizes that belong to a task, such as `image_size`, are put in with `replace`."""

    network: NetworkConfig
    agent: AgentConfig
    replay: ReplayConfig
    pretraining: PretrainingConfig
    online: OnlineConfig


_PLAIN = AgentConfig(
    discount=0.99, n_step=1, batch_size=256, averaging_rate=0.005, acting_updates=0,
    learning_rate_offline=3e-4, learning_rate_online=3e-4, value_weight_offline=1.0, value_weight_online=1.0,
    imitation_weight=0.0, imitation_trains_encoder=False, mixed_precision=False, exploration_correlation=0.0,
    exploration_gripper_flip=0.0,
)  # fmt: skip
"""What the recipes share: one-step targets, no imitation, the running average acts."""

_CAL_QL = replace(
    _PLAIN, algorithm="cal_ql", conservative_weight_offline=5.0, conservative_weight_online=5.0, conservative_gap=-1.0,
    sampled_actions=10, max_target_backup=True, importance_sampling=True,
)  # fmt: skip
"""The weight is that of the paper's AntMaze (Adroit: 1), fixed."""

PAPER_CAL_QL = Preset(
    network=NetworkConfig(critics=2, learnt_deviation=True),
    agent=replace(_CAL_QL, conservative_gap=0.8),
    replay=ReplayConfig(offline_fraction=0.5),
    pretraining=PretrainingConfig(updates=1_000_000),
    online=OnlineConfig(updates_per_step=1.0),
)
"""Cal-QL (arXiv 2303.05479) as in AntMaze: a learnt multiplier holds the CQL term at 0.8 a critic, and the weight 5 is
the pace at which it does. Not here: a step size of its own for the actor (paper: 1e-4), critics of four layers."""

RLPD = Preset(
    network=NetworkConfig(critics=10, learnt_deviation=True),
    agent=replace(
        _PLAIN, algorithm="cql", conservative_weight_offline=0.0, conservative_weight_online=0.0, sampled_actions=1,
        critic_subset=2, actor_every=20, entropy_backup=1.0, target_entropy=-0.5,
    ),
    replay=ReplayConfig(offline_fraction=0.5),
    pretraining=PretrainingConfig(updates=1),
    online=OnlineConfig(updates_per_step=20.0),
)  # fmt: skip
"""RLPD (arXiv 2302.02948): ten critics with LayerNorm, which all critics here have, half of each batch recorded data,
20 updates a step and the last of them the actor's too, targets of two critics drawn at random (REDQ) with the entropy
in them. It has no offline phase; here that phase makes one update, the least there is."""

WSRL = Preset(
    network=NetworkConfig(critics=10, learnt_deviation=True),
    agent=replace(_CAL_QL, conservative_weight_online=0.0, critic_subset=2),
    replay=ReplayConfig(offline_fraction=0.0),
    pretraining=PretrainingConfig(),
    online=OnlineConfig(updates_per_step=4.0, warm_up_steps=5000),
)
"""WSRL: Cal-QL offline; then 5000 steps with the frozen policy, and learning from practice alone without the
conservative term, ten critics, 4 updates a step, each of them the actor's too."""

PRESETS = {"paper_cal_ql": PAPER_CAL_QL, "rlpd": RLPD, "wsrl": WSRL}
"""By name."""
