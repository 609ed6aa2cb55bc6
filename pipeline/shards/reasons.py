"""Reasons of decisions in families: what differs from clip to clip is cut off, so that equal reasons can be counted."""

from __future__ import annotations

import pyarrow as pa

from pipeline.storage.arrow import Column, pc

_FAMILIES = (
    (r"^duplicate of .*", "duplicate"),
    (r"^score [0-9.]+ ", "score "),
    (r"^usable share [0-9.]+ ", "usable share "),
    (r" \(distance [0-9.]+ of 64\)$", ""),
)


def reason_families(decided: pa.Table) -> Column:
    """Return `<decision>: <reason>` of rows of `curated` (their columns `decision` and `reason`)."""
    reason = decided["reason"]
    for pattern, family in _FAMILIES:
        reason = pc.replace_substring_regex(reason, pattern, family)
    return pc.binary_join_element_wise(decided["decision"], reason, ": ")
