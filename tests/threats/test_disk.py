"""A disk that is full, or that cannot be written: a sentence at any stage, and with room again nothing is missing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.laws.stages import World

pytestmark = [pytest.mark.slow, pytest.mark.timeout(280)]
REPOSITORY = Path(__file__).parents[2]
SMALL = ("unshare", "--user", "--map-root-user", "--mount")
WORKS_READ_ONLY = {"status", "why level-0.mp4"}


@pytest.fixture(scope="module")
def told(world: World, tmp_path_factory: pytest.TempPathFactory) -> list[list[Any]]:
    """Return what each stage and command said; see `tests/threats/disk_stages.py`."""
    folder = tmp_path_factory.mktemp("disk")
    probe = [*SMALL, "mount", "-t", "tmpfs", "tmpfs", str(folder)]
    if shutil.which("unshare") is None or subprocess.run(probe, capture_output=True).returncode:
        pytest.skip("a small disk needs unshare and user namespaces")
    done = subprocess.run(
        [*SMALL, sys.executable, "-m", "tests.threats.disk_stages", str(world.folder), str(folder)],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "TMPDIR": str(folder.parent)},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]


def test_on_a_full_disk_every_stage_says_so_and_with_room_it_goes_on(told: list[list[Any]]) -> None:
    stages = [line for line in told if len(line) == 5]
    assert len(stages) == 9
    failed = 0
    for name, first, again, faults, kept in stages:
        assert "BUG" not in first, (name, first)
        failed += bool(first)
        assert again == "", (name, again)
        assert faults == [], name
        assert kept, name
    # stages that write less than is left succeed at once
    assert failed >= 5


def test_on_a_read_only_root_what_only_reads_works_and_the_rest_names_the_root(told: list[list[Any]]) -> None:
    commands = [line for line in told if len(line) == 3]
    assert len(commands) == 8
    for command, code, output in commands:
        assert "Traceback" not in output, (command, output)
        assert code in ({0} if command in WORKS_READ_ONLY else {1, 2}), (command, code, output)
        if code:
            assert "root" in output, (command, output)
            assert "access" in output, (command, output)
