"""A row that names a file outside of the root opens nothing there: not when it is read, copied, shown or deleted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from assets.settings import Settings
from models.registry import load_tokenizer
from pipeline.errors import UserError
from pipeline.inspect.deep import find_faults
from pipeline.inspect.mend import mend
from pipeline.storage.arrow import pc
from pipeline.storage.store import Store

OUTSIDE = (
    "../secret.txt", "clips/../../secret.txt", "{here}/secret.txt", "file://{here}/secret.txt", "s3://bucket/secret.txt",
    "memory://x::../secret.txt", "raw/a\0b",
)  # fmt: skip
USES: dict[str, Callable[[Store, str], object]] = {
    "read": lambda store, key: store.read_blob(key),
    "read a range": lambda store, key: store.read_range(key, 0, 1),
    "hash": lambda store, key: store.sha256(key),
    "open": lambda store, key: store.local_file(key).__enter__(),
    "size": lambda store, key: store.size(key),
    "look for": lambda store, key: store.exists(key),
    "list": lambda store, key: store.list_blobs(key),
    "write": lambda store, key: store.write_blob(key, b""),
    "delete": lambda store, key: store.delete(key),
    "move": lambda store, key: store.move(key, "here"),
    "move to": lambda store, key: store.move("here", key),
    "copy": lambda store, key: store.copy_to(key, Path("/dev/null")),
}


@pytest.mark.parametrize("use", USES)
def test_no_use_of_a_key_leaves_the_root(tmp_path: Path, use: str) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    store = Store(tmp_path / "root")
    store.write_blob("here", b"1")
    for key in OUTSIDE:
        with pytest.raises(UserError, match=r"names no file of root .*doctor --deep"):
            USES[use](store, key.format(here=tmp_path))
    with pytest.raises(UserError, match="is no text"):
        USES[use](store, None)  # type: ignore[arg-type]
    assert (tmp_path / "secret.txt").read_text() == "secret"
    assert store.read_blob("here") == b"1"


def change(store: Store, table: str, column: str, value: object, where: pc.Expression) -> dict[str, Any]:
    """Write a value into one row of a table, and return the row as it was."""
    rows = store.read(table).to_pylist()
    chosen = store.read(table, where=where).to_pylist()[0]
    store.replace(table, [{**row, column: value} if row == chosen else row for row in rows])
    return chosen


def test_rows_that_point_outside_are_named_by_the_deep_check_and_taken_away_by_mending(
    root: Store, settings: Settings, lampworks: Any
) -> None:
    secret = Path(root.root).parent / "secret.txt"
    secret.write_text("secret")
    for table, column, where in (
        ("models", "path", pc.field("kind") == "video_tokenizer"),
        ("models", "path", pc.field("kind") == "world_evaluation"),
        ("clippings", "tar", pc.field("state") == "ok"),
        ("shards", "path", pc.field("split") == "train"),
        ("downloads", "path", pc.field("state") == "ok"),
    ):
        change(root, table, column, "../secret.txt", where)
    faults = find_faults(root, settings.home)
    outside = [fault for fault in faults if "secret" in fault.key]
    assert {fault.kind for fault in outside} == {"model", "clips", "shards", "raw"}
    assert {fault.needed_for.split()[0] for fault in outside} >= {"video_tokenizer", "world_evaluation"}
    assert all("names no file of root" in fault.why for fault in outside)
    assert lampworks("gc", "--dry-run")[0] in {0, 2}
    mend(root, settings.home, faults)
    assert not [fault for fault in find_faults(root, settings.home) if "secret" in fault.key]
    assert secret.read_text() == "secret"


def test_a_model_whose_row_points_outside_is_not_loaded(root: Store) -> None:
    row = change(root, "models", "path", "../../../etc", pc.field("kind") == "video_tokenizer")
    with pytest.raises(UserError, match=r"'\.\./\.\./\.\./etc/weights\.safetensors' names no file of root"):
        load_tokenizer(root, row["model_id"])


def test_clips_whose_rows_point_outside_are_shown_to_nobody(root: Store, settings: Settings) -> None:
    from pipeline.clips.read import read_clip, read_frames

    clips = root.read("clips")
    place = clips.column_names.index("tar")
    root.replace("clips", clips.set_column(place, "tar", pa.array(["../secret.tar"] * len(clips))))
    row = root.read("clips").to_pylist()[0]
    for read in (read_clip, read_frames):
        with pytest.raises(UserError, match="names no file of root"):
            read(root, row)


def test_rows_of_models_that_say_nothing_are_named_and_forgotten(
    root: Store, settings: Settings, lampworks: Any
) -> None:
    rows = root.read("models")
    row = root.read("models", where=pc.field("kind") == "world_evaluation").to_pylist()[0]
    odd = {"config": "{", "figures": "[" * 100_000, "inputs": "[]", "files": "7", "created_at": None}
    root.append("models", [{**row, "model_id": f"odd-{column}", column: value} for column, value in odd.items()])
    faults = find_faults(root, settings.home)
    assert len(faults) == len(odd)
    assert all(any(f"odd-{column}" in fault.why for fault in faults) for column in odd)
    code, told = lampworks("status")
    assert code == 2
    assert "odd-" in told
    assert "doctor --deep --mend" in told
    mend(root, settings.home, faults)
    assert find_faults(root, settings.home) == []
    assert root.read("models").sort_by("model_id") == rows.sort_by("model_id")
