"""The ledger: what attempts amount to, in columns for all videos, and what is due."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config import Config, SourceConfig
from pipeline.download.ledger import State, download_states, fold, fold_all, fold_parts
from pipeline.storage.schemas import SCHEMAS
from pipeline.storage.store import Store
from pipeline.storage.takedown import request_takedown

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
CONFIG = Config(source=SourceConfig(spec="youtube"))


def video(name: str, batch: str | None = "b", **facts: Any) -> dict[str, Any]:
    return {
        "video_id": name,
        "batch": batch,
        "source": "youtube",
        "verdict": "kept",
        "url": f"https://x.invalid/{name}",
    } | facts


def attempt(name: str, state: str, minute: int, **facts: Any) -> dict[str, Any]:
    row = {"attempt_id": f"{name}{minute}", "video_id": name, "batch": "b", "attempt": 1, "state": state}
    return row | {"finished_at": NOW + timedelta(minutes=minute)} | facts


def rows(table: str, values: Iterable[Mapping[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist([dict(value) for value in values], schema=SCHEMAS[table])


def state_of(*attempts: Mapping[str, Any]) -> State:
    folded = fold(rows("videos", [video("v")]), rows("downloads", attempts)).to_pylist()[0]
    return State(**{name: folded[name] for name in State.__dataclass_fields__ if folded.get(name) is not None})


def test_a_state_is_the_fold_of_the_attempts_in_any_order() -> None:
    first = attempt("v", "pending", 1, error_class="transient", next_try_at=LATER)
    second = attempt("v", "failed", 2, error_class="permanent", message="gone", attempt=2)
    third = attempt("v", "ok", 3, path="raw/x", sha256="s", bytes=7, attempt=3)
    fourth = attempt("v", "ok", 4, path="raw/other", sha256="t", bytes=8, attempt=3)
    assert state_of().is_due(NOW)
    waiting = state_of(first)
    assert (waiting.state, waiting.is_due(NOW), waiting.is_due(LATER)) == ("pending", False, True)
    over = state_of(second, first)
    assert (over.state, over.error_class, over.attempts, over.is_due(LATER)) == ("failed", "permanent", 2, False)
    for order in ([first, second, third, fourth], [fourth, third, second, first]):
        done = state_of(*order)
        assert (done.state, done.path, done.bytes, done.error_class) == ("ok", "raw/x", 7, None)


def test_refusals_of_a_site_are_counted_apart_from_the_attempts_at_the_video() -> None:
    state = state_of(
        attempt("v", "pending", 1, error_class="source_blocked"),
        attempt("v", "pending", 2, error_class="rate_limited", attempt=2),
        attempt("v", "pending", 3, error_class="transient", attempt=3),
    )
    assert (state.attempts, state.refused) == (3, 2)


def test_a_file_that_was_dropped_leaves_its_video_downloaded_until_a_new_one_comes() -> None:
    fetched = attempt("v", "ok", 1, path="raw/x", sha256="s", bytes=7, duration_s=2.0)
    dropped = attempt("v", "dropped", 2, path="raw/x", sha256="s")
    state = state_of(dropped, fetched)
    assert (state.state, state.dropped, state.path, state.sha256, state.bytes) == ("ok", True, None, "s", 7)
    again = state_of(fetched, dropped, attempt("v", "ok", 3, path="raw/y", sha256="t", attempt=2))
    assert (again.dropped, again.path, again.sha256) == (False, "raw/y", "t")


def test_what_only_the_download_tells_rejects() -> None:
    state = state_of(attempt("v", "rejected", 1, error_class="opt_out", message="X-Robots-Tag: noai"))
    assert (state.state, state.error_class, state.is_due(LATER)) == ("rejected", "opt_out", False)


EVENT = st.tuples(
    st.sampled_from("abc"),
    st.sampled_from(["ok", "pending", "failed", "rejected", "dropped"]),
    st.integers(0, 5),
    st.sampled_from([None, "transient", "rate_limited"]),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(EVENT, max_size=12, unique_by=lambda event: (event[0], event[2])), st.randoms())
def test_the_fold_in_columns_is_the_fold_of_each_video_alone(events: list[Any], random: Any) -> None:
    attempts = [
        attempt(
            name, state, minute, error_class=why, path=f"raw/{name}{minute}", sha256=f"{name}{minute}", attempt=minute
        )
        for name, state, minute, why in events
    ]
    random.shuffle(attempts)
    folded = fold(rows("videos", [video(name) for name in "cab"]), rows("downloads", attempts)).to_pylist()
    assert [row["video_id"] for row in folded] == list("cab")
    for row in folded:
        mine = sorted(
            (one for one in attempts if one["video_id"] == row["video_id"]), key=lambda one: one["finished_at"]
        )
        tries = [one for one in mine if one["state"] != "dropped"]
        drops = [index for index, one in enumerate(mine) if one["state"] == "dropped"]
        good = [one for one in mine if one["state"] == "ok"]
        kept = [one for one in mine[drops[-1] + 1 if drops else 0 :] if one["state"] == "ok"]
        assert row["state"] == ("ok" if good else tries[-1]["state"] if tries else "pending")
        assert row["path"] == (kept[0]["path"] if kept else None)
        assert row["dropped"] == bool(good and not kept)
        assert row["sha256"] == (kept[0]["sha256"] if kept else good[-1]["sha256"] if good else None)
        assert row["refused"] == sum(one["error_class"] == "rate_limited" for one in mine)
        assert row["error_class"] == (tries[-1]["error_class"] if tries and not good else None)


def fill(store: Store) -> None:
    store.append("videos", [video("new"), video("waits"), video("done", "c"), video("other", "d", source="urls")])
    store.append("videos", [video("no", "e", verdict="rejected")])
    store.append(
        "downloads",
        [
            attempt("waits", "pending", 1, error_class="transient", next_try_at=LATER),
            attempt("done", "ok", 1, path="raw/c/done", sha256="s", batch="c"),
        ],
    )


def test_all_videos_and_those_of_a_batch_fold_to_the_same(store: Store) -> None:
    fill(store)
    request_takedown(store, "video", "new", "asked")
    whole = {row["video_id"]: row for row in fold_all(store).to_pylist()}
    assert {name: row["state"] for name, row in whole.items()} == {
        "new": "taken_down", "waits": "pending", "done": "ok", "other": "pending",
    }  # fmt: skip
    for batch in ("b", "c", "d"):
        for name, state in download_states(store, batch).items():
            assert (state.state, state.path, state.sha256, state.next_try_at, state.attempts) == tuple(
                whole[name][key] for key in ("state", "path", "sha256", "next_try_at", "attempts")
            )


@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize("unnamed", [None, "attempts", "videos"])
def test_states_folded_in_parts_are_those_of_the_whole(
    store: Store, monkeypatch: pytest.MonkeyPatch, size: int, unnamed: str | None
) -> None:
    """Also where older versions named no batch in their rows."""
    names = [f"v{number}" for number in range(12)]
    batches = {name: f"b{number // 3}" for number, name in enumerate(names)}
    store.append("videos", [video(name, batches[name]) for name in names])
    states = ("ok", "pending", "failed", "dropped", "retried")
    tries = [(name, f"b{number // 3}", minute) for number, name in enumerate(names) for minute in range(number % 4)]
    store.append(
        "downloads",
        [
            attempt(
                name, states[(minute + len(name) + int(name[1:])) % 5], minute, attempt=minute + 1, path=f"raw/{name}",
                sha256=name, batch=None if unnamed == "attempts" and minute % 2 else batch,
            )
            for name, batch, minute in tries
        ],
    )  # fmt: skip
    if unnamed == "videos":
        store.append("videos", [video("old", None)])
        store.append("downloads", [attempt("old", "ok", 1, path="raw/old", sha256="old", batch="b2")])
    whole = fold_all(store)
    assert len({row["state"] for row in whole.to_pylist()}) > 2
    monkeypatch.setattr("pipeline.download.ledger._PART_VIDEOS", size)
    parts = list(fold_parts(store))
    assert len(parts) == (1 if unnamed == "videos" else {1: 4, 2: 4, 3: 4, 7: 2}[size])
    assert pa.concat_tables(parts).sort_by("video_id").to_pylist() == whole.sort_by("video_id").to_pylist()


def test_a_store_without_rows_has_no_states(store: Store) -> None:
    assert len(fold_all(store)) == 0
    assert download_states(store) == {}
