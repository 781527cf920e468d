"""What a check can say other than "right": the gradient is wrong, or the function cannot be judged."""

from __future__ import annotations

from typing import Any

from nlp_kernels.errors import TinygradError


class GradientError(TinygradError, AssertionError):
    """A wrong gradient. `argument`, `order` and `diagnosis` (what the error looks like) are also in the message."""

    def __init__(self, message: str, *, argument: str, order: int, diagnosis: str, report: Any = None):
        super().__init__(message)
        self.argument, self.order, self.diagnosis, self.report = argument, order, diagnosis, report


class CheckError(TinygradError, ValueError):
    """Base of what makes a verdict impossible: the function or the request is at fault, not a gradient."""


class NondeterministicError(CheckError):
    """Two calls with the same inputs gave different results."""


class MutationError(CheckError):
    """The function, or one of its rules, wrote into an array that it was given."""


class OutputError(CheckError):
    """No Tensors came back, or Tensors of another dtype or shape than they should have."""


class NonFiniteError(CheckError):
    """NaN or Inf at the drawn point, in a value or in a gradient."""


class NotDifferentiableError(CheckError):
    """A kink or a jump at the drawn point that was not declared."""


class VacuousError(CheckError):
    """The gradient is zero in every direction: any wrong rule that gives 0 would pass."""
