"""The division of sources: by channel, for ever, near the share that was asked for."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.clips import SplitConfig
from pipeline.errors import UserError
from pipeline.shards.splits import group_of, groups_of, split_of


def test_videos_of_one_channel_are_one_group() -> None:
    first = {"video_id": "youtube-a", "extractor": "Youtube", "channel_id": "UC1"}
    second = {"video_id": "youtube-b", "extractor": "youtube", "channel_id": "UC1"}
    assert group_of(first) == group_of(second)


def test_equal_channel_ids_of_two_sites_are_two_groups() -> None:
    assert group_of({"video_id": "a-1", "extractor": "a", "channel_id": "1"}) != group_of(
        {"video_id": "b-1", "extractor": "b", "channel_id": "1"}
    )


def test_a_video_without_a_channel_is_its_own_group() -> None:
    rows = [{"video_id": f"folder-{i}", "extractor": "folder", "channel_id": None} for i in range(2)]
    assert group_of(rows[0]) != group_of(rows[1])


def test_a_channel_cannot_pose_as_a_video() -> None:
    channel = group_of({"video_id": "x", "extractor": "video", "channel_id": "abc"})
    assert channel != group_of({"video_id": "abc", "extractor": "video", "channel_id": None})


_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
_SITES = st.one_of(st.none(), st.sampled_from(["", "Youtube", "youtube", "unknown", "Übersee TV", "a:b"]), _TEXT)


@given(st.lists(st.tuples(_SITES, st.one_of(st.none(), _TEXT))))
def test_groups_of_a_table_are_those_of_its_rows(rows: list[tuple[str | None, str | None]]) -> None:
    found = [{"video_id": f"v{k}", "extractor": site, "channel_id": name} for k, (site, name) in enumerate(rows)]
    schema = pa.schema([(name, pa.string()) for name in ("video_id", "extractor", "channel_id")])
    table = pa.concat_tables([pa.Table.from_pylist(part, schema) for part in (found[:2], found[2:])])
    assert groups_of(table).to_pylist() == [group_of(row) for row in found]


def test_the_split_never_moves() -> None:
    config = SplitConfig(val_share=0.3, test_share=0.3)
    assert [split_of(f"group-{i}", config) for i in range(8)] == [
        "test", "val", "test", "test", "test", "test", "test", "train",
    ]  # fmt: skip


def test_the_share_is_met_over_many_groups() -> None:
    held_out = sum(split_of(f"group-{i}", SplitConfig(val_share=0.2)) == "val" for i in range(5000))
    assert 900 < held_out < 1100


@given(st.text(), st.floats(0.01, 0.5), st.floats(0.5, 0.94))
def test_a_larger_share_only_adds_to_val(group: str, small: float, large: float) -> None:
    if split_of(group, SplitConfig(val_share=small)) == "val":
        assert split_of(group, SplitConfig(val_share=large)) == "val"


@given(st.text(), st.floats(0.01, 0.5), st.floats(0, 0.49))
def test_a_test_split_moves_nothing_between_train_and_val(group: str, val: float, test: float) -> None:
    before = split_of(group, SplitConfig(val_share=val, test_share=0.0))
    after = split_of(group, SplitConfig(val_share=val, test_share=test))
    assert after in (before, "test")
    assert before == "train" or after == "val"


def test_the_share_of_the_test_split_is_met_and_without_one_there_is_none() -> None:
    found = [split_of(f"group-{i}", SplitConfig(test_share=0.2)) for i in range(5000)]
    assert 900 < found.count("test") < 1100
    assert "test" not in {split_of(f"group-{i}", SplitConfig(test_share=0.0)) for i in range(5000)}


def test_shares_that_leave_no_training_source_are_refused_by_name() -> None:
    with pytest.raises(UserError, match=r"split\.val_share = 0\.6 and split\.test_share = 0\.4"):
        SplitConfig(val_share=0.6, test_share=0.4)
