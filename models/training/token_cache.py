"""Tokens of training windows, kept from the first time that a window is drawn (`training.cache_tokens`).

The tokenizer is frozen, so a window always has the same tokens. They depend on where it starts, since the tokenizer
looks back: what is kept is a window by its clip and start, encoded alone. A `vit` sees each frame alone, so there it is
a frame. Either is encoded in a pass of its own, so its tokens do not depend on the step that drew it first: a run that
goes on with an empty cache takes the same steps.

Shapes: B windows, T frames, H W C pixels, P tokens of a frame.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from models.networks.tokenizer import VideoTokenizer
from models.runtime.cpu_parallel import CpuParallel
from pipeline.shards.loader.loader import Place

_Key = tuple[str, int]


class TokenCache:
    """The tokens of the windows, or frames, that were drawn first, up to a number of windows."""

    def __init__(self, tokenizer: VideoTokenizer, windows: int, frames: int) -> None:
        """Begin empty.

        Args:
            tokenizer: is frozen.
            windows: most windows that are kept; those that are drawn later are encoded at every draw.
            frames: of a window.
        """
        self._frames_alone = tokenizer.config.architecture == "vit"
        self.most = windows * frames if self._frames_alone else windows
        """Most entries: frames of a `vit`, otherwise windows."""
        # 2 bytes a token where they suffice
        self._dtype = np.dtype(np.uint16 if tokenizer.config.codebook_size <= 2**16 else np.int32)
        self._kept: dict[_Key, npt.NDArray[np.generic]] = {}

    def __len__(self) -> int:
        """Return the number of entries."""
        return len(self._kept)

    def tokens(
        self,
        video_BTHWC: Tensor,
        places: Sequence[Place],
        encode: Callable[[Tensor], Tensor],
        parallel: CpuParallel,
    ) -> Tensor:
        """Return the tokens (B, T, P), int64, of windows.

        Args:
            video_BTHWC: their pixels.
            places: where they lie.
            encode: returns the tokens of one entry, (1, T, P) of a window or (1, 1, P) of a frame.
            parallel: encodes entries side by side.
        """
        b, t = video_BTHWC.shape[:2]
        length = 1 if self._frames_alone else t
        keys = [(place.clip_id, place.start + frame) for place in places for frame in range(0, t, length)]
        entries = video_BTHWC.reshape(len(keys), length, *video_BTHWC.shape[2:])
        missing = {key: index for index, key in enumerate(keys) if key not in self._kept}
        new = parallel.map(encode, [entries[index : index + 1] for index in missing.values()])
        found = dict(zip(missing, (each[0].cpu().numpy().astype(self._dtype) for each in new), strict=True))
        for key, tokens in found.items():
            if len(self._kept) < self.most:
                self._kept[key] = tokens
        rows = np.stack([found[key] if key in found else self._kept[key] for key in keys]).astype(np.int64)
        return torch.from_numpy(rows).reshape(b, t, -1).to(video_BTHWC.device)
