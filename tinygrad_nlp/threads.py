"""How many threads the library computes with."""

from nlp_kernels.common import threads


def set_num_threads(n: int | None) -> None:
    """Run kernels and matrix products on n threads, at most one a processor; importing the library changes nothing.

    It rules the BLAS libraries of NumPy and SciPy too: from the first kernel on they compute on one thread each, called
    from ours, because two pools of threads slow each other down. `None` restores what they were set to before.
    Raises ValueError unless n is None or an integer of at least 1.

    >>> tn.set_num_threads(1)
    >>> tn.get_num_threads()
    1
    >>> tn.set_num_threads(None)
    """
    if n is not None and (not isinstance(n, int) or n < 1):
        raise ValueError(f"set_num_threads: at least one thread is needed, got {n!r}")
    threads.set_num_threads(n)


def get_num_threads() -> int:
    """The number of threads that kernels and matrix products run on: all processors unless set.

    >>> tn.get_num_threads() >= 1
    True
    """
    return threads.get_num_threads()
