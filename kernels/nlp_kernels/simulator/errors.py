"""What the simulator raises."""

from nlp_kernels.errors import TinygradError


class SimulatorError(TinygradError, RuntimeError):
    """A kernel that does not compile, is launched wrongly, or has a bug that the simulator found."""


class SimulatorMissingError(SimulatorError):
    """The simulator cannot run here: the message says what is missing and how to get it."""
