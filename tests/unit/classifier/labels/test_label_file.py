"""A file of labels can be checked without a store."""

from __future__ import annotations

import pytest

from classifier.labels.label_file import check_label_file
from pipeline.errors import UserError


def test_a_file_is_checked_before_there_are_clips(tmp_path):
    file = tmp_path / "l.csv"
    file.write_text("clip_id,rating\nx,5\ny,1\n")
    assert check_label_file(file) == 2
    file.write_text("clip_id,rating\nx,5\ny,7\n")
    with pytest.raises(UserError, match="line 3: rating '7'"):
        check_label_file(file)
