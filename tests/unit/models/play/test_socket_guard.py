"""The play page's websocket over real sockets: who may open it, and how much may come in."""

import contextlib
import json
import socket
import threading
import time

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from assets.cli.server import server_of
from models.play.page import MAX_BODY, PAGE, worlds_app
from models.play.worlds import Worlds
from pipeline.config import PlayConfig
from pipeline.serving import Address, Listener
from tests.play_socket import Page

TOKEN = "0123456789abcdef0123"


@contextlib.contextmanager
def _served(played, token=None):
    """Serve as `lampworks play` does; yield host and port."""
    servers = []
    app = worlds_app(Worlds(played), PlayConfig(maskgit_steps=1, token_temperature=0))

    def run(guarded, listening):
        servers.append(server_of(guarded))
        servers[0].run(sockets=[listening])

    with Listener(Address(token=token)) as listener:
        options = {"run": run, "on_ready": lambda url: None, "max_body": MAX_BODY}
        thread = threading.Thread(target=listener.serve, args=(app, PAGE.read_text("utf-8")), kwargs=options)
        thread.start()
        while not servers or not servers[0].started:
            time.sleep(0.01)
        yield listener.url.split("/")[2]
        servers[0].should_exit = servers[0].force_exit = True
        thread.join(30)


def _connected(address, **headers):
    return connect(f"ws://{address}/api/play", additional_headers=headers, open_timeout=20)


def _opens(address, **headers):
    """Return the status with which a websocket is refused; None where it opens, and a game with it."""
    try:
        with _connected(address, **headers) as opened:
            Page(opened.send, opened.recv).start()
            return None
    except InvalidStatus as refused:
        return refused.response.status_code


def test_only_a_page_of_this_server_opens_a_websocket(played):
    with _served(played) as address:
        assert _opens(address) is None
        assert _opens(address, Origin=f"http://{address}") is None
        for origin in ("https://example.org", "null", f"http://localhost.{address}", "http://127.0.0.1:1"):
            assert _opens(address, Origin=origin) == 403, origin
        assert _opens(address, **{"Sec-Fetch-Site": "cross-site"}) == 403
        # a name that was rebound to this machine
        host, port = address.split(":")
        with pytest.raises(InvalidStatus, match="421"):
            connect(f"ws://example.org:{port}/api/play", sock=socket.create_connection((host, int(port))))


def test_a_websocket_needs_the_token_where_there_is_one(played):
    with _served(played, TOKEN) as address:
        assert _opens(address) == 401
        assert _opens(address, Cookie="lampworks_token=another") == 401
        assert _opens(address, Cookie=f"lampworks_token={TOKEN}") is None
        assert _opens(address, Authorization=f"Bearer {TOKEN}") is None


def test_a_message_that_is_too_big_costs_its_sender_alone(played):
    with _served(played) as address, _connected(address) as other:
        page = Page(other.send, other.recv)
        page.start()
        with _connected(address) as one:
            big = Page(one.send, one.recv)
            big.start()
            big.say("act", action=1, n=1, more="x" * 100_000)
            assert "the limit is 65536" in big.hear("error")["error"]
            assert big.act(1)["t"] == 1
            with contextlib.suppress(ConnectionClosed):
                one.send(json.dumps({"type": "x" * (2 << 20)}))
            with pytest.raises(ConnectionClosed):
                big.hear("closed")
        assert page.act(1)["t"] == 1


def test_a_page_that_reads_nothing_holds_nobody_up(played):
    with (
        _served(played) as address,
        _connected(address) as one,
        _connected(address) as two,
    ):
        deaf, page = Page(one.send, one.recv), Page(two.send, two.recv)
        deaf.start()
        deaf.say("hold", action=2, n=1)
        page.start()
        for t in range(1, 30):
            assert page.act(1)["t"] == t
