"""Bodies of requests that no page sends, each with what the answer says of it."""

ODD_BODIES: dict[str, tuple[bytes, str]] = {
    "100,000 lists": (b"[" * 100_000, "nested more than 100 deep"),
    "100,000 objects": (b'{"a":' * 100_000, "nested more than 100 deep"),
    "101 lists, well formed": (b'{"events": ' + b"[" * 101 + b"]" * 101 + b"}", "nested more than 100 deep"),
    "half a surrogate pair": (b'{"events": [{"event_id": "\\ud800"}], "game": "\\ud800"}', "surrogate"),
    "half a surrogate pair as a name": (b'{"\\udfff": 1}', "surrogate"),
    "a surrogate in the encoding": (b'{"a": "\xed\xa0\x80"}', "not UTF-8"),
    "Latin-1": (b'{"a": "\xe9"}', "not UTF-8"),
    "UTF-16": ('{"a": 1}'.encode("utf-16"), "not UTF-8"),
    "a mark of the byte order": (b'\xef\xbb\xbf{"a": 1}', "not JSON"),
    "a number of 5,000 digits": (b'{"start": ' + b"9" * 5000 + b"}", "64 bits"),
    "a number of 30 digits": (b'{"t": -' + b"9" * 30 + b"}", "64 bits"),
    "NaN": (b'{"start": NaN}', "NaN is not a number"),
    "Infinity": (b'{"start": -Infinity}', "Infinity is not a number"),
    "a float beyond all floats": (b'{"start": 1e999}', "too large"),
    "nothing": (b"", "not JSON"),
    "NUL bytes": (b"\x00" * 100, "not JSON"),
    "a half": (b'{"events": [', "not JSON"),
    "a list": (b"[]", "must be a JSON object"),
    "a text": (b'"events"', "must be a JSON object"),
    "null": (b"null", "must be a JSON object"),
}
