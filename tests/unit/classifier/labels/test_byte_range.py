"""Range headers are read as RFC 9110 says."""

from __future__ import annotations

import pytest

from classifier.labels.byte_range import parse_range


@pytest.mark.parametrize(
    ("header", "found"),
    [
        (None, None), ("bytes=0-0", (0, 0)), ("bytes=9-", (9, 9)), ("bytes=-20", (0, 9)), ("bytes=3-2", None),
        ("items=1-2", None), ("bytes=1-2,4-5", None), ("bytes=-", None),
    ],
)  # fmt: skip
def test_ranges_are_read_as_the_standard_says(header, found):
    assert parse_range(header, 10) == found


@pytest.mark.parametrize("header", ["bytes=10-", "bytes=-0", "bytes=11-12"])
def test_ranges_beyond_the_end_cannot_be_satisfied(header):
    with pytest.raises(ValueError, match="lies beyond"):
        parse_range(header, 10)
