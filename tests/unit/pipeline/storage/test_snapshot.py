"""A snapshot reads each table as it was when it was first opened, and opens it once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.storage import read_tables
from pipeline.storage.snapshot import snapshot_of
from pipeline.storage.store import Store

NAME = "clippings"


def row(number: int) -> dict[str, Any]:
    return {"video_id": f"v{number}", "clip_spec": "s", "batch": "b"}


def videos(store: Store) -> set[str]:
    return set(store.read(NAME)["video_id"].to_pylist())


@pytest.fixture
def filled(tmp_path: Path) -> Store:
    store = Store(tmp_path)
    store.append(NAME, [row(number) for number in range(3)], inputs={"of": "first"})
    return store


def test_what_is_written_later_is_not_seen_and_a_new_snapshot_sees_it(filled: Store) -> None:
    seen = snapshot_of(filled)
    assert (seen.version(NAME), seen.version("videos")) == (0, -1)
    for number in range(3, 15):
        filled.append(NAME, [row(number)], inputs={"of": "second"})
    filled.append("videos", [{"video_id": "v0"}])
    assert (seen.version(NAME), seen.inputs(NAME), len(videos(seen))) == (0, {"of": "first"}, 3)
    assert len(seen.read("videos")) == 0
    again = snapshot_of(filled)
    assert (again.version(NAME), again.inputs(NAME), len(videos(again))) == (12, {"of": "second"}, 15)
    assert snapshot_of(seen) is seen


def test_a_table_is_opened_once(filled: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    real = read_tables.DeltaTable

    def open_table(url: str, **options: Any) -> Any:
        opened.append(url.rsplit("/", 1)[-1])
        return real(url, **options)

    monkeypatch.setattr(read_tables, "DeltaTable", open_table)
    seen = snapshot_of(filled)
    for name in (NAME, "videos"):
        assert seen.read(name).schema.names == [*seen.read(name, None).schema.names]
        assert [*seen.scan(name, ["video_id"])] == [*seen.scan(name, ["video_id"])]
        assert (seen.inputs(name), seen.deleted_rows(name), seen.version(name))[1] == 0
    assert opened == [NAME, "videos"]


def test_a_takedown_meanwhile_is_obeyed(filled: Store) -> None:
    seen = snapshot_of(filled)
    assert len(videos(seen)) == 3
    filled.delete_rows(NAME, "video_id", ["v1"])
    filled.purge(NAME)
    assert videos(seen) == {"v0", "v2"}
