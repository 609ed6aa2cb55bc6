"""`lampworks bench s3`: requests of each stage to an S3 store, per batch and per clip."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys

from pipeline.errors import UserError
from pipeline.job import BatchJob

_VIDEOS, _LEAST = 8, 4
_SECONDS = 13


def run_s3(args: argparse.Namespace) -> int:
    """Count and print."""
    from classifier.decision.decide import decide
    from classifier.embedding.embed import embed_clips
    from pipeline.bench.s3_stages import Stage, count_requests
    from pipeline.inspect.status import status
    from pipeline.shards.write import write_shards

    videos = _VIDEOS if args.videos is None else args.videos
    if videos < _LEAST:
        raise UserError(f"--videos = {videos}: must be at least {_LEAST}: fewer films give no validation set")
    later: list[tuple[str, Stage]] = [
        ("embeddings", embed_clips),
        ("decision", decide),
        ("shards", write_shards),
        ("status", lambda job: status(job.store, job.config)),
        ("takedown of a video", _take_one_down),
    ]
    found = count_requests(videos, _SECONDS, later, lambda text: print(text, file=sys.stderr))
    if args.json:
        print(json.dumps(dataclasses.asdict(found)))
        return 0
    print(f"one batch of {found.videos} videos, {found.clips} clips, on an S3 server on loopback; requests:")
    print(f"  {'stage':20}{'all':>7}{'writes':>8}{'a video':>9}{'a clip':>8}{'MB sent':>9}{'MB read':>9}")
    for one in found.stages:
        print(
            f"  {one.stage:20}{one.total:7}{one.writes:8}{one.total / found.videos:9.1f}{one.total / found.clips:8.2f}"
            f"{one.bytes_sent / 1e6:9.2f}{one.bytes_received / 1e6:9.2f}"
        )
    print("  by operation, and what it was of (blobs; log and rows of tables):")
    for one in found.stages:
        told = ", ".join(f"{number} {name.replace(', ', ' of ')}" for name, number in one.by_operation.items())
        print(f"    {one.stage}: {told or 'none'}")
    return 0


def _take_one_down(job: BatchJob) -> None:
    from pipeline.takedown.takedown import take_down
    from pipeline.takedown.targets import find_target

    receipt = take_down(job, find_target(job.store, "film-00000.mp4"), "to count its requests")
    assert receipt.finished, receipt.left
