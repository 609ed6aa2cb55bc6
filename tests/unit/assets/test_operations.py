"""docs/operations.md names settings, checks and figures that there are."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from assets.definitions import defs
from assets.graph.checks import CHECKS
from pipeline.config import Config

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs" / "operations.md").read_text("utf-8")


def test_every_setting_that_the_page_names_is_one() -> None:
    sections = {field.name: field for field in dataclasses.fields(Config)}
    config = Config()
    named = set(re.findall(r"`(source|download|rules|engine)\.(\w+)", TEXT))
    assert len(named) > 10
    for section, name in named:
        assert section in sections
        assert hasattr(getattr(config, section), name), f"{section}.{name}"


def test_the_checks_of_the_collection_are_all_explained_and_blocking_ones_are_red() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| [^|]+\| (red|yellow)\b", TEXT, re.MULTILINE))
    every = {name: check for checks in CHECKS.values() for name, check in checks.items()}
    assert CHECKS["search_results"].keys() | CHECKS["raw_videos"].keys() <= rows.keys() <= every.keys()
    for name, (blocks, _) in ((name, every[name]) for name in rows):
        # a share of failures above its limit fails the run itself
        assert rows[name] == ("red" if blocks or name == "decodable_share" else "yellow"), name


def test_sensor_and_schedule_have_the_names_that_the_page_gives_them() -> None:
    for one in (*defs.sensors, *defs.schedules):
        assert f"`{one.name}`" in TEXT


@pytest.mark.parametrize("page", ["docs/architecture.md", "README.md"])
def test_the_page_can_be_found(page: str) -> None:
    assert "operations.md" in (ROOT / page).read_text("utf-8")


def test_every_page_that_it_links_to_is_there() -> None:
    for name in re.findall(r"\]\((\w+\.md)\)", TEXT):
        assert (ROOT / "docs" / name).is_file(), name
