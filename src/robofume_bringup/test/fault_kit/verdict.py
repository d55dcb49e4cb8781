"""After a run under fire: was everything that was announced kept, once, and as it was?"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from robofume_bringup.run_directory import RunDirectory
from robofume_common.enums import Outcome, Verdict
from robofume_data.bag_reader import read_episodes
from robofume_policy.checkpoint import CheckpointStore

from fault_kit.rig import Log
from fault_kit.witness import Heard, Witness

SETTLING = 3.0
"""Seconds after the end of an episode within which a struck recorder may not have heard all of it."""


@dataclass
class Kept:
    """What was compared, and what was found wrong."""

    announced: int = 0
    in_bags: int = 0
    excused: int = 0
    """Announced while the recorder was struck, and not in a bag."""
    learnt: int = 0
    steps: int = 0
    updates: int = 0
    violations: tuple[str, ...] = ()


def compare(directory: RunDirectory, witness: Witness, log: Log) -> Kept:
    """What the witness heard against the bags, the memory and the checkpoints of the run."""
    kept, wrong = Kept(), []
    bags = {}
    for episode in read_episodes(directory.bag_files("practice")):
        if episode.episode_id in bags:
            wrong.append(f"episode {episode.episode_id} is in the bags twice")
        bags[episode.episode_id] = episode
    kept.in_bags = len(bags)
    kept.steps = sum(episode.length for episode in bags.values())
    for name, heard in witness.episodes.items():
        if not heard.whole or heard.restarted:
            continue
        kept.announced += 1
        if name not in bags:
            if _deaf(heard, log.deaf):
                kept.excused += 1
            elif heard.end.outcome != Outcome.ABORTED:
                wrong.append(f"episode {name} was announced as {Outcome(heard.end.outcome).name} and is in no bag")
        else:
            wrong += _differs(name, heard, bags[name], _deaf(heard, log.deaf))
    kept.learnt, found = check_memory(_lines(directory.path / "faults" / "memory.jsonl"), witness.episodes)
    wrong += found
    newest = CheckpointStore(directory.checkpoints).load()
    if newest is not None:
        kept.updates = newest[0]
        if witness.learner is not None and newest[0] > witness.learner.target_updates:
            wrong.append(f"the newest checkpoint has {newest[0]} updates, {witness.learner.target_updates} were due")
    wrong += _traces(directory.logs)
    kept.violations = tuple(wrong)
    return kept


def check_memory(entries: Iterable[dict[str, Any]], episodes: dict[str, Heard]) -> tuple[int, list[str]]:
    """Episodes that were learnt from, and what is wrong with their rewards by the plain rule: -1 a step, 0 for the one
    into the success, nothing from a step into an unknown verdict."""
    wrong: list[str] = []
    seen: dict[int, set[str]] = {}
    for entry in entries:
        name = entry["episode_id"]
        if name not in episodes:
            continue  # a demonstration
        held = seen.setdefault(entry["pid"], set())
        if name in held:
            wrong.append(f"episode {name} entered the memory of one learner twice")
        held.add(name)
        heard = episodes[name]
        if heard.end is None:
            wrong.append(f"episode {name} was learnt from and never closed")
            continue
        success = heard.end.outcome == Outcome.SUCCESS
        if heard.end.outcome == Outcome.ABORTED:
            wrong.append(f"episode {name} was aborted and learnt from")
        learnt = np.asarray(entry["next_offset"]) > 0
        last = heard.end.success_index if success else heard.end.num_steps
        if len(learnt) - 1 > last:
            wrong.append(f"episode {name} was learnt from beyond its end")
            continue
        expected = np.full(len(learnt), -1.0)
        if success:
            expected[last - 1] = 0.0
        terminal = np.zeros(len(learnt), bool)
        terminal[last - 1] = success
        if not np.array_equal(np.asarray(entry["rewards"])[learnt], expected[learnt]):
            wrong.append(f"episode {name} was learnt from with other rewards than {expected[learnt].tolist()}")
        if not np.array_equal((np.asarray(entry["discounts"]) == 0)[learnt], terminal[learnt]):
            wrong.append(f"episode {name} ends for the critic where it should not, or does not where it should")
        # What the witness did not hear (a judge that was just started again) others may have heard.
        unknown = [heard.verdicts.get(i + 1) == Verdict.UNKNOWN for i in range(len(learnt))]
        if not success and not all(unknown[:last]) and any(learnt[i] and unknown[i] for i in range(last)):
            wrong.append(f"episode {name}: a step into an unknown verdict was learnt from")
    return len(set().union(*seen.values())) if seen else 0, wrong


def _differs(name: str, heard: Heard, episode: Any, deaf: bool) -> list[str]:
    wrong = []
    if not deaf and episode.length != heard.end.num_steps:
        wrong.append(f"episode {name} has {episode.length} steps in its bag and {heard.end.num_steps} were announced")
    for index, action in enumerate(episode.actions):
        if heard.actions.get(index) not in (None, action.astype(np.float32).tobytes()):
            wrong.append(f"episode {name}, step {index}: another action in the bag than was announced")
            break
    return wrong


def _deaf(heard: Heard, spans: list[tuple[float, float]]) -> bool:
    return any(begin < heard.ended + SETTLING and heard.begin < end for begin, end in spans)


def _traces(logs: Path) -> list[str]:
    wrong = []
    for log in sorted(logs.glob("*.log")):
        _, found, rest = log.read_text().partition("Traceback")
        if found:
            wrong.append(f"a traceback in {log.name}: {rest[:2000]}")
    return wrong


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
