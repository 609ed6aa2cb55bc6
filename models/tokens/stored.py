"""The tokens of training windows, read from the token shards in place of encoding the windows.

A window is stored as it was encoded: alone. Its tokens are then those of the tokenizer, and a training takes the same
steps as one that encodes. Windows that the shards lack (of a damaged tar, or of a clip that was left out) are encoded,
and said.

Shapes: B windows, T frames of a window, P tokens of a frame, H W C pixels.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from torch import Tensor

from models.runtime.cpu_parallel import CpuParallel
from pipeline.clips.samples import BAD_SAMPLE
from pipeline.config import Config
from pipeline.errors import PermanentError, UserError
from pipeline.job import Job
from pipeline.progress import ProgressCallback, notify
from pipeline.shards.loader.loader import Place
from pipeline.storage.arrow import pc
from pipeline.storage.store import Store
from pipeline.tokens.files import layout_of, read_token_index
from pipeline.tokens.packing import Tokens
from pipeline.tokens.plan import settings_of, tokens_version
from pipeline.tokens.read import TokenClip

_KEPT_CLIPS = 128
"""Clips whose tokens are held, some more than are mixed at a time; 300 kB each at the paper's sizes."""
_NOTICES = 20
_AGAIN = "make them again (`lampworks run --select token_shards`)"
_COLUMNS = ["clip_id", "video_id", "starts", "offset", "size", "sha256"]


class StoredTokens:
    """The windows of a split of the token shards, by clip and first frame."""

    def __init__(
        self, store: Store, rows: Sequence[Mapping[str, Any]], on_progress: ProgressCallback | None = None
    ) -> None:
        """Read the indexes of files.

        Args:
            store: holds the files.
            rows: of the table `tokens`, of one set.
            on_progress: is told of the first windows that are not there.

        Raises:
            DamagedError: an index is not what was written.
        """
        self._store, self._rows, self._on_progress = store, list(rows), on_progress
        tables = [_index(store, row, number) for number, row in enumerate(self._rows)]
        self._clips = pa.concat_tables(tables)
        # a table of a million clips takes 100 MB; a dictionary of them would take five times as much
        hashes = np.array([_hash(str(one)) for one in self._clips["clip_id"]], np.uint64)
        self._order = np.argsort(hashes, kind="stable")
        self._hashes = hashes[self._order]
        self._held: OrderedDict[str, dict[int, Tokens]] = OrderedDict()
        self.missing: dict[str, str] = {}
        """Clips of which a window was asked for that could not be read, with the reason."""

    def of(
        self, video_BTx: Tensor, places: Sequence[Place], function: Callable[[Tensor], Tensor], parallel: CpuParallel
    ) -> Tensor:
        """Return the tokens (B, T, P) of windows, int64.

        Args:
            video_BTx: their pixels (B, T, H, W, C).
            places: where they lie.
            function: returns the tokens (1, T, P) of a window (1, T, H, W, C) that is not stored.
            parallel: computes such windows side by side.
        """
        found = [self._window(place) for place in places]
        lacking = [index for index, tokens in enumerate(found) if tokens is None]
        encoded = parallel.map(function, [video_BTx[index : index + 1] for index in lacking])
        for index, tokens_1TP in zip(lacking, encoded, strict=True):
            found[index] = tokens_1TP[0].cpu().numpy()
        rows: npt.NDArray[np.int64] = np.stack([tokens for tokens in found if tokens is not None]).astype(np.int64)
        return torch.from_numpy(rows).to(video_BTx.device)

    def _window(self, place: Place) -> npt.NDArray[np.generic] | None:
        windows = self._windows(place.clip_id)
        if place.start not in windows:
            self._note(place.clip_id, f"the token shards hold no window at its frame {place.start}")
        return windows.get(place.start)

    def _windows(self, clip_id: str) -> dict[int, Tokens]:
        """Return the windows of a clip by their first frames; none where they cannot be read."""
        if clip_id in self._held:
            self._held.move_to_end(clip_id)
            return self._held[clip_id]
        clip, windows = self._find(clip_id), dict[int, Tokens]()
        try:
            windows = {} if clip is None else dict(zip(clip.starts, clip.read(self._store), strict=True))
        except PermanentError as exc:
            if exc.error_class != BAD_SAMPLE:
                raise
            self._note(clip_id, str(exc))
        self._held[clip_id] = windows
        if len(self._held) > _KEPT_CLIPS:
            self._held.popitem(last=False)
        return windows

    def _find(self, clip_id: str) -> TokenClip | None:
        key = np.uint64(_hash(clip_id))
        first, last = np.searchsorted(self._hashes, key, "left"), np.searchsorted(self._hashes, key, "right")
        for place in self._order[first:last]:
            entry = self._clips.slice(int(place), 1).to_pylist()[0]
            if entry["clip_id"] == clip_id:
                row = self._rows[entry["file"]]
                return TokenClip(
                    clip_id, entry["video_id"], tuple(entry["starts"]), layout_of(row), row["path"], entry["offset"],
                    entry["size"], entry["sha256"],
                )  # fmt: skip
        return None

    def _note(self, clip_id: str, reason: str) -> None:
        if clip_id not in self.missing:
            self.missing[clip_id] = reason
            if len(self.missing) <= _NOTICES:
                notify(f"clip {clip_id}: a window is encoded, not read: {reason}", self._on_progress)


def stored_tokens(job: Job, tokenizer: str, shards: str) -> StoredTokens:
    """Return the stored windows of the training split.

    Args:
        job: its store holds the token shards; its configuration says which windows a world trains on.
        tokenizer: id of the world's tokenizer.
        shards: version of the training shards.

    Raises:
        UserError: there are none, or they are of another tokenizer, other shards or other windows.
    """
    rows = job.store.read("tokens", where=pc.field("split") == "train").sort_by("path").to_pylist()
    if not rows:
        raise _refusal("there are no token shards: make them (`lampworks run --select token_shards`)")
    layout = layout_of(rows[0])
    for what, found, wanted in (
        ("tokenizer", layout.tokenizer, tokenizer),
        ("training shards", layout.shards_version, shards),
    ):
        if found != wanted:
            raise _refusal(f"the token shards are of {what} {found}, and this training is of {wanted}: {_AGAIN}")
    _check_windows(job.config, layout.window, layout.version == tokens_version(job.config, tokenizer))
    return StoredTokens(job.store, rows, job.on_progress)


def _check_windows(config: Config, window: int, as_configured: bool) -> None:
    settings, dynamics = settings_of(config), config.dynamics
    if settings.window != dynamics.context:
        raise _refusal(
            f"the token shards hold windows of {settings.window} frames, and dynamics.context = {dynamics.context}: "
            f"set tokens.window = {dynamics.context}, and {_AGAIN}"
        )
    if not as_configured:
        raise _refusal(
            f"the token shards (windows of {window} frames) were made with other settings `tokens`: {_AGAIN}"
        )
    if dynamics.window_stride % settings.stride:
        raise _refusal(
            f"windows begin at every {dynamics.window_stride} frames, and the token shards hold those at every "
            f"{settings.stride}: set dynamics.window_stride = {settings.stride}, or tokens.stride = "
            f"{dynamics.window_stride} and {_AGAIN}"
        )
    if dynamics.frames_before % settings.stride:
        raise _refusal(
            f"with dynamics.own_frames = {dynamics.own_frames} windows begin {dynamics.frames_before} frames later, "
            f"where the token shards hold none: set tokens.stride = 1, and {_AGAIN}"
        )
    if settings.stride > 1 and not settings.avoid_cuts:
        raise _refusal(
            f"windows begin anew after each scene cut, and with tokens.avoid_cuts = false the stored ones do not: set "
            f"tokens.avoid_cuts = true, and {_AGAIN}"
        )


def _refusal(why: str) -> UserError:
    return UserError(
        f"training.read_tokens = true: {why}. Or set training.read_tokens = false to encode at every step."
    )


def _index(store: Store, row: Mapping[str, Any], number: int) -> pa.Table:
    table = read_token_index(store, row)
    table = table.filter(pc.is_null(table["problem"])).select(_COLUMNS)
    return table.append_column("file", pa.array([number] * len(table), pa.int32()))


def _hash(clip_id: str) -> int:
    return int.from_bytes(hashlib.blake2b(clip_id.encode(), digest_size=8).digest(), "little")
