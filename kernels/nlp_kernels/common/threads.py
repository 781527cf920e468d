"""One pool of threads: Numba's. The BLAS libraries run on one thread each, called from ours.

OpenBLAS keeps workers of its own, which spin for a while after each product; alternating a product on them with a
kernel on Numba's makes both several times slower. So from the first kernel on every BLAS that is loaded computes on
the thread that calls it, and large products are cut into pieces for Numba's threads. `set_num_threads(None)` gives a
host program its BLAS threads back.

A kernel is told the number of its workers and cuts its work by it: a result depends on this number at most, never on
which thread was free.
"""

from __future__ import annotations

import functools
import os
import sys
import threading
from collections.abc import Callable
from typing import Any

from threadpoolctl import ThreadpoolController

_blas_before: Any = None  # the BLAS libraries' own settings, while they are limited
_kernels_run = False
_one_at_a_time = threading.Lock()


def _processors() -> int:
    """As many threads as Numba will start."""
    affinity = getattr(os, "sched_getaffinity", None)
    return int(os.environ.get("NUMBA_NUM_THREADS", 0)) or (len(affinity(0)) if affinity else os.cpu_count() or 1)


_most = _threads = _processors()


def get_num_threads() -> int:
    """The number of threads that kernels and products run on."""
    return _threads


def set_num_threads(n: int | None) -> None:
    """Run kernels and products on n threads, at most one a processor, whichever thread calls them.

    None: on all of them, and each BLAS has the number of threads again that it had before the library limited it.
    """
    global _threads, _blas_before
    _threads = _most if n is None else min(n, _most)
    if "numba" in sys.modules:
        sys.modules["numba"].set_num_threads(_threads)  # for this thread: the pool need not wake the others
    if n is not None:
        _limit_blas(1 if _kernels_run else n)
    elif _blas_before is not None:
        _blas_before.restore_original_limits()
        _blas_before = None


def workers(tasks: int) -> int:
    """Among how many workers to cut so many tasks: at least one."""
    return max(1, min(_threads, tasks))


def one_pool() -> None:
    """Called before a kernel runs for the first time: from here on BLAS computes on the thread that calls it."""
    global _kernels_run
    if not _kernels_run:
        import scipy.linalg.cython_blas  # noqa: F401  the BLAS that our products call

        _kernels_run = True
        _limit_blas(1)
        set_num_threads(_threads)


def guarded(function: Callable) -> Callable:
    """A parallel function; one at a time where Numba's threads take one caller only (neither OpenMP nor TBB)."""
    import numba

    if numba.threading_layer() != "workqueue":
        return function

    @functools.wraps(function)
    def waiting(*args: Any) -> Any:
        with _one_at_a_time:
            return function(*args)

    return waiting


def _limit_blas(n: int) -> None:
    global _blas_before
    limits = ThreadpoolController().select(user_api="blas").limit(limits=n)
    _blas_before = _blas_before or limits  # the first of them knows what was before
