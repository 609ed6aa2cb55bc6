"""Arrow takes memory that it gives back, in every process that works on a store."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

_SHOWN = "import {module}, pyarrow; print(pyarrow.default_memory_pool().backend_name)"


def backend_of(module: str, **environment: str) -> str:
    """Return the memory that Arrow takes in a process that imports a module of ours first."""
    inherited = {name: value for name, value in os.environ.items() if name != "ARROW_DEFAULT_MEMORY_POOL"}
    command = [sys.executable, "-c", _SHOWN.format(module=module)]
    done = subprocess.run(command, env=inherited | environment, capture_output=True, text=True, check=True)
    return done.stdout.split()[-1]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere Arrow may be built without it")
@pytest.mark.parametrize(
    "module", ["assets.cli.options", "classifier.pool", "models.registry", "pipeline.storage.arrow"]
)
def test_whatever_is_imported_first_arrow_takes_memory_that_it_gives_back(module: str) -> None:
    assert backend_of(module) == "jemalloc"


def test_who_names_another_memory_pool_gets_it() -> None:
    assert backend_of("pipeline.storage.arrow", ARROW_DEFAULT_MEMORY_POOL="system") == "system"
