"""Files, rooms and commands that the documentation names exist, and its picture of the code shows every room."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import pytest

from assets.cli.main import parser

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
PACKAGES = ("assets", "classifier", "models", "pipeline")
PATHS = re.compile(rf"(?<![\w/.-])(?:{'|'.join(PACKAGES)}|tests|docs)/[\w/.-]*\w/?")
TESTS = re.compile(r"(tests/[\w/]+\.py)::(\w+)")
COMMANDS = re.compile(r"(?:`|^|\n\s*)(?:\.venv/bin/)?lampworks ([a-z][a-z-]*)")
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def commands() -> set[str]:
    """Return the commands that the parser knows."""
    [names] = [action.choices for action in parser()._actions if isinstance(action, argparse._SubParsersAction)]
    return set(names)


def rooms(package: str) -> set[str]:
    """Return the folders and modules of a package, as the picture writes them: `clips/` and `rules.py`."""
    folders = {f"{path.parent.name}/" for path in (ROOT / package).glob("*/__init__.py")}
    return folders | {path.name for path in (ROOT / package).glob("*.py")} - {"__init__.py"}


def drawn() -> dict[str, set[str]]:
    """Return the rooms of each package in the picture of docs/architecture.md."""
    picture = re.search(
        r"## The house.*?```\n(.*?)```", (ROOT / "docs" / "architecture.md").read_text("utf-8"), re.DOTALL
    )
    assert picture is not None
    found: dict[str, set[str]] = {}
    package = ""
    for line in picture[1].splitlines():
        start = re.match(r"(\w+)/ ", line)
        package = start[1] if start else package
        rest = line[start.end() :] if start else line
        found.setdefault(package, set()).update(re.findall(r"(?<![\w/])\w+(?:/|\.py)", rest))
    return found


@every_page
def test_every_file_that_a_page_names_exists(page: Path) -> None:
    named = {path.rstrip(".") for path in PATHS.findall(page.read_text("utf-8"))}
    assert {path for path in named if not (ROOT / path).exists()} == set()


@every_page
def test_every_test_that_a_page_names_exists(page: Path) -> None:
    named = TESTS.findall(page.read_text("utf-8"))
    missing = [
        f"{path}::{name}"
        for path, name in named
        if not (ROOT / path).is_file() or f"def {name}(" not in (ROOT / path).read_text("utf-8")
    ]
    assert missing == []


@every_page
def test_every_command_that_a_page_shows_exists(page: Path) -> None:
    assert set(COMMANDS.findall(page.read_text("utf-8"))) <= commands()


@pytest.mark.parametrize("command", sorted(commands()))
def test_every_command_is_shown_in_the_documentation(command: str) -> None:
    assert any(command in COMMANDS.findall(page.read_text("utf-8")) for page in PAGES)


@pytest.mark.parametrize("package", PACKAGES)
def test_the_picture_shows_the_rooms_of_a_package_and_no_others(package: str) -> None:
    assert drawn()[package] == rooms(package)
