"""What `lampworks run --plan` says of downloads and cuts."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from assets.passes.plan import format_plan, plan_pass
from assets.settings import Settings
from pipeline.storage.arrow import pc
from pipeline.storage.home import home_of
from tests.synthetic import CONFIG, finished_store


def test_videos_that_are_there_and_need_other_clips_are_planned_as_cuts_without_a_byte_to_fetch(tmp_path: Path) -> None:
    store = finished_store(tmp_path)
    changed = dataclasses.replace(CONFIG, clips=dataclasses.replace(CONFIG.clips, crf=CONFIG.clips.crf + 1))
    before, plan = (plan_pass(Settings(store, config, home_of(store)), ["clips"]) for config in (CONFIG, changed))
    downloaded = store.read("downloads", where=pc.field("state") == "ok")["video_id"].to_pylist()
    assert (plan.videos, plan.fetch_bytes) == (before.videos, before.fetch_bytes)
    assert before.fetched < plan.fetched == len(set(downloaded))
    assert f"{plan.videos} to fetch and {plan.fetched} that are there to cut" in format_plan(plan)
