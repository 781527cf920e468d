"""What attention of bfloat16 must give, from the reference in float64, and how far rounding may move it."""

import numpy as np
import pytest
from nlp_kernels.attention import reference

U, FLOAT = 2.0**-8, 2.0**-23  # the largest relative error of one rounding to bfloat16; of a float, twice that
NAMES = ("o", "lse", "dq", "dk", "dv")


def drawn(B, H, KH, T, S, D, Dv, seed=0):
    """q, k, v and do: the k and v of later tiles are larger, so that rows find their maximum there."""
    kind, rng = np.dtype(pytest.importorskip("ml_dtypes").bfloat16), np.random.default_rng(seed)
    shapes = (B, H, T, D), (B, KH, S, D), (B, KH, S, Dv), (B, H, T, Dv)
    q, k, v, do = (rng.normal(size=shape) for shape in shapes)
    k[:, :, 64:] *= 2
    return [x.astype(kind) for x in (q, k, v, do)]


def evaluated(kernel, q, k, v, do, keep=None, lengths=None, **hyper):
    """Everything that a kernel gives, by name."""
    o, saved = kernel.forward(q, k, v, keep, lengths, **hyper)
    gradients = kernel.backward(do, q, k, v, keep, lengths, saved, **hyper)
    return dict(zip(NAMES, (o, saved[1], *gradients), strict=True))


def exact(q, k, v, do, keep=None, lengths=None, **hyper):
    """Name -> (value in float64, how far its roundings may add up, element by element).

    Rounded to bfloat16 are P̃, dS and the results; scores, statistics and sums are float. Heads of k and v may be fewer.
    """
    heads, group = k.shape[1], q.shape[1] // max(k.shape[1], 1)
    q, do = (x.astype(np.float64) for x in (q, do))
    k, v = (np.repeat(x.astype(np.float64), group, axis=1) for x in (k, v))
    o, (_, lse) = reference.forward(q, k, v, keep, lengths, **hyper)
    dq, dk, dv = reference.backward(do, q, k, v, keep, lengths, (o, lse), **hyper)

    scale = abs(reference.scale_or_default(hyper.get("scale"), q))
    s = reference.scores(q, k, keep, lengths, hyper.get("causal", False), hyper.get("scale"))
    drop, p = reference.dropper(s, hyper.get("dropout")), np.exp(s - lse)
    terms = scale * np.abs(q) @ across(np.abs(k))
    of_lse = (q.shape[-1] + 16) * FLOAT * np.max(terms, axis=-1, keepdims=True, initial=0.0) + FLOAT * (1 + np.abs(lse))
    of_p = np.expm1(np.minimum(2 * of_lse, 100)) + 4 * FLOAT  # relative
    dropped, summed = drop(p), (S := k.shape[2]) * FLOAT + U
    of_o = U * np.abs(o) + (dropped * (of_p + summed)) @ np.abs(v)
    of_dv = across(dropped * (of_p + U + q.shape[2] * group * FLOAT)) @ np.abs(do)

    dp, delta = drop(do @ across(v)), np.sum(do * o, axis=-1, keepdims=True)
    of_dp = (v.shape[-1] + 8) * FLOAT * (drop(np.abs(do) @ across(np.abs(v))) + np.abs(dp) + np.abs(delta))
    of_delta = np.sum(np.abs(do) * (of_o + v.shape[-1] * FLOAT * np.abs(o)), axis=-1, keepdims=True)
    ds = p * (dp - delta)
    of_ds = p * (of_dp + of_delta) * (1 + of_p) + np.abs(ds) * (of_p + U + (S + q.shape[2] * group) * FLOAT)
    of_dq, of_dk = scale * of_ds @ np.abs(k), scale * across(of_ds) @ np.abs(q)

    values = {"o": (o, of_o), "lse": (lse, of_lse), "dq": (dq, of_dq), "dk": (dk, of_dk), "dv": (dv, of_dv)}
    for name, x in (("dk", dk), ("dv", dv)):
        shape = (q.shape[0], heads, group, *x.shape[2:])
        values[name] = tuple(a.reshape(shape).sum(axis=2) for a in values[name])
    return {n: (x, 1.1 * of_x + (0 if n in ("o", "lse") else 1.1 * U * np.abs(x))) for n, (x, of_x) in values.items()}


def wrong(ours, right):
    """The name of the first result that is off by more than its roundings, or None."""
    for name, (value, allowed) in right.items():
        mine = ours[name].astype(np.float64)
        assert mine.shape == value.shape, f"{name} is {mine.shape}, not {value.shape}"
        if not (np.abs(mine - value) <= allowed).all():
            return name
    return None


def across(x):
    return np.swapaxes(x, -1, -2)
