"""Philox4x32-10: random numbers as a pure function of (seed, position), the same on every backend.

Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011. A block cipher with ten weak
rounds maps a 128-bit counter c0 c1 c2 c3 to 128 random bits under a 64-bit key k0 k1; one round is

    c0' = hi(M1 c2) ^ c1 ^ k0      c1' = lo(M1 c2)      k0' = k0 + W0
    c2' = hi(M0 c0) ^ c3 ^ k1      c3' = lo(M0 c0)      k1' = k1 + W1          (all mod 2^32)

Here the key is the seed, the low half of the counter is a block number, the high half names a stream. Word i of a
stream is word i mod 4 of block i div 4, so any slice of a stream is computed alone, in any order, on any number of
threads: a dropout mask needs no storage, and a generator's whole state is two integers.
"""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

from nlp_kernels.errors import DtypeError

Array = np.ndarray[Any, Any]

M0, M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)  # multipliers
W0, W1 = 0x9E3779B9, 0xBB67AE85  # what the key gains each round: golden ratio, sqrt(3) - 1
ROUNDS = 10
BLOCKS = 8192  # blocks at a time: six rows of 64 KiB stay in the second-level cache

_LOW, _32 = np.uint64(0xFFFFFFFF), np.uint64(32)


def philox(seed: int, counter: Array, stream: int = 0) -> Array:
    """The four random words of each block: `(n,)` uint64 counters -> `(n, 4)` uint32.

    `seed` (the key), each counter and `stream` have 64 bits, low word first; ValueError beyond.
    """
    seed, stream = _unsigned("philox: seed", seed), _unsigned("philox: stream", stream)
    counter = np.asarray(counter)
    if counter.dtype != np.uint64 or counter.ndim != 1:
        raise DtypeError(f"philox: counter must be uint64 (n,), not {counter.dtype} {counter.shape}")
    out = np.empty((len(counter), 4), np.uint32)
    scratch = np.empty((3, 2 * min(BLOCKS, len(counter))), np.uint64)
    for start in range(0, len(counter), BLOCKS):
        rows = slice(start, start + BLOCKS)
        _blocks(out[rows], counter[rows], seed, stream, scratch)
    return out


def words(seed: int, offset: int, n: int, stream: int = 0) -> Array:
    """Words `offset .. offset + n` of a stream: `(n,)` uint32, uniform over all 2^32 values."""
    offset = _unsigned("words: offset", offset)
    first, last = offset // 4, -(-(offset + n) // 4)
    blocks = philox(seed, np.arange(first, last, dtype=np.uint64), stream).reshape(-1)
    return blocks[offset - 4 * first :][:n]


def uniform(seed: int, offset: int, n: int, dtype: Any = np.float32) -> Array:
    """`n` numbers u in [0, 1), evenly spaced values equally likely; number i depends on (seed, offset + i) alone.

    float32: the top 24 bits of word `offset + i` of stream 0, `u = (w >> 8) 2^-24`. float64: all 32 bits of that
    word, then the top 21 of the same word of stream 1, `u = (2^21 w + (w' >> 11)) 2^-53`. So both dtypes draw the
    same numbers: the float32 one is the float64 one cut to 24 bits. DtypeError for other dtypes.
    """
    dtype = np.dtype(dtype)
    if dtype not in (np.float32, np.float64):
        raise DtypeError(f"uniform: dtype must be float32 or float64, not {dtype}")
    high = words(seed, offset, n)
    if dtype == np.float32:
        return (high >> np.uint32(8)).astype(np.float32) * np.float32(2**-24)
    bits = high.astype(np.uint64) << np.uint64(21)
    bits |= words(seed, offset, n, stream=1) >> np.uint32(11)
    return bits.astype(np.float64) * 2.0**-53


def keep_mask(p: float, seed: int, offset: int, shape: tuple[int, ...]) -> Array:
    """Dropout's mask (E16): True with probability 1 - p; entry i in row-major order is `w[offset + i] >= p 2^32`.

    Words are compared as integers, so the mask is the same for every dtype and backend; p is rounded to 2^-32.
    ValueError unless 0 <= p <= 1.
    """
    if not 0 <= p <= 1:
        raise ValueError(f"keep_mask: the probability to drop must lie in [0, 1], not {p}")
    return (words(seed, offset, math.prod(shape)) >= round(p * 2**32)).reshape(shape)


def _blocks(out: Array, counter: Array, seed: int, stream: int, scratch: Array) -> None:
    """Ten rounds over blocks that fit the cache; rows of `even` are c0, c2 and rows of `odd` are c1, c3."""
    n = len(counter)
    even, odd, product = (row[: 2 * n].reshape(2, n) for row in scratch)
    (c0, c2), (product1, product0) = even, product
    c0[:], c2[:] = counter & _LOW, stream & 0xFFFFFFFF
    odd[0], odd[1] = counter >> _32, stream >> 32
    k0, k1 = seed & 0xFFFFFFFF, seed >> 32
    for _ in range(ROUNDS):
        np.multiply(c2, M1, product1)
        np.multiply(c0, M0, product0)
        np.right_shift(product, _32, even)
        np.bitwise_xor(even, odd, even)
        np.bitwise_xor(c0, np.uint64(k0), c0)
        np.bitwise_xor(c2, np.uint64(k1), c2)
        np.bitwise_and(product, _LOW, odd)
        k0, k1 = (k0 + W0) & 0xFFFFFFFF, (k1 + W1) & 0xFFFFFFFF
    out[:, 0], out[:, 1], out[:, 2], out[:, 3] = c0, odd[0], c2, odd[1]


def _unsigned(what: str, value: int) -> int:
    value = operator.index(value)
    if not 0 <= value < 2**64:
        raise ValueError(f"{what} must lie in [0, 2**64), not {value}")
    return value
