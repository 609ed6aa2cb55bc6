"""Group `dataset`: the kept clips as WebDataset shards: train, val and test."""

import hashlib
from collections import Counter
from collections.abc import Mapping
from typing import Any

import dagster as dg
import pyarrow as pa

from assets.graph.checks import check_specs, verdict
from assets.graph.clips import near_duplicates
from assets.graph.context import Result, Work, bars, materialized, table, working
from assets.graph.curate import curated_clips
from assets.graph.ownership import OWNERS
from assets.graph.resources import Lampworks
from pipeline.storage.arrow import counts, pc, rows_with

MOST_READ = 64
"""Tars that the check reads again, spread over all of them."""


@dg.asset(
    owners=OWNERS,
    code_version="1",
    group_name="dataset",
    deps=[curated_clips, near_duplicates],
    kinds={"webdataset", "deltalake"},
    check_specs=check_specs("training_shards"),
)
def training_shards(context: dg.AssetExecutionContext, lampworks: Lampworks) -> Result:
    """One row is one tar of kept clips (`<clip_id>.mp4` and `.json`), in `shards/<version>/{train,val,test}/`.

    Sources are divided between train, val and test by a hash that never moves. The version is a hash of what is inside:
    the same clips give the same bytes. `manifest.json` is written last, for readers without Delta.
    """
    with working(context, lampworks) as work:
        from pipeline.shards.read import current_shards
        from pipeline.shards.write import write_shards

        write_shards(work.job)
        version = current_shards(work.store)
        assert version is not None
        return _sharded(work, version)


def _sharded(work: Work, version: str) -> Result:
    from pipeline.shards.manifest import card_keys

    rows = work.store.read("shards", where=pc.field("version") == version).sort_by("path").to_pylist()
    samples: Counter[str] = Counter()
    for row in rows:
        samples[row["split"]] += row["samples"]
    kept = work.store.read("curated", ["clip_id", "video_id", "split"], pc.field("decision") == "keep")
    # sets of older versions have none
    card = work.store.read_blob(key).decode() if work.store.exists(key := card_keys(version)[0]) else "none"
    return materialized(
        sum(samples.values()),
        version,
        [_checksums(work, rows, samples, counts(kept["split"])), _taken_down(work, kept), _leak(work, kept)],
        {
            "version": version,
            "train samples": samples["train"],
            "val samples": samples["val"],
            "test samples": samples["test"],
            "megabytes": round(sum(row["bytes"] for row in rows) / 1e6, 2),
            "samples by split": bars(dict(samples), "samples by split"),
            "data card": dg.MetadataValue.md(card),
            "shards": table([{name: row[name] for name in ("path", "samples", "bytes", "sha256")} for row in rows]),
            "path": dg.MetadataValue.path(work.store.url(f"shards/{version}")),
        },
    )


def _checksums(
    work: Work, rows: list[dict[str, Any]], samples: Mapping[str, int], expected: Mapping[str, int]
) -> dg.AssetCheckResult:
    # every tar was hashed as it was written; reading terabytes again would cost more than writing them
    read = rows[:: max(1, len(rows) // MOST_READ)][:MOST_READ]
    wrong = [row["path"] for row in read if _digest(work, row["path"]) != row["sha256"]]
    told = ", ".join(f"{count} {split}" for split, count in sorted(samples.items()))
    return verdict(
        "training_shards",
        "counts_and_checksums",
        not wrong and dict(expected) == dict(samples),
        f"{len(read)} of {len(rows)} tars read again, {len(wrong)} differ; {sum(expected.values())} kept clips: {told}",
    )


def _digest(work: Work, key: str) -> str:
    digest = hashlib.sha256()
    with work.store.local_file(key) as path, path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def _taken_down(work: Work, kept: pa.Table) -> dg.AssetCheckResult:
    from pipeline.storage.takedown import taken_down

    inside = rows_with(kept, "video_id", taken_down(work.store).hidden_videos(work.store))
    return verdict("training_shards", "no_taken_down", not len(inside), f"{len(inside)} clips that were taken down")


def _leak(work: Work, kept: pa.Table) -> dg.AssetCheckResult:
    from pipeline.shards.splits import groups_of

    videos = work.store.read("videos", ["video_id", "extractor", "channel_id"])
    sources = videos.append_column("source", groups_of(videos))
    copies = work.store.read("duplicates", ["clip_id", "representative"])
    known = kept.join(sources.select(["video_id", "source"]), "video_id").join(copies, "clip_id")
    leaks = []
    for column in ("source", "representative"):
        splits = known.group_by(column).aggregate([("split", "count_distinct")])
        leaks += [
            str(name) for name in splits.filter(pc.greater(splits["split_count_distinct"], 1))[column].to_pylist()
        ]
    return verdict(
        "training_shards",
        "no_leak",
        not leaks,
        f"{len(leaks)} sources or duplicate groups lie in two splits",
        {"first": sorted(leaks)[0]} if leaks else None,
    )
