from pathlib import Path

import pytest

from pipeline.storage.home import home_of
from pipeline.storage.store import Store


def test_the_home_of_a_folder_is_the_folder_itself(tmp_path: Path):
    home = home_of(Store(tmp_path / "root"))
    assert home.folder == tmp_path / "root"
    assert {home.dagster, home.arcade, home.journal, home.lock, home.tmp} == {
        tmp_path / "root" / name for name in ("dagster", "arcade", "labels.sqlite", "lock", "tmp")
    }


def test_two_object_stores_have_two_homes_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    first, second = home_of(Store("s3://bucket/a")), home_of(Store("s3://bucket/b"))
    assert first.folder.parent == second.folder.parent == tmp_path
    assert first != second
    assert first == home_of(Store("s3://bucket/a"))
    assert not first.folder.exists()  # naming a home makes nothing


def test_a_folder_of_ones_own_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert home_of(Store("s3://bucket/a"), "here").folder == tmp_path / "here"
