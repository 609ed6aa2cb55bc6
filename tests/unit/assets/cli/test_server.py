"""What a local page's server does with requests that never end, and with too many connections."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket
from websockets.sync.client import connect

from assets.cli.server import BoundedProtocol, server_of
from pipeline.http_guard import Guard, open_socket

HEAD = b"Host: 127.0.0.1\r\n"
POST = b"POST / HTTP/1.1\r\n" + HEAD + b"Content-Type: application/json\r\nContent-Length: 4\r\n\r\n"


class Quick(BoundedProtocol):
    request_s = 0.4
    max_connections = 4


class Served:
    """An app behind the guard on a real socket, and what reached it."""

    def __init__(self) -> None:
        self.seen: list[bytes] = []
        routes = [Route("/", self._page, methods=["GET", "POST"]), WebSocketRoute("/ws", self._echo)]
        self.listening = open_socket("127.0.0.1", 0)
        self.port = self.listening.getsockname()[1]
        self.server = server_of(Guard(Starlette(routes=routes)), protocol=Quick)

    async def _page(self, request: Request) -> Response:
        self.seen.append(await request.body())
        return PlainTextResponse("the page")

    async def _echo(self, websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text(await websocket.receive_text())
        await websocket.close()

    def connect(self, first: bytes = b"") -> socket.socket:
        client = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        client.sendall(first)
        return client


@pytest.fixture
def served() -> Iterator[Served]:
    served = Served()
    with _running(served):
        yield served


@contextmanager
def _running(served: Served) -> Iterator[None]:
    thread = threading.Thread(target=served.server.run, kwargs={"sockets": [served.listening]})
    thread.start()
    _wait_for(lambda: served.server.started)
    yield
    served.server.should_exit = True
    thread.join(30)
    served.listening.close()
    assert not thread.is_alive()


def _wait_for(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def _answer(client: socket.socket) -> bytes:
    """Return all that the server sends until it closes the connection."""
    found = b""
    with closing(client):
        while data := client.recv(1 << 16):
            found += data
    return found


def _first(client: socket.socket) -> bytes:
    """Return the first of what the server sends, and close the connection."""
    with closing(client):
        return client.recv(1 << 16)


def _drip(client: socket.socket, data: bytes) -> bytes:
    """Send a byte at a time until the server has enough of it; return its answer."""
    client.settimeout(0.02)
    found = b""
    for index in range(len(data)):
        try:
            client.sendall(data[index : index + 1])
            while more := client.recv(1 << 16):
                found += more
            break  # closed
        except TimeoutError:
            continue
        except OSError:
            break
    else:
        pytest.fail("the server waited for the end of it")
    client.close()
    return found


ENDLESS_HEAD = b"GET / HTTP/1.1\r\n" + HEAD + b"X: " + b"x" * 3000


@pytest.mark.parametrize("request_data", [ENDLESS_HEAD, POST + b"1"], ids=["headers", "body"])
def test_a_request_that_stops_half_way_ends_with_a_sentence(served: Served, request_data: bytes) -> None:
    answer = _answer(served.connect(request_data))
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"not complete after 0.4 seconds" in answer
    assert served.seen == []


@pytest.mark.parametrize(
    "start", [b"", b"GET / HTTP/1.1\r\n" + HEAD, POST.replace(b": 4", b": 4000")], ids=["line", "headers", "body"]
)
def test_a_request_that_drips_gets_no_more_time_by_dripping(served: Served, start: bytes) -> None:
    _drip(served.connect(start), b"x" * 3000)
    assert served.seen == []


def test_a_second_request_on_a_connection_has_the_same_deadline(served: Served) -> None:
    client = served.connect(b"GET / HTTP/1.1\r\n" + HEAD + b"\r\n")
    assert b"the page" in client.recv(1 << 16)
    client.sendall(POST)
    assert _answer(client).startswith(b"HTTP/1.1 408 ")
    # and so has one that came together with the first
    both = _answer(served.connect(b"GET / HTTP/1.1\r\n" + HEAD + b"\r\n" + POST + b"1"))
    assert both.startswith(b"HTTP/1.1 200 ")
    assert b"HTTP/1.1 408 " in both
    assert served.seen == [b"", b""]


def test_a_connection_that_asks_nothing_is_closed(served: Served) -> None:
    assert _answer(served.connect()) == b""


def test_an_answer_may_take_longer_than_the_request() -> None:
    served = Served()

    async def slow(request: Request) -> Response:
        await request.body()
        time.sleep(3 * Quick.request_s)
        return PlainTextResponse("late")

    served.server = server_of(Guard(Starlette(routes=[Route("/", slow, methods=["POST"])])), protocol=Quick)
    with _running(served):
        assert b"late" in _first(served.connect(POST + b"1234"))


def test_a_head_without_end_is_refused(served: Served) -> None:
    flood = b"".join(b"X: " + b"x" * 50_000 + b"\r\n" for _ in range(100))
    with closing(served.connect()) as client, pytest.raises(ConnectionError):
        client.sendall(flood)


def test_a_new_connection_takes_the_place_of_the_one_that_waits_the_longest(served: Served) -> None:
    waiting = [served.connect(b"GET / HTTP/1.1\r\n") for _ in range(Quick.max_connections)]
    _wait_for(lambda: len(served.server.server_state.connections) == Quick.max_connections)
    asked = served.connect(b"GET / HTTP/1.1\r\n" + HEAD + b"Connection: close\r\n\r\n")
    assert b"the page" in _answer(asked)
    for client in waiting:
        client.close()


def test_where_all_connections_are_in_use_a_new_one_is_refused_with_a_sentence(served: Served) -> None:
    address = f"ws://127.0.0.1:{served.port}/ws"
    own = {"origin": f"http://127.0.0.1:{served.port}"}
    with ExitStack() as stack:
        open_ones = [stack.enter_context(connect(address, proxy=None, **own)) for _ in range(Quick.max_connections)]
        answer = _answer(served.connect())
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"4 connections are open" in answer
        time.sleep(2 * Quick.request_s)
        for websocket in open_ones:  # silent for longer than a request may take
            websocket.send("still here")
            assert websocket.recv() == "still here"
    _wait_for(lambda: not served.server.server_state.connections)
    assert b"the page" in _first(served.connect(b"GET / HTTP/1.1\r\n" + HEAD + b"\r\n"))
