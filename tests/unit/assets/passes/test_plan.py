"""What `lampworks run --plan` says of downloads and cuts."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from assets.passes.plan import format_plan, plan_pass
from assets.settings import Settings
from pipeline.costs.booking import booked
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


def test_a_plan_without_anything_to_fetch_says_what_earlier_batches_cost(tmp_path: Path) -> None:
    store = finished_store(tmp_path)
    settings = Settings(store, CONFIG, home_of(store))
    nothing = dataclasses.replace(plan_pass(settings, ["clips"]), videos=0, fetched=0)
    assert "costs" not in format_plan(nothing)
    with booked(store, CONFIG, "clips", batch="2026w01-0001"):
        pass
    plan = dataclasses.replace(plan_pass(settings, ["clips"]), videos=0, fetched=0)
    heading, costs, table, clips, *_ = format_plan(plan).splitlines()
    assert "nothing to fetch" in heading
    assert costs.split() == ["costs", "of", "earlier", "batches:"]
    assert "per 1,000 h of video" in table
    assert "requests" in table
    assert clips.split()[0] == "clips"
