"""What a terminal is told of the sites that rest and of videos rejected at their download."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.inspect.status import status
from pipeline.inspect.status_text import format_status
from tests.synthetic import CONFIG, finished_store


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return status(finished_store(tmp_path_factory.mktemp("text") / "root"), CONFIG)


def rest(state: str, refusals: int = 1, message: str = "Sign in to confirm you're not a bot") -> dict[str, Any]:
    return {
        "state": state, "refusals": refusals, "error_class": "source_blocked", "message": message,
        "next_try_at": "2026-11-20T14:05:30.123456+00:00",
    }  # fmt: skip


def lines_about_sites(found: dict[str, Any], sites: dict[str, Any]) -> list[str]:
    lines = format_status({**found, "sites": sites}).splitlines()
    without = format_status({**found, "sites": {}}).splitlines()
    return [line for line in lines if line not in without]


def test_a_site_that_rests_is_named_with_its_reason_and_the_time_to_try_again(found: dict[str, Any]) -> None:
    (line,) = lines_about_sites(found, {"youtube": rest("open", 3), "a.example": rest("closed")})
    assert line == (
        "sites        youtube rests until 2026-11-20 14:05 UTC (3 refusals, last source_blocked: Sign in to confirm "
        "you're not a bot)"
    )


def test_a_site_whose_rest_is_over_is_said_to_be_asked_next(found: dict[str, Any]) -> None:
    (line,) = lines_about_sites(found, {"b.example": rest("half_open")})
    assert "b.example rested; the next run asks with one video (1 refusal, last source_blocked" in line


def test_sites_that_answer_are_no_news(found: dict[str, Any]) -> None:
    assert lines_about_sites(found, {"a.example": rest("closed")}) == []


def test_what_a_site_said_cannot_drive_the_terminal_and_many_sites_do_not_fill_it(found: dict[str, Any]) -> None:
    sites = {f"{number:03d}.example": rest("open", message="\x1b[2J" + "very long " * 90) for number in range(40)}
    lines = lines_about_sites(found, sites)
    assert len(lines) == 13
    assert lines[-1].strip() == "and 28 more sites"
    assert not any("\x1b" in line or len(line) > 240 for line in lines)


def test_videos_that_their_download_rejected_are_counted_with_their_class(found: dict[str, Any]) -> None:
    downloads = {**found["downloads"], "rejected": {"opt_out": 2}}
    text = format_status({**found, "downloads": downloads})
    assert "2 rejected" in next(line for line in text.splitlines() if line.startswith("downloads"))
    assert "     2  rejected: opt_out" in text
    plain = {**found, "downloads": {**found["downloads"], "rejected": {}}}
    assert "rejected: opt_out" not in format_status(plain)
