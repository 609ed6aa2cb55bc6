"""Pages and metrics are asked over HTTP, wherever they are."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from assets.cli.main import parser
from assets.cli.services.command import _parts
from assets.cli.services.health import ask_all
from assets.cli.services.places import TOKEN, Parts

GOOD = "a-token-of-the-test"


class _Server(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        known = self.path in {"/server_info", "/live"}
        right = self.headers.get("Authorization") == f"Bearer {GOOD}"
        self.send_response(404 if not known else 200 if right else 401)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[str]:
    """Pages and metrics behind a token; the address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Server) as found:
        threading.Thread(target=found.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{found.server_address[1]}"
        found.shutdown()


def test_pages_and_metrics_are_asked_with_the_token_and_past_a_proxy(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # a proxy that nobody has: who asked it would get no answer
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    parts = Parts(pages=server, metrics=server)
    monkeypatch.setenv(TOKEN, GOOD)
    assert ask_all(parts, ("pages", "metrics")) == {"pages": None, "metrics": None}
    monkeypatch.setenv(TOKEN, "another-token-of-the-test")
    assert ask_all(parts, ("pages", "metrics")) == dict.fromkeys(("pages", "metrics"), "it answers with status 401")
    gone = ask_all(Parts(metrics="http://127.0.0.1:9"), ("metrics",))["metrics"]
    assert gone is not None
    assert "refused" in gone


def test_the_metrics_service_asks_the_pages_of_another_command_where_it_is_told_where_they_are() -> None:
    command = ["services", "--only", "metrics", "--code-server", "code:4266"]
    assert _parts(parser().parse_args(command), ["metrics"], "code:4266", {}).pages is None
    told = parser().parse_args([*command, "--pages", "http://pages:3000/"])
    assert _parts(told, ["metrics"], "code:4266", {}).pages == "http://pages:3000"
