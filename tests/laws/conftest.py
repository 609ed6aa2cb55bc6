"""The world that the laws are tried on."""

import pytest

from tests.laws.stages import World


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Videos, and a root in which every stage ran once; tests work on copies."""
    return World(tmp_path_factory.mktemp("world"))
