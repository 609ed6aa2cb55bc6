"""Files of labels as programs and people save them are read; what means nothing is named, and what is wrong refused."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from classifier.labels.import_file import import_labels
from classifier.labels.label_file import read_label_file
from pipeline.errors import UserError
from pipeline.label_events import current_labels

CASES = os.environ.get("LAMPWORKS_CASES")


@pytest.fixture
def clip(store, pool_writer) -> str:
    """The only clip of a video with an odd name, beside one with another name."""
    pool_writer.add("other", "b", native_id="videos/other.webm")
    return pool_writer.add("run", "a", native_id="videos/Run 1 (best).mp4")[0]


def read(tmp_path: Path, name: str, data: str | bytes | list[object]) -> list[tuple[str | None, float | None, int]]:
    """Write a file and return what is read of it."""
    text = json.dumps(data) if isinstance(data, list) else data
    (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return [(row.clip_id or row.video, row.start_s, row.rating) for row in read_label_file(tmp_path / name).rows]


TABLE = "video,start_s,rating\na.mp4,16,5\n"


@pytest.mark.parametrize(
    "data",
    [
        TABLE,
        TABLE.replace(",", ";"),
        TABLE.replace(",", "\t"),
        "sep=;\r\n" + TABLE.replace(",", ";").replace("\n", "\r\n"),
        "sep=,\n" + TABLE,
        "SEP=\t\n" + TABLE.replace(",", "\t"),
        "\ufeff" + TABLE,
        TABLE.encode("utf-16"),
        TABLE.encode("utf-16-le"),
        "\ufeffvideo\tstart_s\trating\r\na.mp4\t16\t5\r\n".encode("utf-16-be"),
        ",video,start_s,rating\n0,a.mp4,16,5\n",
        "Unnamed: 0;video;start_s;rating\n0;a.mp4;16,0;5\n",
        "video,start_s,rating,,,\na.mp4,16,5,,,\n",
        "video,start_s,rating\na.mp4,16,5,,\n",
        "video,start_s,rating,,\na.mp4,16,5\n,,,,\n",
        "\n\nRating , Video,START_S\n5,a.mp4,16.0\n",
        "rating,weather,video,start_s\n5,fine,a.mp4,16\n",
        "video,start_s,rating\na.mp4,16,5.0\n",
        'video,start_s,rating\na.mp4,"16,0","5,0"\n',
        'video, start_s, rating\n"a.mp4", "16", "5"\n',
        ("sep=;\r\n" + TABLE.replace(",", ";")).encode("utf-16"),
        'video,start_s,rating,note\na.mp4,16,5,"two\nlines, and a comma"\n',
        '"sep=;"\r\n' + TABLE.replace(",", ";"),
        'video;start_s;rating;"a, note, with, commas"\na.mp4;16;5;x\n',
        "Video;Start (s);RATING\na.mp4;16;5\n",
    ],
)
def test_a_table_is_read_whatever_program_wrote_it(tmp_path, data):
    assert read(tmp_path, "l.csv", data) == [("a.mp4", 16.0, 5)]


def test_columns_that_mean_nothing_are_named_in_one_line(store, config, clip, tmp_path):
    (tmp_path / "l.csv").write_text(f",weather,clip_id,rating,Mood\n0,fine,{clip},5,good\n")
    report = import_labels(store, tmp_path / "l.csv", "ann", config)
    assert report.notes() == ["ignored columns: (unnamed), weather, mood"]
    assert current_labels(store, config) == {clip: 5}


@pytest.mark.parametrize(
    "name",
    [
        "Run 1 (best).mp4", "Run 1 (best)", "videos/Run 1 (best).mp4", "./videos/Run 1 (best).mp4",
        r"..\videos\Run 1 (best).mp4", r"C:\Users\me\videos\Run 1 (best).mp4", "/mnt/x/Run 1 (best).mp4",
        "/data/upload/1/1a2b3c4d-Run_1_best.mp4", "1a2b3c4d-Run_1_best.mp4", "Run_1_best.mp4",
        "http://ls.example:8080/data/upload/1/1a2b3c4d-Run_1_best.mp4?token=x",
        "/data/local-files/?d=videos/Run%201%20%28best%29.mp4", "s3://bucket/videos/Run 1 (best).mp4",
    ],
)  # fmt: skip
def test_a_video_goes_by_the_names_that_other_programs_give_it(store, config, clip, tmp_path, name):
    (tmp_path / "l.csv").write_text(f'video,start_s,rating\n"{name}",0,4\n')
    assert import_labels(store, tmp_path / "l.csv", "ann", config).resolved == 1
    assert current_labels(store, config) == {clip: 4}


def test_an_exact_name_wins_over_a_looser_one(store, config, pool_writer, tmp_path):
    pool_writer.add("stem", "a", native_id="run")
    pool_writer.add("file", "b", native_id="run.mp4")
    pool_writer.add("prefixed", "c", native_id="1a2b3c4d-run.mp4")
    for name, video in {"run": "stem", "run.mp4": "file", "1a2b3c4d-run.mp4": "prefixed"}.items():
        (tmp_path / f"{video}.csv").write_text(f"video,start_s,rating\n{name},0,3\n")
        import_labels(store, tmp_path / f"{video}.csv", "ann", config)
    assert sorted(clip.split("-")[0] for clip in current_labels(store, config)) == ["file", "prefixed", "stem"]


def test_a_name_without_its_ending_that_two_videos_have_is_refused(store, config, pool_writer, tmp_path):
    pool_writer.add("one", "a", native_id="run.mp4")
    pool_writer.add("two", "b", native_id="run.mkv")
    (tmp_path / "l.csv").write_text("video,start_s,rating\nrun,0,3\n")
    with pytest.raises(UserError, match=r"line 2: 'run' is the name of 2 videos \(one, two\)"):
        import_labels(store, tmp_path / "l.csv", "ann", config)


def test_a_rating_without_a_second_is_one_of_every_clip_of_its_video_also_of_later_ones(
    store, config, clips, pool_writer, tmp_path
):
    (tmp_path / "l.csv").write_text("video,rating\nlevel-1,4\nlate.mp4,2\n")
    report = import_labels(store, tmp_path / "l.csv", "ann", config)
    assert (report.resolved, report.unresolved, report.whole_videos) == (1, 1, 2)
    assert report.examples == ("line 3: late.mp4 whole video",)
    assert current_labels(store, config) == dict.fromkeys(clips, 4)
    late = pool_writer.add("late", "c", native_id="late.mp4")
    assert current_labels(store, config) == dict.fromkeys(clips, 4) | dict.fromkeys(late, 2)
    # a later rating of one clip wins
    (tmp_path / "m.csv").write_text(f"clip_id,rating\n{clips[0]},1\n")
    import_labels(store, tmp_path / "m.csv", "ann", config)
    assert current_labels(store, config)[clips[0]] == 1


# -- Label Studio and JSON --------------------------------------------------------------------------------------------

UPLOAD = "/data/upload/1/1a2b3c4d-a.mp4"
FULL = {
    "id": 11,
    "annotations": [
        {"id": 1, "completed_by": {"id": 1, "email": "ada@example.org"}, "lead_time": 3.2, "was_cancelled": False,
         "result": [{"type": "textarea", "value": {"text": ["fine"]}},
                    {"type": "rating", "from_name": "rating", "to_name": "video", "value": {"rating": 5}}]},
        {"id": 2, "completed_by": 7, "was_cancelled": True, "result": []},
        {"id": 3, "completed_by": 8, "result": [{"type": "choices", "value": {"choices": ["2"]}}]},
    ],
    "file_upload": "1a2b3c4d-a.mp4",
    "data": {"video": UPLOAD, "start_s": 16},
}  # fmt: skip


def test_the_exports_of_label_studio_are_read(tmp_path):
    header = "annotation_id,annotator,created_at,id,lead_time,rating,updated_at,video"
    text = f"{header}\n1,1,2024-01-01T00:00:00Z,11,3.2,5,2024-01-01T00:00:00Z,{UPLOAD}\n2,1,,12,1.0,,,{UPLOAD}\n"
    assert read(tmp_path, "l.csv", text) == [(UPLOAD, None, 5)]
    assert read(tmp_path, "semicolons.csv", text.replace(",", ";").replace("3.2", "3,2")) == [(UPLOAD, None, 5)]
    assert read_label_file(tmp_path / "semicolons.csv").rows[0].seconds == 3.2
    file = read_label_file(tmp_path / "l.csv")
    assert (file.rows[0].annotator, file.rows[0].seconds, file.skipped) == ("1", 3.2, 1)
    assert file.ignored == ("annotation_id", "created_at", "id", "updated_at")

    small = [{"video": UPLOAD, "id": 11, "rating": 5, "annotator": 1, "annotation_id": 1, "lead_time": 3.2}]
    assert read(tmp_path, "min.json", small) == [(UPLOAD, None, 5)]

    assert read(tmp_path, "full.json", [FULL]) == [(UPLOAD, 16.0, 5), (UPLOAD, 16.0, 2)]
    file = read_label_file(tmp_path / "full.json")
    assert [row.annotator for row in file.rows] == ["ada@example.org", "8"]
    assert file.skipped == 1


@pytest.mark.parametrize(
    ("column", "cell"),
    [
        ("rating", '"[{""rating"": 5}]"'), ("rating", '"{""rating"": 5}"'), ("rating", '"{""choices"": [""5""]}"'),
        ("quality", "5"), ("quality", '"[{""rating"": 5}]"'), ("how good", "5.0"),
    ],
)  # fmt: skip
def test_the_control_that_was_rated_with_in_label_studio_may_have_any_name_and_form(tmp_path, column, cell):
    text = f"annotation_id,annotator,id,lead_time,{column},video_url\n1,1,11,3.2,{cell},a.mp4\n"
    assert read(tmp_path, "l.csv", text) == [("a.mp4", None, 5)]
    small = {"video": "a.mp4", "id": 1, "annotation_id": 2, "lead_time": 2.5, column: [{"rating": 4}]}
    assert read(tmp_path, "min.json", [small]) == [("a.mp4", None, 4)]
    task = {"data": {"recording": "a.mp4", "start": 16}, "annotations": FULL["annotations"]}
    assert read(tmp_path, "full.json", [task]) == [("a.mp4", 16.0, 5), ("a.mp4", 16.0, 2)]


def test_two_columns_that_could_be_the_rating_are_told(tmp_path):
    text = "annotation_id,annotator,id,lead_time,fun,sound,video\n1,1,11,3.2,5,4,a.mp4\n"
    with pytest.raises(UserError, match=r"line 1: found the columns .*'fun', 'sound'.*rename or add columns"):
        read(tmp_path, "l.csv", text)
    assert read(tmp_path, "l.csv", text.replace("fun", "rating")) == [("a.mp4", None, 5)]


def test_a_file_named_after_a_clip_rates_that_clip(store, config, clip, tmp_path):
    for number, name in enumerate((f"{clip}.mp4", f"/data/upload/3/0a1b2c3d-{clip}.mp4")):
        (tmp_path / f"{number}.csv").write_text(f"video,rating\n{name},{number + 1}\n")
        assert import_labels(store, tmp_path / f"{number}.csv", "ann", config).resolved == 1
        assert current_labels(store, config) == {clip: number + 1}
    (tmp_path / "l.csv").write_text(f"clip_id,rating\n{clip}.mp4,5\n")
    assert import_labels(store, tmp_path / "l.csv", "ann", config).resolved == 1


def test_objects_of_json_and_lines_of_json_are_rows(tmp_path):
    rows = [{"video": "a.mp4", "start_s": 16, "rating": 5}, {"video": "b.mp4", "start_s": 0, "rating": "1", "x": None}]
    wanted = [("a.mp4", 16.0, 5), ("b.mp4", 0.0, 1)]
    assert read(tmp_path, "l.json", list(rows)) == wanted
    for name in ("l.jsonl", "lines.json"):
        assert read(tmp_path, name, "\n".join(map(json.dumps, rows)) + "\n") == wanted
    pq.write_table(pa.Table.from_pylist([{**row, "rating": 5.0} for row in rows]), tmp_path / "l.parquet")
    assert [row.video for row in read_label_file(tmp_path / "l.parquet").rows] == ["a.mp4", "b.mp4"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("l.json", "[", r"line 1: not JSON"),
        ("l.json", "[5]", r"entry 1: a row must be an object such as"),
        ("l.json", "{}", "is empty: the header must hold"),
        ("l.json", "[]", "is empty: the header must hold"),
        ("l.jsonl", '{"video": "a", "start_s": 0, "rating": 5}\n{', r"line 2: not JSON"),
        ("l.json", '[{"video": "a", "start_s": 0, "rating": 9}]', r"line 1: rating '9' is not"),
        ("l.json", "[" * 100_000, "not JSON"),
    ],
)
def test_json_that_is_none_of_this_is_refused_with_its_place(tmp_path, name, text, message):
    with pytest.raises(UserError, match=rf"label file '{name}'.*{message}"):
        read(tmp_path, name, text)


def test_pandas_and_arrow_write_a_table_by_column_with_bytes_and_with_equal_names(tmp_path):
    by_column = {"video": {"3": "a.mp4", "4": "b.mp4"}, "start_s": {"3": 16, "4": None}, "rating": {"3": 5.0, "4": 1}}
    (tmp_path / "l.json").write_text(json.dumps(by_column))
    wanted = [("a.mp4", 16.0, 5), ("b.mp4", None, 1)]
    assert [(row.video, row.start_s, row.rating) for row in read_label_file(tmp_path / "l.json").rows] == wanted
    columns = [pa.array([b"a.mp4"]).dictionary_encode(), pa.array([16]), pa.array([5]), *[pa.array([1])] * 2]
    names = ["video", "start_s", "rating", "x", "x"]
    for name in ("l.parquet", "l.pq"):
        pq.write_table(pa.table([*columns, pa.array([["menu", "face"]])], names=[*names, "reasons"]), tmp_path / name)
        file = read_label_file(tmp_path / name)
        assert [(row.video, row.rating, row.reasons) for row in file.rows] == [("a.mp4", 5, ("menu", "face"))]
        assert file.ignored == ("x", "x")


def test_reasons_are_read_as_people_write_them(tmp_path):
    text = 'clip_id,rating,reasons\nc.mp4,1,"Menu; not a platformer"\nc.mp4,1,not-a-platformer/faces\nc.mp4,1,submenu\n'
    (tmp_path / "l.csv").write_text(text)
    found = [row.reasons for row in read_label_file(tmp_path / "l.csv").rows]
    assert found == [("menu", "not_a_platformer"), ("not_a_platformer",), ()]


@pytest.mark.parametrize("name", ["start", "start_ms", "Begin", "clip start", "timecode"])
def test_a_second_under_another_name_is_never_taken_for_a_rating_of_the_whole_video(tmp_path, name):
    text = f"video,{name},rating\na.mp4,16,5\n"
    with pytest.raises(UserError, match="not read as the start of a clip; rename it to start_s and write seconds"):
        read(tmp_path, "l.csv", text)
    assert read(tmp_path, "l.csv", text.replace(name, "start_s")) == [("a.mp4", 16.0, 5)]
    assert read(tmp_path, "l.csv", "video,rating,seconds\na.mp4,5,2.5\n") == [("a.mp4", None, 5)]


@pytest.mark.parametrize("cell", ["0", "7", "-1", "often"])
def test_an_inclusion_that_is_no_probability_is_refused(tmp_path, cell):
    with pytest.raises(UserError, match=rf"line 2: inclusion '{cell}' is not a probability .* or leave the cell empty"):
        read(tmp_path, "l.csv", f"video,rating,inclusion\na.mp4,5,{cell}\n")
    assert read(tmp_path, "l.csv", "video,rating,inclusion\na.mp4,5,\n") == [("a.mp4", None, 5)]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"PK\x03\x04\x14\x00\x06\x00", "is an Excel workbook or another zip file: save the sheet as CSV UTF-8"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1", "is an Excel workbook: save the sheet as CSV UTF-8"),
        (b"\x1f\x8b\x08\x00", "is compressed with gzip: unpack it"),
    ],
)
def test_a_file_that_is_no_text_is_called_what_it_is(tmp_path, data, message):
    with pytest.raises(UserError, match=message):
        read(tmp_path, "l.csv", data)


@pytest.mark.skipif(not CASES, reason="LAMPWORKS_CASES names no folder of difficult files")
@pytest.mark.parametrize(
    ("name", "rows", "ignored"),
    [
        ("l02_excel_de_semicolon.csv", [("a01_UPPER.MP4", 0.0, 5), ("a02_Clip.MOV", 0.0, 1)], ()),
        ("l18_pandas_index.csv", [("a01_UPPER.MP4", 0.0, 5)], ("(unnamed)",)),
        ("l07_labelstudio.csv", [("/data/upload/1/1a2b3c4d-a01_UPPER.MP4", None, 5)],
         ("annotation_id", "created_at", "id", "updated_at")),
    ],
)  # fmt: skip
def test_files_that_people_reported_are_read(name, rows, ignored):
    file = read_label_file(Path(CASES or "") / name)
    assert [(row.video, row.start_s, row.rating) for row in file.rows] == rows
    assert file.ignored == ignored
