"""Numbers, texts and JSON from outside are bounded, and addresses are shown without their secrets."""

from __future__ import annotations

import json
import math
from typing import Any, NamedTuple

import pytest

from pipeline.outside import (
    MAX_INT64,
    clean_age,
    clean_bytes,
    clean_count,
    clean_date,
    clean_kilobits,
    clean_moment,
    clean_number,
    clean_pixels,
    clean_seconds,
    clean_text,
    clean_texts,
    parse_json,
    shown_text,
    shown_url,
    shown_values,
)

NO_NUMBERS: list[Any] = [
    None, True, False, math.nan, "NaN", "true", "", "soon", "1_000", "١٢", "0x10", "²", [3], {"a": 3}, b"3", [[[]]],
    "1e999999", "9" * 5000, 10**400, -(10**400), -1, "-1", math.inf, -math.inf, "Infinity", 1e300, 1e19, 10**23,
]  # fmt: skip


@pytest.mark.parametrize("clean", [clean_seconds, clean_bytes, clean_kilobits, clean_pixels])
def test_what_is_no_sensible_number_is_unknown(clean: Any) -> None:
    assert [value for value in NO_NUMBERS if clean(value) is not None] == []


def test_sensible_numbers_and_their_texts_stay() -> None:
    assert (clean_seconds(12.5), clean_seconds("12.5"), clean_seconds(0)) == (12.5, 12.5, 0.0)
    assert (clean_bytes(5e9), clean_bytes("1e3"), clean_pixels(1080.0)) == (5_000_000_000, 1000, 1080)
    assert (clean_kilobits(2500), clean_number("-3", 5, least=-5)) == (2500.0, -3.0)


def test_a_count_fits_a_table() -> None:
    assert clean_count(MAX_INT64) == MAX_INT64
    for value in (MAX_INT64 + 1, float(1 << 63), str(1 << 63), -1, True, math.nan, None):
        assert clean_count(value) is None, value


def test_an_age_limit_that_is_too_large_still_rejects() -> None:
    assert [clean_age(value) for value in (18, "18", 1e19, 10**400, math.inf)] == [18, 18, 99, 99, 99]
    assert [clean_age(value) for value in (None, True, math.nan, -5, [18], "soon")] == [None] * 6


def test_only_days_that_exist_are_dates() -> None:
    assert [clean_date(value) for value in ("20260228", 20260228, "2026-02-28T10:00:00Z")] == ["20260228"] * 3
    wrong = ["20260230", "99999999", "00000101", "2026-0228", "202602281", 10**400, -20260228, True, None, ["20260228"]]
    assert [value for value in wrong if clean_date(value) is not None] == []


def test_a_time_out_of_range_is_unknown() -> None:
    moment = clean_moment("Sun, 06 Nov 1994 08:49:37 GMT")
    assert moment is not None
    assert moment.timestamp() == 784111777
    wrong = [
        "Mon, 01 Jan 2026 00:00:00 +99999999999", "Fri, 31 Dec 9999 23:59:59 -2359",
        "Mon, 01 Jan 99999999999 00:00:00 GMT", "Mon, 32 Jan 2026 00:00:00 GMT", "", "²", "9" * 5000, 5, None,
    ]  # fmt: skip
    assert [value for value in wrong if clean_moment(value) is not None] == []


def test_texts_are_cut_and_can_be_encoded_and_lists_are_no_texts() -> None:
    assert clean_text("a\ud800\x00b" + "c" * 50, 5) == "a?bc"
    assert [clean_text(value, 9) for value in (None, True, ["a"], {"a": 1}, b"a", 10**5000)] == [""] * 6
    assert [clean_text(value, 9) for value in (7, 1.5)] == ["7", "1.5"]
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    assert clean_texts(["a", deep, None, 7, "b" * 9], 5, 3) == ("a", "7", "bbb")
    assert clean_texts("no list", 5, 3) == clean_texts(None, 5, 3) == ()
    del deep[:]


def test_json_with_numbers_that_python_cannot_hold_is_read() -> None:
    value = parse_json('{"a": ' + "9" * 5000 + ', "b": NaN, "c": -Infinity, "d": 1e999, "e": 5}')
    assert value == {"a": math.inf, "b": None, "c": -math.inf, "d": math.inf, "e": 5}
    for text in ("[" * 100_000, b"\xff\xfe\x00", "{", ""):
        with pytest.raises(ValueError, match=r"\w"):
            parse_json(text)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://user:SECRET@host:80/x?token=SECRET#SECRET", "http://host:80/x"),
        ("HTTPS://SECRET@host/@fox/a", "HTTPS://host/@fox/a"),
        ("http://u:SE/CRET@host/x", "http://…"),
        ("http://u:SE?CRET@host/x", "http://…"),
        ("http://u:SE#CRET@host/x", "http://…"),
        ("http://u:SECRE", "http://…"),
        ("http://u:SE@CRET@host/x", "http://host/x"),
        ("http://[::1]:80/x?SECRET", "http://[::1]:80/x"),
        ("https://www.youtube.com/watch?v=dQw4w9WgXcQ&key=SECRET", "https://www.youtube.com/watch?v=dQw4w9WgXcQ"),
        ("https://youtube.com.evil.test/watch?v=SECRET", "https://youtube.com.evil.test/watch"),
        ("socks5://u:SECRET@10.0.0.1:1080", "socks5://10.0.0.1:1080"),
        ("u:SECRET@10.0.0.1:1080", "10.0.0.1:1080"),
        ("s3://KEY:SECRET@bucket/a?b.mp4", "s3://bucket/a?b.mp4"),
        ("/videos/a@b?c=d.mp4", "/videos/a@b?c=d.mp4"),
        ("urls:http://u:SECRET@host/list?k=SECRET", "urls:http://host/list"),
        ("//u:SECRET@host/x?SECRET", "//host/x"),
        ("http://host/x\n?token=SECRET", "http://host/x\n"),
        ("http:///u:SECRET@host/x?SECRET", "http://…"),
        ("http:////u:SECRET@host/x", "http://…"),
    ],
)
def test_an_address_is_shown_without_its_secrets(url: str, shown: str) -> None:
    assert shown_url(url) == shown
    assert "SECRET" not in shown_text(f"failed ({url}), then {url!r}: again")


def test_messages_are_shown_without_the_secrets_of_their_addresses() -> None:
    told = 'see "https://u:S\'ECRET@h/a?k=SECRET", https:\\/\\/u:SECRET@h\\/b?k=SECRET. And (http://h/c?SECRET).'
    assert shown_text(told) == 'see "https://h/a", https:\\/\\/h\\/b. And (http://h/c).'
    retried = "HTTPConnection(host='h', port=80): Max retries exceeded with url: /x?token=SECRET (Caused by u:SECRET@h)"
    assert "SECRET" not in shown_text(retried)
    assert shown_text("[generic] x#access_token=SECRET: gone") == "[generic] x: gone"
    unparsed = "Failed to parse: 'u:SECRET' is not a valid host or port"
    assert shown_text(unparsed) == "Failed to parse: '…' is not a valid host or port"
    assert shown_text("[generic] watch?SECRET: HTTP Error 404, [youtube] a-b_c: gone") == (
        "[generic] watch: HTTP Error 404, [youtube] a-b_c: gone"
    )
    plain = "[x] what? a=b at 12:30, fox@example.org, /a/b: line 3"
    assert shown_text(plain) == plain
    assert shown_values({"http://h/?SECRET": ["http://h/?SECRET", 5, None]}) == {"http://h/": ["http://h/", 5, None]}


def test_a_long_message_is_cleaned_in_one_pass() -> None:
    # both would take hours if every start were tried with every end
    assert shown_text("a:" * 500_000) == "a:" * 500_000
    assert shown_text("http://" + "?a" * 500_000) == "http://"
    assert json.loads(json.dumps(shown_text("u" * 500_000 + "@h"))) == "u" * 500_000 + "@h"


def test_a_named_tuple_is_shown_as_it_is() -> None:
    class Told(NamedTuple):
        text: str

    told = Told("http://user:secret@example.org/")
    assert shown_values({"a": told})["a"] is told
