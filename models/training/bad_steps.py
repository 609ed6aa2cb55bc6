"""What becomes of a step whose numbers are bad: `training.on_bad_step`.

- `stop`: the run ends; its last checkpoint stays.
- `skip`: the step changes no weight of the network whose gradient is not finite, or whose loss is a spike, and the run
  goes on with the next batch. (Where it is the dynamics', the LAM has taken its own step already.)
- `roll_back`: the run goes back to its last checkpoint, or to its first step where there is none yet (in several
  processes it then ends), and takes the same batches again at learning rates times `training.roll_back_rate`.

Not more than `training.max_bad_steps` of a run. What was done is part of a checkpoint, so that a run that was killed
goes on to the same weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from models.training.finite import BadStepError
from models.training.optimizer import Optimizer
from models.training.spikes import SpikeWatch
from pipeline.config.training import TrainingConfig

_NAMED = 20


class BadStep(NamedTuple):
    """A step that was skipped or rolled back."""

    step: int
    """From 1."""
    how: str
    """`skip` or `roll_back`."""
    reason: str


class BadSteps:
    """The policy of a run, and what was done by it."""

    def __init__(self, config: TrainingConfig, optimizers: Mapping[str, Optimizer]) -> None:
        """Watch the losses of a training's optimizers, whose learning rates a roll-back lowers."""
        self._config, self._optimizers = config, optimizers
        self.found: list[BadStep] = []
        self.rate_share = 1.0
        """The part of the schedule's learning rates that is left."""
        self._set()

    @property
    def rolls_back(self) -> bool:
        """Tell whether a bad step takes the run back."""
        return self._config.on_bad_step == "roll_back"

    def skips(self, error: BadStepError, step: int) -> bool:
        """Tell whether a bad step (from 1) is skipped; if so, it is counted."""
        return self._config.on_bad_step == "skip" and not error.applied and self._count(error, step)

    def goes_back(self, error: BadStepError, step: int) -> bool:
        """Tell whether a bad step (from 1) takes the run back; if so, it is counted."""
        return self.rolls_back and self._count(error, step)

    def _count(self, error: BadStepError, step: int) -> bool:
        if len(self.found) >= self._config.max_bad_steps:
            return False
        self.found.append(BadStep(step, self._config.on_bad_step, str(error)))
        return True

    def about(self) -> dict[str, Any]:
        """Return the state for a checkpoint; nothing where there is none."""
        if not self.found and not self._config.spike_factor:
            return {}
        losses = {name: list(each.spikes.losses) for name, each in self._optimizers.items() if each.spikes is not None}
        return {"bad_steps": {"found": [list(bad) for bad in self.found], "rate": self.rate_share, "losses": losses}}

    def load(self, about: Mapping[str, Any]) -> None:
        """Go on from the state of a checkpoint."""
        saved = about.get("bad_steps", {})
        self.found = [BadStep(*bad) for bad in saved.get("found", [])]
        self.rate_share = float(saved.get("rate", 1.0))
        self._set(saved.get("losses", {}))

    def go_back(self, about: Mapping[str, Any]) -> None:
        """Go back to the state of a checkpoint at lower learning rates; what was found since stays counted."""
        self.rate_share *= self._config.roll_back_rate
        self._set(about.get("bad_steps", {}).get("losses", {}))

    def sentence(self, goes_on: int) -> str:
        """Return what a person is told of the last bad step, given the steps taken where the run goes on."""
        how, bad = f"training.on_bad_step = {self._config.on_bad_step!r}", self.found[-1]
        if bad.how == "skip":
            return f"{bad.reason} at step {bad.step}: it changes no weight ({how})"
        where = f"step {goes_on}" if goes_on else "the first step"
        return f"{bad.reason} at step {bad.step}: back to {where}, at {self.rate_share:g} of the learning rate ({how})"

    def metrics(self) -> dict[str, Any]:
        """Return what the model's row says of it; nothing where no step was bad."""
        if not self.found:
            return {}
        return {
            "skipped_steps": sum(bad.how == "skip" for bad in self.found),
            "rolled_back": sum(bad.how == "roll_back" for bad in self.found),
            "learning_rate_share": self.rate_share,
            "bad_steps": [f"{bad.how} at step {bad.step}: {bad.reason}" for bad in self.found[:_NAMED]],
        }

    def _set(self, losses: Mapping[str, list[float]] | None = None) -> None:
        for name, optimizer in self._optimizers.items():
            optimizer.rate_share = self.rate_share
            factor = self._config.spike_factor
            optimizer.spikes = SpikeWatch(factor, (losses or {}).get(name, ())) if factor else None
