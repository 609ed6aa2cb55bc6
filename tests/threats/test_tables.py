"""A damaged file of a table is named when the table is read; no damage gives other rows, or fewer, without an error."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.errors import UserError
from pipeline.storage.arrow import pc
from pipeline.storage.checksums import read_checksums
from pipeline.storage.store import Store

FLIPS = 60
KINDS = ("*.parquet", "_delta_log/*.json")
DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "cut in half": lambda data: data[: len(data) // 2],
    "one byte short": lambda data: data[:-1],
    "empty": lambda data: b"",
    "zeros": lambda data: bytes(len(data)),
    "another kind of file": lambda data: b"<!doctype html>" * 40,
}


@pytest.fixture
def labels(store: Store) -> Store:
    """A store with two commits of labels: an append, and a merge that rewrites the file."""
    rows = [label(number) for number in range(40)]
    store.append("labels", rows[:20], inputs={"from": 1})
    store.merge("labels", rows[10:], on=["event_id"], inputs={"from": 2})
    return store


def label(number: int) -> dict[str, object]:
    return {
        "event_id": f"e{number:03d}", "clip_id": f"clip-{number * 7919:09d}", "rating": number % 5 + 1, "kind": "rate",
        "annotator": "ada", "labelled_at": datetime(2026, 11, 1, number % 24, tzinfo=UTC),
    }  # fmt: skip


def read(store: Store) -> tuple[pa.Table, pa.Table, dict[str, object]]:
    """Read a table in every way: whole, filtered, in batches, and what it was made from."""
    where = pc.field("rating") == 3
    scanned = pa.Table.from_batches(store.scan("labels", ["event_id", "rating"], where))
    return store.read("labels").sort_by("event_id"), scanned.sort_by("event_id"), store.inputs("labels")


def files_of(store: Store, kind: str) -> list[Path]:
    """Return the files of the present version (a merge leaves the data file of the version before)."""
    folder = Path(store.root) / "tables" / "labels"
    found = sorted(folder.glob(kind), key=lambda path: path.stat().st_mtime_ns)
    return found[-1:] if kind.endswith("parquet") else found


def outcome(store: Store, good: object, file: Path) -> str:
    """Return `same` where everything reads as before, `named` where an error names the file and the fix."""
    try:
        return "same" if read(store) == good else "other rows"
    except UserError as exc:
        told = str(exc)
    assert file.name in told
    assert "lampworks doctor --deep --mend" in told
    return "named"


@pytest.mark.parametrize("kind", KINDS)
def test_no_flipped_byte_of_a_table_gives_other_rows(labels: Store, kind: str) -> None:
    good, rng = read(labels), random.Random(1)
    seen = set()
    for file in files_of(labels, kind):
        whole = file.read_bytes()
        for _ in range(FLIPS):
            flipped = bytearray(whole)
            flipped[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
            file.write_bytes(flipped)
            seen.add(outcome(labels, good, file))
        file.write_bytes(whole)
    # a byte that no reader looks at (an unused statistic of Parquet) may change
    assert "named" in seen
    assert "other rows" not in seen
    assert read(labels) == good


@pytest.mark.parametrize("name", [b"rating", b"event_id", b"labelled_at"])
def test_a_damaged_name_of_a_column_is_no_column_without_values(labels: Store, name: bytes) -> None:
    good, [file] = read(labels), files_of(labels, "*.parquet")
    whole = file.read_bytes()
    place = whole.index(name, whole.index(b"event_id"))
    file.write_bytes(whole[:place] + b"x" + whole[place + 1 :])
    assert outcome(labels, good, file) == "named"


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("kind", KINDS)
def test_a_file_of_a_table_that_is_cut_short_or_replaced_is_named(labels: Store, kind: str, damage: str) -> None:
    good = read(labels)
    for file in files_of(labels, kind):
        whole = file.read_bytes()
        file.write_bytes(DAMAGE[damage](whole))
        assert outcome(labels, good, file) == "named"
        file.write_bytes(whole)
    assert read(labels) == good


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_of_a_table_that_is_gone_is_named_and_no_older_version_takes_its_place(labels: Store, kind: str) -> None:
    good = read(labels)
    for file in files_of(labels, kind):
        whole = file.read_bytes()
        file.unlink()
        assert outcome(labels, good, file) == "named"
        file.write_bytes(whole)
    assert read(labels) == good


def test_a_table_whose_whole_log_is_gone_is_not_an_empty_table(labels: Store) -> None:
    shutil.rmtree(Path(labels.root) / "tables" / "labels" / "_delta_log")
    for use in (
        lambda: labels.read("labels"),
        lambda: labels.version("labels"),
        lambda: labels.append("labels", [label(99)]),
    ):
        with pytest.raises(UserError, match=r"_delta_log/.* is gone.*doctor --deep"):
            use()


def test_files_of_two_tables_that_were_swapped_are_named(labels: Store) -> None:
    labels.append("takedowns", [{"takedown_id": "t", "kind": "video", "target": "v"}])
    good = read(labels)
    [mine], [other] = (
        files_of(labels, "*.parquet"),
        list((Path(labels.root) / "tables" / "takedowns").glob("*.parquet")),
    )
    a, b = mine.read_bytes(), other.read_bytes()
    mine.write_bytes(b)
    other.write_bytes(a)
    assert outcome(labels, good, mine) == "named"
    with pytest.raises(UserError, match=other.name):
        labels.read("takedowns")


def test_a_merge_into_a_damaged_table_is_refused_and_changes_nothing(labels: Store) -> None:
    [file] = files_of(labels, "*.parquet")
    whole, version = file.read_bytes(), labels.version("labels")
    file.write_bytes(whole[:200] + b"\xff" * 300 + whole[500:])
    with pytest.raises(UserError, match=file.name):
        labels.merge("labels", [label(3)], on=["event_id"])
    file.write_bytes(whole)
    assert labels.version("labels") == version


def test_every_writer_leaves_checksums_of_what_it_wrote(labels: Store) -> None:
    labels.replace("labels", [label(1)], where="event_id = 'e001'")
    labels.add_to_lists("videos", "video_id", "queries", {"v": ["q"]})
    folder = Path(labels.root) / "tables" / "labels"
    known = read_checksums(folder)
    present = {path.relative_to(folder).as_posix() for kind in KINDS for path in folder.glob(kind)}
    assert known.keys() == present


def test_a_torn_or_damaged_line_of_the_checksums_accuses_no_file(labels: Store) -> None:
    good = read(labels)
    file = Path(labels.root) / "tables" / "labels" / "_checksums"
    whole = file.read_bytes()
    for data in (whole[:-20], whole[:5] + b"0" + whole[6:], b"", b"\xff" * 100, whole.replace(b"\n", b" ")):
        file.write_bytes(data)
        assert read(labels) == good
    labels.append("labels", [label(77)])
    assert len(read(labels)[0]) == len(good[0]) + 1
