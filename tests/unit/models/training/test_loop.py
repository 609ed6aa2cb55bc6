import pytest
import torch

from models.runtime.weights import WeightsError
from models.training.checkpoint import Checkpoints
from models.training.loop import run
from pipeline.errors import PermanentError, UserError


class Counting:
    """A training whose state is one number."""

    def __init__(self, total_steps, bad_at=None):
        self.total_steps, self.bad_at = total_steps, bad_at
        self.value, self.started = 0, False

    def initialize(self):
        self.started = True

    def step(self, step):
        self.value += 1
        return {"loss": float("nan") if step == self.bad_at else 1.0 / self.value}

    def tensors(self):
        return {"value": torch.tensor(self.value)}

    def load(self, tensors):
        if set(tensors) != {"value"}:
            raise WeightsError(f"{sorted(tensors)} do not fit")
        self.value = int(tensors["value"])


def test_every_step_is_run_and_told(store):
    heard = []
    training = Counting(5)
    curve = run(training, None, stage="x", checkpoint_every=2, on_step=lambda step, figures: heard.append(step))
    assert training.started
    assert heard == [1, 2, 3, 4, 5]
    assert curve == [{"step": n, "loss": pytest.approx(1 / n, abs=1e-6)} for n in range(1, 6)]


def test_a_second_run_goes_on_from_the_checkpoint_with_its_curve(store):
    checkpoints = Checkpoints(store, "models/x/checkpoints")
    with pytest.raises(PermanentError):
        run(Counting(9, bad_at=6), checkpoints, stage="x", checkpoint_every=3)
    again = Counting(9)
    curve = run(again, checkpoints, stage="x", checkpoint_every=3)
    assert not again.started
    assert again.value == 9
    assert [point["step"] for point in curve] == list(range(1, 10))


def test_a_checkpoint_of_another_training_is_refused_and_stays(store):
    checkpoints = Checkpoints(store, "models/x/checkpoints")
    checkpoints.save(4, {"other": torch.zeros(1)}, {"curve": []})
    with pytest.raises(
        UserError, match=r"checkpoint models/x/checkpoints, step 4: .'other'. do not fit.*delete the fol"
    ):
        run(Counting(9), checkpoints, stage="x", checkpoint_every=2)
    assert checkpoints.latest().step == 4


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_checkpoint(store):
    checkpoints = Checkpoints(store, "models/x/checkpoints")
    with pytest.raises(PermanentError, match="at step 5 is not finite") as caught:
        run(Counting(9, bad_at=4), checkpoints, stage="x", checkpoint_every=2)
    assert caught.value.error_class == "not_finite"
    assert checkpoints.latest().step == 4


def test_a_long_curve_is_thinned_but_keeps_its_end():
    curve = run(Counting(4501), None, stage="x", checkpoint_every=10_000)
    assert len(curve) <= 2001
    assert curve[-1]["step"] == 4501
