"""What frozen networks say of training windows, kept from the first time that a window is drawn.

The tokenizer is frozen, so a window always has the same tokens; and a LAM that has ended learning
(`latent_actions.update_every: 0`) always gives it the same codes. Both depend on where a window starts, since the
networks look back: what is kept is a window by its clip and start. A `vit` tokenizer sees each frame alone, so there it
is a frame. Either is computed in a pass of its own, so what is kept does not depend on the step that drew it first: a
run that goes on with an empty cache takes the same steps. `training.cache_tokens` says how many windows are kept.

Shapes: B windows, T frames, H W C pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from models.networks.tokenizer import VideoTokenizer
from models.runtime.cpu_parallel import CpuParallel
from pipeline.shards.loader.loader import Place

_Key = tuple[str, int]


class TokenSource(Protocol):
    """What knows numbers of windows, or computes them."""

    def of(
        self, video_BTx: Tensor, places: Sequence[Place], function: Callable[[Tensor], Tensor], parallel: CpuParallel
    ) -> Tensor:
        """Return a function's numbers of windows, as of `WindowCache.of`."""


class WindowCache:
    """Whole numbers of the windows, or frames, that were drawn first, up to a number of windows."""

    def __init__(self, windows: int, frames: int, values: int, *, frames_alone: bool = False) -> None:
        """Begin empty.

        Args:
            windows: most windows that are kept; those that are drawn later are computed at every draw.
            frames: of a window.
            values: numbers are below it.
            frames_alone: whether frames are kept, for what does not depend on the frames before.
        """
        self._length = 1 if frames_alone else frames
        self.most = windows * frames // self._length
        """Most entries."""
        # 2 bytes a number where they suffice
        self._dtype = np.dtype(np.uint16 if values <= 2**16 else np.int32)
        self._kept: dict[_Key, npt.NDArray[np.generic]] = {}

    def __len__(self) -> int:
        """Return the number of entries."""
        return len(self._kept)

    def clear(self) -> None:
        """Forget all entries: the network says something else now."""
        self._kept.clear()

    def of(
        self, video_BTx: Tensor, places: Sequence[Place], function: Callable[[Tensor], Tensor], parallel: CpuParallel
    ) -> Tensor:
        """Return a function's numbers of windows, (B, ...), int64.

        Args:
            video_BTx: their pixels (B, T, H, W, C), or tokens (B, T, P).
            places: where they lie.
            function: returns the numbers of one entry: of a window (1, T, ...), or of a frame (1, 1, ...).
            parallel: computes entries side by side.
        """
        b, t = video_BTx.shape[:2]
        keys = [(place.clip_id, place.start + frame) for place in places for frame in range(0, t, self._length)]
        entries = video_BTx.reshape(len(keys), self._length, *video_BTx.shape[2:])
        missing = {key: index for index, key in enumerate(keys) if key not in self._kept}
        new = parallel.map(function, [entries[index : index + 1] for index in missing.values()])
        found = dict(zip(missing, (each[0].cpu().numpy().astype(self._dtype) for each in new), strict=True))
        for key, numbers in found.items():
            if len(self._kept) < self.most:
                self._kept[key] = numbers
        rows = np.stack([found[key] if key in found else self._kept[key] for key in keys]).astype(np.int64)
        result = torch.from_numpy(rows).to(video_BTx.device)
        return result.reshape(b, t, *rows.shape[2:]) if self._length == 1 else result


def token_cache(tokenizer: VideoTokenizer, windows: int, frames: int) -> TokenSource | None:
    """Return a cache of the tokens of so many windows, of a `vit` that of their frames; None for no windows."""
    if not windows:
        return None
    alone = tokenizer.config.architecture == "vit"
    return WindowCache(windows, frames, tokenizer.config.codebook_size, frames_alone=alone)
