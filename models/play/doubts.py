"""The doubt about the frames of a game, and the situations in which its world begins to guess.

A situation is a frame that counts as a guess and that follows from one which does not. It goes to the table
`uncovered` (`models.uncertainty.situation_log`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from models.play.game import Game, Made
from models.uncertainty.calibration import read_calibration
from models.uncertainty.doubt import Doubt, Doubter
from models.uncertainty.situation_log import SituationLog
from pipeline.errors import UserError
from pipeline.uncovered import Situation

_PICTURES = 8
"""Frames by which clips that look alike are found."""
_SHOWN = (
    "limit", "limit_psnr", "frames", "sources", "sampling", "rank_correlation", "rank_correlation_within_t",
    "rank_correlation_of_t_alone",
)  # fmt: skip


class _Starts(Protocol):
    def held_out(self, name: str) -> Any | None:
        """Return the held-out start of this name."""


def read_doubt(metrics: Mapping[str, Any] | None, world: str) -> tuple[dict[str, Any] | None, Doubter | None]:
    """Return what a page shows of the calibration in an evaluation's metrics, and what tells the doubt by it.

    Both are None without an evaluation, and for one of a version that did not calibrate, or did so for other signals.

    Raises:
        UserError: the metrics hold something else; `world` is named in the error.
    """
    found = None if metrics is None else metrics.get("doubt")
    try:
        calibration = read_calibration(found)
    except ValueError as exc:
        raise UserError(f"world {world}: {exc}; evaluate it again, or set play.doubt = false") from exc
    if calibration is None or not isinstance(found, Mapping):
        return None, None
    about = {name: found.get(name) for name in _SHOWN if name in found}
    return {**about, "threshold": calibration.threshold}, Doubter(calibration)


def begins_to_guess(made: Made, before: Doubt | None) -> bool:
    """Tell whether a frame counts as a guess, and the one before it does not."""
    return made.doubt is not None and made.doubt.guessing and not (before is not None and before.guessing)


def note_situation(
    log: SituationLog, name: str, game: Game, made: Made, starts: _Starts, link: Callable[[], str | None]
) -> bool:
    """Hand a frame at which a world begins to guess to the log, and return whether it was taken.

    Args:
        log: what writes it.
        name: of the game.
        game: after the frame.
        made: the frame.
        starts: of the world.
        link: returns the link that reproduces the frame; None where there is none.
    """
    before = None if made.node.parent is None else game.doubt_of(made.node.parent)
    if made.doubt is None or not begins_to_guess(made, before) or not log.wants(name):
        return False
    reproduces = link()
    if reproduces is None:
        return False
    held = starts.held_out(game.start)
    path = game.tree.path(made.node, _PICTURES)
    pictures = [game.tree.picture(node.node) for node in path]
    situation = Situation(
        world=game.world.model_id,
        start=game.start,
        clip_id=None if held is None else held.clip_id,
        link=reproduces,
        t=made.node.t,
        score=made.doubt.score,
        entropy=made.doubt.entropy,
        residual=made.doubt.residual,
        disagreement=made.doubt.disagreement,
        expected_psnr=made.doubt.expected_psnr,
        pictures=tuple(picture for picture in pictures if picture is not None),
        # a person's own picture is not written to the store
        keeps_picture=held is not None,
    )
    return log.note(name, situation)
