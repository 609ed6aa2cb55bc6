"""A process that was asked to end knows it, also where the exception of the signal was lost on the way."""

import os
import signal
import threading
from contextlib import suppress

import pytest

from pipeline.interrupts import asked_to_end, end_if_asked, noted_signals

SIGNALS = [signal.SIGTERM, signal.SIGINT]


def send(number):
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_interrupts_what_runs_and_is_known_where_its_exception_was_lost(number):
    with noted_signals():
        assert not asked_to_end()
        end_if_asked()
        with suppress(KeyboardInterrupt):
            send(number)
            raise AssertionError("the block went on")
        assert asked_to_end()
        with pytest.raises(KeyboardInterrupt):
            end_if_asked()
    assert not asked_to_end(), "outside of the block nothing was asked"


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_is_noted_whoever_handles_it(number):
    with noted_signals():
        signal.signal(number, lambda *_: None)
        send(number)
        assert asked_to_end()


def test_an_error_that_an_interrupt_was_turned_into_is_an_interrupt_and_others_stay_what_they_are():
    def turned() -> None:
        try:
            send(signal.SIGINT)
        except KeyboardInterrupt as exc:
            raise RuntimeError("what Python makes of an error in a class that is being made") from exc

    with pytest.raises(KeyboardInterrupt), noted_signals():
        turned()
    with pytest.raises(ValueError, match="of its own"), noted_signals():
        raise ValueError("of its own")


def test_other_signals_ask_for_nothing():
    before = signal.signal(signal.SIGUSR1, lambda *_: None)
    try:
        with noted_signals():
            send(signal.SIGUSR1)
            assert not asked_to_end()
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_the_handlers_of_before_are_back_after_the_block_and_another_thread_leaves_them_alone():
    before = [signal.getsignal(number) for number in SIGNALS]
    with pytest.raises(ZeroDivisionError), noted_signals():
        raise ZeroDivisionError
    assert [signal.getsignal(number) for number in SIGNALS] == before
    assert signal.set_wakeup_fd(-1) == -1
    found = []

    def work():
        with noted_signals():
            found.append([signal.getsignal(number) for number in SIGNALS])

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(20)
    assert found == [before]


def test_a_signal_to_a_forked_copy_asks_only_the_copy():
    with noted_signals():
        child = os.fork()
        if not child:
            with suppress(KeyboardInterrupt):
                send(signal.SIGTERM)
            os._exit(asked_to_end())
        assert os.waitpid(child, 0)[1] == 0, "its block is the other process's"
        assert not asked_to_end()
