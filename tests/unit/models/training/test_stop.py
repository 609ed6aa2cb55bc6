"""A training that is asked to end finishes its step, saves, and then ends as it would have at once."""

import os
import signal
import threading

import pytest

from models.training.checkpoint import Checkpoints
from models.training.loop import run
from models.training.stop import stops_between_steps
from tests.unit.models.training.test_loop import Counting, another_is_asked_at


class AskedError(BaseException):
    """What a caller raises in its handler, as Dagster does."""


@pytest.fixture
def checkpoints(store):
    return Checkpoints(store, "models/x/checkpoints")


@pytest.fixture
def handled():
    """Handle SIGTERM and SIGINT as a caller of the training does, and as before afterwards."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def handler(number, frame):
        raise AskedError(number)

    for number in before:
        signal.signal(number, handler)
    yield handler
    for number, one in before.items():
        signal.signal(number, one)


def asked_in(step, number, times=1):
    """Return a training that is asked to end in the middle of a step."""

    class Asked(Counting):
        def step(self, now):
            metrics = super().step(now)
            if now + 1 == step:
                for _ in range(times):
                    os.kill(os.getpid(), number)
                self.value += 10
            return metrics

    return Asked(9)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_step_is_finished_and_saved_and_the_next_run_goes_on_from_it(checkpoints, handled, number):
    said, seen = [], []
    with pytest.raises(AskedError) as caught:
        run(
            asked_in(4, number), checkpoints, stage="x", checkpoint_every=3, on_progress=said.append,
            on_step=lambda step, metrics: seen.append(step),
        )  # fmt: skip
    assert caught.value.args == (number,)
    assert seen == [1, 2, 3, 4]
    assert checkpoints.latest().tensors["value"] == 14, "the whole step"
    name = signal.Signals(number).name
    assert (
        f"x: stopped by {name} after step 4 of 9, whose state is saved; started again, it goes on from step 4" in said
    )
    assert signal.getsignal(number) is handled
    again = Counting(9)
    curve = run(again, checkpoints, stage="x", checkpoint_every=3, on_progress=said.append)
    assert "x: resumed at step 4 of 9, from models/x/checkpoints" in said
    assert [point["step"] for point in curve] == list(range(1, 10))
    assert again.value == 19


def test_a_second_signal_ends_the_step_at_once_without_a_save(checkpoints, handled):
    training = asked_in(4, signal.SIGTERM, times=2)
    with pytest.raises(AskedError):
        run(training, checkpoints, stage="x", checkpoint_every=3)
    assert training.value == 4, "the step was left in its middle"
    assert checkpoints.steps() == [3]


def test_a_signal_in_the_last_step_ends_the_process_after_the_last_checkpoint(checkpoints, handled):
    with pytest.raises(AskedError):
        run(asked_in(9, signal.SIGTERM), checkpoints, stage="x", checkpoint_every=4)
    assert checkpoints.latest().step == 9


def test_a_process_that_nothing_handles_exits_with_the_code_of_the_signal(checkpoints, handled):
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with pytest.raises(SystemExit) as caught:
        run(asked_in(4, signal.SIGTERM), checkpoints, stage="x", checkpoint_every=3)
    assert caught.value.code == 128 + signal.SIGTERM
    assert checkpoints.latest().step == 4


def test_an_ignored_signal_stays_ignored(checkpoints, handled):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    run(asked_in(4, signal.SIGINT), checkpoints, stage="x", checkpoint_every=3)
    assert checkpoints.latest().step == 9


def test_a_training_that_keeps_no_checkpoints_ends_at_once(handled):
    training = asked_in(4, signal.SIGTERM)
    with pytest.raises(AskedError):
        run(training, None, stage="x", checkpoint_every=3)
    assert training.value == 4


def test_all_processes_of_a_group_stop_after_the_step_in_which_one_was_asked(checkpoints, handled):
    with pytest.raises(AskedError):
        run(Counting(9), checkpoints, stage="x", checkpoint_every=9, ranks=another_is_asked_at(3))
    assert checkpoints.latest().step == 3


def test_signals_are_left_alone_in_another_thread(handled):
    found = []

    def work():
        with stops_between_steps() as stop:
            found.append((stop.asked, signal.getsignal(signal.SIGTERM)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(20)
    assert found == [(False, handled)]
