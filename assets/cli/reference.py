"""Write the reference of every command in Markdown, from the parsers themselves; the documentation site shows it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from assets.cli.main import parser
from pipeline.config.reference import marked

_HEAD = """\
# Every command

The commands are in `.venv/bin`. Exit codes: 0 success, 1 something failed, 2 something to fix on your side (the message
says what), 130 stopped. This page is made from the code; `lampworks COMMAND --help` prints the same in a terminal.
"""
_SHARED = ("root and configuration", "logging")
"""Groups of options that nearly all commands have: they are described once."""


def command_reference() -> str:
    """Return the Markdown page of all commands with their options, in the order of `lampworks --help`."""
    lines = [_HEAD]
    found = dict(_commands(parser(), "lampworks"))
    lines += ["## Options of most commands", ""]
    for group in _groups(found["lampworks run"], shared=True):
        lines += _options(group)
    for name, command in found.items():
        if name != "lampworks":
            lines += _command(name, command)
    return "\n".join(lines) + "\n"


def _commands(command: argparse.ArgumentParser, name: str) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    yield name, command
    for action in command._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below, parsed in action.choices.items():
                yield from _commands(parsed, f"{name} {below}")


def _command(name: str, command: argparse.ArgumentParser) -> Iterator[str]:
    yield from (f"## {name}", "")
    for paragraph in (command.description or "").split("\n\n"):
        yield from (marked(" ".join(paragraph.split())), "")
    for group in _groups(command, shared=False):
        yield from _options(group)
    if command.epilog:
        example = command.epilog.removeprefix("example:\n")
        yield from ("```sh", *(line.removeprefix("  ") for line in example.splitlines()), "```", "")


def _groups(command: argparse.ArgumentParser, *, shared: bool) -> list[argparse._ArgumentGroup]:
    return [group for group in command._action_groups if (group.title in _SHARED) is shared]


def _options(group: argparse._ArgumentGroup) -> Iterator[str]:
    for action in group._group_actions:
        if isinstance(action, argparse._HelpAction | argparse._SubParsersAction):
            continue
        value = action.metavar or ("" if action.nargs == 0 else action.dest.upper())
        if action.choices:
            value = "|".join(map(str, action.choices))
        names = ", ".join(f"`{f'{option} {value}'.strip()}`" for option in action.option_strings) or f"`{value}`"
        told = (action.help or "") % {**vars(action), "prog": ""} if action.help else ""
        yield f"- {names}" + (f": {marked(told)}" if told else "")
    yield ""
