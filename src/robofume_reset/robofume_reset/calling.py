"""How a person is called: the bell of the terminal, and a webhook. Neither can hold up the graph or fail the run."""

import json
import sys
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TextIO

from robofume_common.errors import RobofumeError
from robofume_common.parameters import setting

BELL = "\a"


@dataclass(frozen=True)
class CallingConfig:
    """Settings of calling a person."""

    webhook: str = setting(
        "", "URL (http or https) that gets a POST with a JSON object when a person is asked; empty: none"
    )
    webhook_timeout: float = setting(5.0, "after which a webhook is given up", unit="s", minimum=0.1, maximum=60.0)

    def __post_init__(self) -> None:
        try:
            parts = urllib.parse.urlsplit(self.webhook)
            fits = parts.scheme in ("http", "https") and bool(parts.hostname)
        except ValueError:  # as of half a pair of brackets
            fits = False
        if self.webhook and not fits:
            raise RobofumeError(f"webhook must be an http or https URL, not {self.webhook!r}.")


def ring(terminal: TextIO | None = None) -> bool:
    """Ring the bell where standard error, or `terminal`, is one; whether it rang."""
    terminal = terminal or sys.stderr
    if terminal is None or not terminal.isatty():
        return False
    terminal.write(BELL)
    terminal.flush()
    return True


def post(config: CallingConfig, content: Mapping[str, Any], warn: Callable[[str], None]) -> threading.Thread | None:
    """Send `content` to the webhook from a thread of its own, which is returned; None where there is no webhook.

    `warn` is called, from that thread, with a sentence where it did not arrive.
    """
    if not config.webhook:
        return None
    request = urllib.request.Request(  # noqa: S310  the scheme was checked
        config.webhook, json.dumps(content).encode(), {"Content-Type": "application/json"}, method="POST"
    )

    def send() -> None:
        try:
            with urllib.request.urlopen(request, timeout=config.webhook_timeout):  # noqa: S310
                pass
        except (OSError, ValueError, urllib.error.URLError) as error:
            warn(f"The webhook {config.webhook} did not take the request for help: {error}.")
        except Exception as error:  # noqa: BLE001  http.client raises its own; nothing here may end the node
            warn(f"The webhook {config.webhook} answered nonsense: {error}.")

    thread = threading.Thread(target=send, name="webhook", daemon=True)
    thread.start()
    return thread
