"""The labelling queue: sources take turns, flagged clips are rare, copies come last, and the seed decides the order."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from classifier.labels.queue import QUEUE_KEY, load_queue, queue_is_current, write_queue
from pipeline.job import Job
from pipeline.storage.takedown import request_takedown


def with_labels(job: Job, **labels: object) -> Job:
    """Return the job with other settings of `labels`."""
    return replace(job, config=replace(job.config, labels=replace(job.config.labels, **labels)))


def videos_of(queue) -> list[str]:
    return [item["clip_id"].split("-")[0] for item in queue]


def test_sources_take_turns_and_none_gives_more_than_its_share(job, pool_writer):
    for name in ("a", "b", "c"):
        pool_writer.add(name, "g" * 6)
    report = write_queue(with_labels(job, max_per_source=4))
    assert (report.size, report.sources, report.strata) == (12, 3, {"random": 12})
    names = videos_of(load_queue(job.store))
    assert all(set(names[i : i + 3]) == {"a", "b", "c"} for i in range(0, 12, 3))


def test_a_channel_is_one_source(job, pool_writer):
    for name in ("a", "b"):
        pool_writer.add(name, "ggg", channel_id="one")
    assert write_queue(with_labels(job, max_per_source=2)).size == 2


def test_flagged_clips_are_rare_and_copies_come_last(job, pool_writer):
    clips = pool_writer.add("a", "g" * 20)
    pool_writer.add("b", "g" * 6, flags={i: ["still"] for i in range(6)})
    job.store.append("duplicates", [{"clip_id": clips[0], "representative": clips[1], "is_representative": False}])
    write_queue(job)
    streams = [item["stream"] for item in load_queue(job.store)]
    # one in ten, evenly among the 19 others
    assert [streams[:12].count("flagged"), streams[:19].count("flagged"), streams[:21].count("flagged")] == [1, 1, 2]
    assert streams[-1] == "duplicate"
    assert load_queue(job.store)[-1]["clip_id"] == clips[0]
    assert len(streams) == 26


def test_the_queue_is_written_when_it_changes_and_only_then(job, pool_writer):
    store, config = job.store, job.config
    pool_writer.add("a", "ggg")
    assert not queue_is_current(store, config)
    assert write_queue(job).written
    path = Path(store.url(QUEUE_KEY))
    before = path.stat().st_mtime_ns
    assert queue_is_current(store, config)
    assert not write_queue(job).written
    assert path.stat().st_mtime_ns == before
    first = load_queue(store)
    assert write_queue(with_labels(job, seed=5)).written
    assert sorted(map(json.dumps, load_queue(store))) == sorted(map(json.dumps, first))
    request_takedown(store, "video", "a", "asked")
    assert not queue_is_current(store, config)
    assert write_queue(job).size == 0


def test_the_queue_is_cut_to_its_size(job, pool_writer):
    pool_writer.add("a", "g" * 9)
    assert write_queue(with_labels(job, queue_size=5)).size == 5
