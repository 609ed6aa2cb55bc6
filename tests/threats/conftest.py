"""A whole small root for the attacks, made once by the real stages; every test attacks a copy."""

from __future__ import annotations

import contextlib
import io
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from assets.cli.main import main
from assets.settings import Settings, load_settings, save_config
from pipeline.storage.home import home_of
from pipeline.storage.store import Store
from tests.laws.stages import World


@pytest.fixture(scope="session")
def whole(world: World, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A root in which every stage ran once, which remembers its settings."""
    store = Store(shutil.copytree(world.finished.root, tmp_path_factory.mktemp("whole") / "root"))
    save_config(Settings(store, world.config, home_of(store)))
    return store


@pytest.fixture
def root(whole: Store, tmp_path: Path) -> Store:
    """A copy of the whole root."""
    return Store(shutil.copytree(whole.root, tmp_path / "root"))


@pytest.fixture
def settings(root: Store) -> Settings:
    """The settings of the copy."""
    return load_settings(root.root)


Lampworks = Callable[..., tuple[int, str]]


@pytest.fixture
def lampworks(root: Store) -> Lampworks:
    """Run a command on the copy, in this process; return its exit code and all that it printed."""

    def run(*arguments: str) -> tuple[int, str]:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            code = main([*arguments, "--root", root.root])
        assert "Traceback" not in printed.getvalue(), printed.getvalue()
        return code, printed.getvalue()

    return run
