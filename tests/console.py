"""Do what a page says: run its commands in order, in one shell, and compare what they print with what it shows.

    follow(Path("docs/handbook.md").read_text("utf-8"), "handbook.md", folder, timeout=600)

A block of `console` is run. A line of it that begins with `$ ` is a command, `> ` goes on with one, and the other lines
are what it prints (output and errors together). A block with a title (```yaml title="small.yaml"```) is a file. Other
blocks are not run. A command must end with exit code 0.

Of what a command prints, every line must be shown, in order; a line `...` stands for any lines, and `...` in a line for
any text. A shown number stands for any number, except that 0 stands for 0, and no other whole number does; a hash
stands for any hash. Spaces count as one.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_BLOCK = re.compile(r"^( *)```(\w+)(?: title=\"([\w./-]+)\")?\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_TOKEN = re.compile(r"(\.\.\.|\b(?=[0-9a-f]*\d)[0-9a-f]{8,}\b|\d[\d,]*(?:\.\d+)?)")
_ANY_NUMBER, _NOT_ZERO = r"\d[\d,]*(?:\.\d+)?", r"(?!0(?![\d.,]*\d))\d[\d,]*(?:\.\d+)?"


@dataclass
class Step:
    """A file to write (`name` is set), or a command with the lines that the page shows below it."""

    text: str
    name: str = ""
    shown: list[str] = field(default_factory=list)


def steps_of(page: str) -> list[Step]:
    """Return the files and commands of a page, in order."""
    found: list[Step] = []
    for _, kind, name, body in _BLOCK.findall(page):
        text = textwrap.dedent(body)
        if name:
            found.append(Step(text, name))
        elif kind == "console":
            found += _commands(text)
    return found


def _commands(text: str) -> Iterator[Step]:
    step: Step | None = None
    for line in text.splitlines():
        if line.startswith("$ "):
            if step:
                yield step
            step = Step(line[2:])
        elif line.startswith("> ") and step and not step.shown:
            step.text += "\n" + line[2:]
        else:
            assert step is not None, f"a console block begins with a command: {line!r}"
            step.shown.append(line)
    if step:
        yield step


def matches(shown: Sequence[str], printed: Sequence[str]) -> bool:
    """Tell whether a page shows what was printed."""
    patterns = [None if line.strip() == "..." else _pattern(line) for line in shown]
    lines = [" ".join(line.split()) for line in printed]

    def fits(p: int, n: int) -> bool:
        while p < len(patterns):
            pattern = patterns[p]
            if pattern is None:
                return any(fits(p + 1, after) for after in range(n, len(lines) + 1))
            if n == len(lines) or not pattern.fullmatch(lines[n]):
                return False
            p, n = p + 1, n + 1
        return n == len(lines)

    return fits(0, 0)


def _pattern(line: str) -> re.Pattern[str]:
    parts = _TOKEN.split(" ".join(line.split()))
    return re.compile("".join(_part(part) if index % 2 else re.escape(part) for index, part in enumerate(parts)))


def _part(token: str) -> str:
    if token == "...":
        return ".*"
    if len(token) >= 8 and re.fullmatch("[0-9a-f]+", token):
        return "[0-9a-f]{8,}"
    if "." in token:
        return _ANY_NUMBER
    return "0" if not token.strip("0,") else _NOT_ZERO


def follow(page: str, name: str, folder: Path, *, timeout: float) -> None:
    """Do what a page says in a folder; AssertionError names the command, what it printed and what the page shows."""
    steps, told = steps_of(page), folder / ".told"
    told.mkdir()
    script = []
    for number, step in enumerate(steps):
        if step.name:
            (told / f"{number}.file").write_text(step.text, "utf-8")
            script.append(f"mkdir -p $(dirname {step.name}); cp .told/{number}.file {step.name}")
        else:
            script.append(f"{{ {step.text}\n}} > {told}/{number}.txt 2>&1; code=$?")
            script.append(f"echo $code > {told}/{number}.code; [ $code = 0 ] || exit 1")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("LAMPWORKS_", "DAGSTER_"))}
    environment |= {"PATH": f"{Path(sys.executable).parent}:{environment['PATH']}", "PYTHONWARNINGS": "ignore"}
    shell = subprocess.Popen(
        ["bash", "-c", "\n".join(script)],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        shell.wait(timeout)
    finally:
        # what a page started in the background ends with it
        with contextlib.suppress(ProcessLookupError):
            os.killpg(shell.pid, signal.SIGKILL)
        shell.wait()
    for number, step in enumerate(steps):
        if not step.name:
            _compare(name, step, told / f"{number}.txt", told / f"{number}.code")


def _compare(page: str, step: Step, printed: Path, code: Path) -> None:
    assert printed.is_file(), f"{page}: `{step.text}` was not reached"
    text = printed.read_text("utf-8", "replace")
    assert code.is_file(), f"{page}: `{step.text}` did not end:\n{text}"
    assert code.read_text().strip() == "0", f"{page}: `{step.text}` ended with {code.read_text()}:\n{text}"
    shown = "\n".join(step.shown)
    assert matches(step.shown, text.splitlines()), f"{page}: `{step.text}` printed\n{text}\nthe page shows\n{shown}"
