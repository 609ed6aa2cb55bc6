"""An odd file of settings ends a command with one sentence that names it, and never with a traceback or a wait."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from assets.cli.main import main
from assets.settings import load_settings, parse_storage_options, save_config
from pipeline.errors import UserError


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith(("LAMPWORKS_", "DAGSTER_"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def make_odd(path: Path, kind: str) -> None:
    match kind:
        case "fifo":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case "brackets":
            path.write_text("[" * 3000)
        case "bytes":
            path.write_bytes(bytes(range(256)))
        case "link to nothing":
            path.symlink_to(path.parent / "gone")


@pytest.mark.parametrize("kind", ["fifo", "folder", "brackets", "bytes", "link to nothing"])
@pytest.mark.parametrize("place", ["--config", "variable", "root"])
def test_an_odd_file_of_settings_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str, place: str
) -> None:
    root = tmp_path / "root"
    root.mkdir()
    odd = root / "config.yaml" if place == "root" else tmp_path / "odd.yaml"
    make_odd(odd, kind)
    if place == "variable":
        monkeypatch.setenv("LAMPWORKS_CONFIG", str(odd))
    chosen = ["--config", str(odd)] if place == "--config" else []
    assert main(["config", "--root", str(root), *chosen]) == 2
    shown = capsys.readouterr().err
    assert shown.startswith(f"error: configuration '{odd}'")
    assert len(shown.splitlines()) <= 6


def test_an_odd_setting_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "--set", "clips.crf=" + "[" * 3000]) == 2
    assert capsys.readouterr().err.startswith("error: setting 'clips.crf=[[[")


@pytest.mark.parametrize("text", ['{"key": ' * 3000, "{", '{"key": 1e99999'])
def test_odd_storage_options_are_no_json(text: str) -> None:
    with pytest.raises(UserError, match="storage options are not JSON"):
        parse_storage_options(text)


@pytest.mark.parametrize("kind", ["fifo", "brackets", "bytes", "link to nothing"])
def test_what_stands_in_the_way_of_the_remembered_settings_is_replaced(tmp_path: Path, kind: str) -> None:
    (tmp_path / "mine.yaml").write_text("clips: {crf: 21}")
    root = tmp_path / "root"
    root.mkdir()
    make_odd(root / "config.yaml", kind)
    chosen = load_settings(str(root), config=tmp_path / "mine.yaml")
    assert save_config(chosen)
    assert not save_config(chosen)
    assert load_settings(str(root)).config.clips.crf == 21


def test_a_folder_in_their_place_is_named(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("clips: {crf: 21}")
    root = tmp_path / "root"
    (root / "config.yaml").mkdir(parents=True)
    chosen = load_settings(str(root), config=tmp_path / "mine.yaml")
    with pytest.raises(UserError, match=rf"configuration '{root}/config.yaml' cannot be written: .*remove what has"):
        save_config(chosen)
    assert os.listdir(root) == ["config.yaml"]
    (root / "config.yaml").rmdir()
    assert save_config(chosen)
