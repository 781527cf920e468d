"""Dropout's mask inside a kernel: the bits of `philox.keep_mask` for a slice of the entries, where they are needed."""

import numpy as np
from numba import uint32, uint64

from nlp_kernels.common.compiled import device
from nlp_kernels.common.philox import M0, M1, ROUNDS, W0, W1

LOW, HALF, FOUR = np.uint64(0xFFFFFFFF), np.uint64(32), np.uint64(4)
GAIN0, GAIN1 = np.uint64(W0), np.uint64(W1)


def arguments(dropout: tuple[float, int, int] | None) -> tuple[np.ndarray, float]:
    """(p, seed, offset) as kernels take it: what `factors` needs, uint64 (4,), or (0,) for None; and 1 / (1 - p)."""
    if dropout is None:
        return np.empty(0, np.uint64), 1.0
    p, seed, offset = dropout
    return np.array([round(p * 2**32), seed, offset // 4, offset % 4], np.uint64), 1 / (1 - p)


def room(n: int) -> int:
    """How many words `factors` needs for n entries: whole blocks, at either end too."""
    return -(-(n + 3) // 4) * 4


@device
def factors(factor, words, index, drop, rescale):
    """factor_i = rescale where entry index + i is kept, else 0; the words of Philox are drawn in blocks of four."""
    threshold, seed, phase = drop[0], drop[1], drop[3] + uint64(index) % FOUR
    block = drop[2] + uint64(index) // FOUR + phase // FOUR
    start = int(phase % FOUR)
    _words(words[: (start + len(factor) + 3) // 4 * 4], block, seed)
    drawn = words[start : start + len(factor)]
    nothing = factor.dtype.type(0)
    for i in range(len(factor)):
        factor[i] = rescale if uint64(drawn[i]) >= threshold else nothing


@device(inline=False)
def _words(words, block, seed):
    """The words of consecutive blocks of stream 0; the loop over blocks vectorises."""
    for i in range(len(words) // 4):
        counter = block + uint64(i)
        c0, c1, c2, c3 = counter & LOW, counter >> HALF, uint64(0), uint64(0)
        k0, k1 = seed & LOW, seed >> HALF
        for _ in range(ROUNDS):
            p0, p1 = M0 * c0, M1 * c2
            c0, c1, c2, c3 = (p1 >> HALF) ^ c1 ^ k0, p1 & LOW, (p0 >> HALF) ^ c3 ^ k1, p0 & LOW
            k0, k1 = (k0 + GAIN0) & LOW, (k1 + GAIN1) & LOW
        words[4 * i], words[4 * i + 1], words[4 * i + 2], words[4 * i + 3] = (
            uint32(c0),
            uint32(c1),
            uint32(c2),
            uint32(c3),
        )
