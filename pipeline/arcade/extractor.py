"""The yt-dlp extractor of the embedded source's site: what real sites have, and a generic page lacks.

Generic pages get an id from the last part of their URL (it collides across hosts) and carry neither tags nor licence,
so the site has an API and yt-dlp this extractor, registered before the generic one by `pipeline.sources.ytdlp`.
"""

from __future__ import annotations

import re
from typing import Any

from yt_dlp.extractor.common import InfoExtractor
from yt_dlp.utils import unsmuggle_url


class ArcadeIE(InfoExtractor):
    """`http://127.0.0.1:PORT/watch/<id>`."""

    IE_NAME = "arcade"
    _VALID_URL = r"(?P<site>http://127\.0\.0\.1:\d+)/watch/(?P<id>[A-Za-z0-9_-]{11})(?:[?#]|$)"

    def _real_extract(self, url: str) -> dict[str, Any]:
        url, _ = unsmuggle_url(url)
        match = re.match(self._VALID_URL, url)
        assert match is not None
        site, native_id = match["site"], match["id"]
        facts = self._download_json(f"{site}/api/videos/{native_id}", native_id)
        return {
            "id": native_id,
            "title": facts["title"],
            "description": facts["description"],
            "tags": facts["tags"],
            "channel_id": facts["channel_id"],
            "channel": facts["channel"],
            "license": facts["licence"] or None,
            "language": facts["language"],
            "upload_date": facts["upload_date"],
            "duration": facts["duration"],
            "thumbnail": facts["thumbnail"],
            "webpage_url": f"{site}/watch/{native_id}",
            "formats": [
                {
                    "format_id": f"{form['height']}p",
                    "url": form["url"],
                    "width": form["width"],
                    "height": form["height"],
                    "fps": form["fps"],
                    "ext": form["ext"],
                    "vcodec": form["codec"],
                    "acodec": "none" if not form["audio"] else {"mp4": "aac", "webm": "opus"}[form["ext"]],
                }
                for form in facts["formats"]
            ],
        }
