"""From one long array of token ids to batches: random windows to train on, consecutive ones to judge by."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]


class WindowSampler:
    """Batches of random windows: x = s[i : i+T], y = s[i+1 : i+1+T] with i uniform.  -> (B, T), (B, T)

    Every number comes from the generator it is given, so (seed, counter) is the whole cursor in the data: set both
    and the same windows follow, in any process.

    >>> x, y = text.WindowSampler(np.arange(100), 4, 1, tn.random.Generator(7))()
    >>> x, y
    (array([[91, 92, 93, 94]]), array([[92, 93, 94, 95]]))
    """

    def __init__(self, tokens: Ids, block_size: int, batch_size: int, generator: Any):
        self.tokens, self.block_size, self.batch_size, self.generator = tokens, block_size, batch_size, generator
        self._offsets = np.arange(block_size + 1)

    def __call__(self) -> tuple[Ids, Ids]:
        """The next batch of inputs and targets; the target of a token is the token after it (E44b)."""
        starts = self.generator.integers(0, len(self.tokens) - self.block_size, (self.batch_size,))
        windows = self.tokens[np.asarray(starts)[:, None] + self._offsets]  # (B, T+1)
        return windows[:, :-1], windows[:, 1:]


def consecutive_windows(tokens: Ids, block_size: int) -> tuple[Ids, Ids]:
    """The text cut into windows side by side; a last partial one is left out.  (L,) -> (N, T), (N, T), N = ⌊(L−1)/T⌋

    >>> text.consecutive_windows(np.arange(6), 2)
    (array([[0, 1],
           [2, 3]]), array([[1, 2],
           [3, 4]]))
    """
    n = (len(tokens) - 1) // block_size
    x, y = tokens[: n * block_size], tokens[1 : n * block_size + 1]
    return x.reshape(n, block_size), y.reshape(n, block_size)
