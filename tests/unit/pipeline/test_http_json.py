"""What a page sends is read strictly."""

import pytest

from pipeline.http_json import MAX_DEPTH, read_json, read_object
from tests.odd_json import ODD_BODIES


@pytest.mark.parametrize(("body", "says"), ODD_BODIES.values(), ids=ODD_BODIES)
def test_what_no_page_sends_is_refused_with_what_is_wrong(body: bytes, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        read_object(body)


def test_what_a_page_sends_is_read_as_it_is() -> None:
    value = read_object('{"a": [1, -2.5, true, null, "é🎮"], "b": {"c": 9223372036854775807}}'.encode())
    assert value == {"a": [1, -2.5, True, None, "é🎮"], "b": {"c": (1 << 63) - 1}}
    assert read_json(b'"\\ud83c\\udfae"') == "🎮"
    assert read_json(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH) is not None
