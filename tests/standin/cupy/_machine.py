"""The machine that the stand-in pretends to have: its devices, the current one, and what fails when asked."""

from __future__ import annotations

import threading
from typing import Any

NAMES = {35: "cudaErrorInsufficientDriver", 100: "cudaErrorNoDevice", 101: "cudaErrorInvalidDevice",
         900: "cudaErrorStreamCaptureUnsupported", 901: "cudaErrorStreamCaptureInvalidated"}  # fmt: skip
MEANINGS = {
    35: "CUDA driver version is insufficient for CUDA runtime version",
    100: "no CUDA-capable device is detected",
    101: "invalid device ordinal",
    900: "operation not permitted when stream is capturing",
    901: "operation failed due to a previous error during capture",
}


class CUDARuntimeError(RuntimeError):
    def __init__(self, status: int):
        self.status = status
        super().__init__(f"{NAMES[status]}: {MEANINGS[status]}")

    def __reduce__(self):
        return type(self), (self.status,)


class Machine:
    """`devices` GPUs; `fails` is the status that every call of the runtime has, or None."""

    def __init__(self) -> None:
        self.devices, self.fails = 2, None
        self.here = threading.local()
        self.launches: list[str] = []  # names of the kernels that RawKernel ran, for tests

    def check(self) -> None:
        if self.fails is not None:
            raise CUDARuntimeError(self.fails)

    @property
    def current(self) -> int:
        return getattr(self.here, "device", 0)

    @current.setter
    def current(self, device: int) -> None:
        self.check()
        if not 0 <= device < self.devices:
            raise CUDARuntimeError(101)
        self.here.device = device

    @property
    def streams(self) -> list[Any]:
        """The streams of this thread that are current, innermost last; none: the null stream."""
        if not hasattr(self.here, "streams"):
            self.here.streams = []
        return self.here.streams

    @property
    def recording(self) -> list[Any] | None:
        """Where operations go instead of being done: the tape of the current stream while it is captured."""
        return self.streams[-1].tape if self.streams else None

    def synchronises(self) -> None:
        """Called by whatever makes the host wait or read: not possible while a stream is captured."""
        self.check()
        if self.recording is not None:
            raise CUDARuntimeError(900)


machine = Machine()
