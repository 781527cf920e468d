"""What the tape does at the moment: recording, watching for anomalies. Local to a thread or an async task."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

RECORD, ANOMALY = 1, 2
mode: ContextVar[int] = ContextVar("mode", default=RECORD)


def is_recording() -> bool:
    """Whether operations on tensors that require a gradient are recorded now.

    >>> tn.is_recording()
    True
    """
    return bool(mode.get() & RECORD)


def no_grad():
    """Compute without recording: a context manager, and a decorator.

    >>> x = tn.Tensor(2.0, requires_grad=True)
    >>> with tn.no_grad():
    ...     y = x * x
    >>> y.requires_grad
    False
    """
    return _switch(RECORD, False)


def enable_grad():
    """Record again inside a `no_grad` block.

    >>> x = tn.Tensor(2.0, requires_grad=True)
    >>> with tn.no_grad(), tn.enable_grad():
    ...     y = x * x
    >>> y.requires_grad
    True
    """
    return _switch(RECORD, True)


def recording(on: bool):
    """Record or not, by a flag: a context manager, and a decorator."""
    return _switch(RECORD, on)


def detect_anomaly(on: bool = True):
    """Trace the first NaN or Inf to the function, the operand and the line that called it.

    Values, gradients, and kept arrays that were changed in place are watched. Slow: every value is read once more, and
    every kept array is summed twice. Raises AnomalyError inside the block.

    >>> with tn.detect_anomaly():
    ...     y = tn.exp(0.0)
    >>> y
    Tensor(1.)
    """
    return _switch(ANOMALY, on)


@contextmanager
def _switch(bit: int, on: bool) -> Iterator[None]:
    token = mode.set(mode.get() | bit if on else mode.get() & ~bit)
    try:
        yield
    finally:
        mode.reset(token)
