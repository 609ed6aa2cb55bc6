import pyarrow as pa
import pytest

from pipeline.storage.arrow import among, counts, rows_with, rows_without, texts, total, unique

TABLE = pa.table({"name": pa.array(["a", "b", None, "a"]), "size": [1, 2, 3, None]})


def test_rows_are_chosen_by_plain_values():
    assert rows_with(TABLE, "name", "a")["size"].to_pylist() == [1, None]
    assert rows_with(TABLE, "name", {"a", "b"})["size"].to_pylist() == [1, 2, None]
    assert rows_without(TABLE, "name", "a")["size"].to_pylist() == [2, 3]  # a null is not among anything
    assert rows_without(TABLE, "name", [])["size"].to_pylist() == [1, 2, 3, None]
    assert rows_with(TABLE, "name", TABLE["name"].slice(1, 1))["size"].to_pylist() == [2]


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
