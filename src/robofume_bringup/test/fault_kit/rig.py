"""A practising graph whose nodes can be struck, and the hand that strikes them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from robofume_bringup.graph import GraphSettings, build_graph
from robofume_bringup.interruption import Interruption, Stopped
from robofume_bringup.robot_session import RobotSession
from robofume_bringup.run_directory import RunDirectory
from robofume_bringup.runner import GraphRunner
from robofume_common.action import ActionSpace
from robofume_common.enums import ArmState
from robofume_common.errors import RobofumeError
from robofume_common.parameters import from_dict
from robofume_data.episode import EpisodeData
from robofume_data.episode_writer import write_episodes
from robofume_policy.config import AgentConfig, NetworkConfig, PretrainingConfig
from robofume_policy.pretraining import pretrain
from robofume_robot.arm_config import ArmConfig

from fault_kit.deck import Fault
from fault_kit.hooks import FOLDER
from fault_kit.witness import Witness

TASK = "pot_pick_and_place"
STRIKES_WITHIN = 30.0
"""Seconds for an order to strike: some messages and writes are rare."""
PATIENCE = 120.0
"""Seconds in which the run goes on, or ends with a sentence."""
HEARD_WITHIN = 20.0
"""Seconds until what the arm did about a strike has been heard, however busy the machine is."""
STEPS_AFTER = 3
"""Control steps that show that it goes on."""
SETTINGS: dict[str, dict[str, Any]] = {
    "policy": {"step_listeners": 5},  # the witness listens too
    "switcher": {
        "episode_listeners": 3, "verdict_deadline": 3.0, "step_deadline": 60.0, "close_deadline": 3.0,
        "learner_deadline": 60.0, "warm_up_steps": 20, "updates_per_step": 0.2, "update_slack": 60,
        "max_unknown_episodes": 1000, "max_missing_verdicts": 10, "max_aborts": 5,
    },
    "reward": {"judge": "ground_truth", "deadline": 2.0},
    "learner": {
        "warm_up_steps": 20, "updates_per_step": 0.2, "publish_every": 5, "checkpoint_every": 10,
        "episode_deadline": 3.0,
    },
}  # fmt: skip


@dataclass
class Strike:
    """A fault that was ordered, and what became of it."""

    fault: Fault
    at: float
    steps: int
    moving: bool
    pid: int
    """Of the node when it was struck."""
    struck: bool = True
    """Whether it took place: what is never written cannot fail."""
    recovered: float = -1.0
    """Seconds until the run went on; -1: it ended."""
    ended: str = ""
    """The sentence with which it ended."""


@dataclass
class Log:
    """Everything that is known after a run under fire."""

    strikes: list[Strike] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    deaf: list[tuple[float, float]] = field(default_factory=list)
    """When the recorder could not hear: from, to."""
    hold_delays: list[float] = field(default_factory=list)
    """Seconds from the last command to the hold, after its source was struck."""
    sessions: int = 0
    memory: dict[str, dict[int, list[float]]] = field(default_factory=dict)
    """Node -> process -> resident MiB every two seconds."""


class FaultyRunner(GraphRunner):
    """Starts every node in the wrapper, and calls `each` between two looks at the nodes."""

    each: Any = None

    def command(self, node: Any) -> list[str]:
        """The node's command line with the wrapper in it."""
        words = super().command(node)
        return ["fault_kit.hooks" if word == "robofume_bringup.child" else word for word in words]

    def check(self) -> None:
        """Restart who died; strike when it is time."""
        super().check()
        if self.each is not None:
            self.each()


def prepare(
    directory: RunDirectory,
    demonstrations: list[EpisodeData],
    updates: int = 2,
    network: NetworkConfig | None = None,
    agent: AgentConfig | None = None,
) -> None:
    """A run that can practise: demonstrations, and a policy, by default a small one, trained on them for a moment."""
    directory.bags("demos").mkdir(parents=True)
    write_episodes(directory.bags("demos") / "demos_0000.mcap", demonstrations)
    pretrain(
        demonstrations, directory.pretrained, action_space=ActionSpace(),
        network=network or NetworkConfig(hidden_size=64, image_features=32),
        agent=agent or AgentConfig(algorithm="bc", batch_size=32, n_step=1),
        config=PretrainingConfig(updates=updates, checkpoint_every=updates),
    )  # fmt: skip


class Rig:
    """Practises in `directory` while faults of a deck strike; `run` returns what happened."""

    def __init__(self, directory: RunDirectory, faults: Iterable[Fault], pause: Any, say: Any = print) -> None:
        self.directory = directory
        self.folder = directory.path / "faults"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.log = Log()
        self._faults: Iterator[Fault] = iter(faults)
        self._pause, self._say = pause, say
        self._witness: Witness | None = None
        self._runner: FaultyRunner | None = None
        self._strike: Strike | None = None
        self._next = self._sampled = 0.0
        self._stopped: list[tuple[float, int]] = []
        self._exhausted = False
        self._finishing: float | None = None
        self._announced: int | None = None

    def run(self, seconds: float = 3600.0) -> Witness:
        """Sessions of practice until the faults are used up or the time is over."""
        deadline = time.monotonic() + seconds
        nodes = build_graph(
            GraphSettings(TASK, "practice", run_directory=self.directory.path.resolve(), restarts=10_000,
                          overrides=SETTINGS)
        )  # fmt: skip
        arm = next(node for node in nodes if node.name == "arm")
        limits = from_dict(ArmConfig, arm.parameter_values()).limits()
        assert limits is not None
        self._watchdog = from_dict(ArmConfig, arm.parameter_values()).watchdog
        environment = {
            FOLDER: str(self.folder.resolve()),
            "PYTHONPATH": os.pathsep.join((str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", ""))),
        }
        failures = 0
        with Interruption() as interruption:
            while not self._exhausted and time.monotonic() < deadline and failures < 5:
                self.log.sessions += 1
                runner = FaultyRunner(nodes, self.directory.parameters, self.directory.logs, environment=environment)
                before = len(self.log.strikes)
                self._practise(runner, interruption, limits)
                failures = failures + 1 if len(self.log.strikes) == before else 0
                if failures >= 5:
                    self.log.violations.append("five sessions in a row did not come to a step")
                self._look_for_leftovers()
        assert self._witness is not None
        self._witness.close()
        self.log.violations += self._witness.violations
        return self._witness

    def _practise(self, runner: FaultyRunner, interruption: Interruption, limits: Any) -> None:
        self._runner, self._next = runner, 0.0
        sentence = ""
        try:
            with runner, RobotSession(runner, interruption) as session:
                if self._witness is None:
                    self._witness = Witness(runner.domain, limits)
                    os.environ["ROS_DOMAIN_ID"] = str(runner.domain)  # the next session's too
                session.wait_until_ready()
                self._mark = self._witness.steps
                runner.each = self._tick
                session.practice(lambda _feedback: None, steps=10**6)
        except _Done:
            pass
        except Stopped:
            self._exhausted = True
        except RobofumeError as error:
            sentence = str(error)
        finally:
            for _, pid in self._stopped:
                _signal(pid, signal.SIGCONT)
            self._stopped.clear()
        if self._strike is not None:
            self._strike.ended = sentence
            self._strike = None
        elif sentence:
            self.log.violations.append(f"the run ended without a fault in force: {sentence}")
        if sentence:
            self._say(f"    ended: {sentence.splitlines()[0][:160]}")

    # Between two looks at the nodes

    def _tick(self) -> None:
        assert self._witness is not None and self._runner is not None
        now = time.monotonic()
        for due, pid in list(self._stopped):
            if now >= due:
                _signal(pid, signal.SIGCONT)
                self._stopped.remove((due, pid))
        if now - self._sampled > 2.0:
            self._sampled = now
            self._sample_memory()
        if self._strike is None:
            if self._witness.steps >= self._mark + STEPS_AFTER and now >= self._next:
                self._throw()
            return
        strike = self._strike
        waited = now - strike.at
        if not strike.struck:
            if self._struck(strike.fault):
                strike.struck, strike.at, strike.steps = True, now, self._witness.steps
            elif waited > STRIKES_WITHIN:
                self._send(strike.fault.node, {"kind": "cancel"})
                self._strike, self._mark = None, self._witness.steps
            return
        goes_on = self._witness.steps >= strike.steps + STEPS_AFTER and waited > strike.fault.seconds % 60
        if goes_on and not self._stopped and not self._ending(strike) and not self._hold_due(strike, waited):
            strike.recovered = waited
            self._look_for_hold(strike)
            self._strike, self._mark = None, self._witness.steps
            self._next = now + self._pause()
        elif waited > PATIENCE:
            self.log.violations.append(f"{strike.fault}: neither went on nor ended within {PATIENCE:.0f} s")
            raise RobofumeError("The rig lost patience.")

    def _throw(self) -> None:
        assert self._witness is not None and self._runner is not None
        fault = next(self._faults, None)
        if fault is None:
            self._finish()
            return
        moving = self._witness.arm_state == ArmState.MOVING
        pid = self._runner.pid(fault.node)
        self._strike = Strike(fault, time.monotonic(), self._witness.steps, moving, pid)
        self.log.strikes.append(self._strike)
        self._say(f"{len(self.log.strikes):4d} {fault}")
        if fault.node == "recorder" and fault.kind in ("kill", "restart", "ENOSPC", "EIO"):
            self.log.deaf.append((time.monotonic() - 1.0, float("inf")))
        if fault.kind == "kill":
            _signal(pid, signal.SIGKILL)
        elif fault.kind == "restart":
            _signal(pid, signal.SIGTERM)
        elif fault.kind == "stop":
            _signal(pid, signal.SIGSTOP)
            self._stopped.append((time.monotonic() + fault.seconds, pid))
        else:
            self._order(fault)

    def _finish(self) -> None:
        """Raises _Done once two more episodes were announced to a recorder that hears: something to compare."""
        assert self._witness is not None
        now = time.monotonic()
        if self._finishing is None:
            self._finishing = now
        hears = not self.log.deaf or self.log.deaf[-1][1] < now
        announced = sum(heard.whole for heard in list(self._witness.episodes.values()))
        if hears and self._announced is None:
            self._announced = announced
        if (self._announced is not None and announced >= self._announced + 2) or now - self._finishing > PATIENCE:
            self._exhausted = True
            raise _Done

    def _order(self, fault: Fault) -> None:
        assert self._strike is not None
        self._strike.struck, self._struck_before = False, len(self._strikes(fault.node))
        if fault.kind in ("ENOSPC", "EIO", "short"):
            order = {"kind": "write", "error": fault.kind, "bytes": fault.size, "seconds": fault.seconds}
        else:
            order = {"kind": fault.kind, "topic": fault.topic, "count": fault.count, "seconds": fault.seconds}
        self._send(fault.node, order)

    def _strikes(self, node: str) -> list[str]:
        path = self.folder / "strikes.jsonl"
        return [line for line in path.read_text().splitlines() if f'"node": "{node}"' in line] if path.exists() else []

    def _struck(self, fault: Fault) -> bool:
        return len(self._strikes(fault.node)) >= self._struck_before + fault.count

    def _send(self, node: str, order: dict[str, Any]) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            try:
                sender.sendto(json.dumps(order).encode(), str(self.folder / f"{node}.sock"))
            except OSError as error:  # the node is just starting again
                self._say(f"    not delivered: {error}")

    def _ending(self, strike: Strike) -> bool:
        """Whether a node that was told to end has not been replaced yet: some steps are still taken meanwhile, and the
        end of some nodes ends the run."""
        assert self._runner is not None
        return strike.fault.kind in ("kill", "restart") and self._runner.pid(strike.fault.node) == strike.pid

    def _must_hold(self, strike: Strike) -> bool:
        """Whether the arm's command source was struck in a motion, and long enough for the watchdog."""
        if strike.fault.kind not in ("kill", "stop") or strike.fault.node != "policy" or not strike.moving:
            return False
        return strike.fault.kind == "kill" or strike.fault.seconds >= 2 * self._watchdog

    def _hold_due(self, strike: Strike, waited: float) -> bool:
        """Whether the arm is still to be heard: steps from before the strike may arrive after it, and look as if all
        went on already."""
        return self._must_hold(strike) and not self._holds(strike) and not self._told(strike) and waited < HEARD_WITHIN

    def _holds(self, strike: Strike) -> list[float]:
        assert self._witness is not None
        return [time_ - strike.at for time_ in self._witness.holds if time_ > strike.at]

    def _told(self, strike: Strike) -> list[tuple[float, str]]:
        """What the arm said of its state since the strike, and how many seconds after it."""
        assert self._witness is not None
        told = [(round(time_ - strike.at, 2), state.name) for time_, state in self._witness.arm_states]
        return [(seconds, name) for seconds, name in told if seconds > 0.0]

    def _look_for_hold(self, strike: Strike) -> None:
        """The arm holds within the watchdog time after its command source was struck, unless the motion had just ended,
        or that had told it to go home before: it does so by itself."""
        if not self._must_hold(strike):
            return
        held, after = self._holds(strike), self._told(strike)
        if held:
            self.log.hold_delays.append(held[0])
        elif not after or after[0][1] not in ("HOMING", "HOLDING"):
            self.log.violations.append(f"{strike.fault}: the arm did not hold; it said {after[:5]}")

    def _sample_memory(self) -> None:
        assert self._runner is not None
        for name in self._runner.names:
            try:
                pid = self._runner.pid(name)
                size = psutil.Process(pid).memory_info().rss / 2**20
                shared = "/dev/shm/fast" in Path(f"/proc/{pid}/maps").read_text()
            except (psutil.Error, KeyError, OSError):
                continue
            self.log.memory.setdefault(name, {}).setdefault(pid, []).append(size)
            if shared:
                self.log.violations.append(f"the {name} node holds shared memory, which a kill would leave behind")
        if self.log.deaf and self.log.deaf[-1][1] == float("inf") and self._recorder_hears():
            self.log.deaf[-1] = (self.log.deaf[-1][0], time.monotonic())

    def _recorder_hears(self) -> bool:
        """Whether a recorder that was started again has been there for a while."""
        assert self._runner is not None
        try:
            process = psutil.Process(self._runner.pid("recorder"))
            born = time.time() - process.create_time()
        except psutil.Error:
            return False
        return born > 8.0 and time.monotonic() - self.log.deaf[-1][0] > born

    def _look_for_leftovers(self) -> None:
        if self.log.deaf and self.log.deaf[-1][1] == float("inf"):
            self.log.deaf[-1] = (self.log.deaf[-1][0], time.monotonic())
        left = [child for child in psutil.Process().children(recursive=True) if "fault_kit" in " ".join(_words(child))]
        if left:
            self.log.violations.append(f"processes were left: {[' '.join(_words(child))[-60:] for child in left]}")
        zombies = [c for c in psutil.Process().children() if c.status() == psutil.STATUS_ZOMBIE]
        if zombies:
            self.log.violations.append(f"{len(zombies)} zombie processes were left")


class _Done(Exception):
    """All faults were thrown."""


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
