"""Group `dataset`: the kept clips as WebDataset shards, train and val apart."""

import hashlib
from collections import Counter

import dagster as dg
import pyarrow.compute as pc

from assets.checks import check_specs, verdict
from assets.clips import near_duplicates
from assets.curate import curated_clips
from assets.resources import Lampworks
from assets.work import Result, Work, bars, materialized, table, working


@dg.asset(
    group_name="dataset",
    deps=[curated_clips, near_duplicates],
    kinds={"webdataset", "deltalake"},
    check_specs=check_specs("training_shards"),
)
def training_shards(context: dg.AssetExecutionContext, lampworks: Lampworks) -> Result:
    """One row is one tar of kept clips (`<clip_id>.mp4` and `.json`), in `shards/<version>/{train,val}/`.

    Sources are divided between train and val by a hash that never moves. The version is a hash of what is inside:
    the same clips give the same bytes. `manifest.json` is written last, for readers without Delta.
    """
    with working(context, lampworks) as work:
        from pipeline.shards import current_shards, write_shards

        write_shards(work.store, work.config, listen=work.listen)
        version = current_shards(work.store)
        assert version is not None
        return _sharded(work, version)


def _sharded(work: Work, version: str) -> Result:
    rows = work.store.read("shards", where=pc.field("version") == version).sort_by("path").to_pylist()
    samples: Counter[str] = Counter()
    for row in rows:
        samples[row["split"]] += row["samples"]
    kept = work.store.read("curated", ["clip_id", "video_id", "split"], pc.field("decision") == "keep").to_pylist()
    return materialized(
        sum(samples.values()),
        version,
        [_checksums(work, rows, samples, kept), _taken_down(work, kept), _leak(work, kept)],
        {
            "version": version,
            "train samples": samples["train"],
            "val samples": samples["val"],
            "megabytes": round(sum(row["bytes"] for row in rows) / 1e6, 2),
            "samples by split": bars(dict(samples), "samples by split"),
            "shards": table([{name: row[name] for name in ("path", "samples", "bytes", "sha256")} for row in rows]),
            "path": dg.MetadataValue.path(work.store.url(f"shards/{version}")),
        },
    )


def _checksums(
    work: Work, rows: list[dict[str, object]], samples: Counter[str], kept: list[dict[str, object]]
) -> dg.AssetCheckResult:
    wrong = []
    for row in rows:
        digest = hashlib.sha256()
        with work.store.local_file(str(row["path"])) as path, path.open("rb") as file:
            while piece := file.read(1 << 20):
                digest.update(piece)
        if digest.hexdigest() != row["sha256"]:
            wrong.append(row["path"])
    expected = Counter(str(row["split"]) for row in kept)
    return verdict(
        "training_shards",
        "counts_and_checksums",
        not wrong and expected == samples,
        f"{len(rows)} tars read again, {len(wrong)} differ; {dict(samples)} samples of {dict(expected)} kept clips",
    )


def _taken_down(work: Work, kept: list[dict[str, object]]) -> dg.AssetCheckResult:
    from pipeline.takedown import taken_down

    hidden = taken_down(work.store).hidden_videos(work.store)
    inside = {str(row["video_id"]) for row in kept} & hidden
    return verdict("training_shards", "no_taken_down", not inside, f"{len(inside)} videos that were taken down")


def _leak(work: Work, kept: list[dict[str, object]]) -> dg.AssetCheckResult:
    from pipeline.splits import group_of

    columns = ["video_id", "extractor", "channel_id"]
    source = {row["video_id"]: group_of(row) for row in work.store.read("videos", columns).to_pylist()}
    copies = {
        row["clip_id"]: row["representative"]
        for row in work.store.read("duplicates", ["clip_id", "representative"]).to_pylist()
    }
    splits_of: dict[str, set[str]] = {}
    for row in kept:
        for group in (f"source {source[row['video_id']]}", f"copies of {copies.get(row['clip_id'], row['clip_id'])}"):
            splits_of.setdefault(group, set()).add(str(row["split"]))
    leaks = sorted(group for group, splits in splits_of.items() if len(splits) > 1)
    return verdict(
        "training_shards",
        "no_leak",
        not leaks,
        f"{len(splits_of)} sources and duplicate groups, {len(leaks)} in both splits",
        {"first": leaks[0]} if leaks else None,
    )
