"""Parts of a study are measured once, whatever ended the process between them."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.studies.cells import Cells, on_days
from pipeline.errors import UserError


def no_measurement() -> dict[str, float]:
    raise AssertionError("it was measured before")


def test_what_was_measured_before_a_kill_is_not_measured_again(tmp_path: Path) -> None:
    first = Cells(tmp_path, {"seeds": 3})
    assert first.get("latent-seed0", lambda: {"score": 0.5}) == {"score": 0.5}

    def killed() -> dict[str, float]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        first.get("latent-seed1", killed)
    again = Cells(tmp_path, {"seeds": 3})
    assert again.get("latent-seed0", no_measurement) == {"score": 0.5}
    assert again.get("latent-seed1", lambda: {"score": 0.25}) == {"score": 0.25}
    assert (first.measured, again.measured) == (1, 1)


def test_the_days_of_parts_are_known_whether_they_are_measured_or_read(tmp_path: Path) -> None:
    first = Cells(tmp_path, {})
    first.get("seed0", lambda: {"score": 0.5})
    [today] = first.days
    part = first.folder / "seed0.json"
    part.write_text(part.read_text().replace(today, "2026-01-31"))
    (first.folder / "old.json").write_text('{"score": 1}')
    again = Cells(tmp_path, {})
    assert again.get("seed0", no_measurement) == {"score": 0.5}
    assert again.get("old", no_measurement) == {"score": 1}
    assert again.days == {"2026-01-31"}
    again.get("seed1", lambda: {"score": 0.25})
    assert on_days(again.days) == f", 2026-01-31 to {today}"
    assert (on_days([today, today]), on_days([])) == (f", {today}", "")


def test_parts_of_other_inputs_are_not_taken(tmp_path: Path) -> None:
    Cells(tmp_path, {"world": "a"}).get("score", lambda: {"value": 1})
    assert Cells(tmp_path, {"world": "b"}).get("score", lambda: {"value": 2}) == {"value": 2}


def test_a_damaged_part_is_measured_again(tmp_path: Path) -> None:
    cells = Cells(tmp_path, {})
    cells.get("score", lambda: {"value": 1})
    for damage in ("", '{"value": ', "[1]", "[" * 100_000):
        (cells.folder / "score.json").write_text(damage, "utf-8")
        assert Cells(tmp_path, {}).get("score", lambda: {"value": 2}) == {"value": 2}


def test_a_number_that_is_not_finite_is_no_part(tmp_path: Path) -> None:
    cells = Cells(tmp_path, {})
    with pytest.raises(ValueError, match="'score' has the number nan"):
        cells.get("score", lambda: {"rows": [{"value": float("nan")}]})
    assert cells.get("score", lambda: {"rows": []}) == {"rows": []}


def test_a_name_that_is_a_path_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no name"):
        Cells(tmp_path, {}).get("../score", no_measurement)


def test_a_folder_that_cannot_be_made_is_told_with_the_option(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", "utf-8")
    with pytest.raises(UserError, match="--out"):
        Cells(tmp_path / "file", {})
