"""The switcher and the policy node as real processes over DDS, with a tiny world in lockstep."""

import itertools
import json
import os
import pty
import signal
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from rclpy.action import ActionClient
from robofume_common.enums import Actor, Outcome, Phase
from robofume_data.bag_reader import read_episodes
from robofume_data.check import check_bags
from robofume_reset.relocation import RELOCATE
from robofume_reset.state import load_state
from robofume_reset.switching import SwitchingConfig
from std_srvs.srv import Trigger

from robofume_common import qos
from robofume_interfaces.action import Evaluate, Practice
from robofume_interfaces.msg import HelpRequest


def test_practice_alternates_and_every_step_is_there_once(graph):
    graph.start_switcher()
    graph.start_robot(fail_every=7, unclear_every=14)
    graph.start_policy()  # last, so that it meets a task and a frozen world
    started = time.monotonic()
    result = graph.run_goal(Practice, "practice", Practice.Goal(steps=400))
    seconds = time.monotonic() - started
    assert result.error_code == 0, result.message
    assert result.steps >= 400
    decided = result.forward_episodes + result.backward_episodes
    assert result.episodes == len(graph.episodes) == decided + result.unknown_episodes
    assert result.steps == sum(episode.num_steps for episode in graph.episodes)
    for episode in graph.episodes:
        graph.assert_whole(episode)
    outcomes = [(episode.direction, episode.outcome) for episode in graph.episodes]
    assert {outcome for _, outcome in outcomes} == {Outcome.SUCCESS, Outcome.TIMEOUT, Outcome.UNKNOWN}
    assert [outcome for _, outcome in outcomes].count(Outcome.UNKNOWN) == result.unknown_episodes
    for (direction, outcome), (following, _) in itertools.pairwise(outcomes):
        assert (following != direction) == (outcome == Outcome.SUCCESS)
    for episode in graph.episodes:
        if episode.outcome == Outcome.SUCCESS:
            assert episode.num_steps == episode.success_index + 1  # no permit after the success verdict
        else:
            assert episode.num_steps == 15
    assert [task.phase for task in graph.tasks][-1] == Phase.IDLE
    print(f"{result.steps / seconds:.0f} control steps per second, start included")
    assert graph.stop("switcher") == graph.stop("policy") == graph.stop("robot") == 0


def test_evaluation_refuses_a_second_goal_and_can_be_cancelled(graph):
    graph.start_robot(fail_every=2)
    graph.start_policy()
    graph.start_switcher()
    second = ActionClient(graph.node, Practice, "practice")
    accepted = []

    def second_goal():
        if accepted or not graph.feedback or not second.server_is_ready():
            return
        accepting = second.send_goal_async(Practice.Goal(episodes=1))
        graph.wait(accepting.done)
        accepted.append(accepting.result().accepted)

    # Far more trials than are needed, so that the evaluation is still on however late the second goal comes.
    result = graph.run_goal(
        Evaluate, "evaluate", Evaluate.Goal(trials_per_direction=10**4, seed=1), second_goal, lambda: bool(accepted)
    )
    second.destroy()
    assert accepted == [False] and result.error_code == Evaluate.Result.ERROR_CANCELED

    result = graph.run_goal(Evaluate, "evaluate", Evaluate.Goal(trials_per_direction=6, seed=1))
    assert result.error_code == 0, result.message
    assert len(result.forward_success) == len(result.backward_success) == 6
    assert sum(result.forward_success) + sum(result.backward_success) == 6
    assert all(step.phase == Phase.EVALUATION for steps in graph.steps.values() for step in steps)
    assert all(episode.assisted_reset_before for episode in graph.episodes)
    for episode in graph.episodes:
        graph.assert_whole(episode)

    done = len(graph.episodes)
    result = graph.run_goal(
        Practice, "practice", Practice.Goal(steps=10**6), cancel_when=lambda: len(graph.episodes) > done + 1
    )
    assert result.error_code == Practice.Result.ERROR_CANCELED
    # The episode in progress is aborted, where there was one: every one that had a step is closed.
    graph.wait(lambda: set(graph.steps) == {episode.episode_id for episode in graph.episodes})
    assert Outcome.ABORTED not in [episode.outcome for episode in graph.episodes[done:-1]]
    assert graph.tasks[-1].phase == Phase.IDLE
    assert result.episodes == sum(episode.outcome != Outcome.ABORTED for episode in graph.episodes[done:])
    for episode in graph.episodes:
        graph.assert_whole(episode)


def assert_whole_but_for_a_kill(graph):
    """Episodes in which the policy was not killed are whole; the last step of one that was decided may be missing."""
    closed = [episode for episode in graph.episodes if episode.outcome != Outcome.ABORTED]
    cut = [episode.episode_id for episode in closed if len(graph.last_step(episode).action) > 0]
    assert len(cut) <= 1
    for episode in closed:
        graph.assert_whole(episode, episode.episode_id in cut)


def test_what_a_success_has_put_down_is_put_elsewhere_by_a_script(graph):
    zone = [0.125, -0.02, 0.195, 0.02]
    graph.start_robot(grips=True)
    graph.start_policy()
    graph.start_switcher(confirm=True, relocate_share=1.0, relocate_forward=zone, relocate_step=0.03)
    result = graph.run_goal(Practice, "practice", Practice.Goal(episodes=5))
    assert result.error_code == 0, result.message
    relocations = [episode for episode in graph.episodes if episode.phase == Phase.INTERVENTION]
    assert result.relocations == len(relocations) == 2 and result.nudges == 0, "after forward alone, before an episode"
    for episode in relocations:
        graph.assert_whole(episode)
        assert (episode.outcome, episode.instruction) == (Outcome.INTERVENTION, RELOCATE)
        steps = graph.steps[episode.episode_id]
        assert {step.actor for step in steps[:-1]} == {int(Actor.SCRIPT)}
        assert zone[0] - 1e-3 <= steps[-1].proprioception[0] <= zone[2] + 1e-3
        assert max(abs(step.action[0]) for step in steps[:-1]) <= 0.03 + 1e-6
    practised = [episode for episode in graph.episodes if episode.phase != Phase.INTERVENTION]
    assert [episode.phase for episode in practised] == [Phase.FORWARD, Phase.BACKWARD] * 2 + [Phase.FORWARD]
    assert all(episode.outcome == Outcome.SUCCESS for episode in practised)


def test_a_killed_policy_is_named_and_a_restarted_one_goes_on(graph):
    graph.start_robot()
    graph.start_policy()
    graph.start_switcher(step_deadline=10.0, close_deadline=10.0)
    killed = []

    def kill():
        if len(graph.episodes) >= 3 and not killed:
            killed.append(graph.stop("policy", signal.SIGKILL))

    result = graph.run_goal(Practice, "practice", Practice.Goal(episodes=10**6), kill)
    assert killed == [-signal.SIGKILL]
    assert result.error_code == Practice.Result.ERROR_NO_OBSERVATIONS
    assert "policy node" in result.message
    assert graph.tasks[-1].phase == Phase.IDLE
    assert_whole_but_for_a_kill(graph)

    graph.start_policy()
    again = graph.run_goal(Practice, "practice", Practice.Goal(episodes=3))
    assert again.error_code == 0 and again.episodes == 3


def test_a_policy_that_is_restarted_in_time_costs_one_episode(graph):
    graph.start_robot()
    graph.start_policy()
    graph.start_switcher(close_deadline=10.0)
    killed = []

    def restart():
        if len(graph.episodes) >= 3 and not killed:  # the observer may be some episodes behind
            killed.append(graph.stop("policy", signal.SIGKILL))
            graph.start_policy()

    result = graph.run_goal(Practice, "practice", Practice.Goal(episodes=20), restart)
    assert killed and result.error_code == 0, result.message
    assert result.episodes == 20
    assert [episode.outcome for episode in graph.episodes].count(Outcome.ABORTED) <= 1
    # A step 0 that was sent in the moment of the kill may have reached us and not the switcher; whoever has seen it
    # begins the episode again with the second one, as the recorder and the learner do.
    again = [(name, [step.index for step in steps].index(0, 1)) for name, steps in graph.steps.items()
             if [step.index for step in steps].count(0) > 1]  # fmt: skip
    assert len(again) <= 1
    for name, first in again:
        del graph.steps[name][:first]
    assert_whole_but_for_a_kill(graph)


def test_a_killed_switcher_goes_on_with_new_ids_and_the_next_direction(graph, tmp_path):
    graph.start_robot()
    graph.start_policy()
    state = tmp_path / "state" / "switcher.json"
    graph.start_switcher(state_file=state)
    client = ActionClient(graph.node, Practice, "practice")
    graph.wait_for_server(client)
    graph.send_goal(client, Practice.Goal(episodes=10**6))
    graph.wait(lambda: len(graph.episodes) >= 4)
    graph.stop("switcher", signal.SIGKILL)
    client.destroy()
    kept = load_state(state, SwitchingConfig())  # we may hear later of what it has said, or not at all

    def number(episode):
        return int(episode.episode_id.removeprefix("test-"))

    def fresh():
        later = [episode for episode in graph.episodes if number(episode) > kept.episodes_started]
        return [episode for episode in later if episode.outcome != Outcome.ABORTED]

    graph.start_switcher(state_file=state)
    result = graph.run_goal(Practice, "practice", Practice.Goal(episodes=4))
    assert result.error_code == 0, result.message
    graph.wait(lambda: len(fresh()) >= 4)
    assert len(fresh()) == 4
    assert len({episode.episode_id for episode in graph.episodes}) == len(graph.episodes)
    assert fresh()[0].direction == kept.alternation.direction
    # What it had counted and was killed before saying is said by the second one.
    before = [episode for episode in graph.episodes if number(episode) <= kept.episodes_started]
    said = [episode.direction for episode in before if episode.outcome == Outcome.SUCCESS]
    total = kept.alternation.total
    assert len(said) >= 4 and len(said) == total.forward_successes + total.backward_successes
    assert fresh()[0].direction != said[-1]
    for episode in graph.episodes:  # the one that was cut by the kill too
        assert_whole_but_for_what_came_later(graph, episode)


def assert_whole_but_for_what_came_later(graph, episode):
    """As `Graph.assert_whole`; of an episode that was decided before the kill, the last step that the killed switcher
    has heard is the last that counts, and its action does not."""
    cut = len(graph.last_step(episode).action) > 0
    if cut:
        known, rewards = graph.steps[episode.episode_id], graph.rewards[episode.episode_id]
        del known[episode.num_steps + 1 :]
        rewards -= {(index, verdict) for index, verdict in rewards if index > episode.num_steps}
    graph.assert_whole(episode, cut)


@pytest.mark.parametrize("confirm", [True, False], ids=["decided at its last step", "decided before it"])
def test_an_episode_that_was_counted_is_said_after_a_kill(graph, tmp_path, confirm):
    state = tmp_path / "state.json"
    graph.start_robot()
    graph.start_policy()
    graph.start_switcher(state_file=state, confirm=confirm, killed_after=2)
    client = ActionClient(graph.node, Practice, "practice")
    graph.wait_for_server(client)
    graph.send_goal(client, Practice.Goal(episodes=10**6))
    assert graph.processes["switcher"].wait(timeout=100.0) == -signal.SIGKILL
    client.destroy()
    graph.wait(lambda: graph.episodes)
    assert load_state(state, SwitchingConfig()).alternation.total.backward_successes == 1
    graph.spin(2.0)
    assert len(graph.episodes) == 1, "it was killed before it said so"

    graph.start_switcher(state_file=state, confirm=confirm)
    result = graph.run_goal(Practice, "practice", Practice.Goal(episodes=1))
    assert result.error_code == 0, result.message
    graph.wait(lambda: len(graph.episodes) >= 3)  # the result takes another way and may come first
    _, late, next_one = graph.episodes
    assert late.episode_id == "test-000002" and next_one.direction == Phase.FORWARD
    assert (late.outcome, late.phase, late.instruction) == (Outcome.SUCCESS, Phase.BACKWARD, "go left")
    assert 0 < late.success_index <= late.num_steps
    for episode in graph.episodes:
        assert_whole_but_for_what_came_later(graph, episode)


def test_an_episode_that_was_counted_is_in_the_bags_when_the_whole_graph_is_started_again(graph, tmp_path):
    def start(**settings):
        graph.start_robot(reward_listeners=3)
        graph.start("recorder", ["-m", "robofume_data.nodes.recorder"], directory=tmp_path / "bags", name="practice")
        graph.start_policy(step_listeners=4)
        graph.start_switcher(state_file=tmp_path / "state.json", confirm=True, episode_listeners=2, **settings)

    start(killed_after=2)
    client = ActionClient(graph.node, Practice, "practice")
    graph.wait_for_server(client)
    graph.send_goal(client, Practice.Goal(episodes=10**6))
    assert graph.processes["switcher"].wait(timeout=100.0) == -signal.SIGKILL
    client.destroy()
    for name in ("policy", "recorder", "robot"):
        assert graph.stop(name) == 0
    first = tmp_path / "bags" / "practice_0000.mcap"
    assert [episode.episode_id for episode in read_episodes(first)] == ["test-000001"]

    start()
    assert graph.run_goal(Practice, "practice", Practice.Goal(episodes=1)).error_code == 0
    for name in ("switcher", "policy", "recorder", "robot"):
        assert graph.stop(name) == 0
    assert [episode.episode_id for episode in read_episodes(first)] == ["test-000001", "test-000002"]
    for report, episodes in zip(check_bags(tmp_path / "bags"), (2, 1), strict=True):
        assert (report.episodes, report.errors) == (episodes, [])
        assert not [warning for warning in report.warnings if "is skipped" in warning]
    assert load_state(tmp_path / "state.json", SwitchingConfig()).unheard == [], "all have heard: noted at the end"


def test_what_a_listener_has_not_heard_when_the_switcher_is_stopped_is_said_at_its_next_start(graph, tmp_path):
    def start_recorder():
        graph.start("recorder", ["-m", "robofume_data.nodes.recorder"], directory=tmp_path / "bags", name="practice")

    state = tmp_path / "state.json"
    graph.start_robot(reward_listeners=3)
    start_recorder()
    graph.start_policy(step_listeners=4)
    graph.start_switcher(state_file=state, episode_listeners=2)

    def freeze():
        if graph.episodes:
            graph.processes["recorder"].send_signal(signal.SIGSTOP)

    assert graph.run_goal(Practice, "practice", Practice.Goal(episodes=4), freeze).error_code == 0
    assert graph.stop("switcher") == 0
    unheard = [end.episode_id for end in load_state(state, SwitchingConfig()).unheard]
    assert unheard and unheard[-1] == graph.episodes[-1].episode_id == "test-000004"
    assert graph.stop("recorder", signal.SIGKILL) == -signal.SIGKILL


def test_a_switcher_that_is_stopped_closes_its_episode(graph):
    graph.start_robot(fail_every=1)
    graph.start_policy()
    graph.start_switcher(step_limit=10_000)
    client = ActionClient(graph.node, Practice, "practice")
    graph.wait_for_server(client)
    graph.send_goal(client, Practice.Goal(episodes=1))
    graph.wait(lambda: sum(map(len, graph.steps.values())) > 20)
    assert graph.stop("switcher") == 0
    client.destroy()
    graph.wait(lambda: graph.episodes)
    assert [episode.outcome for episode in graph.episodes] == [Outcome.ABORTED]
    graph.assert_whole(graph.episodes[0])


def test_a_switcher_that_is_stopped_while_it_waits_for_the_scene_ends_calmly(graph):
    graph.start_switcher()  # nobody serves scene/reset
    client = ActionClient(graph.node, Evaluate, "evaluate")
    graph.wait(client.server_is_ready)
    assert graph.send_goal(client, Evaluate.Goal(trials_per_direction=1, seed=1)).accepted
    graph.wait(lambda: graph.feedback)  # the goal has begun
    assert graph.stop("switcher") == 0
    client.destroy()
    assert "Traceback" not in graph.logs()


# One deadline is short in each: that of what never comes at all, or of what stops coming and was quick until then.
@pytest.mark.parametrize(
    ("robot", "switcher", "error", "words"),
    [
        (
            {"silent_after": 30},
            {"step_deadline": 10.0, "close_deadline": 1.0},
            Practice.Result.ERROR_NO_OBSERVATIONS,
            "camera is silent",
        ),
        (
            {"verdicts": False},
            {"verdict_deadline": 0.5},
            Practice.Result.ERROR_NO_VERDICTS,
            "reward node",
        ),
        (
            {"demonstrate": False},
            {"start_deadline": 4.0, "probe_time": 10.0},  # in which the robot has to be heard
            Practice.Result.ERROR_NO_OBSERVATIONS,
            "overrides",
        ),
    ],
)
def test_who_is_silent_is_named(graph, robot, switcher, error, words):
    graph.start_robot(**robot)
    graph.start_policy()
    graph.start_switcher(**switcher)
    result = graph.run_goal(Practice, "practice", Practice.Goal(episodes=10**6))
    assert result.error_code == error and words in result.message, result.message


def test_in_real_time_nothing_is_repeated_and_nothing_waits(graph):
    graph.start_robot(rate=20.0)
    # Ages are generous: how fast this machine is, is not what is tested.
    graph.start_policy(lockstep=False, image_max_age=5.0, proprioception_max_age=5.0, override_max_age=5.0)
    graph.start_switcher(lockstep=False)
    result = graph.run_goal(Practice, "practice", Practice.Goal(episodes=6))
    assert result.error_code == 0, result.message
    for episode in graph.episodes:
        graph.assert_whole(episode)
    assert [episode.outcome for episode in graph.episodes] == [Outcome.SUCCESS] * 6


@pytest.fixture
def webhook():
    """URL of a listener on this machine, and the requests that it got: path and JSON."""
    requests = []

    class Listener(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            requests.append((self.path, json.loads(body)))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Listener) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/help", requests
        server.shutdown()
        thread.join()


@pytest.fixture
def terminal():
    """The file descriptor of a terminal to write to, and what was written so far."""
    screen, descriptor = pty.openpty()
    shown = bytearray()

    def read():
        try:
            while data := os.read(screen, 4096):  # a terminal that nobody reads holds its writer up
                shown.extend(data)
        except OSError:  # the last writer has gone
            pass

    thread = threading.Thread(target=read)
    thread.start()
    yield descriptor, shown
    os.close(descriptor)
    thread.join(timeout=5.0)
    os.close(screen)


def test_a_robot_that_does_nothing_is_nudged_reset_and_then_a_person_is_asked(webhook, terminal, graph, tmp_path):
    url, called = webhook
    graph.standard_error["switcher"], shown = terminal
    settings = {
        "webhook": url,
        "step_limit": 4, "still_episodes": 1, "ask_person": True, "resets_before_person": 1,
        "state_file": tmp_path / "state.json", "nudge": "[0.03, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.03, 0.0, 0.0, 0.0, "
        "0.0, 0.0, 1.0]",
    }  # fmt: skip
    graph.start_robot(fail_every=1)  # its demonstrator does nothing
    graph.start_policy()
    graph.start_switcher(**settings)
    help_wanted = []
    graph.node.create_subscription(HelpRequest, "help", help_wanted.append, qos.LATCHED)
    done = graph.node.create_client(Trigger, "help/done")
    client = ActionClient(graph.node, Practice, "practice")
    graph.wait_for_server(client)
    graph.send_goal(client, Practice.Goal(episodes=8))
    graph.wait(lambda: help_wanted and help_wanted[-1].wanted)
    assert "Nothing changed in the last episode" in help_wanted[-1].sentence and help_wanted[-1].requests == 1
    graph.wait(lambda: called and b"\a" in shown)
    assert called == [("/help", {"task": "line", "session": "test", "sentence": help_wanted[-1].sentence})]
    # The call for help may have overtaken the last episode.
    started = load_state(settings["state_file"], SwitchingConfig()).episodes_started
    graph.wait(lambda: len(graph.episodes) == started)
    kinds = [(episode.phase, episode.outcome, episode.assisted_reset_before) for episode in graph.episodes]
    failed = (Phase.FORWARD, Outcome.TIMEOUT)
    assert [kind[1] for kind in kinds].count(Outcome.INTERVENTION) == 1
    assert [kind[2] for kind in kinds].count(True) == 1 and failed in [kind[:2] for kind in kinds]
    (nudge,) = [episode for episode in graph.episodes if episode.phase == Phase.INTERVENTION]
    graph.assert_whole(nudge)
    steps = graph.steps[nudge.episode_id]
    assert [step.actor for step in steps] == [Actor.SCRIPT, Actor.SCRIPT, Actor.NONE]
    assert steps[-1].proprioception[0] - steps[0].proprioception[0] == pytest.approx(0.06)
    closed = len(graph.episodes)
    graph.wait(lambda: graph.feedback and graph.feedback[-1].person_seconds >= 1.0)  # and that is kept
    assert len(graph.episodes) == closed and graph.tasks[-1].phase == Phase.IDLE

    graph.stop("switcher", signal.SIGKILL)  # the wait, and how far up the ladder it is, survive
    client.destroy()
    graph.start_switcher(**settings)
    graph.wait(lambda: not help_wanted[-1].wanted)  # it is there, and nobody is waited for without a goal
    client = ActionClient(graph.node, Practice, "practice")
    graph.wait_for_server(client)
    graph.send_goal(client, Practice.Goal(episodes=8))
    graph.wait(lambda: help_wanted[-1].wanted and help_wanted[-1].requests == 2)
    assert help_wanted[-1].waited >= 1.0
    graph.wait(lambda: len(called) == 2 and shown.count(b"\a") == 2)
    asked = len(help_wanted)
    assert graph.answer(lambda: done.call_async(Trigger.Request())).success
    graph.wait(lambda: len(help_wanted) > asked and len(graph.episodes) > closed)
    # It is no longer wanted, or so late that we hear already of the next time.
    assert not help_wanted[asked].wanted or help_wanted[asked].requests > 2
    assert graph.episodes[closed].assisted_reset_before
    ended = list(graph.episodes)
    for episode in ended:
        graph.assert_whole(episode)
    client.destroy()
