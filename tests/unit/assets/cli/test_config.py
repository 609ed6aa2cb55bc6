"""`lampworks config` shows every setting with its origin, and `--set` changes one for good."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from assets.cli.main import main
from pipeline.config import describe_settings, preset


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith(("LAMPWORKS_", "DAGSTER_"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def settings(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, dict[str, Any]]:
    """The settings that `lampworks config --json` prints, by name."""
    assert main(["config", "--json", *arguments]) == 0
    return {row["name"]: row for row in json.loads(capsys.readouterr().out)}


def test_every_setting_is_printed_with_its_sentence_and_the_preset_as_its_origin(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    found = settings(capsys)
    assert list(found) == [one.name for one in describe_settings(preset("demo"))]
    assert all(row["sentence"] for row in found.values())
    assert {row["origin"] for row in found.values()} == {"preset demo"}
    assert list(tmp_path.iterdir()) == [], "looking writes nothing"


def test_each_origin_is_named_and_the_command_line_wins(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("own.yaml").write_text("clips: {crf: 20, gop: 8}\n")
    monkeypatch.setenv("LAMPWORKS_SOURCE", "youtube")
    found = settings(capsys, "--config", "own.yaml", "--set", "clips.gop=4")
    named = ("clips.crf", "clips.gop", "source.spec")
    assert {name: (found[name]["value"], found[name]["origin"]) for name in named} == {
        "clips.crf": (20, "file own.yaml"),
        "clips.gop": (4, "--set"),
        "source.spec": ("youtube", "LAMPWORKS_SOURCE"),
    }
    monkeypatch.delenv("LAMPWORKS_SOURCE")
    again = settings(capsys)
    assert (again["clips.gop"]["value"], again["clips.gop"]["origin"]) == (4, "the root's config.yaml")
    assert again["clips.fps"]["origin"] == "preset demo"


def test_a_password_in_an_address_is_not_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "source.proxy", "--set", "source.proxy=http://me:hunter2@host:1"]) == 0
    shown = capsys.readouterr().out
    assert "hunter2" not in shown
    assert "http://***@host:1" in shown


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["clips.crv"], "setting 'clips.crv' does not exist"),
        (["--set", "clips.crv=1"], "did you mean clips.crf?"),
        (["--set", "clips.crf=300"], "must lie between 0 and 51"),
        (["--set", "clips.crf"], "write NAME=VALUE"),
    ],
)
def test_a_wrong_name_or_value_is_refused_and_nothing_is_written(
    arguments: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["config", *arguments]) == 2
    assert told in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
