"""Rows of attempts are appended once, also where the store did not take them, or did not say that it had."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from pipeline.download.row_writer import RowWriter
from pipeline.errors import StoreError
from pipeline.storage.store import Store


def row(number: int) -> dict[str, Any]:
    return {
        "attempt_id": f"a{number}", "video_id": f"v{number}", "batch": "b", "attempt": 1, "state": "failed",
        "error_class": "permanent", "message": "gone", "path": None, "finished_at": datetime.now(UTC),
    }  # fmt: skip


@pytest.mark.parametrize("landed", [True, False])
@pytest.mark.parametrize("error", [StoreError("away", passing=True), KeyboardInterrupt()])
def test_rows_of_an_append_that_failed_are_there_after_the_next_flush_and_once(
    store: Store, landed: bool, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, append = RowWriter(store), Store.append

    def fails(self: Store, name: str, rows: Any) -> int:
        if landed:
            append(self, name, rows)
        raise error

    writer.add(row(1), None)
    with monkeypatch.context() as patch:
        patch.setattr(Store, "append", fails)
        with pytest.raises(type(error)):
            writer.flush()
    writer.add(row(2), None)
    writer.flush()
    writer.flush()
    assert sorted(store.read("downloads", ["attempt_id"])["attempt_id"].to_pylist()) == ["a1", "a2"]
