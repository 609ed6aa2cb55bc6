"""The frames of a game as a tree: a frame is kept as its tokens, and an older one can be continued otherwise.

Only the newest frames are kept. The start is kept always, and so is what the current frame is continued from.

Shapes: T frames, P tokens of a frame.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np

from pipeline.config.evaluation import SamplingConfig

ROOT = 0
"""Id of the start."""
KEPT_BYTES = 16 << 20
"""Pictures of a game that are kept as they were shown; older ones are decoded from their tokens again."""


class FrameGoneError(LookupError):
    """A frame that was never made, or is not kept any more; the message is a sentence."""


@dataclass(frozen=True, eq=False, slots=True)
class Node:
    """A frame of a game."""

    node: int
    """Its id: frames are counted in the order in which they are made."""
    parent: int | None
    t: int
    """Frames since the start."""
    action: int
    """The latent action that led to it; -1 at the start."""
    anew: bool
    """Whether the rollout began anew, from the frames of a window, just before this frame."""
    sampling: SamplingConfig
    tokens_P: np.ndarray


class Tree:
    """The frames of one game."""

    def __init__(self, tokens_P: np.ndarray, sampling: SamplingConfig, *, window: int, history: int) -> None:
        """Begin with the start.

        Args:
            tokens_P: its tokens.
            sampling: how the first frames are sampled.
            window: frames from which a rollout is continued.
            history: most frames that are kept, apart from the start and the window of the newest frame.
        """
        self.window, self.history = window, history
        self._nodes = {ROOT: Node(ROOT, None, 0, -1, False, sampling, _packed(tokens_P))}
        self._pictures: dict[int, bytes] = {}
        self._picture_bytes = 0
        self._next = ROOT + 1

    def __len__(self) -> int:
        return len(self._nodes)

    def __iter__(self) -> Iterator[Node]:
        return iter(self._nodes.values())

    def node(self, node: int) -> Node:
        """Return a frame; FrameGoneError where it is not kept."""
        found = self._nodes.get(node)
        if found is None:
            was = 0 <= node < self._next
            raise FrameGoneError(
                f"frame {node} is not kept any more: a game keeps its newest {self.history} frames (play.history)"
                if was
                else f"there is no frame {node} in this game"
            )
        return found

    def add(
        self, parent: Node, action: int, tokens_P: np.ndarray, sampling: SamplingConfig, *, anew: bool
    ) -> tuple[Node, list[int]]:
        """Add the frame that an action leads to; return it, and the ids of frames that were dropped for it."""
        made = Node(self._next, parent.node, parent.t + 1, action, anew, sampling, _packed(tokens_P))
        self._next += 1
        self._nodes[made.node] = made
        if len(self._nodes) <= self.history + 1:
            return made, []
        # one more than a window, so that the last step can be taken back
        needed = {ROOT, *(node.node for node in self.path(made, self.window + 1))}
        unneeded = (node for node in self._nodes if node not in needed)
        dropped = list(islice(unneeded, len(self._nodes) - self.history - 1))
        for node in dropped:
            del self._nodes[node]
            self._picture_bytes -= len(self._pictures.pop(node, b""))
        return made, dropped

    def path(self, last: Node, most: int | None = None) -> list[Node]:
        """Return the kept frames that lead to a frame, itself included: the newest `most`, in the order of time."""
        found = [last]
        while most is None or len(found) < most:
            parent = found[-1].parent
            if parent is None or parent not in self._nodes:
                break
            found.append(self._nodes[parent])
        return found[::-1]

    def window_of(self, last: Node) -> list[Node]:
        """Return the frames from which a rollout goes on after a frame; FrameGoneError where one is not kept."""
        found = self.path(last, self.window)
        if len(found) < self.window and found[0].node != ROOT:
            raise FrameGoneError(
                f"frame {last.node} cannot be continued any more: the frames before it are not kept (play.history)"
            )
        return found

    def picture(self, node: int) -> bytes | None:
        """Return the picture of a frame as it was shown; None where it is not kept."""
        return self._pictures.get(node)

    def keep_picture(self, node: int, png: bytes) -> None:
        """Keep the picture of a frame, in place of the oldest ones."""
        self._pictures[node] = png
        self._picture_bytes += len(png)
        while self._picture_bytes > KEPT_BYTES:
            self._picture_bytes -= len(self._pictures.pop(next(iter(self._pictures))))


def _packed(tokens_P: np.ndarray) -> np.ndarray:
    return tokens_P.astype(np.uint16 if int(tokens_P.max(initial=0)) < 1 << 16 else np.uint32)
