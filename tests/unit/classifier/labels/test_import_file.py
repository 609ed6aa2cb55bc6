"""A file of labels comes in whole or not at all, once, and names its errors by line."""

from __future__ import annotations

from pathlib import Path

import pytest

from classifier.labels.import_file import import_labels
from pipeline.errors import UserError
from pipeline.label_events import current_labels, load_labels


def write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


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
    report = import_labels(store, write(tmp_path / "l.csv", text), "ann", config)
    assert current_labels(store, config) == {clips[0]: 2}
    (note,) = report.notes()
    assert note.startswith("3 rows rate a clip again with another rating, and the last one of a clip counts: line 3: ")
    assert f"line 3: {clips[0]}, rated 1 after 5 in line 2" in note
    import_labels(store, write(tmp_path / "m.csv", f"clip_id,rating\n{clips[0]},4\n"), "ann", config)
    assert current_labels(store, config) == {clips[0]: 4}
    import_labels(store, write(tmp_path / "n.csv", f"clip_id,rating\n{clips[0]},1\n"), "bob", config)
    assert current_labels(store, config) == {clips[0]: 3}  # 4 and 1, halfway


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty: the header must hold"),
        ("clip_id,rating\n", "has no rows"),
        ("clip,rating\nx,5\n", r"line 1: found the columns 'clip', 'rating'; the header must hold clip_id,rating"),
        ("clip_id#rating\nx#5\n", r"line 1: found the columns 'clip_id#rating'; the header must hold"),
        ("clip_id,rating,rating\nx,5,5\n", "line 1: column rating is there twice: delete one of them"),
        ("start_s,rating\n0,5\n", "line 1: found the columns 'start_s', 'rating'; the header must hold"),
        ("clip_id;rating\n{0};5;x\n", "line 2: 3 cells under 2 columns; quote cells that hold semicolons"),
        ("sep=;\nclip_id;rating\n{0};six\n", "line 3: rating 'six' is not 1, 2, 3, 4 or 5; .* Write one of them"),
        ("clip_id,rating\n{0},5\n{1},6\n", r"line 3: rating '6' is not 1, 2, 3, 4 or 5; nothing was imported"),
        ("clip_id,rating\n{0},4.5\n", r"line 2: rating '4.5'"),
        ("clip_id,rating\n{0},\n", r"line 2: rating ''"),
        ("clip_id,rating\n{0},nan\n", r"line 2: rating 'nan'"),
        ("clip_id,rating\n{0},5,5\n", "line 2: 3 cells under 2 columns"),
        ("clip_id,rating,annotator\n{0},5\n", "line 2: 2 cells under 3 columns; write .* or delete column 'annotator'"),
        ("clip_id,rating\n,5\n", "line 2: the row names no clip"),
        ("video,start_s,rating\nx,soon,5\n", r"line 2: start_s 'soon' .* Write a number such as 16 or 16\.5"),
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
