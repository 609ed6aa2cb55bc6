"""A play page on the ring world, and pages that speak to it."""

import contextlib
import dataclasses

import pytest
from starlette.testclient import TestClient

from models.play.key_hints import WorldHints, key_hints
from models.play.page import worlds_app
from models.play.starts.held_out import StartFrame
from models.play.starts.starts import Starts
from models.play.worlds import PlayedWorld, Worlds
from pipeline.config import PlayConfig
from tests.play_socket import Page

RIGHT = 2
CONFIG = PlayConfig(maskgit_steps=2, token_temperature=0, max_sessions=2, fps=50)


@pytest.fixture
def starts(ring_world):
    return [StartFrame(ring_world.pictures[offset].numpy(), f"clip-{offset}", 0) for offset in (10, 70)]


@pytest.fixture
def hints():
    measured = {"code": RIGHT, "label": "view moves right", "symbol": "→", "right": 4.0, "down": 0.0}
    measured["true_actions"] = {"right": 0.9, "jump": 0.1}
    return WorldHints("", key_hints([measured]))


@pytest.fixture
def played(ring_world, starts, hints):
    return PlayedWorld(ring_world, Starts(ring_world, starts), hints)


@pytest.fixture
def serve():
    """Return a client of a new server; settings of play by name."""
    with contextlib.ExitStack() as stack:

        def serve(worlds, **settings):
            worlds = Worlds(worlds) if isinstance(worlds, PlayedWorld) else worlds
            app = worlds_app(worlds, dataclasses.replace(CONFIG, **settings))
            return stack.enter_context(TestClient(app, base_url="http://127.0.0.1:8000"))

        yield serve


@pytest.fixture
def client(serve, played):
    return serve(played)


@pytest.fixture
def connect():
    """Return a page that is connected to a client's server."""

    @contextlib.contextmanager
    def connect(client):
        with client.websocket_connect("/api/play") as socket:
            yield Page(socket.send_text, socket.receive_bytes)

    return connect


@pytest.fixture
def page(client, connect):
    with connect(client) as page:
        yield page
