"""Group picked frames into episodes: each recording is one clip of its own length, whole, to its last frame.

For data sets of short recordings, such as demonstrations of a robot. A recording (or, where seconds of it are lost,
each part between losses) becomes one clip, if it is as long as `clips.min_seconds`; a shorter one is left over. Memory
bounds a clip to `clips.max_seconds`: a longer recording becomes consecutive clips, of which the last two share what
is left, so that nothing is lost at the end there either.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from pipeline.clips.geometry import ClipLook
from pipeline.clips.windows import Pick, RunEnd, Window
from pipeline.config.clips import ClipConfig


def episodes(picks: Iterable[Pick | RunEnd], config: ClipConfig) -> Iterator[Window]:
    """Yield each run of picks as one clip, or as several of at most `max_seconds`."""
    least, most = config.frames_range
    held: list[Pick] = []
    for pick in picks:
        if isinstance(pick, RunEnd):
            yield from _end(held, pick.ms, least, most)
            held = []
            continue
        held.append(pick)
        if len(held) == most + least:
            yield _window(held[:most], held[most].ms)
            held = held[most:]


def _end(held: list[Pick], end_ms: int, least: int, most: int) -> Iterator[Window]:
    """Yield what is left of a run: one clip, two halves where it is too long for one, or none where it is too short."""
    if len(held) < least:
        return
    if len(held) > most:
        half = len(held) // 2
        yield _window(held[:half], held[half].ms)
        held = held[half:]
    yield _window(held, end_ms)


def _window(picks: list[Pick], end_ms: int) -> Window:
    frames = np.stack([pick.picture for pick in picks])
    look = ClipLook.of(pick.look for pick in picks)
    return Window(picks[0].ms, end_ms, frames, look, tuple(pick.source for pick in picks))
