"""Keep the measured parts of a study on disk: after a kill, the same command measures only what is missing.

    cells = Cells(Path("build/studies/cloning"), {"seeds": 3, "world": "3f0c", "steps": 400})
    score = cells.get("latent-100-seed1", lambda: measure(...))      # measured once

A part is one JSON file. Parts of other inputs (settings, models) are never mixed: they lie in a folder of their own.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.config import fingerprint
from pipeline.errors import UserError

_DAY = "measured_on"
"""Key of a part's file that is no part of its value."""
_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,99}")


class Cells:
    """The parts of one study with one set of inputs."""

    def __init__(self, folder: Path, inputs: Mapping[str, Any]) -> None:
        """Name the inputs (JSON values) on which every part depends; UserError where the folder cannot be made."""
        self.folder = folder / "cells" / fingerprint(json.dumps(inputs, sort_keys=True))
        self.measured = 0
        """Parts that were measured and not read."""
        self.days: set[str] = set()
        """Days (UTC) on which the parts were measured that were asked for; parts of earlier versions have none."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            # what a person who looks into the folder wants to know
            _write(self.folder / "inputs.json", dict(inputs))
        except OSError as exc:
            raise UserError(f"{str(folder)!r} cannot be written ({exc}): name another folder with --out") from exc

    def get(self, name: str, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Return the part of a name: as it was measured before, or measured now.

        Args:
            name: lower case letters, digits, `_`, `.` and `-`.
            measure: returns JSON values; numbers are finite.

        Raises:
            ValueError: the name is none, or a number is not finite.
        """
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name of a part")
        path = self.folder / f"{name}.json"
        found = _read(path)
        if found is not None:
            if isinstance(day := found.pop(_DAY, None), str):
                self.days.add(day)
            return found
        value = measure()
        today = f"{datetime.now(UTC):%Y-%m-%d}"
        _write(path, {**value, _DAY: today})
        self.measured += 1
        self.days.add(today)
        return value


def on_days(days: Iterable[str]) -> str:
    """Return days as they follow the name of a machine: `, 2026-11-26`, with the last day where there are several."""
    ordered = sorted(set(days))
    return "".join(f", {day}" for day in ordered[:1]) + "".join(f" to {day}" for day in ordered[1:][-1:])


def _read(path: Path) -> dict[str, Any] | None:
    """Return the part of a file; None where there is none, or it is damaged: it is measured again."""
    try:
        value = json.loads(path.read_text("utf-8"))
    except (FileNotFoundError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _write(path: Path, value: dict[str, Any]) -> None:
    _check_finite(path.stem, value)
    temporary = path.with_name(f".tmp-{path.name}")
    temporary.write_text(json.dumps(value, indent=1) + "\n", "utf-8")
    temporary.replace(path)


def _check_finite(name: str, value: object) -> None:
    if isinstance(value, Mapping):
        for part in value.values():
            _check_finite(name, part)
    elif isinstance(value, list | tuple):
        for part in value:
            _check_finite(name, part)
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"part {name!r} has the number {value}")
