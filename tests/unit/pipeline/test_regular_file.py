"""Files that a person names are regular ones, read up to a limit: a pipe or a device is neither opened nor awaited."""

from __future__ import annotations

import io
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from classifier.labels.label_file import read_label_file
from pipeline.config import DownloadConfig, RulesConfig, SourceConfig
from pipeline.errors import UserError
from pipeline.regular_file import OddFileError, open_regular, read_regular
from pipeline.sources.urls import UrlsSource

# the limit of time is a thread's, because a reader that waits for a pipe hears no signal
pytestmark = pytest.mark.timeout(60, method="thread")


def pipe(path: Path) -> None:
    os.mkfifo(path)


def listening(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.fspath(path))


ODD: dict[str, tuple[Callable[[Path], object], str]] = {
    "pipe": (pipe, "it is a named pipe, not a regular file"),
    "link to a pipe": (lambda path: (pipe(path.with_name("p")), path.symlink_to("p")), "it is a named pipe"),
    "endless device": (lambda path: path.symlink_to("/dev/zero"), "it is a device"),
    "terminal": (lambda path: path.symlink_to("/dev/tty"), "it is a device"),
    "socket": (listening, "it is a socket"),
    "folder": (lambda path: path.mkdir(), "it is a folder"),
    "huge": (lambda path: (path.touch(), os.truncate(path, 1 << 40)), "it has 1048576 MB, and at most"),
    "dangling link": (lambda path: path.symlink_to("absent"), "No such file"),
    "link to itself": (lambda path: path.symlink_to(path), "Too many levels of symbolic links"),
}


@pytest.fixture(params=ODD)
def odd(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, str]:
    """A name that belongs to no file that could be read, and the reason."""
    monkeypatch.chdir(tmp_path)  # a socket's path may not be long
    make, why = ODD[request.param]
    make(Path("odd.csv"))
    return tmp_path / "odd.csv", why


def test_what_is_no_regular_file_is_refused_with_what_it_is(odd: tuple[Path, str]) -> None:
    path, why = odd
    with pytest.raises(OSError, match=why):
        read_regular(path, 1 << 20)


def test_a_file_that_calls_itself_regular_and_would_be_waited_for_is_odd_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "like-kmsg"
    os.mkfifo(path)
    writer = os.open(path, os.O_RDWR)
    # files of the kernel, such as /proc/kmsg, say so
    monkeypatch.setattr("pipeline.regular_file.what_it_is", lambda mode: "")
    try:
        with pytest.raises(OddFileError, match="nothing to read now"):
            read_regular(path, 1 << 20)
    finally:
        os.close(writer)


def test_a_list_of_urls_a_file_of_cookies_and_one_of_labels_are_regular_files(odd: tuple[Path, str]) -> None:
    path, why = odd
    with pytest.raises(UserError, match=rf"source.spec = 'urls:{path}': the list cannot be read: {why}"):
        list(UrlsSource(SourceConfig(spec=f"urls:{path}"), RulesConfig(), DownloadConfig()).search())
    with pytest.raises(UserError, match=rf"source.cookies = '{path}': {why}.*export a cookies.txt"):
        UrlsSource(SourceConfig(spec="urls:x", cookies=str(path)), RulesConfig(), DownloadConfig())
    with pytest.raises(UserError, match=rf"label file '{path}' cannot be read: {why}"):
        read_label_file(path)


def test_a_file_that_grows_is_read_up_to_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "grows"
    path.write_bytes(b"x" * 10)
    assert read_regular(path, 10) == b"x" * 10
    with pytest.raises(OddFileError, match="at most 0 MB are read"):
        read_regular(path, 9)
    # a file of the system claims no bytes and has some
    with pytest.raises(OddFileError, match="it has no end"):
        read_regular("/proc/self/maps", 100)


def test_a_pipe_that_takes_the_name_of_a_file_after_the_look_is_not_waited_for(
    tmp_path: Path,
) -> None:
    path, file = tmp_path / "p", tmp_path / "f"
    pipe(path)
    file.touch()
    looked = os.stat(file)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.regular_file._mode_of", lambda path: looked.st_mode)
        with pytest.raises(OddFileError, match="named pipe"):
            open_regular(path)


def test_lines_that_are_no_cookies_are_left_out_and_not_printed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], package_logs: pytest.LogCaptureFixture
) -> None:
    good = "127.0.0.1\tFALSE\t/\tFALSE\t0\tname\tvalue\n"
    path = tmp_path / "cookies.txt"
    path.write_text(f"# Netscape HTTP Cookie File\n{good}127.0.0.1\tSECRET\n127.0.0.1\tFALSE\t/\tFALSE\tx\tn\tSECRET\n")
    UrlsSource(SourceConfig(spec="urls:x", cookies=str(path)), RulesConfig(), DownloadConfig())
    assert "2 lines of" in package_logs.text
    assert "SECRET" not in package_logs.text + "".join(capfd.readouterr())
    path.write_text('[{"name": "SECRET"}]')
    with pytest.raises(UserError, match="must be Netscape formatted, not JSON"):
        UrlsSource(SourceConfig(spec="urls:x", cookies=str(path)), RulesConfig(), DownloadConfig())


@pytest.mark.parametrize(
    ("cells", "told"),
    [
        ("1e300,5", "start_s '1e300' is not a time"), ("NaN,5", "start_s 'NaN'"), ("-1,5", "start_s '-1'"),
        ("inf,5", "start_s 'inf'"), (f"{'9' * 5000},5", "is not a time"), ("1_0,5", "start_s '1_0'"),
        ("1,5.5", "rating '5.5'"), ("1,1e400", "rating '1e400'"), ("1,True", "rating 'True'"), ("1,٣", "rating '٣'"),
    ],
)  # fmt: skip
def test_a_label_file_with_an_odd_number_is_refused_with_its_line(tmp_path: Path, cells: str, told: str) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(f"video,start_s,rating\nfine,16,3\nodd,{cells}\n")
    with pytest.raises(UserError, match="line 3: ") as caught:
        read_label_file(path)
    assert told in str(caught.value)


def test_a_small_file_of_a_thousand_million_equal_labels_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "labels.parquet"
    one = pa.table({"clip_id": ["a"], "rating": [5]})
    pq.write_table(one, path)
    assert [row.rating for row in read_label_file(path).rows] == [5]
    many = pa.nulls(3_000_000, pa.string())
    out = io.BytesIO()
    pq.write_table(pa.table({"clip_id": many, "rating": many}), out)
    path.write_bytes(out.getvalue())
    with pytest.raises(UserError, match="has 3,000,000 rows; at most 2,000,000 are read"):
        read_label_file(path)


def test_odd_numbers_in_a_parquet_of_labels_are_refused_with_their_line(tmp_path: Path) -> None:
    path = tmp_path / "labels.parquet"
    pq.write_table(pa.table({"video": ["a", "b"], "start_s": [1.0, float("inf")], "rating": [5, 5]}), path)
    with pytest.raises(UserError, match="line 3: start_s 'inf'"):
        read_label_file(path)
