"""The doubt about a frame: is the world guessing?

    doubter = Doubter(calibration)                  # `read_calibration(evaluation.metrics.get("doubt"))`
    session.step(actions, generator)
    doubt = doubter.of(session, before)             # `before`: of the frame before it, None at a start

The doubt of a path adds up, so that of the frame before is an argument: a game that goes back to an earlier frame
hands over the doubt of that frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

from models.uncertainty.calibration import Calibration, decibel
from models.world.session import Session
from models.world.signals import PathSignals, read_signals


class DoubtJson(TypedDict):
    """A doubt as a page gets it."""

    entropy: float
    residual: float
    disagreement: float
    score: float
    threshold: float | None
    expected_psnr: float
    guessing: bool


@dataclass(frozen=True)
class Doubt:
    """How far a world is guessing at one frame."""

    entropy: float
    """Mean entropy of the drawn tokens, in nats."""
    residual: float
    """How far the frame moves when it is encoded and decoded once more, in grey levels (of 255)."""
    disagreement: float
    """How far other seeds lie from this frame; 1: nothing to do with it."""
    score: float
    """All of them, those of the frames before included: from 0 to 1."""
    threshold: float | None
    """The score from which a frame counts as a guess; None: no score is so high."""
    expected_psnr: float
    """PSNR in dB that frames of this score had on held-out videos."""
    path: PathSignals
    """The signals of the path, for the frame after this one."""

    @property
    def guessing(self) -> bool:
        """Tell whether the frame is expected to be worse than the limit."""
        return self.threshold is not None and self.score >= self.threshold

    def as_json(self) -> DoubtJson:
        """Return the numbers as a page shows them."""
        return {
            "entropy": round(self.entropy, 4),
            "residual": round(self.residual, 3),
            "disagreement": round(self.disagreement, 4),
            "score": round(self.score, 4),
            "threshold": self.threshold,
            "expected_psnr": round(self.expected_psnr, 2),
            "guessing": self.guessing,
        }


class Doubter:
    """Tells the doubt about the frames of a world by the calibration of its evaluation."""

    def __init__(self, calibration: Calibration) -> None:
        self.calibration = calibration
        self._threshold = calibration.threshold

    def of(self, session: Session, before: Doubt | None) -> Doubt:
        """Return the doubt about the newest frame of a session of one world; about 0.2 of the cost of a frame.

        Args:
            session: after a step.
            before: the doubt about the frame before it; None where that one is the start.
        """
        path = read_signals(session, None if before is None else before.path)
        score = self.calibration.score(path.features()[:1])
        entropy, residual, disagreement = (float(value) for value in path.now_BS[0])
        return Doubt(
            entropy=entropy,
            residual=residual,
            disagreement=disagreement,
            score=float(score[0]),
            threshold=self._threshold,
            expected_psnr=decibel(float(self.calibration.expected_mse(score)[0])),
            path=path,
        )
