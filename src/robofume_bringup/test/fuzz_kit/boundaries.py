"""Files, words and bytes from outside: each case spoils something that was right and demands an answer or a refusal in
one sentence."""

from __future__ import annotations

import argparse
import contextlib
import copy
import hashlib
import io
import json
import random
import shutil
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml
from robofume_bringup.cli import main as robofume
from robofume_bringup.cli.parser import build_parser
from robofume_bringup.run_config import open_run, parse_settings
from robofume_bringup.run_directory import RunDirectory
from robofume_bringup.task_files import task_description
from robofume_common.action import ActionSpace
from robofume_common.errors import RobofumeError
from robofume_data.labels import read_labels, write_labels
from robofume_policy.checkpoint import CheckpointStore, read_checkpoint
from robofume_policy.metrics import read_metrics
from robofume_policy.trained_agent import TrainedAgent
from robofume_policy.weight_intake import checked_policy, policy_from_checkpoint
from robofume_reset.state import SwitcherState, load_state, save_state
from robofume_reset.switching import Alternation, SwitchingConfig
from robofume_reward.model import RewardModel
from robofume_reward.saved import MANIFEST_FILE, Calibration
from robofume_robot.image_pipeline import decode_picture
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from fuzz_kit import values
from robofume_reward import tiny_model

WORDS = ("demos", "demo", "practice", "pretrain", "evaluate", "report", "data", "info", "check", "repair", "view",
         "label", "reward", "rescore", "tasks", "doctor", "import", "export", "camera", "crop", "workspace", "record",
         "--run", "--runs", "--set", "--seed", "--task", "--robot", "--weights", "--prior", "--output", "a.b=1",
         "--help", "learner.x=[", "success", "-1", "1e9", "--crop", "--source", "--rlds", "--lerobot",
         "--conventions")  # fmt: skip
HARMLESS = ("data", "label", "report", "tasks", "camera")
"""Commands that start nothing: these are carried out."""


class Boundaries:
    """Everything that is read from outside, under one folder; `cases` names them, each is called with dice.

    `run`: a run with demonstrations and a pre-trained policy.
    """

    def __init__(self, folder: Path, run: RunDirectory) -> None:
        self.folder = folder
        self.run = run
        folder.mkdir(parents=True, exist_ok=True)
        (self._checkpoint,) = run.pretrained.glob("[0-9]*")
        tensors, state = read_checkpoint(self._checkpoint)
        self._weights, self._architecture = TrainedAgent.from_state_dict(tensors, state).weights()
        self._reward = folder / "reward"
        tiny_model.save(self._reward, tiny_model.TinyModelConfig(), seed=0)
        Calibration().write(self._reward)
        self._config = yaml.safe_dump(self._open_run().to_dict())
        self._state = folder / "state.json"
        save_state(self._state, SwitcherState(Alternation(SwitchingConfig()), 7))
        self._state_text = self._state.read_bytes()
        tasks = Path(sys.modules[task_description.__module__].__file__ or "").parent / "tasks"
        self._task = next(tasks.glob("*.yaml")).read_text()
        picture = np.random.default_rng(0).integers(0, 255, (24, 32, 3), dtype=np.uint8)
        self._pictures = [cv2.imencode(kind, picture)[1].tobytes() for kind in (".png", ".jpg")]
        self.cases: dict[str, Callable[[random.Random], None]] = {
            name.removeprefix("_on_"): getattr(self, name) for name in dir(self) if name.startswith("_on_")
        }

    def case(self, name: str, dice: random.Random) -> bool:
        """One case; whether it was refused. Raises AssertionError for a refusal that is none."""
        try:
            self.cases[name](dice)
        except RobofumeError as error:
            sentence = str(error)
            assert sentence.strip() and len(sentence) < 50_000, f"not a sentence: {sentence[:200]!r}"
            assert "Traceback" not in sentence
            return True
        return False

    def _open_run(self) -> Any:
        shutil.rmtree(self.folder / "one", ignore_errors=True)
        return open_run(RunDirectory(self.folder / "one"), {})

    # Text

    def _spoiled_yaml(self, dice: random.Random, text: str) -> str:
        if dice.random() < 0.4:
            return values.mutated(dice, text.encode()).decode(errors="replace")
        content = copy.deepcopy(yaml.safe_load(text))
        for _ in range(dice.choice((1, 1, 2, 4))):
            if not isinstance(content, dict) or not content:
                break
            name = dice.choice([*content, values.text(dice)])
            if dice.random() < 0.2:
                content.pop(name, None)
            else:
                content[name] = values.plain(dice)
        return str(yaml.safe_dump(content))

    def _on_task_file(self, dice: random.Random) -> None:
        path = self.folder / "task.yaml"
        path.write_text(self._spoiled_yaml(dice, self._task), encoding="utf-8")
        task_description("widowx", str(path))

    def _on_configuration(self, dice: random.Random) -> None:
        directory = RunDirectory(self.folder / "two")
        directory.prepare()
        directory.config_file.write_text(self._spoiled_yaml(dice, self._config), encoding="utf-8")
        config = open_run(directory, {})
        task_description(config.robot, config.task)

    def _on_settings(self, dice: random.Random) -> None:
        name = f"{values.text(dice)}{dice.choice(('.', '', '='))}{values.text(dice)}"
        text = f"{name}={yaml.safe_dump(values.plain(dice))}"
        parse_settings([text if dice.random() < 0.7 else values.text(dice)])

    def _on_switcher_state(self, dice: random.Random) -> None:
        self._state.write_text(self._spoiled_json(dice, self._state_text), encoding="utf-8")
        load_state(self._state, SwitchingConfig())

    def _on_labels(self, dice: random.Random) -> None:
        path = self.folder / "labels.json"
        write_labels(path, {})
        path.write_text(self._spoiled_json(dice, b'{"practice-000001": {"3": "success", "-1": "failure"}}'))
        read_labels(path)

    def _on_calibration(self, dice: random.Random) -> None:
        path = self._reward / "calibration.json"
        whole = path.read_bytes()
        try:
            path.write_text(self._spoiled_json(dice, whole), encoding="utf-8")
            Calibration.read(self._reward)
        finally:
            path.write_bytes(whole)

    def _on_metrics(self, dice: random.Random) -> None:
        path = self.folder / "metrics.csv"
        path.write_bytes(values.mutated(dice, b"updates,losses/a\n10,0.5\n20,1e-3\n"))
        read_metrics(path)

    def _on_command_line(self, dice: random.Random) -> None:
        words = [dice.choice(WORDS) if dice.random() < 0.8 else values.text(dice) for _ in range(dice.randint(0, 7))]
        with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()) as said:
            try:
                options = build_parser().parse_args(words)
            except SystemExit as end:
                assert end.code in (0, 2), end.code
                return
            except argparse.ArgumentError as error:
                raise AssertionError(f"argparse raises on {words}") from error
            if words[0] in HARMLESS and "--source" not in words and words[0] != "camera":
                assert options
                with contextlib.chdir(self.folder) if hasattr(contextlib, "chdir") else contextlib.nullcontext():
                    code = robofume([*words])
                assert code in (0, 1, 2) and "Traceback" not in said.getvalue()

    def _spoiled_json(self, dice: random.Random, data: bytes) -> str:
        if dice.random() < 0.5:
            return values.mutated(dice, data).decode(errors="replace")
        return json.dumps(_spoil(dice, json.loads(data)), default=str)

    # Bytes

    def _on_checkpoint(self, dice: random.Random) -> None:
        """With a checksum that fits, as an enemy would write it."""
        folder = self.folder / "checkpoints"
        shutil.rmtree(folder, ignore_errors=True)
        copy_ = folder / self._checkpoint.name
        shutil.copytree(self._checkpoint, copy_)
        summary = json.loads((copy_ / "state.json").read_text())
        tensors = copy_ / "tensors.safetensors"
        way = dice.randrange(3)
        if way == 0:
            data = values.mutated(dice, tensors.read_bytes())
        elif way == 1:
            data = self._spoiled_header(dice, tensors.read_bytes())
        else:
            data = tensors.read_bytes()
            summary["state"] = _spoil(dice, summary["state"])
        tensors.write_bytes(data)
        summary["sha256"] = hashlib.sha256(data).hexdigest()
        text = json.dumps(summary, default=str)
        if dice.random() < 0.1:
            text = values.mutated(dice, text.encode()).decode(errors="replace")
        (copy_ / "state.json").write_text(text, encoding="utf-8")
        assert CheckpointStore(folder).numbers()
        policy_from_checkpoint(folder, ActionSpace(), 64)

    def _on_weights(self, dice: random.Random) -> None:
        way = dice.randrange(3)
        if way == 0:
            data = values.mutated(dice, self._weights)
        elif way == 1:
            data = self._spoiled_header(dice, self._weights)
        else:
            tensors = load_tensors(self._weights)
            name = dice.choice(list(tensors))
            tensors[name] = tensors[name].float() * dice.choice((float("nan"), float("inf"), 1e38, 0.0))
            length = int.from_bytes(self._weights[:8], "little")
            about = json.loads(self._weights[8 : 8 + length]).get("__metadata__")
            data = save_tensors(tensors, about)
        checked_policy(
            data, hashlib.sha256(data).hexdigest(), self._architecture, action_dimension=4, image_size=64,
            expected_architecture=dice.choice(("", self._architecture)),
        )  # fmt: skip

    def _spoiled_header(self, dice: random.Random, data: bytes) -> bytes:
        """Safetensors with another header over the same bytes: giant shapes, offsets outside, other settings."""
        length = int.from_bytes(data[:8], "little")
        header = _spoil(dice, json.loads(data[8 : 8 + length]))
        text = json.dumps(header, default=str).encode()
        size = dice.choice((len(text), len(text), len(text), 2**63, 0, len(text) + 10**12))
        return size.to_bytes(8, "little") + text + data[8 + length :]

    def _on_picture(self, dice: random.Random) -> None:
        data = values.mutated(dice, dice.choice(self._pictures))
        if dice.random() < 0.3:  # says that it is large
            data = bytearray(self._pictures[0])
            data[16:24] = dice.choice((40_000, 2**31 - 1, 65_535)).to_bytes(4, "big") * 2
            data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
        decode_picture(bytes(data))

    def _on_reward_model(self, dice: random.Random) -> None:
        folder = self.folder / "spoiled"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self._reward, folder)
        (folder / MANIFEST_FILE).unlink(missing_ok=True)
        path = dice.choice(sorted(folder.iterdir()))
        if path.suffix == ".json" and dice.random() < 0.6:
            path.write_text(json.dumps(_spoil(dice, json.loads(path.read_text())), default=str), encoding="utf-8")
        else:
            path.write_bytes(values.mutated(dice, path.read_bytes()))
        RewardModel.load(folder)


def _spoil(dice: random.Random, content: Any) -> Any:
    """A copy in which something, somewhere, is something else."""
    content = copy.deepcopy(content)
    for _ in range(dice.choice((1, 1, 2, 3))):
        place = content
        while True:
            if isinstance(place, dict) and place:
                key: Any = dice.choice(list(place))
            elif isinstance(place, list) and place:
                key = dice.randrange(len(place))
            else:
                return values.plain(dice) if place is content else content
            if isinstance(place[key], (dict, list)) and place[key] and dice.random() < 0.8:
                place = place[key]
                continue
            way = dice.randrange(4)
            if way == 0:
                del place[key]
            elif way == 1 and isinstance(place[key], (int, float)):
                place[key] = dice.choice((0, -1, 2**31, 2**62, 0.5, 1e308)) if dice.random() < 0.7 else place[key] + 1
            else:
                place[key] = values.plain(dice)
            break
    return content
