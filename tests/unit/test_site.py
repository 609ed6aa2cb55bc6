"""The documentation site builds without a broken link, describes every setting and command, and asks no other host."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from assets.cli.main import main
from pipeline.config import PRESETS, describe_settings, preset
from pipeline.config.reference import config_reference
from tests.unit.test_docs_paths import commands

ROOT = Path(__file__).parents[2]
LOADED = re.compile(r"""<(?:script|img|iframe|source)[^>]* src="(https?:)?//|<link[^>]* href="(https?:)?//|@import""")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site as `make docs` builds it."""
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


@pytest.mark.heavy
def test_the_site_has_every_page_setting_and_command(site: Path) -> None:
    missing = {page.stem for page in (ROOT / "docs").glob("*.md")} - {page.stem for page in site.glob("*.html")}
    assert missing == set()
    settings = (site / "reference" / "settings.html").read_text("utf-8")
    anchors = sorted(re.findall(r'<a id="([\w.]+)"></a>', settings))
    assert anchors == sorted(one.name for one in describe_settings(preset("demo")))
    told = (site / "reference" / "commands.html").read_text("utf-8")
    assert set(re.findall(r"<h2[^>]*>lampworks ([a-z-]+)", told)) == commands()


@pytest.mark.heavy
def test_no_page_of_the_site_loads_anything_from_another_host(site: Path) -> None:
    # a block of mermaid would make the theme's script fetch a program from elsewhere
    found = [
        page.name
        for page in site.rglob("*.html")
        if LOADED.search(text := page.read_text("utf-8")) or 'class="mermaid"' in text
    ]
    assert found == []
    assert "world_model</text>" in (site / "architecture.html").read_text("utf-8")


def test_the_command_prints_every_setting_with_its_bounds_unit_sentence_and_the_value_of_each_preset(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["config", "--reference"]) == 0
    printed = capsys.readouterr().out
    assert printed == config_reference()
    [entry] = re.findall(r'<a id="training.checkpoint_every"></a>(.*?)<a id=', printed, re.DOTALL)
    assert "(int, must be at least 1, steps)" in entry
    assert "Steps between checkpoints, from which a killed run goes on." in entry
    values = {f"`{preset(name).training.checkpoint_every}`" for name in PRESETS}
    assert set(re.findall("`[^`]+`", entry.split("Value:")[1])) == values
    assert all(re.search(r"\n:   \S", part) for part in printed.split("<a id=")[1:])


def test_the_reference_is_of_no_root_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "--reference", "clips"]) == 2
    assert "give no NAME" in capsys.readouterr().err
