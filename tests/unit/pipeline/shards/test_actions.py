"""True actions lie beside the tars of the training set: the same bytes whenever, verified, swept and mended."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.actions.join import join_actions
from pipeline.errors import UserError
from pipeline.inspect.deep import find_faults
from pipeline.inspect.gc import collect_garbage
from pipeline.shards.actions import read_shard_actions
from pipeline.shards.read import current_shards, shard_rows
from pipeline.shards.verify import verify_shards
from pipeline.shards.write import shards_are_current, write_shards
from pipeline.storage.home import home_of
from tests.made_up_actions import add_actions
from tests.synthetic import CONFIG, finished_store, job_of


def test_actions_travel_with_their_clips_into_the_shards(tmp_path: Path) -> None:
    store = finished_store(tmp_path / "root")
    before, tars = current_shards(store), store.read("shards", ["path", "sha256"]).to_pylist()
    kept = store.read("shards").to_pylist()
    assert all(row["actions"] is None for row in kept)
    add_actions(store, lambda clip_id, step: clip_id[-12:] if step % 2 else "none")
    assert not shards_are_current(store, CONFIG)
    write_shards(job_of(store))
    assert current_shards(store) != before
    rows = [row for split in ("train", "val") for row in shard_rows(store, str(current_shards(store)), split)]
    # the tars are what they were: no reader of clips meets an action
    assert {row["sha256"] for row in rows} <= {row["sha256"] for row in tars}
    for row in rows:
        table = read_shard_actions(store, row)
        assert table is not None
        found = list(join_actions(table, "auto"))
        assert len(found) == row["samples"]
        assert all(each.labels[:4] == ("none", each.clip_id[-12:]) * 2 for each in found if each.labels)
    assert shards_are_current(store, CONFIG)
    assert verify_shards(store).damaged == []
    assert [fault for fault in find_faults(store, home_of(store)) if fault.key.startswith("shards/")] == []
    named = {row["actions"] for row in rows}
    assert not named & set(collect_garbage(store, dry_run=False))

    damaged = rows[0]["actions"]
    store.write_blob(damaged, store.read_blob(damaged)[:-20])
    assert [found.key for found in verify_shards(store).damaged] == [damaged]
    assert damaged in [fault.key for fault in find_faults(store, home_of(store))]
    with pytest.raises(UserError, match="is not what was written"):
        read_shard_actions(store, rows[0])
