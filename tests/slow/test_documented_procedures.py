"""The handbook and the tutorials do what they say: every command of theirs is run, and what it prints is compared."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.console import follow

DOCS = Path(__file__).parents[2] / "docs"
HANDBOOK = (DOCS / "handbook.md").read_text("utf-8")
REHEARSAL, _, OTHERS = HANDBOOK.partition("\n## 2.")
ROOT = "export LAMPWORKS_ROOT=$PWD/root"
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1700)]


@pytest.fixture(scope="module")
def rehearsed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Path]:
    """Return a function that copies the root of the handbook's first procedure into a folder."""
    folder = tmp_path_factory.mktemp("rehearsal")
    follow(REHEARSAL, "handbook.md", folder, timeout=1500)

    def copied(to: Path) -> Path:
        shutil.copytree(folder / "root", to / "root")
        return to

    return copied


def test_the_handbooks_other_procedures_follow_from_its_first(
    rehearsed: Callable[[Path], Path], tmp_path: Path
) -> None:
    follow(f"```console\n$ {ROOT}\n```\n{OTHERS}", "handbook.md", rehearsed(tmp_path), timeout=1500)


@pytest.mark.parametrize("name", ["tutorial-data.md", "tutorial-training.md"])
def test_a_tutorial_does_what_it_says(rehearsed: Callable[[Path], Path], tmp_path: Path, name: str) -> None:
    follow((DOCS / name).read_text("utf-8"), name, rehearsed(tmp_path), timeout=900)
