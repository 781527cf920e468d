"""How many threads the library computes with."""

from threadpoolctl import threadpool_limits

_limits = None


def set_num_threads(n: int) -> None:
    """Use at most n threads for matrix products from now on; importing the library changes nothing.

    Raises ValueError unless n is an integer of at least 1.

    >>> tn.set_num_threads(1)
    """
    if not isinstance(n, int) or n < 1:
        raise ValueError(f"set_num_threads: at least one thread is needed, got {n!r}")
    global _limits
    _limits = threadpool_limits(limits=n)
