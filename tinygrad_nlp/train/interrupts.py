"""Ctrl-C between two steps: the first asks for a clean stop, the second stops at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class StopRequest:
    """Whether a signal has asked the loop to stop, and which; `bool(request)` after every step."""

    signal_number = 0

    def __bool__(self) -> bool:
        return self.signal_number != 0


@contextmanager
def stop_on_signal(remark: str = "") -> Iterator[StopRequest]:
    """SIGINT (Ctrl-C) and SIGTERM set the request inside the block; a second SIGINT raises KeyboardInterrupt.

    The first prints the remark on standard error; the handlers of before are back after the block. Signals reach only
    the main thread, so elsewhere nothing changes.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    def handle(number: int, frame: object) -> None:
        if request and number == signal.SIGINT:
            raise KeyboardInterrupt
        request.signal_number = number
        os.write(2, remark.encode())  # not print: the signal may have come in the middle of one

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
