import itertools

import pytest
import torch

from models.runtime.ranks import Ranks
from models.runtime.weights import WeightsError
from models.training.checkpoint import Checkpoints
from models.training.finite import NotFiniteError
from models.training.keep import Keep
from models.training.loop import _Loop, run
from pipeline.errors import UserError


class Counting:
    """A training whose state is one number."""

    alone_steps = 0

    def __init__(self, total_steps, bad_at=None, bad=float("nan")):
        self.total_steps, self.bad_at, self.bad = total_steps, bad_at, bad
        self.value, self.started = 0, False

    def initialize(self):
        self.started = True

    def step(self, step):
        self.value += 1
        return {"loss": self.bad if step == self.bad_at else 1.0 / self.value}

    def tensors(self):
        return {"value": torch.tensor(self.value)}

    def load(self, tensors):
        if set(tensors) != {"value"}:
            raise WeightsError(f"{sorted(tensors)} do not fit")
        self.value = int(tensors["value"])

    def about(self):
        return {"note": self.value}

    def load_about(self, about):
        assert about["note"] == self.value


def another_is_asked_at(step):
    """Two processes, of which the other one is asked to end in a step (from 1)."""
    steps = itertools.count(1)

    class Two(Ranks):
        def total(self, value):
            return value + (next(steps) == step)

        def share(self, value, source=0):
            return value

    return Two(0, 2)


def test_every_step_is_run_and_told(store):
    heard = []
    training = Counting(5)
    curve = run(training, None, stage="x", checkpoint_every=2, on_step=lambda step, figures: heard.append(step))
    assert training.started
    assert heard == [1, 2, 3, 4, 5]
    assert curve == [{"step": n, "loss": pytest.approx(1 / n, abs=1e-6)} for n in range(1, 6)]


def test_a_second_run_goes_on_from_the_checkpoint_with_its_curve(store):
    checkpoints = Checkpoints(store, "models/x/checkpoints")
    with pytest.raises(NotFiniteError):
        run(Counting(9, bad_at=6), checkpoints, stage="x", checkpoint_every=3)
    again = Counting(9)
    curve = run(again, checkpoints, stage="x", checkpoint_every=3)
    assert not again.started
    assert again.value == 9
    assert [point["step"] for point in curve] == list(range(1, 10))
    # published as it is: its bytes are those of a run that was not stopped
    assert {tuple(point) for point in curve} == {("step", "loss")}


def test_a_checkpoint_of_another_training_is_refused_and_stays(store):
    checkpoints = Checkpoints(store, "models/x/checkpoints")
    checkpoints.save(4, {"other": torch.zeros(1)}, {"curve": []})
    with pytest.raises(
        UserError, match=r"checkpoint models/x/checkpoints, step 4: .'other'. do not fit.*delete the fol"
    ):
        run(Counting(9), checkpoints, stage="x", checkpoint_every=2)
    assert checkpoints.latest().step == 4


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_a_metric_that_is_not_finite_stops_the_run_and_keeps_the_checkpoints(store, bad):
    checkpoints = Checkpoints(store, "models/x/checkpoints")
    with pytest.raises(NotFiniteError, match=rf"x: loss is {bad} at step 6 of 9. The checkpoint of step 4 is good"):
        run(Counting(9, bad_at=5, bad=bad), checkpoints, stage="x", checkpoint_every=2)
    assert checkpoints.steps() == [2, 4]
    with pytest.raises(NotFiniteError, match=r"at step 2 of 9. No checkpoint was written yet"):
        run(Counting(9, bad_at=1, bad=bad), None, stage="x", checkpoint_every=1)


@pytest.mark.parametrize("step", [3, 9])
def test_a_weight_that_is_not_finite_is_never_written_nor_returned(store, step):
    """Metrics may be finite while the last update has spoiled a weight: at a checkpoint, and at the end."""
    checkpoints = Checkpoints(store, "models/x/checkpoints")
    training = Counting(9)
    training.tensors = lambda: {"value": torch.tensor(float("nan") if training.value == step else training.value)}
    for kept in (checkpoints, None) if step == 9 else (checkpoints,):
        training.value = 0
        with pytest.raises(NotFiniteError, match=rf"1 of 1 tensors are not finite \(value\) at step {step} of 9"):
            run(training, kept, stage="x", checkpoint_every=3)
    assert checkpoints.steps() == ([] if step == 3 else [3, 6])


def test_a_resumed_run_says_at_which_step_and_from_where(store):
    checkpoints, said = Checkpoints(store, "models/x/checkpoints"), []
    with pytest.raises(NotFiniteError):
        run(Counting(9, bad_at=6), checkpoints, stage="x", checkpoint_every=3)
    run(Counting(9), checkpoints, stage="x", checkpoint_every=3, on_progress=said.append)
    assert said[0] == "x: resumed at step 6 of 9, from models/x/checkpoints"
    assert checkpoints.steps() == [6, 9], "the last step is a checkpoint too: more steps go on from it"


def test_a_checkpoint_is_judged_by_the_loss_since_the_one_before_also_where_the_run_was_stopped_in_between(store):
    whole, halves = Checkpoints(store, "models/x/checkpoints"), Checkpoints(store, "models/y/checkpoints")
    run(Counting(8), whole, stage="x", checkpoint_every=4)
    with pytest.raises(SystemExit):
        run(Counting(8), halves, stage="x", checkpoint_every=4, ranks=another_is_asked_at(6))
    assert halves.latest().step == 6
    run(Counting(8), halves, stage="x", checkpoint_every=4)
    scores = [found.read(8).about["score"] for found in (whole, halves)]
    assert scores == [pytest.approx(sum(1 / step for step in (5, 6, 7, 8)) / 4)] * 2


def test_a_long_curve_is_thinned_but_keeps_its_end():
    curve = run(Counting(4501), None, stage="x", checkpoint_every=10_000)
    assert len(curve) <= 2001
    assert curve[-1]["step"] == 4501


class Rated(Counting):
    """A training whose metric rises and falls."""

    alone_steps = 2

    def __init__(self, values):
        super().__init__(len(values))
        self.values = values

    def step(self, step):
        metrics = super().step(step)
        return metrics if step < self.alone_steps else {**metrics, "psnr": self.values[step]}


def test_the_best_checkpoints_are_kept_by_the_metric_that_is_named(store):
    values = [0, 0, 1, 9, 5, 1, 1, 1]
    for metric, left in (("psnr", [4, 8]), ("loss", [8])):
        kept = Checkpoints(store, f"models/{metric}/checkpoints", Keep(last=1, best=1, best_by=metric))
        run(Rated(values), kept, stage="x", checkpoint_every=1)
        assert kept.steps() == left


def test_a_metric_that_no_step_has_is_told_with_those_that_they_have(store):
    for metric in ("pnsr", "held_out/psnr"):
        kept = Checkpoints(store, f"models/{metric}/checkpoints", Keep(best=1, best_by=metric))
        if metric.startswith("held_out/"):
            run(Rated([1] * 4), kept, stage="x", checkpoint_every=1)  # nothing is measured on the way
            continue
        with pytest.raises(UserError, match=r"training.best_by = 'pnsr': .* no such metric; they have loss, psnr$"):
            run(Rated([1] * 4), kept, stage="x", checkpoint_every=1)
        assert kept.steps() == [1, 2]


def test_a_step_without_memory_ends_with_what_trains_the_same_model_in_less(store):
    class Large(Counting):
        def step(self, step):
            if step == 3:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 518.00 MiB. GPU 0 has more to say.")
            return super().step(step)

    checkpoints = Checkpoints(store, "models/x/checkpoints")
    with pytest.raises(UserError) as told:
        run(Large(6), checkpoints, stage="world_model", checkpoint_every=2)
    assert str(told.value) == (
        "world_model: step 4 needs more memory than is left. CUDA out of memory. The checkpoint of step 2 is good and "
        "stays. Raise training.accumulate (a step in more and smaller parts) or set "
        "training.activation_checkpointing: 'on', which train the same model, or end what else holds the GPU's memory. "
        "Then start again: it goes on from step 2."
    )
    training = Counting(6)
    run(training, checkpoints, stage="world_model", checkpoint_every=2)
    assert training.value == 6
    assert not training.started


def test_a_rank_that_writes_no_checkpoints_does_not_say_that_there_are_none(store):
    checkpoints, training = Checkpoints(store, "models/x/checkpoints"), Counting(4)
    run(training, checkpoints, stage="x", checkpoint_every=2)
    other = _Loop(training, checkpoints, "x", 2, None, None, None, Ranks(rank=1, count=2), None)
    error = other.out_of_memory(torch.OutOfMemoryError("CUDA out of memory. Tried."), 3)
    assert "CUDA out of memory. Checkpoints stay. Raise training.accumulate" in str(error)
    assert str(error).endswith("Then start again: it goes on from the newest one, where there is one.")
