"""Group `clips`: what clips look like to a frozen network."""

import dagster as dg

from assets.graph.checks import check_specs, verdict
from assets.graph.clips import clips
from assets.graph.context import Result, Work, batch_of, materialized, table, working
from assets.graph.ownership import OWNERS
from assets.graph.partitions import VIDEO_BATCH
from assets.graph.records import current_clips
from assets.graph.resources import Lampworks
from pipeline.config import fingerprint
from pipeline.storage.arrow import pc


@dg.asset(
    owners=OWNERS,
    code_version="1",
    group_name="clips",
    deps=[clips],
    partitions_def=VIDEO_BATCH,
    kinds={"pytorch", "deltalake"},
    check_specs=check_specs("clip_embeddings"),
)
def clip_embeddings(context: dg.AssetExecutionContext, lampworks: Lampworks) -> Result:
    """One row is what one clip's frames look like to a frozen ImageNet network: mean and spread of its features.

    From the eight frames that are stored beside the clip, once. The classifier, the labelling queue and
    `lampworks similar` read it. With `embedding.enabled: false` nothing is made.
    """
    batch = batch_of(context)
    with working(context, lampworks) as work:
        if not work.config.embedding.enabled:
            return _switched_off()
        from classifier.embedding.embed import embed_clips

        embed_clips(work.batch_job(batch))
        return _embedded(work, batch)


def _switched_off() -> Result:
    why = "embedding.enabled = false: no clip is embedded"
    checks = [verdict("clip_embeddings", name, True, why) for name in ("none_missing", "unreadable")]
    return materialized(0, "off", checks, {"switched off": why})


def _embedded(work: Work, batch: str) -> Result:
    from classifier.embedding.weights import encoder_id

    encoder = encoder_id(work.config.embedding)
    ours = (pc.field("batch") == batch) & (pc.field("encoder") == encoder)
    rows = work.store.read("embeddings", ["clip_id", "clip_sha256", "error_class", "message"], ours)
    missing = set(current_clips(work.store, work.config, batch).to_pylist()) - set(rows["clip_id"].to_pylist())
    failed = rows.filter(pc.is_valid(rows["error_class"])).to_pylist()
    return materialized(
        len(rows),
        fingerprint(encoder, sorted(zip(rows["clip_id"].to_pylist(), rows["clip_sha256"].to_pylist(), strict=True))),
        [
            verdict("clip_embeddings", "none_missing", not missing, f"{len(missing)} clips without an embedding"),
            verdict("clip_embeddings", "unreadable", not failed, f"{len(rows)} clips, {len(failed)} unreadable"),
        ],
        {
            "encoder": encoder,
            "unreadable": len(failed),
            "failures": table(
                [{"clip": r["clip_id"], "class": r["error_class"], "message": r["message"]} for r in failed], 10
            ),
        },
    )
