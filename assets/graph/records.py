"""Read the clips that count, and compare ids, for several assets and the driver."""

from pipeline.config import Config
from pipeline.storage.arrow import Column, among, pc, total
from pipeline.storage.store import Store


def current_clips(store: Store, config: Config, batch: str | None = None) -> Column:
    """Return the ids of the clips that count, sorted, as an Arrow array: of all batches they are too many for a set.

    Those count that are of the current clip_spec, of a video whose cutting was published and that is not taken down.
    """
    from pipeline.clips.read import read_clips

    return read_clips(store, config, ["clip_id"], batch=batch)["clip_id"]


def same_ids(found: Column, expected: Column) -> bool:
    """Return whether two columns hold the same ids, each once."""
    distinct = pc.count_distinct(found).as_py()
    return bool(len(found) == distinct == len(expected) and total(among(expected, found)) == len(expected))
