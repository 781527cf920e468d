"""Whether kernels may leave the order of a sum to chance where that is faster; they may not unless it is asked for."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar

from nlp_kernels.errors import DtypeError

_deterministic: ContextVar[bool] = ContextVar("deterministic algorithms", default=True)


def deterministic() -> bool:
    """Whether the same inputs must give the same bits."""
    return _deterministic.get()


def use_deterministic_algorithms(mode: bool) -> AbstractContextManager[None]:
    """With False, kernels may add in any order inside a `with` block, by atomic operations of a GPU, where that pays.

    Context-local (threads, async tasks). Outside, the same inputs give the same bits on the same device. Raises
    DtypeError for what is not True or False.

    >>> with tn.use_deterministic_algorithms(False):
    ...     y = tn.embedding(tn.ones((2, 3)), tn.asarray([1]))
    >>> y
    Tensor([[1., 1., 1.]])
    """
    if not isinstance(mode, bool):
        raise DtypeError(f"use_deterministic_algorithms: mode is {mode!r}, expected True or False")
    return _set(mode)


@contextmanager
def _set(mode: bool) -> Iterator[None]:
    token = _deterministic.set(mode)
    try:
        yield
    finally:
        _deterministic.reset(token)
