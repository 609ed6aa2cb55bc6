"""The people who rate on one server: names that can be used, and whose turn a request is."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from pipeline.errors import UserError
from pipeline.label_events import STAND_IN

_NAME = re.compile(r"[\w .@+-]{1,60}")


def checked_annotator(name: str) -> str:
    """Return a name without spaces around it; UserError where labels cannot be kept under it."""
    # keyboards and systems write accents in two ways
    name = unicodedata.normalize("NFC", name.strip())
    if not _NAME.fullmatch(name) or name == STAND_IN:
        raise UserError(
            f"annotator {name[:60]!r}: give a name of up to 60 letters, digits, spaces or . @ + - "
            f"(and not {STAND_IN!r}, which the embedded source uses)"
        )
    return name


def checked_annotators(names: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the people who divide a queue; UserError where one cannot be used or is named twice."""
    assert not isinstance(names, str), "a list of names, not the letters of one"
    checked = tuple(checked_annotator(name) for name in names)
    if not checked:
        raise UserError("annotators: name at least one person, as --annotators anna,ben")
    twice = next((name for name in checked if checked.count(name) > 1), None)
    if twice is not None:
        raise UserError(f"annotator {twice!r} is named twice")
    return checked


class Annotators:
    """The people of a server.

    One name: theirs is the whole queue, and anyone else who opens the page as `?who=NAME` has the whole queue too.
    Several names: they divide the queue, and nobody else rates.
    """

    def __init__(self, names: Sequence[str]) -> None:
        """Check the names; UserError where one cannot be used."""
        self.names = checked_annotators(names)

    @property
    def divide(self) -> bool:
        """Whether several people divide the queue."""
        return len(self.names) > 1

    def who(self, asked: str | None) -> str:
        """Return the person that a request names; ValueError where it must name another."""
        if asked is None or not asked.strip():
            if self.divide:
                raise ValueError(f"say who rates, as ?who=NAME: {', '.join(self.names)}")
            return self.names[0]
        try:
            name = checked_annotator(asked)
        except UserError as exc:
            raise ValueError(str(exc)) from exc
        if self.divide and name not in self.names:
            raise ValueError(f"{name!r} is not one of the annotators {', '.join(self.names)} (--annotators names them)")
        return name
