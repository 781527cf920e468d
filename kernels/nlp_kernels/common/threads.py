"""One pool of threads: Numba's. The BLAS libraries run on one thread each, called from ours.

OpenBLAS keeps workers of its own, which spin for a while after each product; alternating a product on them with a
kernel on Numba's makes both several times slower. So from the first kernel on every BLAS that is loaded computes on
the thread that calls it, and large products are cut into pieces for Numba's threads. `release_blas` gives a host
program its BLAS threads back.

A kernel is told the number of its workers and cuts its work by it, so that a result depends on this number at most,
never on which thread was free.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any

import numba
from threadpoolctl import ThreadpoolController

_threads: int = numba.config.NUMBA_NUM_THREADS
_blas: Any = None  # the BLAS libraries' own settings, while they are limited
_limits_blas = True
_one_at_a_time = threading.Lock()


def get_num_threads() -> int:
    """The number of threads that kernels and products run on."""
    return _threads


def set_num_threads(n: int) -> None:
    """Run kernels and products on n threads, at most one a processor; from any thread, for all of them."""
    global _threads, _limits_blas
    _threads, _limits_blas = min(n, numba.config.NUMBA_NUM_THREADS), True
    numba.set_num_threads(_threads)  # of this thread: it need not wake the others
    one_pool()


def workers(tasks: int) -> int:
    """Among how many workers to cut so many tasks: at least one."""
    return max(1, min(_threads, tasks))


def one_pool() -> None:
    """Limit each BLAS library that is loaded to one thread, unless `release_blas` was called."""
    global _blas
    if _blas is None and _limits_blas:
        import scipy.linalg.cython_blas  # noqa: F401  the BLAS that our products call

        _blas = ThreadpoolController().select(user_api="blas").limit(limits=1)


def release_blas() -> None:
    """Give the BLAS libraries the numbers of threads they had before the first kernel."""
    global _blas, _limits_blas
    _limits_blas = False
    if _blas is not None:
        _blas.restore_original_limits()
        _blas = None


def guarded(function: Callable) -> Callable:
    """A parallel function; one at a time where Numba's threads take one caller only (no OpenMP, no TBB)."""
    if numba.threading_layer() != "workqueue":
        return function

    @functools.wraps(function)
    def waiting(*args: Any) -> Any:
        with _one_at_a_time:
            return function(*args)

    return waiting
