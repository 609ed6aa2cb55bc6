"""The one partition of the graph: a batch of videos, found together, registered by the search."""

import dagster as dg

from pipeline.storage.store import Store

VIDEO_BATCH = dg.DynamicPartitionsDefinition(name="video_batch")


def register_batches(instance: dg.DagsterInstance, store: Store) -> list[str]:
    """Add the store's batches that the instance does not know as partitions; return those added."""
    from pipeline.search.batches import batches

    known = set(instance.get_dynamic_partitions("video_batch"))
    new = [batch for batch in batches(store) if batch not in known]
    if new:
        instance.add_dynamic_partitions("video_batch", new)
    return new
