"""What `lampworks export world.html` refuses, and what it advises instead."""

import pytest

from assets.cli.main import main
from models.export import export_page as module
from models.export.export_page import PageExport, export_page
from pipeline.config import Config
from pipeline.errors import UserError
from pipeline.storage.store import Store


@pytest.fixture
def exported(make_world, tmp_path, monkeypatch):
    """Export a tiny world whose graphs, page and contents are stand-ins, and return the result."""
    store = Store(str(tmp_path / "root"))

    class Graph:
        def SerializeToString(self):
            return b"graph"

    class Told:
        about = {"starts": [0, 1]}  # noqa: RUF012

    monkeypatch.setattr(module, "load_world", lambda *given: make_world())
    for name in ("dynamics_graph", "decoder_graph", "in_half"):
        monkeypatch.setattr(module, name, lambda *given: Graph())
    monkeypatch.setattr(module, "contents_of", lambda *given: Told())
    monkeypatch.setattr(module, "page_html", lambda *given: "x" * 2_000_000)

    def run(**options):
        return export_page(store, Config(), tmp_path / "world.html", **options)

    return run


def test_a_page_is_written_under_its_name_at_once(exported, tmp_path):
    assert exported() == PageExport("", 2_000_000, 2)
    assert [file.name for file in tmp_path.iterdir() if file.is_file()] == ["world.html"]


def test_a_page_that_is_too_large_names_the_options_that_help(exported, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_RUNTIME_MB", {"webgpu": 1.0, "wasm": 0.5})
    with pytest.raises(UserError, match=r"takes 2\.0 MB, and --max-mb allows 1\.5: give --backends wasm, or raise"):
        exported(max_mb=1.5)
    with pytest.raises(UserError, match="--weights fp16 and --backends wasm, or raise --max-mb to 3"):
        exported(max_mb=1.5, weights="fp32")
    with pytest.raises(UserError, match=r"--max-mb allows 1\.5: raise --max-mb to 3\."):
        exported(max_mb=1.5, backends="wasm")
    assert not list(tmp_path.glob("*.html"))
    assert not list(tmp_path.glob(".tmp-*"))
    # as advised
    assert exported(max_mb=3.0).size_bytes == 2_000_000


def test_weights_alone_that_are_too_large_are_refused_before_anything_is_computed(exported, monkeypatch):
    monkeypatch.setattr(module, "dynamics_graph", lambda world: pytest.fail("nothing is traced"))
    with pytest.raises(UserError, match=r"--max-mb allows 10: give --backends wasm, or raise --max-mb to 11"):
        exported(max_mb=10.0)


def test_a_failed_write_leaves_the_old_page_as_it_was(exported, tmp_path, monkeypatch):
    (tmp_path / "world.html").write_text("old")

    def fail(*given):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "page_html", fail)
    with pytest.raises(UserError, match=r"No space left on device\. Choose another file\."):
        exported()
    assert (tmp_path / "world.html").read_text() == "old"


def test_a_takedown_during_the_export_draws_the_start_frames_again(exported, tmp_path, monkeypatch):
    from pipeline.storage.takedown import request_takedown

    store, calls = Store(str(tmp_path / "root")), []

    class Told:
        about = {"starts": [0]}  # noqa: RUF012

    def told(*given):
        calls.append(1)
        if len(calls) == 1:
            request_takedown(store, "video", "folder-level-1-0123456789", "asked")
        return Told()

    monkeypatch.setattr(module, "contents_of", told)
    assert exported().starts == 1
    assert len(calls) == 2


def test_a_page_without_a_start_frame_is_refused(exported):
    with pytest.raises(UserError, match="--starts 0: a page needs at least one start frame"):
        exported(starts=0)


@pytest.mark.parametrize("file", ["clips.parquet", "world.tar"])
def test_options_of_a_page_are_refused_for_another_file(tmp_path, capsys, file):
    code = main(["export", str(tmp_path / file), "--starts", "2", "--max-mb", "9", "--root", str(tmp_path / "root")])
    assert code == 2
    assert (
        f"--starts, --max-mb: of a world's page only: call the file {file.split('.')[0]}.html"
        in capsys.readouterr().err
    )
