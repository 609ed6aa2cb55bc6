"""The spot check: per keyword, a random few of the videos that the rules kept and rejected, with picture and reason.

What the authors did by hand (Genie App. B.1), as one HTML page without scripts: a person sees in a minute whether a
keyword brings in what it should, and whether the rules throw away what they should not. Videos without a keyword
stand under the query that found them.

The page is a blob, `reports/spot-check.html`; the `.json` beside it names the videos that it shows, so that a takedown
finds it. The choice is by a hash of seed and id: it hardly moves as the store grows. Pictures are fetched as politely
as metadata (the same client, one at a time, a limited number), decoded, made small and encoded anew: no byte of a
stranger's file is in the page.

    write_spot_check(Job(store, config, home))  # reports/spot-check.html
"""

from __future__ import annotations

import base64
import heapq
import io
import json
import time
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa
from PIL import Image

from pipeline.config import Config, fingerprint
from pipeline.errors import PermanentError, RetryableError, UserError
from pipeline.ids import short_hash
from pipeline.job import Job
from pipeline.progress import Progress
from pipeline.rules import NO_KEYWORD, OFF, keyword_of
from pipeline.search.spot_check_page import Shown, _page, _Section
from pipeline.sources import Source, open_source
from pipeline.sources.arcade import ArcadeSource
from pipeline.sources.faults import clean_message
from pipeline.sources.folder import path_of
from pipeline.sources.ytdlp_search import read_picture
from pipeline.storage.arrow import pc
from pipeline.storage.store import Store
from pipeline.storage.takedown import taken_down
from pipeline.workers.engine import make_engine

KEY, ABOUT_KEY = "reports/spot-check.html", "reports/spot-check.json"
_COLUMNS = [
    "video_id", "source", "native_id", "url", "title", "channel", "duration_s", "licence", "queries", "verdict", "rule",
    "thumbnail",
]  # fmt: skip
_CANDIDATES = 25
"""Times as many rejected videos are looked at as are shown, to find those of each keyword."""
_MOST_FETCHED = 240
_PAUSE_S = 0.2
_FETCHING_S = 120.0
_FRAME_DEADLINE_S = 60.0
_WIDTH, _HEIGHT = 192, 108
_MOST_PIXELS = 40_000_000


def write_spot_check(job: Job, *, per_keyword: int = 4, seed: int = 0) -> str | None:
    """Write the sheet, if it would change, and return its key; None where the store holds no video to show.

    Args:
        job: the store whose `videos` are shown, their source and rules, and the home (the embedded source's
            recordings).
        per_keyword: most kept and most rejected videos of a keyword.
        seed: another seed shows other videos.

    Raises:
        UserError: `per_keyword` is not positive.
    """
    if per_keyword < 1:
        raise UserError(f"a spot check of {per_keyword} videos per keyword shows none: use 1 or more")
    store, config = job.store, job.config
    drawn = fingerprint(
        per_keyword, seed, config.rules, config.source.kind, store.version("videos"), store.version("takedowns")
    )
    before = _about(store)
    if before.get("drawn") == drawn and store.exists(KEY):
        return KEY
    chosen, counted = _chosen(store, config, per_keyword, seed)
    sections = _sections(chosen, config, per_keyword)
    rows = {row["video_id"]: row for kept, rejected in sections.values() for row in (*kept, *rejected)}
    pictures = _pictures(job, rows, before.get("pictures", {}))
    # again, just before it is published: a takedown may have come meanwhile
    hidden = taken_down(store).hidden_videos(store)
    shown = {name: one for name, one in pictures.items() if name not in hidden}
    if not shown:
        remove_spot_check(store)
        return None
    page = _page(sections, shown, counted, config, seed)
    about = {
        "drawn": drawn,
        "seed": seed,
        "videos": sorted(shown),
        "pictures": {name: one.picture for name, one in sorted(shown.items()) if one.picture},
    }
    # the names first: a page without them could not be found by a takedown
    store.write_blob(ABOUT_KEY, json.dumps(about, indent=1, sort_keys=True).encode())
    store.write_blob(KEY, page.encode())
    return KEY


def withdraw_spot_check(store: Store) -> bool:
    """Delete the sheet if it shows a video that was taken down; tell whether it did."""
    hidden = taken_down(store).hidden_videos(store)
    if hidden.isdisjoint(_about(store).get("videos", ())):
        return False
    remove_spot_check(store)
    return True


def remove_spot_check(store: Store) -> None:
    """Delete the sheet, the page first."""
    store.delete(KEY)
    store.delete(ABOUT_KEY)


def _about(store: Store) -> dict[str, Any]:
    try:
        found = json.loads(store.read_blob(ABOUT_KEY))
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


# -- which videos -------------------------------------------------------------------------------------------------


def _chosen(store: Store, config: Config, per_keyword: int, seed: int) -> tuple[list[dict[str, Any]], Counter[str]]:
    """Return the rows that the sheet chooses from, and how many videos each rule decided.

    Of every rule, those with the smallest hash of seed and id.
    """
    hidden = taken_down(store).hidden_videos(store)
    counted: Counter[str] = Counter()
    smallest: dict[str, list[tuple[int, str]]] = {}
    where = pc.field("source") == config.source.kind
    for batch in store.scan("videos", ["video_id", "verdict", "rule"], where):
        columns = (batch[name].to_pylist() for name in ("video_id", "verdict", "rule"))
        for video_id, verdict, rule in zip(*columns, strict=True):
            if video_id in hidden:
                continue
            # what was kept stands under its keyword whatever its action word
            group = rule.partition("+")[0] if verdict == "kept" else _kind(rule)
            counted[group] += 1
            heap = smallest.setdefault(group, [])
            most = per_keyword if verdict == "kept" and rule != OFF else per_keyword * _CANDIDATES
            item = (-int(short_hash(f"{seed}/{video_id}", 15), 16), video_id)
            if len(heap) < most:
                heapq.heappush(heap, item)
            elif item > heap[0]:
                heapq.heapreplace(heap, item)
    order = {name: number for heap in smallest.values() for number, name in heap}
    rows = store.read("videos", _COLUMNS, pc.field("video_id").isin(pa.array(list(order), pa.string()))).to_pylist()
    return sorted(rows, key=lambda row: (-order[row["video_id"]], row["video_id"])), counted


def _kind(rule: str) -> str:
    """Return a rejection without its figures: all that are too short are one kind."""
    return rule.partition(":")[0] if rule.startswith(("duration:", "licence:", "age:", "language:")) else rule


def _sections(rows: Iterable[dict[str, Any]], config: Config, per_keyword: int) -> dict[str, _Section]:
    """Return (kept, rejected) by keyword, and by query for those without one, in the rules' and the queries' order."""
    found: dict[str, _Section] = {}
    for row in rows:
        for name in _names(row, config):
            section = found.setdefault(name, ([], []))
            mine = section[row["verdict"] != "kept"]
            if len(mine) < per_keyword:
                mine.append(row)
    order = {f"keyword: {keyword}": number for number, keyword in enumerate(config.rules.keywords)}
    return dict(sorted(found.items(), key=lambda pair: (order.get(pair[0], len(order)), pair[0])))


def _names(row: Mapping[str, Any], config: Config) -> list[str]:
    rule = str(row["rule"])
    keyword: str | None = None
    if rule.startswith("kept:"):
        keyword = rule.removeprefix("kept:").partition("+")[0]
    elif rule not in (OFF, NO_KEYWORD):
        keyword = keyword_of(row["title"] or "", config.rules)
    return [f"keyword: {keyword}"] if keyword else [f"no keyword, found by: {query}" for query in row["queries"]]


# -- their pictures -----------------------------------------------------------------------------------------------


def _pictures(job: Job, rows: Mapping[str, Mapping[str, Any]], before: Mapping[str, str]) -> dict[str, Shown]:
    """Return every row with its picture, or with the reason why there is none."""
    found = {name: Shown(row, before[name]) for name, row in rows.items() if before.get(name)}
    missing = {name: row for name, row in rows.items() if name not in found}
    if missing:
        with Progress("spot check", total=len(missing), unit="pictures", on_progress=job.on_progress) as progress:
            draw = _frames if job.config.source.kind == "folder" else _fetched
            for name, data, why in draw(job, missing):
                found[name] = Shown(missing[name], data, why)
                progress.advance()
    return {name: found[name] for name in rows}


def _fetched(job: Job, rows: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, str, str]]:
    """Yield id, picture and what is wrong with it, of pictures that the sites hand out."""
    refused: set[str] = set()
    give_up = time.monotonic() + _FETCHING_S
    with open_source(job.config, job.home, job.store.storage_options) as source:
        for number, (name, row) in enumerate(rows.items()):
            url = source.thumbnail(row) if isinstance(source, ArcadeSource) else str(row["thumbnail"] or "")
            host = _host(url)
            if not url:
                yield name, "", "its source names no picture"
            elif number >= _MOST_FETCHED or time.monotonic() > give_up:
                yield name, "", "not fetched: the sheet asks for a limited number of pictures"
            elif host in refused:
                yield name, "", f"not fetched: {host} refused an earlier one"
            else:
                yield name, *_picture_at(url, job.config, source, refused)
                if host not in ("127.0.0.1", "localhost"):
                    time.sleep(_PAUSE_S)


def _picture_at(url: str, config: Config, source: Source, refused: set[str]) -> tuple[str, str]:
    try:
        data = read_picture(url, config=config.download, extra=getattr(source, "extra", None))
        return small_picture(data), ""
    except RetryableError as error:
        refused.add(_host(url))
        return "", clean_message(str(error))
    except PermanentError as error:
        return "", clean_message(str(error))


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _frames(job: Job, rows: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, str, str]]:
    """Yield id, a frame and what is wrong with it, of videos that lie in a folder."""
    local = {name: str(row["url"]) for name, row in rows.items() if not _is_remote(str(row["url"]))}
    for name in rows.keys() - local.keys():
        yield name, "", "lies on an object store: a whole video is not fetched for a picture"
    # in a process of its own: a file that crashes the decoder costs its own picture
    engine = make_engine(job.config.engine, workers=1, deadline_s=_FRAME_DEADLINE_S)
    for (name, _), outcome in engine.run(_frame, list(local.items())):
        yield (name, str(outcome.value), "") if outcome.ok else (name, "", f"no frame: {outcome.message}")


def _is_remote(url: str) -> bool:
    return "://" in url and not url.startswith("file:")


def _frame(item: tuple[str, str]) -> str:
    """Return a small picture of a file's first third (an opening is often black); PermanentError where it has none."""
    import av

    path = path_of(item[1])
    try:
        with av.open(str(path), options={"protocol_whitelist": "file"}) as container:
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1
            container.seek((container.start_time or 0) + (container.duration or 0) // 3)
            frame = next(container.decode(stream))
            return _encoded(frame.to_image())
    except (av.FFmpegError, OSError, IndexError, StopIteration, ValueError) as error:
        text = clean_message(str(error), [str(path), str(Path(path).parent)])
        raise PermanentError(text or type(error).__name__, error_class="invalid_media") from error


def small_picture(data: bytes) -> str:
    """Return a stranger's JPEG, PNG, WebP or GIF as a small JPEG of our own; PermanentError where it is none."""
    try:
        with warnings.catch_warnings():
            # of a picture that is large: it is refused below
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data), formats=("JPEG", "PNG", "WEBP", "GIF")) as image:
                if image.width * image.height > _MOST_PIXELS:
                    raise PermanentError(f"a picture of {image.width} x {image.height} pixels", error_class="permanent")
                image.draft("RGB", (_WIDTH, _HEIGHT))
                return _encoded(image)
    except PermanentError:
        raise
    except Exception as error:  # Pillow's decoders raise what they like on damaged files
        raise PermanentError(f"no picture: {clean_message(str(error))}", error_class="invalid_media") from error


def _encoded(image: Image.Image) -> str:
    """Return a picture as a JPEG of at most 192 x 108, as a data URI."""
    image = image.convert("RGB")
    image.thumbnail((_WIDTH, _HEIGHT))
    data = io.BytesIO()
    # from the pixels alone: Pillow would write a file's comment, profile and EXIF again
    Image.fromarray(np.asarray(image)).save(data, "JPEG", quality=72)
    return "data:image/jpeg;base64," + base64.b64encode(data.getvalue()).decode()


# -- the page -----------------------------------------------------------------------------------------------------
