"""Windows to tokens, one at a time, and tokens of stored windows as tensors.

A window is encoded alone: its tokens are then those that the tokenizer gives for it wherever it is read, whatever is
encoded beside it.

Shapes: T frames of a window, H W C pixels, P tokens of a frame.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from models.networks.tokenizer import VideoTokenizer
from models.runtime.compute import Compute
from pipeline.shards.splits import Split
from pipeline.storage.store import Store
from pipeline.tokens.read import read_token_clips


class TokenWindow(NamedTuple):
    """A stored window."""

    clip_id: str
    start: int
    """Index of its first frame in the clip."""
    tokens_TP: Tensor
    """int64."""


class WindowEncoder:
    """A frozen tokenizer that encodes windows."""

    def __init__(self, tokenizer: VideoTokenizer, compute: Compute) -> None:
        self._tokenizer = tokenizer.to(compute.device).eval().requires_grad_(False)
        self._compute = compute
        self.window, self.codes, self.grid = tokenizer.config.window, tokenizer.config.codebook_size, tokenizer.grid
        self.size = (tokenizer.height, tokenizer.width)
        """Rows and columns of pixels of a frame."""

    def encode(self, windows: Iterable[npt.NDArray[np.uint8]]) -> Iterator[npt.NDArray[np.int64]]:
        """Yield the tokens (T, P) of windows, uint8 (T, H, W, C), in their order.

        On a CPU as many windows are encoded at a time as there are threads, each on one thread: the number of threads
        changes no token.
        """
        threads = self._compute.threads if self._compute.device.type == "cpu" else 1
        # each thread of the pool has its own number of intra-op threads
        with ThreadPoolExecutor(threads, "encode", torch.set_num_threads, (1,)) as pool:
            yield from pool.map(self._encode, windows)

    def _encode(self, window_THWC: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
        video_BTHWC = torch.from_numpy(np.ascontiguousarray(window_THWC))[None].to(self._compute.device)
        with torch.inference_mode(), self._compute.autocast():
            tokens: npt.NDArray[np.int64] = self._tokenizer.encode(video_BTHWC)[0].cpu().numpy()
        return tokens


def token_windows(store: Store, split: Split) -> Iterator[TokenWindow]:
    """Yield the stored windows of a split, clip by clip.

    Raises:
        PermanentError: the bytes of a clip are not those that were written (`bad_sample`).
    """
    for clip in read_token_clips(store, split):
        tokens_WTP = torch.from_numpy(clip.read(store).astype(np.int64))
        for start, tokens_TP in zip(clip.starts, tokens_WTP, strict=True):
            yield TokenWindow(clip.clip_id, start, tokens_TP)
