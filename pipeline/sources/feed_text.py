"""The text of a feed: whether a page begins like one, and what feed writers get wrong in XML.

A feed with a bare `&` or an entity of HTML is no XML, and people's programs write such feeds all the time. `repaired`
makes these well-formed; it runs only after a parser refused the feed, and in time that grows with its length.
"""

from __future__ import annotations

import json
import re
from html.entities import html5

_ROOT = re.compile(r"<(?:[\w.-]+:)?([\w.-]+)", re.ASCII)
_ROOTS = {"rss", "feed", "rdf"}
_DOCTYPE = re.compile(r"<!DOCTYPE\s+(?:[\w.-]+:)?([\w.-]+)", re.ASCII | re.IGNORECASE)
_PLAIN_DOCTYPE = re.compile(r"<!DOCTYPE\s[^<>\[\]]{0,500}>", re.IGNORECASE)
"""A document type that defines nothing itself, as RSS 0.91 asks for."""
_DECLARED = re.compile(rb"<\?xml[^>]{0,200}?encoding\s*=\s*[\"']([\w.:-]{1,40})[\"']", re.ASCII)
_DECLARATION = re.compile(r"\s*<\?xml\s[^>]{0,300}\?>")
# what begins outside of an element's text, and what ends it
_SECTIONS = {"<![CDATA[": "]]>", "<!--": "-->", "<?": "?>"}
_SECTION = re.compile("|".join(map(re.escape, _SECTIONS)))
_AMPERSAND = re.compile(
    r"&(?:#(?P<decimal>[0-9]{1,8});|#[xX](?P<hex>[0-9a-fA-F]{1,7});|(?P<name>[A-Za-z][A-Za-z0-9]{0,31});)?"
)
_XML_NAMES = {"amp", "lt", "gt", "quot", "apos"}
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def wide_encoding(body: bytes) -> str:
    """Return the encoding that the first bytes show, where it has more than one byte for a letter of ASCII; else ""."""
    found = json.detect_encoding(body[:4])
    return "" if found.startswith("utf-8") else found


def without_bom(text: bytes) -> bytes:
    """Return UTF-8 without its byte order mark and without leading white space."""
    return text.removeprefix(b"\xef\xbb\xbf").lstrip()


def begins_like_feed(head: bytes) -> bool | None:
    """Return whether a page that begins so looks like a feed, in any encoding; its content type is often wrong.

    The first element decides. None: there is no element yet, only what may stand before it (comments, say).
    """
    encoding = wide_encoding(head)
    text = head.decode(encoding, "ignore") if encoding else without_bom(head).decode("latin-1")
    place = len(text) - len(text.lstrip("\ufeff \t\r\n"))
    if text.startswith("{", place):
        return True
    while place < len(text):
        if doctype := _DOCTYPE.match(text, place):
            return doctype[1].lower() in _ROOTS
        opening = next((one for one in ("<!--", "<?") if text.startswith(one, place)), None)
        if opening is None:
            root = _ROOT.match(text, place)
            if root is not None and root.end() == len(text):
                return None
            return root is not None and root[1].lower() in _ROOTS
        end = text.find(_SECTIONS[opening], place)
        if end < 0:
            return None
        place = end + len(_SECTIONS[opening])
        while text[place : place + 1].isspace():
            place += 1
    return None


def repaired(body: bytes) -> str:
    """Return a feed, in an encoding in which every letter of ASCII is its own byte, with what makes it no XML mended.

    A bare `&` is an ampersand, an entity of HTML is its letter. Characters that no XML may hold, and a document type
    that defines nothing, are left out. Bytes that are not in the encoding that the feed names are Windows-1252, which
    most such feeds are.
    """
    text = _DECLARATION.sub("", _decoded(body), count=1)
    parts = []
    place = 0
    missing: set[str] = set()
    while section := _SECTION.search(text, place):
        opening = section[0]
        # without its end it is text; looked for once only, or a million of them would take hours
        end = -1 if opening in missing else text.find(_SECTIONS[opening], section.end())
        if end < 0:
            missing.add(opening)
            parts.append(_escaped(text[place : section.end()]))
            place = section.end()
            continue
        end += len(_SECTIONS[opening])
        parts += [_escaped(text[place : section.start()]), text[section.start() : end]]
        place = end
    parts.append(_escaped(text[place:]))
    return _NOT_XML.sub("", "".join(parts))


def _decoded(body: bytes) -> str:
    declared = _DECLARED.match(body)
    for encoding in (declared[1].decode("ascii") if declared else "utf-8", "utf-8"):
        try:
            return body.decode(encoding)
        except (LookupError, ValueError):
            continue
    return body.decode("cp1252", "replace")


def _escaped(text: str) -> str:
    return _AMPERSAND.sub(_reference, _PLAIN_DOCTYPE.sub("", text))


def _reference(found: re.Match[str]) -> str:
    """Return XML's own form of what an ampersand begins."""
    name = found["name"]
    if name is not None:
        letters = html5.get(f"{name};")
        if name in _XML_NAMES:
            return found[0]
        return f"&amp;{name};" if letters is None else "".join(f"&#{ord(letter)};" for letter in letters)
    number = int(found["decimal"]) if found["decimal"] else int(found["hex"], 16) if found["hex"] else None
    if number is None:
        return "&amp;"
    return "" if number > 0x10FFFF or _NOT_XML.match(chr(number)) else found[0]
