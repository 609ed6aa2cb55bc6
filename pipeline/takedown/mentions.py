"""Find, and take out of texts, what names a video: its id, those of its clips, its native id, its address, its title.

An id is compared as a whole word, so that `vimeo-123` is not found in `vimeo-1234`. A word may go on with what a clip's
id or a blob's name adds to the id of its video.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import quote

from pipeline.outside import shown_url

MARK = "(taken down)"
"""What stands in a text in place of a name that was taken out of it."""
CLIP_SUFFIX = 19
"""Characters that a clip's id adds to that of its video: `-<9 digits>-<8 hex digits>`."""
_WORD = re.compile(r"[A-Za-z0-9_-]+")
_ADDED = re.compile(r"-(?:\d{9}-[0-9a-f]{8}|[0-9a-f]{12})\Z")
_APART = re.compile(r"[^A-Za-z0-9_-]")
_LEAST_NATIVE, _LEAST_TITLE = 6, 8


@dataclass(frozen=True)
class Mentions:
    """What names some videos."""

    videos: frozenset[str] = frozenset()
    """Their ids."""
    natives: frozenset[str] = frozenset()
    """Ids at their sources, as far as no other video has the same."""
    urls: frozenset[str] = frozenset()
    """Addresses and paths, as stored and as shown."""
    titles: frozenset[str] = frozenset()
    """Titles and names of channels that no other video has."""

    @cached_property
    def words(self) -> frozenset[str]:
        """The names that are one word."""
        return self.videos | frozenset(name for name in self.natives if _WORD.fullmatch(name))

    @cached_property
    def _addresses(self) -> re.Pattern[str] | None:
        names = self.urls | (self.natives - self.words)
        return _pattern(_written(names))

    @cached_property
    def _titles(self) -> re.Pattern[str] | None:
        return _pattern(_written(self.titles))

    def has_clip(self, clip_id: str) -> bool:
        """Tell whether a clip is of one of the videos."""
        return clip_id[:-CLIP_SUFFIX] in self.videos and _ADDED.search(clip_id) is not None

    def is_word(self, word: str) -> bool:
        """Tell whether a word is one of the names, or one of them with what a clip's id or a blob's name adds."""
        return word in self.words or _ADDED.sub("", word) in self.words

    def in_text(self, text: str, *, titles: bool = False) -> bool:
        """Tell whether a text names one of the videos; `titles`: by its title too."""
        if any(self.is_word(match[0]) for match in _WORD.finditer(text)):
            return True
        if self._addresses is not None and self._addresses.search(text):
            return True
        return titles and self._titles is not None and self._titles.search(text) is not None

    def taken_out(self, text: str, *, titles: bool = False) -> str:
        """Return a text with `MARK` in place of what names the videos."""
        patterns = [self._addresses, self._titles if titles else None]
        for pattern in patterns:
            text = text if pattern is None else pattern.sub(MARK, text)
        return _WORD.sub(lambda match: MARK if self.is_word(match[0]) else match[0], text)


def mentions_of(rows: Iterable[Mapping[str, Any]], others: Iterable[Mapping[str, Any]]) -> Mentions:
    """Return what names videos.

    Args:
        rows: of `videos`: video_id, native_id, url, title, channel, channel_id, extractor, thumbnail.
        others: the rows of all other videos, with native_id, title, channel and channel_id: a name that one of these
            has too is not theirs alone.
    """
    mine = list(rows)
    natives = {str(row["native_id"]) for row in mine if len(row["native_id"] or "") >= _LEAST_NATIVE}
    # people and their label files write the name of a file without its folder
    natives |= {name for path in natives if "/" in path and "." in (name := path.rpartition("/")[2])}
    natives = {name for name in natives if len(name) >= _LEAST_NATIVE}
    names = {str(row[key]) for row in mine for key in _TITLES if len(row[key] or "") >= _LEAST_TITLE}
    for row in others:
        natives.difference_update(_ends(row["native_id"] or ""))
        for key in _TITLES:
            names.discard(row[key])
    urls = {str(row[key]) for row in mine for key in ("url", "thumbnail") if row.get(key)}
    return Mentions(
        videos=frozenset(str(row["video_id"]) for row in mine),
        natives=frozenset(natives),
        urls=frozenset(urls | {shown_url(url) for url in urls}),
        titles=frozenset(names),
    )


_TITLES = ("title", "channel", "channel_id")


def _ends(name: str) -> Iterator[str]:
    """Yield a name, and each end of it that begins a word: `1.webm` is found in `level 1.webm`."""
    yield name
    for match in _APART.finditer(name):
        yield name[match.end() :]


def without_mentions(value: Any, mentions: Mentions) -> Any:
    """Return a JSON value without what is about the videos.

    An element of a list, or a pair of an object, that names one of them is left out; so is the place of one in lists
    of one length side by side, which are the columns of a table. Of a longer text the name alone is taken out.
    """
    if isinstance(value, str):
        return mentions.taken_out(value)
    if isinstance(value, list):
        return [without_mentions(item, mentions) for item in value if not _is_about(item, mentions)]
    if not isinstance(value, dict):
        return value
    columns = [item for item in value.values() if isinstance(item, list)]
    if len(columns) > 1 and len(columns) == len(value) and len({len(column) for column in columns}) == 1:
        kept = [place for place, row in enumerate(zip(*columns, strict=True)) if not _is_about(list(row), mentions)]
        return {key: [without_mentions(column[place], mentions) for place in kept] for key, column in value.items()}
    return {key: without_mentions(item, mentions) for key, item in value.items() if not mentions.in_text(key)}


def _is_about(item: Any, mentions: Mentions) -> bool:
    """Tell whether an element of a list is about one of the videos: it is its name, or holds it on its first level."""
    if isinstance(item, str):
        return mentions.is_word(item) or item in mentions.urls
    parts = item.values() if isinstance(item, dict) else item if isinstance(item, list) else ()
    return any(isinstance(part, str) and (mentions.is_word(part) or part in mentions.urls) for part in parts)


def _written(names: Iterable[str]) -> set[str]:
    """Return names as plain text, JSON, HTML and URLs write them."""
    return {
        form
        for name in names
        for form in (name, json.dumps(name)[1:-1], html.escape(name), quote(name), quote(name, safe=""))
        if form
    }


def _pattern(names: set[str]) -> re.Pattern[str] | None:
    if not names:
        return None
    # the longest first: one name may begin with another
    every = "|".join(re.escape(name) for name in sorted(names, key=lambda name: (-len(name), name)))
    return re.compile(rf"(?<![A-Za-z0-9_-])(?:{every})(?![A-Za-z0-9_-])")
