"""Fixtures that several parts share: stores in a folder and on a loopback S3, tiny videos, a whole small root."""

from __future__ import annotations

import functools
import gc
import logging
import os
import signal
import sys
from collections.abc import Callable, Generator, Iterator
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
from tests.order import FAST, SLOW, longest_first

if TYPE_CHECKING:
    from tests.laws.stages import World


# a limit of milliseconds per example fails on a busy machine and says nothing about the code
hypothesis.settings.register_profile("without-deadlines", deadline=None)
hypothesis.settings.load_profile("without-deadlines")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Let the garbage collector look at none of the million objects that imports make, neither then nor later."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave files alone that hold no test of the suite: to import them all takes each process many seconds."""
    wanted = config.option.markexpr
    if collection_path.suffix != ".py" or wanted not in {"slow", "not slow"}:
        return None
    if wanted == "slow":
        return "mark.slow" not in collection_path.read_text("utf-8") or None
    return collection_path.parent.name == "slow" or None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with the longest files where several processes share the work."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        longest_first(items, SLOW if config.option.markexpr == "slow" else FAST)


HANDLERS = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
"""Of this process before any test, and so before any fixture of a module or of the session."""


@pytest.fixture(autouse=True)
def signals_as_before() -> Iterator[None]:
    """Give SIGTERM and SIGINT back: Dagster's commands keep their handlers, which a later test would meet.

    Before the test too, because a fixture of a module may have run such a command.
    """
    _give_signals_back()
    yield
    _give_signals_back()


def _give_signals_back() -> None:
    for number, handler in HANDLERS.items():
        if signal.getsignal(number) is not handler:
            signal.signal(number, handler)


@pytest.fixture(scope="session", autouse=True)
def history_of_schemas_read_once() -> Iterator[None]:
    """Read the history of Dagster's database schemas once: alembic imports its 60 files at every opening and run."""
    if "dagster" not in sys.modules:
        yield
        return
    from alembic.script import ScriptDirectory

    with pytest.MonkeyPatch.context() as patch:
        # Dagster keeps one configuration per kind of database, so there are as few histories
        patch.setattr(ScriptDirectory, "from_config", functools.cache(ScriptDirectory.from_config))
        yield


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
    """Videos, and a root in which every stage ran once, one for all processes of tests; tests work on copies."""
    from tests.laws.stages import World  # all networks and stages: most tests need none

    ours = tmp_path_factory.getbasetemp()
    return World((ours.parent if "PYTEST_XDIST_WORKER" in os.environ else ours) / "world")


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
