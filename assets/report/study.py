"""Write what a study found: JSON, drawings and a section of Markdown, in a folder and into the page of all studies.

    write_study(Study(name="cloning", ...), Path("build/studies/cloning"), page=Path("docs/studies.md"))

The page has one section per study, between two comments that name it. A study replaces its own section and no other;
its drawings lie in the folder `studies/` beside the page.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from markupsafe import Markup

from assets.report.thumbnails import data_uri
from pipeline.errors import UserError
from pipeline.storage.store import Store

FOLDER = "reports/studies"
_PAGE = """\
# Studies

Experiments at small size, each with the command that repeats it. Every section below is written by its command; what
one section says about machine, seeds and intervals holds for all of its figures.
"""
# a drawing in a file of its own has no style sheet around it
_STYLE = """<style>
svg { background: #fff; font-family: system-ui, sans-serif; }
text { fill: #656a73; font-size: 12px; } text.strong { fill: #1c1e22; font-weight: 600; }
.axis { stroke: #656a73; } .grid { stroke: #e5e2da; } .mark { stroke: #656a73; stroke-dasharray: 4 4; }
.whisker { stroke: #1c1e22; stroke-width: 2; opacity: .55; } .line { fill: none; stroke-width: 2; }
.band { opacity: .16; } .frame { fill: none; stroke: #e5e2da; }
.c0, .f0, .b0 { fill: #2f62d9; } .c1, .f1, .b1 { fill: #b8432c; } .c2, .f2, .b2 { fill: #9a6b00; }
.c3, .f3, .b3 { fill: #656a73; } .f4, .b4 { fill: #7a4bc2; } .f5, .b5 { fill: #16808a; } .f6, .b6 { fill: #c2437f; }
.f7, .b7 { fill: #23814f; } .s0 { stroke: #2f62d9; } .s1 { stroke: #b8432c; } .s2 { stroke: #9a6b00; }
.s3 { stroke: #656a73; } .s4 { stroke: #7a4bc2; } .s5 { stroke: #16808a; } .s6 { stroke: #c2437f; }
.s7 { stroke: #23814f; }
</style>"""
_COLOURS = ("blue", "red", "amber", "grey", "violet", "teal", "rose", "green")


@dataclass(frozen=True)
class Table:
    """A table of a study; cells are plain text."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Chart:
    """A drawing of `assets.report.charts`."""

    name: str
    """Of its file, without the ending."""
    title: str
    drawing: Markup
    lines: Sequence[str] = ()
    """What the lines are, in the order of the colours."""


@dataclass(frozen=True)
class Study:
    """What a study found."""

    name: str
    """As in `lampworks study NAME`."""
    title: str
    about: str
    """What was asked and done, in Markdown."""
    command: str
    """That repeats it."""
    conditions: str
    """Machine, seeds, and how intervals are made."""
    found: Sequence[str]
    """Sentences: what came out, with intervals, and what it does not say."""
    tables: Sequence[Table] = ()
    charts: Sequence[Chart] = ()
    pictures: Mapping[str, bytes] = field(default_factory=dict)
    """PNG files by name, with their ending."""
    figures: Mapping[str, Any] = field(default_factory=dict)
    """Everything as JSON."""


def write_study(study: Study, folder: Path, *, page: Path | None = None) -> list[Path]:
    """Write a study's files into a folder, and its section into a page; return what was written.

    Args:
        study: what was found.
        folder: gets `study.json`, `study.md` and the drawings; it is made where it is missing.
        page: Markdown with one section per study; it is made where it is missing. Sections of other studies stay.

    Raises:
        UserError: a folder or the page cannot be written.
    """
    try:
        written = [_write(folder / "study.json", json.dumps(dict(study.figures), indent=1).encode() + b"\n")]
        drawings = _drawings(study)
        written += [_write(folder / name, data) for name, data in drawings.items()]
        written.append(_write(folder / "study.md", section(study).encode()))
        if page is not None:
            written += [_write(page.parent / "studies" / name, data) for name, data in drawings.items()]
            with _locked(page.parent):
                text = page.read_text("utf-8") if page.is_file() else _PAGE
                written.append(_write(page, with_section(text, study).encode()))
    except OSError as exc:
        raise UserError(f"study {study.name} cannot be written ({exc}): name another folder with --out") from exc
    return written


def publish_study(study: Study, store: Store) -> list[str]:
    """Write a study's files into the store, the page last; return their keys, `reports/studies/NAME/...`."""
    folder = f"{FOLDER}/{study.name}"
    files = {"study.json": json.dumps(dict(study.figures), indent=1).encode() + b"\n", **_drawings(study)}
    files["study.md"] = section(study).encode()
    for name, data in files.items():
        store.write_blob(f"{folder}/{name}", data)
    return [f"{folder}/{name}" for name in files]


def self_contained(study: Study) -> str:
    """Return the Markdown of a study with its drawings in it, for a page that can read no other file."""
    text = section(study)
    for name, data in _drawings(study).items():
        kind = "svg+xml" if name.endswith(".svg") else "png"
        text = text.replace(f"]({name})", f"]({data_uri(data, f'image/{kind}')})")
    return text


def section(study: Study, folder: str = "") -> str:
    """Return the Markdown of a study; `folder` is before the names of its drawings."""
    parts = [f"## {study.title}", study.about.strip(), f"```sh\n{study.command}\n```", study.conditions.strip()]
    parts += ["\n".join(f"- {sentence}" for sentence in study.found)] if study.found else []
    for table in study.tables:
        parts += [f"**{table.title}**"] if table.title else []
        parts.append(_markdown(table))
    for chart in study.charts:
        lines = ", ".join(f"{_COLOURS[k % 8]}: {name}" for k, name in enumerate(chart.lines))
        parts += [f"![{chart.title}]({folder}{study.name}-{chart.name}.svg)", f"{chart.title}. {lines}".strip()]
    parts += [f"![{name}]({folder}{study.name}-{name})" for name in study.pictures]
    return "\n\n".join(parts) + "\n"


def with_section(page: str, study: Study) -> str:
    """Return a page with the section of a study: in place of its last one, or at the end."""
    begin, end = f"<!-- study {study.name} -->", f"<!-- end of {study.name} -->"
    block = f"{begin}\n{section(study, 'studies/')}{end}"
    found = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    # a function: backslashes of the text mean nothing
    return found.sub(lambda _: block, page, 1) if found.search(page) else f"{page.rstrip()}\n\n{block}\n"


def _markdown(table: Table) -> str:
    lines = [table.header, ["---"] * len(table.header), *table.rows]
    cells = [[" ".join(str(cell).replace("|", "\\|").split()) for cell in line] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def _drawings(study: Study) -> dict[str, bytes]:
    drawn = {
        f"{study.name}-{chart.name}.svg": str(chart.drawing)
        .replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
        .replace(">", f">{_STYLE}", 1)
        .encode()
        for chart in study.charts
    }
    return drawn | {f"{study.name}-{name}": data for name, data in study.pictures.items()}


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Wait for other studies that write a page of a folder: each reads it and writes it whole."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _write(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".tmp-{path.name}")
    temporary.write_bytes(data)
    temporary.replace(path)
    return path
