"""What a training in several processes cannot do, told before its first step."""

from __future__ import annotations

from models.runtime.ranks import Ranks
from pipeline.config import Config
from pipeline.errors import UserError
from pipeline.model_ids import TOKENIZER, TrainedKind


def check_ranks(config: Config, kind: TrainedKind, ranks: Ranks) -> None:
    """Raise a UserError, with the setting to change, unless so many processes can train a kind of model together."""
    section = "tokenizer" if kind == TOKENIZER else "dynamics"
    batch = config.tokenizer.batch if kind == TOKENIZER else config.dynamics.batch
    name, count = f"{section}.batch", ranks.count
    if batch < count:
        raise UserError(
            f"{name} = {batch}: {count} processes need a window each; raise {name} to {count} at least, or lower "
            "training.processes and training.nodes"
        )
    if config.training.weights != "sharded" or ranks.alone:
        return
    replicate = "or set training.weights to 'replicated'"
    if config.training.ema_decay:
        raise UserError(
            f"training.ema_decay = {config.training.ema_decay:g}: sharded weights are not averaged; set it to 0, "
            f"{replicate}"
        )
    if batch % count:
        raise UserError(
            f"{name} = {batch}: sharded weights need as many windows on each of {count} processes; set it to "
            f"{batch + count - batch % count}, {replicate}"
        )
    if kind != TOKENIZER and config.dynamics.own_frames > 1:
        raise UserError(
            f"dynamics.own_frames = {config.dynamics.own_frames}: the processes would draw rollouts of different "
            f"lengths, and a pass through sharded weights is one of all; set it to 1, {replicate}"
        )
