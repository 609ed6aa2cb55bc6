"""Parse XML of strangers: no entities, no endless depth, no names of megabytes, whatever its encoding.

The work then grows with the size of a document, and a document of a kilobyte stays one. yt-dlp parses pages, manifests
and lists of its own accord; `bound_ytdlp_xml` gives it the same parser.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import yt_dlp.compat
from defusedxml import DefusedXmlException, DTDForbidden
from defusedxml.ElementTree import DefusedXMLParser

from pipeline.errors import PermanentError

_DEPTH = 200
_NAMESPACE = 1000


class CostlyXmlError(ValueError):
    """XML that is refused before it costs much; the message says what it holds."""


class _Builder(ElementTree.TreeBuilder):
    """Builds the tree of a document, and refuses what would make a small one expensive."""

    def __init__(self) -> None:
        super().__init__()
        self.depth = 0

    def doctype(self, name: str, public: str | None, system: str | None) -> None:
        """Ignore a document type that the parser lets pass."""

    def start_ns(self, prefix: str, uri: str) -> None:
        """Refuse a long namespace: the parser copies it into the name of every element."""
        if len(uri) > _NAMESPACE:
            raise CostlyXmlError(f"a namespace of {len(uri):,} characters")

    def start(self, tag: str, attributes: dict[Any, Any], /) -> ElementTree.Element:
        """Open an element; refuse one too many in each other."""
        self.depth += 1
        if self.depth > _DEPTH:
            raise CostlyXmlError(f"elements are nested more than {_DEPTH} deep")
        return super().start(tag, attributes)

    def end(self, tag: str, /) -> ElementTree.Element:
        """Close an element."""
        self.depth -= 1
        return super().end(tag)


def parse_xml(data: bytes | str, *, encoding: str | None = None, forbid_dtd: bool = False) -> ElementTree.Element:
    """Return the root of an XML document.

    Args:
        data: the document.
        encoding: wins over the one that the document names.
        forbid_dtd: whether a document type is refused, also one without entities.

    Raises:
        CostlyXmlError: it has entities of its own or a document type, is nested too deeply, or has a long namespace.
        ParseError, ValueError, LookupError: it is malformed, or in an encoding that the parser does not know.
    """
    # the parser refuses entities: a search in the bytes would miss those in another encoding
    parser = DefusedXMLParser(target=_Builder(), encoding=encoding, forbid_dtd=forbid_dtd)
    try:
        parser.feed(data)
        root: ElementTree.Element = parser.close()
    except DTDForbidden as error:
        raise CostlyXmlError("it has a document type (DOCTYPE), which may define entities of its own") from error
    except DefusedXmlException as error:
        raise CostlyXmlError("it defines entities of its own") from error
    return root


def bound_ytdlp_xml() -> None:
    """Let yt-dlp parse XML as `parse_xml` does; what that refuses is a PermanentError of the page."""
    yt_dlp.compat.etree = SimpleNamespace(
        XML=lambda text, parser: _page_xml(text), XMLParser=lambda target: None, TreeBuilder=ElementTree.TreeBuilder
    )


def _page_xml(text: bytes | str) -> ElementTree.Element:
    try:
        return parse_xml(text)
    except CostlyXmlError as error:
        raise PermanentError(f"malformed XML: {error}", error_class="permanent") from error
