"""Logging is silent by default, says more with -v, and is JSON lines where asked."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from assets.logs import PACKAGES, json_wanted, set_up_logging
from pipeline.progress import Progress, show_progress_lines


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in PACKAGES]
    before = [(list(logger.handlers), logger.propagate, logger.level) for logger in loggers]
    yield
    for logger, (handlers, propagate, level) in zip(loggers, before, strict=True):
        logger.handlers[:], logger.propagate = handlers, propagate
        logger.setLevel(level)
    show_progress_lines(True)


def logged(verbose: int, *, as_json: bool = False) -> tuple[str, str]:
    """What a stage of two items writes: its log, and its progress lines."""
    log, lines = io.StringIO(), io.StringIO()
    set_up_logging(verbose, as_json=as_json, stream=log)
    with Progress("clips", total=2, unit="videos", stream=lines) as progress:
        progress.advance(note="a")
        progress.advance(note="b")
    return log.getvalue(), lines.getvalue()


@pytest.mark.parametrize(("verbose", "records"), [(0, 0), (1, 1), (2, 3), (5, 3)])
def test_stages_are_logged_with_v_and_items_with_vv(verbose: int, records: int) -> None:
    log, lines = logged(verbose)
    assert len(log.splitlines()) == records
    assert lines.endswith(" s\n")


def test_json_lines_hold_the_facts_and_replace_the_progress_lines() -> None:
    log, lines = logged(0, as_json=True)
    record: dict[str, Any] = json.loads(log)
    assert {name: record[name] for name in ("level", "logger", "stage", "done", "total")} == {
        "level": "INFO", "logger": "pipeline.progress", "stage": "clips", "done": 2, "total": 2
    }  # fmt: skip
    assert lines == ""


def test_an_error_is_one_line_of_json_with_its_traceback() -> None:
    log = io.StringIO()
    set_up_logging(as_json=True, stream=log)
    try:
        raise ValueError("two\nlines")
    except ValueError:
        logging.getLogger("assets.cli").exception("failed")
    (line,) = log.getvalue().splitlines()
    assert "ValueError: two\nlines" in json.loads(line)["traceback"]


def test_json_is_asked_for_by_the_option_or_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LAMPWORKS_LOG", raising=False)
    assert not json_wanted(False)
    assert json_wanted(True)
    monkeypatch.setenv("LAMPWORKS_LOG", "json")
    assert json_wanted(False)
