"""Batches for recurrent networks, time first: one long text in parallel streams, or sequences padded to one length."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from nlp_kernels.errors import DtypeError, UserError
from numpy.typing import ArrayLike, NDArray

from tinygrad_nlp.random import Generator

Ids = NDArray[np.int64]


def contiguous_batches(tokens: ArrayLike, batch_size: int, block_size: int) -> list[tuple[Ids, Ids]]:
    """Inputs and next-token targets for truncated BPTT: batch k+1 goes on where k ended.  (L,) -> (T, B), (T, B), …

    Stream b is tokens b·S … b·S + S, S = ⌊(L−1)/B⌋, cut into blocks of T; the last block may be shorter, so each of the
    B·S tokens is predicted once. The state after a block is the state before the next; the position in the list is the
    whole cursor. Raises UserError for sizes below 1 and for a text without a step for each stream.

    >>> for x, y in text.contiguous_batches(np.arange(11), 2, 3):
    ...     print(x.tolist(), y.tolist())
    [[0, 5], [1, 6], [2, 7]] [[1, 6], [2, 7], [3, 8]]
    [[3, 8], [4, 9]] [[4, 9], [5, 10]]
    """
    _positive(batch_size=batch_size, block_size=block_size)
    ids = np.asarray(tokens)
    steps = (len(ids) - 1) // batch_size
    if steps < 1:
        raise UserError(
            f"{len(ids):,} tokens have no step for {batch_size} streams side by side: each needs a token and the next "
            f"one, {batch_size + 1:,} tokens in all; use a longer text or a smaller batch"
        )
    x = ids[: steps * batch_size].reshape(batch_size, steps).T.copy()  #       (S, B)
    y = ids[1 : steps * batch_size + 1].reshape(batch_size, steps).T.copy()  # (S, B)
    return [(x[t : t + block_size], y[t : t + block_size]) for t in range(0, steps, block_size)]


def padded(sequences: Sequence[ArrayLike], pad: int = 0) -> tuple[Ids, Ids]:
    """Sequences side by side, time first, filled up with `pad`, and their lengths.  B × (T_b,) -> (T, B), (B,)

    Raises UserError for no sequence, for one of length 0 (naming it) and for one that is not (T,); DtypeError for what
    is no integer.

    >>> text.padded([[5, 6, 7], [8]])
    (array([[5, 8],
           [6, 0],
           [7, 0]]), array([3, 1]))
    """
    rows = [np.asarray(s) for s in sequences]
    if not rows:
        raise UserError("a batch needs at least one sequence")
    for b, row in enumerate(rows):
        if row.ndim != 1:
            raise UserError(f"sequence {b} of the batch has shape {row.shape}, expected (T,)")
        if not row.size:
            raise UserError(f"sequence {b} of the batch has length 0; leave it out, or begin each one with <bos>")
        if row.dtype.kind not in "iu":
            raise DtypeError(f"sequence {b} of the batch has {row.dtype}; ids are integers")
    lengths = np.array([row.size for row in rows], np.int64)
    batch = np.full((lengths.max(), len(rows)), pad, np.int64)
    for b, row in enumerate(rows):
        batch[: row.size, b] = row
    return batch, lengths


class BucketSampler:
    """Batches of sequences of similar length, each sequence once an epoch, in random order.  -> indices (B,)

    An epoch is a random order cut into pools of `pool` batches; a pool is sorted by length and cut into batches, and
    the batches are shuffled; the last of a pool may be smaller. All of it is a function of the generator's seed and
    counter, which a call advances: set both and the same batches follow, in any process. Raises UserError for no
    sequence, one of length 0 (naming it), and a batch or pool below 1.

    >>> sampler = text.BucketSampler([3, 9, 3, 9], 2, tn.random.Generator(7))
    >>> sampler(), sampler()
    (array([1, 3]), array([0, 2]))
    """

    def __init__(self, lengths: ArrayLike, batch_size: int, generator: Generator, *, pool: int = 50):
        _positive(batch_size=batch_size, pool=pool)
        self.lengths, self.batch_size, self.pool, self.generator = np.asarray(lengths), batch_size, pool, generator
        if not self.lengths.size:
            raise UserError("there is no sequence to make batches of")
        if self.lengths.min() < 1:
            at = int(np.argmin(self.lengths))
            raise UserError(f"sequence {at} has length {self.lengths[at]}; leave it out, or begin each one with <bos>")
        self._origin, self._planned = generator.counter, (-1, -1)
        self._plan: list[NDArray[np.int64]] = []

    @property
    def batches(self) -> int:
        """How many batches an epoch has."""
        return -(-self.lengths.size // self.batch_size)

    def __call__(self) -> NDArray[np.int64]:
        """The indices of the next batch, shorter sequences first."""
        epoch, at = divmod(self.generator.counter - self._origin, self._span)
        number = at // _STEP
        if epoch < 0 or number >= self.batches:
            raise UserError(f"{self.generator} stands at no batch of these sequences; the cursor is of other data")
        if self._planned != (self.generator.seed, epoch):
            self._planned, self._plan = (self.generator.seed, epoch), self._epoch(epoch)
        self.generator.reserve(self._span - at if number == self.batches - 1 else _STEP)
        return self._plan[number]

    @property
    def _span(self) -> int:
        """Numbers of the stream that belong to an epoch: a step for each batch, and what its two shuffles draw."""
        return _STEP * self.batches + _drawn(self.lengths.size) + _drawn(self.batches)

    def _epoch(self, epoch: int) -> list[NDArray[np.int64]]:
        draw = Generator(self.generator.seed)
        draw.state = (draw.seed, self._origin + epoch * self._span + _STEP * self.batches)
        order, size = draw.permutation(self.lengths.size), self.pool * self.batch_size
        batches = []
        for i in range(0, order.size, size):
            pool = order[i : i + size]
            pool = pool[np.argsort(self.lengths[pool], kind="stable")]
            batches += [pool[j : j + self.batch_size] for j in range(0, pool.size, self.batch_size)]
        return [batches[i] for i in draw.permutation(len(batches))]


_STEP = 4  # numbers of the stream that a batch stands for: the least that the generator takes


def _drawn(n: int) -> int:
    return -(-n // _STEP) * _STEP


def _positive(**sizes: int) -> None:
    for name, size in sizes.items():
        if size < 1:
            raise UserError(f"{name} must be at least 1, not {size}")
