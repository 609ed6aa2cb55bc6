"""Sidecars of actions: what is read as what, and what is refused with which row and which fix."""

from __future__ import annotations

import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.actions.columns import BadSidecarError
from pipeline.actions.sidecar import read_sidecar


def lines(*rows: object) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def actions(*values: object) -> bytes:
    return lines(*({"action": value} for value in values))


def parquet(**columns: object) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ([0, 3, 3], ["0", "3", "3"]),
        (["left", "none"], ["left", "none"]),
        ([True, False], ["true", "false"]),
        ([["right", "jump"], [], ["jump"]], ["jump+right", "none", "jump"]),
    ],
)
def test_numbers_names_and_held_keys_are_discrete_actions(values: list[object], labels: list[str]) -> None:
    for name, data in [("a.jsonl", actions(*values)), ("a.parquet", parquet(action=values))]:
        rows = read_sidecar(name, data)
        assert rows.labels == tuple(labels)
        assert rows.values is None
        assert rows.times_s is None


def test_held_keys_may_be_called_keys_where_nothing_is_called_action() -> None:
    held = lines({"frame": 0, "t": 0.0, "keys": ["RIGHT", "JUMP"]}, {"frame": 1, "t": 0.1, "keys": []})
    assert read_sidecar("a.jsonl", held).labels == ("JUMP+RIGHT", "none")
    assert read_sidecar("a.parquet", parquet(keys=[["LEFT"], ["LEFT"]])).labels == ("LEFT", "LEFT")
    assert read_sidecar("a.jsonl", lines({"action": 3, "keys": ["LEFT"]})).labels == ("3",)
    assert read_sidecar("a.parquet", parquet(action=[3], keys=[["LEFT"]])).labels == ("3",)
    with pytest.raises(BadSidecarError, match="line 2: it has no field `keys`"):
        read_sidecar("a.jsonl", lines({"keys": []}, {"frame": 1}))


def test_fractions_and_lists_of_numbers_are_continuous_actions() -> None:
    assert read_sidecar("a.jsonl", actions(0, 0.5, 1)).values.tolist() == [[0], [0.5], [1]]
    assert read_sidecar("a.jsonl", actions([1, -2.5], [0, 0])).values.tolist() == [[1, -2.5], [0, 0]]
    assert read_sidecar("a.parquet", parquet(action=[0.0, 2.0])).values.tolist() == [[0], [2]]
    fixed = pa.FixedSizeListArray.from_arrays(pa.array([1.0, 2.0, 3.0, 4.0], pa.float32()), 2)
    assert read_sidecar("a.parquet", parquet(action=fixed)).values.tolist() == [[1, 2], [3, 4]]


def test_rows_stand_in_the_order_of_their_frames_and_the_last_may_have_no_action() -> None:
    frames = lines({"frame": 2, "action": None}, {"frame": 0, "action": 7}, {"frame": 1, "action": 8})
    assert read_sidecar("a.jsonl", frames).labels == ("7", "8")
    of_lerobot = parquet(action=[[0.5], [1.0]], frame_index=[1, 0], episode_index=[4, 4])
    assert read_sidecar("a.parquet", of_lerobot).values.tolist() == [[1], [0.5]]
    timed = read_sidecar("a.jsonl", lines({"t": 0, "action": "a"}, {"t": 1.5, "action": "b", "frame": 9}))
    assert timed.labels == ("a", "b")
    assert np.array_equal(timed.times_s, [0, 1.5])


def test_other_encodings_of_text_are_read_or_refused_with_the_fix() -> None:
    text = '{"action": "gehe-über"}\r\n\n{"action": "a\u2028b"}'
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        with pytest.raises(BadSidecarError, match="line 3: its action 'a"):
            read_sidecar("a.jsonl", text.encode(encoding))
        assert read_sidecar("a.jsonl", text.partition("\n")[0].encode(encoding)).labels == ("gehe-über",)
    for data in (text.encode("utf-16-le"), '{"action": "gehe-über"}'.encode("latin-1")):
        with pytest.raises(BadSidecarError, match="save it as UTF-8"):
            read_sidecar("a.jsonl", data)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "has no row"),
        (b"[1]\n", "line 1 is no JSON object"),
        (actions(1) + b'{"action": 1\n', "line 2 is no JSON object"),
        (lines({"steer": 1, "t": 0}), r"no field `action` \(its fields: steer, t\)"),
        (lines({"action": 1}, {"b": 1}), "line 2: it has no field `action`"),
        (lines({"action": 1, "frame": 0}, {"action": 1}), "line 2: it has no field `frame`"),
        (actions(1, "left"), "line 2: its action is a name, that of the first row a whole number"),
        (actions(1, True), "line 2: its action is a true or false"),
        (actions([1, 2], [1]), "line 2: its action has 1 values, that of the first row 2"),
        (actions({"x": 1}), "line 1: its action is {'x': 1}: write a number"),
        (actions(1, None, 2), "line 2: it has no action, or NaN"),
        (b'{"action": [1, NaN]}\n', "line 1: its action has a value that is no finite number"),
        (b'{"action": [1e999]}\n', "no finite number"),
        (b'{"action": 99999999999}\n', "at most 32 bits"),
        (actions("a" * 101), "is no name"),
        (actions([0.5] * 257), "at most 256 are read"),
        (lines({"action": 1, "frame": 0}, {"action": 1, "frame": 0}), "line 2: frame 0 has another row"),
        (lines({"action": 1, "frame": 0}, {"action": 1, "frame": 2}), "frame 1 has no row"),
        (lines({"action": 1, "frame": "0"}), "`frame` is '0'"),
        (lines({"action": 1, "t": 0}, {"action": 1, "t": 0}), "the same as that of the row before"),
        (lines({"action": 1, "t": 1}, {"action": 1, "t": 0}), "sort the rows by `t`"),
        (lines({"action": 1, "t": "1s"}), "must be seconds"),
        (b"\x1f\x8b\x08rest", "packed with gzip: unpack it"),
        (parquet(action=[1]), "let its name end in .parquet"),
    ],
)
def test_a_bad_sidecar_is_refused_with_its_row_and_the_fix(data: bytes, why: str) -> None:
    with pytest.raises(BadSidecarError, match=why):
        read_sidecar("a.jsonl", data)


def test_parquet_that_unpacks_to_too_much_is_refused_before_it_is_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.actions.columns._MOST_ROWS", 4000)
    monkeypatch.setattr("pipeline.actions.columns._MOST_NUMBERS", 6000)
    for actions, why in [([1] * 5000, "5000 rows and 5000 values"), ([[0.5] * 7000], "1 rows and 7000 values")]:
        with pytest.raises(BadSidecarError, match=f"it has {why}: at most"):
            read_sidecar("a.parquet", parquet(action=actions))
    assert read_sidecar("a.parquet", parquet(action=[1, 2], other=[[0] * 7000, []])).labels == ("1", "2")


def test_a_bad_parquet_is_refused_likewise() -> None:
    for data, why in [
        (b"PAR1 and no more", "no Parquet file"),
        (parquet(steer=[1]), "no field `action`"),
        (parquet(action=[1.0, float("nan"), 2.0]), "row 2: its action has a value that is no finite number"),
        (parquet(action=[b"x"]), "row 1: its action is b'x'"),
    ]:
        with pytest.raises(BadSidecarError, match=why):
            read_sidecar("a.parquet", data)
