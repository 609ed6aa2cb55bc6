import tempfile
from pathlib import Path

import pyarrow as pa

from classifier.decision.before import keep_decision_before
from classifier.decision.content import content_of, decided_content
from pipeline.storage.rows import rows_table
from pipeline.storage.store import Store
from pipeline.storage.takedown import request_takedown

A, B, C = (f"folder-{name}-000000000-aaaaaaaa" for name in "abc")


def decision(**verdicts: str) -> pa.Table:
    of = {"a": A, "b": B, "c": C}
    rows = [
        {"clip_id": of[name], "video_id": f"folder-{name}", "batch": "w", "decision": verdict,
         "reason": f"because {verdict}", "probability": 0.25, "rule_version": "r1", "model_version": "m1"}
        for name, verdict in verdicts.items()
    ]  # fmt: skip
    return rows_table("curated", rows)


def keep(store: Store, coming: pa.Table) -> None:
    with tempfile.TemporaryDirectory() as folder:
        keep_decision_before(store, content_of(coming.to_batches()), Path(folder))


def publish(store: Store, table: pa.Table) -> None:
    keep(store, table)
    store.replace("curated", table, inputs={"content": content_of(table.to_batches())})


def before(store: Store) -> dict[str, str]:
    return {row["clip_id"]: row["decision"] for row in store.read("decided_before").to_pylist()}


def test_the_first_decision_has_none_before_it(store: Store):
    publish(store, decision(a="keep"))
    assert store.version("decided_before") == -1


def test_the_decision_before_is_kept_when_another_replaces_it(store: Store):
    publish(store, decision(a="keep", b="drop"))
    publish(store, decision(a="drop", b="drop", c="keep"))
    assert before(store) == {A: "keep", B: "drop"}
    [row, _] = store.read("decided_before").sort_by("clip_id").to_pylist()
    assert (row["reason"], row["probability"], row["video_id"]) == ("because keep", 0.25, "folder-a")
    assert store.inputs("decided_before")["model_version"] == "m1"
    publish(store, decision(a="keep"))
    assert before(store) == {A: "drop", B: "drop", C: "keep"}


def test_the_same_verdicts_under_another_rule_leave_it_as_it_is(store: Store):
    publish(store, decision(a="keep"))
    publish(store, decision(a="drop"))
    version = store.version("decided_before")
    same = decision(a="drop")
    same = same.set_column(same.column_names.index("rule_version"), "rule_version", pa.array(["r2"]))
    publish(store, same)
    assert (before(store), store.version("decided_before")) == ({A: "keep"}, version)


def test_a_kill_before_the_next_decision_loses_and_doubles_nothing(store: Store):
    publish(store, decision(a="keep", b="drop"))
    keep(store, decision(a="drop", b="drop"))
    version = store.version("decided_before")
    publish(store, decision(a="drop", b="drop"))
    assert (before(store), store.version("decided_before")) == ({A: "keep", B: "drop"}, version)


def test_no_reason_that_is_kept_names_another_clip(store: Store):
    # a row of an older version has no kind
    [row] = decision(b="drop").to_pylist()
    publish(store, rows_table("curated", [{**row, "reason": f"duplicate of {A}"}]))
    publish(store, decision(b="keep"))
    assert [row["reason"] for row in store.read("decided_before").to_pylist()] == ["duplicate"]


def test_what_was_taken_down_is_not_kept_and_makes_no_other_decision(store: Store):
    store.append("videos", [{"video_id": "folder-a"}, {"video_id": "folder-b"}])
    publish(store, decision(a="keep", b="drop"))
    request_takedown(store, "video", "folder-a", "asked by the owner")
    publish(store, decision(b="keep"))
    assert before(store) == {B: "drop"}


def test_equal_decisions_have_equal_hashes_in_every_root(store: Store, tmp_path):
    other = Store(tmp_path / "other")
    publish(store, decision(a="keep", b="drop"))
    publish(other, decision(a="drop"))
    publish(other, decision(a="keep", b="drop"))
    assert decided_content(store) == decided_content(other) == content_of(decision(a="keep", b="drop").to_batches())
    assert decided_content(store) != content_of(decision(a="keep", b="review").to_batches())
    assert decided_content(Store(tmp_path / "empty")) is None
    # a table that an older version wrote has no hash beside it
    store.replace("curated", decision(b="drop", a="keep"))
    assert decided_content(store) == decided_content(other)


def test_no_other_clip_is_named_in_what_is_kept(store: Store):
    """Its video may be taken down, while this row stays."""
    row = {"clip_id": B, "video_id": "folder-b", "batch": "w", "decision": "drop"}
    rows = [
        {**row, "kind": "duplicate", "reason": f"duplicate of {A}"},
        {**row, "clip_id": C, "kind": None, "reason": "old"},
    ]
    publish(store, rows_table("curated", rows))
    publish(store, decision(a="keep"))
    assert store.read("decided_before").sort_by("clip_id")["reason"].to_pylist() == ["duplicate", "old"]
