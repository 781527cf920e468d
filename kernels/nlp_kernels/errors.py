"""Every error the library raises on purpose: one base class, and the built-in class each one specialises."""


class TinygradError(Exception):
    """Base of all errors of tinygrad-nlp."""


class ShapeError(TinygradError, ValueError):
    """Shapes that do not fit together; the message names the function and both shapes."""


class AxisError(ShapeError, IndexError):
    """An axis that the array does not have."""


class DtypeError(TinygradError, TypeError):
    """A dtype the function does not take, or two that must not be mixed."""


class DeviceError(TinygradError, ValueError):
    """Arrays on different devices, or a device that is not there."""


class BackendError(TinygradError, TypeError):
    """A forced backend that cannot serve an array, or a backend of an unknown name."""


class FreedGraphError(TinygradError, RuntimeError):
    """A second sweep through a graph whose kept arrays were released."""


class InplaceError(TinygradError, RuntimeError):
    """An in-place change that would make a recorded gradient wrong."""


class AnomalyError(TinygradError, ArithmeticError):
    """The first NaN or Inf, or a changed kept array, found by `detect_anomaly`."""


class UserError(TinygradError):
    """Bad input on the command line: one clear sentence, a non-zero status, no traceback."""
