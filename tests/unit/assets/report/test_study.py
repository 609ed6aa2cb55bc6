"""The page of studies: each study writes its own section, and leaves those of others alone."""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
import threading
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from assets.report.charts import curves_chart
from assets.report.study import Chart, Study, Table, write_study
from pipeline.errors import UserError

STUDY = Study(
    name="cloning",
    title="Cloning",
    about="What was asked.",
    command="lampworks study cloning --root DIR",
    conditions="2 cores, 3 seeds.",
    found=["It finishes 5 of 8 levels (0.4 to 0.8)."],
    tables=[Table("Scores", ["arm", "score"], [["a|b", "1.0\n"]])],
    charts=[Chart("scores", "Scores", curves_chart({"oracle": [(1, 2), (3, 4)]}), ["oracle"])],
    pictures={"sheet.png": b"png"},
    figures={"score": 0.5},
)


def test_a_study_writes_its_figures_its_section_and_drawings_that_stand_alone(tmp_path: Path) -> None:
    page = tmp_path / "docs" / "studies.md"
    written = write_study(STUDY, tmp_path / "out", page=page)
    assert {path.is_file() for path in written} == {True}
    assert json.loads((tmp_path / "out" / "study.json").read_text("utf-8")) == {"score": 0.5}
    text = page.read_text("utf-8")
    assert text.startswith("# Studies\n")
    for part in ("## Cloning", STUDY.command, STUDY.conditions, STUDY.found[0], "| a\\|b | 1.0 |", "blue: oracle"):
        assert part in text
    for name in ("cloning-scores.svg", "cloning-sheet.png"):
        assert f"](studies/{name})" in text
        assert (page.parent / "studies" / name).is_file()
    drawing = ElementTree.parse(page.parent / "studies" / "cloning-scores.svg").getroot()
    assert drawing.tag == "{http://www.w3.org/2000/svg}svg"


def test_a_study_replaces_its_own_section_and_no_other(tmp_path: Path) -> None:
    page = tmp_path / "studies.md"
    other = dataclasses.replace(STUDY, name="prompts", title="Prompts", found=[r"a \1 of others"])
    for study in (STUDY, other, dataclasses.replace(STUDY, title="Cloning again", found=["\\g<0>"])):
        write_study(study, tmp_path / "out", page=page)
    text = page.read_text("utf-8")
    assert "## Cloning\n" not in text
    assert text.index("## Cloning again") < text.index("## Prompts")
    assert "- \\g<0>" in text
    assert r"a \1 of others" in text
    assert text.count("## ") == 2


def test_a_study_waits_for_another_that_writes_the_page(tmp_path: Path) -> None:
    page = tmp_path / "studies.md"
    write_study(STUDY, tmp_path / "out", page=page)
    held = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    other = dataclasses.replace(STUDY, name="prompts", title="Prompts")
    writing = threading.Thread(target=write_study, args=(other, tmp_path / "other"), kwargs={"page": page})
    writing.start()
    writing.join(0.3)
    assert writing.is_alive()
    # what the one that holds it has written meanwhile stays
    page.write_text(page.read_text("utf-8").replace("## Cloning", "## Cloning again"), "utf-8")
    os.close(held)
    writing.join()
    text = page.read_text("utf-8")
    assert "## Cloning again" in text
    assert "## Prompts" in text


def test_a_folder_that_cannot_be_written_is_told_with_the_option(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", "utf-8")
    with pytest.raises(UserError, match="--out"):
        write_study(STUDY, tmp_path / "file")
