"""`lampworks export world.tar` and `lampworks play world.tar`: a world goes to a machine that has no root."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from websockets.sync.client import connect

from assets.cli.main import main
from assets.settings import load_settings, save_config
from pipeline.config import parse_overrides
from pipeline.storage.store import Store
from tests.packable import packable_store
from tests.play_socket import Page

KEYS = (0, 1, 2, 2, 1)


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Store:
    for name in list(os.environ):
        if name.startswith(("LAMPWORKS_", "DAGSTER_")):
            monkeypatch.delenv(name)
    store = packable_store(tmp_path / "the root")
    settings = ["play.maskgit_steps=2", "play.token_temperature=1.0", "training.dtype=fp32", "training.device=cpu"]
    save_config(load_settings(store.root, overrides=parse_overrides(settings)))
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    return store


def _played(page: Page) -> list[bytes]:
    page.start()
    frames = [page.pictures[0]]
    for key in KEYS:
        page.act(key)
        frames.append(page.pictures[0])
    return frames


def _frames(monkeypatch: pytest.MonkeyPatch, *command: str) -> list[bytes]:
    """Run a command that serves the page, play there, and return the frames."""
    frames: list[bytes] = []

    def run(app: Any, listening: Any) -> None:
        address = f"127.0.0.1:{listening.getsockname()[1]}"
        with (
            TestClient(app, base_url=f"http://{address}") as client,
            client.websocket_connect(f"ws://{address}/api/play") as socket,
        ):
            frames.extend(_played(Page(socket.send_text, socket.receive_bytes)))

    monkeypatch.setattr("assets.cli.server.run_uvicorn", run)
    assert main([*command, "--port", "0"]) == 0
    return frames


def test_an_exported_world_plays_the_same_frames_where_there_is_no_root(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = _frames(monkeypatch, "play", "--root", store.root, "--model", "world")
    for name in ("world.tar", "folder/"):
        assert main(["export", name, "--model", "wor", "--root", store.root]) == 0
        told = capsys.readouterr().out
        assert f"world world written to {name.rstrip('/')}" in told
        assert f"`lampworks play {name.rstrip('/')}`" in told, "the advice is what the rest of this test does"
    shutil.rmtree(store.root)
    assert _frames(monkeypatch, "play", "world.tar") == wanted
    assert _frames(monkeypatch, "play", "folder") == wanted
    assert sorted(path.name for path in Path().iterdir()) == ["folder", "world.tar"], "nothing is written beside it"
    told = capsys.readouterr().err
    assert "trained on 1 clips" in told
    assert "play at http://127.0.0.1:" in told


def test_a_packed_world_takes_no_root_and_a_root_is_no_packed_world(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["play", "world.tar", "--root", store.root, "--model", "x"]) == 2
    assert "leave --root, --model out" in capsys.readouterr().err
    assert main(["play", store.root]) == 2
    assert "is a root, not a packed world: play it with `lampworks play --root" in capsys.readouterr().err
    assert main(["play", "world.tar"]) == 2
    assert "world.tar is not there" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_another_process_in_a_folder_without_a_root_plays_the_same_frames(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = _frames(monkeypatch, "play", "--root", store.root, "--model", "world")
    assert main(["export", "world.tar", "--model", "world", "--root", store.root]) == 0
    shutil.rmtree(store.root)
    code = f"import sys; sys.path[:] = {sys.path!r}; from assets.cli.main import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "play", "world.tar", "--port", "0"]
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path / "empty"), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert process.stderr is not None
            lines = (re.search(r"127\.0\.0\.1:\d+", line) for line in process.stderr)
            url = next(found[0] for found in lines if found)
            with connect(f"ws://{url}/api/play") as socket:
                assert _played(Page(socket.send, lambda: bytes(socket.recv(timeout=60)))) == wanted
        finally:
            process.terminate()
    assert sorted(path.name for path in Path().iterdir()) == ["world.tar"]
