"""Read a video's or a channel's id off an address, as yt-dlp's extractors do, without a request.

video_id_at("https://youtu.be/dQw4w9WgXcQ?t=3")   # youtube-dQw4w9WgXcQ
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from yt_dlp.extractor import gen_extractor_classes
from yt_dlp.extractor.youtube import YoutubeIE
from yt_dlp.utils import YoutubeDLError

from pipeline.ids import GENERIC, video_id_of

_YOUTUBE = re.compile(r"(?:[\w-]+\.)*(?:youtube(?:-nocookie|kids)?\.com|youtu\.be)")
_CHANNEL = re.compile(r"/(?:channel/)?(UC[\w-]{22})(?:/|$)")
_HOST = re.compile(r"[\w-]+(\.[\w-]+)+(/|$)")


def with_scheme(text: str) -> str:
    """Return an address with a scheme; a text that is no address as it is."""
    # people copy addresses without it
    return f"https://{text}" if "://" not in text and "/" in text and _HOST.match(text) else text


def video_id_at(address: str) -> str | None:
    """Return the id of the video at an address; None where no extractor reads one off the address."""
    url = with_scheme(address)
    if "://" not in url:
        return None
    if _is_youtube(url):
        try:
            # an address of a playlist with a video in it names the video
            return video_id_of("youtube", YoutubeIE.extract_id(url), url)
        except YoutubeDLError:
            return None
    for extractor in gen_extractor_classes():
        if extractor.ie_key().lower() not in GENERIC and extractor.suitable(url):
            native = extractor.get_temp_id(url)
            return video_id_of(extractor.ie_key(), native, url) if native else None
    return None


def channel_id_at(address: str) -> str | None:
    """Return the id of the channel at an address; None where the address does not hold it (`/@name`)."""
    url = with_scheme(address)
    match = _CHANNEL.match(urlsplit(url).path) if _is_youtube(url) else None
    return match[1] if match else None


def is_channel_address(address: str) -> bool:
    """Tell whether an address is that of a channel of YouTube."""
    path = urlsplit(with_scheme(address)).path
    return _is_youtube(with_scheme(address)) and path.startswith(("/channel/", "/@", "/c/", "/user/"))


def _is_youtube(url: str) -> bool:
    return _YOUTUBE.fullmatch((urlsplit(url).hostname or "").lower()) is not None
