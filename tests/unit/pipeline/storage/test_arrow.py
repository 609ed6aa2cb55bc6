import io
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.storage.arrow import (
    RowsOfBatches,
    among,
    counts,
    parquet_table,
    rows_with,
    rows_without,
    texts,
    total,
    unique,
)

TABLE = pa.table({"name": pa.array(["a", "b", None, "a"]), "size": [1, 2, 3, None]})


def test_rows_are_chosen_by_plain_values():
    assert rows_with(TABLE, "name", "a")["size"].to_pylist() == [1, None]
    assert rows_with(TABLE, "name", {"a", "b"})["size"].to_pylist() == [1, 2, None]
    assert rows_without(TABLE, "name", "a")["size"].to_pylist() == [2, 3]  # a null is not among anything
    assert rows_without(TABLE, "name", [])["size"].to_pylist() == [1, 2, 3, None]
    assert rows_with(TABLE, "name", TABLE["name"].slice(1, 1))["size"].to_pylist() == [2]


def test_rows_of_batches_are_all_rows_where_a_batch_may_be_missing_from_their_names():
    whole = pa.table({"batch": ["b", "a", "b"], "row": [1, 2, 3]})
    rows, older = RowsOfBatches(whole), RowsOfBatches(pa.table({"batch": ["b", None, "b"], "row": [1, 2, 3]}))

    def found(rows: RowsOfBatches, *names: str | None, **how: bool) -> list[int]:
        return sorted(rows.of(pa.array(names, pa.string()), **how)["row"].to_pylist())

    assert found(rows, "b", "b") == [1, 3]
    assert found(rows, "b", "c") == [1, 2, 3]
    assert found(rows, "b", "c", may_have_none=True) == [1, 3]
    assert found(rows, "c", may_have_none=True) == []
    # a row that names no batch may be of any, and so may a row that is asked for
    assert found(older, "b", "c", may_have_none=True) == [1, 2, 3]
    assert found(rows, None, may_have_none=True) == [1, 2, 3]


@pytest.mark.parametrize("values", [[], set(), frozenset(), ()])
def test_no_values_are_texts_all_the_same(values: list[str]):
    assert texts(values).type == pa.string()
    assert among(TABLE["name"], values).to_pylist() == [False] * 4


def test_counts_and_totals_pass_over_nothing():
    assert counts(TABLE["name"]) == {"a": 2, "b": 1, "unknown": 1}
    assert counts(TABLE["name"].slice(0, 0)) == {}
    assert total(TABLE["size"]) == 6
    assert total(TABLE["size"].slice(0, 0)) == 0
    assert total(among(TABLE["name"], ["a"])) == 2
    assert unique(TABLE["name"]) == ["a", "b"]


def test_a_parquet_file_in_memory_is_read_without_a_thread_that_outlives_the_reading():
    """Such a thread aborts now and then the process that ends after it."""
    file = io.BytesIO()
    pq.write_table(TABLE, file)
    assert parquet_table(file.getvalue()).equals(TABLE)
    reads = f"""
import psutil
from pipeline.storage.arrow import parquet_table
before = psutil.Process().num_threads()
parquet_table({file.getvalue()!r})
print(psutil.Process().num_threads() - before)"""
    told = subprocess.run([sys.executable, "-c", reads], capture_output=True, text=True, timeout=120, check=True)
    assert told.stdout.strip() == "0"
