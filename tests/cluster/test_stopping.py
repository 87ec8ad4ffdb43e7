"""Signals that ask a program to stop: noted, or raised once."""

import os
import signal

import pytest

from hpcml.cluster.stopping import STOP_SIGNALS, interrupted_by_signals, noted_signals


def test_signals_are_noted_and_the_former_handlers_come_back():
    before = [signal.getsignal(number) for number in STOP_SIGNALS]
    with noted_signals() as noted:
        for number in STOP_SIGNALS:
            os.kill(os.getpid(), number)
        assert noted == list(STOP_SIGNALS)
    assert [signal.getsignal(number) for number in STOP_SIGNALS] == before


@pytest.mark.parametrize("number", STOP_SIGNALS, ids=lambda number: number.name)
def test_the_first_signal_interrupts_and_a_second_one_does_not(number):
    tidied = False
    with interrupted_by_signals():
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
        os.kill(os.getpid(), number)
        tidied = True
    assert tidied
