"""Fixtures that several parts share: stores in a folder and on a loopback S3, tiny videos, a whole small root."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

from assets.logs import PACKAGES
from pipeline.bench.s3_counts import S3Proxy
from pipeline.bench.s3_server import s3_server
from pipeline.storage.store import Store
from tests.engines import use_inline_engine
from tests.media import write_video

if TYPE_CHECKING:
    from tests.laws.stages import World


# a limit of milliseconds per example fails on a busy machine and says nothing about the code
hypothesis.settings.register_profile("without-deadlines", deadline=None)
hypothesis.settings.load_profile("without-deadlines")


@pytest.fixture(autouse=True)
def signals_as_before() -> Iterator[None]:
    """Give SIGTERM and SIGINT back: Dagster's commands keep their handlers, which a later test would meet."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        if signal.getsignal(number) is not handler:
            signal.signal(number, handler)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store on an empty folder."""
    return Store(tmp_path / "root")


@pytest.fixture(scope="session")
def s3_options() -> Iterator[dict[str, str]]:
    """Storage options of an S3 server on loopback that has one bucket, `lampworks-test`."""
    pytest.importorskip("moto", reason="the S3 tests need the dev extra: moto")
    with s3_server("lampworks-test") as options:
        yield options


@pytest.fixture(scope="session")
def s3_proxy(s3_options: dict[str, str]) -> Iterator[S3Proxy]:
    """A proxy in front of that server, which counts requests and makes faults; a test clears both first."""
    with S3Proxy(s3_options["endpoint_url"]) as running:
        yield running


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Videos, and a root in which every stage ran once; tests work on copies."""
    from tests.laws.stages import World  # all networks and stages: most tests need none

    return World(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="session")
def make_video() -> Callable[..., Path]:
    """Return the writer of tiny real videos, `tests.media.write_video`."""
    return write_video


@pytest.fixture
def package_logs(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """The records of our packages, also after a command in this process has sent them to its own stderr."""
    for name in PACKAGES:
        monkeypatch.setattr(logging.getLogger(name), "handlers", [])
        monkeypatch.setattr(logging.getLogger(name), "propagate", True)
    return caplog


@pytest.fixture
def inline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stages work in this process: for tests of what they do, not of how the work is spread."""
    use_inline_engine(monkeypatch)
