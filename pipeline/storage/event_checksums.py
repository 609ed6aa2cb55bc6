"""Checksums of the events of a labelling journal: SQLite has none, and a flipped byte may make a 2 of a 3.

event["crc"] = event_crc(event)
is_whole(event)      # later, of the same columns
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping

COLUMN = "crc"
_NOT_SAID = frozenset({"seq", COLUMN})


def event_crc(event: Mapping[str, object]) -> int:
    """Return the CRC-32 of what an event says: all columns but its place, without those that are empty or 0.

    So a column that a later version adds, empty in older events, changes nothing.
    """
    said = {name: value for name, value in event.items() if value and name not in _NOT_SAID}
    return zlib.crc32(json.dumps(said, sort_keys=True, default=str).encode())


def is_whole(event: Mapping[str, object]) -> bool:
    """Tell whether an event is what was written; one of an older journal, without a checksum, counts as whole."""
    return event.get(COLUMN) is None or event[COLUMN] == event_crc(event)
