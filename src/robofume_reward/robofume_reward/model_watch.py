"""Notices a newer version of a model's directory, and loads it beside the one that is in use."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .familiarity import FAMILIARITY_FILE
from .saved import CALIBRATION_FILE, CLASSIFIER_FILE, MANIFEST_FILE, MODEL_FILE, VIEW_FILE

_KINDS = (MODEL_FILE, CLASSIFIER_FILE)
_WATCHED = (*_KINDS, CALIBRATION_FILE, VIEW_FILE, FAMILIARITY_FILE, MANIFEST_FILE, "*.jinja", "*.safetensors")


class ModelWatch:
    """Polled now and then; loads in a thread of its own, so that judging goes on meanwhile.

    `load()` gives the new model; what it raises is kept as `failure`, and the old model stays until the files change
    again.
    """

    def __init__(self, directory: str | Path, load: Callable[[], Any]) -> None:
        self._directory = Path(directory)
        self._load = load
        self._seen = self._signature()
        self._lock = threading.Lock()
        self._loaded: Any = None
        self._thread: threading.Thread | None = None
        self.failure = ""

    def poll(self) -> None:
        """Starts to load where the files have changed since the last time."""
        signature = self._signature()
        if signature is None or signature == self._seen or (self._thread is not None and self._thread.is_alive()):
            return
        self._seen = signature
        self._thread = threading.Thread(target=self._work, name="model_watch", daemon=True)
        self._thread.start()

    def take(self) -> Any:
        """The newly loaded model, once; None where there is none."""
        with self._lock:
            loaded, self._loaded = self._loaded, None
            return loaded

    def close(self) -> None:
        """Waits for a load that goes on."""
        if self._thread is not None:
            self._thread.join(timeout=10.0)

    def _work(self) -> None:
        try:
            model = self._load()
        except Exception as error:  # noqa: BLE001  whatever is wrong with the new one, the old one judges on
            self.failure = str(error)
            return
        with self._lock:
            self._loaded, self.failure = model, ""

    def _signature(self) -> tuple[tuple[str, int, int, int], ...] | None:
        """Identity, time and size of the files; None while the model is not whole, as in the moment of a
        replacement.
        """
        try:
            paths = [path for pattern in _WATCHED for path in sorted(self._directory.glob(pattern))]
            facts = [(path.name, path.stat()) for path in paths]
        except OSError:
            return None
        names = {name for name, _ in facts}
        whole = not names.isdisjoint(_KINDS) and any(name.endswith(".safetensors") for name in names)
        return tuple((name, f.st_ino, f.st_mtime_ns, f.st_size) for name, f in facts) if whole else None
