"""The journal: append-only, ordered, harmless to repeat, and whole after its writer was killed."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
import uuid
from contextlib import closing
from pathlib import Path

import pytest

from classifier.labels.journal import Journal, check_event, journal_rows
from pipeline.errors import UserError


def event(clip: str = "a-000000000-ab", rating: int | None = 5, kind: str = "rate", **more):
    return check_event({"event_id": str(uuid.uuid4()), "clip_id": clip, "kind": kind, "rating": rating, **more})


def test_events_come_back_in_order_as_rows_of_labels(tmp_path):
    with Journal(tmp_path / "j.sqlite") as journal:
        given = [event(seconds=1.5, stream="random"), event(kind="undo", rating=None), event(rating=2)]
        assert journal.append(given[:2], "ann") == ([e["event_id"] for e in given[:2]], {})
        journal.append(given[2:], "bob")
    rows = journal_rows(tmp_path / "j.sqlite")
    assert [row["event_id"] for row in rows] == [e["event_id"] for e in given]
    assert [(row["kind"], row["rating"], row["annotator"]) for row in rows] == [
        ("rate", 5, "ann"), ("undo", None, "ann"), ("rate", 2, "bob"),
    ]  # fmt: skip
    assert rows[0]["labelled_at"] < rows[1]["labelled_at"] < rows[2]["labelled_at"]
    assert (rows[0]["seconds"], rows[0]["stream"], rows[0]["origin"]) == (1.5, "random", "page")
    assert journal_rows(tmp_path / "none.sqlite") == []


def test_sending_an_event_again_is_harmless_and_reusing_its_id_is_refused(tmp_path):
    with Journal(tmp_path / "j.sqlite") as journal:
        first = event()
        assert journal.append([first, first], "ann")[0] == [first["event_id"]] * 2
        for other in ({**first, "rating": 1}, {**first, "repeat": True}):
            saved, refused = journal.append([other], "ann")
            assert (saved, list(refused)) == ([], [first["event_id"]])
        assert [row["rating"] for row in journal.events()] == [5]


def test_a_clock_that_is_set_back_does_not_turn_events_around(tmp_path, monkeypatch):
    with Journal(tmp_path / "j.sqlite") as journal:
        journal.append([event(rating=1)], "ann")
        monkeypatch.setattr(time, "time", lambda: 1000.0)
        journal.append([event(rating=2)], "ann")
        rows = journal.events()
    assert [row["rating"] for row in rows] == [1, 2]
    assert rows[0]["labelled_at"] < rows[1]["labelled_at"]


@pytest.mark.parametrize("sql", ["UPDATE events SET rating = 1", "DELETE FROM events"])
def test_nothing_that_was_written_can_be_changed(tmp_path, sql):
    with Journal(tmp_path / "j.sqlite") as journal:
        journal.append([event()], "ann")
    with closing(sqlite3.connect(tmp_path / "j.sqlite")) as db, pytest.raises(sqlite3.IntegrityError, match="append"):
        db.execute(sql)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"event_id": "1"}, "event_id '1' is not"),
        ({"clip_id": "../x"}, "clip_id"),
        ({"clip_id": None}, "clip_id None"),
        ({"kind": "delete"}, "kind 'delete'"),
        ({"rating": 6}, "rating 6"),
        ({"rating": True}, "rating True"),
        ({"rating": 4.0}, "rating 4.0"),
        ({"kind": "skip"}, "a skip has no rating"),
        ({"seconds": -1}, "seconds -1"),
        ({"seconds": float("nan")}, "seconds nan"),
        ({"stream": ["x"]}, "stream"),
        ({"inclusion": 0}, "inclusion 0"),
        ({"inclusion": 1.5}, "inclusion 1.5"),
        ({"inclusion": True}, "inclusion True"),
        ({"reasons": "menu"}, "reasons .menu."),
        ({"reasons": ["menu", "boring"]}, "boring"),
        ({"reasons": [["menu"]]}, "reasons"),
        ({"repeat": 1}, "repeat 1"),
    ],
)
def test_a_wrong_event_names_its_field(change, message):
    with pytest.raises(ValueError, match=message):
        event(**change) if "event_id" not in change else check_event({**event(), **change})
    with pytest.raises(ValueError, match="an event is an object"):
        check_event([1])


def test_a_file_that_is_no_journal_is_named(tmp_path):
    (tmp_path / "j.sqlite").write_bytes(b"not a database at all, but text" * 10)
    with pytest.raises(UserError, match=r"j.sqlite' cannot be used: file is not a database"):
        Journal(tmp_path / "j.sqlite")


_WRITER = """
import sys, uuid
from pathlib import Path
from classifier.labels.journal import Journal, check_event
with Journal(Path(sys.argv[1])) as journal:
    while True:
        event = check_event({"event_id": str(uuid.uuid4()), "clip_id": "a", "kind": "rate", "rating": 3})
        for saved in journal.append([event], "ann")[0]:
            print(saved, flush=True)
"""


def test_what_was_acknowledged_outlives_a_killed_writer(tmp_path):
    path, acked = tmp_path / "j.sqlite", []
    for _ in range(3):
        with subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(path)], stdout=subprocess.PIPE, text=True,
            cwd=Path(__file__).parents[4],
        ) as writer:  # fmt: skip
            assert writer.stdout is not None
            for _ in range(15):
                acked.append(writer.stdout.readline().strip())
            os.kill(writer.pid, signal.SIGKILL)
            acked += [line.strip() for line in writer.stdout if line.endswith("\n")]
    rows = journal_rows(path)
    assert len(acked) >= 45
    assert set(acked) <= {row["event_id"] for row in rows}
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)


_EARLIER = """
CREATE TABLE events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, event_id TEXT NOT NULL UNIQUE, clip_id TEXT NOT NULL,
    annotator TEXT NOT NULL, kind TEXT NOT NULL CHECK (kind IN ('rate', 'skip', 'undo')),
    rating INTEGER CHECK ((kind = 'rate' AND rating BETWEEN 1 AND 5) OR (kind <> 'rate' AND rating IS NULL)),
    stream TEXT NOT NULL, seconds REAL, labelled_us INTEGER NOT NULL
) STRICT;
CREATE TRIGGER events_no_update BEFORE UPDATE ON events
BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
CREATE TRIGGER events_no_delete BEFORE DELETE ON events
BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
INSERT INTO events VALUES (1, 'old', 'a-000000000-ab', 'ann', 'rate', 4, 'random', 2.5, 1700000000000000);
"""


def test_a_journal_of_an_earlier_version_keeps_its_labels_and_takes_new_ones(tmp_path):
    path = tmp_path / "j.sqlite"
    with closing(sqlite3.connect(path)) as db:
        db.executescript(_EARLIER)
    new = event(stream="uncertain", inclusion=0.25, reasons=["overlay", "menu"], repeat=True)
    with Journal(path) as journal, Journal(path) as second:  # two processes may open it at once
        assert journal.append([new], "ann")[0] == [new["event_id"]]
        assert len(second.events()) == 2
    carried = [
        {name: row[name] for name in ("rating", "stream", "inclusion", "reasons", "repeat")}
        for row in journal_rows(path)
    ]
    assert carried == [
        {"rating": 4, "stream": "random", "inclusion": None, "reasons": [], "repeat": False},
        {"rating": 5, "stream": "uncertain", "inclusion": 0.25, "reasons": ["menu", "overlay"], "repeat": True},
    ]
    for sql in ("UPDATE events SET repeat = 0", "DELETE FROM events"):
        with closing(sqlite3.connect(path)) as db, pytest.raises(sqlite3.IntegrityError, match="append"):
            db.execute(sql)
