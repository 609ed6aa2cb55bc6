from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.conftest import pytest_ignore_collect
from tests.order import FAST, SLOW, longest_first

REPOSITORY = Path(__file__).parents[2]


def test_the_files_that_are_begun_first_are_there() -> None:
    missing = {name for name in {*FAST, *SLOW} if not (REPOSITORY / name).is_file()}
    assert missing == set(), "a file was moved: name it anew in tests/order.py"
    assert {name for name in SLOW if "mark.slow" not in (REPOSITORY / name).read_text("utf-8")} == set()

    slow = {path.relative_to(REPOSITORY).as_posix() for path in (REPOSITORY / "tests" / "slow").glob("test_*.py")}
    assert slow - SLOW.keys() == set(), "name a file of slow tests, with its seconds, in tests/order.py"


def test_files_of_long_tests_come_first_and_those_of_a_file_stay_together() -> None:
    names = ["a.py::1", "a.py::2", "long.py::2", "long.py::1", "b.py::1", "b.py::2", "b.py::3"]
    items: list[Any] = [SimpleNamespace(nodeid=name) for name in names]
    longest_first(items, {"long.py": 9.0})
    assert [item.nodeid for item in items] == [*names[2:4], *names[4:], *names[:2]]


@pytest.mark.parametrize(
    ("suite", "path", "left_alone"),
    [
        ("slow", "tests/slow/test_oracle.py", False),
        ("slow", "tests/unit/test_lock.py", True),
        ("slow", "tests/unit", False),
        ("not slow", "tests/slow/test_oracle.py", True),
        ("not slow", "tests/unit/test_lock.py", False),
        ("slow or browser", "tests/unit/test_lock.py", False),
    ],
)
def test_files_without_a_test_of_the_suite_are_not_imported(suite: str, path: str, left_alone: bool) -> None:
    config: Any = SimpleNamespace(option=SimpleNamespace(markexpr=suite))
    assert bool(pytest_ignore_collect(REPOSITORY / path, config)) is left_alone


def test_every_test_of_the_folder_of_slow_ones_is_marked() -> None:
    # as a whole file: the folder is left alone by `make test`
    for path in (REPOSITORY / "tests" / "slow").glob("test_*.py"):
        text = path.read_text("utf-8")
        marked = text.count("mark.slow") >= text.count("\ndef test_") or "pytestmark" in text
        assert marked, f"{path.name} has a test that neither suite runs"


def test_a_file_of_slow_tests_says_so_itself() -> None:
    # a mark that a file had from another one would be seen by no search of its text
    modules = {*(REPOSITORY / "tests").rglob("*.py")} - {*(REPOSITORY / "tests").rglob("test_*.py")}
    assert [path.name for path in modules if "mark.slow" in path.read_text("utf-8")] == ["conftest.py"]
