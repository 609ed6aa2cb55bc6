"""What `search_results` shows of a search, and that its blocking check is about verdicts, not about the weather."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import dagster as dg
import numpy as np
import pytest

from assets.graph.collect import rules_hold
from assets.graph.context import Work
from assets.passes.driver import PassOptions, full_pass
from assets.passes.instance import open_instance
from assets.settings import Settings, load_settings
from pipeline.rules import rules_version
from pipeline.storage.store import Store

pytestmark = pytest.mark.filterwarnings("ignore::dagster.BetaWarning", "ignore::dagster.PreviewWarning")
GOOD, BAD = "platformer speedrun any%", "platformer speedrun: the movie"


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name in [name for name in os.environ if name.startswith(("LAMPWORKS_", "DAGSTER_HOME"))]:
        monkeypatch.delenv(name)
    (tmp_path / "videos").mkdir()
    found = load_settings(str(tmp_path / "root"), source=f"folder:{tmp_path}/videos")
    return replace(found, config=replace(found.config, source=replace(found.config.source, apply_rules=True)))


def put(store: Store, config: Any, **columns: Any) -> None:
    row = {
        "video_id": "folder-a", "source": "folder", "title": GOOD, "description": "", "verdict": "kept", "rule": "kept",
        "rules_version": rules_version(config.rules), "batch": "2026w47-0001", "queries": ["x"],
        "found_at": datetime.now(UTC),
    }  # fmt: skip
    store.append("videos", [{**row, **columns}])


def check(settings: Settings) -> dg.AssetCheckResult:
    return rules_hold(Work(cast(Any, None), settings.job()))


def test_verdicts_that_the_rules_give_pass(settings: Settings) -> None:
    put(settings.store, settings.config)
    put(settings.store, settings.config, video_id="folder-b", title=BAD, verdict="rejected", batch=None)
    result = check(settings)
    assert result.passed
    assert result.description == "2 verdicts judged again, 0 differ"


@pytest.mark.parametrize(
    ("title", "verdict", "batch"),
    [(BAD, "kept", None), (GOOD, "rejected", None)],
)
def test_a_verdict_that_the_rules_do_not_give_fails_and_blocks(
    settings: Settings, title: str, verdict: str, batch: str | None
) -> None:
    put(settings.store, settings.config, title=title, verdict=verdict, batch=batch)
    result = check(settings)
    assert not result.passed
    assert result.severity == dg.AssetCheckSeverity.ERROR


def test_a_right_that_was_ignored_fails_also_where_the_words_are_not_asked(settings: Settings) -> None:
    config = replace(settings.config, source=replace(settings.config.source, apply_rules=False, apply_rights=True))
    version = rules_version(config.rules, words=False)
    put(settings.store, config, title="holidays", rules_version=version)
    assert check(replace(settings, config=config)).passed
    put(settings.store, config, video_id="folder-b", live_status="is_live", rules_version=version, batch=None)
    assert not check(replace(settings, config=config)).passed


def test_a_title_that_its_uploader_changed_later_does_not_stop_the_graph(settings: Settings) -> None:
    put(settings.store, settings.config, title=BAD)
    result = check(settings)
    assert result.passed
    assert "1 in batches were kept under a title or a description that has changed since" in str(result.description)


def test_verdicts_of_other_rules_and_pages_that_could_not_be_asked_are_not_judged(settings: Settings) -> None:
    put(settings.store, settings.config, title=BAD, rules_version="older")
    put(settings.store, settings.config, video_id="b", verdict="rejected", rule="no metadata: transient", batch=None)
    assert check(settings).description == "0 verdicts judged again, 0 differ"


def test_a_search_shows_its_queries_its_unknown_licences_and_where_the_spot_check_lies(
    settings: Settings, tmp_path: Path, make_video: Callable[..., Path]
) -> None:
    for name in (GOOD, BAD):
        make_video(tmp_path / "videos" / f"{name.replace(':', '')}.mp4", np.zeros((30, 90, 160, 3), np.uint8), fps=10)
    rules = replace(settings.config.rules, min_duration_s=0.0)
    short = replace(settings, config=replace(settings.config, rules=rules))
    full_pass(short, ["search_results"], on_progress=lambda text: None, options=PassOptions(report=False))
    with open_instance(short.home) as instance:
        event = instance.get_latest_materialization_event(dg.AssetKey("search_results"))
    assert event is not None
    assert event.asset_materialization is not None
    metadata = event.asset_materialization.metadata
    values = {name: getattr(value, "value", None) for name, value in metadata.items()}
    assert {name: values[name] for name in ("found in this search", "new", "kept", "rejected")} == {
        "found in this search": 2, "new": 2, "kept": 1, "rejected": 1
    }  # fmt: skip
    assert values["kept, licence unknown"] == 1
    (query,) = [dict(record.data) for record in cast(Any, metadata["queries"]).records]
    assert (query["found"], query["kept"], query["rejected"], query["new"]) == (2, 1, 1, 2)
    assert Path(str(values["spot check"])).is_file()
