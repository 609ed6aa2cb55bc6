"""The table of measurements says what each is worth on the rated clips of a store."""

from __future__ import annotations

import pytest

from classifier.pool import load_pool
from classifier.training.measurement_auc import COLUMNS, measurement_table
from pipeline.clips.features import FEATURE_NAMES
from pipeline.clips.flags import FLAGS
from pipeline.errors import UserError


def test_every_measurement_and_flag_has_its_row(store, config, pool_writer):
    clips = [clip for number in range(6) for clip in pool_writer.add(f"v{number}", "gb")]
    ratings = {clip: 5 if number % 2 == 0 else 1 for number, clip in enumerate(clips)}
    found = measurement_table(load_pool(store, config), ratings)
    assert (found.good, found.bad, found.sources) == (6, 6, 6)
    assert {row.name for row in found.rows} == {*COLUMNS, *FEATURE_NAMES}
    assert found.flags.keys() == set(FLAGS)
    assert all(0 <= row.auc <= 1 for row in found.rows if row.auc == row.auc)


def test_ratings_of_one_kind_are_refused_with_what_to_do(store, config, pool_writer):
    (clip,) = pool_writer.add("v", "g")
    with pytest.raises(UserError, match="1 are rated 4 or 5 and 0 rated 1 or 2: cut what is due"):
        measurement_table(load_pool(store, config), {clip: 5})
