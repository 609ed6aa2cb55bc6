"""Labels: events fold into ratings, files come in whole or not at all, and nothing counts twice."""

from __future__ import annotations

import csv
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from classifier.labels.files import check_label_file
from classifier.labels.journal import Journal
from classifier.labels.sync import (
    current_labels,
    export_labels,
    import_labels,
    import_truth,
    labels_are_current,
    load_labels,
    sync_journal,
)
from pipeline.arcade.truth import Truth, write_truth
from pipeline.errors import UserError
from pipeline.label_events import agreed_rating, fold
from pipeline.storage.home import home_of
from pipeline.storage.takedown import request_takedown

START = datetime(2026, 11, 20, tzinfo=UTC)


def event(number: int, clip: str, rating: int | None, *, who: str = "ann", kind: str = "rate", at: int | None = None):
    return {
        "event_id": f"e{number}", "clip_id": clip, "rating": rating, "annotator": who, "kind": kind,
        "labelled_at": START + timedelta(seconds=number if at is None else at),
    }  # fmt: skip


def ratings(events) -> dict[str, dict[str, int]]:
    return {clip: {who: e["rating"] for who, e in by.items()} for clip, by in fold(events).items()}


# -- the fold


def test_the_last_event_of_an_annotator_holds():
    events = [event(1, "a", 2), event(2, "a", 5), event(3, "a", 1, who="bob")]
    assert ratings(events) == {"a": {"ann": 5, "bob": 1}}
    assert ratings(reversed(events)) == {"a": {"ann": 5, "bob": 1}}


def test_undo_and_skip_leave_no_rating_until_the_next_one():
    undone = [event(1, "a", 4), event(2, "a", None, kind="undo")]
    assert ratings(undone) == {}
    assert ratings([*undone, event(3, "a", 2)]) == {"a": {"ann": 2}}
    assert ratings([event(1, "a", 4), event(2, "a", None, kind="skip")]) == {}


def test_an_event_counts_once_and_equal_times_are_ordered_by_id():
    assert ratings([event(1, "a", 4), event(1, "a", 4)]) == {"a": {"ann": 4}}
    assert ratings([event(2, "a", 2, at=0), event(1, "a", 1, at=0)]) == {"a": {"ann": 2}}


@pytest.mark.parametrize(
    ("given", "agreed"), [([5], 5), ([4, 5], 4), ([1, 2], 2), ([2, 3], 3), ([3, 4], 3), ([1, 5], 3), ([1, 5, 5], 5)]
)
def test_several_annotators_give_the_median_a_tie_goes_to_the_middle(given, agreed):
    assert agreed_rating(given) == agreed


# -- files


def write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.fixture
def clips(pool_writer) -> list[str]:
    """Three clips of one video whose file name needs quotes."""
    return pool_writer.add("level-1", "ggb", native_id='Level 1, "best" of.mp4')


def test_ratings_by_clip_id_are_imported_once(store, config, clips, tmp_path):
    file = write(tmp_path / "l.csv", f"clip_id,rating\n{clips[0]},5\n{clips[1]},1\n")
    report = import_labels(store, file, "ann", config)
    assert (report.rows, report.added, report.resolved, report.unresolved) == (2, 2, 2, 0)
    assert current_labels(store, config) == {clips[0]: 5, clips[1]: 1}
    version = store.version("labels")
    assert import_labels(store, file, "ann", config).added == 0
    assert store.version("labels") == version


@pytest.mark.parametrize("name", ['"Level 1, ""best"" of.mp4"', "level-1", '"/videos/Level 1, ""best"" of.mp4"'])
@pytest.mark.parametrize(("start_s", "index"), [("0", 0), ("15.6", 1), ("16.4", 1), ("20", 1), ("47.9", 2)])
def test_a_clip_goes_by_its_videos_name_and_second(store, config, clips, tmp_path, name, start_s, index):
    file = write(tmp_path / "l.csv", f"video,start_s,rating\n{name},{start_s},4\n")
    assert import_labels(store, file, "ann", config).resolved == 1
    assert current_labels(store, config) == {clips[index]: 4}


def test_bom_crlf_blank_lines_and_other_columns_do_no_harm(store, config, clips, tmp_path):
    text = f'\ufeffRating,clip_id,title\r\n5,{clips[0]},"one, two"\r\n\r\n1.0,{clips[1]},"a\nb"\r\n'
    import_labels(store, write(tmp_path / "l.csv", text), "ann", config)
    assert current_labels(store, config) == {clips[0]: 5, clips[1]: 1}


def test_the_last_rating_of_a_clip_in_a_file_holds_and_another_file_rates_anew(store, config, clips, tmp_path):
    text = f"clip_id,rating\n{clips[0]},5\n{clips[0]},1\n{clips[0]},5\n{clips[0]},2\n"
    import_labels(store, write(tmp_path / "l.csv", text), "ann", config)
    assert current_labels(store, config) == {clips[0]: 2}
    import_labels(store, write(tmp_path / "m.csv", f"clip_id,rating\n{clips[0]},4\n"), "ann", config)
    assert current_labels(store, config) == {clips[0]: 4}
    import_labels(store, write(tmp_path / "n.csv", f"clip_id,rating\n{clips[0]},1\n"), "bob", config)
    assert current_labels(store, config) == {clips[0]: 3}  # 4 and 1, halfway


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty: the header must hold"),
        ("clip_id,rating\n", "has no rows"),
        ("clip,rating\nx,5\n", r"line 1: unknown column 'clip'"),
        ("clip_id;rating\nx;5\n", r"line 1: unknown column 'clip_id;rating'.*separated by commas"),
        ("clip_id,rating,rating\nx,5,5\n", "line 1: column rating is there twice"),
        ("video,rating\nx,5\n", "line 1: found video, rating; the header must hold"),
        ("clip_id,rating\n{0},5\n{1},6\n", r"line 3: rating '6' is not 1, 2, 3, 4 or 5; nothing was imported"),
        ("clip_id,rating\n{0},4.5\n", r"line 2: rating '4.5'"),
        ("clip_id,rating\n{0},\n", r"line 2: rating ''"),
        ("clip_id,rating\n{0},nan\n", r"line 2: rating 'nan'"),
        ("clip_id,rating\n{0},5,5\n", "line 2: 3 cells under 2 columns"),
        ("clip_id,rating\n,5\n", "line 2: the row names no clip"),
        ("video,start_s,rating\nx,soon,5\n", r"line 2: start_s 'soon'"),
        ("video,start_s,rating\nx,-1,5\n", r"line 2: start_s '-1'"),
        ('clip_id,rating\n{0},5\n"{1},5\n', "line 3: not CSV"),
        (b"clip_id,rating\n\xff\xfe,5\n", "line 2: not UTF-8 text"),
        ("clip_id,rating\nno-such-clip,5\n", r"none of its 1 rows names a clip.*line 2: no-such-clip"),
    ],
)
def test_a_wrong_file_is_refused_whole_and_named(store, config, clips, tmp_path, text, message):
    given = text if isinstance(text, bytes) else text.replace("{0}", clips[0]).replace("{1}", clips[1])
    with pytest.raises(UserError, match=rf"label file 'wrong.csv'.*{message}"):
        import_labels(store, write(tmp_path / "wrong.csv", given), "ann", config)
    assert store.version("labels") == -1


def test_a_file_can_be_checked_before_there_are_clips(tmp_path):
    assert check_label_file(write(tmp_path / "l.csv", "clip_id,rating\nx,5\ny,1\n")) == 2
    with pytest.raises(UserError, match="line 3: rating '7'"):
        check_label_file(write(tmp_path / "l.csv", "clip_id,rating\nx,5\ny,7\n"))


def test_a_missing_file_is_named(store, config, tmp_path):
    with pytest.raises(UserError, match=r"gone.csv' cannot be read: No such file"):
        import_labels(store, tmp_path / "gone.csv", "ann", config)


def test_a_name_of_two_videos_is_refused_with_both_ids(store, config, pool_writer, tmp_path):
    pool_writer.add("one", "g", native_id="a/run.mp4")
    pool_writer.add("two", "g", native_id="b/run.mp4")
    file = write(tmp_path / "l.csv", "video,start_s,rating\nrun.mp4,0,5\n")
    with pytest.raises(UserError, match=r"line 2: 'run.mp4' is the name of 2 videos \(one, two\)"):
        import_labels(store, file, "ann", config)
    write(file, "video,start_s,rating\nb/run.mp4,0,5\n")
    import_labels(store, file, "ann", config)
    assert [clip.startswith("two-") for clip in current_labels(store, config)] == [True]


def test_rows_without_a_clip_wait_for_it(store, config, clips, pool_writer, tmp_path):
    text = "video,start_s,rating\nlevel-1,0,5\nbroken.mp4,0,1\nlevel-1,480,1\n"
    report = import_labels(store, write(tmp_path / "l.csv", text), "ann", config)
    assert (report.resolved, report.unresolved) == (1, 2)
    assert report.examples == ("line 3: broken.mp4 at 0.0 s", "line 4: level-1 at 480.0 s")
    assert store.read("labels", ["resolved"])["resolved"].to_pylist() == [True, False, False]
    assert load_labels(store, config).unresolved == 2
    late = pool_writer.add("late", "b", native_id="broken.mp4")
    labels = load_labels(store, config)
    assert labels.ratings == {clips[0]: 5, late[0]: 1}
    assert labels.unresolved == 1


def test_a_clip_of_an_unfinished_cut_has_no_label_yet(store, config, clips, pool_writer, tmp_path):
    failed = pool_writer.add("half", "g", state="failed")
    text = f"clip_id,rating\n{clips[0]},5\n{failed[0]},1\n"
    assert import_labels(store, write(tmp_path / "l.csv", text), "ann", config).unresolved == 1
    assert current_labels(store, config) == {clips[0]: 5}


def held(store, config) -> dict[str, dict[str, int]]:
    events = load_labels(store, config).events
    return {clip: {who: event["rating"] for who, event in by.items()} for clip, by in events.items()}


@pytest.mark.parametrize("name", ["out.csv", "out.parquet"])
def test_an_export_comes_back_the_same(store, config, clips, tmp_path, name):
    import_labels(store, write(tmp_path / "l.csv", f"clip_id,rating\n{clips[0]},5\n{clips[1]},1\n"), "ann", config)
    text = 'video,start_s,rating\n"Level 1, ""best"" of.mp4",0,2\n'
    import_labels(store, write(tmp_path / "m.csv", text), "bob", config)
    before = {
        clip: {who: e["rating"] for who, e in by.items()} for clip, by in load_labels(store, config).events.items()
    }
    assert export_labels(store, tmp_path / name, config) == 3
    store.replace("labels", [])
    assert import_labels(store, tmp_path / name, "someone", config).added == 3
    assert held(store, config) == before


def test_an_export_is_a_table_with_a_header(store, config, clips, tmp_path):
    import_labels(store, write(tmp_path / "l.csv", f"clip_id,rating\n{clips[0]},5\n"), "ann", config)
    export_labels(store, tmp_path / "out.csv", config)
    rows = list(csv.DictReader((tmp_path / "out.csv").read_text("utf-8").splitlines()))
    assert [(row["clip_id"], row["rating"], row["annotator"]) for row in rows] == [(clips[0], "5", "ann")]
    with pytest.raises(UserError, match="cannot be written"):
        export_labels(store, tmp_path / "no" / "folder.csv", config)


# -- the journal and the embedded source


def test_the_journal_is_appended_once(store, config, clips):
    home = home_of(store)
    assert sync_journal(store, home) == 0
    assert store.version("labels") == -1
    base = {"clip_id": clips[0], "stream": "random", "seconds": 1.5, "rating": None}
    ids = [f"00000000-0000-4000-8000-00000000000{i}" for i in range(3)]
    with Journal(home.journal) as journal:
        journal.append([{**base, "event_id": ids[0], "kind": "rate", "rating": 5}], "ann")
        journal.append([{**base, "event_id": ids[1], "kind": "undo"}], "ann")
        journal.append([{**base, "event_id": ids[2], "kind": "rate", "rating": 2}], "ann")
    assert not labels_are_current(store, home, config)
    assert sync_journal(store, home) == 3
    assert labels_are_current(store, home, config)
    version = store.version("labels")
    assert sync_journal(store, home) == 0
    assert store.version("labels") == version
    assert current_labels(store, config) == {clips[0]: 2}


def test_the_embedded_source_stands_in_until_a_person_rates(store, config, pool_writer, tmp_path):
    home = home_of(store)
    clips = pool_writer.add("arcade-run", "ggb", source="arcade", native_id="run")
    truth = Truth("run", "black_intro", 48.0, ((0.0, 16.0, 1), (16.0, 32.0, 5)), None, "f")
    write_truth(home.arcade, truth)
    assert import_truth(store, home, config) == 2
    assert import_truth(store, home, config) == 0
    assert current_labels(store, config) == {clips[0]: 1, clips[1]: 5}
    assert load_labels(store, config).by_people == frozenset()
    import_labels(store, write(tmp_path / "l.csv", f"clip_id,rating\n{clips[1]},2\n"), "ann", config)
    labels = load_labels(store, config)
    assert labels.ratings == {clips[0]: 1, clips[1]: 2}
    assert (labels.by_people, labels.annotators) == (frozenset({clips[1]}), {"ann": 1, "arcade": 2})


def test_labels_of_a_video_that_was_taken_down_teach_nothing(store, config, clips, tmp_path):
    from classifier.training.train import _pool_ratings, load_pool

    import_labels(store, write(tmp_path / "l.csv", f"clip_id,rating\n{clips[0]},5\n"), "ann", config)
    assert _pool_ratings(load_pool(store, config)) == {clips[0]: 5}
    request_takedown(store, "video", "level-1", "asked")
    assert _pool_ratings(load_pool(store, config)) == {}
