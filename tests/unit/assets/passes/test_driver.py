"""What a pass does that launches no run."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal

import pytest

from assets.passes.driver import PassOptions, full_pass, leave_out_embeddings
from assets.passes.runner import Runner
from assets.passes.selection import resolve_selection
from assets.settings import Settings, load_settings
from pipeline.storage.home import home_of
from tests.synthetic import CONFIG, finished_store


def test_a_pass_that_finds_nothing_due_remembers_the_settings_that_it_was_given(tmp_path: Path) -> None:
    store = finished_store(tmp_path)
    told = dataclasses.replace(CONFIG, play=dataclasses.replace(CONFIG.play, top_k=7))
    settings = Settings(store, told, home_of(store))
    options = PassOptions(report=False)
    result = full_pass(settings, ["world_model"], on_progress=lambda text: None, options=options)
    assert result.runs == []
    assert load_settings(str(tmp_path)).config.play.top_k == 7
    before = settings.config_path.stat().st_mtime_ns
    full_pass(settings, ["world_model"], on_progress=lambda text: None, options=options)
    assert settings.config_path.stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("mode", "enabled", "selected", "embeds"),
    [
        ("classifier", True, None, True),
        ("classifier", False, None, False),
        ("flags", True, None, False),
        ("recipe", True, ["+curated_clips"], False),
        ("flags", True, ["clip_embeddings"], True),
        ("flags", False, ["clip_embeddings"], False),
    ],
)
def test_clips_are_embedded_where_something_reads_it_or_it_is_named(
    tmp_path: Path, mode: Literal["classifier", "flags", "recipe"], enabled: bool, selected: list[str], embeds: bool
) -> None:
    config = dataclasses.replace(
        CONFIG,
        decision=dataclasses.replace(CONFIG.decision, mode=mode),
        embedding=dataclasses.replace(CONFIG.embedding, enabled=enabled),
    )
    settings = dataclasses.replace(load_settings(str(tmp_path / "root")), config=config)
    with Runner(settings, resolve_selection(selected), print) as runner:
        leave_out_embeddings(runner)
        assert runner.wants("clip_embeddings") == embeds
