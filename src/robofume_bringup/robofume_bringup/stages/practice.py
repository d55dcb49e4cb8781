"""Practice without resets: the policy acts, the reward model judges, the learner learns, the recorder keeps
it."""

from __future__ import annotations

import math
from typing import Any

from robofume_common.errors import RobofumeError

from robofume_bringup.episodes import read_summaries
from robofume_bringup.graph import PRACTICE_JUDGE
from robofume_bringup.stages.context import StageContext, percent

STAGE = "practice"


def practise(context: StageContext) -> None:
    """Practise until the run has its control steps, those of earlier starts included."""
    config, directory = context.config, context.directory
    for path, command in ((directory.reward, "reward train"), (directory.pretrained, "pretrain")):
        if not path.is_dir():
            raise RobofumeError(
                f"The run {directory.name} has no {path.name} yet: "
                f"run `robofume {command} --run {directory.name}` first."
            )
    done = sum(summary.num_steps for summary in read_summaries(directory.bag_files("practice")))
    if done < config.practice_steps:
        check_judge(context)
        _tell_unfinished(context)
        directory.forget("evaluate_after")  # it was of the policy before these steps
        with context.timed(STAGE):
            _practise(context, done)
    summaries = read_summaries(directory.bag_files("practice"))
    judged = [summary for summary in summaries if summary.judged]
    recent = judged[-50:]
    share = sum(summary.success for summary in recent) / max(1, len(recent))
    resets = sum(summary.assisted_reset_before for summary in summaries)
    undecided = sum(summary.undecided for summary in summaries)
    episodes = sum(not summary.scripted for summary in summaries)
    context.say(
        f"Practice: {sum(s.num_steps for s in summaries)} control steps in {episodes} episodes; "
        f"{percent(share)} of the last {len(recent)} judged successful; {resets} assisted resets"
        + (f"; of {undecided} episodes the judge could not say how they ended." if undecided else ".")
    )
    directory.note(
        STAGE, finished=True, episodes=episodes, undecided_episodes=undecided, assisted_resets=resets
    )


def _tell_unfinished(context: StageContext) -> None:
    """Say where practice begins with a policy whose pre-training was interrupted."""
    directory, wanted = context.directory, context.config.pretraining_updates
    made = max((int(path.name) for path in directory.pretrained.glob("[0-9]*")), default=wanted)
    if made < wanted and not directory.checkpoints.exists():
        context.say(
            f"The pre-training has made {made} of {wanted} updates, and practice begins with this policy: to finish it "
            f"first, stop this and run `robofume pretrain --run {directory.name}`."
        )


def check_judge(context: StageContext) -> None:
    """Raises RobofumeError, before anything is started, where the reward node of practice would refuse the model."""
    from robofume_reward.fitness import check_fitness

    rule = {**PRACTICE_JUDGE, **context.config.of("reward")}
    if rule["judge"] == "vlm" and not rule.get("accept_unfit"):
        check_fitness(context.directory.reward)


def _practise(context: StageContext, done: int) -> None:
    total = context.config.practice_steps
    scene_seed = context.config.seed * 1000 + len(context.directory.bag_files("practice"))
    with (
        context.robot("practice", scene_seed=scene_seed) as session,
        context.bar("Practising", total, "step", initial=done) as bar,
    ):

        def feedback(state: Any) -> None:
            bar.update(done + state.steps - bar.n)
            rates = [("forward", state.forward_success_rate), ("backward", state.backward_success_rate)]
            shown = {name: percent(rate) for name, rate in rates if not math.isnan(rate)}
            bar.set_postfix(
                {**shown, "updates": state.updates, "resets": state.assisted_resets}, refresh=False
            )

        result = session.practice(feedback, steps=total - done)
        bar.update(done + result.steps - bar.n)
    sessions = context.directory.stage_record(STAGE).get("sessions", [])
    sessions.append(
        {
            "steps": result.steps,
            "episodes": result.episodes,
            "unknown_episodes": result.unknown_episodes,
            "assisted_resets": result.assisted_resets,
            "interventions": result.interventions,
            "still_episodes": result.still_episodes,
            "forced_switches": result.forced_switches,
            "nudges": result.nudges,
            "relocations": result.relocations,
            "person_requests": result.person_requests,
            "person_seconds": round(result.person_seconds, 1),
        }
    )
    context.directory.note(STAGE, sessions=sessions)
