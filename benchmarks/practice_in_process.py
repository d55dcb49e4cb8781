"""Does practice help? Demonstrations, pre-training, reset-free practice and its baselines, in one process.

The protocol is the graph's (docs/architecture.md): homing between episodes, a verdict on every step, a success at
step k ends the episode after one more action, weights refreshed while practising. Without processes and DDS it shows
the learning alone and is quick to repeat:

    python benchmarks/practice_in_process.py --task pot_pick_and_place --seeds 0 1 2 --arms practice offline bc

Writes one row per evaluation to a CSV file.
"""

import argparse
import csv
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from robofume_bringup.in_process import InProcessRobot, Judge, true_judge
from robofume_common.enums import Actor, Direction, Outcome, Phase
from robofume_common.parameters import from_dict, to_dict
from robofume_data.episode import EpisodeData
from robofume_policy.config import AgentConfig, OnlineConfig, PretrainingConfig, ProgressConfig, ReplayConfig
from robofume_policy.language import InstructionEncoder
from robofume_policy.online_learner import OnlineLearner
from robofume_policy.policy_network import ActingPolicy, load_policy
from robofume_policy.pretraining import pretrain
from robofume_sim.demonstrator import Demonstrator, DemonstratorConfig
from robofume_sim.world import World


@dataclass(frozen=True)
class Protocol:
    """What the switcher is set to."""

    demonstrations: int = 25
    min_episode_steps: int = 3
    max_repeats: int = 3
    failures_before_reset: int = 8
    image_size: int = 64
    publish_every: int = 50
    successes_shown: int = 3


class Bench(InProcessRobot):
    """One simulated robot in this process, and what its policy needs besides."""

    def __init__(self, task: str, protocol: Protocol) -> None:
        super().__init__(World(task), protocol.image_size, protocol.min_episode_steps)
        self.space = self.description.action_space
        self.protocol = protocol
        self.language = InstructionEncoder()


class Switching:
    """Forward and backward in turn; a bounded number of repeats; a scene reset after failures in a row."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.direction = Direction.FORWARD
        self.repeats = self.failures = self.resets = 0

    def note(self, success: bool) -> None:
        """Decide on the next direction."""
        protocol = self.bench.protocol
        if success:
            self.direction, self.repeats, self.failures = self.direction.opposite, 0, 0
            return
        self.failures += 1
        self.repeats += 1
        if self.repeats > protocol.max_repeats:
            self.direction, self.repeats = self.direction.opposite, 0
        if self.failures >= protocol.failures_before_reset:
            self.bench.reset(self.direction, self.resets + 10_000)
            self.resets, self.failures, self.repeats = self.resets + 1, 0, 0


def noisy_judge(false_positive: float, false_negative: float, seed: int) -> Judge:
    """A judge that errs at random at these rates per step."""
    random = np.random.default_rng(seed)
    return lambda _i, _s, truth: bool(random.random() > false_negative if truth else random.random() < false_positive)


def collect(bench: Bench, config: DemonstratorConfig) -> list[EpisodeData]:
    """Reset-free demonstrations until each direction has enough successes; failures are kept."""
    script = Demonstrator(bench.world.task, config)
    bench.reset(Direction.FORWARD, config.seed)
    switching, episodes = Switching(bench), []
    done = {Direction.FORWARD: 0, Direction.BACKWARD: 0}
    while min(done.values()) < bench.protocol.demonstrations:
        direction = switching.direction
        script.begin(direction)
        episode = bench.run_episode(
            f"demo-{len(episodes)}", direction, lambda *_: script.act(bench.world.scene_state()),
            true_judge, Phase.FORWARD if direction == Direction.FORWARD else Phase.BACKWARD, Actor.SCRIPT,
            successes_shown=bench.protocol.successes_shown,
        )  # fmt: skip
        episodes.append(episode)
        success = episode.outcome == Outcome.SUCCESS
        done[direction] += success
        switching.note(success)
    return episodes


def evaluate(bench: Bench, policy: ActingPolicy, trials: int, seed: int) -> dict[str, float]:
    """Share of successes by ground truth from `trials` scene resets each way."""
    result, random = {}, np.random.default_rng(seed)
    for direction in (Direction.FORWARD, Direction.BACKWARD):
        wins = 0
        for trial in range(trials):
            bench.reset(direction, seed + trial)
            act = policy_actor(bench, policy, random, noise=False)
            episode = bench.run_episode("trial", direction, act, true_judge, Phase.EVALUATION, Actor.POLICY)
            wins += episode.outcome == Outcome.SUCCESS
        result[direction.name.lower()] = wins / trials
    result["mean"] = 0.5 * (result["forward"] + result["backward"])
    return result


def policy_actor(
    bench: Bench, policy: ActingPolicy | list[ActingPolicy], random: np.random.Generator, noise: bool = True
) -> Callable[[np.ndarray, np.ndarray, str], np.ndarray]:
    """Let a policy, or the newest in a list of one, choose physical actions."""

    def act(image: np.ndarray, state: np.ndarray, instruction: str) -> np.ndarray:
        current = policy[0] if isinstance(policy, list) else policy
        action = current.act(image, state, bench.language(instruction), not noise, random)
        return bench.space.to_physical(action)

    return act


def practise(
    bench: Bench, learner: OnlineLearner, steps: int, judge: Judge, seed: int,
    evaluate_every: int, trials: int, report: Callable[[dict[str, Any]], None],
) -> None:  # fmt: skip
    """Practise reset-free for `steps` control steps, evaluating every `evaluate_every` of them."""
    random = np.random.default_rng(seed)
    holder = [load_policy(*learner.weights())]
    published = learner.updates
    bench.reset(Direction.FORWARD, seed + 5_000)
    switching, recent = Switching(bench), []
    training_seconds, start, next_evaluation = 0.0, time.process_time(), evaluate_every
    evaluation_seconds = 0.0

    def each_step() -> None:
        nonlocal published, training_seconds
        learner.note_steps(1)
        due = learner.updates_due()
        if due >= 10:
            before = time.process_time()
            learner.train(due)
            training_seconds += time.process_time() - before
            if learner.updates - published >= bench.protocol.publish_every:
                holder[0], published = load_policy(*learner.weights()), learner.updates

    number = 0
    while learner.steps < steps:
        direction = switching.direction
        episode = bench.run_episode(
            f"practice-{number}", direction, policy_actor(bench, holder, random), judge,
            Phase.FORWARD if direction == Direction.FORWARD else Phase.BACKWARD, Actor.POLICY, each_step,
        )  # fmt: skip
        number += 1
        learner.add_episode(episode)
        truths = episode.forward_success if direction == Direction.FORWARD else episode.backward_success
        judged = episode.outcome == Outcome.SUCCESS
        real = bool(truths[episode.success_index]) if judged else False
        recent.append((judged, real, bool(truths[bench.protocol.min_episode_steps])))
        switching.note(judged)
        if learner.steps >= next_evaluation or learner.steps >= steps:
            next_evaluation += evaluate_every
            before = time.process_time()
            # the practice scene is put back afterwards, so that evaluating changes nothing
            kept = bench.world.data.qpos.copy(), bench.world.data.ctrl.copy()
            result = evaluate(bench, load_policy(*learner.weights()), trials, 100_000)
            bench.world.data.qpos[:], bench.world.data.ctrl[:] = kept
            bench.world.data.qvel[:] = 0.0
            bench.arm.forget()
            evaluation_seconds += time.process_time() - before
            last = np.array(recent[-50:], float).mean(0)
            report({
                "steps": learner.steps, "updates": learner.updates, **result,
                "practice_judged": last[0], "practice_true": last[1], "practice_trivial": last[2],
                "episodes": number, "resets": switching.resets, "training_seconds": round(training_seconds, 1),
                "seconds": round(time.process_time() - start - evaluation_seconds, 1),
            })  # fmt: skip


def overrides(kind: type, values: list[str]) -> Any:
    """A configuration from those `name=value` words that belong to it."""
    given = dict(word.split("=", 1) for word in values)
    parsed = {}
    for name, default in to_dict(kind()).items():
        if name in given:
            parsed[name] = yaml.safe_load(given[name]) if isinstance(default, bool) else type(default)(given[name])
    return from_dict(kind, parsed)


DENSE_WEIGHT = 10.0
"""Of progress as a potential, where --set gives none; a step costs 1."""
COLUMNS = (
    "task", "seed", "arm", "steps", "updates", "forward", "backward", "mean", "practice_judged", "practice_true",
    "practice_trivial", "episodes", "resets", "training_seconds", "seconds",
)  # fmt: skip


def main() -> None:
    """Run the arms for each seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="pot_pick_and_place")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--arms", nargs="+", default=["practice"], choices=["practice", "dense", "offline", "bc"],
                        help="dense: practice with progress as a potential")
    parser.add_argument("--steps", type=int, default=8000, help="control steps of practice")
    parser.add_argument("--evaluate-every", type=int, default=2000, help="control steps between evaluations")
    parser.add_argument("--trials", type=int, default=25, help="trials each way in evaluations while practising")
    parser.add_argument("--final-trials", type=int, default=50, help="trials each way before and after")
    parser.add_argument("--false-positive", type=float, default=0.0, help="judge's error rate per step")
    parser.add_argument("--false-negative", type=float, default=0.0, help="judge's error rate per step")
    parser.add_argument("--output", type=Path, default=Path("practice_in_process.csv"))
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="settings of any component")
    parser.add_argument("--protocol", nargs="*", default=[], metavar="NAME=VALUE")
    given = parser.parse_args()
    torch.set_num_threads(1)
    kinds = (AgentConfig, PretrainingConfig, OnlineConfig, ReplayConfig, ProgressConfig, DemonstratorConfig)
    unknown = {word.split("=")[0] for word in given.set} - {name for kind in kinds for name in to_dict(kind())}
    if unknown:
        parser.error(f"no component has a setting {', '.join(sorted(unknown))}")
    protocol = replace(Protocol(), **{k: int(v) for k, v in (word.split("=") for word in given.protocol)})
    agent: AgentConfig = overrides(AgentConfig, given.set)
    offline: PretrainingConfig = overrides(PretrainingConfig, given.set)
    online: OnlineConfig = overrides(OnlineConfig, given.set)
    replay: ReplayConfig = overrides(ReplayConfig, given.set)
    progress: ProgressConfig = overrides(ProgressConfig, [f"progress_weight={DENSE_WEIGHT}", *given.set])
    demonstrator = overrides(DemonstratorConfig, ["failure_share=0.15", *given.set])

    rows: list[dict[str, Any]] = []
    for seed in given.seeds:
        bench = Bench(given.task, protocol)

        def report(arm: str, row: dict[str, Any], seed: int = seed) -> None:
            rows.append({"task": given.task, "seed": seed, "arm": arm, **row})
            print(*(f"{k}={v:.3g}" if isinstance(v, float) else f"{k}={v}" for k, v in rows[-1].items()), flush=True)
            with open(given.output, "w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, COLUMNS, restval="")
                writer.writeheader()
                writer.writerows(rows)

        demonstrations = collect(bench, replace(demonstrator, seed=seed))
        successes = sum(e.outcome == Outcome.SUCCESS for e in demonstrations)
        print(f"seed {seed}: {len(demonstrations)} demonstrations, {successes} successes, "
              f"{sum(len(e.actions) for e in demonstrations)} steps", flush=True)  # fmt: skip
        online_updates = online.target_updates(given.steps)
        with tempfile.TemporaryDirectory() as scratch:
            for arm in given.arms:
                config = replace(agent, algorithm="bc") if arm == "bc" else agent
                phase = replace(offline, seed=seed)
                folder = Path(scratch) / ("bc" if arm == "bc" else "agent")
                before = time.process_time()
                trained = pretrain(
                    demonstrations, folder, action_space=bench.space, agent=config, replay=replay, config=phase
                )
                seconds = time.process_time() - before
                if arm in ("practice", "bc"):
                    result = evaluate(bench, load_policy(*trained.weights()), given.final_trials, 100_000)
                    report(arm, {"steps": 0, "updates": trained.agent.updates, **result,
                                 "training_seconds": round(seconds, 1)})  # fmt: skip
                if arm == "offline":
                    learner = OnlineLearner.from_pretrained(folder, demonstrations, online, replay)
                    learner.trained.agent.use_phase(online=False)
                    learner.train(online_updates)
                    result = evaluate(bench, load_policy(*learner.weights()), given.final_trials, 100_000)
                    report(arm, {"steps": 0, "updates": learner.updates, **result})
                    continue
                learner = OnlineLearner.from_pretrained(
                    folder, demonstrations, replace(online, seed=seed), replay,
                    progress=replace(progress, progress_weight=progress.progress_weight if arm == "dense" else 0.0),
                )  # fmt: skip
                judge = true_judge
                if given.false_positive or given.false_negative:
                    judge = noisy_judge(given.false_positive, given.false_negative, seed)
                practise(bench, learner, given.steps, judge, seed, given.evaluate_every, given.trials,
                         lambda row, arm=arm: report(arm, row))  # fmt: skip
                result = evaluate(bench, load_policy(*learner.weights()), given.final_trials, 200_000)
                report(f"{arm}-final", {"steps": learner.steps, "updates": learner.updates, **result})
        bench.world.close()


if __name__ == "__main__":
    main()
