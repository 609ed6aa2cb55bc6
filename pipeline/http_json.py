"""The JSON that a page sends, read strictly: what no page of ours sends is refused with a sentence.

Python's own reader accepts more than the code behind it can hold: 100,000 brackets end in a RecursionError, half of a
surrogate pair cannot be written to a file, NaN and 1e999 are no JSON, and a number of 5,000 digits has no text.

    body = read_json(await request.body())       # ValueError: say it with status 400
"""

from __future__ import annotations

import json
import math
from typing import Any

MAX_DEPTH = 100
"""Nesting of lists and objects; no page sends more than 20."""
_MAX_INT = 1 << 63


def read_json(body: bytes) -> Any:
    """Return the value of a JSON text in UTF-8.

    Raises:
        ValueError: what is wrong with it, as the end of a sentence that begins with "the request is not JSON".
    """
    try:
        value = json.loads(body.decode("utf-8"), parse_int=_integer, parse_float=_number, parse_constant=_no_number)
    except UnicodeDecodeError as exc:
        raise ValueError(f"it is not UTF-8 at byte {exc.start}") from exc
    except RecursionError as exc:
        raise ValueError(f"it is nested more than {MAX_DEPTH} deep") from exc
    _check(value)
    return value


def read_object(body: bytes) -> dict[str, Any]:
    """Return the object of a JSON text in UTF-8; ValueError says what is wrong with it, as a whole sentence."""
    try:
        value = read_json(body)
    except ValueError as exc:
        raise ValueError(f"the request is not JSON: {exc}") from exc
    if not isinstance(value, dict):
        raise ValueError("the request must be a JSON object")
    return value


def _integer(digits: str) -> int:
    # int() itself refuses more than 4,300 digits, and takes long over many
    if len(digits) > 20 or abs(int(digits)) > _MAX_INT:
        raise ValueError(f"the number {digits[:20]}... has more than 64 bits")
    return int(digits)


def _number(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"the number {digits[:20]} is too large")
    return value


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is not a number in JSON")


def _check(value: object) -> None:
    """Raise ValueError for a value that is nested too deeply, and for a text that is not Unicode."""
    layer = [value]
    for _ in range(MAX_DEPTH + 1):
        inner: list[object] = []
        for part in layer:
            if isinstance(part, str):
                if not part.isascii() and any("\ud800" <= letter <= "\udfff" for letter in part):
                    raise ValueError("it holds half of a surrogate pair, which is not a character")
            elif isinstance(part, dict):
                inner += part.keys()
                inner += part.values()
            elif isinstance(part, list):
                inner += part
        if not inner:
            return
        layer = inner
    raise ValueError(f"it is nested more than {MAX_DEPTH} deep")
