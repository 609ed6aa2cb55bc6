"""A root opens from any form of its name, and holds tables and blobs together, in a folder and on S3."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import UserError
from pipeline.storage.store import Store


def tombstone(number: int | str, reason: str = "asked") -> dict[str, Any]:
    return {"takedown_id": str(number), "kind": "video", "target": f"v{number}", "reason": reason}


def ids(store: Store) -> list[str]:
    return sorted(store.read("takedowns", columns=["takedown_id"])["takedown_id"].to_pylist())


@pytest.mark.parametrize("name", ["a%20b", "a[b]", "a\\b", "a\nb"])
def test_a_root_that_the_table_format_cannot_hold_is_refused(tmp_path: Path, name: str):
    with pytest.raises(UserError, match="choose another with --root"):
        Store(tmp_path / name)


@pytest.mark.parametrize("name", ["a" * 256, "é" * 128, "abcdefg/" * 500])
def test_a_root_with_a_name_that_no_folder_can_have_is_refused(tmp_path: Path, name: str):
    with pytest.raises(UserError, match=r"is too long .*choose another with --root") as caught:
        Store(tmp_path / name)
    assert len(str(caught.value)) < 500
    # the longest that may be is a folder like any other
    store = Store(tmp_path / ("a" * 255))
    store.append("takedowns", [tombstone(1)])
    assert ids(store) == ["1"]


def test_a_kind_of_root_that_cannot_be_opened_is_refused_without_its_secrets():
    with pytest.raises(UserError, match=r"'nope' roots cannot be opened .*s3://BUCKET/PREFIX with --root") as caught:
        Store("nope://u:SECRET@host/x?SECRET")
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize("name", ["a b", "é😀", "#1?", "o'clock", "a:b"])
def test_unusual_roots_hold_tables_and_blobs(tmp_path: Path, name: str):
    store = Store(tmp_path / name)
    store.append("takedowns", [tombstone(1)])
    store.merge("takedowns", [tombstone(1), tombstone(2)], on=["takedown_id"])
    store.write_blob("x y/ü", b"1")
    assert ids(store) == ["1", "2"]
    assert store.list_blobs("x y") == ["x y/ü"]


@pytest.mark.parametrize("form", ["{}", "file://{}", "file:{}"])
def test_a_folder_may_be_given_as_a_path_or_a_file_url(tmp_path: Path, form: str):
    assert Store(form.format(tmp_path)).root == str(tmp_path)


def test_a_store_travels_into_worker_processes(store: Store):
    store.append("takedowns", [tombstone(1)])
    assert ids(pickle.loads(pickle.dumps(store))) == ["1"]


def _environment() -> dict[str, str]:
    root = Path(__file__).parents[4]
    return {**os.environ, "PYTHONPATH": str(root)}


def test_blobs_and_tables_behave_the_same_on_s3(s3_options: dict[str, str]):
    store = Store("s3://lampworks-test/store", s3_options)
    store.check_writable()
    store.write_blob("a/b.tar", b"01234")
    assert store.read_range("a/b.tar", 1, 3) == b"123"
    with pytest.raises(EOFError):
        store.read_range("a/b.tar", 3, 6)
    assert store.list_blobs("a") == ["a/b.tar"]
    with store.local_file("a/b.tar") as path:
        assert path.read_bytes() == b"01234"
    store.delete("a/b.tar")
    assert not store.exists("a/b.tar")
    store.append("takedowns", [tombstone(1)], inputs={"x": 1})
    store.merge("takedowns", [tombstone(1, "changed"), tombstone(2)], on=["takedown_id"])
    assert ids(store) == ["1", "2"]
    store.replace("takedowns", [tombstone(3)])
    assert ids(pickle.loads(pickle.dumps(store))) == ["3"]


def test_a_disk_that_fills_up_leaves_nothing_half_written(store: Store):
    store.append("takedowns", [tombstone(1)])
    store.write_blob("x", b"old")
    # a limit on file sizes stands in for the full disk
    program = (
        "import resource, signal, sys\nfrom pipeline.storage.store import Store\n"
        f"store = Store({store.root!r})\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "rows = [{'takedown_id': f'{k * 7919 % 99991:x}' * 9} for k in range(9000)]\n"
        "for write in (lambda: store.write_blob('x', b'1' * 9000), lambda: store.append('takedowns', rows)):\n"
        "    try:\n        write()\n    except Exception as exc:\n        print(type(exc).__name__)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=_environment())
    assert len(done.stdout.split()) == 2, done.stdout + done.stderr
    assert store.read_blob("x") == b"old"
    assert store.list_blobs("") == [key for key in store.list_blobs("") if ".tmp-" not in key]
    assert ids(store) == ["1"]
    store.append("takedowns", [tombstone(2)])
    assert ids(store) == ["1", "2"]
