"""Streams that do everything at once, or while captured nothing; events that read the clock."""

import itertools
import time

from cupy._machine import CUDARuntimeError, machine
from cupy.cuda.graph import Graph

_ids = itertools.count(3)  # 0, 1 and 2 are the null stream's


class Stream:
    null: "Stream"

    def __init__(self, null=False, non_blocking=False, ptds=False, priority=None):
        machine.check()
        self.ptr = 0 if null else next(_ids)
        self.is_non_blocking, self.tape, self.device_id = non_blocking, None, machine.current

    def __enter__(self):
        machine.streams.append(self)
        return self

    def __exit__(self, *error):
        machine.streams.pop()

    def use(self):
        machine.streams[:] = [self]
        return self

    def begin_capture(self, mode=None):
        machine.check()
        if self.ptr == 0:
            raise RuntimeError("cannot capture on the default (legacy) stream")
        if self.tape is not None:
            raise CUDARuntimeError(900)
        self.tape = []

    def end_capture(self):
        if self.tape is None:
            raise CUDARuntimeError(901)
        tape, self.tape = self.tape, None
        return Graph._of(tape)

    def synchronize(self):
        if self.tape is not None:
            raise CUDARuntimeError(900)
        machine.synchronises()

    @property
    def done(self):
        self.synchronize()
        return True

    def record(self, event=None):
        event = event or Event()
        event.record(self)
        return event


class Event:
    def __init__(self, block=False, disable_timing=False, interprocess=False):
        machine.check()
        self.time = None

    def record(self, stream=None):
        self.time = time.perf_counter()

    def synchronize(self):
        machine.synchronises()

    @property
    def done(self):
        machine.synchronises()
        return True


_null = Stream.__new__(Stream)
_null.ptr, _null.is_non_blocking, _null.tape, _null.device_id = 0, False, None, -1
Stream.null = _null


def get_current_stream(device_id=-1):
    machine.check()
    return machine.streams[-1] if machine.streams else Stream.null


def get_elapsed_time(start_event, end_event):
    """Milliseconds."""
    return 1000 * (end_event.time - start_event.time)
