"""Signals of doubt, read from a rollout frame by frame. Each rises where a world guesses; none knows the true frame.

- `entropy`: mean entropy of the drawn tokens, in nats, from the sampler's own logits.
- `residual`: how far the frame moves when it is encoded and decoded once more, as the root of the mean squared
  difference in grey levels (of 255). A picture that the tokenizer does not know moves far.
- `disagreement`: how far the frame lies from those that other seeds draw from the same past (`DrawRecord`); 1 where
  they have nothing to do with each other.

A frame that follows from doubtful frames is doubtful, however sure the world is of it: worlds that went astray are
often very sure. So each signal is also summed up along the path, with a decay.

The residual costs a pass of the tokenizer, so it is measured at every second frame; the frame between keeps it.

Shapes: B worlds, P tokens of a frame, S signals, F features.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from models.world.session import Session

SIGNALS = ("entropy", "residual", "disagreement")
FEATURES = (*SIGNALS, *(f"{name}_so_far" for name in SIGNALS))
DECAY = 0.97
"""What of the doubt so far counts at the next frame: half of it after 23 frames."""
_RESIDUAL_EVERY = 2


@dataclass(frozen=True, eq=False)
class PathSignals:
    """The signals of the newest frame of each world, and those of the frames before it, summed up."""

    frames: int
    """Generated frames of the path."""
    now_BS: np.ndarray
    """float64 (B, S), in the order of `SIGNALS`."""
    so_far_BS: np.ndarray
    """float64 (B, S): the decayed sums, this frame included."""

    def features(self) -> np.ndarray:
        """Return float64 (B, F), in the order of `FEATURES`."""
        return np.hstack([self.now_BS, self.so_far_BS])


def read_signals(session: Session, before: PathSignals | None) -> PathSignals:
    """Return the signals of a session's newest frame.

    Args:
        session: after a step.
        before: the signals of the frame before it; None where that one was given.
    """
    record = session.record
    assert record is not None, "no frame was generated"
    drawn_BP = session.tokens_BTP[:, -1]
    frames = 1 if before is None else before.frames + 1
    if before is None or frames % _RESIDUAL_EVERY:
        residual = _numbers(round_trip_residual(session))
    else:
        residual = before.now_BS[:, SIGNALS.index("residual")]
    with torch.inference_mode():
        entropy, disagreement = record.entropy().mean(1), record.disagreement(drawn_BP).mean(1)
    now = np.stack([_numbers(entropy), residual, _numbers(disagreement)], 1)
    return PathSignals(frames, now, now if before is None else DECAY * before.so_far_BS + now)


@torch.inference_mode()
def round_trip_residual(session: Session) -> torch.Tensor:
    """Return how far (B,) the newest frame moves when it is encoded and decoded by itself, in grey levels."""
    tokenizer = session.world.tokenizer
    shown_BHWC = session.pixels()
    with session.world.compute.autocast():
        again = tokenizer.decode(tokenizer.encode(shown_BHWC[:, None]))[:, 0]
    return 255 * (again.float() - shown_BHWC.float() / 255).square().mean((1, 2, 3)).sqrt()


def _numbers(signal_B: torch.Tensor) -> np.ndarray:
    return np.asarray(signal_B.double().cpu().numpy())
