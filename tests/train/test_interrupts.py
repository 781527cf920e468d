"""Signals ask the loop to stop; the second Ctrl-C does not ask."""

import os
import signal
import threading

import pytest

from tinygrad_nlp.train.interrupts import stop_on_signal


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_only_asks(number, capfd):
    before = signal.getsignal(number)
    with stop_on_signal("stopping") as request:
        assert not request
        os.kill(os.getpid(), number)
        assert request
        assert request.signal_number == number
    assert capfd.readouterr().err == "stopping"
    assert signal.getsignal(number) is before


def test_the_second_interrupt_stops_at_once():
    before = signal.getsignal(signal.SIGINT)
    with stop_on_signal() as request:
        os.kill(os.getpid(), signal.SIGINT)
        assert request
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_outside_the_main_thread_nothing_changes():
    seen = []

    def run():
        with stop_on_signal() as request:
            seen.append((bool(request), signal.getsignal(signal.SIGINT)))

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [(False, before)]
