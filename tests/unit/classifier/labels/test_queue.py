"""The labelling queue: sources take turns, rubbish is rare, copies come last, and the seed alone orders it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from classifier.labels.queue import QUEUE_KEY, label_queue, load_queue, queue_is_current
from pipeline.storage.takedown import request_takedown


def videos_of(queue) -> list[str]:
    return [item["clip_id"].split("-")[0] for item in queue]


def test_sources_take_turns_and_none_gives_more_than_its_share(store, config, pool_writer):
    for name in ("a", "b", "c"):
        pool_writer.add(name, "g" * 6)
    config = replace(config, labels=replace(config.labels, max_per_source=4))
    report = label_queue(store, config)
    assert (report.size, report.sources, report.strata) == (12, 3, {"random": 12, "flagged": 0, "duplicate": 0})
    names = videos_of(load_queue(store))
    assert all(set(names[i : i + 3]) == {"a", "b", "c"} for i in range(0, 12, 3))


def test_a_channel_is_one_source(store, config, pool_writer):
    for name in ("a", "b"):
        pool_writer.add(name, "ggg", channel_id="one")
    config = replace(config, labels=replace(config.labels, max_per_source=2))
    assert label_queue(store, config).size == 2


def test_flagged_clips_are_rare_and_copies_come_last(store, config, pool_writer):
    clips = pool_writer.add("a", "g" * 20)
    pool_writer.add("b", "g" * 6, flags={i: ["still"] for i in range(6)})
    store.append("duplicates", [{"clip_id": clips[0], "representative": clips[1], "is_representative": False}])
    label_queue(store, config)
    streams = [item["stream"] for item in load_queue(store)]
    assert streams[:21].count("flagged") == 2
    assert streams[-1] == "duplicate"
    assert load_queue(store)[-1]["clip_id"] == clips[0]
    assert len(streams) == 26


def test_the_queue_is_written_when_it_changes_and_only_then(store, config, pool_writer):
    pool_writer.add("a", "ggg")
    assert not queue_is_current(store, config)
    assert label_queue(store, config).written
    path, before = Path(store.url(QUEUE_KEY)), Path(store.url(QUEUE_KEY)).stat().st_mtime_ns
    assert queue_is_current(store, config)
    assert not label_queue(store, config).written
    assert path.stat().st_mtime_ns == before
    other = replace(config, labels=replace(config.labels, seed=5))
    first = load_queue(store)
    assert label_queue(store, other).written
    assert sorted(map(json.dumps, load_queue(store))) == sorted(map(json.dumps, first))
    request_takedown(store, "video", "a", "asked")
    assert not queue_is_current(store, config)
    assert label_queue(store, config).size == 0


def test_the_queue_is_cut_to_its_size(store, config, pool_writer):
    pool_writer.add("a", "g" * 9)
    config = replace(config, labels=replace(config.labels, queue_size=5))
    assert label_queue(store, config).size == 5
