"""The messages between page and server, read strictly; docs/play.md describes each.

A message of the page is one JSON object. A message of the server is the length of a JSON header (4 bytes, big-endian),
the header, and the pictures one after the other.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from pipeline.http_json import read_object

MAX_MESSAGE = 1 << 16
"""Longest message of a page in bytes."""
_MAX_WHOLE = 1 << 53  # whole numbers above this are not exact in JavaScript


class BadMessageError(ValueError):
    """A message that says nothing that a page says; the text is a sentence."""


class Message:
    """A message of the page: its type, and its fields by kind."""

    def __init__(self, fields: dict[str, Any]) -> None:
        """Take the fields of a JSON object; BadMessageError where it has no type."""
        self._fields = fields
        self.type = self.text("type")

    def text(self, name: str, default: str | None = None, *, of: Sequence[str] | None = None) -> str:
        """Return a text, one of the given ones where they are given."""
        value = self._fields.get(name, default)
        if not isinstance(value, str):
            raise BadMessageError(f"{name} = {_shown(value)}: must be a text")
        if of is not None and value not in of:
            raise BadMessageError(f"{name} = {_shown(value)}: must be one of {', '.join(of)}")
        return value

    def whole(self, name: str, default: int | None = None, *, low: int = 0, high: int = _MAX_WHOLE) -> int:
        """Return a whole number from `low` to `high`."""
        value = self._fields.get(name, default)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise BadMessageError(f"{name} = {_shown(value)}: must be a whole number from {low} to {high}")
        return value

    def number(self, name: str, default: float | None = None, *, low: float, high: float) -> float:
        """Return a number from `low` to `high`."""
        value = self._fields.get(name, default)
        if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= high:
            raise BadMessageError(f"{name} = {_shown(value)}: must be a number from {low:g} to {high:g}")
        return float(value)

    def __contains__(self, name: str) -> bool:
        return name in self._fields

    def press(self) -> int | None:
        """Return the number of the press that the page gave the message; None where it has none that is whole."""
        value = self._fields.get("n")
        fits = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MAX_WHOLE
        return value if fits else None


def read_message(text: str | bytes) -> Message:
    """Return a message of the page; BadMessageError says what is wrong with it."""
    body = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    if len(body) > MAX_MESSAGE:
        raise BadMessageError(f"the message has {len(body)} bytes, the limit is {MAX_MESSAGE}")
    try:
        return Message(read_object(body))
    except BadMessageError:
        raise
    except ValueError as exc:
        raise BadMessageError(str(exc)) from exc


def pack(header: dict[str, Any], pictures: Sequence[bytes] = ()) -> bytes:
    """Return a message of the server; the sizes of the pictures join the header."""
    if pictures:
        header = {**header, "sizes": [len(picture) for picture in pictures]}
    head = json.dumps(header, allow_nan=False).encode()
    return b"".join([len(head).to_bytes(4, "big"), head, *pictures])


def unpack(message: bytes) -> tuple[dict[str, Any], list[bytes]]:
    """Return header and pictures of a message of the server, as the page reads them."""
    length = int.from_bytes(message[:4], "big")
    header = json.loads(message[4 : 4 + length])
    pictures, at = [], 4 + length
    for size in header.get("sizes", []):
        pictures.append(message[at : at + size])
        at += size
    return header, pictures


def _shown(value: object) -> str:
    return repr(value)[:80]
