import signal

import pytest

from tuner.interrupts import SIGNALS, Interrupts


@pytest.mark.parametrize("number", SIGNALS)
def test_an_interrupt_comes_through_where_it_is_let_in(number: signal.Signals) -> None:
    with Interrupts() as interrupts, pytest.raises(KeyboardInterrupt), interrupts.let_in():
        signal.raise_signal(number)


def test_elsewhere_it_is_held_back_until_it_is_let_in() -> None:
    with Interrupts() as interrupts:
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt), interrupts.let_in():
            raise AssertionError("It was to come before anything else.")
        with interrupts.let_in():
            pass


def test_a_second_one_does_not_disturb_the_engine_that_ends_for_the_first() -> None:
    ended = []

    def measure() -> None:
        try:
            signal.raise_signal(signal.SIGINT)
        finally:
            signal.raise_signal(signal.SIGINT)
            ended.append("engine")

    with Interrupts() as interrupts, pytest.raises(KeyboardInterrupt), interrupts.let_in():
        measure()
    assert ended == ["engine"]


def test_afterwards_signals_do_what_they_did_before() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    with Interrupts():
        assert [signal.getsignal(number) for number in SIGNALS] != before
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_an_interrupt_ignored_by_who_started_us_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Interrupts() as interrupts, interrupts.let_in():
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
