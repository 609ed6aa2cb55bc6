"""Write the training set: kept clips in WebDataset tars, train, val and test, the same bytes whenever they are written.

A sample is `<clip_id>.mp4`, the clip's own bytes without a second encode, and `<clip_id>.json`, its origin. Which
clips, their order and every byte of the tars follow from the rows of `curated`, `clips` and `videos`; the version is a
hash of them. So a set that is there already is not written again, and after a kill the next run keeps the tars that
were finished.

    shards/<version>/{train,val,test}/clips-000000.tar and clips-000000.index.parquet ...
    shards/<version>/card.md   card.json   manifest.json (last)   rows of `shards`

When the rows are committed, every clip's checksum was verified, every kept clip is in exactly one tar, none was taken
down, and no source and no group of near-duplicates is in two splits.

    report = write_shards(Job(store, config, home))
"""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.config import Config
from pipeline.errors import UserError
from pipeline.job import Job
from pipeline.progress import notify
from pipeline.shards.card import card_facts
from pipeline.shards.manifest import write_manifest
from pipeline.shards.plan import plan_shards, planned_contents, planned_version, shard_inputs
from pipeline.shards.read import current_shards, manifest_key
from pipeline.shards.splits import SPLITS
from pipeline.shards.tars import write_tars
from pipeline.storage.store import Store


@dataclass(frozen=True)
class SplitReport:
    """One split of the set."""

    shards: int = 0
    samples: int = 0
    bytes: int = 0


@dataclass(frozen=True)
class ShardReport:
    """The published set."""

    version: str
    train: SplitReport
    val: SplitReport
    test: SplitReport
    written: bool
    """False where this version was there already."""


def shards_are_current(store: Store, config: Config) -> bool:
    """Tell whether the published set follows from the present decision, clips and takedowns."""
    version = current_shards(store)
    if version is None or not store.exists(manifest_key(version)):
        return False
    recorded, inputs = dict(store.inputs("shards")), shard_inputs(store, config)
    contents = recorded.pop("contents", None)
    if recorded == inputs:
        return True
    # a set of an earlier version of Lampworks recorded none, and one after a takedown may be of no plan
    same = contents is not None and all(recorded.get(name) == inputs[name] for name in ("settings", "clip_spec"))
    try:
        if same and (planned := planned_contents(store, config)) is not None:
            return bool(planned == contents)
        return planned_version(store, config) == version
    except UserError:
        return False


def write_shards(job: Job) -> ShardReport:
    """Write the training set and replace the rows of `shards`; leave a set that is there already as it is.

    Raises:
        UserError: nothing is decided, no clip is kept, train or val is empty, a source or a group of near-duplicates
            lies in two splits, or a clip's bytes are not those that its row describes.
    """
    store, config = job.store, job.config
    while True:
        inputs = shard_inputs(store, config)
        plan = plan_shards(store, config)
        if current_shards(store) == plan.version and store.exists(manifest_key(plan.version)):
            return _report(store, written=False)
        rows = write_tars(job, plan)
        card = card_facts(store, config, plan, rows)
        # read again just before publishing: after a takedown that arrived meanwhile, plan and write again
        if shard_inputs(store, config)["tables"]["takedowns"] == inputs["tables"]["takedowns"]:
            break
    for note in card["notes"]:
        notify(note, job.on_progress)
    write_manifest(store, config, plan.version, plan.spec, rows, card)
    shared = {"version": plan.version, "curated_version": store.version("curated"), "curated_sha256": plan.kept_sha256}
    store.replace("shards", [row | shared for row in rows], inputs=inputs | {"contents": plan.contents})
    return _report(store, written=True)


def _report(store: Store, *, written: bool) -> ShardReport:
    rows = store.read("shards").to_pylist()
    splits = {}
    for split in SPLITS:
        own = [row for row in rows if row["split"] == split]
        splits[split] = SplitReport(len(own), sum(row["samples"] for row in own), sum(row["bytes"] for row in own))
    return ShardReport(rows[0]["version"], splits["train"], splits["val"], splits["test"], written)
