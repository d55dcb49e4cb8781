"""The bell and the webhook: a person is told, and nothing waits for it or fails of it."""

import http.server
import io
import json
import socket
import threading

import pytest
from robofume_common.errors import RobofumeError
from robofume_reset.calling import BELL, CallingConfig, post, ring

PATIENCE = 300.0


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def listener():
    """An HTTP server on this machine; (URL, what it was sent)."""
    got = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response({"/broken": 500}.get(self.path, 204))
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", got
    server.shutdown()
    server.server_close()
    thread.join()


def test_the_bell_rings_in_a_terminal_and_nowhere_else():
    terminal = Terminal()
    assert ring(terminal) and terminal.getvalue() == BELL
    file = io.StringIO()
    assert not ring(file) and file.getvalue() == ""


def test_a_webhook_gets_the_request(listener):
    url, got = listener
    warnings = []
    post(CallingConfig(webhook=url, webhook_timeout=60.0), {"sentence": "please"}, warnings.append).join(PATIENCE)
    assert got == [{"sentence": "please"}] and warnings == []


def test_without_a_url_nothing_is_sent():
    assert post(CallingConfig(), {"sentence": "please"}, pytest.fail) is None


def test_a_webhook_that_refuses_is_told_once(listener):
    warnings = []
    post(CallingConfig(webhook=f"{listener[0]}/broken", webhook_timeout=60.0), {}, warnings.append).join(PATIENCE)
    assert len(warnings) == 1 and "500" in warnings[0]


def test_a_webhook_that_never_answers_holds_nobody_up_and_is_given_up():
    warnings = []
    with socket.create_server(("127.0.0.1", 0)) as server:  # takes the connection and says nothing
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        waiting = post(CallingConfig(webhook=url, webhook_timeout=60.0), {}, [].append)
        assert waiting.daemon and waiting.is_alive(), "it was waited for"
        post(CallingConfig(webhook=url, webhook_timeout=0.3), {}, warnings.append).join(PATIENCE)
        assert len(warnings) == 1 and "timed out" in warnings[0]
    waiting.join(PATIENCE)  # whom it was connected to has gone


@pytest.mark.parametrize("url", ["file:///etc/passwd", "example.org/hook", "http://", "ftp://example.org", "http://[::1"])
def test_what_is_no_http_address_is_refused(url):
    with pytest.raises(RobofumeError, match="webhook"):
        CallingConfig(webhook=url)
