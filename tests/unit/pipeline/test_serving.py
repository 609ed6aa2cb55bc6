"""A page is served behind the guard, on an address that is held before anything else is done."""

import asyncio

import pytest

from pipeline.errors import UserError
from pipeline.serving import Address, Listener

HTML = "<script>let keys = 8;</script>"


async def page(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": HTML.encode()})


def ask(app, host, **headers):
    """Return the status and the headers of an answer."""
    sent = []
    pairs = [(b"host", host.encode()), *((name.encode(), value.encode()) for name, value in headers.items())]
    scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": pairs}

    async def receive():
        return {"type": "http.request", "body": b""}

    async def send(message):
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    return sent[0]["status"], dict(sent[0]["headers"])


def test_the_server_gets_the_guarded_app_on_the_listening_socket():
    ready, seen = [], []

    def run(app, listening):
        host = f"127.0.0.1:{listening.getsockname()[1]}"
        seen.append(ask(app, host))
        seen.append(ask(app, "evil.example"))

    with Listener(Address()) as listener:
        listener.serve(page, HTML, run=run, on_ready=ready.append)
        assert ready == [listener.url]
    (status, headers), (foreign, _) = seen
    assert (status, foreign) == (200, 421)
    assert b"sha256-" in headers[b"content-security-policy"]


def test_a_token_is_in_the_address_to_open_and_asked_for():
    token, seen = "0123456789abcdef", []
    with Listener(Address(token=token)) as listener:
        assert listener.url.endswith(f"/?token={token}")
        listener.serve(page, HTML, run=lambda app, _: seen.append(ask(app, "127.0.0.1")[0]), on_ready=lambda _: None)
    assert seen == [401]


def test_an_address_that_others_can_reach_needs_a_token():
    with pytest.raises(UserError, match="--token"):
        Address(host="0.0.0.0")


def test_a_port_that_is_taken_is_reported_and_free_again_afterwards():
    with Listener(Address()) as first:
        port = int(first.url.rsplit(":", 1)[1].strip("/"))
        with pytest.raises(UserError, match=f"cannot serve on 127.0.0.1:{port}"):
            Listener(Address(port=port))
    Listener(Address(port=port)).close()
