"""Say whether a split has as many tars as there are readers: each worker of each rank opens its own."""

from __future__ import annotations

from pipeline.shards.splits import Split


def too_few_shards(
    *, split: Split, shards: int, samples: int, samples_per_shard: int, ranks: int = 1, workers: int = 1
) -> str:
    """Return what to change where a split has fewer tars than readers; "" where it has enough.

    Args:
        split: the split that is read.
        shards: its tars.
        samples: its clips.
        samples_per_shard: the setting that the tars were written with.
        ranks: processes that train together.
        workers: processes of each that decode; 0 counts as 1.
    """
    readers = ranks * max(workers, 1)
    if shards >= readers:
        return ""
    found = f"the {split} split has {shards} tar{'' if shards == 1 else 's'} of up to {samples_per_shard} clips for "
    found += f"{readers} readers ({ranks} rank{'' if ranks == 1 else 's'} x {max(workers, 1)} workers)"
    if samples < readers:
        return (
            f"{found}, and only {samples} clips: take fewer workers or ranks (training.decode_workers, "
            "training.processes, training.nodes), or keep more clips."
        )
    return f"{found}: set shards.samples_per_shard to {samples // readers} or less and run again (`lampworks run`)."
