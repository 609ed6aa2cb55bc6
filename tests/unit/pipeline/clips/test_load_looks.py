"""The signatures of all clips lie in a file whose pages are read one by one."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline.bench.made_up_clips import Truth, make_clips
from pipeline.clips.load_looks import gather_looks


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says how pages of a file are read")
def test_no_page_that_nobody_asks_for_is_read_with_one_of_the_signatures(tmp_path: Path) -> None:
    """Pairs of clips lie anywhere in the file: one larger than memory would be read many times (docs/scale.md)."""
    loaded = gather_looks(make_clips(20, Truth()), 200.0, tmp_path)
    assert loaded.line.pictures.sum() > 0
    assert not loaded.line.pictures.flags.writeable
    flags = _flags_of(tmp_path / "pictures")
    assert flags
    assert all("rr" in each for each in flags), "rr: advised to be read at random"
    # landmarks are read from begin to end
    assert not any("rr" in each for each in _flags_of(tmp_path / "landmarks"))
    np.testing.assert_array_equal(
        loaded.line.pictures.ravel(), np.frombuffer((tmp_path / "pictures").read_bytes(), np.uint8)
    )


def _flags_of(path: Path) -> list[list[str]]:
    """Return the flags of each mapping of a file into this process."""
    text = Path("/proc/self/smaps").read_text()
    blocks = re.split(r"^(?=[0-9a-f]+-[0-9a-f]+ )", text, flags=re.MULTILINE)
    return [
        found[1].split()
        for block in blocks
        if str(path) in block
        if (found := re.search(r"^VmFlags:(.*)$", block, re.M))
    ]
