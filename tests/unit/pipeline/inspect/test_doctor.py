"""The doctor: what it says of machines that are well and of machines that are not."""

from __future__ import annotations

import importlib.metadata
import re
import sys
import tomllib
from datetime import date
from pathlib import Path

import pytest

from pipeline.config import Config, SourceConfig
from pipeline.inspect.doctor import (
    PYTHONS,
    check_disk,
    check_ffmpeg,
    check_javascript,
    check_python,
    check_store,
    check_ytdlp,
    run_doctor,
    wrong_script,
)
from pipeline.storage.home import home_of
from pipeline.storage.store import Store


def test_this_machine_is_well_and_every_lack_names_its_fix(store: Store) -> None:
    findings = run_doctor(store, home_of(store), Config(source=SourceConfig(spec="arcade")))
    assert [finding.name for finding in findings] == ["python", "ffmpeg", "yt-dlp", "javascript", "disk", "store"]
    assert all(finding.detail for finding in findings)
    assert all(finding.fix for finding in findings if not finding.ok)
    assert store.list_blobs("") == []


@pytest.mark.parametrize(
    ("version", "ok"), [((3, 10, 9), False), ((3, 11, 0), True), ((3, 13, 4), True), ((3, 14, 0), False)]
)
def test_python_is_judged_by_its_version(version: tuple[int, ...], ok: bool) -> None:
    finding = check_python(version)
    assert finding.ok is ok
    assert ok or finding.fix == "use Python 3.11 to 3.13"


def test_the_versions_of_python_are_those_that_the_package_allows() -> None:
    project = tomllib.loads((Path(__file__).parents[4] / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["requires-python"] == ">={}.{},<{}.{}".format(*PYTHONS[0], *PYTHONS[1])


def test_ffmpeg_is_the_one_of_the_wheel() -> None:
    finding = check_ffmpeg()
    assert finding.ok
    assert "imageio_ffmpeg" in finding.detail


def test_yt_dlp_is_judged_by_its_age() -> None:
    assert check_ytdlp("2026.10.26", date(2026, 11, 20)).detail == "2026.10.26, 25 days old"
    old = check_ytdlp("2026.1.2", date(2026, 11, 20))
    assert not old.ok
    assert "322 days old" in old.detail
    assert "--upgrade yt-dlp" in old.fix
    assert check_ytdlp("master", date(2026, 11, 20)).ok


@pytest.mark.parametrize(
    ("found", "script", "ok", "detail"),
    [
        ({}, "", False, "no runtime"),
        ({"node": "20.20.2"}, "", False, "node 20.20.2 is too old"),
        ({"node": "22.1.0"}, "", True, "node 22.1.0"),
        ({"deno": "2.9.8", "node": "20.20.2"}, "", True, "deno 2.9.8"),
        ({"deno": "2.9.8"}, "yt-dlp-ejs 0.7.0 is not 0.8.0", False, "deno 2.9.8, but yt-dlp-ejs 0.7.0 is not 0.8.0"),
    ],
)
def test_only_youtube_needs_a_javascript_runtime(found: dict[str, str], script: str, ok: bool, detail: str) -> None:
    finding = check_javascript(found, script, needed=True)
    assert (finding.ok, finding.detail, bool(finding.fix)) == (ok, detail, not ok)
    assert check_javascript(found, script, needed=False).ok


def test_yt_dlp_gets_the_script_that_a_runtime_is_given_from_a_package_and_downloads_none() -> None:
    pytest.importorskip("yt_dlp_ejs", reason="this environment is older than the dependency: make setup-dev")
    import yt_dlp
    from yt_dlp.extractor.youtube.jsc._builtin.deno import DenoJCP
    from yt_dlp.extractor.youtube.jsc._builtin.ejs import ScriptSource, ScriptType
    from yt_dlp.extractor.youtube.jsc._director import initialize_jsc_director

    assert wrong_script() == ""
    with yt_dlp.YoutubeDL({"quiet": True}) as client:
        providers = initialize_jsc_director(client.get_info_extractor("Youtube")).providers
        [deno] = [one for one in providers.values() if isinstance(one, DenoJCP)]
        assert {deno._get_script(kind).source for kind in ScriptType} == {ScriptSource.PYPACKAGE}


def test_a_script_that_is_missing_or_of_another_yt_dlp_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr("importlib.metadata.version", missing)
    assert re.fullmatch(r"the script yt-dlp-ejs [\d.]+ is missing", wrong_script())
    monkeypatch.setattr("importlib.metadata.version", lambda name: "0.0.1")
    assert wrong_script().startswith("yt-dlp-ejs 0.0.1 is not ")


def test_a_yt_dlp_that_tells_no_version_of_its_script_is_not_judged_by_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yt_dlp.extractor.youtube.jsc._builtin.vendor", None)
    assert wrong_script() == ""


def test_a_full_disk_and_a_root_that_cannot_be_written_are_findings_not_errors(tmp_path: Path) -> None:
    assert check_disk(tmp_path / "not/yet", 0.0).ok
    full = check_disk(tmp_path, 1e9)
    assert not full.ok
    assert "download.min_free_gb" in full.fix
    (tmp_path / "file").write_bytes(b"")
    blocked = check_store(Store(tmp_path / "file" / "root"))
    assert not blocked.ok
    assert "--root" in blocked.fix
