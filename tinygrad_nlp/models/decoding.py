"""The next token from a model's logits (E46): temperature, top-k, top-p, and the draw itself, on plain arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from nlp_kernels.errors import ShapeError
from numpy.typing import ArrayLike, NDArray


def next_token_probabilities(
    logits: ArrayLike, *, temperature: float = 1.0, top_k: int | None = None, top_p: float | None = None
) -> NDArray[np.float64]:
    """p = softmax(logits / τ) (E05), cut to the k likeliest, then to the smallest set with Σp ≥ p₀.  (B, V) -> (B, V)

    What is left is renormalised after each cut. τ = 0 is the limit: all mass on the argmax. Among equals the lower id
    counts as likelier, so exactly k tokens stay. Raises ValueError for τ < 0, k < 1, p₀ outside (0, 1] and for logits
    with NaN, inf or nothing but -inf; ShapeError for what is not (B, V).

    >>> decoding.next_token_probabilities([[0.0, 0.0, -1.0]], top_k=2)
    array([[0.5, 0.5, 0. ]])
    """
    if (
        not (0 <= temperature < np.inf)
        or (top_k is not None and top_k < 1)
        or (top_p is not None and not 0 < top_p <= 1)
    ):
        raise ValueError(
            f"decoding needs temperature >= 0, top_k >= 1 and 0 < top_p <= 1, not {temperature}, {top_k}, {top_p}"
        )
    x = np.asarray(logits, np.float64)
    if x.ndim != 2 or not x.shape[1]:
        raise ShapeError(f"decoding needs logits (B, V), V > 0, not {x.shape}")
    if not np.isfinite(x.max(axis=-1)).all():
        raise ValueError("decoding needs logits whose largest is finite; these have NaN, inf, or nothing but -inf")
    if temperature == 0:
        return np.eye(x.shape[-1])[np.argmax(x, axis=-1)]
    with np.errstate(over="ignore"):  # a tiny τ: exp(−∞) = 0 is meant
        e = np.exp((x - x.max(axis=-1, keepdims=True)) / temperature)
    p = e / e.sum(axis=-1, keepdims=True)  #                         (B, V)
    if top_k is None and top_p is None:
        return p
    likeliest = np.argsort(-p, axis=-1, kind="stable")  #            (B, V)  ids, likeliest first
    q = np.take_along_axis(p, likeliest, axis=-1)
    if top_k is not None:
        q[:, top_k:] = 0
        q /= q.sum(axis=-1, keepdims=True)
    if top_p is not None:
        likelier = np.cumsum(q, axis=-1)[:, :-1]  #                  Σ before each but the first, which always stays
        q[:, 1:][likelier >= top_p] = 0
        q /= q.sum(axis=-1, keepdims=True)
    cut = np.zeros_like(p)
    np.put_along_axis(cut, likeliest, q, axis=-1)
    return cut


def draw(p: ArrayLike, generator: Any) -> NDArray[np.int64]:
    """One token for each row, by inverting the distribution function at a uniform u.  (B, V) -> (B,)

    n = the smallest with Σ_{i≤n} p_i > u Σp; a token of probability zero is never drawn. Raises ShapeError for what is
    not (B, V), ValueError for a probability that is negative or not finite and for a row whose sum is 0.

    >>> decoding.draw([[0.0, 1.0], [1.0, 0.0]], tn.random.Generator(7))
    array([1, 0])
    """
    p = np.asarray(p, np.float64)
    if p.ndim != 2 or not p.shape[1]:
        raise ShapeError(f"draw needs probabilities (B, V), V > 0, not {p.shape}")
    total = np.cumsum(p, axis=-1)  #                                 (B, V)
    if not ((p >= 0).all() and (total[:, -1] > 0).all() and (total[:, -1] < np.inf).all()):
        raise ValueError("draw: probabilities must not be negative, and each row has a positive, finite sum")
    u = np.asarray(generator.uniform((len(p),), dtype=np.float64))
    drawn = np.sum(total <= (u * total[:, -1])[:, None], axis=-1)
    last = p.shape[-1] - 1 - np.argmax(p[:, ::-1] > 0, axis=-1)  #   where u · total rounds up to total
    return np.minimum(drawn, last)
