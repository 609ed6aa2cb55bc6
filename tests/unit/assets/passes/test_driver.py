"""What a pass does that launches no run."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from assets.passes.driver import PassOptions, full_pass
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
